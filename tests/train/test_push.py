"""The upload as the hub sees it: huggingface_hub talks to a server of its protocol on this machine."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import ConfigError, HubOutOfReach, ModelError
from pacos.train import launch
from pacos.train.export.card import base_licence
from pacos.train.export.hub import check_push, push
from tests.support.small_training import training_config


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory, by the four calls that an upload makes."""

    repositories: dict[str, dict[str, bytes]]
    created: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "Bearer hf_right":
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            self.answer({"url": f"{self.address}/me/llama", "name": "me/llama"})
        elif self.path == "/api/validate-yaml":
            errors = [{"message": "must be a mapping"}] if "- list" in json.loads(body)["content"] else []
            self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self.answer({"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    value = line["value"]
                    self.repositories.setdefault("me/llama", {})[value["path"]] = base64.b64decode(value["content"])
            self.answer({"commitUrl": f"{self.address}/me/llama/commit/1", "commitOid": "1"})
        else:
            self.answer({"error": self.path}, 404)

    @property
    def address(self) -> str:
        return f"http://{self.headers['Host']}"

    def answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    Hub.repositories, Hub.created = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / ".secret").write_text("not for anyone")
    return folder


def test_a_finished_folder_is_uploaded_whole_to_a_private_repository(
    hub: str, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert push(adapter, "me/llama", endpoint=hub) == f"{hub}/me/llama/commit/1"
    assert Hub.created[0]["visibility"] == "private"
    assert Hub.repositories["me/llama"] == {
        path.name: path.read_bytes() for path in adapter.iterdir() if path.name != ".secret"
    }


def test_a_hub_that_refuses_or_does_not_answer_is_a_clear_error(
    hub: str, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ModelError, match=r"the hub refuses it: .*401"):
        push(adapter, "me/llama", endpoint=hub)
    with pytest.raises(HubOutOfReach, match="out of reach"):
        push(adapter, "me/llama", endpoint="http://127.0.0.1:9")


def test_a_missing_token_stops_the_run_before_it_begins(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    config = training_config(tmp_path, tiny_base, tmp_path, push_to_hub="me/llama")
    with pytest.raises(ConfigError, match="no token to push with"):
        launch.main(config)


@pytest.mark.parametrize("repository", ["a/b/c", "just name", "", "/x", "-x/y"])
def test_what_is_no_repository_is_refused_by_name(
    adapter: Path, tmp_path: Path, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with pytest.raises(ConfigError, match=r"pacos push: .* is no name of a repository"):
        push(adapter, repository)
    with pytest.raises(ConfigError, match=r"train\.push_to_hub: .* is no name of a repository"):
        check_push(repository)


def test_a_card_that_the_hub_cannot_read_is_a_clear_error(
    hub: str, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    (adapter / "README.md").write_text("---\n- a\n- list\n---\n")
    with pytest.raises(ModelError, match="mapping"):
        push(adapter, "me/llama", endpoint=hub)


def test_an_unfinished_folder_is_not_pushed(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (adapter / "README.md").unlink()
    with pytest.raises(ModelError, match="no finished adapter"):
        push(adapter, "me/llama")


def test_the_licence_is_that_of_the_bases_own_card(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path).model
    assert base_licence(str(tmp_path), config) == {}
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: llama9\ntags: [a]\n---\n# Card\n")
    assert base_licence(str(tmp_path), config) == {"license": "other", "license_name": "llama9"}
    (tmp_path / "README.md").write_text("# No header\n")
    assert base_licence(str(tmp_path), config) == {}
