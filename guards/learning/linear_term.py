"""A linear map beside a head's network, for what few rows teach.

Preferences between careful answers are few and noisy, and a network that learns them with everything else learns less
of them than a linear map on the frozen states does that learns nothing else. So a head may have such a map: generalised
ridge regression (Hoerl and Kennard 1970) of the named sources' labels and pairs on the states below the adapter, where
what it says of all *other* sources counts as size too, so that it moves along directions in which those hardly differ.
The head is its own network plus a small share of the map. What is kept is one network: `gelu(z) - gelu(-z) = z`, so a
map is two more hidden units of every member, and serving knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.errors import InvalidInput
from guards.learning.fit import Examples, Fitted
from guards.learning.network import Floats32, UpperNetwork, read_windows, worst_rewards
from guards.learning.recipe import LinearTerm, Recipe, origin
from guards.learning.states import Ints, States
from guards.rewards.manifest import Kind
from guards.rewards.torch_model import RewardHead, head_features

Floats = NDArray[np.float64]
Groups = Mapping[tuple[str, int], Sequence[int]]  # of Examples

_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Lesson:
    """Feature rows [n, d], what the map should say of them [n], and what each counts for [n], with sum n."""

    features: Floats
    targets: Floats
    weights: Floats

    def centred(self) -> Lesson:
        """With means of 0, so that a map without an offset can say it."""
        if not len(self.weights):
            return self
        features, targets = (values - np.average(values, 0, self.weights) for values in (self.features, self.targets))
        return Lesson(features, targets, self.weights)

    def products(self) -> tuple[Floats, Floats]:
        weighted = self.features * self.weights[:, None]
        return weighted.T @ self.features, weighted.T @ self.targets


def solve(labels: Lesson, pairs: Lesson, others: Sequence[Lesson], spec: LinearTerm) -> Floats:
    """The map's weights [d]: least squares of labels and pairs, with the ridge and others' square outputs added."""
    d = labels.features.shape[1]
    of_labels, towards_labels = labels.centred().products()
    of_pairs, towards_pairs = pairs.products()
    size = spec.ridge * np.eye(d)
    for other in others:
        size += spec.others * other.products()[0]
    found = np.linalg.solve(of_labels + spec.pairs * of_pairs + size, towards_labels + spec.pairs * towards_pairs)
    return np.asarray(found)


def with_terms(
    fitted: Fitted,
    recipe: Recipe,
    network_of: Callable[[Mapping[str, Tensor]], UpperNetwork],
    states: Mapping[Kind, States],
    examples: Mapping[str, Examples],
    watch: Mapping[str, Ints],
    device: torch.device,
) -> Fitted:
    """The same fit with the recipe's linear terms in its heads, and the watched texts scored with them."""
    watched, tensors = [], []
    for rewards, parts in zip(fitted.watched, fitted.tensors, strict=True):
        for name, head in recipe.heads.items():
            if parts and head.linear:
                term = _Term(name, head.linear, recipe, network_of(parts), states[head.input], examples[name], device)
                parts = {**parts, **term.kept(parts)}
                scored = worst_rewards(network_of(parts), states[head.input], name, watch[name], device)
                rewards = {**rewards, name: scored.mean(-1)}
        watched.append(rewards)
        tensors.append(parts)
    return Fitted(watched, tensors)


