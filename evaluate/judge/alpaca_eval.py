"""AlpacaEval's annotations (`annotations.json`): its win rate and standard error, from the preferences in the file.

`preference` lies between 1 (the baseline, `generator_1`) and 2 (the model, `generator_2`); 1.5, and 0 in old files,
is a tie; null is a judgement that could not be read, which is dropped and counted. AlpacaEval has undone the
switch of order before it writes the file (alpaca_eval `metrics/helpers.py`, `describe_head2head`).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.agreement import comparison
from pacos.records import read_rows


def win_rates(path: Path) -> list[dict[str, Any]]:
    """One row per pair: {model, baseline, n, wins, ties, losses, win_rate, standard_error, sign_test_p, unreadable}.

    Raises DataError with the row for a preference that is none, and for a file without any.
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
        elif isinstance(preference, int | float) and (preference == 0 or 1 <= preference <= 2):
            values[pair].append((preference or 1.5) - 1)
        else:
            raise DataError(f"a preference lies between 1 and 2, or is 0 for a tie, not {preference!r}", where=where)
    if not values:
        raise DataError("holds no preferences", where=str(path))
    return [
        {"model": pair[0], "baseline": pair[1], **asdict(found), "unreadable": unreadable[pair]}
        for pair, of_pair in values.items()
        if (found := comparison(of_pair))
    ]


def table(rates: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rates:
        rate = row["win_rate"]
        error = "" if row["standard_error"] is None else f" (standard error {row['standard_error']:.2f})"
        lines.append(
            f"{row['model']} against {row['baseline']}: win rate {rate['rate']:.2f} %{error}, "
            f"95 % [{rate['low']:.1f}, {rate['high']:.1f}]; {row['n']} comparisons, {row['wins']} won, "
            f"{row['ties']} tied, {row['losses']} lost, {row['unreadable']} unreadable"
        )
    return "\n".join(lines)
