"""The words that are one token of a tokenizer in the middle of a text."""

from __future__ import annotations

from tokenizers import Tokenizer

_BEFORE = "a "  # so that tokenizers that keep the blank with the word show their usual form
_BLANKS = ("\u2581", "\u0120")  # how SentencePiece and byte-level BPE write it


def whole_words(tokenizer: Tokenizer) -> dict[str, int]:
    """By word its token; of letters only, in the tokens' order. Takes some tenths of a second."""
    pieces = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    candidates = [(piece.lstrip("".join(_BLANKS)), token) for piece, token in pieces]
    candidates = [(word, token) for word, token in candidates if word.isalpha()]
    before = tokenizer.encode(_BEFORE.strip(), add_special_tokens=False).ids
    written = tokenizer.encode_batch([_BEFORE + word for word, _ in candidates], add_special_tokens=False)
    return {
        word: token
        for (word, token), encoded in zip(candidates, written, strict=True)
        if encoded.ids == [*before, token]
    }
