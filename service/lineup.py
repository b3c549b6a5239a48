"""The scorers that one request uses, chosen when it begins and kept until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from guards.base import Scorer
from guards.errors import UnknownName
from service.exchange import CheckCall, GenerateCall, ModelRole


@dataclass(frozen=True, slots=True)
class Lineup:
    """`primary` is the reward model rolled out to this request, in `role`; `others` are further models by name."""

    primary: Scorer
    role: ModelRole = ModelRole.ACTIVE
    others: Mapping[str, Scorer] = field(default_factory=dict)

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """Every model, the primary first."""
        return (self.primary, *self.others.values())

    def scorer_of(self, head: str) -> Scorer:
        """The model that has `head`, the primary before others. Raises UnknownName."""
        for scorer in self.scorers:
            if head in scorer.heads:
                return scorer
        raise UnknownName("head", head, [name for scorer in self.scorers for name in scorer.heads])


class Lineups(Protocol):
    """Who chooses."""

    def choose(self, call: CheckCall | GenerateCall) -> AbstractAsyncContextManager[Lineup]:
        """The lineup of one request; its models stay open until the context ends."""
        ...


class FixedLineup:
    """The same models for every request."""

    def __init__(self, primary: Scorer, others: Mapping[str, Scorer] | None = None) -> None:
        self._lineup = Lineup(primary, others=others or {})

    def choose(self, call: CheckCall | GenerateCall) -> AbstractAsyncContextManager[Lineup]:
        return nullcontext(self._lineup)
