"""Several observers of finished requests as one."""

from __future__ import annotations

from service.exchange import CheckCall, CheckResult, GenerateCall, GenerateResult
from service.pipeline import Observer


class Observers:
    """Implements service.pipeline.Observer: tells each, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def checked(self, call: CheckCall, result: CheckResult) -> None:
        for observer in self._observers:
            observer.checked(call, result)

    def generated(self, call: GenerateCall, result: GenerateResult) -> None:
        for observer in self._observers:
            observer.generated(call, result)
