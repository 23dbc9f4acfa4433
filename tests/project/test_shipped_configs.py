from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pacos.cli.commands import app
from pacos.config import load_config
from pacos.config.reference import keys
from pacos.errors import ConfigError
from pacos.seeds import load_seeds
from pacos.shipped import FETCHED, NEXT_KEYS, missing_inputs, shipped_config, shipped_configs, write_experiment

NAMES = [config.name for config in shipped_configs()]
ROOT = Path(__file__).resolve().parents[2]


def relative_paths(value: object) -> set[str]:
    """Every text of a YAML value that looks like a relative path into a folder of this repository."""
    if isinstance(value, dict):
        return set().union(*(relative_paths(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(relative_paths(inner) for inner in value))
    starts = ("configs/", "demo/", "data/", ".cache/")
    return {value} if isinstance(value, str) and value.startswith(starts) else set()


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_its_source_under_another_name(name: str, tmp_path: Path) -> None:
    config = write_experiment("mine", shipped_config(name), tmp_path)[0]
    expected = load_config(ROOT / "configs" / f"{name}.yaml").model_dump() | {"name": "mine"}
    assert load_config(config).model_dump() == expected


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_an_experiment_refers_to_is_there_or_a_command_brings_it(name: str, tmp_path: Path) -> None:
    config = write_experiment("mine", shipped_config(name), tmp_path)[0]
    absent = {
        path
        for path in relative_paths(yaml.safe_load(config.read_text(encoding="utf-8")))
        if not (tmp_path / path).exists()
    }
    said = missing_inputs(config, tmp_path)
    assert {path for path in absent if not any(path.startswith(known) for known in said)} == set()
    assert all(said.values())


def test_what_is_there_already_is_not_asked_for(tmp_path: Path) -> None:
    config = write_experiment("mine", shipped_config("qwen2.5-7b-lora"), tmp_path)[0]
    assert list(missing_inputs(config, tmp_path)) == ["data/superni"]
    (tmp_path / "data" / "superni").mkdir(parents=True)
    assert missing_inputs(config, tmp_path) == {}


@pytest.mark.parametrize("name", ["quickstart", "llama-3.1-8b-lora", "qwen3-8b-lora"])
def test_seeds_are_written_beside_the_experiment_and_named_in_it(name: str, tmp_path: Path) -> None:
    config, seeds, *_ = write_experiment("mine", shipped_config(name), tmp_path, with_seeds=True)
    assert load_config(config).generate.seeds == seeds.name
    assert len(load_seeds(seeds)) > 100


def test_a_name_that_yaml_would_read_as_a_number_stays_a_name(tmp_path: Path) -> None:
    assert load_config(write_experiment("2026", shipped_config("quickstart"), tmp_path)[0]).name == "2026"


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "a\nb"])
def test_a_name_that_is_no_file_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        write_experiment(name, shipped_config("quickstart"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["mine.yaml", "mine-seeds.jsonl"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        write_experiment("mine", shipped_config("quickstart"), tmp_path, with_seeds=True)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text(encoding="utf-8") == "mine\n"


def test_a_companion_of_ones_own_stays(tmp_path: Path) -> None:
    own = tmp_path / "configs" / "accelerate" / "fsdp2.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("mine\n", encoding="utf-8")
    assert write_experiment("mine", shipped_config("alpaca-7b"), tmp_path) == [tmp_path / "mine.yaml"]
    assert own.read_text(encoding="utf-8") == "mine\n"


def test_a_suite_of_which_a_part_is_there_is_completed(tmp_path: Path) -> None:
    write_experiment("first", shipped_config("quickstart"), tmp_path)
    lost = next((tmp_path / "demo" / "suite" / "tasks").iterdir())
    lost.unlink()
    write_experiment("second", shipped_config("quickstart"), tmp_path)
    assert lost.exists()


def test_an_unknown_config_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="llama-3\\.1-8b-lora"):
        shipped_config("llama")


def test_the_comment_names_keys_that_exist_and_are_not_set(tmp_path: Path) -> None:
    assert set(NEXT_KEYS) <= {key.name for key in keys()}
    text = write_experiment("mine", shipped_config("alpaca-7b-lora"), tmp_path)[0].read_text(encoding="utf-8")
    comment = text.partition("# Further keys")[2]
    assert "train.method: lora — " in comment
    assert "train.save_steps" not in comment  # the config sets it


def test_what_init_says_next_depends_on_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["init", "sr", "--from", "self-rewarding-8b"]).stdout
    assert "pacos loop --config sr.yaml" in said and FETCHED["data/superni"] in said
    said = CliRunner().invoke(app, ["init", "mine", "--from", "quickstart"]).stdout
    assert "pacos run --config mine.yaml" in said and "pacos fetch smollm2" in said
