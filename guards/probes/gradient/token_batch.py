"""Traced windows to one padded batch of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from guards.base import ScoreInput
from guards.normalize import normalize
from guards.probes.gradient.classifier import TokenBatch
from guards.probes.targets import Text
from guards.rewards.encoding import TracedWindow, pad


def token_batch(texts: Sequence[Text], trace: Callable[[ScoreInput], TracedWindow], padding: int) -> TokenBatch:
    """`padding` is the model's own padding token."""
    items = [
        ScoreInput(normalize(text.prompt), None if text.response is None else normalize(text.response))
        for text in texts
    ]
    windows = [trace(item) for item in items]
    padded = pad([window.sequence for window in windows])
    mask = torch.from_numpy(padded.attention_mask)
    attackable = torch.zeros_like(mask, dtype=torch.bool)
    for row, window in enumerate(windows):
        attackable[row, window.first : window.first + len(window.offsets)] = True
    return TokenBatch(
        ids=torch.from_numpy(padded.input_ids).masked_fill(mask == 0, padding),
        mask=mask,
        segments=torch.from_numpy(padded.segment_ids),
        attackable=attackable,
        texts=tuple((item.prompt if item.response is None else item.response).text for item in items),
        spans=tuple(window.offsets for window in windows),
    )
