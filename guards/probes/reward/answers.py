"""Questions with a better and a worse answer, for probes that ask what turns the preference."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from guards.probes.prompts.material import Shape


class Answered(Shape):
    """`worse` is of the same form and about as long as `better`, but wrong, vague or beside the point."""

    prompt: str
    better: str
    worse: str


class Answers(Shape):
    items: Annotated[tuple[Answered, ...], Field(min_length=2)]
    padding: Annotated[tuple[str, ...], Field(min_length=1)]  # sentences that say nothing
