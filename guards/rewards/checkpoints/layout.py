"""Where a text goes among the tokens that a model expects around it.

A layout is found once, when the model loads: from the tokenizer's own pairing of texts, from the checkpoint's chat
template, or from a template in the settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from guards.errors import ModelError
from guards.rewards.checkpoints.chat_template import render_chat
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.checkpoints.spec import CheckpointSpec, Side

SlotName = Literal["prompt", "response"]

_PLACES: Mapping[str, SlotName] = {"{prompt}": "prompt", "{response}": "response"}
# no template changes these, and none has them
_MARKERS: Mapping[str, SlotName] = {"WARDGATEPROMPTMARKER": "prompt", "WARDGATERESPONSEMARKER": "response"}


@dataclass(frozen=True, slots=True)
class Fixed:
    """Tokens that are the same for every text."""

    ids: tuple[int, ...]
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a text goes."""

    name: SlotName
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """`judged` is the slot whose text is windowed; the other one, if there, is its context."""

    pieces: tuple[Fixed | Slot, ...]
    judged: SlotName
    literals: tuple[str, ...] = ()  # the template's own words, for which tokens of it are structure

    @property
    def fixed_tokens(self) -> int:
        return sum(len(piece.ids) for piece in self.pieces if isinstance(piece, Fixed))

    @property
    def has_context(self) -> bool:
        return any(isinstance(piece, Slot) and piece.name != self.judged for piece in self.pieces)


def find_layout(spec: CheckpointSpec, files: CheckpointFiles, tokenizer: Tokenizer, side: Side) -> Layout:
    """Raises ModelError when the checkpoint's own files do not give one."""
    judged: SlotName = "prompt" if side == "request" else "response"
    match spec.input:
        case "text":
            return _single(tokenizer, judged)
        case "pair":
            return _single(tokenizer, judged) if side == "request" else _pair(files, tokenizer)
        case "template":
            return _around(spec.template.of(side), _PLACES, tokenizer, judged)
        case "chat":
            prompt, response = _MARKERS
            messages = [{"role": "user", "content": prompt}]
            if side == "response":
                messages.append({"role": "assistant", "content": response})
            text = render_chat(files, messages, spec.kind == "generative", spec.template_arguments)
            if text.count(prompt) > 1 or text.count(prompt if side == "request" else response) != 1:
                raise ModelError(
                    f"the chat template of {files.folder} does not take each text once, as it is; "
                    "write the text with `input: template`"
                )
            return _around(text + spec.answer_prefix, _MARKERS, tokenizer, judged)


def _around(text: str, places: Mapping[str, SlotName], tokenizer: Tokenizer, judged: SlotName) -> Layout:
    """Nothing is added: the text has its own beginning-of-text token if the model wants one."""
    pieces: list[Fixed | Slot] = []
    literals = []
    for part in re.split("(" + "|".join(map(re.escape, places)) + ")", text):
        if part in places:
            pieces.append(Slot(places[part]))
        elif part:
            literals.append(part)
            pieces.append(Fixed(tuple(tokenizer.encode(part, add_special_tokens=False).ids)))
    return Layout(tuple(pieces), judged, tuple(literals))


def _single(tokenizer: Tokenizer, judged: SlotName) -> Layout:
    """The special tokens that the tokenizer puts around one text."""
    encoded = tokenizer.encode("a")
    return Layout(_pieces(encoded.ids, encoded.type_ids, encoded.sequence_ids, (judged,)), judged)


def _pair(files: CheckpointFiles, tokenizer: Tokenizer) -> Layout:
    encoded = tokenizer.encode("a", "a")
    pieces = _pieces(encoded.ids, encoded.type_ids, encoded.sequence_ids, ("prompt", "response"))
    if [piece.name for piece in pieces if isinstance(piece, Slot)] != ["prompt", "response"]:
        raise ModelError(f"the tokenizer of {files.folder} does not pair texts; use `input: template`")
    return Layout(pieces, "response")


def _pieces(
    ids: list[int], segments: list[int], sequences: list[int | None], names: tuple[SlotName, ...]
) -> tuple[Fixed | Slot, ...]:
    """One slot for each run of a sequence's tokens, one fixed token for each that belongs to none."""
    pieces: list[Fixed | Slot] = []
    before: int | None = None
    for token, segment, sequence in zip(ids, segments, sequences, strict=True):
        if sequence is None:
            pieces.append(Fixed((token,), segment))
        elif sequence != before:
            pieces.append(Slot(names[sequence], segment))
        before = sequence
    return tuple(pieces)
