"""Several processes that compute what one would: gathered batches and their normalisation.

Every process evaluates the loss of the whole batch. The gradient that comes back through `gathered`
is then the sum over processes of equal parts, and averaging parameter gradients, as
DistributedDataParallel does, gives the gradient of one process with the whole batch.
"""

from collections.abc import Collection
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn


def gathered(tensor: Tensor) -> Tensor:
    """The rows of all processes, in their order; the tensor itself where there is one process.

    Each process must hold equally many rows. Gradients flow back to the process that owns a row.
    """
    if world_size() == 1:
        return tensor
    if not tensor.is_floating_point():
        return _all_rows(tensor)
    rows: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return rows


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def normalise_over_processes(network: nn.Module, but: Collection[nn.Module] = ()) -> None:
    """Make every BatchNorm in training mode use the statistics of all processes' rows.

    `but` are modules that see gathered rows already.

    PyTorch's own SyncBatchNorm does that on GPUs only, and loses the activation that timm's
    normalisation layers carry. Nothing changes for one process; no parameter changes its name.
    """
    if world_size() == 1:
        return
    whole = {id(module) for part in but for module in part.modules()}
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and id(module) not in whole:
            module.forward = partial(_normalised, module)  # type: ignore[method-assign]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: Tensor) -> Tensor:
        return _all_rows(tensor)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def _all_rows(tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def _normalised(norm: nn.modules.batchnorm._BatchNorm, values: Tensor) -> Tensor:
    """What `norm(values)` would be if the rows of all processes were in one batch."""
    if norm.training:
        over = [0, *range(2, values.dim())]
        variance, mean = torch.var_mean(values.float(), over, correction=0)
        shared = gathered(torch.stack((mean, variance))[None])
        mean = shared[:, 0].mean(0)
        variance = (shared[:, 1] + (shared[:, 0] - mean).square()).mean(0)
        _remember(norm, mean.detach(), variance.detach(), values.numel() // len(mean))
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = norm.running_mean, norm.running_var
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shape = (1, -1, *(1,) * (values.dim() - 2))
    out = values * scale.view(shape) + (norm.bias - mean * scale).view(shape)
    for name in ("drop", "act"):  # timm's layers do these in the same breath
        after = getattr(norm, name, None)
        out = after(out) if isinstance(after, nn.Module) else out
    return out.to(values.dtype)


def _remember(
    norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, local: int
) -> None:
    if norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    count = local * world_size()
    rate = 0.1 if norm.momentum is None else norm.momentum
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, rate)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), rate)
