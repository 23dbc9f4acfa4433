"""The scripted server's answers to the three prompts of preset self-instruct."""

import hashlib
from pathlib import Path

from pacos.config import ModelConfig
from pacos.models import load_tokenizer
from tests.support.scripted_server import Prompt

SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru")


class Teacher:
    """Answers each of the three questions as a pure function of its prompt, with an occasional mistake."""

    def __init__(self, base: Path) -> None:
        self._tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))

    def __call__(self, prompt: Prompt, seed: int | None) -> tuple[str, str]:
        text = self.read(prompt)
        draw = hashlib.sha256(text.encode()).digest()
        if text.endswith("classification?"):
            return (" Yes" if draw[0] % 3 == 0 else " No" if draw[0] % 3 == 1 else " Perhaps"), "stop"
        if text.endswith("\n"):
            return self._instances(text.startswith("For each classification task"), draw)
        lines = [
            "".join(SYLLABLES[byte % 10] + " " * (byte % 2) for byte in draw[item : item + 12]) for item in range(7)
        ]
        return "\n".join(
            [f" describe {lines[0]}.", *(f"{n}. Name {line}" for n, line in enumerate(lines[1:], 10))]
        ), "stop"

    def read(self, prompt: Prompt) -> str:
        return str(self._tokenizer.decode(list(prompt), skip_special_tokens=True))

    def _instances(self, label_first: bool, draw: bytes) -> tuple[str, str]:
        if label_first:
            return f"Class label: yes\nNumber: {draw[1]}\nClass label: no\nNumber: {draw[1] + 256}\n", "stop"
        text = f"Example 1\nText: {draw[1]}\nOutput: a {draw[2]}\nExample 2\nText: {draw[3]}\nOutput:"
        return text + (" b" if draw[4] % 2 else ""), "length" if draw[5] % 4 == 0 else "stop"
