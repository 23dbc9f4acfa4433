"""The reasons in `rejected.jsonl` why an item of an answer did not become a task of the dataset."""

from enum import StrEnum


class Reason(StrEnum):
    """The parsers' reasons and those of the rules that pacos comes with. A rule of your own may have any other name."""

    MALFORMED = "malformed"  # `pacos filter`: a row of the file is not a task

    # The parser could not find a task in the item.
    INCOMPLETE = "incomplete"  # the answer ends within the item
    NO_INSTRUCTION = "no_instruction"
    NO_OUTPUT = "no_output"
    MIXED_LABELS = "mixed_labels"  # the labels of two items, which cannot be told apart
    NOT_TEXT = "not_text"  # a part of a JSON item is a list or an object

    # Rules of the published systems (published.py).
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    KEYWORD = "keyword"
    WRITE_A_PROGRAM = "write_a_program"
    STARTS_WITH_PUNCTUATION = "starts_with_punctuation"
    STARTS_NON_ASCII = "starts_non_ascii"
    EMPTY_OUTPUT = "empty_output"
    OUTPUT_COPIES_INPUT = "output_copies_input"
    ENDS_WITH_COLON = "ends_with_colon"

    # Optional limits (generate.filters.limits).
    INPUT_TOO_LONG = "input_too_long"
    OUTPUT_TOO_LONG = "output_too_long"

    # Defects (defects.py).
    PLACEHOLDER_INPUT = "placeholder_input"
    NO_INPUT_MARK_IN_OUTPUT = "no_input_mark_in_output"
    PLACEHOLDER_OUTPUT = "placeholder_output"
    MERGED_TASKS = "merged_tasks"
    INPUT_IS_A_LINK = "input_is_a_link"
    INPUT_IS_AN_IMAGE = "input_is_an_image"
    LEAKED_LABEL = "leaked_label"
    CONTROL_CHARACTERS = "control_characters"
    CLAIMS_AN_ACTION = "claims_an_action"
    CONTROL_TOKENS = "control_tokens"
    INVISIBLE_CHARACTERS = "invisible_characters"

    # ROUGE-L above the threshold to a seed or to an accepted task.
    NOVELTY = "novelty"

    # Self-Instruct: the instances of one instruction taken together (instances.py).
    NO_INSTANCE = "no_instance"  # the answer contains no example
    CONTRADICTORY = "contradictory"
    DUPLICATE = "duplicate"
    PAST_FIVE = "past_five"
    PENDING = "pending"  # an accepted instruction whose follow-up requests have not been answered yet
