"""`rounds.json`: what the rounds came to, gathered from each step's files, and checked for what can go wrong.

A model that rewards itself can learn to please itself: answers grow, scores crowd together, the judge drifts from
people. Each is measured every round, and stops the loop unless `loop.stops.stop` is false.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pacos.config import Config, StopsConfig
from pacos.errors import RunError
from pacos.records import Prediction, read_records
from pacos.results import Result, read_result
from pacos.results.comparison import Comparison
from pacos.results.dataset import DatasetStats
from pacos.results.figures import Rate
from pacos.results.judging import AdditiveResults, PairwiseFigures, PairwiseResults
from pacos.results.rounds import (
    PairStats,
    PublishedRound,
    Round,
    RoundModel,
    RoundPrompts,
    Rounds,
    SuiteScores,
)
from pacos.runs import evaluation_folder, evaluation_label
from pacos.self_rewarding.steps import compared_suite, model_name, round_dir

log = logging.getLogger("pacos")

# Yuan et al. 2401.10020: tables 1, 2 and 4, figure 3 (head to head, wins and losses in per cent of 256 prompts).
# Published, not measured here.
PUBLISHED_ROUNDS = [
    PublishedRound("SFT baseline"),
    PublishedRound("M1", alpaca_eval=9.94, length=1092),
    PublishedRound("M2", alpaca_eval=15.38, length=1552, pairs=3964, against={"M1": [55.5, 11.7]}),
    PublishedRound("M3", alpaca_eval=20.44, length=2552, pairs=6942, against={"M2": [47.7, 12.5]}),
]


def measured_rounds(config: Config) -> Rounds:
    """Return what has been measured so far, models and rounds in their order."""
    numbers = range(1, config.loop.rounds + 2)
    models = [model for number in numbers if (model := _model(config, number))]
    rounds = [found for number in numbers if (found := _round(round_dir(config, number), number))]
    return Rounds(models, rounds, PUBLISHED_ROUNDS, alarms(models, rounds, config.loop.stops), cautions(models))


def raise_alarm(config: Config) -> None:
    """Raise RunError where the loop has gone wrong; only log it where `loop.stops.stop` is false."""
    measured = measured_rounds(config)
    found = measured.alarms
    for line in (*found, *measured.cautions):
        log.warning("loop: %s", line)
    if found and config.loop.stops.stop:
        raise RunError(
            f"the loop stops: {'; '.join(found)}",
            where=str(config.run_dir / "rounds.json"),
            todo="look at what the last round wrote; loop.stops.stop=false continues anyway",
        )


def alarms(models: Sequence[RoundModel], rounds: Sequence[Round], stops: StopsConfig) -> list[str]:
    """Return a line for each thing that has gone wrong, with its figure and the limit it passed."""
    lines = []
    for model in models:
        if model.ranking is None:
            continue
        accuracy, least = model.ranking.pairwise_accuracy, 100 * stops.judge_accuracy
        if accuracy is None:
            lines.append(f"{model.name} gives no judgement that can be read")
        elif accuracy.rate < least:
            lines.append(
                f"{model.name} prefers what people prefer in {accuracy.rate:.1f} % of the held-out pairs; "
                f"the minimum is {least:g} %"
            )
    for one in rounds:
        margin = one.pairs.margin.mean if one.pairs else math.inf
        if margin < stops.margin:
            lines.append(
                f"round {one.round}: chosen and rejected are {margin:.2f} points apart; the minimum is {stops.margin:g}"
            )
    return lines + _longer(models, stops.length_growth)


def cautions(models: Sequence[RoundModel]) -> list[str]:
    """Return a line for each judge whose verdicts cannot be told from chance, or that mostly judges by position."""
    lines = []
    for model in models:
        accuracy = model.ranking.pairwise_accuracy if model.ranking else None
        if accuracy and accuracy.low <= 50 <= accuracy.high:
            lines.append(
                f"{model.name} judges no better than chance, as far as the held-out pairs can tell: it prefers what "
                f"people prefer in {accuracy.rate:.1f} % [{accuracy.low:.1f}, {accuracy.high:.1f}]"
            )
        for other, row in model.against.items():
            if (agreeing := row.position_consistency) and agreeing.rate < 50:
                lines.append(
                    f"{model.name} against {other}: the judge prefers the same answer in both orders in only "
                    f"{agreeing.rate:.1f} % of the comparisons, so the win rate says little"
                )
    return lines


def _longer(models: Sequence[RoundModel], limit: float) -> list[str]:
    words = {model.name: model.words for model in models if model.words}
    first = next(iter(words.values()), None)
    return [
        f"{name} answers in {count:.1f} words, {count / first:.1f} times as many as M1; the maximum is {limit:g} times"
        for name, count in words.items()
        if first and count > limit * first
    ]


def _model(config: Config, number: int) -> RoundModel | None:
    """M`number` as it was measured; None before it was."""
    name, judged = model_name(number), round_dir(config, number - 1) / "judge"
    as_judge = _read(judged / "additive--held-aside" / "results.json", AdditiveResults)
    compared = _read(judged / f"pairwise--{compared_suite(config.evaluate)}" / "results.json", PairwiseResults)
    suites = {suite.name: _suite_scores(config, name, index) for index, suite in enumerate(config.evaluate.suites)}
    model = RoundModel(
        name=name,
        suites={suite: scores for suite, scores in suites.items() if scores},
        words=_mean_words(config, name),
        ranking=as_judge.ranking if as_judge else None,
        against={other: _mirrored(row) for other, row in compared.models.items()} if compared else {},
    )
    return model if model.suites or model.ranking or model.against else None


def _suite_scores(config: Config, name: str, index: int) -> SuiteScores | None:
    label = evaluation_label("comparison", config.evaluate.suites[index], config.evaluate)
    comparison = _read(config.run_dir / "eval" / f"{label}.json", Comparison)
    rows = [row for row in comparison.contestants if row.name == name] if comparison else []
    return SuiteScores(rows[0].rougeL, rows[0].exact_match, rows[0].against_base) if rows else None


def _mean_words(config: Config, name: str) -> float | None:
    """Mean words of the model's answers to the first suite, the same questions for every model."""
    if not config.evaluate.suites:
        return None
    path = evaluation_folder(config, name) / "predictions.jsonl"
    if not path.is_file():
        return None
    lengths = [len(row.raw.split()) for row in read_records(path, Prediction)]
    return round(math.fsum(lengths) / len(lengths), 2) if lengths else None


def _mirrored(row: PairwiseFigures) -> PairwiseFigures:
    """The new model against the other: the judge compares the others with it, because its answers are named first."""
    rate = row.win_rate
    mirrored = rate and Rate(100 - rate.rate, 100 - rate.high, 100 - rate.low)
    return replace(row, wins=row.losses, losses=row.wins, win_rate=mirrored)


def _round(folder: Path, number: int) -> Round | None:
    pairs = _read(folder / "pairs" / "stats.json", PairStats)
    stats = _read(folder / "dataset" / "stats.json", DatasetStats)
    prompts = _prompts(stats) if stats else None
    return Round(number, prompts, pairs) if prompts or pairs else None


def _prompts(stats: DatasetStats) -> RoundPrompts:
    return RoundPrompts(
        items=stats.funnel.items,
        accepted=stats.funnel.accepted,
        not_novel=stats.funnel.rejected.get("novelty", 0),
        nearest=stats.novelty.mean_nearest_rougeL,
    )


def _read(path: Path, kind: type[Result]) -> Result | None:
    return read_result(path, kind, todo="run the loop again") if path.is_file() else None
