"""Self-Rewarding as a list of commands: which, in which run directory, with which configuration.

    runs/<name>/
      ranked/     instructions.jsonl  learn.jsonl  held-aside.jsonl      people's rankings, split
      seed/       the model that writes judging rows, where `loop.judging` gives none
      round-0/    train/ = M1
      round-1/    dataset/ answers/ judge/ pairs/ train/ = M2            and so on
      eval/       base, M1, M2, … on the suites: one comparison, which each new model joins
      steps/      the configuration of every command, to run it by hand

A model is measured in the round that trained it: `round-1/judge/additive--held-aside` and `round-1/judge/pairwise--…`
are M2's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.config import Config, DataSource, EvaluateConfig, LoopConfig, with_values
from pacos.errors import ConfigError
from pacos.runs import evaluation_folder


@dataclass(frozen=True, slots=True)
class Served:
    """A server that several commands may share: its model, and the adapters it may be asked for.

    `model` is "" where a command needs no engine, or starts one for itself.
    """

    model: str = ""
    adapters: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopStep:
    """A command of the loop: `words` follow `pacos`, and `config` is written to a file for it."""

    name: str
    words: tuple[str, ...]
    config: Config | None = None
    served: Served = Served()


def all_steps(config: Config) -> list[LoopStep]:
    """Return all steps of the loop in order. Raises ConfigError for one that cannot work."""
    _check(config)
    steps = list(_first_model(config))
    for number in range(1, config.loop.rounds + 1):
        steps += [*_measurements(config, number), *_round(config, number)]
    return [*steps, *_measurements(config, config.loop.rounds + 1)]


def input_files(config: Config) -> list[Path]:
    """Return the local files that the loop starts from; if their content changes, every step is due again."""
    loop = config.loop
    named = [loop.ranked, config.generate.seeds, *config.generate.known]
    named += [source.path for source in (*loop.instructions, *loop.judging, *loop.sft.data)]
    return [path for path in map(Path, filter(None, named)) if path.exists()]


def round_dir(config: Config, number: int) -> Path:
    """Return the run directory of a round; `round-0` trains M1."""
    return config.run_dir / f"round-{number}"


def model_name(number: int) -> str:
    """Return M1, M2, …"""
    return f"M{number}"


def model_dir(config: Config, number: int) -> Path:
    """Return the folder of M`number`: an adapter, or a full model."""
    return round_dir(config, number - 1) / "train" / config.train.result


def compared_suite(evaluate: EvaluateConfig) -> str:
    """Return the suite whose answers are compared head to head: the first; "" without suites."""
    return evaluate.suites[0].name if evaluate.suites else ""


def _check(config: Config) -> None:
    loop = config.loop
    if config.train.objective != "dpo":
        raise ConfigError("the rounds train on preferences", where="train.objective", todo="set it to dpo")
    if config.train.data:
        raise ConfigError("a round trains on its own pairs", where="train.data", todo="leave it out")
    if loop.sft.objective != "sft":
        raise ConfigError("M1 is trained on answers", where="loop.sft.objective", todo="set it to sft")
    if loop.sft.method != config.train.method or loop.sft.lora != config.train.lora:
        raise ConfigError(
            "each model continues from the one before", where="loop.sft", todo="give it train's method and lora"
        )
    if {loop.sft.template, config.train.template} != {"alpaca"}:
        raise ConfigError("judges are prompted in the template alpaca", where="train.template", todo="train with it")
    if not loop.ranked and not (loop.instructions and loop.judging):
        raise ConfigError(
            "M1 has nothing to learn answering and judging from",
            where="loop.ranked",
            todo="name answers that people have ranked, or give loop.instructions and loop.judging",
        )


def _first_model(config: Config) -> Iterator[LoopStep]:
    loop, home = config.loop, config.run_dir
    if loop.ranked:
        split = ("--out", str(home / "ranked"), "--held-aside", str(loop.held_aside), "--seed", str(config.seed))
        yield LoopStep("ranked", ("ranked", loop.ranked, *split))
    instructions = loop.instructions or [DataSource(path=str(home / "ranked" / "instructions.jsonl"))]
    judging = loop.judging
    if not judging:
        yield from _judging_rows(config, instructions)
        judging = [DataSource(path=str(home / "seed" / "judging" / "judging.jsonl"))]
    yield LoopStep("round-0/train", ("train",), _supervised(config, "round-0", [*instructions, *judging]))


def _judging_rows(config: Config, instructions: list[DataSource]) -> Iterator[LoopStep]:
    """A model trained to answer, but not to judge, judges what people ranked; what agrees with them is kept."""
    home, learn = config.run_dir, config.run_dir / "ranked" / "learn.jsonl"
    run = _supervised(config, "seed", instructions)
    model = run.run_dir / "train" / config.train.result
    yield LoopStep("seed/train", ("train",), run)
    yield _scoring("seed/judge", learn, with_values(run, _judge(config, model)), _served(config, [model]))
    judgements = home / "seed" / "judge" / "additive--learn" / "judgements.jsonl"
    out = ("--out", str(home / "seed" / "judging"), "--seed", str(config.seed))
    yield LoopStep("seed/judging", ("judging", str(learn), str(judgements), *out))


def _round(config: Config, number: int) -> Iterator[LoopStep]:
    """M`number` answers new tasks and scores its answers; M`number + 1` is trained to prefer what it scored higher."""
    name, model = f"round-{number}", model_dir(config, number)
    run = _step_config(config, name, config.seed + number)
    served = _served(config, [model_dir(config, earlier) for earlier in range(1, number + 1)])
    known = [str(round_dir(config, earlier) / "dataset") for earlier in range(1, number)]
    prompts = with_values(run, {"generate.known": [*run.generate.known, *known]})
    by_base = config.teacher == config.student
    yield LoopStep(f"{name}/prompts", ("generate",), prompts, served if by_base else Served())
    yield LoopStep(f"{name}/answers", ("answer",), with_values(run, _weights(config, "answers", model)), served)
    answers = run.run_dir / "answers" / "answers.jsonl"
    yield _scoring(f"{name}/judge", answers, with_values(run, _judge(config, model)), served)
    yield LoopStep(f"{name}/pairs", ("pairs",), run)
    start = "train.model" if config.train.method == "full" else "train.adapter"
    yield LoopStep(f"{name}/train", ("train",), with_values(run, {start: str(model)}))


def _measurements(config: Config, number: int) -> Iterator[LoopStep]:
    """M`number` on the suites, on what people ranked, and against M`number - 1` and M1."""
    name = f"round-{number - 1}"
    run = _step_config(config, name, config.seed + number - 1)
    models = {model_name(each): model_dir(config, each) for each in range(1, number + 1)}
    served = _served(config, list(models.values()))
    if config.evaluate.suites:
        entries = [{"name": each, **_place(config, path)} for each, path in models.items()]
        compared = {"loop": LoopConfig(), "evaluate.models": [*config.evaluate.models, *entries]}
        yield LoopStep(f"{name}/evaluate", ("evaluate",), with_values(config, compared), served)
    if config.loop.ranked:
        held_out = config.run_dir / "ranked" / "held-aside.jsonl"
        judge = with_values(run, _judge(config, models[model_name(number)]))
        yield _scoring(f"{name}/judge-held-aside", held_out, judge, served)
    if config.evaluate.suites and number > 1:
        # One judge for all rounds: `evaluate.judge` where it names one, M1 otherwise.
        named = config.evaluate.judge.model or config.evaluate.judge.adapter
        judge = run if named else with_values(run, _judge(config, model_dir(config, 1)))
        compared_models = dict.fromkeys([model_name(each) for each in (number, number - 1, 1)])
        words = [word for each in compared_models for word in ("--answers", str(evaluation_folder(config, each)))]
        yield LoopStep(f"{name}/head-to-head", ("judge", "--kind", "pairwise", *words), judge, served)


def _step_config(config: Config, name: str, seed: int) -> Config:
    """The configuration of a step's command, whose run directory is inside the loop's.

    It has the loop's own section reset: `loop.rounds` may grow without any step becoming another.
    """
    return with_values(config, {"loop": LoopConfig(), "name": name, "runs_dir": str(config.run_dir), "seed": seed})


def _supervised(config: Config, name: str, data: list[DataSource]) -> Config:
    """Supervised training of a first model, on `data` and what `loop.sft` names."""
    run = _step_config(config, name, config.seed)
    return with_values(run, {"train": config.loop.sft, "train.data": [*config.loop.sft.data, *data]})


def _scoring(name: str, answers: Path, config: Config, served: Served) -> LoopStep:
    """Additive scores of a file of answers."""
    return LoopStep(name, ("judge", "--kind", "additive", "--answers", str(answers)), config, served)


def _judge(config: Config, model: Path) -> dict[str, Any]:
    """Values that make one of our models the judge."""
    return {"evaluate.judge.template": "alpaca", **_weights(config, "evaluate.judge", model)}


def _weights(config: Config, section: str, model: Path) -> dict[str, Any]:
    """Values that make a section use one of our models."""
    return {f"{section}.{key}": value for key, value in _place(config, model).items()}


def _place(config: Config, model: Path) -> dict[str, str]:
    """`model` and `adapter` of one of our models."""
    if config.train.method == "full":
        return {"model": str(model)}
    return {"model": config.student, "adapter": str(model)}


def _served(config: Config, adapters: list[Path]) -> Served:
    """The server that a step's command may share with others. Full models have one each, of their own."""
    return Served() if config.train.method == "full" else Served(config.student, tuple(adapters))
