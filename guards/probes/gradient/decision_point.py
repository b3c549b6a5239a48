"""Where on the scale of rewards a head's decision turns."""

from __future__ import annotations

from collections.abc import Callable

from guards.errors import ConfigError

_FURTHEST = 1e4  # no reward lies beyond; risks are 0 or 1 there


def turning_reward(head: str, risk: Callable[[float], float], threshold: float) -> float:
    """The highest reward whose risk reaches `threshold`, to the last bit: the text is withheld up to there.

    `risk` never rises with the reward. Raises ConfigError when no reward reaches the threshold.
    """
    low, high = -_FURTHEST, _FURTHEST
    if risk(low) < threshold:
        raise ConfigError(f"no reward of head '{head}' has a risk of {threshold}: there is no decision to attack")
    while low < (middle := (low + high) / 2) < high:
        if risk(middle) >= threshold:
            low = middle
        else:
            high = middle
    return low
