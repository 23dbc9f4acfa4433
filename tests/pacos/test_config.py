from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos import cli
from pacos.config import load_config, resolved_yaml, section_sha256
from pacos.config.reference import keys, reference
from pacos.errors import ConfigError
from pacos.self_rewarding.steps import all_steps

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert load_config(path).model.base


# On a CPU top_p sorts the vocabulary for every token; the demonstration does without.
@pytest.mark.parametrize(("size", "top_p"), [("quickstart", 1.0), ("8b", 0.9), ("70b", 0.9)])
def test_a_self_rewarding_recipe_is_two_rounds_with_the_papers_sampling(size: str, top_p: float) -> None:
    config = load_config(ROOT / "configs" / f"self-rewarding-{size}.yaml")
    trained = [step.name for step in all_steps(config) if step.words == ("train",) and step.name.startswith("round-")]
    assert trained == ["round-0/train", "round-1/train", "round-2/train"]
    answers, judge, train = config.answers, config.evaluate.judge, config.train
    assert (answers.samples, answers.temperature, answers.top_p) == (4, 0.7, top_p)
    assert (judge.samples, judge.temperature, judge.top_p) == (3, 0.7, top_p)
    assert (train.dpo.beta, train.batch_size, train.min_lr_ratio, train.schedule) == (0.1, 16, 0.1, "linear")


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp2"])
def test_every_shipped_accelerate_config_is_one_for_accelerate(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    plan = load_config_from_file(str(ROOT / "configs" / "accelerate" / f"{name}.yaml"))
    assert plan.mixed_precision == "no"


def test_the_name_defaults_to_the_file(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "model: {base: x}")).name == "experiment"


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {base: x}\ntrain: {lora: {r: 64, alpha: 7}}")
    config = load_config(path, ["train.lora.r=8", "train.learning_rate=2e-4", "train.data=[{path: a.json}]"])
    assert (config.train.lora.r, config.train.lora.alpha) == (8, 7)
    assert config.train.learning_rate == 0.0002
    assert config.train.data[0].path == "a.json"


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.lora.rnk=8", "unknown key `train.lora.rnk`; did you mean"),
        ("trian.epochs=1", "unknown key `trian`; did you mean `train`?"),
        ("evaluate.suites=[{nam: a, name: b, path: c}]", "`evaluate.suites.0.nam`; did you mean `name`?"),
        ("train.epochs=-1", "`train.epochs`: input should be greater than 0, not -1"),
        ("train.batch_size=many", "`train.batch_size`"),
        ("name=../elsewhere", "`name`"),
        ("train.lora.r", "is not key=value"),
        ("model=[", "not valid YAML"),
    ],
)
def test_a_bad_override_is_named(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, "model: {base: x}"), [override])
    assert complaint in str(error.value)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"experiment\.yaml:2"):
        load_config(write(tmp_path, "model: {base: x}\ntrain: {epochs: [}\n"))


def test_a_missing_file_lists_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match="shipped here: configs/"):
        load_config(tmp_path / "none.yaml")


@settings(deadline=None)
@given(
    r=st.integers(1, 512),
    learning_rate=st.floats(1e-8, 1, exclude_min=True),
    name=st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    stop=st.one_of(st.none(), st.integers(1, 10**9)),
)
def test_the_resolved_yaml_loads_to_an_equal_config(
    tmp_path_factory: pytest.TempPathFactory, r: int, learning_rate: float, name: str, stop: int | None
) -> None:
    folder = tmp_path_factory.mktemp("config")
    overrides = [f"train.lora.r={r}", f"train.learning_rate={learning_rate!r}", f"name='{name}'"]
    overrides += [f"generate.budget.tokens={stop}"] if stop else []
    config = load_config(write(folder, "model: {base: x}"), overrides)
    again = load_config(write(folder, resolved_yaml(config)))
    assert again == config
    assert section_sha256(again.train) == section_sha256(config.train)


def test_the_configuration_page_is_written_from_the_keys() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rewrite = "from pacos.config.reference import reference; print(reference(), end='')"
    assert page == reference(), f'python -c "{rewrite}" > docs/configuration.md'


def test_every_key_has_a_type_and_a_meaning() -> None:
    assert len(list(keys())) > 150
    assert not [key.name for key in keys() if not key.type or not key.meaning]


def test_the_listed_keys_are_those_that_a_resolved_config_has() -> None:
    def leaves(values: object, prefix: str = "") -> set[str]:
        if not isinstance(values, dict) or not values or prefix == "loop.sft.":
            return {prefix.removesuffix(".")}
        return {leaf for name, value in values.items() for leaf in leaves(value, f"{prefix}{name}.")}

    resolved = load_config(None, ["name=x", "model.base=y"]).model_dump(mode="json")
    listed = {key.name for key in keys() if "[]" not in key.name}
    prices = {f"engine.price_per_million_tokens.{kind}" for kind in ("prompt", "completion")}
    assert leaves(resolved) == listed - prices


def test_pacos_config_prints_a_part_and_refuses_what_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> int | str | None:
        monkeypatch.setattr("sys.argv", ["pacos", "config", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code

    assert not run("train.lora")
    printed = capsys.readouterr().out
    assert "train.lora.rslora" in printed and "train.epochs" not in printed
    assert run("train.lor") == 2
    assert "no key 'train.lor'" in capsys.readouterr().err
