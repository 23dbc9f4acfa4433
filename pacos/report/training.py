"""The report's part on training: what `metrics.jsonl` comes to."""

from pathlib import Path
from typing import Any

from pacos.records import read_jsonl

Values = dict[str, Any]


def training(path: Path) -> Values:
    if not path.is_file():
        return {}
    steps = [values for _, values in read_jsonl(path, torn_tail=True)]
    if not steps:
        return {}
    seconds = sum(step["seconds"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    return {
        "steps": [
            {key: step[key] for key in ("step", "epoch", "loss", "learning_rate", "grad_norm")} for step in steps
        ],
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "examples": sum(step["examples"] for step in steps),
        "tokens": tokens,
        "response_tokens": sum(step["response_tokens"] for step in steps),
        "tokens_per_s": tokens / seconds if seconds else 0.0,
        "fill": sum(step["fill"] for step in steps) / len(steps),
        "seconds": seconds,
    }
