"""Rank, world size and what ranks exchange: the only file that imports torch.distributed.

Without a process group every function returns its input, so callers need not ask whether there are
several processes. Shapes: B rows of this rank, N rows of all ranks in the order of ranks, D width.
"""

from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

if hasattr(dist, "all_gather_single"):  # their names since torch 2.13
    all_gather_single = dist.all_gather_single
    reduce_scatter_single = dist.reduce_scatter_single
else:
    all_gather_single = dist.all_gather_into_tensor
    reduce_scatter_single = dist.reduce_scatter_tensor

# Words of the error texts of torch that mean a lost connection.
LOST_CONNECTION_WORDS = ("gloo", "nccl", "connection closed", "connection reset")


def is_lost_peer_error(error: BaseException) -> bool:
    """Returns whether an error only says that another process ended or does not answer."""
    if isinstance(error, dist.DistError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    message = str(error).lower()
    return any(word in message for word in LOST_CONNECTION_WORDS)


def get_world_size() -> int:
    """Returns the number of processes of the run."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def get_rank(group: dist.ProcessGroup | None = None) -> int:
    """Returns the number of this process, from 0, among those of the run or of a group."""
    return dist.get_rank(group) if get_world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """Gathers the rows of all ranks, equally many from each.

    The gradient of a row is the sum over the ranks that used it.
    """

    @staticmethod
    def forward(ctx, rows_BD: torch.Tensor) -> torch.Tensor:
        """Returns the rows of all ranks in the order of ranks (N, D)."""
        gathered_ND = rows_BD.new_empty((get_world_size() * len(rows_BD), *rows_BD.shape[1:]))
        all_gather_single(gathered_ND, rows_BD.contiguous())
        return gathered_ND

    @staticmethod
    def backward(ctx, gradient_ND: torch.Tensor) -> torch.Tensor:
        """Returns the gradient of this rank's rows, summed over all ranks (B, D)."""
        rows_per_rank = len(gradient_ND) // get_world_size()
        gradient_BD = gradient_ND.new_empty((rows_per_rank, *gradient_ND.shape[1:]))
        reduce_scatter_single(gradient_BD, gradient_ND.contiguous())
        return gradient_BD


def gather(rows_BD: torch.Tensor) -> torch.Tensor:
    """Returns the rows of all ranks (N, D), differentiable; every rank must have equally many.

    A rank's loss is the mean over its own queries. Strategies average gradients over ranks, and
    here the gradient of a passage is summed over all ranks. Together that is the gradient of the
    mean over the whole batch, so no code needs a factor for the number of ranks.
    """
    return _Gather.apply(rows_BD) if get_world_size() > 1 else rows_BD


def gather_uneven(rows_BD: torch.Tensor) -> torch.Tensor:
    """Returns the rows of all ranks, however many each has; not differentiable."""
    if get_world_size() == 1:
        return rows_BD
    sizes = gather(_move_to_sendable_device(torch.tensor([len(rows_BD)]))).tolist()
    longest = max(1, *sizes)
    padded_BD = _move_to_sendable_device(rows_BD).new_zeros((longest, *rows_BD.shape[1:]))
    padded_BD[: len(rows_BD)] = rows_BD
    blocks = gather(padded_BD).to(rows_BD.device).split(longest)
    return torch.cat([block[:size] for block, size in zip(blocks, sizes, strict=True)])


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 over all processes of the run, with complete checkpoints.

    Args:
        timeout: how long a rank waits for the others in a collective; 30 minutes by default.
        process_group_backend: `nccl` or `gloo`; None for the one of the device.
    """

    def __init__(self, timeout: timedelta | None = None, process_group_backend: str | None = None):
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timeout or timedelta(minutes=30),
            process_group_backend=process_group_backend,
        )

    def setup_environment(self) -> None:
        """Spreads the weights over all processes before Lightning builds the device mesh."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard_module(module: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Keeps only this rank's part of every weight, and fetches the rest when a layer runs (FSDP2).

    Args:
        module: sharded in place; a module that is sharded already, as in a test after the
            training, stays as it is.
        layers: parts of the module whose weights are fetched together.
        mesh: the ranks over which the weights are spread.
    """
    if isinstance(module, FSDPModule):
        return
    for part in (*layers, module):
        fully_shard(part, mesh=mesh)


def count_missing_calls(module: nn.Module, calls: int) -> int:
    """Returns how many more calls of a sharded module the busiest rank makes than this one.

    All ranks must call a sharded module equally often. The result is 0 for any other module.
    """
    if not isinstance(module, FSDPModule):
        return 0
    most = _move_to_sendable_device(torch.tensor(calls))
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most) - calls


def to_full_tensor(value: torch.Tensor) -> torch.Tensor:
    """Returns a value that may be spread over ranks as a plain tensor."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def clip_values(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Bounds the absolute value of every gradient, in place.

    A rank bounds its own part of a gradient that is spread over ranks.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if isinstance(gradient, DTensor):
            gradient = gradient.to_local()
        gradient.clamp_(min=-largest, max=largest)


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Returns the sum over all ranks, the same to the last bit on each."""
    if get_world_size() == 1:
        return value
    total = _move_to_sendable_device(value).clone()
    dist.all_reduce(total)
    return total.to(value.device)


def average_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Returns the mean over all ranks, the same to the last bit on each."""
    return sum_over_ranks(value) / get_world_size()


def _move_to_sendable_device(value: torch.Tensor) -> torch.Tensor:
    """Returns the value where the backend can send it from: NCCL sends from GPUs only."""
    return value.cuda() if dist.get_backend() == "nccl" else value
