"""Rank, world size and what ranks exchange: the only file that imports torch.distributed.

Without a process group every function is the identity, so nobody asks whether there are several processes.
Shapes: B rows of this rank, N rows of all ranks in the order of ranks, D width.
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

# their names since torch 2.13, and before
all_gather_single = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter_single = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def is_lost_peer_error(error: BaseException) -> bool:
    """Whether an error only says that another process of the run has ended or does not answer."""
    said = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError)
        and any(word in said for word in ("gloo", "nccl", "connection closed", "connection reset"))
    )


def get_world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def get_rank() -> int:
    return dist.get_rank() if get_world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """Rows of all ranks, as many from each; the gradient of a row is summed over the ranks that used it."""

    @staticmethod
    def forward(ctx, own_BD: torch.Tensor) -> torch.Tensor:
        every_ND = own_BD.new_empty((get_world_size() * len(own_BD), *own_BD.shape[1:]))
        all_gather_single(every_ND, own_BD.contiguous())
        return every_ND

    @staticmethod
    def backward(ctx, gradient_ND: torch.Tensor) -> torch.Tensor:
        own_BD = gradient_ND.new_empty(
            (len(gradient_ND) // get_world_size(), *gradient_ND.shape[1:])
        )
        reduce_scatter_single(own_BD, gradient_ND.contiguous())
        return own_BD


def gather(own_BD: torch.Tensor) -> torch.Tensor:
    """The rows of all ranks (N, D), differentiable.

    A rank's loss is the mean over its own queries. Strategies average gradients over ranks, and here the gradient of a
    passage comes from all of them: together that is the gradient of the mean over the whole batch, with no factor anywhere.
    """
    return _Gather.apply(own_BD) if get_world_size() > 1 else own_BD


def gather_uneven(own_BD: torch.Tensor) -> torch.Tensor:
    """The rows of all ranks, however many each has; not differentiable."""
    if get_world_size() == 1:
        return own_BD
    sizes = gather(_sendable(torch.tensor([len(own_BD)]))).tolist()
    padded_BD = _sendable(own_BD).new_zeros((max(1, *sizes), *own_BD.shape[1:]))
    padded_BD[: len(own_BD)] = own_BD
    parts = gather(padded_BD).to(own_BD.device).split(len(padded_BD))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, over all processes of the run, and saving whole checkpoints."""

    def __init__(self, timeout: timedelta | None = None, process_group_backend: str | None = None):
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timeout or timedelta(minutes=30),
            process_group_backend=process_group_backend,
        )

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard_module(module: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Keep of every weight only this rank's part, and have all parts at hand when a layer is run (FSDP2)."""
    if not isinstance(module, FSDPModule):  # as it is when it is measured after its training
        for part in (*layers, module):
            fully_shard(part, mesh=mesh)


def count_missing_calls(module: nn.Module, calls: int) -> int:
    """How often the busiest rank runs a sharded module beyond the calls of this one, which has to join in; else 0."""
    if not isinstance(module, FSDPModule):
        return 0
    most = _sendable(torch.tensor(calls))
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most) - calls


def to_full_tensor(value: torch.Tensor) -> torch.Tensor:
    """A value that may be spread over ranks, as a plain tensor."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _sendable(own: torch.Tensor) -> torch.Tensor:
    return (
        own.cuda() if dist.get_backend() == "nccl" else own
    )  # NCCL takes nothing that lies in main memory


def sum_over_ranks(own: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks, a new tensor, the same to the last bit on each."""
    if get_world_size() == 1:
        return own
    total = _sendable(own).clone()
    dist.all_reduce(total)
    return total.to(own.device)


def average_over_ranks(own: torch.Tensor) -> torch.Tensor:
    return sum_over_ranks(own) / get_world_size()
