"""The report's part on judgements: what people voted, what judges said, and how far the two agree."""

from pathlib import Path
from typing import Any

from pacos.records import read_object

AGAIN = "run the command that writes it again"

Values = dict[str, Any]


def reviews(run_dir: Path) -> list[Values]:
    """What people found (`review/<kind>--<name>/review.json`)."""
    return [read_object(path, todo=AGAIN) for path in sorted(run_dir.glob("review/*/review.json"))]


def judgements(run_dir: Path) -> list[Values]:
    """What judges found (`judge/<kind>--<suite>/results.json`), each with its agreement with people where they have
    voted on the same answers."""
    agreed = {
        (one["judge"]["kind"], one["name"]): one["judge"]["agreement"] for one in reviews(run_dir) if one["judge"]
    }
    found = [read_object(path, todo=AGAIN) for path in sorted(run_dir.glob("judge/*/results.json"))]
    return [one | {"people": agreed.get((one["kind"], one["suite"]), {})} for one in found]
