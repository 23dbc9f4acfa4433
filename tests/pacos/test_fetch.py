"""`pacos fetch` against a server on this machine that cuts connections, refuses, and serves ranges."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pacos.downloads import official as fetching
from pacos.downloads.official import NATURAL_INSTRUCTIONS, PINNED, Name, Totals, fetch, git_blob
from pacos.errors import DataError, RunError
from tests.support.superni_folder import task

CUT_AFTER = 1000


class Home(ThreadingHTTPServer):
    """Serves `files` by address; the first answer to each of `cut` ends after CUT_AFTER bytes, of `busy` is 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.busy: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Home

    def do_GET(self) -> None:
        address, asked = self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.asked.append((address, asked))
        content = self.server.files.get(address)
        if address in self.server.busy or content is None:
            self.server.busy.discard(address)
            return self.send_error(404 if content is None else 503)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = address in self.server.cut
        self.server.cut.discard(address)
        self.wfile.write(content[start : CUT_AFTER if cut else len(content)])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(fetching, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(fetching, "GIT_HOME", "file:///nowhere")
    server = Home()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["seeds", "user-oriented"])
def test_the_real_files_are_known_by_their_blob_ids(home: Home, shared_data: Path, tmp_path: Path, name: Name) -> None:
    pinned = PINNED[name]
    content = (shared_data / "self_instruct" / pinned.name).read_bytes()
    home.files[pinned.address] = content
    home.cut.add(pinned.address)
    [path] = fetch(name, tmp_path, home=home.url)
    assert path.read_bytes() == content
    assert [asked for _, asked in home.asked] == ["", f"bytes={CUT_AFTER}-"], "the second request takes up the first"
    home.asked.clear()
    fetch(name, tmp_path, home=home.url)
    assert not home.asked, "what is there and whole is not asked for again"


def test_what_is_not_the_published_file_never_takes_its_place(home: Home, tmp_path: Path) -> None:
    home.files[PINNED["seeds"].address] = b'{"id": "forged"}\n'
    with pytest.raises(DataError, match=r"seed_tasks\.jsonl: what came is not what was published: .* git blob"):
        fetch("seeds", tmp_path, home=home.url)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="is not there: HTTP 404"):
        fetch("alpaca", tmp_path, home=home.url)
    home.shutdown()
    home.server_close()
    with pytest.raises(DataError, match=r"cannot be fetched: .*refused"):
        fetch("seeds", tmp_path, home=home.url)


def test_a_blob_id_is_gits(tmp_path: Path) -> None:
    # `printf 'what is up, doc?' | git hash-object --stdin`, from the Git book.
    (tmp_path / "x").write_bytes(b"what is up, doc?")
    assert git_blob(tmp_path / "x") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def serve_superni(home: Home) -> Totals:
    splits = {"default/test_tasks.txt": ["task1_a", "task2_b"], "default/train_tasks.txt": ["task3_c"]}
    splits["xlingual/test_tasks.txt"] = ["task4_d"]
    for split, names in splits.items():
        home.files[f"{NATURAL_INSTRUCTIONS}/splits/{split}"] = "".join(f"{name}\n" for name in names).encode()
        for name in names:
            home.files[f"{NATURAL_INSTRUCTIONS}/tasks/{name}.json"] = json.dumps(task(name), indent=4).encode()
    return Totals(test=2, train=1, instances=6, xlingual_instances=3)


def test_superni_comes_by_its_split_lists_and_goes_on_where_it_stopped(home: Home, tmp_path: Path) -> None:
    totals = serve_superni(home)
    second = f"{NATURAL_INSTRUCTIONS}/tasks/task2_b.json"
    whole = home.files.pop(second)
    with pytest.raises(DataError, match=r"task2_b\.json: is not there"):
        fetch("superni", tmp_path, home=home.url, totals=totals)
    home.files[second] = whole
    home.busy.add(second)
    (tmp_path / "tasks" / "task3_c.json").write_text('{"Definition": [', encoding="utf-8")
    home.asked.clear()
    files = fetch("superni", tmp_path, home=home.url, totals=totals)
    assert len(files) == 7 and all(path.is_file() for path in files)
    again = {address.rpartition("/")[2] for address, _ in home.asked}
    assert {"task2_b.json", "task3_c.json"} <= again and "task1_a.json" not in again
    assert (tmp_path / "tasks" / "task2_b.json").read_bytes() == whole


