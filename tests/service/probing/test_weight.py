"""What probes cost a service that has none."""

from __future__ import annotations

import subprocess
import sys

from bench.processes import environment

HEAVY = ("torch", "sqlalchemy", "alembic", "transformers", "scipy")


def test_a_service_loads_neither_torch_nor_the_database_for_probes_that_do_not_run() -> None:
    program = f"import sys, service.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
