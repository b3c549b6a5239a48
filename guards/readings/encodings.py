"""Passages in base64, hexadecimal, binary, percent-encoding, character references and escapes, decoded.

Sources: RFC 4648 (base64, base16), RFC 3986 (percent-encoding), the HTML standard (character references), ECMA-262
(escapes). Departures: padding of base64 may be missing, both alphabets are taken, and lines may be broken; what
decodes to bytes that are no text is left alone. That is nearly all that honest text has: a hash, a key or an image
decodes to no UTF-8 without control characters but by a chance of less than one in a thousand for eight bytes.

Evident is what needs no encoding and has one: base64, hexadecimal or binary that decodes to words, and letters of ASCII
written as escapes. Encoded JSON (the parts of a token) or a space in a URL is not.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

from guards.normalize import normalize
from guards.readings.reading import Kind, Undone, one_edit
from guards.readings.words import WORD, known
from guards.scripts import dominant_script

_FEW_BYTES = 12  # below, chance is no small thing: only words are taken
_FEW_FOREIGN = 6  # letters of one other script, which bytes at random are not
_LONGEST = 100_000  # characters of one passage

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}(?![A-Za-z0-9+/=_-])")
_PLAIN_WORD = re.compile(r"[A-Z]?[a-z]{,24}|[A-Z]{,24}")  # some of which decode to something
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x)?[0-9A-Fa-f]{2}(?:, ?|[ :\n])?){5,}(?![0-9A-Za-z])")
_HEX_PAIR = re.compile(r"(?:0x)?([0-9A-Fa-f]{2})[, :\n]*")
_BINARY = re.compile(r"(?<![0-9A-Za-z])(?:[01]{8}[ ,\n]?){4,}(?![0-9A-Za-z])")
_PERCENT = re.compile(r"[^\s%\[\]<>\"]*(?:%[0-9A-Fa-f]{2}[^\s%\[\]<>\"]*){2,}")
_PERCENT_LETTER = re.compile(r"%(?:[46][1-9A-Fa-f]|[57][0-9Aa])")  # of ASCII, which never needs it
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,24});")
_NUMBERED = re.compile(r"&#")
_ESCAPE = re.compile(r"(?:\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}|\\x[0-9A-Fa-f]{2})+")
_ESCAPED = re.compile(r"\\u([0-9A-Fa-f]{4})|\\u\{([0-9A-Fa-f]{1,6})\}|\\x([0-9A-Fa-f]{2})")
_EVIDENT_LETTERS = 4


def undo_encodings(text: str) -> Iterator[Undone]:
    """The first decoding that makes text of a passage; passages of different encodings do not overlap."""
    found = [one for undo in _ENCODINGS for one in undo(text)]
    at = 0
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if one.start >= at:
            yield one
            at = one.end


def _base64(text: str) -> Iterator[Undone]:
    for match in _BASE64.finditer(text):
        code = "".join(match[0].split()).rstrip("=").translate(_STANDARD)
        if len(code) > _LONGEST or len(code) % 4 == 1 or _PLAIN_WORD.fullmatch(code):
            continue
        yield from _decoded("base64", match, lambda code=code: base64.b64decode(code + "=" * (-len(code) % 4)))  # type: ignore[misc]


_STANDARD = str.maketrans("-_", "+/")


def _hex(text: str) -> Iterator[Undone]:
    for match in _HEX.finditer(text):
        digits = "".join(_HEX_PAIR.findall(match[0]))
        if len(digits) <= _LONGEST:
            yield from _decoded("hex", match, lambda digits=digits: bytes.fromhex(digits))  # type: ignore[misc]


def _binary(text: str) -> Iterator[Undone]:
    for match in _BINARY.finditer(text):
        bits = re.sub(r"[^01]", "", match[0])
        if len(bits) <= _LONGEST:
            yield from _decoded("binary", match, lambda bits=bits: int(bits, 2).to_bytes(len(bits) // 8, "big"))  # type: ignore[misc]


def _decoded(kind: Kind, match: re.Match[str], decode: Callable[[], bytes]) -> Iterator[Undone]:
    try:
        raw = decode()
        said = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return
    said = normalize(said).text
    if not _printable(said):
        return
    words = _says_words(said)
    if words or len(raw) >= _FEW_BYTES:
        end = match.end() - (len(match[0]) - len(match[0].rstrip()))  # white space after it is not of it
        yield one_edit(kind, match.start(), end, said, words)


def _printable(text: str) -> bool:
    """Text and mostly letters: no control characters, nothing unassigned, and no string of digits or signs."""
    if not text or not all(char.isprintable() or char in "\n\t" for char in text) or "\ufffd" in text:
        return False
    return sum(char.isalpha() or char == " " for char in text) >= 0.6 * len(text)


def _says_words(text: str) -> bool:
    """English by its words, or letters of another script; not the braces and quotes of encoded data."""
    if any(char in text for char in '{}<>"=;') and sum(char in '{}<>":;=/\\' for char in text) > 0.04 * len(text):
        return False
    foreign = "".join(char for char in text if char.isalpha() and not char.isascii())
    if len(foreign) >= 0.3 * len(text):
        return len(foreign) >= _FEW_FOREIGN and all(dominant_script(char) == dominant_script(text) for char in foreign)
    words = WORD.findall(text)
    letters = sum(map(len, words))
    spelled = sum(len(word) for word in words if known(word))
    return letters >= 4 and spelled >= 0.6 * letters


def _percent(text: str) -> Iterator[Undone]:
    if text.count("%") < 2:
        return
    for match in _PERCENT.finditer(text):
        try:
            said = urllib.parse.unquote(match[0], errors="strict")
        except UnicodeDecodeError:
            continue
        if said != match[0]:
            evident = len(_PERCENT_LETTER.findall(match[0])) >= _EVIDENT_LETTERS
            yield one_edit("url", match.start(), match.end(), normalize(said).text, evident)


def _references(text: str) -> Iterator[Undone]:
    """One passage of all: references stand between other characters."""
    if "&" not in text:
        return
    matches = list(_REFERENCE.finditer(text))
    decoded = [html.unescape(match[0]) for match in matches]
    if not any(map(_NUMBERED.match, (match[0] for match in matches))) and len(matches) < 2:
        return
    letters = sum(_is_ascii_letter(char) for char in decoded)
    for match, char in zip(matches, decoded, strict=True):
        if char != match[0]:
            said = normalize(char).text
            yield one_edit("html_entities", match.start(), match.end(), said, letters >= _EVIDENT_LETTERS)


def _escapes(text: str) -> Iterator[Undone]:
    if "\\u" not in text and "\\x" not in text:
        return
    matches = list(_ESCAPE.finditer(text))
    decoded = [_characters(["".join(one) for one in _ESCAPED.findall(match[0])]) for match in matches]
    letters = sum(_is_ascii_letter(char) for said in decoded for char in said)
    for match, said in zip(matches, decoded, strict=True):
        yield one_edit("escapes", match.start(), match.end(), normalize(said).text, letters >= _EVIDENT_LETTERS)


def _characters(codes: Sequence[str]) -> str:
    """Two surrogates are one character."""
    chars = "".join(chr(int(code, 16)) for code in codes if int(code, 16) < 0x110000)
    return chars.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_ascii_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


_ENCODINGS = (_percent, _references, _escapes, _binary, _hex, _base64)
