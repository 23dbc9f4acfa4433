"""Self-Rewarding as a list of commands: which, in which run directory, with which configuration.

    runs/<name>/
      ranked/     instructions.jsonl  learn.jsonl  held-aside.jsonl      what people have ranked, split
      seed/       the model that writes judging seeds, where `loop.judging` gives none
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

from pacos.config import Config, Contestant, DataSource, JudgeConfig, LoopConfig, TrainConfig
from pacos.errors import ConfigError
from pacos.runs import evaluation_label


@dataclass(frozen=True, slots=True)
class Step:
    """`words` go behind `pacos`. `adapters` are those the engine may be asked for, and `engine` the model it serves;
    "" where the command asks no engine, or starts one for itself."""

    name: str
    words: tuple[str, ...]
    config: Config | None = None
    engine: str = ""
    adapters: tuple[Path, ...] = ()


def all_steps(config: Config) -> list[Step]:
    """The whole loop in order. Raises ConfigError for one that could not start."""
    _check(config)
    steps = list(_first_model(config))
    for number in range(1, config.loop.rounds + 1):
        steps += [*_measured(config, number), *_round(config, number)]
    return [*steps, *_measured(config, config.loop.rounds + 1)]


def learnt_files(config: Config) -> list[Path]:
    """The files on this machine that the loop begins with; another content makes every step another."""
    loop = config.loop
    named = [loop.ranked, config.generate.seeds, *config.generate.known]
    named += [source.path for source in (*loop.instructions, *loop.judging, *loop.sft.data)]
    return [path for path in map(Path, filter(None, named)) if path.exists()]


def round_dir(config: Config, number: int) -> Path:
    return config.run_dir / f"round-{number}"


def model_name(number: int) -> str:
    return f"M{number}"


def model_dir(config: Config, number: int) -> Path:
    """Of M`number`: an adapter, or a whole model."""
    return round_dir(config, number - 1) / "train" / config.train.result


def held_aside(config: Config) -> Path:
    return config.run_dir / "ranked" / "held-aside.jsonl"


def compared_suite(config: Config) -> str:
    """The suite whose answers are compared head to head: the first. "" without suites."""
    return config.evaluate.suites[0].name if config.evaluate.suites else ""


def _check(config: Config) -> None:
    loop = config.loop
    if config.train.objective != "dpo":
        raise ConfigError("the rounds learn from preferences", where="train.objective", todo="set it to dpo")
    if config.train.data:
        raise ConfigError("a round learns from its own pairs", where="train.data", todo="leave it out")
    if loop.sft.objective != "sft":
        raise ConfigError("M1 learns from answers", where="loop.sft.objective", todo="set it to sft")
    if loop.sft.method != config.train.method or loop.sft.lora != config.train.lora:
        raise ConfigError(
            "each model goes on from the one before", where="loop.sft", todo="give it train's method and lora"
        )
    if {loop.sft.template, config.train.template} != {"alpaca"}:
        raise ConfigError("a judge is asked in the template alpaca", where="train.template", todo="train with that one")
    if not loop.ranked and not (loop.instructions and loop.judging):
        raise ConfigError(
            "there is nothing that M1 could learn to answer and to judge from",
            where="loop.ranked",
            todo="name answers that people have ranked, or give loop.instructions and loop.judging",
        )


def _first_model(config: Config) -> Iterator[Step]:
    loop, home = config.loop, config.run_dir
    if loop.ranked:
        split = ("--out", str(home / "ranked"), "--held-aside", str(loop.held_aside), "--seed", str(config.seed))
        yield Step("ranked", ("ranked", loop.ranked, *split))
    instructions = loop.instructions or [DataSource(path=str(home / "ranked" / "instructions.jsonl"))]
    judging = loop.judging
    if not judging:
        yield from _judging_seeds(config, instructions)
        judging = [DataSource(path=str(home / "seed" / "judging" / "judging.jsonl"))]
    yield Step("round-0/train", ("train",), _trained_on(config, "round-0", [*instructions, *judging]))


def _judging_seeds(config: Config, instructions: list[DataSource]) -> Iterator[Step]:
    """A model that has learnt to answer, but not to judge, judges what people ranked; what agrees with them is kept."""
    home, learn = config.run_dir, config.run_dir / "ranked" / "learn.jsonl"
    run = _trained_on(config, "seed", instructions)
    trained = run.run_dir / "train" / config.train.result
    yield Step("seed/train", ("train",), run)
    asked = ("judge", "--kind", "additive", "--answers", str(learn))
    yield Step("seed/judge", asked, _judged_by(run, config, trained), *_engine(config, [trained]))
    judgements = home / "seed" / "judge" / "additive--learn" / "judgements.jsonl"
    out = ("--out", str(home / "seed" / "judging"), "--seed", str(config.seed))
    yield Step("seed/judging", ("judging", str(learn), str(judgements), *out))


def _round(config: Config, number: int) -> Iterator[Step]:
    """M`number` answers new tasks and scores its answers; M`number + 1` learns to prefer what it scored higher."""
    name, model = f"round-{number}", model_dir(config, number)
    run = _run(config, name, config.seed + number)
    engine = _engine(config, [model_dir(config, earlier) for earlier in range(1, number + 1)])
    known = [str(round_dir(config, earlier) / "dataset") for earlier in range(1, number)]
    generate = run.generate.model_copy(update={"known": [*run.generate.known, *known]})
    own = not config.engine.model or config.engine.model == _base(config)
    asked = run.model_copy(update={"generate": generate})
    yield Step(f"{name}/prompts", ("generate",), asked, *(engine if own else ("", ())))
    answers = run.answers.model_copy(update=_place(config, model))
    yield Step(f"{name}/answers", ("answer",), run.model_copy(update={"answers": answers}), *engine)
    judge = ("judge", "--kind", "additive", "--answers", str(run.run_dir / "answers" / "answers.jsonl"))
    yield Step(f"{name}/judge", judge, _judged_by(run, config, model), *engine)
    yield Step(f"{name}/pairs", ("pairs",), run)
    start = {"model": str(model)} if config.train.method == "full" else {"adapter": str(model)}
    train = config.train.model_copy(update=start)
    yield Step(f"{name}/train", ("train",), run.model_copy(update={"train": train}))


def _measured(config: Config, number: int) -> Iterator[Step]:
    """M`number` on the suites, on what people ranked, and against M`number - 1` and M1."""
    name = f"round-{number - 1}"
    run = _run(config, name, config.seed + number - 1)
    models = {model_name(each): model_dir(config, each) for each in range(1, number + 1)}
    engine = _engine(config, list(models.values()))
    if config.evaluate.suites:
        entries = [Contestant(name=each, **_place(config, path)) for each, path in models.items()]
        section = config.evaluate.model_copy(update={"models": [*config.evaluate.models, *entries]})
        whole = _plain(config).model_copy(update={"evaluate": section})
        yield Step(f"{name}/evaluate", ("evaluate",), whole, *engine)
    if config.loop.ranked:
        asked = ("judge", "--kind", "additive", "--answers", str(held_aside(config)))
        yield Step(f"{name}/judge-held-aside", asked, _judged_by(run, config, models[model_name(number)]), *engine)
    if config.evaluate.suites and number > 1:
        others = dict.fromkeys([model_name(number - 1), model_name(1)])
        folders = [config.run_dir / "eval" / _label(config, each) for each in (model_name(number), *others)]
        answers = [word for folder in folders for word in ("--answers", str(folder))]
        words = ("judge", "--kind", "pairwise", *answers)
        yield Step(f"{name}/head-to-head", words, _judged_head_to_head(run, config), *engine)


def _plain(config: Config) -> Config:
    """The experiment without what is the loop's own: `loop.rounds` may grow without any step being another."""
    return config.model_copy(update={"loop": LoopConfig()})


