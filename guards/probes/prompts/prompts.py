"""Where a probe's prompts come from: a set that ships with us, a file of the user's, or the suite itself."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from guards.errors import ConfigError, WardgateError
from guards.learning.data import Labelled, read_rows

EMBEDDED_SETS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Prompt:
    """`item` names it, the same in every run; `label` 1 is harmful."""

    item: str
    text: str
    label: int
    source: str
    category: str


class Prompts(BaseModel):
    """Exactly one of `set`, `file` and `texts`. Of more than `count`, a sample drawn with the run's seed is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str = ""  # a file of this folder without its ending, such as "harmful"
    file: Path | None = None  # JSON Lines as `wardgate evaluate` reads them; relative to the suite's folder
    texts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # only rows of these
    label: int | None = Field(default=None, ge=0, le=1)  # only rows with this label, or what rows without one have
    count: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _one_place(self) -> Prompts:
        if sum((bool(self.set), self.file is not None, bool(self.texts))) != 1:
            raise ValueError("give exactly one of `set`, `file` and `texts`")
        return self

    @field_validator("file")
    @classmethod
    def _beside_the_suite(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        folder = (info.context or {}).get("folder")
        return folder / file if file is not None and folder is not None else file

    def load(self, seed: int) -> tuple[Prompt, ...]:
        """In an order that depends on the rows and the seed alone. Raises ConfigError when there are none."""
        found = {prompt.text: prompt for prompt in self._all()}  # a text twice is one prompt
        prompts = list(found.values())
        if not prompts:
            raise ConfigError(f"no prompt of {self._where} fits the suite's sources and label")
        if len(prompts) > self.count:
            prompts = random.Random(f"{seed}:prompts").sample(prompts, self.count)  # noqa: S311 - sampling, not secrecy
        return tuple(prompts)

    def _all(self) -> Sequence[Prompt]:
        if self.texts:
            return [_prompt(text, self.label or 0, "suite", "") for text in self.texts]
        try:
            rows = read_rows(self._path, self.label)
        except WardgateError as error:
            raise ConfigError(str(error)) from error
        return [
            _prompt(row.prompt, row.label, row.source, row.category)
            for row in rows
            if isinstance(row, Labelled)
            and row.response is None
            and (not self.sources or row.source in self.sources)
            and (self.label is None or row.label == self.label)
        ]

    @property
    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        found = {_set_name(path): path for path in sorted(EMBEDDED_SETS.glob("*.jsonl*"))}
        if self.set not in found:
            known = ", ".join(found)
            raise ConfigError(f"there is no set of prompts named '{self.set}'; known: {known}")
        return found[self.set]

    @property
    def _where(self) -> str:
        return f"set '{self.set}'" if self.set else str(self.file or "the suite's texts")


def _set_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def _prompt(text: str, label: int, source: str, category: str) -> Prompt:
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
    return Prompt(f"{source}:{digest}", text, label, source, category)
