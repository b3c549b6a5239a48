"""A caller's text to tokens, none of which is a control token: no text can forge the structure around it.

Three ways lead from characters to a control token, and all are closed: special tokens are not looked for in text
(`encode_special_tokens`); added tokens that the template uses but the tokenizer does not call special, such as a
`<think>` in it, are treated as special; and where the vocabulary itself has the characters as a piece (the Unigram
vocabulary of DeBERTa-v3 has "[SEP]"), the piece is taken apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from guards.errors import ModelError, ScoringError
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.whole_words import whole_words


@dataclass(frozen=True, slots=True)
class TextTokens:
    """`offsets`: code points [start, end) of the text, one pair per token."""

    ids: list[int]
    offsets: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.ids)


def template_tokenizer(files: CheckpointFiles) -> Tokenizer:
    """Reads what the template says: control tokens are control tokens."""
    return _tokenizer(files, files.tokenizer)


class PlainTokenizer:
    """Thread-safe: `tokenizers` does not mutate on encode. `literals`: the texts of the template."""

    def __init__(self, files: CheckpointFiles, literals: Iterable[str] = ()) -> None:
        document = json.loads(files.tokenizer)
        literals = tuple(literals)
        added: list[dict[str, Any]] = document.get("added_tokens") or []
        control = [token for token in added if token["special"] or _structures(token["content"], literals)]
        for token in control:
            token["special"] = True
        self._tokenizer = _tokenizer(files, json.dumps(document))
        self._tokenizer.encode_special_tokens = True
        self._unknown = _unknown_id(files, self._tokenizer)
        self.control = frozenset(int(token["id"]) for token in control) - {self._unknown}

    def encode(self, text: str) -> TextTokens:
        """Raises ScoringError when a control token is left that cannot be taken apart."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        if self.control.isdisjoint(found.ids):
            return TextTokens(found.ids, found.offsets)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for token, (start, end) in zip(found.ids, found.offsets, strict=True):
            if token not in self.control:
                ids.append(token)
                offsets.append((start, end))
                continue
            for first, last in ((start, start + 1), (start + 1, end)):
                part = self._tokenizer.encode(text[first:last], add_special_tokens=False)
                ids.extend(self._harmless(one) for one in part.ids)
                offsets.extend((first + a, first + b) for a, b in part.offsets)
        return TextTokens(ids, offsets)

    def whole_words(self) -> dict[str, int]:
        return {word: token for word, token in whole_words(self._tokenizer).items() if token not in self.control}

    def _harmless(self, token: int) -> int:
        if token not in self.control:
            return token
        if self._unknown is None:
            raise ScoringError("the text reads as a control token of the model, which has no unknown token instead")
        return self._unknown


def _structures(content: str, literals: tuple[str, ...]) -> bool:
    """Whether the template uses this added token as structure; blanks are everybody's."""
    return bool(content.strip()) and any(content in literal for literal in literals)


def _unknown_id(files: CheckpointFiles, tokenizer: Tokenizer) -> int | None:
    name = files.special_token("unk_token")
    return tokenizer.token_to_id(name) if name else None


def _tokenizer(files: CheckpointFiles, document: str) -> Tokenizer:
    try:
        # tokenizers raises bare Exception for anything wrong with the file
        tokenizer = Tokenizer.from_str(document)
    except Exception as error:
        raise ModelError(f"cannot read {files.folder / 'tokenizer.json'}; fetch the model again") from error
    # a file may ask for both, and both would hide text
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
