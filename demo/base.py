"""Builds the demonstration's base model: `python -m demo.base --out DIR [--seconds 420] [--seed 0]`.

A Llama of 4.4 million parameters learns to continue the task lists of `demo.corpus`, in three minutes on two cores with
bfloat16 arithmetic and in seven on older ones. It knows their phrasings and a few hundred words, and nothing else. It
has never seen the Alpaca training template: following an instruction given in that form is what the pipeline then
teaches it.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import time
from pathlib import Path
from random import Random
from typing import Any

from demo.corpus import NEW_TASKS, SHOWN, Amounts, seed_tasks, single_items, stretches, whole_lists
from demo.model import CONTEXT, new_model
from demo.tokenizer import train_tokenizer
from pacos.generate.prompts import list_prompt
from pacos.generate.seeds import PACKAGED_SEEDS
from pacos.train.model import cpu_multiplies_bfloat16

STEPS = 470
BATCH_TOKENS = 2_048
# Single items first, then rows of growing length: short rows teach more in the same time, but a model must also learn
# to look past a whole list of other items. Shares of the steps; the rest goes to rows of full length.
SINGLE_SHARE = 0.45
MIDDLE_SHARE = 0.2
MIDDLE_ROW = 512
WHOLE_LISTS = 0.5  # of the rows of full length; the others hold stretches of lists, where every token teaches
MATRIX_RATE, OTHER_RATE = 5e-3, 2.5e-3

Tokens = list[tuple[int, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seconds", type=float, default=420, help="most time spent in training steps")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps, where the time allows them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    build(**vars(parser.parse_args()))


def build(out: Path, *, seconds: float, steps: int, seed: int, threads: int | None) -> None:
    """Train the base into `out`, unless it lies there already, built from the same sources and options."""
    recipe = {"sources": _sources_sha256(), "seconds": seconds, "steps": steps, "seed": seed}
    stamp = out / "demo.json"
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8"))["recipe"] == recipe:
        print(f"{out}: already built")
        return

    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    model = new_model(tokenizer)
    print(f"base: {model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer):,} tokens", flush=True)
    figures = train(model, Batches(tokenizer, seed), seconds=seconds, steps=steps)

    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    written = {"recipe": recipe, "parameters": model.num_parameters(), **figures}
    (aside / stamp.name).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    print(f"{out}: built in {figures['seconds']:.0f} s, loss {figures['loss']:.3f}. It continues a list like this:")
    print(_sampled_list(model, tokenizer))


def amounts_seen(base: Path) -> Amounts:
    """What text a built base has seen."""
    return Amounts(**json.loads((base / "demo.json").read_text(encoding="utf-8"))["documents"])


class Batches:
    """Batches of token ids with each id's weight in the loss, about `BATCH_TOKENS` each, for the three phases."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._bos, self._eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._seed = seed
        self._rng = Random(seed)
        self._sources = (single_items(seed), stretches(seed), whole_lists(seed))
        self._taken = [0, 0, 0]
        self._ready: list[list[Tokens]] = []

    def at(self, progress: float) -> list[Tokens]:
        """The batch for this moment of the training: rows of one length."""
        if progress < SINGLE_SHARE:
            return self._items()
        if progress < SINGLE_SHARE + MIDDLE_SHARE:
            return [self._filled([], MIDDLE_ROW) for _ in range(BATCH_TOKENS // MIDDLE_ROW)]
        opening = self._document(2) if self._rng.random() < WHOLE_LISTS else []
        return [self._filled(opening, CONTEXT)]

    @property
    def taken(self) -> Amounts:
        return Amounts(self._seed, *self._taken)

    def _items(self) -> list[Tokens]:
        """Items one to a row, with others of nearly their length, so that little is spent on padding."""
        if not self._ready:
            rows = sorted((self._document(0) for _ in range(1_024)), key=len)
            while rows:
                longest = len(rows[-1])
                count = max(1, BATCH_TOKENS // longest)
                batch, rows = rows[-count:], rows[:-count]
                self._ready.append([row + [(self._eos, 0.0)] * (longest - len(row)) for row in batch])
            self._rng.shuffle(self._ready)
        return self._ready.pop()

    def _filled(self, tokens: Tokens, length: int) -> Tokens:
        """A row that begins with a document; its last document is cut."""
        while len(tokens) < length:
            tokens = [*tokens, *self._document(1)]
        return tokens[:length]

    def _document(self, kind: int) -> Tokens:
        self._taken[kind] += 1
        tokens = [(self._bos, 0.0)]
        for text, weight in next(self._sources[kind]).spans():
            tokens += [(id, weight) for id in self._encode(text, add_special_tokens=False).ids]
        return [*tokens, (self._eos, 1.0)]


def train(model: Any, batches: Batches, *, seconds: float, steps: int) -> dict[str, Any]:
    """Train for `steps`, or for as many as fit in `seconds`: the schedule reaches its end either way."""
    import torch
    from torch.nn.functional import cross_entropy
    from tqdm import tqdm

    from demo.muon import Muon

    hidden = {id(p) for p in model.model.layers.parameters() if p.ndim == 2}
    matrices = [p for p in model.parameters() if id(p) in hidden]
    others = [p for p in model.parameters() if id(p) not in hidden]
    optimizers = {
        MATRIX_RATE: Muon(matrices),
        OTHER_RATE: torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0),
    }
    model.train()
    started = time.monotonic()
    progress, step, loss_mean = 0.0, 0, math.nan
    with tqdm(total=steps, desc="base", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {postfix}") as bar:
        while progress < 1:
            batch = batches.at(progress)
            ids = torch.tensor([[id for id, _ in row] for row in batch])
            weights = torch.tensor([[weight for _, weight in row] for row in batch])[:, 1:].flatten()
            counted = weights > 0
            with torch.autocast("cpu", torch.bfloat16, enabled=cpu_multiplies_bfloat16()):
                hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
                logits = model.lm_head(hidden[counted])
            losses = cross_entropy(logits.float(), ids[:, 1:].flatten()[counted], reduction="none")
            loss = (losses * weights[counted]).sum() / weights.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for peak, optimizer in optimizers.items():
                optimizer.param_groups[0]["lr"] = peak * _rate(progress)
                optimizer.step()
                optimizer.zero_grad()
            step += 1
            loss_mean = loss.item() if math.isnan(loss_mean) else 0.95 * loss_mean + 0.05 * loss.item()
            elapsed = time.monotonic() - started
            progress = max(step / steps, elapsed / seconds)
            bar.set_postfix_str(f"loss {loss_mean:.3f}, {step / elapsed:.1f} steps/s", refresh=False)
            bar.update(min(steps, round(progress * steps)) - bar.n)
    return {"loss": loss_mean, "steps": step, "seconds": elapsed, "documents": batches.taken._asdict()}


def _rate(progress: float) -> float:
    """Share of the peak learning rate: a short warm-up, a plateau, then straight down to a fiftieth."""
    if progress < 0.04:
        return 0.05 + 0.95 * progress / 0.04
    return 1.0 if progress < 0.4 else 0.02 + 0.98 * (1 - progress) / 0.6


def _sampled_list(model: Any, tokenizer: Any) -> str:
    prompt = tokenizer(list_prompt(seed_tasks()[:SHOWN], NEW_TASKS), return_tensors="pt")
    model.eval()
    answer = model.generate(
        **prompt, max_new_tokens=150, do_sample=True, temperature=0.7, pad_token_id=tokenizer.eos_token_id
    )
    text = tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    return f"###\n{SHOWN + 1}. Instruction:{text}"


def _sources_sha256() -> str:
    """Of all that decides the model: the code that composes and trains, the list prompt and the seeds."""
    demo = Path(__file__).parent
    composing = [demo / f"{name}.py" for name in ("base", "corpus", "model", "muon", "tokenizer")]
    digest = hashlib.sha256()
    for path in (*composing, *sorted((demo / "families").glob("*.py")), Path("generate/prompts.py"), PACKAGED_SEEDS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
