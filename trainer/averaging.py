"""A running average of a network's weights, which is usually better than the last of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of everything in a network's state dict.

    Early on it follows quickly (decay (1 + n) / (10 + n) after n steps), so that it does not
    remember the random start.
    """

    def __init__(self, network: nn.Module, decay: float, state: Mapping[str, Tensor]) -> None:
        own = network.state_dict()
        self._decay = decay
        self._state = {
            name: state[name].to(value.device) if state else value.detach().clone()
            for name, value in own.items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self._state[name].lerp_(value, 1 - decay)
            else:
                self._state[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._state)
