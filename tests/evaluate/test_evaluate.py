"""The whole evaluation stage: the real vLLM serves the tiny base and its adapters, on tasks in SuperNI's layout."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, ModelEntry, SuiteConfig
from pacos.errors import ConfigError, DataError, EngineError, ModelError
from pacos.evaluate.models import checkpoint_adapters, models_under_evaluation, template_mismatches, training_step
from pacos.evaluate.pipeline import plan
from pacos.evaluate.prompts import CUT, count_shortened, cut_middle, fit_prompts
from pacos.models import load_tokenizer, model_sha256
from pacos.records import Prediction, read_records
from pacos.results.evaluation import AdapterCheck, Shortened
from pacos.results.manifest import read_manifest
from pacos.serving.adapter_check import MIXED_TOKENS, check_not_swapped, require_difference
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.engine import Engine
from pacos.superni.prompts import prompt_preset
from pacos.superni.tasks import Demonstration, Instance, read_test_split
from pacos.templates import template
from tests.support.evaluated_run import evaluate, experiment
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import write_adapter


@pytest.fixture(scope="module")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three LoRA adapters on the tiny base: two that change it, one whose B halves are still zero."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: write_adapter(tiny_base, folder / name, scale, seed)
        for seed, (name, scale) in enumerate({"strong": 0.3, "weak": 0.02, "zero": 0.0}.items())
    }


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    tasks: dict[str, dict[str, Any]] = {
        "task1_a": {"Instances": instances("a", 6)},
        "task2_b": {"Instances": instances("b", 5), "Categories": ["Title Generation"]},
        "task3_c": {"Instances": instances("c", 4)},
    }
    return write_superni(tmp_path / "superni", tasks)


def scores(folder: Path) -> Any:
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """The adapter of each completion that the engine was asked for, besides those of the adapter check."""
    names: list[str | None] = []
    complete = Engine.complete

    async def counted(self: Engine, ids: list[int], sampling: Sampling, *, adapter: str | None = None) -> Completion:
        if sampling.max_tokens != MIXED_TOKENS:
            names.append(adapter)
        return await complete(self, ids, sampling, adapter=adapter)

    monkeypatch.setattr(Engine, "complete", counted)
    yield names


def test_base_and_two_adapters_are_answered_scored_and_compared(
    tiny_base: Path, live_engine_config: EngineConfig, adapters: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    config = experiment(
        tiny_base,
        live_engine_config,
        tmp_path,
        [SuiteConfig(name="superni", path=str(suite), max_tokens=12)],
        strong=adapters["strong"],
        weak=adapters["weak"],
    )
    folder = evaluate(config)
    answers = {
        name: {(row.task, row.instance): row for row in read_records(folder / name / "predictions.jsonl", Prediction)}
        for name in ("base", "strong", "weak", "copy-input")
    }
    assert {len(rows) for rows in answers.values()} == {15}
    assert {key: row.raw for key, row in answers["base"].items()} != {
        key: row.raw for key, row in answers["strong"].items()
    }
    strong = scores(folder / "strong")
    assert strong["complete"] and strong["n"] == strong["n_expected"] == 15
    assert strong["prompt"]["preset"] == "alpaca" and strong["prompt"]["truncated"] == 0
    proof = strong["adapter"]["proof"]
    assert proof["largest_difference"] > 0.01 and proof["noise"] < 1e-4 and proof["tokens"] > 100
    assert scores(folder / "base")["adapter"] == {
        "path": "",
        "sha256": "",
        "serve": "",
        "proof": {"largest_difference": 0.0, "noise": 0.0, "tokens": 0, "nearest": "", "nearest_difference": 0.0},
    }
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in comparison["contestants"]] == ["strong", "weak", "copy-input"]
    stage = read_manifest(config.run_dir).stages["evaluate"]
    assert stage.status == "done" and stage.tokens["completion"] > 0
    assert "NaN" not in (folder / "comparison.json").read_text(encoding="utf-8")


def test_greedy_answers_are_the_models_own(
    tiny_base: Path, live_engine_config: EngineConfig, adapters: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    """transformers generates the same text with the same adapter: the served adapter is the one asked for."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = experiment(
        tiny_base,
        live_engine_config,
        tmp_path,
        [SuiteConfig(name="superni", path=str(suite), max_tokens=4)],
        strong=adapters["strong"],
    )
    rows = {row.instance: row for row in read_records(evaluate(config) / "strong" / "predictions.jsonl", Prediction)}
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32), str(adapters["strong"])
    )
    some = read_test_split(suite).instances[::5]
    for instance, prompt in zip(some, fit_prompts(tokenizer, prompt_preset("alpaca"), some, 2000), strict=True):
        ids = model.generate(
            input_ids=torch.tensor([prompt.ids]), max_new_tokens=4, do_sample=False, pad_token_id=tokenizer.eos_token_id
        )[0, len(prompt.ids) :]
        # A character whose bytes are not complete yet is shown by transformers, and held back by vLLM.
        expected = tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd")
        assert rows[instance.id].raw.rstrip("\ufffd") == expected


