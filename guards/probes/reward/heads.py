"""The heads that a probe of the reward asks: all that read exchanges, or those that the suite names."""

from __future__ import annotations

from collections.abc import Sequence

from guards.errors import ConfigError
from guards.probes.prompts.material import MaterialConfig
from guards.probes.targets import ScoresTarget, Targets, Text


class RewardProbeConfig(MaterialConfig):
    heads: tuple[str, ...] = ()  # empty takes every head that reads a prompt with a response
    items: int = 1000  # how many, the first ones of the file

    def chosen(self, targets: Targets) -> tuple[tuple[ScoresTarget, str], ...]:
        """Each head with where to ask it. Raises ConfigError for one that reads no exchanges or is not there."""
        assert targets.scores is not None
        reading = tuple(head for head, reads in targets.scores.heads.items() if reads == "exchange")
        if unknown := [head for head in self.heads if head not in reading]:
            raise ConfigError(f"no head '{unknown[0]}' reads exchanges; one of {', '.join(reading) or 'none'}")
        return tuple((targets.scores, head) for head in self.heads or reading)


def rewards(scores: ScoresTarget, head: str, prompt: str, responses: Sequence[str]) -> list[float]:
    return [score.reward for score in scores.scores(head, [Text(prompt, response) for response in responses])]
