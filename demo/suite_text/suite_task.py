"""One task of the suite, as it is written down here, and as SuperNI's JSON wants it."""

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SuiteTask:
    """A task of the suite.

    `examples` and `instances` hold a line each: `input => reference || reference`; `~` breaks the input's line.
    The references of a long line follow below it.
    """

    number: int
    name: str
    category: str
    reasoning: str
    domain: str
    definition: str
    examples: str
    mistake: tuple[str, str]
    instances: str

    @property
    def file_name(self) -> str:
        return f"task{self.number}_pacos_{self.name}"

    def pairs(self) -> list[tuple[str, list[str]]]:
        """The instances: input and references."""
        return _pairs(self.instances)

    def to_superni(self) -> dict[str, Any]:
        examples = _pairs(self.examples)
        wrong, why = self.mistake
        return {
            "Contributors": ["pacos"],
            "Source": ["pacos_demo"],
            "URL": [],
            "Categories": [self.category],
            "Reasoning": [self.reasoning],
            "Definition": [self.definition],
            "Input_language": ["English"],
            "Output_language": ["English"],
            "Instruction_language": ["English"],
            "Domains": [self.domain],
            "Positive Examples": [
                {"input": given, "output": references[0], "explanation": "This is the answer the definition asks for."}
                for given, references in examples
            ],
            "Negative Examples": [{"input": examples[0][0], "output": wrong, "explanation": why}],
            "Instances": [
                {"id": f"task{self.number}-{_digest(given)}", "input": given, "output": references}
                for given, references in self.pairs()
            ],
            "Instance License": ["Apache-2.0"],
        }


def _pairs(block: str) -> list[tuple[str, list[str]]]:
    pairs = []
    for line in block.strip().replace("\n=> ", " => ").splitlines():
        given, _, references = line.partition(" => ")
        pairs.append(("\n".join(part.strip() for part in given.split("~")), references.strip().split(" || ")))
    return pairs


def _digest(given: str) -> str:
    return hashlib.sha256(given.encode()).hexdigest()[:32]
