"""The algorithm of stanford_alpaca's `generate_instruction.py`, written anew, for `alpaca_loop.py` to time.

    python -m benchmarks.published_loop CALLS.jsonl POOL.json OUT.json --url URL

Several prompts in one call, wait for all answers, then one candidate after the other: its tokens are scored by
rouge_score against the cached tokens of the whole pool, in a process pool that is opened for this one candidate. The
dataset is written anew after every call. It is given one process to a core, where the original starts sixteen.
OUT.json gets the tasks that were accepted and the seconds from the first call on.
"""

import argparse
import json
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from rouge_score import rouge_scorer, tokenizers

from benchmarks.vllm_server import KEY_ENV
from pacos.config import FiltersConfig
from pacos.generate.filtering.filters import task_rules
from pacos.generate.filtering.rule import first_broken_rule
from pacos.generate.prompting.parsing import parse_answer
from pacos.records import Task
from pacos.serving.client import send

THRESHOLD = 0.7
RULES = task_rules(FiltersConfig(defects=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("calls", "pool", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    tokenizer = tokenizers.DefaultTokenizer(use_stemmer=False)
    pool = [tokenizer.tokenize(text) for text in json.loads(options.pool.read_text(encoding="utf-8"))]
    accepted: list[dict[str, str]] = []
    began = time.monotonic()
    for line in options.calls.read_text(encoding="utf-8").splitlines():
        for task in _candidates(options.url, json.loads(line)):
            tokens = tokenizer.tokenize(task.instruction)
            with multiprocessing.Pool(os.cpu_count()) as processes:
                scores = processes.map(partial(rouge_scorer._score_lcs, tokens), pool)
            if max(score.fmeasure for score in scores) <= THRESHOLD:
                accepted.append({"instruction": task.instruction, "input": task.input, "output": task.output})
                pool.append(tokens)
        options.out.with_suffix(".regen").write_text(json.dumps(accepted, indent=4), encoding="utf-8")
    seconds = time.monotonic() - began
    options.out.write_text(json.dumps({"accepted": len(accepted), "seconds": seconds}), encoding="utf-8")


def _candidates(url: str, body: dict[str, Any]) -> list[Task]:
    """One call's tasks that keep the published rules."""
    status, text = send(f"{url}/completions", os.environ[KEY_ENV], body, timeout_s=600)
    if status != 200:
        raise RuntimeError(text)
    choices = json.loads(text)["choices"]
    items = [item for choice in choices for item in parse_answer(choice["text"], choice["finish_reason"])]
    return [item.task for item in items if item.task and first_broken_rule(item.task, RULES) is None]


if __name__ == "__main__":
    main()
