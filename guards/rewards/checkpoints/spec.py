"""How a checkpoint is read: what its outputs mean, and how a text is laid out for it.

One convention for all kinds: `reward` is a raw logit, higher is better, and `risk = sigmoid(-(a * reward + b))`.
With a = 1 and b = 0 that is exactly the probability a classifier or a generative guard states itself; for a bare
reward model it is a number between 0 and 1 that means nothing before it is calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from guards.rewards.manifest import Calibration
from guards.types import Stage

UNCALIBRATED = "uncalibrated"

Side = Literal["request", "response"]
Tokens = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationSpec(_Part):
    """`risk = sigmoid(-(a * reward + b))`; `temperature` is another way to write a = 1 / temperature."""

    a: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    b: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_slope(self) -> Self:
        if self.temperature is not None and self.a != 1.0:
            raise ValueError("give `a` or `temperature`, not both")
        return self

    @property
    def slope(self) -> float:
        return self.a if self.temperature is None else 1.0 / self.temperature


class TemplateSpec(_Part):
    """The text around `{prompt}` and `{response}`; control tokens are written as the tokenizer spells them."""

    request: str = ""
    response: str = ""

    def of(self, side: Side) -> str:
        return self.request if side == "request" else self.response


class CheckpointSpec(_Part):
    """Everything about a checkpoint that its files do not say."""

    kind: Literal["reward", "classifier", "generative"]
    # text: the judged text alone; pair: prompt and response as the tokenizer pairs texts; chat: the checkpoint's own
    # chat template; template: the one below
    input: Literal["text", "pair", "chat", "template"]
    judges: Annotated[frozenset[Side], Field(min_length=1)]
    labels: tuple[str, ...] = ()  # of a classifier, in the order of its outputs; empty takes the checkpoint's names
    risk_labels: tuple[str, ...] = ()  # those that count as risk
    activation: Literal["softmax", "sigmoid"] = "softmax"  # one label of many, or each for itself
    safe_answer: str = ""  # of a generative guard: what its answer begins with
    unsafe_answer: str = ""
    template: TemplateSpec = TemplateSpec()
    template_arguments: Mapping[str, Any] = {}  # names that the checkpoint's chat template asks for
    answer_prefix: str = ""  # what the model writes before its answer, as "\n\n"; put behind the chat template
    window: Tokens | None = None  # tokens of one forward, template included; empty: the model's limit, at most 2048
    overlap: Annotated[int, Field(ge=0)] = 64  # tokens that neighbouring windows share
    context: Annotated[int, Field(ge=0)] | None = None  # prompt tokens before a long response; empty: half the room
    max_windows: Tokens = 64  # of one text; more leave its coverage incomplete
    calibration: CalibrationSpec = CalibrationSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "classifier" and not self.risk_labels:
            raise ValueError("a classifier needs `risk_labels`: the labels that count as risk")
        if self.kind != "classifier" and (self.labels or self.risk_labels):
            raise ValueError("only a classifier has `labels` and `risk_labels`")
        if self.kind == "generative":
            if not self.safe_answer or not self.unsafe_answer:
                raise ValueError("a generative guard needs `safe_answer` and `unsafe_answer`")
            if self.input not in ("chat", "template"):
                raise ValueError("a generative guard needs a question: `input: chat` or `input: template`")
        elif self.safe_answer or self.unsafe_answer or self.answer_prefix:
            raise ValueError("only a generative guard answers: no `safe_answer`, `unsafe_answer`, `answer_prefix`")
        if self.input != "template" and (self.template.request or self.template.response):
            raise ValueError("`template` needs `input: template`")
        if self.input != "chat" and self.template_arguments:
            raise ValueError("`template_arguments` are for the checkpoint's own chat template: `input: chat`")
        if self.input != "chat" and self.answer_prefix:
            raise ValueError("write the answer's beginning at the end of `template`: `answer_prefix` is for `chat`")
        if self.input == "template":
            for side in sorted(self.judges):
                self._check_template(side)
        return self

    def _check_template(self, side: Side) -> None:
        text = self.template.of(side)
        judged = "{prompt}" if side == "request" else "{response}"
        if text.count(judged) != 1:
            raise ValueError(f"`template.{side}` must have {judged} once: that is the text it judges")
        if text.count("{prompt}") > 1 or (side == "request" and "{response}" in text):
            raise ValueError(f"`template.{side}` may have {{prompt}} once, and {{response}} on the response side only")

    @property
    def stages(self) -> frozenset[Stage]:
        """The sides its heads judge."""
        return frozenset(Stage(side) for side in self.judges)

    def calibrated(self) -> Calibration:
        """`id` says plainly when nobody calibrated it."""
        a, b = self.calibration.slope, self.calibration.b
        plain = math.isclose(a, 1.0) and b == 0.0
        return Calibration(method="platt", a=a, b=b, id=UNCALIBRATED if plain else f"platt(a={a:g},b={b:g})")
