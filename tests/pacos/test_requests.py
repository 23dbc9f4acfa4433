"""Asking resumably: what a journal holds is not asked again, and nothing that was answered is lost."""

import asyncio
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.errors import EngineError
from pacos.files import write_jsonl
from pacos.records import AnswerRow, read_records
from pacos.runs import Stage
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.requests import Ask, archive, ask_all
from tests.support.scripted_server import ScriptedServer


def row(number: int, text: str, sha256: str = "now") -> AnswerRow:
    return AnswerRow(f"task-{number}", "Say it.", "", text, "base", 0, sha256, "stop")


def asks(journal: Path, numbers: range) -> list[Ask[AnswerRow]]:
    def ask(number: int) -> Ask[AnswerRow]:
        def record(answer: Completion) -> AnswerRow:
            return row(number, answer.text)

        return Ask((f"task-{number}", "now"), [1, 30 + number], Sampling(4), journal, record)

    return [ask(number) for number in numbers]


def ask_server(server: ScriptedServer, base: Path, wanted: list[Ask[AnswerRow]], folder: Path) -> Stage:
    engine = EngineConfig(url=server.url, max_in_flight=2)
    config = Config(name="asking", model=ModelConfig(base=str(base)), engine=engine)
    stage = Stage("")

    async def work() -> None:
        async with open_engine(config, folder) as engine:
            await ask_all(
                engine,
                wanted,
                read=AnswerRow,
                key_of=lambda row: (row.id, row.prompt_sha256),
                stage=stage,
                doing="asking",
                unit="answers",
            )

    asyncio.run(work())
    return stage


def answers(journal: Path) -> dict[str, str]:
    return {row.id: row.output for row in read_records(journal, AnswerRow)}


def test_what_the_journal_holds_is_not_asked_again(tiny_base: Path, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    write_jsonl(journal, [row(0, "kept"), row(2, "kept too")])
    with ScriptedServer(answer=lambda prompt, seed: (f"new {prompt[1]}", "stop")) as server:
        stage = ask_server(server, tiny_base, asks(journal, range(4)), tmp_path)
        assert sorted(server.asked) == [(1, 31), (1, 33)]
    assert answers(journal) == {"task-0": "kept", "task-1": "new 31", "task-2": "kept too", "task-3": "new 33"}
    assert stage.tokens == {"prompt": 4, "completion": 4}, "two prompts of two tokens, two answers of two words"


def test_an_answer_to_another_prompt_leaves_the_journal_and_stays_in_the_archive(
    tiny_base: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "answers.jsonl"
    write_jsonl(journal, [row(0, "old", sha256="before"), row(1, "kept")])
    before = journal.read_bytes()
    with ScriptedServer(answer=lambda prompt, seed: ("new", "stop")) as server:
        ask_server(server, tiny_base, asks(journal, range(2)), tmp_path)
    assert answers(journal) == {"task-0": "new", "task-1": "kept"}
    assert (tmp_path / "superseded-1.jsonl").read_bytes() == before


def test_two_journals_are_kept_apart(tiny_base: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "answers.jsonl", tmp_path / "other" / "answers.jsonl"
    write_jsonl(one, [row(0, "kept")])
    with ScriptedServer(answer=lambda prompt, seed: ("new", "stop")) as server:
        ask_server(server, tiny_base, [*asks(one, range(1)), *asks(other, range(1))], tmp_path)
    assert (answers(one), answers(other)) == ({"task-0": "kept"}, {"task-0": "new"})


def test_an_error_ends_the_asking_and_keeps_what_was_answered(tiny_base: Path, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    with (
        ScriptedServer(answer=lambda prompt, seed: ("new", "stop"), status=lambda n: 200 if n <= 6 else 400) as server,
        pytest.raises(EngineError, match="400"),
    ):
        ask_server(server, tiny_base, asks(journal, range(40)), tmp_path)
    assert 5 <= len(answers(journal)) <= 6 and len(server.asked) < 12


def test_archives_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "answers.jsonl").write_text(text)
        archive(tmp_path / "answers.jsonl", "the model has changed; earlier answers are in")
    assert [(tmp_path / f"superseded-{n}.jsonl").read_text() for n in (1, 2)] == ["first", "second"]