def test_an_interrupted_evaluation_asks_only_for_what_is_missing(
    tiny_base: Path,
    live_engine_config: EngineConfig,
    adapters: dict[str, Path],
    suite: Path,
    tmp_path: Path,
    asked: list[str | None],
) -> None:
    config = experiment(
        tiny_base,
        live_engine_config,
        tmp_path,
        [SuiteConfig(name="superni", path=str(suite), max_tokens=8)],
        strong=adapters["strong"],
    )
    folder = evaluate(config)
    assert len(asked) == 30
    whole = scores(folder / "strong")

    path = folder / "strong" / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:9]) + lines[9][:40], encoding="utf-8")
    (folder / "strong" / "scores.json").unlink()
    asked.clear()
    evaluate(config)
    assert asked == ["strong"] * 6
    assert scores(folder / "strong") == whole

    asked.clear()
    evaluate(config)
    assert asked == []

    # An answer to a prompt that is no longer the one to ask is asked for again, and counted once.
    path.write_text(
        path.read_text(encoding="utf-8").replace(read_records(path, Prediction)[3].prompt_sha256, "0" * 64, 1),
        encoding="utf-8",
    )
    (folder / "strong" / "scores.json").unlink()
    asked.clear()
    evaluate(config)
    assert asked == ["strong"]
    assert scores(folder / "strong") == whole


def test_a_retrained_adapter_under_the_old_name_is_evaluated_again(
    tiny_base: Path,
    live_engine_config: EngineConfig,
    adapters: dict[str, Path],
    suite: Path,
    tmp_path: Path,
    asked: list[str | None],
) -> None:
    suites = [SuiteConfig(name="superni", path=str(suite), max_tokens=8)]
    evaluate(experiment(tiny_base, live_engine_config, tmp_path, suites, mine=adapters["weak"]))
    asked.clear()
    folder = evaluate(experiment(tiny_base, live_engine_config, tmp_path, suites, mine=adapters["strong"]))
    assert asked == ["mine"] * 15
    assert (folder / "mine" / "superseded-1.jsonl").is_file()


