"""The policies in force: one YAML file each, reloaded when they change.

A file that turns invalid keeps the policy it had; the failure is logged and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from watchfiles import awatch

from guards.errors import ConfigError, PreconditionFailed, UnknownName
from guards.policy import Policy, load_policy
from guards.rewards.calibrated import Calibrations
from guards.types import Stage
from service.calibrations import CalibrationStore

log = logging.getLogger(__name__)

_LOOK_MS = 5_000  # some file systems send no events

EMBEDDED_POLICIES = Path(__file__).parent.parent / "guards" / "policies"


class PolicyStore:
    """`routes` maps a caller's route to a policy; other routes take `default`.

    `on_reload` is told after every attempt: what is in force, and whether every file was valid.
    Without `calibrations`, a guard with a calibrated threshold fails on every text.
    """

    def __init__(
        self,
        directory: Path,
        default: str,
        routes: Mapping[str, str],
        heads: Mapping[str, frozenset[Stage]],
        on_reload: Callable[[Mapping[str, Policy], bool], None],
        calibrations: CalibrationStore | None = None,
    ) -> None:
        self._directory = directory
        self._default = default
        self._routes = dict(routes)
        self._heads = heads
        self._on_reload = on_reload
        self._calibrations = calibrations
        self._seen: dict[Path, str] = {}
        self._by_file: dict[Path, Policy] = {}
        self._by_name: dict[str, Policy] = {}

    def load(self) -> None:
        """First load; every file must be valid. Raises ConfigError."""
        self._seen = self._look()
        calibrations = self._calibrations.load() if self._calibrations else None
        self._adopt({file: load_policy(file, self._heads, calibrations) for file in self._files()})
        self._on_reload(self._by_name, True)

    def select(self, name: str, route: str) -> Policy:
        """The policy asked for, else the route's, else the default.

        `name` may be "name@version". Raises UnknownName, or PreconditionFailed when the version in
        force is another one.
        """
        wanted, _, version = name.partition("@")
        policy = self._by_name.get(wanted or self._routes.get(route, self._default))
        if policy is None:
            raise UnknownName("policy", wanted, tuple(self._by_name))
        if version and version != policy.version:
            raise PreconditionFailed(
                f"policy '{policy.name}' is at version {policy.version}; ask for that one or for none",
                kind="POLICY_VERSION",
                subject=policy.name,
            )
        return policy

    @property
    def in_force(self) -> tuple[Policy, ...]:
        return tuple(self._by_name.values())

    def take_heads(self, heads: Mapping[str, frozenset[Stage]]) -> None:
        """The heads there are from now on; every file is read again, for heads and for the models' calibrations."""
        self._heads = heads
        self._seen = {}

    async def watch(self) -> None:
        """Reloads on change until cancelled, and looks every few seconds for what no event told of."""
        await asyncio.to_thread(self.reload)
        directories = [self._directory, *(self._calibrations.directories if self._calibrations else ())]
        changes = awatch(
            *directories, recursive=False, debounce=200, step=50, rust_timeout=_LOOK_MS, yield_on_timeout=True
        )
        async for _ in changes:
            await asyncio.to_thread(self.reload)  # building a policy compiles its patterns

    def reload(self) -> None:
        """Takes what changed and is valid; a file that is not keeps the policy it had."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen, heads = seen, self._heads
        policies: dict[Path, Policy] = {}
        faults = 0
        calibrations: Calibrations | None = None
        if self._calibrations:
            calibrations, faults = self._calibrations.reload()
        for file in self._files():
            try:
                policies[file] = load_policy(file, heads, calibrations)
            except ConfigError as error:
                faults += 1
                log.error("policy file refused, the one before stays in force", extra={"fault": str(error)})
                if file in self._by_file:
                    policies[file] = self._by_file[file]
        try:
            self._adopt(policies)
        except ConfigError as error:
            faults += 1
            log.error("policies refused, those before stay in force", extra={"fault": str(error)})
        self._on_reload(self._by_name, faults == 0)

    def _look(self) -> dict[Path, str]:
        """Every policy and calibration file with the digest of its bytes, empty when it cannot be read."""
        files = [*self._files(), *(self._calibrations.files() if self._calibrations else ())]
        return {file: _digest(file) for file in files}

    def _files(self) -> list[Path]:
        return sorted(f for f in self._directory.glob("*.y*ml") if f.suffix in (".yaml", ".yml"))

    def _adopt(self, policies: dict[Path, Policy]) -> None:
        by_name: dict[str, Policy] = {}
        for file, policy in policies.items():
            if policy.name in by_name:
                raise ConfigError(f"{file}: another file of {self._directory} already defines policy '{policy.name}'")
            by_name[policy.name] = policy
        for use, name in {
            "the default policy": self._default,
            **{f"route '{r}'": n for r, n in self._routes.items()},
        }.items():
            if name not in by_name:
                listed = ", ".join(sorted(by_name)) or "none"
                raise ConfigError(f"{use} is '{name}', which no file in {self._directory} defines; defined: {listed}")
        self._by_file = policies
        self._by_name = by_name


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


async def watch_policies(store: PolicyStore) -> None:
    """Keeps watching through faults of the watcher itself, such as a directory that vanishes for a moment."""
    while True:
        try:
            await store.watch()
        except (OSError, RuntimeError) as error:
            log.error("watching policies failed, trying again", extra={"error_type": type(error).__name__})
        await asyncio.sleep(5)
