"""The parser on damaged replies: `python -m benchmarks.mutated_replies [--replies 200000] [--save]`.

Malformed replies (benchmarks/replies.py) are cut, spliced, shuffled, repeated and mixed with odd characters, from a
seed. The figures count exceptions, items that are neither a task with its fields nor a reason, and tasks whose text
cannot be written and read back, and give the slowest reply.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from random import Random

from benchmarks.replies import SLIPS, malformed
from benchmarks.result import report
from pacos.generate.prompting.items import ParsedItem
from pacos.generate.prompting.parsing import parse_answer

CHUNK = 5_000
ODD = (
    "\0", "\r", "\r\n", "\t", "\x85", "\u2028", "\u2029", "\u200b", "\ufeff", "\ud800", "\U0010ffff", "İ", "ﬁ", "́",
    "\u202e", "##", "###\n", "**", "__", ":", "：", "5.", "٣.", "12)", "Input:", "Output:", "\n7. Instruction:",
    "\n7. Output:\n", "task 3. input:", "<noinput>", "N/A", "```", "\\n", '"', "{", " " * 3_000, "\n" * 500, "#" * 999,
)  # fmt: skip

Mutation = Callable[[str, Random], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replies", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    starts = range(0, options.replies, CHUNK)
    with ProcessPoolExecutor(options.processes) as processes:
        parts = list(processes.map(_chunk, starts, [min(CHUNK, options.replies - start) for start in starts]))
    counts = sum((Counter(part) for part, _ in parts), Counter[str]())
    figures = {
        "replies": options.replies,
        "exceptions": counts["exceptions"],
        "items": counts["items"],
        "tasks": counts["tasks"],
        "items_without_their_fields": counts["broken"],
        "slowest_reply_ms": max(slowest for _, slowest in parts),
    }
    report("mutated_replies", figures, settings={"replies": options.replies}, save=options.save)


def _chunk(start: int, count: int) -> tuple[dict[str, int], float]:
    """Counts over replies `start` to `start + count`, and the slowest of them in milliseconds."""
    counts: Counter[str] = Counter()
    slowest = 0.0
    for seed in range(start, start + count):
        draw = Random(seed)
        reply = mutated_reply(draw)
        began = time.perf_counter()
        try:
            items = parse_answer(reply, draw.choice(("stop", "length")))
        except Exception as failure:
            print(f"seed {seed}: {failure!r}")
            counts["exceptions"] += 1
            continue
        slowest = max(slowest, 1000 * (time.perf_counter() - began))
        counts["items"] += len(items)
        counts["tasks"] += sum(item.task is not None for item in items)
        counts["broken"] += sum(not is_whole(item, reply) for item in items) + (not items)
    return counts, round(slowest, 2)


def mutated_reply(draw: Random) -> str:
    """A malformed reply with one to six mutations."""
    _, reply = malformed(draw.choice(list(SLIPS)), draw)
    for mutate in draw.choices(MUTATIONS, k=draw.randint(1, 6)):
        reply = mutate(reply, draw)
    return reply


def is_whole(item: ParsedItem, reply: str) -> bool:
    """Either a reason, or a task with instruction and output (input may be ""), every field of it from the reply."""
    if item.raw not in reply or (item.task is None) == (item.reason is None):
        return False
    if item.task is None:
        return True
    fields = (item.task.instruction, item.task.input, item.task.output)
    written = json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return bool(fields[0].strip() and fields[2].strip()) and json.loads(written) == list(fields)


def _cut(reply: str, draw: Random) -> str:
    return reply[: draw.randint(0, len(reply))]


def _drop(reply: str, draw: Random) -> str:
    start = draw.randint(0, len(reply))
    return reply[:start] + reply[start + draw.randint(1, 200) :]


def _insert(reply: str, draw: Random) -> str:
    place = draw.randint(0, len(reply))
    return reply[:place] + draw.choice(ODD) * draw.randint(1, 3) + reply[place:]


def _repeat(reply: str, draw: Random) -> str:
    start = draw.randint(0, len(reply))
    end = start + draw.randint(1, 300)
    return reply[:end] + reply[start:end] * draw.randint(1, 20) + reply[end:]


def _splice(reply: str, draw: Random) -> str:
    _, other = malformed(draw.choice(list(SLIPS)), draw)
    return reply[: draw.randint(0, len(reply))] + other[draw.randint(0, len(other)) :]


def _shuffle_lines(reply: str, draw: Random) -> str:
    lines = reply.split("\n")
    start = draw.randint(0, len(lines))
    part = lines[start : start + 12]
    draw.shuffle(part)
    return "\n".join([*lines[:start], *part, *lines[start + 12 :]])


def _change_characters(reply: str, draw: Random) -> str:
    characters = list(reply)
    for _ in range(min(len(characters), draw.randint(1, 40))):
        characters[draw.randrange(len(characters))] = chr(draw.choice((draw.randrange(128), draw.randrange(0x110000))))
    return "".join(characters)


MUTATIONS: tuple[Mutation, ...] = (_cut, _drop, _insert, _insert, _repeat, _splice, _shuffle_lines, _change_characters)

if __name__ == "__main__":
    main()
