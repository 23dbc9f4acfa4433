"""Runs the shards of `pacos generate` as tasks of a Ray cluster, from a folder that all nodes see.

    python scripts/ray_generate.py configs/qwen2.5-7b-lora.yaml 8 [--gpus 1] [--until-request N] [key=value …]

A shard whose node or worker dies is started again elsewhere, where it asks only what its journal has no answer to.
Needs `pip install ray` in pacos's environment; the cluster is the one of RAY_ADDRESS.
"""

import argparse
import logging
import os
import sys
from pathlib import Path


def main() -> None:
    import ray

    options = _options()
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), logging_level=logging.WARNING)
    task = ray.remote(num_gpus=options.gpus, num_cpus=options.cpus, max_retries=options.retries)(_shard)
    given = (str(Path.cwd()), options.config, options.overrides, options.until_request)
    running = {task.remote(*given, f"{k}/{options.shards}"): k for k in range(1, options.shards + 1)}
    failed = 0
    while running:
        [ended], _ = ray.wait(list(running), num_returns=1)
        shard = running.pop(ended)
        try:
            print(f"shard {shard}/{options.shards}: done on {ray.get(ended)}", flush=True)
        except ray.exceptions.RayError as failure:
            failed += 1
            print(f"shard {shard}/{options.shards}: {failure}", file=sys.stderr, flush=True)
    sys.exit(1 if failed else 0)


def _shard(folder: str, config: str, overrides: list[str], until: int | None, shard: str) -> str:
    """Ask one shard; the node that did. Runs in a worker of Ray, which kills it with all that it started."""
    import ray

    from pacos.config import load_config
    from pacos.generate.shards import Shard, generate_shard

    logging.basicConfig(level=logging.WARNING, format="pacos: %(message)s")
    os.chdir(folder)
    generate_shard(load_config(Path(config), overrides), Shard.parse(shard), until)
    return str(ray.get_runtime_context().get_node_id())[:8]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("shards", type=int)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--gpus", type=float, default=1, help="GPUs of a shard's server; 0 where engine.url names one")
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--retries", type=int, default=10, help="starts of a shard after its worker has died")
    parser.add_argument("--until-request", type=int)
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
