"""The configs that pacos comes with, and experiments that start from them: `pacos configs`, `pacos init`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pacos.errors import ConfigError
from pacos.files import write_bytes, write_text
from pacos.json_text import read_text
from pacos.names import safe_name
from pacos.seeds import PACKAGED_SEEDS

# In a checkout, these are links to the folders of the repository's root.
CONFIGS = Path(__file__).parent / "configs"
DEMO_SUITE = Path(__file__).parent / "demo" / "suite"

# What a config names below the folder that pacos is started in, and how it gets there.
FETCHED = {
    ".cache/smollm2-135m-instruct": "pacos fetch smollm2",
    ".cache/demo-rewards": "python -m pacos.demo.rewards --out .cache/demo-rewards",
    "data/superni": "pacos fetch superni --no-training --out data/superni",
    "data/user_oriented_instructions.jsonl": "pacos fetch user-oriented --out data",
}

# Keys that a first experiment is likely to change, in the comment below it.
NEXT_KEYS = (
    "seed", "runs_dir", "engine.url", "generate.seeds", "generate.preset", "train.method", "train.template",
    "train.save_steps", "train.eval_examples", "train.report_to", "train.push_to_hub",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShippedConfig:
    """A config that pacos comes with; `purpose` is its first sentence."""

    name: str
    path: Path
    purpose: str


def shipped_configs() -> list[ShippedConfig]:
    """All shipped configs, by name."""
    found = [ShippedConfig(path.stem, path, _purpose(path)) for path in CONFIGS.glob("*.yaml")]
    return sorted(found, key=lambda config: config.name)


def shipped_config(name: str) -> ShippedConfig:
    """The shipped config of this name. Raises ConfigError where there is none."""
    found = {config.name: config for config in shipped_configs()}
    if name not in found:
        raise ConfigError(f"there is no config {name!r}", todo=f"`pacos configs` lists them: {', '.join(found)}")
    return found[name]


def write_experiment(name: str, source: ShippedConfig, folder: Path, *, with_seeds: bool = False) -> list[Path]:
    """Write `<name>.yaml`, which is `source` under another name, and the shipped files that it refers to.

    `with_seeds` writes the packaged seed tasks to `<name>-seeds.jsonl`, which the config then names. Returns what was
    written; companions that are there already stay. Raises ConfigError for a name that is no file name, and for
    files that are there.
    """
    if safe_name(name) != name:
        raise ConfigError(f"{name!r} cannot be the name of a run", todo="use letters, digits, `-`, `_` and `.`")
    config, seeds = folder / f"{name}.yaml", folder / f"{name}-seeds.jsonl"
    for file in (config, seeds) if with_seeds else (config,):
        if file.exists():
            raise ConfigError("is there already", where=str(file), todo="choose another name, or delete it")
    text = re.sub(r"^name: .*$", f"name: {_scalar(name)}", read_text(source.path), count=1, flags=re.MULTILINE)
    written = [config]
    if with_seeds:
        text = _with_seeds(text, seeds.name)
        write_text(seeds, read_text(PACKAGED_SEEDS))
        written.append(seeds)
    write_text(config, text + _further_keys(text))
    return written + list(_write_companions(text, folder))


def missing_inputs(config: Path, folder: Path) -> dict[str, str]:
    """{what the config refers to and `folder` lacks: the command that brings it}."""
    named = set(_texts(yaml.safe_load(read_text(config))))
    return {
        path: command
        for path, command in FETCHED.items()
        if any(text == path or text.startswith(f"{path}/") for text in named) and not (folder / path).exists()
    }


def _with_seeds(text: str, file: str) -> str:
    """The config with `generate.seeds`, as the first key of its section."""
    key = f"  seeds: {_scalar(file)}\n"
    if "generate:" in text.splitlines():
        return text.replace("\ngenerate:\n", f"\ngenerate:\n{key}", 1)
    return f"{text}generate:\n{key}"


def _further_keys(text: str) -> str:
    """A comment with keys that the config does not set, their defaults and meanings."""
    from pacos.config.reference import keys

    values = yaml.safe_load(text)
    lines = ["", "# Further keys, with their defaults; `pacos config` has all of them."]
    for key in keys():
        section, _, name = key.name.rpartition(".")
        if key.name in NEXT_KEYS and name not in (values.get(section, {}) if section else values):
            lines.append(f"#   {key.name}: {key.default.strip('`')} — {key.meaning}")
    return "\n".join(lines) + "\n"


def _write_companions(text: str, folder: Path) -> Iterator[Path]:
    """Copy the demonstration's suite and accelerate's files where the config names them; yields what was copied."""
    for named in sorted(set(_texts(yaml.safe_load(text)))):
        if named == "demo/suite":
            files = {folder / named / file.relative_to(DEMO_SUITE): file for file in DEMO_SUITE.rglob("*")}
        elif named.startswith("configs/accelerate/"):
            files = {folder / named: CONFIGS / Path(named).relative_to("configs")}
        else:
            continue
        absent = {target: file for target, file in files.items() if file.is_file() and not target.exists()}
        for target, file in absent.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, file.read_bytes())
        if absent:
            yield folder / named


def _purpose(path: Path) -> str:
    """The first sentence of a config's comment."""
    comment = re.match(r"(?:#.*\n)+", read_text(path))
    words = re.sub(r"^# ?", "", comment[0] if comment else "", flags=re.MULTILINE).split()
    return " ".join(words).partition(". ")[0].rstrip(".")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a YAML value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _scalar(text: str) -> str:
    """The text as YAML: in quotes where it would be read as something else."""
    return yaml.safe_dump(text).removesuffix("...\n").strip()
