"""What the end-to-end tests share beside fixtures."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from service.app import App
from service.config import Settings

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]


def scoring_settings(**sections: object) -> Settings:
    """Free ports, no wrapped model and a store that nobody else has, unless a test says otherwise."""
    given = {
        "grpc": {"port": 0, "drain_s": 2.0},
        "http": {"port": 0},
        "backend": {"kind": "none"},
        "store": {"url": f"sqlite:///{tempfile.gettempdir()}/wardgate-{uuid.uuid4()}.db"},  # made when it is used
        **sections,
    }
    return Settings(**given)  # type: ignore[arg-type]
