"""A file of labelled texts that a user brings: JSON Lines, plain or gzip, of which the suite names the fields."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from guards.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LabelledText:
    """`label` in the classifier's words; `item` names the text, the same in every run."""

    item: str
    text: str = field(repr=False)
    label: str


class LabelledFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path  # relative to the suite's folder
    origin: str = ""  # where to get it; said when it is missing
    only: Mapping[str, str | int] = {}  # only rows with these values, such as {task: sst2}
    text: str = "text"  # the field with the text
    label: str = "label"  # and with the label
    labels: Mapping[str, str] = Field(min_length=1)  # the file's labels to the classifier's, such as {0: negative}

    @field_validator("file")
    @classmethod
    def _beside_the_suite(cls, file: Path, info: ValidationInfo) -> Path:
        folder = (info.context or {}).get("folder")
        return folder / file if folder is not None else file

    @field_validator("labels", mode="before")
    @classmethod
    def _as_text(cls, labels: object) -> object:
        """YAML reads 0 as a number."""
        return {str(key): value for key, value in labels.items()} if isinstance(labels, Mapping) else labels

    def load(self, seed: int, count: int) -> tuple[LabelledText, ...]:
        """At most `count`, drawn with the seed; a text twice counts once. Raises ConfigError."""
        texts = list({one.text: one for one in self._all()}.values())
        if not texts:
            raise ConfigError(f"{self.file}: no row fits the suite's `only`")
        if len(texts) > count:
            texts = random.Random(f"{seed}:labelled").sample(texts, count)  # noqa: S311 - sampling, not secrecy
        return tuple(texts)

    def _all(self) -> list[LabelledText]:
        rows = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = json.loads(line) if line.strip() else None
            except json.JSONDecodeError as error:
                raise ConfigError(f"{self.file}:{number}: not a JSON object ({error.msg})") from error
            if row is not None and (found := self._row(row, number)):
                rows.append(found)
        return rows

    def _lines(self) -> list[str]:
        if not self.file.is_file():
            mend = f"get it from {self.origin}" if self.origin else "put it there"
            raise ConfigError(f"{self.file} is not there; {mend}, or correct `file` in the suite")
        try:
            raw = self.file.read_bytes()
            return (gzip.decompress(raw) if self.file.suffix == ".gz" else raw).decode().splitlines()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.file}: not UTF-8 JSON Lines, plain or gzip") from error

    def _row(self, row: Any, number: int) -> LabelledText | None:
        where = f"{self.file}:{number}"
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: not a JSON object")
        if any(str(row.get(name)) != str(value) for name, value in self.only.items()):
            return None
        text, label = row.get(self.text), self.labels.get(str(row.get(self.label)))
        if not isinstance(text, str):
            raise ConfigError(f"{where}: the field '{self.text}' holds no text; name another one with `text`")
        if label is None:
            raise ConfigError(f"{where}: the suite's `labels` lacks the row's label; they are {', '.join(self.labels)}")
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
        return LabelledText(f"{self.file.name.split('.')[0]}:{digest}", text, label)