class _Term:
    """One head's linear term, as its network is."""

    def __init__(
        self,
        name: str,
        spec: LinearTerm,
        recipe: Recipe,
        network: UpperNetwork,
        states: States,
        examples: Examples,
        device: torch.device,
    ) -> None:
        self._name, self._spec, self._weights = name, spec, recipe.weights
        self._network, self._states, self._device = network, states, device
        self._head: RewardHead = network.heads[name]  # type: ignore[assignment]
        self._columns = _lowest_layer(recipe, self._head)
        self._rows = self._read(examples)
        self._map, self._centre = self._learned(examples)

    def kept(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The head's parts with two more hidden units in every member; their weights are exact in half precision."""
        weight, members = parts[f"{self._name}.inner.weight"], self._network.members
        largest = float(np.abs(self._map).max()) or 1.0
        row = torch.zeros(weight.shape[1])
        row[torch.from_numpy(self._columns)] = torch.from_numpy((self._map / largest).astype(np.float32))
        row = row.half().float()
        bias = -row[torch.from_numpy(self._columns)] @ torch.from_numpy(self._centre.astype(np.float32))
        units = (torch.stack([row, -row]), torch.stack([bias, -bias]), torch.tensor([largest, -largest]))
        names = [f"{self._name}.{part}" for part in ("inner.weight", "inner.bias", "outer")]
        longer = [
            torch.cat([parts[name].reshape(members, -1, *unit.shape[1:]), unit.expand(members, *unit.shape)], dim=1)
            for name, unit in zip(names, units, strict=True)
        ]
        return dict(zip(names, (longer[0].flatten(0, 1), longer[1].flatten(), longer[2]), strict=True))

    def _read(self, examples: Examples) -> dict[int, Floats32]:
        """By text, the features that the map reads, of its first window."""
        texts = np.unique(np.concatenate([examples.texts, examples.chosen, examples.rejected, examples.anchors]))
        windows = self._states.first[texts]
        at = dict(zip(windows.tolist(), texts.tolist(), strict=True))
        rows: dict[int, Floats32] = {}
        with torch.inference_mode():
            for numbers, pooled in read_windows(self._network, self._states, windows, self._device):
                kind = self._network.kinds[self._name]
                features = self._head.norm(head_features(pooled.prompt, pooled.response, kind))
                for number, row in zip(numbers.tolist(), features[:, self._columns].cpu().numpy(), strict=True):
                    rows[at[number]] = row
        return rows

    def _learned(self, examples: Examples) -> tuple[Floats, Floats]:
        """(map, centre) over the columns: the map says `map @ (features - centre)`, at the share of the reward."""
        labelled = self._of(examples.texts)
        centre, spread = labelled.mean(0), labelled.std(0).clip(min=_LEAST_SPREAD)
        scale = spread * len(spread) ** 0.5  # a text's features then have a length of about 1
        own, other = self._split(examples.label_groups)
        own_pairs, other_pairs = self._split(examples.pair_groups)
        if not own or not own_pairs:
            sources, lacking = ", ".join(self._spec.sources), "labels" if own_pairs else "pairs"
            raise InvalidInput(
                f"the linear term of head {self._name} learns from {sources}, and these have no {lacking} there, or "
                "none outside a fold: give their files `parts` in the recipe, and each fold one part"
            )
        wanted = 1.0 - 2.0 * examples.targets.astype(np.float64)

        def rows(groups: Groups) -> Lesson:
            chosen, weights = _weighed(groups, self._weights)
            return Lesson((labelled[chosen] - centre) / scale, wanted[chosen], weights)

        def pairs(groups: Groups) -> Lesson:
            chosen, weights = _weighed(groups, self._weights)
            better, worse = self._of(examples.chosen[chosen]), self._of(examples.rejected[chosen])
            return Lesson((better - worse) / scale, np.ones(len(chosen)), weights)

        found = solve(rows(own), pairs(own_pairs), [rows(other).centred(), pairs(other_pairs)], self._spec) / scale
        return found * self._strength(examples.anchors, found), centre

    def _strength(self, anchors: Ints, found: Floats) -> float:
        """What brings the map to its share of the deviation on the fixed texts."""
        rewards = worst_rewards(self._network, self._states, self._name, anchors, self._device).mean(-1)
        share = self._spec.share / (1.0 - self._spec.share)
        return share * float(rewards.std()) / max(float((self._of(anchors) @ found).std()), 1e-6)

    def _split(self, groups: Groups) -> tuple[Groups, Groups]:
        """Those of the term's sources, parts and variants included, and the others; of what is drawn at all."""
        drawn = {group: rows for group, rows in groups.items() if self._weights.get(origin(group[0]), 1.0)}
        own = {group: rows for group, rows in drawn.items() if origin(group[0]) in self._spec.sources}
        return own, {group: rows for group, rows in drawn.items() if group not in own}

    def _of(self, texts: Ints) -> Floats:
        return np.array([self._rows[text] for text in texts.tolist()], dtype=np.float64).reshape(len(texts), -1)


def _weighed(groups: Groups, weights: Mapping[str, float]) -> tuple[Ints, Floats]:
    """The rows of groups, and what each counts for, as in what an epoch draws; the mean is 1."""
    rows = [row for _, members in sorted(groups.items()) for row in members]
    each = [
        weights.get(origin(source), 1.0) / len(members) ** 0.5
        for (source, _), members in sorted(groups.items())
        for _ in members
    ]
    counts = np.array(each, dtype=np.float64)
    return np.array(rows, dtype=np.int64), counts / counts.mean() if len(each) else counts


def _lowest_layer(recipe: Recipe, head: RewardHead) -> Ints:
    """The columns of an exchange's features that are means of the lowest pooled layer's states: of either side."""
    side = head.inner.in_features // 4
    block = side // len(recipe.pooling.layers)
    at = recipe.pooling.layers.index(recipe.adapter.first_layer) * block
    return np.concatenate([np.arange(at, at + block), np.arange(side + at, side + at + block)])
