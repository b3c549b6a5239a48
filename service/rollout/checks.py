"""What must hold before a version may take any role, beside telling the known texts apart.

Each check is a function here, and `check_version` calls them all. They raise PreconditionFailed, naming the mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from guards.errors import PreconditionFailed
from guards.policy import Policy
from guards.rewards.guard import RewardGuard
from guards.types import Stage
from service.rollout.catalogue import Artefact


def check_version(artefact: Artefact, policies: Iterable[Policy], other_heads: Mapping[str, frozenset[Stage]]) -> None:
    """`other_heads` are those of models beside the reward model."""
    for policy in policies:
        _has_the_heads(artefact, policy, {**other_heads, **artefact.heads})
        _has_the_calibrations(artefact, policy)


def _has_the_heads(artefact: Artefact, policy: Policy, heads: Mapping[str, frozenset[Stage]]) -> None:
    """Else the policy's guards would fail on every request that the version decides."""
    for member in (*policy.request, *policy.response):
        if not isinstance(member.guard, RewardGuard):
            continue
        head = member.guard.head
        if member.stage not in heads.get(head, frozenset()):
            raise PreconditionFailed(
                f"policy '{policy.name}' uses head '{head}' on the {member.stage.value} side, which reward model"
                f" {artefact.version} ({artefact.digest[:12]}) lacks; change the policy first, or take a version that"
                " has the head",
                kind="POLICY",
                subject=policy.name,
            )


def _has_the_calibrations(artefact: Artefact, policy: Policy) -> None:
    """Else its calibrated guards would fail: a threshold promised for one model says nothing of another."""
    for member in (*policy.request, *policy.response):
        guard = member.guard
        if not isinstance(guard, RewardGuard) or guard.head not in artefact.heads:
            continue
        if guard.calibration and artefact.digest not in {one.reward_model for one in guard.calibrated()}:
            raise PreconditionFailed(
                f"policy '{policy.name}' takes a threshold from calibration '{guard.calibration}', which there is not"
                f" for reward model {artefact.version} ({artefact.digest[:12]}); run `wardgate calibrate --name"
                f" {guard.calibration}` with scoring.artefact set to that version first",
                kind="CALIBRATION",
                subject=guard.calibration,
            )
