"""Builds the demonstration's base model: `python -m demo.base --out DIR [--seconds 210] [--seed 0]`.

A Llama of about 4.5 million parameters learns, in minutes on two CPU cores, to continue the task lists of
`demo.corpus`. It knows their phrasings and a few hundred words, and nothing else. It has never seen the Alpaca
training template; following an instruction given in that form is what the pipeline then teaches it.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from demo.corpus import SEEDS, Span, bare_list, full_list

CONTEXT = 2_048
STEPS = 330
LONG_SHARE = 0.4  # of the steps, at the end: whole lists at full length; before, short stretches of lists
TOKENS_PER_STEP = 4_096
SHORT = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seconds", type=float, default=215, help="most time spent in training steps")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps, where the time allows them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    build(**vars(parser.parse_args()))


def build(out: Path, *, seconds: float, steps: int, seed: int, threads: int | None) -> None:
    """Train the base into `out`, unless it lies there already, built from the same sources and options."""
    recipe = {"sources": _sources_sha256(), "seconds": seconds, "steps": steps, "seed": seed}
    stamp = out / "demo.json"
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")).get("recipe") == recipe:
        print(f"{out}: already built")
        return

    import torch

    from demo.tokenizer import train_tokenizer

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    model = _new_model(tokenizer)
    print(f"base: {model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer)} tokens")
    figures = _train(model, tokenizer, seconds=seconds, steps=steps, rng=Random(seed))

    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    written = {"recipe": recipe, "parameters": model.num_parameters(), **figures}
    (aside / stamp.name).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    aside.replace(out)
    print(f"{out}: built in {figures['seconds']:.0f} s, last loss {figures['loss']:.3f}. A sample of it:")
    print(_sampled_list(model, tokenizer))


def _new_model(tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=2 * CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
        )
    )


def _train(model: Any, tokenizer: Any, *, seconds: float, steps: int, rng: Random) -> dict[str, float]:
    """Train for `steps`, or for as many as fit in `seconds`; the schedule reaches its end either way."""
    import torch
    from torch.nn.functional import cross_entropy
    from tqdm import tqdm

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    short = _rows(lambda: bare_list(rng, 7), tokenizer, SHORT)
    long = _rows(lambda: full_list(rng) if rng.random() < 0.75 else bare_list(rng, 20), tokenizer, CONTEXT)
    started = time.monotonic()
    progress, step, mean, tokens = 0.0, 0, math.nan, 0
    model.train()
    with tqdm(total=steps, desc="base", unit="step", bar_format="{l_bar}{bar}| {elapsed} {postfix}") as bar:
        while progress < 1:
            in_long = progress >= 1 - LONG_SHARE
            rows, length = (long, CONTEXT) if in_long else (short, SHORT)
            batch = [next(rows) for _ in range(TOKENS_PER_STEP // length)]
            ids = torch.tensor([row[0] for row in batch])
            weights = torch.tensor([row[1] for row in batch])[:, 1:].reshape(-1)
            rate = _rate(progress)
            for optimizer, peak in zip(optimizers, (4e-3, 4e-3), strict=True):
                optimizer.param_groups[0]["lr"] = peak * rate
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(ids, use_cache=False).logits
            losses = cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]).float(), ids[:, 1:].reshape(-1), reduction="none")
            loss = (losses * weights).sum() / weights.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step, tokens = step + 1, tokens + ids.numel()
            mean = loss.item() if math.isnan(mean) else 0.95 * mean + 0.05 * loss.item()
            elapsed = time.monotonic() - started
            progress = max(step / steps, elapsed / seconds)
            bar.set_postfix_str(f"loss {mean:.3f}, {tokens / elapsed:,.0f} tokens/s")
            bar.update(min(steps, int(progress * steps)) - bar.n)
    return {"loss": mean, "steps": step, "tokens": tokens, "seconds": time.monotonic() - started}


def _rate(progress: float) -> float:
    """Share of the peak learning rate: a short warm-up, a plateau, then down to a fiftieth."""
    if progress < 0.04:
        return (progress + 0.002) / 0.042
    return 1.0 if progress < 0.4 else 0.02 + 0.98 * (1 - progress) / 0.6


def _rows(document: Any, tokenizer: Any, length: int) -> Iterator[tuple[list[int], list[float]]]:
    """Rows of `length` ids with the weight of each id's loss; a row begins with a document, its last one is cut."""
    while True:
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) < length:
            ids.append(tokenizer.bos_token_id)
            weights.append(0.0)
            for span in document():
                piece = _encode(tokenizer, span)
                ids += piece
                weights += [span.weight] * len(piece)
            ids.append(tokenizer.eos_token_id)
            weights.append(1.0)
        yield ids[:length], weights[:length]


def _encode(tokenizer: Any, span: Span) -> list[int]:
    return tokenizer._tokenizer.encode(span.text, add_special_tokens=False).ids


def _sampled_list(model: Any, tokenizer: Any) -> str:
    from demo.corpus import seed_tasks
    from pacos.generate.prompts import list_prompt

    prompt = list_prompt(seed_tasks()[:3], 20)
    ids = tokenizer(prompt, return_tensors="pt")
    model.eval()
    answer = model.generate(**ids, max_new_tokens=160, do_sample=True, temperature=0.8, pad_token_id=tokenizer.eos_token_id)
    return "###\n4. Instruction:" + tokenizer.decode(answer[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def _sources_sha256() -> str:
    """Of everything the model is made from: the demonstration's code, the list prompt and the seeds."""
    sources = [*sorted(Path("demo").glob("*.py")), *sorted(Path("demo/families").glob("*.py"))]
    digest = hashlib.sha256()
    for path in (*sources, Path("generate/prompts.py"), SEEDS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
