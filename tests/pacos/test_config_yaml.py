"""YAML as its writer means it: every trap is the value meant or an error with its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pacos.config import Config, load_config, resolved_yaml
from pacos.config.yaml_text import parse_yaml, write_yaml
from pacos.errors import ConfigError


def config_of(*overrides: str) -> Config:
    return load_config(None, ["name=x", "model.base=m", *overrides])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0123", 123),
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1.0e-4", 0.0001),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2024-02-30", "2024-02-30"),
        ("2024-02-28", "2024-02-28"),
        ("yes", "yes"),
        ("'on'", "on"),
        ("true", True),
        ("~", None),
    ],
)
def test_a_plain_value_is_what_its_writer_means(text: str, meant: Any) -> None:
    assert parse_yaml(text, "here") == meant


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "here:3: not valid YAML: the key `a` stands twice, first in line 1"),
        ("train:\n  r: 1\n  r: 2\n", "here:3: "),
        ("{a: 1, 'a': 2}", "here:1: "),
        ("a: 1\nb: " + "[" * 3_000, "here:2: not valid YAML: it is nested too deeply"),
        ("a: 1\nb:\n" + "- " * 3_000, "here:3: not valid YAML: it is nested too deeply"),
        ("a: 1\n" + "".join(f"{' ' * n}b:\n" for n in range(60)), "nested too deeply"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("seed: " + "9" * 5_000, "whole number of at most 64 bits"),
        ("? [a]\n: 1", "a key must be text"),
        ("a: !!python/object/apply:os.system [ls]", "here:1: "),
        ("a: !!timestamp 2024-02-30", "here:1: "),
        ("a: !!int [1]", "here:1: "),
        ("a: !!float x", "here:1: "),
        ("a: !!bool maybe", "here:1: "),
        ("a: !!map x", "here:1: "),
        ('a: "\\ud83d"', "half a character"),
        ('a: "x\\0y"', "NUL"),
        ("a: 1\nb: \x07", "here:2: not valid YAML: a text has the control character U+0007"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "here")
    assert complaint in str(error.value)


def test_aliases_that_multiply_are_bounded() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="aliases counted in full"):
        parse_yaml("\n".join(levels), "here")


def test_anchors_and_merges_are_read() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "here")["b"] == {"x": 1, "y": 3}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=12)
    | st.from_regex(r"[-+0-9.:_eExXoOyYnNfF]{1,10}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None)
@given(value=VALUES)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    text = yaml.safe_dump({"a": value}, allow_unicode=True, sort_keys=False)
    assume("\\x00" not in repr(value) and yaml.safe_load(text) == {"a": value})  # it folds some of Unicode's line ends
    assert parse_yaml(text, "here") == {"a": value}


@settings(deadline=None)
@given(value=VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assume("\\x00" not in repr(value))
    assert parse_yaml(write_yaml({"a": value}), "here") == {"a": value}


@pytest.mark.parametrize("rare", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_an_experiment_keeps_the_rare_line_ends_of_unicode(rare: str, tmp_path: Path) -> None:
    code = "".join(f"\\u{ord(one):04X}" for one in rare)
    config = config_of(f'train.adapter="a{code}b"')
    assert config.train.adapter == f"a{rare}b"
    (tmp_path / "again.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "again.yaml") == config


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.lora.targets={a: b}", "`train.lora.targets`: input should be 'all-linear', or a valid list, not"),
        ("engine.args={a: [1]}", "`engine.args.a`: input should be a valid string, or a valid integer, or a valid"),
        ("train.lora.r=on", "`train.lora.r`: input should be a valid integer, not 'on'"),
        ("train.batch_size=true", "`train.batch_size`: another kind of value is needed here, not True"),
        ("train.adapter=true", "another kind of value is needed here, or a text in quotes, not True"),
        ("train=5", "`train`: should be a section, that is keys with their values, not 5"),
        ("name=a b", "`name`: should have letters, digits, `.`, `_` and `-` only, and begin with a letter or digit"),
        ("name=5", "`name`: input should be a valid string, not 5; write it in quotes"),
        ("train.adapter=" + "n" * 300, "`train.adapter`: a text of at most 255 bytes between slashes is needed here"),
        ("generate.known=[a, " + "n" * 300 + "]", "`generate.known`: a text of at most 255 bytes between slashes"),
        ("seed='9223372036854775808'", "`seed`: a whole number of at most 64 bits is needed here"),
    ],
)
def test_a_complaint_names_the_key_once_and_what_it_takes(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(override)
    assert complaint in str(error.value)
    assert str(error.value).count(f"`{override.partition('=')[0]}") == 1


@pytest.mark.parametrize(
    "override",
    [
        "train.batch_size=true",
        "train.epochs=yes",
        "train.lora.r=on",
        "train.lora.targets=[q_proj, true]",
        "train.max_steps=1:30",
        "train.learning_rate=.inf",
        "train.epochs=.inf",
        "train.learning_rate=nan",
        "seed=" + "9" * 30,
        "train.data=[{hub: ''}]",
    ],
)
def test_a_value_that_does_not_fit_its_key_is_refused_with_the_key(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(override)
    assert override.partition("=")[0] in str(error.value) or "64 bits" in str(error.value)


def test_yes_and_no_are_truth_values_where_only_these_are_meant() -> None:
    config = config_of("generate.filters.defects=off", "train.lora.extra={use_dora: no, bias: 'no'}", "name=no")
    assert not config.generate.filters.defects
    assert config.train.lora.extra == {"use_dora": False, "bias": "no"}
    assert config.name == "no"


def test_a_leading_zero_and_a_date_are_what_they_look_like() -> None:
    config = config_of("seed=0123", "train.max_steps=010", "name=2024-02-30")
    assert (config.seed, config.train.max_steps, config.name) == (123, 10, "2024-02-30")


def test_the_home_folder_is_expanded_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    config = config_of(
        "runs_dir=~/runs", "train.data=[{path: ~/a.jsonl}]", "generate.known=[~/b]", "generate.seeds=~/s"
    )
    assert config.run_dir == Path("/home/ann/runs/x")
    assert config.train.data[0].path == "/home/ann/a.jsonl"
    assert (config.generate.known, config.generate.seeds) == (["/home/ann/b"], "/home/ann/s")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("name: x\n".encode("utf-16"), "is in UTF-16"),
        ("# café\nname: x\n".encode("latin-1"), "is not UTF-8: byte 0xe9 in line 1"),
        (b"# " + b"x" * 1_100_000, "has 1,100,002 characters"),
    ],
)
def test_a_file_that_is_no_experiment_is_a_config_error(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        load_config(path)


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: b\nmodel: {base: x}\n")
    assert load_config(tmp_path / "a.yaml").name == "b"
