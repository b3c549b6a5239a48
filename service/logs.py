"""Logging as events with fields, one JSON object a line, on standard error."""

from __future__ import annotations

import logging
import sys
import traceback

from pythonjsonlogger.json import JsonFormatter

from service.config import LogSettings

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED = {"asctime": "time", "levelname": "level", "name": "logger", "message": "event"}


def set_up_logging(settings: LogSettings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = (
        JsonFormatter(_FIELDS, rename_fields=_RENAMED) if settings.format == "json" else logging.Formatter(_FIELDS)
    )
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    # aiosqlite's debug lines hold every value of a statement.
    for chatty in ("aiosqlite", "alembic", "asyncio", "watchfiles", "aiohttp", "httpx", "urllib3", "transformers"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def fault_fields(error: BaseException) -> dict[str, str]:
    """Where an error came from, for a log event. Messages are left out: those of other libraries quote user text."""
    places = "".join(traceback.format_tb(error.__traceback__))
    before = error.__cause__ or error.__context__
    if before:
        places = f"{fault_fields(before)['traceback']}{type(before).__name__}, then:\n{places}"
    return {"error": type(error).__name__, "traceback": places}
