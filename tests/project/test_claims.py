"""What the documents and recipes call exact or published is tested: each such sentence names its tests here."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLAIM = re.compile(
    r"\bexact(?! match)(?:ly)?\b|to the (?:last )?(?:byte|bit)|byte for byte|bit for bit"
    r"|verbatim|\bas published|the paper's",
    re.IGNORECASE,
)
# These, and the tree in docs/architecture.md, are made from the code.
WRITTEN = ("configuration.md", "commands.md", "formats.md")
TEXTS = (*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").rglob("*.yaml")), ROOT / "README.md")
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").partition("\n## The tree\n")[0]
    for path in (*TEXTS, ROOT / "CONTRIBUTING.md")
    if path.name not in WRITTEN
}

# {document: {words of the sentence: what shows that it holds}}
SHOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "README.md": {
        "the loss of each example stays what it is alone": (
            "tests/train/test_batch.py::test_packed_loss_and_gradients_equal_those_of_one_example_at_a_time",
            "tests/train/test_train_loop.py::test_packing_and_accumulation_do_not_change_the_loss",
        ),
    },
    "CONTRIBUTING.md": {
        "are kept byte for byte": (
            "tests/pacos/test_templates.py::test_the_alpaca_format_is_byte_for_byte",
            "tests/pacos/test_superni_prompts.py::test_tk_instruct_prompt_byte_for_byte",
        ),
    },
    "configs/self-instruct-7b-lora.yaml": {
        "the published counts and decoding": ("tests/project/test_configs.py::test_self_instructs_published_run",),
        "brings the paper's decoding": ("tests/project/test_configs.py::test_self_instructs_published_run",),
    },
    "docs/evaluate.md": {
        "with exactly the prompts": (
            "tests/evaluate/test_export.py::test_every_task_has_its_yaml_and_its_prompts_byte_for_byte",
        ),
    },
    "docs/fidelity.md": {
        "have the published counts, decoding and rules": (
            "tests/generate/test_generate.py::test_presets_count_their_examples_as_published",
            "tests/generate/test_self_instruct.py::"
            "test_the_preset_brings_the_papers_settings_and_the_file_overrides_them",
            "tests/generate/test_filters.py::test_rules_of_both_presets",
        ),
        "All 52,002 rows that Alpaca released pass": (
            "tests/generate/test_filters.py::test_the_published_rules_keep_all_of_the_released_alpaca_set",
        ),
        "have the paper's limit of 300 tokens": ("tests/project/test_configs.py::test_self_instructs_published_run",),
        "a run stops at its target exactly": (
            "tests/generate/test_generate.py::test_a_run_stops_at_its_target_and_accounts_for_every_item",
        ),
        "a row has the ids that Alpaca trained on": (
            "tests/pacos/test_tokenization.py::test_a_row_has_the_ids_of_prompt_and_response_together",
        ),
        "as the Trainer of today computes it": (
            "tests/train/test_train_loop.py::test_the_loss_curve_equals_that_of_transformers_trainer",
        ),
        "has its recipe to the end": (
            "tests/project/test_configs.py::test_alpaca_loras_official_adapter",
            "tests/train/test_keep_best.py::"
            "test_the_exported_adapter_is_the_checkpoint_that_peft_finds_best_on_held_out_rows",
        ),
        "`compute_metrics.py` to the last bit on both tracks": (
            "tests/evaluate/test_score.py::test_metrics_are_the_published_ones_for_any_text",
            "tests/evaluate/test_tracks.py::test_rouge_l_of_pieces_is_rouge_scores_with_the_published_tokenizer",
        ),
        "drops demonstrations as `ni_collator.py` does": (
            "tests/evaluate/test_source_limit.py::test_the_published_limit_is_that_of_tk_instruct",
            "tests/evaluate/test_source_limit.py::test_demonstrations_are_dropped_at_the_published_limit_and_counted",
        ),
        "with the paper's protocol": (
            "tests/evaluate/test_source_limit.py::test_the_published_run_and_the_papers_table_have_one_protocol",
        ),
        "They agree on the rates at both ends": (
            "tests/project/test_configs.py::test_self_rewarding_has_the_values_that_its_sources_agree_on",
        ),
        "neither classifies instructions nor penalises tokens": (
            "tests/project/test_configs.py::"
            "test_self_rewarding_takes_neither_penalties_nor_classification_from_self_instruct",
            "tests/generate/test_self_instruct_runs.py::"
            "test_self_rewarding_asks_for_instances_input_first_and_never_whether_it_is_classification",
        ),
        "have the same text are one answer": (
            "tests/self_rewarding/test_pairs.py::test_samples_of_one_text_are_one_answer_with_the_judgements_of_all",
        ),
    },
    "docs/scale-out.md": {
        "are, byte for byte, those of one machine": (
            "tests/generate/test_shards.py::test_eight_shards_in_any_order_write_the_bytes_of_one_machine",
        ),
        "the files are the same to the byte": (
            "tests/generate/test_workers.py::test_filter_with_two_processes_writes_the_same_files",
            "tests/generate/test_ray_actors.py::test_filter_and_curate_on_two_nodes_write_the_same_files",
        ),
    },
    "docs/train.md": {
        "prints the exact command": ("tests/train/test_export.py::test_the_serve_command_is_exact",),
    },
}


def sentence_around(text: str, place: int) -> str:
    """The text around a place, its lines joined."""
    return " ".join(re.sub(r"\n\s*(?:# ?)?", " ", text[max(0, place - 200) : place + 200]).split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_calls_exact_or_published_is_listed_here(name: str) -> None:
    text, listed = DOCUMENTS[name], SHOWN.get(name, {})
    claims = [sentence_around(text, found.start()) for found in CLAIM.finditer(text)]
    unlisted = [claim for claim in claims if not any(words in claim for words in listed)]
    assert not unlisted, "list its tests in SHOWN, or say less"


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_listed_is_still_said_and_tested(name: str) -> None:
    text = " ".join(re.sub(r"\n\s*(?:# ?)?", " ", DOCUMENTS[name]).split())
    for words, places in SHOWN[name].items():
        assert words in text
        for place in places:
            file, _, test = place.partition("::")
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8") if test else (ROOT / file).is_file()
