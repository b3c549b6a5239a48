"""How far a target is on the right side of its decision: what a word attack lowers, and below 0 has fooled it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guards.errors import ConfigError
from guards.probes.targets import ClassifierTarget, GuardTarget
from guards.probes.words.search import Score
from guards.types import Message, Role, TextPart


def guard_margin(guard: GuardTarget) -> Score:
    """The request's risk as long as it is withheld, risk - 1 once it is not. What a rule withholds without any risk
    has a margin of 0 and stays right whatever its risk does."""

    def score(texts: Sequence[str]) -> list[float]:
        judged = guard.requests([(Message(Role.USER, (TextPart(text),)),) for text in texts])
        return [one.risk if one.withheld else min(one.risk - 1.0, -1e-9) for one in judged]

    return score


def label_margin(classifier: ClassifierTarget, label: str) -> Score:
    """The label's probability less that of the likeliest other. Raises ConfigError for a label that is not there."""
    if label not in classifier.labels:
        listed = ", ".join(classifier.labels)
        raise ConfigError(f"the classifier has no label '{label}'; name one of: {listed}")
    right = classifier.labels.index(label)

    def score(texts: Sequence[str]) -> list[float]:
        probabilities = classifier.probabilities(texts)
        others = np.delete(probabilities, right, axis=1).max(axis=1)
        return [float(one) for one in probabilities[:, right] - others]

    return score
