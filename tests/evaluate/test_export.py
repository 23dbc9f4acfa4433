"""The task folder for lm-evaluation-harness; benchmarks/adapters.py runs the harness itself on one."""

import importlib.util
import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.errors import ConfigError, ModelError
from pacos.evaluate.export import export
from pacos.evaluate.metrics import best_exact_match, best_rouge_l
from pacos.evaluate.prompts import fit_prompts, suite_encoding
from pacos.files import read_jsonl
from pacos.models import load_tokenizer
from pacos.superni.prompts import prompt_preset
from pacos.superni.tasks import read_test_split
from pacos.tokenization import encode_prompts
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer
from tests.support.evaluation_folder import write_evaluation
from tests.support.superni_folder import task, write_superni

SYSTEM = "It's brief; $HOME stays."


def experiment(folder: Path, base: Path, context: int = 1024, **suite: object) -> Config:
    path = write_superni(folder / "superni", {"task1_a": {}, "task2_b": {"Definition": ["{{ 7 * 7 }} is it?"]}})
    suites = [SuiteConfig(name="superni", path=str(path), **{"prompt": "tk-instruct:def", **suite})]
    return Config(
        name="run",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=EngineConfig(args={"max_model_len": context}),
        evaluate=EvaluateConfig(suites=suites),
    )


def test_every_task_has_its_yaml_and_its_prompts_byte_for_byte(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base)
    [command] = export(config, tmp_path / "out")
    assert f"--include_path {tmp_path / 'out'} --tasks pacos_superni --model vllm" in command
    assert "max_model_len=1024" in command
    folder = tmp_path / "out" / "pacos_superni"
    group = yaml.safe_load((folder / "_group.yaml").read_text(encoding="utf-8"))
    assert group["task"] == ["pacos_superni_task1_a", "pacos_superni_task2_b"]
    assert all(one["weight_by_size"] for one in group["aggregate_metric_list"]), "the average is over instances"
    text, tag, function = (folder / "task2_b.yaml").read_text(encoding="utf-8").partition("process_results: !function ")
    values = yaml.safe_load(text)
    assert tag and function == "metrics.process_results\n"
    assert values["doc_to_text"] == "prompt", "a column, not a template: braces in a prompt stay braces"
    assert values["generation_kwargs"] == {"until": [], "do_sample": False, "max_gen_toks": 128}
    rows = [row for _, row in read_jsonl(Path(values["dataset_kwargs"]["data_files"]["test"]))]
    instances = [one for one in read_test_split(tmp_path / "superni").instances if one.task == "task2_b"]
    assert [row["prompt"] for row in rows] == [prompt_preset("tk-instruct:def").render(one) for one in instances]
    assert [row["references"] for row in rows] == [list(one.references) for one in instances]


def test_prompts_are_shortened_as_our_own_evaluation_does(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = experiment(tmp_path, tiny_base, context=160, max_tokens=40)
    tasks = tmp_path / "superni" / "tasks"
    long = [{"id": "task1_a-0", "input": "The red ball rolls on. " * 20, "output": ["red"]}]
    (tasks / "task1_a.json").write_text(json.dumps(task("task1_a", Instances=long)), encoding="utf-8")
    with caplog.at_level("INFO", logger="pacos"):
        export(config, tmp_path / "out")
    [row] = [one for _, one in read_jsonl(tmp_path / "out" / "pacos_superni" / "task1_a.jsonl")]
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    ids = encode_prompts(tokenizer, [str(row["prompt"])])[0]
    assert 100 < len(ids) <= 120, "the harness, which cuts at the left, has nothing to cut"
    assert str(row["prompt"]).startswith("Definition: Name the colour")
    assert "1 prompts shortened to fit 160 tokens" in caplog.text


def test_its_metrics_are_ours_and_import_nothing_of_pacos(tmp_path: Path, tiny_base: Path) -> None:
    export(experiment(tmp_path, tiny_base), tmp_path / "out")
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "pacos_superni" / "metrics.py")
    assert spec and spec.loader
    exported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exported)
    for answer in (" A red Ball. ", "running balls", "", "café, naïve"):
        found = exported.process_results({"references": ["a red ball", "ran"]}, [answer])
        scored, references = answer.strip(), ["a red ball", "ran"]
        assert tuple(found.values()) == (best_rouge_l(scored, references), best_exact_match(scored, references))


def test_answers_of_the_run_are_exported_as_sample_logs(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base)
    answers = {"task1_a": [("red", "red"), ("blue", "red")]}
    write_evaluation(config.run_dir / "eval" / "base", "base", answers, prompt="tk-instruct:def")
    write_evaluation(config.run_dir / "eval" / "other", "other", answers, prompt="alpaca")
    export(config, tmp_path / "out")
    [path] = (tmp_path / "out" / "samples").glob("*/*.jsonl")
    assert path.relative_to(tmp_path / "out" / "samples") == Path("base/samples_pacos_superni_task1_a.jsonl")
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert (first["resps"], first["filtered_resps"], first["target"], first["doc_id"]) == ([["red"]], ["red"], "red", 0)


@pytest.mark.parametrize(
    ("kind", "system"),
    [("llama-3", None), ("llama-3", SYSTEM), ("gemma", None), ("zephyr", None), ("zephyr", SYSTEM)],
)
def test_chats_have_the_ids_that_the_harness_makes_with_its_chat_template_on(
    kind: str, system: str | None, tmp_path: Path, tiny_base: Path
) -> None:
    base, tokenizer = shutil.copytree(tiny_base, tmp_path / "base"), chat_tokenizer(kind)
    tokenizer.save_pretrained(base)
    config = experiment(tmp_path, base, prompt="chat", system=system)
    [command] = export(config, tmp_path / "out")
    words = shlex.split(command)
    assert "--apply_chat_template" in words and "add_bos_token=False" in command
    given = words[words.index("--system_instruction") + 1] if "--system_instruction" in words else None
    assert given == system
    folder = tmp_path / "out" / "pacos_superni"
    documents = [row for task in ("task1_a", "task2_b") for _, row in read_jsonl(folder / f"{task}.jsonl")]
    instances = read_test_split(tmp_path / "superni").instances
    prompts = fit_prompts(tokenizer, suite_encoding(config.evaluate.suites[0]), instances, room=800)
    assert len(documents) == len(prompts) == 6
    for document, prompt in zip(documents, prompts, strict=True):
        # As the harness's ChatTemplate and vLLM classes do: rendered as text, and that tokenised without specials.
        chat = [{"role": "system", "content": system}] if system else []
        chat.append({"role": "user", "content": document["prompt"]})
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == prompt.ids
    values = yaml.safe_load((folder / "task1_a.yaml").read_text(encoding="utf-8").partition("process_results")[0])
    end = CHAT_KINDS[kind].end
    assert values["generation_kwargs"]["until"] == ([] if end == CHAT_KINDS[kind].eos else [end])


def test_a_base_without_a_chat_template_is_not_exported_as_a_chat(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        export(experiment(tmp_path, tiny_base, prompt="chat"), tmp_path / "out")


def test_suites_whose_answers_are_cut_cannot_be_exported(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(ConfigError, match="'first-line' would cut them"):
        export(experiment(tmp_path, tiny_base, postprocess="first-line"), tmp_path / "out")
