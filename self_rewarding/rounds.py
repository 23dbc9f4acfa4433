"""What the rounds came to, `rounds.json`: read together from what each step wrote, and looked over for what goes wrong.

A model that rewards itself can learn to please itself: answers grow, scores crowd together, the judge drifts from
people. Each is measured every round, and stops the loop unless `loop.stops.stop` is false.
"""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import RunError
from pacos.records import Prediction, read_object, read_records, write_json
from pacos.runs import evaluation_label
from pacos.self_rewarding.steps import compared_suite, model_name, round_dir

log = logging.getLogger("pacos")

Values = dict[str, Any]

# Yuan et al. 2401.10020: tables 1, 2 and 4, figure 3 (head to head, wins and losses in per cent of 256 prompts).
# Published, not measured here.
PUBLISHED = [
    {"name": "SFT baseline", "alpaca_eval": None, "length": None, "pairs": None, "against": {}},
    {"name": "M1", "alpaca_eval": 9.94, "length": 1092, "pairs": None, "against": {}},
    {"name": "M2", "alpaca_eval": 15.38, "length": 1552, "pairs": 3964, "against": {"M1": [55.5, 11.7]}},
    {"name": "M3", "alpaca_eval": 20.44, "length": 2552, "pairs": 6942, "against": {"M2": [47.7, 12.5]}},
]


def gather(config: Config) -> Values:
    """{models: [...], rounds: [...], published: [...], alarms: [...]}: what is there so far, models in their order."""
    models, rounds = [], []
    for number in range(1, config.loop.rounds + 2):
        if model := _model(config, number):
            models.append(model)
        if values := _round(config, number):
            rounds.append(values)
    found = {"models": models, "rounds": rounds, "published": PUBLISHED}
    return found | {"alarms": alarms(config, found)}


def write_rounds(home: Path, found: Values) -> None:
    write_json(home / "rounds.json", found)


def raise_alarm(config: Config) -> None:
    """Raises RunError where the loop has gone wrong; only says so where `loop.stops.stop` is false."""
    found = gather(config)["alarms"]
    for alarm in found:
        log.warning("loop: %s", alarm)
    if found and config.loop.stops.stop:
        raise RunError(
            f"the loop stops: {'; '.join(found)}",
            where=str(config.run_dir / "rounds.json"),
            todo="read what the last round wrote; loop.stops.stop=false goes on all the same",
        )


def alarms(config: Config, found: Values) -> list[str]:
    """A line for each thing that has gone wrong, with its figure and the limit it passed."""
    stops = config.loop.stops
    lines = []
    for model in found["models"]:
        if (ranking := model["ranking"]) is not None:
            accuracy = ranking["pairwise_accuracy"]
            if accuracy is None:
                lines.append(f"{model['name']} judges nothing that can be read")
            elif accuracy["rate"] < 100 * stops.judge_accuracy:
                lines.append(
                    f"{model['name']} prefers what people prefer in {accuracy['rate']:.1f} % of the pairs set aside; "
                    f"the least is {100 * stops.judge_accuracy:g} %"
                )
    for values in found["rounds"]:
        margin = values["pairs"]["margin"]["mean"] if values["pairs"] else math.inf
        if margin < stops.margin:
            lines.append(
                f"round {values['round']}: chosen and rejected are {margin:.2f} points apart; "
                f"the least is {stops.margin:g}"
            )
    return lines + _longer(found["models"], stops.length_growth)


def _longer(models: Sequence[Values], limit: float) -> list[str]:
    words = {model["name"]: model["words"] for model in models if model["words"]}
    first = next(iter(words.values()), None)
    return [
        f"{name} answers in {count:.1f} words, {count / first:.1f} times what M1 took; the most is {limit:g} times"
        for name, count in words.items()
        if first and count > limit * first
    ]


def _model(config: Config, number: int) -> Values | None:
    """M`number` as it was measured; None before it was."""
    name, judged = model_name(number), round_dir(config, number - 1) / "judge"
    suites = {suite.name: _suite(config, name, place) for place, suite in enumerate(config.evaluate.suites)}
    values = {
        "name": name,
        "suites": {suite: scores for suite, scores in suites.items() if scores},
        "words": _words(config, name),
        "ranking": _read(judged / "additive--held-aside" / "results.json", lambda found: found["ranking"]),
        "against": _read(judged / f"pairwise--{compared_suite(config)}" / "results.json", _turned) or {},
    }
    return values if any(values[key] for key in ("suites", "ranking", "against")) else None


def _suite(config: Config, name: str, place: int) -> Values | None:
    """{rougeL, exact_match, against_base}: the last with its interval, clustered by task."""
    suite, folder = config.evaluate.suites[place], config.run_dir / "eval"
    comparison = folder / f"{evaluation_label('comparison', suite, config.evaluate)}.json"

    def row(found: Values) -> Values | None:
        rows = (one for one in found["contestants"] if one["name"] == name)
        wanted = ("rougeL", "exact_match", "against_base")
        return next(({key: one[key] for key in wanted} for one in rows), None)

    found: Values | None = _read(comparison, row)
    return found


def _words(config: Config, name: str) -> float | None:
    """Mean words of the model's answers to the first suite, the same questions for every model."""
    if not config.evaluate.suites:
        return None
    path = (
        config.run_dir
        / "eval"
        / evaluation_label(name, config.evaluate.suites[0], config.evaluate)
        / "predictions.jsonl"
    )
    if not path.is_file():
        return None
    lengths = [len(row.raw.split()) for row in read_records(path, Prediction)]
    return round(math.fsum(lengths) / len(lengths), 2)


def _turned(found: Values) -> Values:
    """The judge's results are others against the new model, its answers being read first; here it is against them."""
    return {name: _against(row) for name, row in found["models"].items()}


def _against(row: Values) -> Values:
    if not row["n"]:
        return row
    rate = row["win_rate"]
    turned = {"rate": 100 - rate["rate"], "low": 100 - rate["high"], "high": 100 - rate["low"]}
    return row | {"wins": row["losses"], "losses": row["wins"], "win_rate": turned}


def _round(config: Config, number: int) -> Values | None:
    folder = round_dir(config, number)
    pairs = _read(folder / "pairs" / "stats.json")
    prompts = _read(folder / "dataset" / "stats.json", _prompts)
    return {"round": number, "prompts": prompts, "pairs": pairs} if prompts or pairs else None


def _prompts(stats: Values) -> Values:
    """`nearest` is the mean ROUGE-L of a new task to the nearest of seeds, earlier rounds and its own."""
    funnel = stats["funnel"]
    return {
        "items": funnel["items"],
        "accepted": funnel["accepted"],
        "not_novel": funnel["rejected"].get("novelty", 0),
        "nearest": stats["novelty"]["mean_nearest_rougeL"],
    }


def _read(path: Path, of: Callable[[Values], Any] = lambda found: found) -> Any:
    return of(read_object(path, todo="run the loop again")) if path.is_file() else None
