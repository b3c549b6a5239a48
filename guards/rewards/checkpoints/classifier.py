"""A safety classifier: k labels, some of which count as risk.

`reward = -logit(risk)`, so that `sigmoid(-reward)` is the classifier's own probability: softmax labels exclude each
other and their probabilities add up; sigmoid labels stand each for itself and the worst one counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guards.errors import ModelError
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.checkpoints.readout import Readout
from guards.rewards.checkpoints.spec import CheckpointSpec

if TYPE_CHECKING:
    from guards.rewards.checkpoints.network import Network


def open_classifier(name: str, spec: CheckpointSpec, files: CheckpointFiles) -> Readout:
    """The head NAME is the risk of all risk labels together; with several, NAME.LABEL is that of each."""
    labels = spec.labels or files.labels
    if len(labels) != len(files.labels):
        raise ModelError(f"`labels` names {len(labels)} outputs, but {files.folder} has {len(files.labels)}")
    unknown = [label for label in spec.risk_labels if label not in labels]
    if unknown:
        raise ModelError(f"{files.folder} has no label '{unknown[0]}'; it has {', '.join(labels)}")
    risky = [labels.index(label) for label in spec.risk_labels]
    if spec.activation == "softmax" and len(set(risky)) == len(labels):
        raise ModelError(f"every label of {files.folder} counts as risk; with softmax that is always 1")
    heads = [name]
    groups = [tuple(risky)]
    if len(risky) > 1:
        heads += [f"{name}.{_head_part(label)}" for label in spec.risk_labels]
        groups += [(index,) for index in risky]
    if len(set(heads)) != len(heads):
        raise ModelError(f"two risk labels of {files.folder} make the same head; give `labels` names of your own")

    def load(attention: str | None) -> Network:
        from guards.rewards.checkpoints.network import SigmoidRisk, SoftmaxRisk, load_sequence_network

        readout = SoftmaxRisk if spec.activation == "softmax" else SigmoidRisk
        return load_sequence_network(files.folder, readout(groups, len(labels)), attention)

    return Readout(tuple(heads), load)


def _head_part(label: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "_", label.lower()).strip("_")
