"""`pacos export`: suites as task folders of lm-evaluation-harness, and a run's answers as its sample logs.

    <out>/pacos_<suite>/           _group.yaml; for each task its YAML and its instances as JSONL; metrics.py, and
                                   pieces.py with gpt2/ where ROUGE-L is over GPT-2's pieces
    <out>/samples/<label>/         samples_pacos_<suite>_<task>.jsonl, as `lm_eval --log_samples` writes them

A task's file has its name, or a safe one made of it (`safe_name`): a stranger's suite may name it `../../x`.

Prompts are those of `pacos evaluate`, shortened to fit the model's context: the harness would cut them at their left,
and with that the task's definition. Those of prompt chat are the user's turns, which the harness renders in the model's
chat template (`--apply_chat_template`) to the same ids, unless they spell a control token. Paths in the files are
absolute, as the harness needs them: to move the folder, export again.
"""

import logging
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pacos.asked_chat import stops_of_turns
from pacos.config import Config, SuiteConfig
from pacos.errors import ConfigError, ModelError
from pacos.evaluate import harness_metrics
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.pipeline import read_suites
from pacos.evaluate.prompts import fit_prompts, suite_encoding
from pacos.evaluate.score import read_predictions
from pacos.evaluate.tracks import suite_tokenizer
from pacos.files import safe_name, write_bytes, write_jsonl, write_text
from pacos.models import load_tokenizer
from pacos.records import Prediction
from pacos.serving.flags import context_length
from pacos.superni import pieces
from pacos.superni.prompts import PromptPreset
from pacos.superni.tasks import Instance
from pacos.tokenization import Prompt

log = logging.getLogger("pacos")

# Those of harness_metrics.py.
HARNESS_METRICS = ("rougeL", "exact_match")


def export(config: Config, out: Path) -> list[str]:
    """Write the folders, and return the commands that run them.

    Raises ConfigError: no suites, a suite whose answers are cut by `postprocess`. ModelError for a missing model, and
    for prompt chat without a chat template. DataError as `read_suite` and `fit_prompts` do.
    """
    model, context = config.student, context_length(config, config.student)
    tokenizer = load_tokenizer(model, config.model)
    commands = []
    for suite_config, suite in read_suites(config.evaluate):
        _check_exportable(suite_config, tokenizer, model)
        name = _name(suite_config, len(config.evaluate.suites) > 1)
        encoding = suite_encoding(suite_config)
        prompts = fit_prompts(tokenizer, encoding, suite.instances, suite_config.prompt_room(context))
        if shortened := sum(prompt.shortened for prompt in prompts):
            log.info("%s: %d prompts shortened to fit %d tokens", suite_config.name, shortened, context)
        folder = out.resolve() / name
        stops = [tokenizer.decode([id]) for id in stops_of_turns(tokenizer)] if encoding.is_chat else []
        _write_tasks(name, suite_config, list(zip(suite.instances, prompts, strict=True)), stops, folder)
        _write_metrics(suite_tokenizer(suite_config, suite), folder)
        _write_samples(name, suite_config, config.run_dir / "eval", out / "samples")
        commands.append(
            f"lm_eval --include_path {out.resolve()} --tasks {name} --model vllm "
            f"--model_args pretrained={model},dtype={config.model.dtype},max_model_len={context},"
            f"add_bos_token={not encoding.is_chat}{_chat_flags(encoding)}"
        )
    return commands


def _check_exportable(suite_config: SuiteConfig, tokenizer: Any, model: str) -> None:
    if suite_config.postprocess != "none":
        raise ConfigError(
            f"the harness scores whole answers; {suite_config.postprocess!r} would cut them",
            where="evaluate.suites: postprocess",
            todo="export with postprocess: none",
        )
    if suite_encoding(suite_config).is_chat and not tokenizer.chat_template:
        raise ModelError(
            "has no chat template, in which the harness would ask it",
            where=model,
            todo="export with another prompt, or a model that has a chat template",
        )


