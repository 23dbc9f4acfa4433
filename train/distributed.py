"""The processes that train together, as accelerate built them: checked against what was asked for.

accelerate falls back without a word. On a CPU, `--num_processes 2` and `MULTI_CPU` run one process
(accelerate#2741), and FSDP settings are dropped: train/sharding.py reads them itself.
"""

import os
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.model.fsdp import check_settings, sharding_asked

if TYPE_CHECKING:
    from accelerate import Accelerator

# Environment that `pacos train` gives the processes it launches: how many they must be, where train.processes
# says only "auto", and the file in which the main one leaves the error that stopped it.
EXPECTED_PROCESSES = "PACOS_TRAIN_PROCESSES"
ERROR_FILE = "PACOS_TRAIN_ERROR"


def has_gpu() -> bool:
    """Without one, or where accelerate is told so, training is the CPU's."""
    import torch

    return torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"


def open_accelerator(config: Config, tracked: dict[str, Any]) -> "Accelerator":
    """Join the other processes. Raises TrainingError for another world than asked, or a tracker not installed."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    if sharding_asked():
        check_settings()
    tracker = None if config.train.report_to == "none" else config.train.report_to
    accelerator = Accelerator(
        # The base's dtype decides the precision and adapters are float32: autocast would only add casts.
        mixed_precision="no",
        log_with=tracker,
        project_dir=str(config.run_dir / "train"),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, gradient_as_bucket_view=True)],
    )
    check_world(config, accelerator)
    if tracker:
        if not accelerator.log_with:
            raise TrainingError(f"{tracker} is not installed", where="train.report_to", todo=f"pip install {tracker}")
        accelerator.init_trackers("pacos", config=tracked)
    return accelerator


def check_world(config: Config, accelerator: "Accelerator") -> None:
    """Raises TrainingError where the number of processes or the strategy is not the one asked for."""
    asked = config.train.processes
    expected = int(os.environ.get(EXPECTED_PROCESSES, 0)) if asked == "auto" else asked
    if expected and accelerator.num_processes != expected:
        raise TrainingError(
            f"{expected} processes were asked for and accelerate started {accelerator.num_processes}",
            where="train.processes",
            todo=f"start it by `pacos train`, or by accelerate launch {launch_flags(expected)}",
        )
    if sharding_asked() and accelerator.num_processes < 2:
        raise TrainingError(
            "FSDP was asked for and accelerate started one process: there is nobody to share the base with",
            where="accelerate's configuration",
            todo="give --num_processes 2 or more, or use configs/accelerate/single.yaml",
        )
    deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"
    strategy = "DEEPSPEED" if deepspeed else accelerator.distributed_type.value
    if strategy not in ("NO", "MULTI_GPU", "MULTI_CPU", *(["FSDP"] if sharding_asked() else [])):
        raise TrainingError(
            f"{strategy} is not supported",
            where="accelerate's configuration",
            todo="use configs/accelerate/fsdp2.yaml to shard the base, ddp.yaml or single.yaml to keep it whole",
        )


def launch_flags(processes: int) -> str:
    """Flags of `accelerate launch` that start this many processes, on GPUs and on a CPU alike."""
    several = "--multi_gpu " if processes > 1 else ""
    return f"{several}--num_processes {processes} --num_machines 1 --mixed_precision no --dynamo_backend no"
