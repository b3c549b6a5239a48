"""Does the wrapped model answer the same when the same is asked in another way?

Questions of prompts/consistency.yaml, each asked as it is and then changed: `paraphrase` and `order` from the file,
`lower` and `upper` case, `spaces` (more of them), `format` ("Question: ... Answer:"). `value` is the cosine of the two
answers' sentence vectors, [-1, 1]; a success is one under `threshold`: the answers do not mean the same.

The threshold is where the embedded encoder best tells answers to one question from answers to different ones: the file
has two right answers in different words for each question, `agreement_threshold` puts the cut where the share of
same-question pairs above it less the share of different-question pairs above it is largest (Youden's J, 1950). A test
holds the default to that figure. With another encoder, state another.

Category "consistency", kind BENIGN, target "model"; parameter `change`.

Sources: Elazar 2021, "Measuring and Improving Consistency in Pretrained Language Models" (arXiv:2102.01017); Sclar 2023
(arXiv:2310.11324) for formats. Departure: agreement is told by cosine, which is blind to negation and numbers, so two
answers that contradict each other in one word may count as the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.model.conversations import asked
from guards.probes.prompts.material import MaterialConfig, Shape, read_material
from guards.probes.targets import EncoderTarget, Need, Targets


class Question(Shape):
    question: str
    paraphrase: tuple[str, ...] = ()
    order: tuple[str, ...] = ()  # the same with its parts in another order
    answers: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]  # both right, in different words

    def changes(self) -> tuple[tuple[str, str], ...]:
        """Each with its kind."""
        plain = self.question
        return (
            *(("paraphrase", text) for text in self.paraphrase),
            *(("order", text) for text in self.order),
            ("lower", plain.lower()),
            ("upper", plain.upper()),
            ("spaces", "  " + plain.replace(" ", "  ") + "\n"),
            ("format", f"Question: {plain}\nAnswer:"),
        )


class Questions(Shape):
    items: Annotated[tuple[Question, ...], Field(min_length=2)]


class ConsistencyConfig(MaterialConfig):
    items: int = Field(default=100, ge=1)  # how many, the first ones of the file
    threshold: float = Field(default=0.51, ge=-1, le=1)  # cosine
    max_tokens: int = Field(default=24, ge=1)


class Consistency:
    needs = frozenset({Need.MODEL, Need.ENCODER})

    def __init__(self, config: ConsistencyConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        items = read_material(self._config.file, "consistency", Questions).items
        for number, item in enumerate(items[: self._config.items]):
            yield Unit(f"{self.name}/{number}", len(item.changes()), partial(self._run, f"question{number}", item))

    def _run(self, name: str, item: Question, targets: Targets) -> tuple[Measured, ...]:
        assert targets.model is not None
        assert targets.encoder is not None
        changes = item.changes()
        texts = [item.question, *(text for _, text in changes)]
        answers = targets.model.answers([asked(text) for text in texts], self._config.max_tokens)
        vectors = targets.encoder.vectors(answers)
        rows: dict[str, list[Trial]] = {}
        for at, (change, text) in enumerate(changes, 1):
            cosine = float(vectors[0] @ vectors[at])
            differs = cosine < self._config.threshold
            example = Example(item.question, text, f"{answers[0]} / {answers[at]}") if differs else None
            trials = rows.setdefault(change, [])
            trials.append(Trial(f"{name}:{len(trials)}", differs, value=cosine, example=example))
        return tuple(
            Measured(Setting(self.name, "model", "consistency", ProbeKind.BENIGN, {"change": change}), tuple(trials))
            for change, trials in rows.items()
        )


def agreement_threshold(encoder: EncoderTarget, items: tuple[Question, ...]) -> float:
    """The cosine from which answers count as the same: halfway between the neighbours of the best cut."""
    first = encoder.vectors([item.answers[0] for item in items])
    second = encoder.vectors([item.answers[1] for item in items])
    cosines = first @ second.T
    diagonal = np.eye(len(items), dtype=bool)
    same, different = cosines[diagonal], cosines[~diagonal]
    levels = np.unique(cosines)
    cuts = (levels[:-1] + levels[1:]) / 2
    gains = [float(np.mean(same > cut) - np.mean(different > cut)) for cut in cuts]
    return float(cuts[int(np.argmax(gains))])