@pytest.fixture
def published(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Totals:
    """SuperNI's repository with one commit, whose files `home` serves."""
    totals = serve_superni(home)
    repository = tmp_path / "git" / "own" / "superni"
    for address, content in home.files.items():
        file = repository / address.removeprefix(f"{NATURAL_INSTRUCTIONS}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def git(*words: str) -> str:
        command = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("config", "uploadpack.allowFilter", "true")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    place = f"own/superni/{git('rev-parse', 'HEAD')}"
    home.files = {address.replace(NATURAL_INSTRUCTIONS, place): content for address, content in home.files.items()}
    monkeypatch.setattr(fetching, "NATURAL_INSTRUCTIONS", place)
    monkeypatch.setattr(fetching, "GIT_HOME", f"file://{tmp_path}/git")
    return totals


def test_every_file_of_superni_is_that_of_its_commit(
    home: Home, published: Totals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        files = fetch("superni", tmp_path / "out", home=home.url, totals=published)
    assert len(files) == 7 and "its git blob id has been checked" in caplog.text


@pytest.mark.parametrize("name", ["tasks/task1_a.json", "splits/default/test_tasks.txt"])
def test_another_text_than_the_commits_is_refused_however_well_formed(
    home: Home, published: Totals, tmp_path: Path, name: str
) -> None:
    [address] = [one for one in home.files if one.endswith(name)]
    home.files[address] = home.files[address].replace(b"task2_b", b"task4_d").replace(b'"Instances"', b' "Instances"')
    with pytest.raises(DataError, match=f"is not the published {name}"):
        fetch("superni", tmp_path / "out", home=home.url, totals=published)
    assert not list((tmp_path / "out").rglob(name.rpartition("/")[2]))


def test_a_forged_file_that_is_there_already_is_fetched_again(home: Home, published: Totals, tmp_path: Path) -> None:
    fetch("superni", tmp_path / "out", home=home.url, totals=published)
    forged = tmp_path / "out" / "tasks" / "task1_a.json"
    content = forged.read_bytes()
    forged.write_bytes(content + b"\n")
    fetch("superni", tmp_path / "out", home=home.url, totals=published)
    assert forged.read_bytes() == content


def test_where_git_cannot_tell_it_is_said_what_is_not_checked(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch("superni", tmp_path, home=home.url, totals=serve_superni(home))
    assert "texts are not checked against its commit, only names, form and numbers: git fetch:" in caplog.text


def test_superni_without_training_tasks_leaves_them_out(home: Home, tmp_path: Path) -> None:
    files = fetch("superni", tmp_path, home=home.url, training=False, totals=serve_superni(home))
    assert "task3_c.json" not in {path.name for path in files}


def test_a_track_that_is_not_the_published_one_is_refused(home: Home, tmp_path: Path) -> None:
    serve_superni(home)
    with pytest.raises(DataError, match="SuperNI's test tasks are 2, not 119"):
        fetch("superni", tmp_path, home=home.url)


@pytest.mark.parametrize("name", ["task/../../../x", "task1_a/../x", "../x", "task1\\x", "task" + "x" * 300, "task\0x"])
def test_a_split_list_names_no_file_outside_its_folder(home: Home, tmp_path: Path, name: str) -> None:
    totals = serve_superni(home)
    home.files[f"{NATURAL_INSTRUCTIONS}/splits/default/test_tasks.txt"] = f"task1_a\n{name}\n".encode()
    out = tmp_path / "a" / "b" / "superni"
    with pytest.raises(DataError, match=r"is not a list of tasks: .* is not the name of one"):
        fetch("superni", out, home=home.url, totals=totals)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_names_of_the_real_split_lists_are_those_of_tasks(shared_data: Path) -> None:
    for split in sorted((shared_data / "superni" / "splits").rglob("*_tasks.txt")):
        assert all(map(fetching.TASK_NAME.fullmatch, split.read_text(encoding="utf-8").split()))


def test_a_download_follows_no_link(home: Home, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".seed_tasks.jsonl.part").symlink_to(victim)
    home.files[PINNED["seeds"].address] = b"forged"
    with pytest.raises(DataError, match="not what was published"):
        fetch("seeds", tmp_path / "out", home=home.url)
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_file_in_the_place_of_the_folder_is_a_clear_error(home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="cannot write"):
        fetch("seeds", tmp_path / "out", home=home.url)
