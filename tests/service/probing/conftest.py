from __future__ import annotations

from tests.service.rollout.conftest import open_app, template, versions

__all__ = ["open_app", "template", "versions"]
