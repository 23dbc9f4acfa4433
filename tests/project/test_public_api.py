"""The public Python interface is what is listed here, documented, and does what the commands do."""

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pacos import api
from pacos.config import Config, resolved_yaml
from pacos.errors import ConfigError, PacosError
from pacos.files import write_text
from pacos.records import DatasetRow, read_records
from pacos.runs import Run
from tests.support.devtools import wait
from tests.support.generated_run import experiment
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]

# Whoever changes one of these changes the programs of others: CHANGELOG.md says so.
SIGNATURES = {
    "compare": "(evaluations: collections.abc.Sequence[str | pathlib.Path], out: str | pathlib.Path) -> 'Comparison'",
    "evaluate": "(config: 'Config') -> 'list[Comparison]'",
    "fetch_smollm2": "(folder: str | pathlib.Path | None = None) -> pathlib.Path",
    "generate": "(config: 'Config') -> 'DatasetStats'",
    "load_config": "(file: str | pathlib.Path | None, overrides: collections.abc.Sequence[str] = ()) -> 'Config'",
    "plan": "(config: 'Config') -> dict[str, list[str]]",
    "read_dataset": "(config: 'Config') -> 'list[DatasetRow]'",
    "report": "(config: 'Config') -> pathlib.Path",
    "train": "(config: 'Config') -> pathlib.Path",
}


def test_what_is_public_is_pinned() -> None:
    functions = {name: getattr(api, name) for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    assert {name: str(inspect.signature(function)) for name, function in functions.items()} == SIGNATURES
    assert set(api.__all__) - set(SIGNATURES) == {"PacosError"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_function_says_what_it_returns_and_raises(name: str) -> None:
    text = inspect.getdoc(getattr(api, name)) or ""
    assert "eturn" in text
    assert "aises" in text or name in ("plan",)


def test_the_page_on_python_has_every_public_function() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert not [name for name in SIGNATURES if f"`{name}(" not in page]


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import sys, pacos.api; print(sorted({'torch', 'transformers', 'pydantic', 'numpy'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_stages_packages_are_still_imported_by_their_names() -> None:
    program = (
        "from pacos.api import generate; import pacos.generate.pipeline; print(pacos.generate.__path__ is not None)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "True"


def test_a_configuration_comes_from_a_file_or_from_overrides_alone() -> None:
    assert api.load_config(str(ROOT / "configs" / "quickstart.yaml"), ["seed=7"]).seed == 7
    assert api.load_config(None, ["name=x", "model.base=y"]).model.base == "y"
    with pytest.raises(PacosError):
        api.load_config(None, ["name=x", "model.base=y", "trian.epochs=2"])


def test_a_plan_has_lines_for_every_stage_and_starts_nothing(tiny_base: Path, tmp_path: Path) -> None:
    suite = f"evaluate.suites=[{{name: demo, path: {ROOT / 'demo' / 'suite'}}}]"
    config = api.load_config(None, ["name=x", f"model.base={tiny_base}", f"runs_dir={tmp_path}", suite])
    planned = api.plan(config)
    assert list(planned) == ["generate", "train", "evaluate"]
    assert all(planned.values())
    assert not list(tmp_path.iterdir())


def test_generation_returns_the_figures_of_the_dataset_it_wrote(tiny_base: Path, seeds: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=10)
        stats = api.generate(config)
    assert stats.funnel.accepted == 10
    rows = api.read_dataset(config)
    assert rows == read_records(config.run_dir / "dataset" / "dataset.jsonl", DatasetRow)
    assert len(rows) == 10


def test_beside_a_running_event_loop_a_stage_writes_the_same_dataset(
    tiny_base: Path, seeds: Path, tmp_path: Path
) -> None:
    async def cell(config: Config) -> None:
        api.generate(config)

    with ScriptedServer() as server:
        alone = experiment(tmp_path, tiny_base, server.url, seeds, name="alone", target=10)
        api.generate(alone)
        beside = experiment(tmp_path, tiny_base, server.url, seeds, name="beside", target=10)
        asyncio.run(cell(beside))
    assert api.read_dataset(beside) == api.read_dataset(alone)


def test_an_error_of_a_stages_own_process_is_raised_as_it_was(tiny_base: Path, tmp_path: Path) -> None:
    async def cell() -> None:
        api.evaluate(api.load_config(None, ["name=x", f"model.base={tiny_base}", f"runs_dir={tmp_path}"]))

    with pytest.raises(ConfigError, match="there is nothing to evaluate on") as caught:
        asyncio.run(cell())
    assert caught.value.where == "evaluate.suites"


def test_interrupting_a_cell_of_a_notebook_stops_the_stage_and_frees_the_run(
    tiny_base: Path, seeds: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ipykernel", reason="needs the docs extra")
    from jupyter_client.manager import start_new_kernel

    with ScriptedServer(delay=lambda prompt: 600.0) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        write_text(tmp_path / "interrupted.yaml", resolved_yaml(config))
        environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython")}
        manager, client = start_new_kernel(env=environment, startup_timeout=120)
        try:
            cell = f"from pacos import api; api.generate(api.load_config({str(tmp_path / 'interrupted.yaml')!r}))"
            message = client.execute(cell)
            wait(lambda: server.asked, "the stage asks")
            manager.interrupt_kernel()
            while (answer := client.get_shell_msg(timeout=120))["parent_header"].get("msg_id") != message:
                pass
            assert answer["content"]["ename"] == "KeyboardInterrupt"
            with Run.open(config):  # raises where it is still held
                pass
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def test_a_comparison_of_two_folders_is_returned_and_written(tmp_path: Path) -> None:
    run = ROOT / "tests" / "data" / "earlier_run" / "experiments" / "earlier" / "eval"
    folders = [run / "base--colours--alpaca", run / "halfway--colours--alpaca"]
    comparison = api.compare(folders, tmp_path)
    assert [one.name for one in comparison.contestants] == ["halfway"]
    assert (tmp_path / "comparison.json").is_file()
