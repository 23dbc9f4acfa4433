"""What must be equal for evaluations to be compared, and what a comparison of others must say.

Scores of two models say something about the models only where everything else is the same: the questions, how they
are put, how long an answer may be, which part of it is scored and by which tokens. `MUST_BE_EQUAL` lists it.
"""

from collections.abc import Iterable, Sequence

from pacos.errors import DataError
from pacos.evaluate.score import ScoredEvaluation
from pacos.results.evaluation import NO_PROMPT

# Settings of the suite, and of how a model is asked. A baseline is not asked, and so only the former bind it.
OF_THE_SUITE = ("suite", "suite_sha256", "n_expected", "tokenizer")
OF_THE_CHAT = ("system", "demonstrations")
OF_THE_PROMPT = ("prompt", *OF_THE_CHAT, "prompt_sha256", "max_source_tokens", "max_tokens", "postprocess")
MUST_BE_EQUAL = (*OF_THE_SUITE, *OF_THE_PROMPT)

# Between models of one comparison these may differ, and are said. With prompt chat, each is asked in its own template.
SAID = ("dtype", "chat_template_sha256")


def comparable(
    evaluations: Sequence[ScoredEvaluation], *, force: bool = False
) -> tuple[list[ScoredEvaluation], list[str]]:
    """The evaluations, and cautions that belong to their comparison with the first.

    With `force` those that must not be compared are, over the instances that all of them answer, and each difference
    is a caution. Raises DataError with every difference without it, and where no instance is answered in all.
    """
    base, *others = evaluations
    cautions = []
    for other in others:
        if found := differences(base, other):
            if not force:
                raise DataError(
                    f"evaluations that differ in more than the model: {'; '.join(found)}",
                    where=f"{base.folder} and {other.folder}",
                    todo="evaluate both with the same settings; --force compares them all the same, and says so",
                )
            cautions += [f"compared all the same: {difference}" for difference in found]
        cautions += _cautions(base, other)
    shared = set(base.answers).intersection(*(other.answers for other in others))
    if not shared:
        raise DataError(
            "no instance is answered in all of them", where=", ".join(str(one.folder) for one in evaluations)
        )
    return [one.only(shared) for one in evaluations], list(dict.fromkeys(cautions))


def differences(base: ScoredEvaluation, other: ScoredEvaluation) -> list[str]:
    """A line for each thing that must be equal and is not, with both values."""
    lines = []
    if (base.record is None) != (other.record is None):
        without = base if base.record is None else other
        lines.append(f"{without.name} has no evaluation.json, so that its prompt and decoding are unknown")
    keys: tuple[str, ...] = OF_THE_SUITE if NO_PROMPT in (base.prompt, other.prompt) else MUST_BE_EQUAL
    if _in_other_chat_templates(base, other):
        keys = tuple(key for key in keys if key != "prompt_sha256")
    lines += _unequal(base, other, keys)
    if odd := sorted(base.answers.keys() ^ other.answers.keys()):
        task, instance = odd[0]
        lines.append(
            f"{len(odd)} instances are answered by one of {base.name} and {other.name} only, the first of them "
            f"{instance!r} of {task}"
        )
    shared = sorted(base.answers.keys() & other.answers.keys())
    if unlike := [key for key in shared if base.answers[key].row.references != other.answers[key].row.references]:
        task, instance = unlike[0]
        lines.append(f"{len(unlike)} instances have other references, the first of them {instance!r} of {task}")
    if not (base.record or other.record) and (asked := _other_prompts(base, other)):
        lines.append(f"{asked} instances were asked by other prompts")
    return lines


def _cautions(base: ScoredEvaluation, other: ScoredEvaluation) -> list[str]:
    """What readers must know of two evaluations that may be compared."""
    if not (base.record and other.record) or NO_PROMPT in (base.prompt, other.prompt):
        return []
    lines = []
    for key in MUST_BE_EQUAL:
        ours, theirs = _setting(base, key), _setting(other, key)
        if (ours is None) != (theirs is None):
            name = base.name if ours is None else other.name
            known = theirs if ours is None else ours
            lines.append(f"`{key}` of {name} is not recorded (an earlier version); the other's is {_shown(known)}")
    lines += _unequal(base, other, SAID)
    one, another = base.record.settings, other.record.settings
    both_known = bool(one.base_sha256 and another.base_sha256)
    if one.base == another.base and both_known and one.base_sha256 != another.base_sha256:
        lines.append(f"the weights of {one.base} changed between {base.name} and {other.name}")
    if asked := _other_prompts(base, other):
        lines.append(f"{asked} prompts of {other.name} were shortened otherwise than those of {base.name}")
    return lines


def _in_other_chat_templates(base: ScoredEvaluation, other: ScoredEvaluation) -> bool:
    """Whether the two were asked the same in chat templates of their own."""
    return base.prompt == other.prompt and bool(_unequal(base, other, ["chat_template_sha256"]))


def _unequal(base: ScoredEvaluation, other: ScoredEvaluation, keys: Iterable[str]) -> list[str]:
    """A line for each of these settings that is known of both and is not the same."""
    lines = []
    for key in keys:
        ours, theirs = _setting(base, key), _setting(other, key)
        if None not in (ours, theirs) and ours != theirs:
            lines.append(f"`{key}` is {_shown(ours)} for {base.name} and {_shown(theirs)} for {other.name}")
    return lines


def _setting(one: ScoredEvaluation, key: str) -> object:
    """A setting of an evaluation; None where it is unknown."""
    if key in ("suite", "tokenizer"):
        return getattr(one, key)
    if key in ("prompt", "n_expected"):
        return getattr(one, key) or None
    if one.record is None:
        return None
    settings = one.record.settings
    if key == "dtype" and not settings.serve:  # an earlier version's is the configuration's, not the server's
        return None
    value = getattr(settings, key)
    # Earlier versions had no settings of the chat, so that an empty one is not unknown.
    return None if value == "" and key not in OF_THE_CHAT else value


def _shown(value: object) -> str:
    """A value; a fingerprint by its first characters."""
    return repr(value[:12] if isinstance(value, str) and len(value) == 64 else value)


def _other_prompts(base: ScoredEvaluation, other: ScoredEvaluation) -> int:
    """How many instances were asked by another text."""
    asked = [(base.answers[key].row, other.answers[key].row) for key in base.answers.keys() & other.answers.keys()]
    return sum(
        ours.prompt_sha256 != theirs.prompt_sha256
        for ours, theirs in asked
        if ours.prompt_sha256 and theirs.prompt_sha256
    )
