"""`pacos curate` commits many answers together, and writes what committing them one by one would write."""

import random
from pathlib import Path

import pytest

from pacos.config import FiltersConfig, GenerateConfig
from pacos.files import write_jsonl
from pacos.generate import judging
from pacos.generate.curate import curate
from pacos.generate.journal import read_responses
from pacos.generate.pool import Pool
from pacos.novelty.index import NoveltyIndex
from pacos.novelty.neighbours import BATCH
from pacos.seeds import load_seeds, seeds_path

FILES = ("dataset.jsonl", "rejected.jsonl")


def journal(folder: Path, answers: int, tasks: int) -> Path:
    """A journal whose instructions are six of 400 words, some near copies of others, some cut short."""
    draw = random.Random(answers)
    rows: list[dict[str, str | int]] = []
    for request in range(answers):
        texts = [" ".join(f"word{draw.randrange(400)}" for _ in range(draw.choice((2, 6, 6, 6)))) for _ in range(tasks)]
        if request % 5 == 4:
            texts[0] = str(rows[-1]["text"]).partition("\n")[0].strip() + " more"
        items = [f" {text}\n4. Input:\n<noinput>\n4. Output:\nAnswer {request}.\n" for text in texts]
        reason = "length" if request % 7 == 6 else "stop"
        rows.append({"request": request, "text": "###\n4. Instruction:".join(items), "finish_reason": reason})
    write_jsonl(folder / "responses.jsonl", rows)
    return folder / "responses.jsonl"


@pytest.mark.parametrize("target", [10_000, 301, 256, 1])
@pytest.mark.parametrize(("answers", "tasks"), [(600, 1), (90, 8)])
def test_the_files_are_those_of_committing_answers_one_by_one(
    tmp_path: Path, answers: int, tasks: int, target: int
) -> None:
    responses = journal(tmp_path / "in", answers, tasks)
    stats = curate(responses, tmp_path / "together", GenerateConfig(target=target))
    with Pool(tmp_path / "single", load_seeds(seeds_path(None)), FiltersConfig(), target) as pool:
        for answer in read_responses(responses).values():
            if not pool.is_full:
                pool.commit_answer(answer)
    for name in FILES:
        assert (tmp_path / "together" / name).read_bytes() == (tmp_path / "single" / name).read_bytes()
    assert (stats.funnel.requests, stats.funnel.items) == (pool.tally.requests, pool.tally.items)
    assert stats.funnel.accepted == min(target, pool.tally.accepted)
    assert stats.funnel.rejected == pool.tally.rejected


def test_one_task_answers_share_passes_over_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of its own for each answer made 54,000 answers take six minutes."""
    asked: list[int] = []
    neighbours = NoveltyIndex.neighbours

    def counted(index: NoveltyIndex, start: int = 0, end: int | None = None) -> object:
        asked.append(len(index) - start)
        return neighbours(index, start, end)

    monkeypatch.setattr(NoveltyIndex, "neighbours", counted)
    curate(journal(tmp_path / "in", 600, 1), tmp_path / "out", GenerateConfig(target=10_000))
    assert len(asked) == -(-600 // judging.PER_COMMIT)
    assert judging.PER_COMMIT % BATCH == 0, "a batch is filled by one-task answers"
