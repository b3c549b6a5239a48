"""What probes are run against. All calls block: probes run in a process of their own, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from guards.types import Action, HeadScore, Message

if TYPE_CHECKING:
    from guards.probes.gradient.classifier import DifferentiableClassifier
    from guards.probes.words.vectors import WordVectors


class Need(StrEnum):
    """A target that a probe cannot do without."""

    GUARD = "guard"
    SCORES = "scores"
    MODEL = "model"
    GRADIENTS = "gradients"
    ENCODER = "encoder"
    CLASSIFIERS = "classifiers"


@dataclass(frozen=True, slots=True)
class Judged:
    """What the policy in force made of one text.

    `risk`: the highest that a reward head gave it, [0, 1]. `categories`: of its findings, in the policy's words.
    `complete`: the reward heads of the policy read all of it, as far as there was something to read.
    """

    action: Action
    risk: float
    categories: tuple[str, ...] = ()
    complete: bool = True

    @property
    def withheld(self) -> bool:
        return self.action.withholds

    @property
    def noticed(self) -> bool:
        """Withheld, or at least flagged."""
        return self.action > Action.ALLOW


@dataclass(frozen=True, slots=True)
class Exchange:
    """A conversation, and a response to it if there is one."""

    messages: tuple[Message, ...]
    response: str | None = None


class GuardTarget(Protocol):
    """The policy in force with its guards, rules and models, as live requests meet them."""

    def requests(self, conversations: Sequence[Sequence[Message]]) -> tuple[Judged, ...]:
        """The request side's verdicts."""
        ...

    def responses(self, exchanges: Sequence[Exchange]) -> tuple[Judged, ...]:
        """The response side's verdicts; each exchange has a response."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """What a head scores: a prompt, or a response to one."""

    prompt: str
    response: str | None = None


class ScoresTarget(Protocol):
    """The heads of the reward model and of further models, without a policy."""

    @property
    def heads(self) -> Mapping[str, str]:
        """By name what each reads: "prompt" or "exchange"."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The risk from which the policy in force withholds, of the heads that it has a threshold for; [0, 1]."""
        ...

    def scores(self, head: str, texts: Sequence[Text]) -> tuple[HeadScore, ...]:
        """After normalization, as in serving. Raises UnknownName for a head that is not there."""
        ...


class ModelTarget(Protocol):
    """The wrapped model, bare: no guard judges what goes in or comes out."""

    @property
    def name(self) -> str: ...

    def answers(self, conversations: Sequence[Sequence[Message]], max_tokens: int) -> tuple[str, ...]:
        """Greedy, so that a run can be repeated. Raises BackendError; InvalidInput for what the model cannot take."""
        ...


class EncoderTarget(Protocol):
    """Sentence vectors for comparing meanings."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, width]."""
        ...

    def word_vectors(self) -> WordVectors:
        """Of the vocabulary's whole words of plain letters. The same object at every call."""
        ...


class ClassifierTarget(Protocol):
    """A text classifier of k labels; the likeliest is its decision."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, labels], each in [0, 1]. Texts are normalized as in serving."""
        ...


@dataclass(frozen=True)
class Targets:
    """What a run has.

    `gradients` and `classifiers` open one by head's or model's name, and raise UnknownName for what is neither; torch
    is loaded with the first.
    """

    guard: GuardTarget | None = None
    scores: ScoresTarget | None = None
    model: ModelTarget | None = None
    encoder: EncoderTarget | None = None
    gradients: Callable[[str], DifferentiableClassifier] | None = None
    classifiers: Callable[[str], ClassifierTarget] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)  # of the model, the policy and what else decides

    def has(self, need: Need) -> bool:
        return getattr(self, need.value) is not None
