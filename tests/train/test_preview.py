"""`pacos inspect`: what it shows is what training sees, and a row's text can neither steer a terminal nor a page."""

import io
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pacos import cli
from pacos.config import Config
from pacos.report.render import render_rows
from pacos.report.rows import Piece, RowsPreview, ShownExample, Span
from pacos.report.rows_text import GUTTER, lines, show
from pacos.token_ids import token_ids
from pacos.train.data.pieces import Decoder
from pacos.train.data.preview import preview_rows
from pacos.train.data.tokenized import load_dataset
from pacos.train.interfaces import objective_of
from pacos.train.packing.plan import plan_run
from pacos.train.pipeline import TrainingData
from tests.support.chat_templates import chat_tokenizer
from tests.support.small_training import chat_config, training_config, write_pairs, write_tasks

SAID = ["A fruit?", "Apples.", "And another?", "Pears.", "One more, please.", "Plums."]
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07 \u202eevil\u2066 \u200b[red]bold[/red] <script>owned()</script>\r\n  0 supervised ┃ forged"
)


def chat_row(said: list[str] = SAID, system: str = "Be brief.") -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(said)]
    return {"messages": [{"role": "system", "content": system}, *turns]}


def plain_config(folder: Path, base: Path, rows: list[dict[str, Any]], **train: Any) -> Config:
    return chat_config(folder, base, rows, chat_template="plain", **train)


def texts(example: ShownExample, kind: str) -> list[str]:
    return ["".join(piece.text for piece in span.pieces) for span in example.spans if span.kind == kind]


def ids(example: ShownExample, *kinds: str) -> list[int]:
    spans = [span for span in example.spans if span.kind in kinds]
    return [id for span in spans for piece in span.pieces for id in piece.ids]


def printed(preview: RowsPreview, width: int = 100) -> str:
    return "\n".join(line.plain for line in lines(preview, width))


def hostile_preview(text: str = HOSTILE) -> RowsPreview:
    pieces = (Piece((7,), text), Piece((2,), "<|im_end|>", special=True))
    examples = (ShownExample(text, text, (Span("supervised", 0, pieces), Span("cut", 2, pieces))),)
    return RowsPreview(text, ((text, text),), 10, (), examples)


@pytest.mark.parametrize("name", ["chatml", "llama-2", "gemma", "command"])
def test_the_pieces_of_a_text_joined_are_the_text(name: str) -> None:
    tokenizer = chat_tokenizer(name)
    text = "Name  two fruits:\n\tapples 🍎🍏 and 日本の梨.\n"
    given = token_ids(tokenizer, [text], special=False)[0]
    pieces = Decoder(tokenizer).pieces(given)
    assert [id for piece in pieces for id in piece.ids] == given
    # SentencePiece puts a space before a text.
    assert "".join(piece.text for piece in pieces).removeprefix(" ") == text
    assert any(len(piece.ids) > 1 for piece in pieces), "a character of several tokens is one piece"


def test_half_a_character_is_shown_by_its_tokens_name() -> None:
    tokenizer = chat_tokenizer("chatml")
    half = token_ids(tokenizer, ["🍎"], special=False)[0][:2]
    pieces = Decoder(tokenizer).pieces(half)
    assert [piece.text for piece in pieces] == tokenizer.convert_ids_to_tokens(half)


def test_every_turn_of_the_assistants_is_supervised_with_its_end(tiny_base: Path, tmp_path: Path) -> None:
    config = plain_config(tmp_path, tiny_base, [chat_row()])
    [example] = preview_rows(config, 1).examples
    assert texts(example, "supervised") == [" Apples.</s>", " Pears.</s>", " Plums.</s>"]
    assert texts(example, "context")[0] == "<s>Be brief.\n\nUser: A fruit?\nAssistant:"
    controls = [piece.text for span in example.spans for piece in span.pieces if piece.special]
    assert controls == ["<s>", "</s>", "</s>", "</s>"]
    [trained] = load_dataset(config, TrainingData.load(config).tokenizer).examples
    assert ids(example, "context", "supervised") == trained.ids
    assert [span.start for span in example.spans if span.kind == "supervised"] == [
        start for start, _ in trained.label_spans
    ]


