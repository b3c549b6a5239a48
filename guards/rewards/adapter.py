"""Low-rank changes to the encoder's upper layers: LoRA (Hu 2021, arXiv:2106.09685).

W' = W + (alpha / rank) * B @ A on every linear map of the chosen layers; B starts at zero, so an untrained
adapter changes nothing. Departures: the feed-forward maps are adapted too, and there is no dropout on the
adapter's input. For serving the change is folded into the weights: it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from guards.errors import ModelError
from guards.rewards.manifest import AdapterSpec

PREFIX = "adapter."


class LowRank(nn.Module):
    """A linear map, which stays as it is, and beside it a change of low rank, which learns."""

    def __init__(self, linear: nn.Linear, spec: AdapterSpec) -> None:
        super().__init__()
        self.linear = linear
        self.a = nn.Parameter(torch.randn(spec.rank, linear.in_features) / math.sqrt(linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, spec.rank))
        self.scale = spec.alpha / spec.rank

    def forward(self, x: Tensor) -> Tensor:
        # not through B @ A: the gradient of a whole weight costs a third of a step
        change = nn.functional.linear(nn.functional.linear(x, self.a), self.b)
        result: Tensor = self.linear(x) + self.scale * change
        return result


def attach(layers: nn.ModuleList, spec: AdapterSpec) -> None:
    """Put a fresh adapter beside every linear map of `layers`; only the adapter wants gradients."""
    for parameter in layers.parameters():
        parameter.requires_grad_(False)
    for name, linear in _linears(layers):
        place, _, last = name.rpartition(".")
        setattr(layers.get_submodule(place), last, LowRank(linear, spec))


def adapter_tensors(layers: nn.ModuleList) -> dict[str, Tensor]:
    """What an artefact keeps of an attached adapter, by `adapter.<layer>.<map>.a` and `.b`."""
    tensors = {}
    for name, module in layers.named_modules():
        if isinstance(module, LowRank):
            tensors[f"{PREFIX}{name}.a"] = module.a.detach().contiguous()
            tensors[f"{PREFIX}{name}.b"] = module.b.detach().contiguous()
    return tensors


def fold(layers: nn.ModuleList, spec: AdapterSpec, tensors: Mapping[str, Tensor]) -> None:
    """Add a trained adapter into the weights of `layers`. Raises ModelError when it does not fit."""
    expected = 0
    with torch.no_grad():
        for name, linear in _linears(layers):
            try:
                a, b = tensors[f"{PREFIX}{name}.a"], tensors[f"{PREFIX}{name}.b"]
                linear.weight += (spec.alpha / spec.rank) * (b.to(linear.weight) @ a.to(linear.weight))
            except (KeyError, RuntimeError) as error:
                raise ModelError(
                    f"the adapter does not fit {name} of the encoder; reinstall the reward model"
                ) from error
            expected += 2
    if expected != sum(name.startswith(PREFIX) for name in tensors):
        raise ModelError("the adapter is for other layers than its manifest says; reinstall the reward model")


def _linears(layers: nn.ModuleList) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in list(layers.named_modules()):
        if isinstance(module, nn.Linear):
            yield name, module
