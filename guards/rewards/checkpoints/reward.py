"""A reward model: one unbounded logit, higher is better. Encoders and causal language models alike.

Source: Bradley-Terry reward models as in Christiano et al. 2017 (arXiv:1706.03741); checkpoints of transformers'
`...ForSequenceClassification` with one label, such as Skywork-Reward-V2 (arXiv:2507.01352).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guards.errors import ModelError
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.checkpoints.readout import Readout
from guards.rewards.checkpoints.spec import CheckpointSpec

if TYPE_CHECKING:
    from guards.rewards.checkpoints.network import Network


def open_reward(name: str, spec: CheckpointSpec, files: CheckpointFiles) -> Readout:
    """One head with the model's name."""
    if len(files.labels) != 1:
        raise ModelError(f"{files.folder} has {len(files.labels)} outputs, a reward model one; use `kind: classifier`")

    def load(attention: str | None) -> Network:
        from guards.rewards.checkpoints.network import RewardLogit, load_sequence_network

        return load_sequence_network(files.folder, RewardLogit(), attention)

    return Readout((name,), load)
