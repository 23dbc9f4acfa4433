"""`pacos winrate`: AlpacaEval's win rate and standard error, from the preferences in its `annotations.json`.

`preference` lies between 1 (the baseline, `generator_1`) and 2 (the model, `generator_2`); 1.5, and 0 in old files,
is a tie; null is an unreadable judgement, which is dropped and counted. AlpacaEval undoes the switch of order before it
writes the file (alpaca_eval `metrics/helpers.py`, `describe_head2head`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.agreement import compare_blind
from pacos.files import read_rows
from pacos.results import extend
from pacos.results.figures import BlindComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEvalWinRate(BlindComparison):
    """The preferences between one model and one baseline; `unreadable` ones are not in `n`."""

    model: str
    baseline: str
    unreadable: int


def win_rates(path: Path) -> list[AlpacaEvalWinRate]:
    """Read annotations and return a win rate for each pair of model and baseline.

    Raises DataError with the row for a preference out of range, and for a file without any.
    """
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    unreadable: Counter[tuple[str, str]] = Counter()
    for where, row in read_rows(path):
        if not isinstance(row, dict) or "preference" not in row:
            raise DataError("an annotation is an object with `preference`", where=where)
        pair = str(row.get("generator_2", "model")), str(row.get("generator_1", "baseline"))
        preference = row["preference"]
        if preference is None or preference != preference:
            unreadable[pair] += 1
        elif type(preference) in (int, float) and (preference == 0 or 1 <= preference <= 2):
            values[pair].append((preference or 1.5) - 1)
        else:
            raise DataError(f"a preference lies between 1 and 2, or is 0 for a tie, not {preference!r}", where=where)
    if not values:
        raise DataError("holds no preferences", where=str(path))
    return [
        extend(
            AlpacaEvalWinRate,
            compare_blind(of_pair),
            model=model,
            baseline=baseline,
            unreadable=unreadable[model, baseline],
        )
        for (model, baseline), of_pair in values.items()
    ]


def win_rate_table(rates: Sequence[AlpacaEvalWinRate]) -> str:
    """Return a line for each pair, for the terminal."""
    return "\n".join(map(_line, rates))


def _line(row: AlpacaEvalWinRate) -> str:
    rate = row.win_rate
    error = "" if row.standard_error is None else f" (standard error {row.standard_error:.2f})"
    interval = f"{rate.rate:.2f} %{error}, 95 % [{rate.low:.1f}, {rate.high:.1f}]" if rate else "none"
    return (
        f"{row.model} against {row.baseline}: win rate {interval}; {row.n} comparisons, {row.wins} won, "
        f"{row.ties} tied, {row.losses} lost, {row.unreadable} unreadable"
    )
