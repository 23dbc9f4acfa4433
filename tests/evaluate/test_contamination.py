import json
from pathlib import Path

import pytest

from pacos.config import Config, DataSource, ModelConfig, SuiteConfig, with_values
from pacos.evaluate.contamination import check_dataset, find_overlaps, headline
from pacos.evaluate.pipeline import warn_of_overlap
from pacos.files import write_jsonl
from pacos.results import plain
from pacos.results.evaluation import Passage
from pacos.runs import Run
from pacos.superni.suites import read_suite
from tests.support.superni_folder import write_superni

# Thirteen words, and a text in which fourteen others follow them.
RUN = "one day the old miller took his cart across the frozen river alone"
LONG = f"{RUN} and never once looked back at the mill that his father had built there by hand"


def found(training: str, evaluation: str) -> list[tuple[str, float]]:
    result = find_overlaps([Passage("row 1", "output", training)], [Passage("t", "input", evaluation)])
    return [(overlap.measure, overlap.rougeL) for overlap in result.overlaps]


def test_the_same_words_are_found_whatever_their_case_and_punctuation() -> None:
    assert found("The old miller, took his CART.", "the old miller took his cart") == [("exact", 1.0)]


def test_a_run_of_thirteen_words_is_found_in_longer_texts_and_twelve_are_not() -> None:
    other = "somebody wrote that {} which was a lie told to please the people of some distant town or other"
    assert [measure for measure, _ in found(LONG, other.format(RUN))] == ["run"]
    assert found(LONG, other.format(RUN.removesuffix(" alone"))) == []


def test_rouge_l_of_seven_tenths_is_found_and_less_is_not() -> None:
    # Ten words each: 7 in common give F 0.7, 6 give 0.6.
    ten = "a b c d e f g h i j"
    assert found(ten, "a b c d e f g x y z") == [("rougeL", 0.7)]
    assert found(ten, "a b c d e f w x y z") == []


def test_texts_under_five_words_are_left_out_and_counted() -> None:
    result = find_overlaps([Passage("row 1", "output", "yes it is")], [Passage("t", "reference", "yes it is")])
    assert (result.overlapping, result.too_short) == (0, 1)


def test_a_shared_text_counts_once_with_all_its_owners() -> None:
    passages = [Passage(owner, "input", "what is the tallest tree of all") for owner in ("t 1", "t 2")]
    result = find_overlaps([Passage("row 1", "input", "What is the tallest tree of all?")], passages)
    assert (result.texts, result.overlapping, result.owners) == (1, 1, 2)