def test_shared_prefixes_and_the_first_step_are_those_of_the_training_plan(tiny_base: Path, tmp_path: Path) -> None:
    config = training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl"), eval_examples=4)
    preview = preview_rows(config, 40)
    data = TrainingData.load(config)
    plan = plan_run(data.dataset.examples, config.train, config.seed)
    shared = {one.row: sum(span.tokens for span in one.spans if span.shared) for one in preview.examples}
    assert len(shared) == 40 and max(shared.values()) > 0
    assert {one.row: one.prefix_length for one in plan.examples} == shared
    first = plan.steps[0].layout
    assert (len(preview.packed), preview.width) == (first.rows, first.width)
    assert sum(row.tokens for row in preview.packed) == first.tokens
    assert sum(row.examples for row in preview.packed) == config.train.batch_size
    assert f"rows {first.fill:.1%} filled" in printed(preview)


def test_what_is_cut_of_a_response_follows_what_is_kept(tiny_base: Path, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl")
    whole = {
        one.row: one.ids for one in TrainingData.load(training_config(tmp_path, tiny_base, tasks)).dataset.examples
    }
    limit = max(map(len, whole.values())) - 3
    preview = preview_rows(training_config(tmp_path, tiny_base, tasks, max_length=limit), 6)
    [cut] = [one for one in preview.examples if "cut at train.max_length" in one.why]
    assert ids(cut, "context", "supervised") == whole[cut.row][:limit]
    assert ids(cut, "cut") == whole[cut.row][limit:]
    assert cut.summary.endswith(f"; {len(whole[cut.row]) - limit} cut")
    assert "responses cut at train.max_length" in printed(preview)


def test_a_turn_that_does_not_fit_is_shown_as_cut_and_so_is_a_row_that_is_left_out(
    tiny_base: Path, tmp_path: Path
) -> None:
    rows = [chat_row(), chat_row([*SAID[:3], "Pears, " * 90]), chat_row(["Plums? " * 90, "Yes."])]
    preview = preview_rows(plain_config(tmp_path, tiny_base, rows, max_length=128), 3)
    [cut] = [one for one in preview.examples if "cut at" in one.why]
    assert cut.row == "chats.jsonl:2" and "".join(texts(cut, "supervised")) == " Apples.</s>"
    assert texts(cut, "cut") == ["\nUser: And another?\nAssistant: " + "Pears, " * 90 + "</s>"]
    left_out = preview.examples[-1]
    assert left_out.row == "chats.jsonl:3" and left_out.why.startswith("left out, as no answer ends")
    assert texts(left_out, "cut")[0].endswith("Assistant: Yes.</s>") and left_out.count("supervised") == 0


def test_both_answers_of_a_pair_are_shown(tiny_base: Path, tmp_path: Path) -> None:
    config = training_config(tmp_path, tiny_base, write_pairs(tmp_path / "pairs.jsonl"), objective="dpo")
    chosen, rejected, *_ = preview_rows(config, 2).examples
    assert chosen.why.startswith("chosen answer") and rejected.why.startswith("rejected answer")
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "".join(texts(chosen, "supervised")) == pairs[0]["chosen"] + "</s>"
    assert "".join(texts(rejected, "supervised")) == pairs[0]["rejected"] + "</s>"
    # The answers begin alike: a part of them is shared and supervised.
    assert any(span.shared for span in chosen.spans if span.kind == "supervised")


def test_the_examples_shown_are_the_first_the_longest_and_the_seeds(tiny_base: Path, tmp_path: Path) -> None:
    rows = [chat_row([f"{number}?", "Yes."]) for number in range(20)]
    rows[7], rows[11] = chat_row(["Plums? " * 20, "Yes."]), chat_row()
    config = plain_config(tmp_path, tiny_base, rows)
    shown = [(one.row, one.why) for one in preview_rows(config, 5).examples]
    assert shown[:3] == [
        ("chats.jsonl:1", "the first"),
        ("chats.jsonl:8", "the longest"),
        ("chats.jsonl:12", "3 supervised turns"),
    ]
    assert [why for _, why in shown[3:]] == ["drawn by the seed"] * 2
    again = [(one.row, one.why) for one in preview_rows(config, 5).examples]
    other = preview_rows(config.model_copy(update={"seed": config.seed + 1}), 5).examples
    assert again == shown != [(one.row, one.why) for one in other]


def test_the_tokenised_cache_is_used_and_nothing_is_written(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = plain_config(tmp_path, tiny_base, [chat_row()])
    without = preview_rows(config, 1)
    assert not config.run_dir.exists()
    TrainingData.load(config, keep=True)

    def encode(*_: Any) -> None:
        raise AssertionError("rows are tokenised again")

    monkeypatch.setattr(type(objective_of(config.train)), "encode", encode)
    assert preview_rows(config, 1) == without


def test_a_long_span_is_shortened_in_its_middle() -> None:
    span = Span("context", 5, tuple(Piece((number,), "a") for number in range(11)))
    head, left_out, tail = span.shortened(4)
    assert tail and [head.tokens, left_out, tail.tokens] == [2, 7, 2]
    assert (head.start, tail.start, tail.pieces[0].ids) == (5, 14, (9,))
    assert span.shortened(11) == (span, 0, None)


def test_white_space_and_control_tokens_are_seen() -> None:
    assert Piece((1,), "  two words \n").label == "··two words ⏎"
    assert Piece((1,), " ").label == "·" and Piece((1,), "\t\x00").label == "⇥\\x00"
    assert Piece((1,), "</s>", special=True).label == "⟦</s>⟧"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_ids_stand_beneath_their_text_and_lines_fit(width: int, tiny_base: Path, tmp_path: Path) -> None:
    config = plain_config(tmp_path, tiny_base, [chat_row([*SAID, "日本の梨? 🍎", "Yes. " * 30])], max_length=512)
    preview = preview_rows(config, 1)
    shown = [line for line in lines(preview, width) if "┃" in line.plain]
    below = [line.plain[GUTTER + 2 :].split() for line in shown[1::2]]
    found = [int(id) for line in below for group in line for id in group.split("+")]
    assert found == ids(preview.examples[0], "context", "supervised")
    longest = max(piece_cells for line in shown[::2] if (piece_cells := line.cell_len))
    assert longest <= max(width, GUTTER + 20)


def test_without_a_terminal_there_are_no_control_sequences_and_every_line_says_what_it_is() -> None:
    out = io.StringIO()
    show(hostile_preview(), Console(file=out, width=100))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066\u200b]", out.getvalue())
    assert "[red]bold[/red]" in out.getvalue()
    body = out.getvalue().split("\n\n")[-1].splitlines()[1:]
    assert all(re.match(r" *\d+ (supervised|cut) +┃ | +┃ [\d ]+$", line) for line in body), body


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_only_colours_are_sent(no_color: bool) -> None:
    out = io.StringIO()
    show(
        hostile_preview(), Console(file=out, width=100, force_terminal=True, no_color=no_color, color_system="standard")
    )
    sequences = re.findall(r"\x1b(\[[\d;]*m)?", out.getvalue())
    assert sequences and all(sequences), "no escape but those of styles"
    assert ("\x1b[1;32m" in out.getvalue()) is not no_color


def test_the_page_escapes_all_text_and_may_load_nothing(tmp_path: Path) -> None:
    render_rows(hostile_preview(), tmp_path / "rows.html")
    page = (tmp_path / "rows.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;owned()" in page
    assert "default-src 'none'" in page and not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066]", page)
    assert not re.search(r"""(src|href)\s*=|url\(|@import|\son\w+=""", page)


def test_the_page_shows_every_token_with_its_id(tiny_base: Path, tmp_path: Path) -> None:
    config = plain_config(tmp_path, tiny_base, [chat_row()])
    preview = preview_rows(config, 1)
    render_rows(preview, tmp_path / "rows.html")
    page = (tmp_path / "rows.html").read_text(encoding="utf-8")
    found = [int(id) for group in re.findall(r"<i>([\d+]+)</i>", page) for id in group.split("+")]
    assert found == ids(preview.examples[0], "context", "supervised")
    supervised = re.findall(r'<div class="span supervised">(.*?)</div>', page, re.DOTALL)
    numbers = list(itertools.chain.from_iterable(re.findall(r"<i>(\d+)</i>", span) for span in supervised))
    assert [int(number) for number in numbers] == ids(preview.examples[0], "supervised")


def inspect(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["pacos", "inspect", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, ended.value.code


@pytest.mark.parametrize("flag", [(), ("--config",)])
def test_the_command_prints_and_writes_a_page(
    flag: tuple[str, ...],
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = plain_config(tmp_path, tiny_base, [chat_row()])
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    inspect(monkeypatch, *flag, file, "train.max_length=200", "--rows", 1, "--out", tmp_path / "rows.html")
    told = capsys.readouterr().out
    assert "train.max_length is 200" in told and re.search(r"^ +\d+ supervised +┃ · +A", told, re.MULTILINE)
    assert (tmp_path / "rows.html").is_file() and not config.run_dir.exists()


def test_the_command_without_a_file_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError, match="2"):
        inspect(monkeypatch)
    assert "pacos inspect: needs the experiment's file" in capsys.readouterr().err
