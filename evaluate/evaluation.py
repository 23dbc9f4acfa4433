"""One evaluation: one contestant, one suite, one prompt, one way of decoding; `eval/<label>/` is its folder.

`evaluation.json` there says what was asked of whom. Answers are taken up again only where all of that still
holds; a retrained adapter under the old name starts anew.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.prompts import Shortened
from pacos.records import write_json
from pacos.serving.adapter_check import AdapterCheck
from pacos.serving.requests import archive


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides the answers. `adapter` is "" for a model without one; `base` is "" where no model answers.

    `dtype` is what the server computes in, and `serve` says how it holds the weights: as a `model`, as an `adapter` on
    one, or `merged`; "" in records of earlier versions, whose `dtype` is that of the configuration.
    """

    model: str
    base: str
    base_sha256: str
    dtype: str
    adapter: str
    adapter_sha256: str
    suite: str
    suite_sha256: str
    n_expected: int
    prompt: str
    prompt_sha256: str
    max_tokens: int
    postprocess: str
    serve: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    settings: Settings
    shortened: Shortened = field(default_factory=Shortened)
    proof: AdapterCheck = field(default_factory=AdapterCheck)

    @property
    def prompt(self) -> dict[str, Any]:
        return {
            "preset": self.settings.prompt,
            "sha256": self.settings.prompt_sha256,
            "trailing_space": "stripped",
            "truncated": self.shortened.inputs,
            "fewer_demonstrations": self.shortened.demonstrations,
            "decoding": {"temperature": 0.0, "max_tokens": self.settings.max_tokens},
            "postprocess": self.settings.postprocess,
        }

    @property
    def adapter(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "path": settings.adapter,
            "sha256": settings.adapter_sha256,
            "serve": settings.serve if settings.adapter else "",
            "proof": asdict(self.proof),
        }

    @property
    def base(self) -> dict[str, str]:
        return {"model": self.settings.base, "sha256": self.settings.base_sha256, "dtype": self.settings.dtype}

    def write(self, folder: Path) -> None:
        write_json(folder / "evaluation.json", asdict(self))


def read_evaluation(folder: Path) -> Evaluation | None:
    """None where no evaluation was begun. Raises DataError for a file that is not ours."""
    path = folder / "evaluation.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Evaluation(
            Settings(**values["settings"]), Shortened(**values["shortened"]), AdapterCheck(**values["proof"])
        )
    except (json.JSONDecodeError, TypeError, KeyError) as broken:
        raise DataError(
            f"is not an evaluation's record: {broken}", where=str(path), todo="delete its folder and evaluate again"
        ) from None


def take_up_answers(folder: Path, settings: Settings) -> bool:
    """Whether the answers in `folder` are answers to `settings`; others are archived, not deleted."""
    earlier = read_evaluation(folder)
    if earlier is None:
        return False
    if _same(earlier.settings, settings):
        return True
    (folder / "scores.json").unlink(missing_ok=True)
    predictions = folder / "predictions.jsonl"
    if predictions.is_file():
        archive(predictions, "the model, the suite or the decoding has changed; earlier answers are in")
    return False


def _same(earlier: Settings, now: Settings) -> bool:
    """An adapter counts by its content, wherever it lies; a hub model has no fingerprint before its download; what an
    earlier version did not record is taken to be the same."""
    unknown = not (earlier.base_sha256 and now.base_sha256)
    base_sha256 = now.base_sha256 if unknown else earlier.base_sha256
    if not earlier.serve:
        earlier = replace(earlier, serve=now.serve, dtype=now.dtype)
    return replace(earlier, adapter=now.adapter, base_sha256=base_sha256) == now
