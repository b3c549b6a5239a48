"""What a classifier should say of a labelled prompt."""

from __future__ import annotations

from collections.abc import Sequence

from guards.errors import ConfigError
from guards.probes.base import ProbeKind
from guards.probes.gradient.classifier import DifferentiableClassifier
from guards.probes.prompts.prompts import Prompt, Prompts
from guards.probes.targets import Text

GoldLabels = tuple[str, str]  # of a harmless prompt, of a harmful one


def gold_index(classifier: DifferentiableClassifier, gold: GoldLabels, kind: ProbeKind) -> int:
    """The label's number. Raises ConfigError for a label that the classifier has not."""
    wanted = gold[kind is ProbeKind.ATTACK]
    if wanted not in classifier.labels:
        known = ", ".join(classifier.labels)
        raise ConfigError(f"the classifier has no label '{wanted}'; set `gold` to two of: {known}")
    return classifier.labels.index(wanted)


def judged_text(text: str, answers_to: str) -> Text:
    """A prompt, or with `answers_to` a response to that."""
    return Text(answers_to, text) if answers_to else Text(text)


def by_kind(harmful: Prompts, benign: Prompts, seed: int) -> Sequence[tuple[ProbeKind, Prompt]]:
    return [
        *((ProbeKind.ATTACK, prompt) for prompt in harmful.load(seed)),
        *((ProbeKind.BENIGN, prompt) for prompt in benign.load(seed)),
    ]
