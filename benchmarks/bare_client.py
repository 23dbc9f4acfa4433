"""The least client there is: sends request bodies in their order, so many at a time, and throws the answers away.

    python -m benchmarks.bare_client BODIES.jsonl LENGTHS.json --url URL --in-flight 64

LENGTHS.json gets the number of tokens of each answer. The key is read from the environment variable KEY_ENV.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

import aiohttp

from benchmarks.vllm_server import KEY_ENV
from pacos.serving.address import http_url, socket_path

TIMEOUT_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bodies", type=Path)
    parser.add_argument("lengths", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    lengths = asyncio.run(send_all(options.url, bodies, options.in_flight))
    options.lengths.write_text(json.dumps(lengths), encoding="utf-8")


async def send_all(url: str, bodies: list[bytes], in_flight: int) -> list[int]:
    """Tokens of each answer, in the order of the bodies."""
    lengths = [0] * len(bodies)
    waiting = iter(enumerate(bodies))
    headers = {"Authorization": f"Bearer {os.environ[KEY_ENV]}", "Content-Type": "application/json"}

    async def send_next(session: aiohttp.ClientSession) -> None:
        for place, body in waiting:
            async with session.post(f"{http_url(url)}/completions", data=body) as answer:
                answer.raise_for_status()
                lengths[place] = (await answer.json())["usage"]["completion_tokens"]

    path = socket_path(url)
    async with aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        connector=aiohttp.UnixConnector(path, limit=in_flight) if path else aiohttp.TCPConnector(limit=in_flight),
    ) as session:
        await asyncio.gather(*[send_next(session) for _ in range(in_flight)])
    return lengths


if __name__ == "__main__":
    main()
