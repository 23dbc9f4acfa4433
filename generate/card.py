"""The dataset card: describes the dataset, and lets `datasets.load_dataset(FOLDER)` find its rows.

Without the `configs` header the library would read every file in the folder as data.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacos import __version__
from pacos.config import Config, GenerateConfig
from pacos.files import write_text
from pacos.generate.presets import preset
from pacos.generate.prompting.follow_ups import CLASSIFY
from pacos.markdown import code, front_matter, prose
from pacos.records import Task
from pacos.results.dataset import DatasetStats

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(folder: Path, config: Config, seeds: Path, seed_count: int, stats: DatasetStats) -> None:
    """Write `README.md` into the dataset's folder."""
    header = front_matter(_header(config.name, stats.funnel.accepted))
    write_text(folder / "README.md", f"{header}\n{_body(config, seeds, seed_count, stats)}")


def write_alpaca_json(path: Path, tasks: Sequence[Task]) -> None:
    """Write the tasks in the form of the official `alpaca_data.json`: one list, indented by 4, ASCII only."""
    rows = [{"instruction": task.instruction, "input": task.input, "output": task.output} for task in tasks]
    write_text(path, json.dumps(rows, indent=4))


def _header(name: str, accepted: int) -> dict[str, Any]:
    return {
        "pretty_name": name,
        "license": "other",
        "license_name": "terms-of-the-base-model",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": [next((label for size, label in SIZES if accepted < size), "1M<n<10M")],
        "tags": ["synthetic", "self-instruct", "alpaca", "pacos"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "dataset.jsonl"}]}],
    }


def _method(generate: GenerateConfig, stats: DatasetStats) -> str:
    if not preset(generate.preset).follow_ups:
        return f"each prompt shows {generate.seeds_per_request} of them and asks for a list of new ones."
    funnel, kinds = stats.funnel, stats.classification
    branches = f"{kinds['yes']:,} were called classification and given instances label first, the others input first"
    if CLASSIFY not in preset(generate.preset).follow_ups:
        branches = "all were given instances input first"
    return (
        f"each prompt shows {generate.seeds_per_request} of them and {generate.machine_per_request} accepted "
        f"instructions, and asks for more. Of the {funnel.instructions:,} accepted, {branches}; "
        f"{funnel.instances:,} instances were written."
    )


def _body(config: Config, seeds: Path, seed_count: int, stats: DatasetStats) -> str:
    generate, funnel = config.generate, stats.funnel
    teacher = code(config.teacher)
    rejected = "\n".join(f"| {prose(reason)} | {count:,} |" for reason, count in funnel.rejected.items())
    kept = 100 * funnel.instructions / funnel.items if funnel.items else 0.0
    words = stats.lengths
    cost = stats.cost
    price = f", {cost.total:.2f} in all and {cost.per_1000:.2f} per 1,000 tasks" if cost.total else ""
    return f"""\
# {prose(config.name)}

{funnel.accepted:,} tasks (instruction, input, output), written by {teacher} and filtered, not checked by people.
Made with pacos {__version__}, preset `{generate.preset}`, from {seed_count:,} seed tasks ({code(seeds.name)}): \
{_method(generate, stats)}

```python
from datasets import load_dataset

tasks = load_dataset("path/to/this/folder", split="train")
```

| file | what it holds |
|---|---|
| `dataset.jsonl` | the tasks, each with its request, its nearest neighbour and that one's ROUGE-L |
| `alpaca_data.json` | the same tasks in the form of Stanford Alpaca's file |
| `rejected.jsonl` | every item that was left out, with the reason |
| `responses.jsonl` | the model's answers as they came |
| `stats.json` | all figures |

## Filters

The rules of preset `{generate.filters.preset}`{", the defect detectors" if generate.filters.defects else ""}, and \
novelty: no instruction has a ROUGE-L above \
{generate.filters.novelty} to a seed or to an earlier task. {kept:.1f} % of {funnel.items:,} items were kept.

| left out because | items |
|---|---:|
{rejected or "| (nothing) | 0 |"}

## Figures

| | |
|---|---|
| sampling | temperature {generate.sampling.temperature}, top_p {generate.sampling.top_p}, \
presence penalty {generate.sampling.presence_penalty}, seed {config.seed} |
| requests | {funnel.requests:,}; stopped by: {stats.stopped_by} |
| tokens | {stats.tokens.prompt:,} read, {stats.tokens.completion:,} written |
| time and cost | {stats.seconds:,.0f} s{price} |
| mean words | instruction {words.instruction.mean}, input {words.input.mean} \
({words.with_input:,} tasks have one), output {words.output.mean} |
| mean ROUGE-L to the nearest earlier task | {stats.novelty.mean_nearest_rougeL:.3f} |

## Licence

The text is {teacher}'s output: that model's licence and terms hold for it, and for what is trained on it. The seed \
tasks keep their own licence. Answers can be wrong, biased or made up; review them before you rely on them.
"""
