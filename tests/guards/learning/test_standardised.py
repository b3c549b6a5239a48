"""Features at one scale while a head learns, and none of it where the head serves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guards.learning.standardised import StandardisedHead
from guards.rewards.torch_model import RewardHead

_FEATURES = 96


@pytest.fixture
def texts() -> Tensor:
    """As hidden states are: one dimension large and all but constant, one of no deviation, the others small."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((200, _FEATURES), generator=generator) * torch.linspace(0.02, 1.0, _FEATURES)
    features[:, 5] = 30.0 + 0.01 * features[:, 5]
    features[:, 6] = 0.0
    return features


def measured(texts: Tensor) -> StandardisedHead:
    torch.manual_seed(2)
    head = StandardisedHead(_FEATURES, 8, 3)
    with torch.no_grad():
        head.measure(texts)
    return head


def test_the_hidden_layer_sees_every_feature_at_the_same_scale(texts: Tensor) -> None:
    read = measured(texts).read(texts)
    varying = [at for at in range(_FEATURES) if at not in (5, 6)]
    assert read.mean(0).abs().max() < 1e-4
    assert torch.allclose(read.std(0, unbiased=False)[varying], torch.ones(len(varying)), atol=1e-3)
    assert read.std(0).max() < 1.1


def test_what_is_kept_says_the_same_without_it_in_half_precision_too(texts: Tensor) -> None:
    head = measured(texts)
    for precise in (True, False):
        plain = RewardHead(_FEATURES, 8, 3)
        plain.load_state_dict({name: part if precise else part.half().float() for name, part in head.kept().items()})
        with torch.no_grad():
            assert torch.allclose(plain(texts), head(texts), atol=1e-3 if precise else 1e-2)


def test_before_it_is_measured_it_is_a_head_like_others(texts: Tensor) -> None:
    torch.manual_seed(3)
    head = StandardisedHead(_FEATURES, 8, 3)
    torch.manual_seed(3)
    plain = RewardHead(_FEATURES, 8, 3)
    with torch.no_grad():
        assert torch.allclose(plain(texts), head(texts))