def _run(config: Config, name: str, seed: int) -> Config:
    return _plain(config).model_copy(update={"name": name, "runs_dir": str(config.run_dir), "seed": seed})


def _trained_on(config: Config, name: str, data: list[DataSource]) -> Config:
    sft: TrainConfig = config.loop.sft.model_copy(update={"data": [*config.loop.sft.data, *data]})
    return _run(config, name, config.seed).model_copy(update={"train": sft})


def _judged_by(run: Config, config: Config, model: Path) -> Config:
    judge = config.evaluate.judge.model_copy(update={"template": "alpaca", **_place(config, model)})
    return _with_judge(run, judge)


def _judged_head_to_head(run: Config, config: Config) -> Config:
    """By `evaluate.judge` where it names one, else by M1: one judge for all rounds."""
    judge = config.evaluate.judge
    return run if judge.model or judge.adapter else _judged_by(run, config, model_dir(config, 1))


def _with_judge(run: Config, judge: JudgeConfig) -> Config:
    return run.model_copy(update={"evaluate": run.evaluate.model_copy(update={"judge": judge})})


def _place(config: Config, model: Path) -> dict[str, str]:
    """`model` and `adapter` of a section that asks one of our models."""
    if config.train.method == "full":
        return {"model": str(model)}
    return {"model": _base(config), "adapter": str(model)}


def _engine(config: Config, adapters: list[Path]) -> tuple[str, tuple[Path, ...]]:
    """The server that a step's command may share with others. Whole models have one each, of their own."""
    return ("", ()) if config.train.method == "full" else (_base(config), tuple(adapters))


def _base(config: Config) -> str:
    return config.student


def _label(config: Config, model: str) -> str:
    return evaluation_label(model, config.evaluate.suites[0], config.evaluate)
