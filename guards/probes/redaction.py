"""Probe texts for those who only need their shape: a report travels further than the prompts in it should."""

from __future__ import annotations

import unicodedata

from guards.probes.base import Example


def masked(text: str) -> str:
    """Every letter and digit of any script gives way to x, X or 0; length, spaces, marks and invisible characters stay.

    No meaning is left to read; that a text is base64, spaced out or padded still shows.
    """
    return "".join(_masked(character) for character in text)


def masked_example(example: Example) -> Example:
    return Example(masked(example.original), masked(example.attacked), masked(example.answer))


def _masked(character: str) -> str:
    # tag characters, flag letters, braille, and letters in circles or squares carry words though they are no letters
    if "\U000e0020" <= character <= "\U000e007e":
        return "\U000e0078"
    if "\U0001f1e6" <= character <= "\U0001f1ff" or "\u2800" <= character <= "\u28ff":
        return "x"
    written = unicodedata.normalize("NFKC", character)
    categories = {unicodedata.category(part)[0] for part in written}
    if "L" in categories:
        return "X" if character.isupper() else "x"
    return "0" if "N" in categories else character


def visible(text: str, most: int = 600) -> str:
    """The start of a text with invisible characters and controls of direction written out, so that none acts on a
    page."""
    shown = "".join(
        f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character)[0] == "C" and character != "\n" else character
        for character in text[:most]
    )
    return shown if len(text) <= most and len(shown) <= most else f"{shown[:most]} … ({len(text):,} characters)"
