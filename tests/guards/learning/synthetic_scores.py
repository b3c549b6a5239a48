"""Held-out scores of a made-up reward model with known properties; no training."""

from __future__ import annotations

import numpy as np

from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow

HOSTILE = "<script>alert('x')</script>"  # a source's name is not ours to trust


def synthetic_scores(seeds: tuple[int, ...] = (1, 2, 3), n: int = 400) -> HeldOutScores:
    """A fair request head, and a response head that takes refusals for good: its unsafe half is right, its safe
    half wrong. Longer texts get lower rewards. Seeds differ by a little noise."""
    generator = np.random.default_rng(11)
    rows: list[ScoredRow] = []
    pairs: list[ScoredPair] = []
    for head in ("request_risk", "response_reward"):
        # (source, category, share of unsafe rows, how far apart the classes are)
        for source, category, share, gap in (
            ("mixed_chat", "chat", 0.5, 3.0),
            ("only_unsafe", "jailbreak", 1.0, 2.0),
            ("only_safe", "benign_hard", 0.0, 1.0),
            (HOSTILE, "", 0.4, 0.5),
        ):
            labels = (generator.random(n) < share).astype(int)
            tokens = generator.geometric(1 / 60, n)
            base = gap * (0.5 - labels) - 0.4 * np.log(tokens / 60) + generator.normal(size=n)
            for seed in seeds:
                rewards = base + 0.3 * np.random.default_rng(seed).normal(size=n)
                risks = 1 / (1 + np.exp(1.4 * rewards))
                rows += [
                    ScoredRow(head, source, category, int(label), int(length), float(reward), float(risk), seed)
                    for label, length, reward, risk in zip(labels, tokens, rewards, risks, strict=True)
                ]
    for head, source, half, shift in (
        ("response_reward", "pref_hh_made", "", 0.5),
        ("response_reward", "refusals", "safe", -0.7),
        ("response_reward", "refusals", "unsafe", 2.0),
        ("helpfulness", "pandalm", "", 0.4),
    ):
        gaps = shift + generator.normal(size=(len(seeds), n // 2)) * 0.3 + generator.normal(size=n // 2)
        lengths = generator.integers(5, 200, (n // 2, 2))
        for seed, by_seed in zip(seeds, gaps, strict=True):
            pairs += [
                ScoredPair(head, source, "", half, float(gap), 0.0, int(length[0]), int(length[1]), seed)
                for gap, length in zip(by_seed, lengths, strict=True)
            ]
    return HeldOutScores(
        tuple(rows), tuple(pairs), {"request_risk": 0.8, "response_reward": 0.7}, seeds, "made-up 1", "ab" * 32
    )