def test_a_training_set_with_a_planted_instance_is_listed_by_row_and_instance(tmp_path: Path) -> None:
    suite = write_superni(
        tmp_path / "suite",
        {
            "task1_a": {
                "Instances": [{"id": "i", "input": "Which of the two lakes is the deeper one?", "output": ["B"]}]
            }
        },
    )
    rows = [
        {"instruction": "Name a tree that keeps its leaves.", "output": "The holly keeps them all winter."},
        {"instruction": "Answer.", "input": "which of the two lakes is the deeper one", "output": "The second."},
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    result = check_dataset(tmp_path / "train.jsonl", suite, tmp_path / "out.json")
    [overlap] = result.overlaps
    assert (overlap.evaluation.owner, overlap.evaluation.part) == ("task1_a i", "input")
    assert (overlap.training.owner, overlap.training.part, overlap.measure) == ("row 2", "input", "exact")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == plain(result)


def test_an_evaluation_warns_of_training_data_that_holds_its_suite(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    suite = SuiteConfig(name="superni", path=str(write_superni(tmp_path / "suite", {"task1_a": {}, "task2_b": {}})))
    clean, planted = tmp_path / "clean.json", tmp_path / "planted.json"
    clean.write_text(json.dumps([{"instruction": "Say which of these is a fruit.", "output": "pear"}]))
    planted.write_text(json.dumps([{"instruction": "Say it.", "output": "name the colour in the text"}]))
    config = Config(name="run", runs_dir=str(tmp_path / "runs"), model=ModelConfig(base="owner/none"))

    def warn(data: Path) -> dict[str, object]:
        train = config.train.model_copy(update={"data": [DataSource(path=str(data))]})
        trained = config.model_copy(update={"train": train})
        with Run.open(config) as run:
            [path] = warn_of_overlap(trained, run, suite, read_suite(Path(suite.path)))
        return dict(json.loads(path.read_text(encoding="utf-8")))

    assert warn(clean)["overlapping"] == 0 and not caplog.records
    # The definition that both tasks share, of six words.
    assert warn(planted)["by_part"] == {"definition": 1}
    # Seven texts: the definition, and three inputs and three references that the tasks share, all too short.
    assert "1 of 7 evaluation texts occur in 1 training rows (1 the same, 0 by a run of 13 words)" in caplog.text


def test_seed_tasks_that_are_trained_on_are_looked_at_with_all_their_instances(tmp_path: Path) -> None:
    suite = SuiteConfig(name="superni", path=str(write_superni(tmp_path / "suite", {"task1_a": {}})))
    answers = [{"input": "", "output": text} for text in ("pear", "name the colour in the text")]
    seed = {"id": "seed_task_0", "name": "say", "instruction": "Say it.", "instances": answers}
    write_jsonl(tmp_path / "seeds.jsonl", [seed | {"is_classification": False}])
    write_jsonl(tmp_path / "rows.jsonl", [{"instruction": "Name a fruit.", "input": "", "output": "pear"}])
    values = {"generate.seeds": str(tmp_path / "seeds.jsonl"), "train.data": [{"path": str(tmp_path / "rows.jsonl")}]}
    config = Config(name="run", runs_dir=str(tmp_path / "runs"), model=ModelConfig(base="owner/none"))
    for joins, overlapping in ((False, 0), (True, 1)):
        trained = with_values(config, values | {"train.seed_tasks": joins})
        with Run.open(config) as run:
            [path] = warn_of_overlap(trained, run, suite, read_suite(Path(suite.path)))
        assert json.loads(path.read_text(encoding="utf-8"))["overlapping"] == overlapping


HINDI = "नदी के पार रहने वाला बूढ़ा चक्कीवाला अपनी गाड़ी लेकर अकेला ही निकल पड़ा"


@pytest.mark.parametrize(
    ("training", "evaluation", "measures"),
    [
        (HINDI, f"{HINDI}।", ["exact"]),
        ("写一首关于春天和秋天的诗吧", "写一首关于春天和冬天的诗吧", ["rougeL"]),
        # Of eleven words seven in common: 0.64. By rouge's tokens both would be "3".
        ("Напиши 3 строки о том как весна идёт в горы сегодня", "Напиши 3 строки о том как зима ушла из дома", []),
    ],
)
def test_texts_of_any_script_are_compared_by_their_words(training: str, evaluation: str, measures: list[str]) -> None:
    assert [measure for measure, _ in found(training, evaluation)] == measures


def test_what_rouges_tokenizer_cannot_read_is_said(tmp_path: Path) -> None:
    """Under `--tokenizer rouge` nothing is found in a Hindi set; by default it is, and both say how texts were read."""
    instance = {"id": "i", "input": HINDI, "output": ["हाँ यह बात बिलकुल सही है"]}
    suite = write_superni(tmp_path / "suite", {"task1_a": {"Instances": [instance]}})
    write_jsonl(tmp_path / "train.jsonl", [{"instruction": "Antworte.", "input": HINDI, "output": "हाँ"}])
    by_default = check_dataset(tmp_path / "train.jsonl", suite, tmp_path / "out.json")
    assert by_default.exact == 1
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["tokenization"] == {
        "tokenizer": "rouge and unicode", "texts": 3, "unicode_texts": 2, "unmeasured": 0,
    }  # fmt: skip
    assert "tokenizer unicode (words of any script) for 2 of 3 texts" in headline(by_default)
    by_rouge = check_dataset(tmp_path / "train.jsonl", suite, tokenizer="rouge")
    assert (by_rouge.overlapping, by_rouge.tokenization.unmeasured) == (0, 2)
    assert "2 of 3 texts are in scripts of which rouge's tokenizer knows nothing" in headline(by_rouge)
