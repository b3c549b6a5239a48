"""Twins: the same weights, not copied, in a network whose attention is written out so that it can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def eager_twin_of(model: PreTrainedModel, make: Callable[..., Any], **options: Any) -> PreTrainedModel:
    """`make` is the `from_config` that built the model, `options` what else it was given.

    The model itself is not touched: switching its attention would change it under whoever is using it.
    """
    with torch.device("meta"):
        twin: PreTrainedModel = make(
            model.config.__class__.from_dict(model.config.to_dict()), attn_implementation="eager", **options
        )
    twin.load_state_dict(model.state_dict(), strict=True, assign=True)
    tie: Callable[[], None] = twin.tie_weights
    tie()
    known = dict(model.named_buffers())
    for name, buffer in list(twin.named_buffers()):
        if buffer.is_meta:  # such as position numbers, which are no part of the state
            place, _, leaf = name.rpartition(".")
            twin.get_submodule(place).register_buffer(leaf, known[name], persistent=False)
    frozen: nn.Module = twin
    frozen.eval().requires_grad_(False)
    return twin