def _chat_flags(encoding: PromptPreset) -> str:
    """A chat template writes BOS itself, so that the harness must not."""
    if not encoding.is_chat:
        return ""
    system = f" --system_instruction {shlex.quote(encoding.system)}" if encoding.system else ""
    return f" --apply_chat_template{system}"


def _name(suite_config: SuiteConfig, several: bool) -> str:
    name = f"pacos_{suite_config.name}"
    return f"{name}_{suite_config.prompt.replace(':', '_')}" if several else name


def _write_tasks(
    name: str, suite_config: SuiteConfig, asked: Sequence[tuple[Instance, Prompt]], stops: Sequence[str], folder: Path
) -> None:
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for instance, prompt in asked:
        by_task[instance.task].append(_document(instance, prompt))
    for task, documents in by_task.items():
        file = safe_name(task)
        write_jsonl(folder / f"{file}.jsonl", documents)
        values = _task(f"{name}_{file}", folder / f"{file}.jsonl", suite_config, stops)
        # The harness's own tag, for a function in a file next to this one.
        write_text(folder / f"{file}.yaml", f"{_yaml(values)}process_results: !function metrics.process_results\n")
    micro = [{"metric": metric, "aggregation": "mean", "weight_by_size": True} for metric in HARNESS_METRICS]
    tasks = [f"{name}_{safe_name(task)}" for task in by_task]
    group = {"group": name, "task": tasks, "aggregate_metric_list": micro}
    write_text(folder / "_group.yaml", _yaml(group))


def _write_metrics(tokenizer: str, folder: Path) -> None:
    write_bytes(folder / "metrics.py", Path(harness_metrics.__file__).read_bytes())
    copy, data = folder / "pieces.py", folder / pieces.MERGES.parent.name
    copy.unlink(missing_ok=True)
    if tokenizer == "gpt2":
        write_bytes(copy, Path(pieces.__file__).read_bytes())
        for file in pieces.MERGES.parent.iterdir():
            write_bytes(data / file.name, file.read_bytes())


def _document(instance: Instance, prompt: Prompt) -> dict[str, Any]:
    return {
        "id": instance.id,
        "category": instance.category,
        "prompt": prompt.text,
        "references": list(instance.references),
    }


def _task(name: str, data: Path, suite_config: SuiteConfig, stops: Sequence[str]) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "{{references[0]}}",
        "generation_kwargs": {"until": list(stops), "do_sample": False, "max_gen_toks": suite_config.answer_tokens},
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in HARNESS_METRICS],
        "metadata": {"version": 1.0},
    }


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _write_samples(name: str, suite_config: SuiteConfig, evaluations: Path, out: Path) -> None:
    """Answers of the run's models to this suite and prompt."""
    for path in sorted(evaluations.glob("*/predictions.jsonl")):
        evaluation = read_evaluation(path.parent)
        if evaluation is None or (evaluation.settings.suite, evaluation.settings.prompt) != (
            suite_config.name,
            suite_config.prompt,
        ):
            continue
        by_task: dict[str, list[Prediction]] = defaultdict(list)
        for row in read_predictions(path):
            by_task[row.task].append(row)
        for task, rows in by_task.items():
            write_jsonl(out / path.parent.name / f"samples_{name}_{safe_name(task)}.jsonl", _samples(rows))


def _samples(rows: Sequence[Prediction]) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": index,
            "doc": {"id": row.instance, "category": row.category, "references": row.references},
            "target": row.references[0],
            "arguments": [],
            "resps": [[row.raw]],
            "filtered_resps": [row.prediction],
            "filter": "none",
            "metrics": list(HARNESS_METRICS),
            "prompt_hash": row.prompt_sha256,
            "rougeL": row.rougeL,
            "exact_match": row.exact_match,
        }
        for index, row in enumerate(rows)
    ]
