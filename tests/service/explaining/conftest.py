from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from guards.explainers.explanation import Explanation, Faithfulness, TokenAttribution, WindowReport
from guards.explainers.window import Side, TokenSource
from guards.types import ModelIdentity
from service.explaining.process import ExplainingProcess
from service.explaining.work import ChildSettings, HeadExplained, HeadWork, Result, Work
from tests.fakes import FakeScorer
from tests.guards.rewards.tiny_model import write_artefact, write_encoder


@dataclass
class FakeProcess:
    """Explains every token but the first by its place. `before` runs first and may wait or raise."""

    before: Callable[[Work], None] | None = None
    asked: list[Work] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    signals: list[str] = field(default_factory=list)
    closed: bool = False

    def start(self) -> None:
        return None

    def ask(self, work: Work, limit_s: float) -> Result:
        self.asked.append(work)
        if self.before:
            self.before(work)
        assert isinstance(work, HeadWork)
        side, text = (Side.PROMPT, work.prompt) if work.response is None else (Side.RESPONSE, work.response)
        words, at = [], 0
        for index, word in enumerate(text.split()):
            start = text.index(word, at)
            at = start + len(word)
            words.append(TokenAttribution(TokenSource(side, word, start, at, index), float(index)))
        return HeadExplained(
            Explanation(
                head=work.head,
                reward=-1.0,
                risk=0.9,
                method="gradient_attention",
                signed=False,
                tokens=tuple(words),
                faithfulness=Faithfulness(0.5, 0.1, 0.3, 0.3, (0.9, 0.2)),
                completeness_error=None,
                steps=0,
                windows=(WindowReport(0, len(text), 0.9, True),),
                seconds=0.25,
            )
        )

    def stop(self) -> None:
        self.signals.append("stop")

    def go_on(self) -> None:
        self.signals.append("go on")

    def end(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Tiny:
    """A tiny model on the disk, and a fake scorer that is of its version."""

    artefact: Path
    child: ChildSettings
    identity: ModelIdentity

    def process(self) -> ExplainingProcess:
        return ExplainingProcess(self.child)

    def scorer(self) -> FakeScorer:
        return FakeScorer(identity=self.identity)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("explained-service")
    write_encoder(root / "encoder")
    digest = write_artefact(root / "artefact", root / "encoder")
    child = ChildSettings(f"file:{root / 'encoder'}", root / "cache", max_windows=8, niceness=0)
    return Tiny(root / "artefact", child, ModelIdentity("tiny", "1", digest, "tiny", "2"))