def test_an_adapter_that_changes_nothing_is_refused_before_scoring(
    tiny_base: Path, live_engine_config: EngineConfig, adapters: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    suites = [SuiteConfig(name="superni", path=str(suite), max_tokens=8)]
    config = experiment(tiny_base, live_engine_config, tmp_path, suites, zero=adapters["zero"])
    with pytest.raises(ModelError, match="the adapter 'zero' answers as the base does"):
        evaluate(config)
    assert not list((config.run_dir / "eval").glob("*/scores.json"))
    assert read_manifest(config.run_dir).stages["evaluate"].status == "failed"


def test_several_suites_and_prompts_get_folders_of_their_own(
    tiny_base: Path, live_engine_config: EngineConfig, suite: Path, tmp_path: Path
) -> None:
    suites = [
        SuiteConfig(name="superni", path=str(suite), max_tokens=4, limit=1),
        SuiteConfig(name="superni", path=str(suite), max_tokens=4, prompt="tk-instruct:def", postprocess="first-line"),
    ]
    folder = evaluate(experiment(tiny_base, live_engine_config, tmp_path, suites))
    assert sorted(path.name for path in folder.iterdir()) == [
        "base--superni--alpaca",
        "base--superni--tk-instruct-def",
        "comparison--superni--alpaca.json",
        "comparison--superni--tk-instruct-def.json",
        "copy-input--superni--alpaca",
        "copy-input--superni--tk-instruct-def",
    ]
    part = scores(folder / "base--superni--alpaca")
    assert (part["n"], part["n_expected"], part["complete"]) == (3, 15, False)


def test_real_superni_tasks_run_end_to_end_and_are_reported_as_a_part(
    tiny_base: Path, live_engine_config: EngineConfig, adapters: dict[str, Path], shared_data: Path, tmp_path: Path
) -> None:
    suites = [SuiteConfig(name="superni", path=str(shared_data / "superni"), max_tokens=4, limit=1)]
    folder = evaluate(experiment(tiny_base, live_engine_config, tmp_path, suites, strong=adapters["strong"]))
    found = scores(folder / "strong")
    assert found["n"] == 32 and found["n_expected"] == 11_810 and not found["complete"]
    assert found["note"] == "32 of 11,810 instances: not comparable with published numbers"


def test_the_plan_checks_everything_and_starts_nothing(
    tiny_base: Path, adapters: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    suites = [SuiteConfig(name="superni", path=str(suite))]
    lines = plan(experiment(tiny_base, EngineConfig(), tmp_path, suites, strong=adapters["strong"]))
    assert "superni: 15 of 15 instances, 3 of 3 tasks present (default track)" in lines
    assert any(line.startswith("superni: prompts of ") for line in lines)
    assert lines[-1] == "30 answers, greedy, as many in flight as it holds"
    assert not (tmp_path / "runs").exists()


def test_impossible_models_are_refused_before_anything_starts(
    tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    def models(engine: EngineConfig = EngineConfig(), **entry: str) -> object:  # noqa: B008
        config = experiment(tiny_base, engine, tmp_path, [])
        section = EvaluateConfig(models=[ModelEntry(**entry)])
        return models_under_evaluation(config.model_copy(update={"evaluate": section}), tmp_path / "no adapter")

    with pytest.raises(ConfigError, match="'base' is taken"):
        models(name="base", adapter=str(adapters["weak"]))
    with pytest.raises(ConfigError, match="neither a model nor an adapter"):
        models(name="x")
    with pytest.raises(ModelError, match="holds no adapter"):
        models(name="x", adapter=str(tmp_path))
    with pytest.raises(ModelError, match="no such model folder"):
        models(name="x", model=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="cannot answer as"):
        models(EngineConfig(url="http://127.0.0.1:1/v1"), name="x", model="owner/other")


def test_an_adapter_of_another_base_is_refused(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for file in adapters["weak"].iterdir():
        (adapter / file.name).write_bytes(file.read_bytes())
    config = experiment(tiny_base, EngineConfig(), tmp_path, [])

    (adapter / "pacos.json").write_text(json.dumps({"base": "owner/other", "base_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(ModelError, match="was trained on owner/other"):
        models_under_evaluation(config, adapter)

    # The same weights under another path are the same base.
    same = {"base": "moved/elsewhere", "base_sha256": model_sha256(str(tiny_base), config.model)}
    (adapter / "pacos.json").write_text(json.dumps(same), encoding="utf-8")
    assert [one.name for one in models_under_evaluation(config, adapter)] == ["base", "tuned"]


def test_an_adapter_of_another_template_is_refused_or_reported(
    tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for file in adapters["weak"].iterdir():
        (adapter / file.name).write_bytes(file.read_bytes())
    config = experiment(tiny_base, EngineConfig(), tmp_path, [])
    trained = {"base": str(tiny_base), "template": "alpaca", "template_sha256": "0" * 64}
    (adapter / "pacos.json").write_text(json.dumps(trained), encoding="utf-8")
    with pytest.raises(ModelError, match="'alpaca' that is not this version's"):
        models_under_evaluation(config, adapter)

    trained["template_sha256"] = template("alpaca").sha256
    (adapter / "pacos.json").write_text(json.dumps(trained), encoding="utf-8")
    models = models_under_evaluation(config, adapter)
    assert template_mismatches(models, ["alpaca", "tk-instruct:def"]) == []
    assert template_mismatches(models, ["self-instruct"]) == [
        "tuned was trained with the template alpaca, and is asked with the prompt self-instruct"
    ]


@pytest.mark.parametrize("preset", ["alpaca", "self-instruct", "tk-instruct:def"])
def test_a_long_input_loses_its_middle_and_never_the_cue(tiny_base: Path, preset: str) -> None:
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    words = " ".join(f"word{i}" for i in range(500))
    long = Instance("task1_a", "1", "c", "Name the last word.", words, ("word499",))
    short = Instance("task1_a", "2", "c", "Name the last word.", "word1", ("word1",))
    cut, whole = fit_prompts(tokenizer, prompt_preset(preset), [long, short], room=300)
    assert cut.truncated and not whole.truncated
    assert 290 <= len(cut.ids) <= 300
    assert cut.text.endswith("### Response:" if preset == "alpaca" else "Output:")
    assert "word0 word1" in cut.text and "word499" in cut.text and CUT in cut.text
    assert fit_prompts(tokenizer, prompt_preset(preset), [long, short], room=300)[0].sha256 == cut.sha256
    with pytest.raises(DataError, match=r"task1_a takes .* there is room for 20"):
        fit_prompts(tokenizer, prompt_preset(preset), [long], room=20)


def test_demonstrations_are_dropped_before_the_input_is_cut(tiny_base: Path) -> None:
    """As upstream: positive ones while they fit, then negative ones while they fit."""
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    short, long = Demonstration("a", "b"), Demonstration(" ".join(f"word{i}" for i in range(200)), "c")
    instance = Instance("task1_a", "1", "c", "Name it.", "the question", ("x",), (short, long), (short, short))
    preset = "tk-instruct:def+pos2+neg2"
    (whole,) = fit_prompts(tokenizer, prompt_preset(preset), [instance], room=2000)
    (fewer,) = fit_prompts(tokenizer, prompt_preset(preset), [instance], room=300)
    (cut,) = fit_prompts(tokenizer, prompt_preset(preset), [replace(instance, input=long.input)], room=300)
    assert (whole.dropped, fewer.dropped, cut.dropped) == (0, 1, 4)
    assert "Positive Example 1" in fewer.text and "Positive Example 2" not in fewer.text
    assert "Negative Example 2" in fewer.text and "the question" in fewer.text
    assert cut.truncated and CUT in cut.text and cut.text.endswith("\nOutput:")
    assert count_shortened([whole, fewer, cut]) == Shortened(inputs=1, demonstrations=2)


def test_cutting_keeps_both_ends() -> None:
    assert cut_middle("abcdefgh", 3) == f"ab{CUT}h"
    assert cut_middle("abcdefgh", 0) == CUT


def test_the_adapter_check_needs_a_difference_above_the_noise() -> None:
    require_difference("fine", AdapterCheck(largest_difference=0.5, noise=0.1, tokens=10))
    for found in (AdapterCheck(0.3, 0.1, 10), AdapterCheck(5e-5, 0.0, 10), AdapterCheck(0.0, 0.0, 0)):
        with pytest.raises(ModelError, match="answers as the base does"):
            require_difference("ignored", found)
    with pytest.raises(ModelError, match="'one' and 'other' answer alike"):
        require_difference("one", AdapterCheck(0.5, 0.1, 10, nearest="other", nearest_difference=0.2))


def test_every_complete_checkpoint_of_a_run_is_evaluated_in_order(tmp_path: Path) -> None:
    for step in (200, 1000, 50):
        folder = tmp_path / "mine" / "train" / "checkpoints" / f"step-{step}"
        (folder / "adapter").mkdir(parents=True)
        if step != 50:
            (folder / "COMPLETE").write_text("{}", encoding="utf-8")
    found = checkpoint_adapters(tmp_path / "mine")
    assert [one.name for one in found] == ["mine-step-200", "mine-step-1000"]
    assert found[0].adapter == str(tmp_path / "mine" / "train" / "checkpoints" / "step-200" / "adapter")
    assert [training_step(name) for name in ("mine-step-1000", "tuned", "one-step-more")] == [1000, 0, 0]
    with pytest.raises(ModelError, match="holds no complete checkpoint"):
        checkpoint_adapters(tmp_path)


def test_no_suites_and_the_same_suite_twice_are_refused(tiny_base: Path, suite: Path, tmp_path: Path) -> None:
    twice = [SuiteConfig(name="superni", path=str(suite)), SuiteConfig(name="superni", path=str(suite), limit=1)]
    with pytest.raises(ConfigError, match=r"evaluate\.suites: there is nothing"):
        plan(experiment(tiny_base, EngineConfig(), tmp_path, []))
    with pytest.raises(ConfigError, match="duplicate suite"):
        plan(experiment(tiny_base, EngineConfig(), tmp_path, twice))


def test_a_base_that_gives_an_adapters_answers_is_refused() -> None:
    own, others = ["a", "b", "c", "d"], ["a", "x", "y", "z"]
    check_not_swapped("base", "tuned", own, others, own)
    check_not_swapped("base", "tuned", own, others, ["a", "x", "c", "?"])  # rounding changed two answers
    with pytest.raises(EngineError, match=r"'base' gave 'tuned''s answer to 3 of 3"):
        check_not_swapped("base", "tuned", own, others, others)


def test_base_and_adapter_in_one_batch_answer_as_they_do_alone(tiny_base: Path, tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    adapter = write_adapter(tiny_base, tmp_path / "loud", scale=1.0, seed=3)
    model, evaluate = ModelConfig(base=str(tiny_base), dtype="float32"), EvaluateConfig(serve="adapter")
    config = Config(name="mixed", model=model, evaluate=evaluate)

    async def work() -> tuple[list[str], list[str], int | None]:
        async with open_engine(config, tmp_path, adapters={"loud": adapter}) as engine:
            prompts = [[1, 30 + at, 40 + at, 50 + at] for at in range(12)]

            async def ask(name: str | None, ids: list[int]) -> str:
                return (await engine.complete(ids, Sampling(16), adapter=name)).text

            alone = [await ask(None, ids) for ids in prompts]
            mixed = await asyncio.gather(*(ask(name, ids) for ids in prompts for name in (None, "loud")))
            return alone, list(mixed[::2]), await engine.tokens_generated()

    alone, in_mixed, generated = asyncio.run(work())
    assert alone == in_mixed
    assert generated == 3 * 12 * 16, "what progress shows: three answers of 16 tokens to each prompt"
