"""Finds credentials and personal data, so that a policy can redact them on the way in or out."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum, auto

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field, field_validator

from guards.base import Subject
from guards.rules import personal
from guards.rules.patterns import INLINE_CHARS, RuleAction, spans_of
from guards.rules.secrets import SECRET_KINDS, find_private_keys
from guards.types import Action, Finding


class Entity(StrEnum):
    """What is looked for; the value is the finding's category."""

    EMAIL_ADDRESS = auto()
    PHONE_NUMBER = auto()
    PAYMENT_CARD = auto()
    IBAN = auto()
    US_SSN = auto()
    IPV4_ADDRESS = auto()
    IPV6_ADDRESS = auto()
    PRIVATE_KEY = auto()
    ANTHROPIC_KEY = auto()
    ARTIFACTORY_CREDENTIALS = auto()
    AWS_ACCESS_KEY = auto()
    AWS_SECRET_KEY = auto()
    AZURE_STORAGE_KEY = auto()
    BASIC_AUTH = auto()
    CLOUDANT_CREDENTIALS = auto()
    DISCORD_BOT_TOKEN = auto()
    GITHUB_TOKEN = auto()
    GITLAB_TOKEN = auto()
    GOOGLE_API_KEY = auto()
    HUGGING_FACE_TOKEN = auto()
    IBM_CLOUD_IAM_KEY = auto()
    IBM_COS_HMAC = auto()
    JWT = auto()
    MAILCHIMP_KEY = auto()
    NPM_TOKEN = auto()
    OPENAI_KEY = auto()
    PYPI_TOKEN = auto()
    SENDGRID_KEY = auto()
    SLACK_TOKEN = auto()
    SOFTLAYER_CREDENTIALS = auto()
    SQUARE_OAUTH_SECRET = auto()
    STRIPE_KEY = auto()
    TELEGRAM_BOT_TOKEN = auto()
    TWILIO_KEY = auto()


# Network addresses look like version numbers and are seldom private: only on request.
DEFAULT_ENTITIES = tuple(entity for entity in Entity if entity not in {Entity.IPV4_ADDRESS, Entity.IPV6_ADDRESS})


class SensitiveDataConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="sensitive_data", min_length=1)
    entities: tuple[Entity, ...] = Field(default=DEFAULT_ENTITIES, min_length=1)
    action: RuleAction = Action.REDACT
    # Written over each occurrence; {entity} becomes the category in capitals.
    replacement: str = "[{entity}]"
    # Where telephone numbers without a country code may be from (ISO 3166); each costs a search.
    regions: tuple[str, ...] = ("US",)

    @field_validator("regions")
    @classmethod
    def _known_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS]
        if unknown:
            raise ValueError(f"no numbering plan for {', '.join(unknown)}; use ISO 3166 codes such as US or GB")
        return regions


@dataclass(frozen=True, slots=True)
class Match:
    """Code points [start, end) of the normalized text."""

    entity: Entity
    start: int
    end: int


class SensitiveDataGuard:
    """One finding per kind of data, with the span of every occurrence; occurrences never overlap."""

    uses_scores = False

    def __init__(self, config: SensitiveDataConfig) -> None:
        self.name = config.name
        self._config = config
        self._wanted = frozenset(config.entities)
        for region in config.regions:  # loads its numbering plan now, not in the first request
            example = phonenumbers.example_number(region)
            if example is not None:
                phonenumbers.is_valid_number(example)

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        text = subject.text.text
        matches = self.find(text) if len(text) <= INLINE_CHARS else await asyncio.to_thread(self.find, text)
        spans: dict[Entity, list[tuple[int, int]]] = {}
        for match in matches:
            spans.setdefault(match.entity, []).append((match.start, match.end))
        return tuple(self._finding(subject, entity, found) for entity, found in spans.items())

    def find(self, text: str) -> tuple[Match, ...]:
        """Every occurrence in normalized `text`, in order; of overlapping ones the longest stays."""
        return _without_overlaps(self._search(text))

    def _finding(self, subject: Subject, entity: Entity, matches: list[tuple[int, int]]) -> Finding:
        config = self._config
        redacts = config.action is Action.REDACT
        replacement = config.replacement.replace("{entity}", entity.value.upper()) if redacts else ""
        spans = spans_of(subject, matches)
        return Finding(config.name, entity.value, config.action, spans=spans, replacement=replacement)

    def _search(self, text: str) -> Iterator[Match]:
        yield from self._numbers(text)
        finders: tuple[tuple[Entity, bool, Callable[[str], Iterable[tuple[int, int]]]], ...] = (
            (Entity.EMAIL_ADDRESS, "@" in text, personal.find_emails),
            (Entity.IPV4_ADDRESS, "." in text, personal.find_ipv4),
            (Entity.IPV6_ADDRESS, ":" in text, personal.find_ipv6),
            (Entity.PRIVATE_KEY, "-----BEGIN" in text or "PuTTY-" in text, find_private_keys),
        )
        for entity, likely, find in finders:
            if likely and entity in self._wanted:
                yield from (Match(entity, start, end) for start, end in find(text))
        lowered = text.lower()
        for name, kind in SECRET_KINDS.items():
            if any(hint in lowered for hint in kind.hints) and name in self._wanted:
                yield from (Match(Entity(name), start, end) for start, end in kind.find(text))

    def _numbers(self, text: str) -> Iterator[Match]:
        runs = personal.number_runs(text)
        if not runs:
            return
        found = (
            (Entity.PAYMENT_CARD, personal.find_cards(text, runs)),
            (Entity.US_SSN, personal.find_ssns(text, runs)),
            (Entity.PHONE_NUMBER, personal.find_phones(text, runs, self._config.regions)),
            (Entity.IBAN, personal.find_ibans(text)),
        )
        for entity, spans in found:  # a generator that is not wanted is never run
            if entity in self._wanted:
                yield from (Match(entity, start, end) for start, end in spans)


_ORDER = {entity: order for order, entity in enumerate(Entity)}


def _without_overlaps(matches: Iterable[Match]) -> tuple[Match, ...]:
    """The longest wins, then the first, then the order of `Entity`."""
    starts: list[int] = []
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: (match.start - match.end, match.start, _ORDER[match.entity])):
        at = bisect_left(starts, match.end)
        if at == 0 or kept[at - 1].end <= match.start:
            starts.insert(at, match.start)
            kept.insert(at, match)
    return tuple(kept)
