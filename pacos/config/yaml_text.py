"""YAML as its writer means it, and bounded.

YAML 1.1, which PyYAML reads, takes `yes` for true, `0123` for 83, `1:30` for 90 and `2024-02-30` for a date, and lets
the last of two equal keys win. Here `yes` is text that says so (`TruthWord`), digits are decimal, a time or a date is
text, and a key that stands twice is an error. Whatever PyYAML writes is read back as it was.
"""

import re
from typing import Any

import yaml

from pacos.errors import ConfigError

# An experiment has some hundred values. Aliases multiply them, so they are counted as often as they stand for one.
MOST_NODES = 20_000
DEEPEST = 40
LARGEST_INTEGER = 2**63

_TRUTH = re.compile(r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)")
_NUMBER = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_RARE_BREAK = re.compile("[\x85\u2028\u2029]")


class TruthWord(str):
    """yes, no, on or off without quotes: text where text is meant, else a truth value."""

    __slots__ = ()

    @property
    def truth(self) -> bool:
        """Whether it is yes or on."""
        return self.lower() in ("yes", "on")


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML document. Raises ConfigError with the line for one that is not valid or too large."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except yaml.reader.ReaderError as broken:
        line_number = text.count("\n", 0, broken.position) + 1
        what = f"not valid YAML: a text has the control character U+{broken.character:04X}"
        raise ConfigError(what, where=f"{where}:{line_number}") from None
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(broken, "problem", None) or str(broken).partition("\n")[0]
        raise ConfigError(f"not valid YAML: {problem}", where=f"{where}{line}") from None


def write_yaml(values: Any) -> str:
    """YAML that `parse_yaml` reads back as these values, keys in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, with texts as escapes that it would write with line breaks and read back as blanks."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _RARE_BREAK.search(text) else None)


_Dumper.add_representer(str, _represent_text)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the rules of this module. Depth is bounded as the text is read: PyYAML's own functions
    call themselves once a level."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        self._check_depth(self.flow_level)
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        self._check_depth(len(self.indents))
        return bool(super().add_indent(column))

    def _check_depth(self, depth: int) -> None:
        if depth > DEEPEST:
            raise yaml.scanner.ScannerError(None, None, "it is nested too deeply", self.get_mark())


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0].endswith((":null", ":merge"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":null", ":str", ":seq", ":map"))
}


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _invalid("not a mapping", node)
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _invalid("a key must be text", key)
        if key.value in lines:
            raise _invalid(f"the key `{key.value}` stands twice, first in line {lines[key.value]}", key)
        lines[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    values = {}
    for key, value in node.value:
        # Text, whatever it looks like: `on:` is a key of that name.
        values[str(key.value)] = loader.construct_object(value, deep=True)  # type: ignore[no-untyped-call]
    return values


def _construct_truth(loader: _Loader, node: yaml.ScalarNode) -> bool | TruthWord:
    text = str(loader.construct_scalar(node))
    if not _TRUTH.fullmatch(text):
        raise _invalid(f"{text!r} is neither true nor false", node)
    return text.lower() == "true" if text.lower() in ("true", "false") else TruthWord(text)


def _construct_integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    digits = str(loader.construct_scalar(node)).replace("_", "")
    bases = {"0b": 2, "0x": 16}
    try:
        value = int(digits, bases.get(digits.lstrip("+-")[:2], 10))
    except ValueError:
        value = LARGEST_INTEGER
    if abs(value) >= LARGEST_INTEGER:
        raise _invalid(f"{node.value[:30]!r} is not a whole number of at most 64 bits", node)
    return value


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> float:
    digits = str(loader.construct_scalar(node)).replace("_", "").lower()
    try:
        return float(re.sub(r"\.(?=inf|nan)", "", digits))
    except ValueError:
        raise _invalid(f"{node.value[:30]!r} is not a number", node) from None


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if _UNUSABLE.search(text):
        raise _invalid("a text holds NUL or half a character", node)
    return text


def _invalid(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _check_size(root: yaml.Node) -> None:
    """Raise a YAML error for more nodes, or deeper ones, than an experiment can have; aliases count in full."""
    count, open_nodes = 0, [(root, 1)]
    while open_nodes:
        node, depth = open_nodes.pop()
        count += 1
        if depth > DEEPEST:
            raise _invalid("it is nested too deeply", node)
        if count > MOST_NODES:
            raise _invalid(f"it has more than {MOST_NODES:,} values, aliases counted in full", node)
        if isinstance(node, yaml.SequenceNode):
            open_nodes += [(element, depth + 1) for element in node.value]
        elif isinstance(node, yaml.MappingNode):
            open_nodes += [(element, depth + 1) for pair in node.value for element in pair]


for _tag, _pattern, _first in (
    ("bool", _TRUTH, "tTfFyYnNoO"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _NUMBER, "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:bool", _construct_truth)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_number)
_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)
