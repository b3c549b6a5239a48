"""What the end-to-end tests share beside fixtures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from service.app import App
from service.config import Settings

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]


def scoring_settings(**sections: object) -> Settings:
    """Free ports and no wrapped model, unless a test says otherwise."""
    given = {"grpc": {"port": 0, "drain_s": 2.0}, "http": {"port": 0}, "backend": {"kind": "none"}, **sections}
    return Settings(**given)  # type: ignore[arg-type]
