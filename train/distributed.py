"""Opens accelerate and checks that it started the processes and strategy that were configured.

accelerate falls back silently. On a CPU, `--num_processes 2` and `MULTI_CPU` run one process (accelerate#2741), and
FSDP settings are dropped: model/fsdp.py reads them itself.
"""

import os
from typing import TYPE_CHECKING

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.tracking import track_training
from pacos.train.model.fsdp import check_fsdp_settings, fsdp_enabled

if TYPE_CHECKING:
    from accelerate import Accelerator

# Environment of the processes that `pacos train` launches: their number, where train.processes is "auto", and the file
# to which the main one writes the error that stopped it.
EXPECTED_PROCESSES = "PACOS_TRAIN_PROCESSES"
ERROR_FILE = "PACOS_TRAIN_ERROR"


def has_gpu() -> bool:
    """Whether to train on a GPU: there is one, and accelerate is not told to use the CPU."""
    import torch

    return torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"


def open_accelerator(config: Config) -> "Accelerator":
    """Join the other processes, with the tracker that is configured.

    Raises TrainingError as `check_processes`, and for a tracker that is not installed; RunError as `track_training`.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    if fsdp_enabled():
        check_fsdp_settings()
    tracker = None if config.train.report_to == "none" else config.train.report_to
    accelerator = Accelerator(
        # The base's dtype decides the precision and adapters are float32; autocast would only add casts.
        mixed_precision="no",
        log_with=tracker,
        project_dir=str(config.run_dir / "train"),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, gradient_as_bucket_view=True)],
    )
    check_processes(config.train, accelerator)
    if tracker:
        if not accelerator.log_with:
            raise TrainingError(f"{tracker} is not installed", where="train.report_to", todo=f"pip install {tracker}")
        track_training(accelerator, config)
    return accelerator


def check_processes(train: TrainConfig, accelerator: "Accelerator") -> None:
    """Raises TrainingError where the number of processes or the strategy is not the configured one."""
    asked = train.processes
    expected = int(os.environ.get(EXPECTED_PROCESSES, 0)) if asked == "auto" else asked
    if expected and accelerator.num_processes != expected:
        raise TrainingError(
            f"{expected} processes are configured and accelerate started {accelerator.num_processes}",
            where="train.processes",
            todo=f"start it by `pacos train`, or by accelerate launch {launch_flags(expected)}",
        )
    if fsdp_enabled() and accelerator.num_processes < 2:
        raise TrainingError(
            "FSDP is configured and accelerate started one process: there is nothing to shard over",
            where="accelerate's configuration",
            todo="give --num_processes 2 or more, or use configs/accelerate/single.yaml",
        )
    deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"
    strategy = "DEEPSPEED" if deepspeed else accelerator.distributed_type.value
    if strategy not in ("NO", "MULTI_GPU", "MULTI_CPU", *(["FSDP"] if fsdp_enabled() else [])):
        raise TrainingError(
            f"{strategy} is not supported",
            where="accelerate's configuration",
            todo="use configs/accelerate/fsdp2.yaml to shard the base, ddp.yaml or single.yaml not to",
        )


def launch_flags(processes: int) -> str:
    """Flags of `accelerate launch` that start this many processes, on GPUs and on a CPU alike."""
    several = "--multi_gpu " if processes > 1 else ""
    return f"{several}--num_processes {processes} --num_machines 1 --mixed_precision no --dynamo_backend no"
