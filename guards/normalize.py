"""One canonical form of a text, for judging only, with the way back to the caller's offsets.

Undoes what hides words from a classifier but not from a model or a reader: invisible characters,
smuggled tag characters, stacked marks, compatibility forms, look-alike letters of other scripts, and
words whose letters stand apart.
Sources: Unicode UAX #15 (NFKC), UTS #39 (confusables), UTS #51 (emoji and tag sequences).
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from guards.edits import Draft, Edit
from guards.lookalikes import fold_foreign, fold_latin, fold_lunate
from guards.spaced_words import LETTERS_APART, close_up

NORMALIZER_VERSION = "2"

_MAX_ROUNDS = 8
_MAX_MARKS = 16  # per base; canonical reordering is quadratic in it
_MAX_GENERIC_MARKS = 2  # uncomposed accents per base; more is "zalgo"


def _marks(first: int, last: int) -> str:
    """Ranges of all combining marks in [first, last)."""
    body, code = "", first
    while code < last:
        end = code
        while end < last and unicodedata.category(chr(end))[0] == "M":
            end += 1
        if end > code:
            body += f"\\U{code:08x}-\\U{end - 1:08x}"
        code = end + 1
    return body


# The body of a character class; words of many scripts are letters and these.
_BMP_MARKS = _marks(0x300, 0x10000) + "\uff9e\uff9f"  # these two kana marks decompose to combining ones
COMBINING_MARKS = _BMP_MARKS + _marks(0x10000, 0x1F000)


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """`text` is what guards judge; `original` is what the caller sent.

    `hidden` counts invisible characters that were removed or decoded, `folded` the look-alikes
    that were replaced: evidence of obfuscation.
    """

    original: str = field(repr=False)
    text: str = field(repr=False)
    hidden: int = 0
    folded: int = 0
    # Per code point of `text`, the covering [start, end) of `original`; None when both are equal.
    _starts: array[int] | None = field(default=None, repr=False, compare=False)
    _ends: array[int] | None = field(default=None, repr=False, compare=False)

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """The smallest [start, end) of `original` that covers code points [start, end) of `text`."""
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"span [{start}, {end}) is not within a text of {len(self.text)} code points")
        if self._starts is None or self._ends is None:
            return start, end
        if start == end:
            at = self._starts[start] if start < len(self._starts) else len(self.original)
            return at, at
        return self._starts[start], self._ends[end - 1]


def normalize(text: str) -> NormalizedText:
    """Deterministic and idempotent; linear in the length of the text."""
    if text.isascii() and _PLAIN_ASCII.fullmatch(text) and not LETTERS_APART.search(text):
        return NormalizedText(text, text)
    draft = Draft(text)
    for _ in range(_MAX_ROUNDS):
        before = draft.text
        for stage in _STAGES:
            draft.apply(stage(draft.text))
        if draft.text == before:
            break
    if draft.text == text:
        return NormalizedText(text, text)
    return NormalizedText(text, draft.text, draft.hidden, draft.folded, draft.starts, draft.ends)


def _ranges(*ranges: tuple[int, int]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


_PLAIN_ASCII = re.compile(r"[\n\t -~]*")
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
# A cheap test first: Python looks BMP classes up in a table, but walks through the ranges above.
_LIKELY_MARK_RUN = re.compile(f"[{_BMP_MARKS}\U00010000-\U0001efff]{{{_MAX_MARKS + 1},}}")
_MARK_RUN = re.compile(f"[{COMBINING_MARKS}]{{{_MAX_MARKS},}}")
# Accents of no script in particular, the kind that is stacked or struck through letters for effect.
_GENERIC = _ranges((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
_GENERIC_RUN = re.compile(f"[{_GENERIC}]+")
_OVERLAYS = frozenset("\u0305\u0332\u0333\u033f\u035f\u0336\u0335\u0337\u0338\u0334")
_KEYCAP = "\u20e3"

_TAGS = _ranges((0xE0000, 0xE007F))
_SELECTORS = _ranges((0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0x180B, 0x180D), (0x180F, 0x180F))
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800"
_INVISIBLE = (
    _ranges((0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F))
    + "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    + "\ufff0-\ufffb"
    + _ranges((0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0080, 0xE00FF), (0xE01F0, 0xE0FFF))
)
_SUSPECT = re.compile(
    "(?P<line>\r\n|[\r\u000b\u000c\u0085\u2028\u2029])"
    f"|(?P<flag>\U0001f3f4[{_TAGS}]+)|(?P<tags>[{_TAGS}]+)"
    f"|(?P<spaces>[{_SPACES}]+)|(?P<unseen>[\u200c\u200d{_SELECTORS}{_INVISIBLE}]+)"
    "|(?P<surrogate>[\ud800-\udfff])|(?P<quote>\u00b4)"
    "|(?P<regional>[\U0001f1e6-\U0001f1ff]+)"
)
_PARTING = re.compile(f"[ \\t-\\r\u0085\u2028\u2029{_SPACES}]?")  # what parts words by itself, or the text's end
# England, Scotland, Wales, Northern Ireland, and states and provinces that vendors draw.
_FLAG = re.compile(r"(?:gb(?:eng|sct|wls|nir)|(?:us|ca)[a-z]{2})\Z")
_JOINING_SCRIPTS = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua8ff\ufb50-\ufdff\ufe70-\ufefc]"
)
_EMOJI = re.compile("[\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff]")
_JOINER = re.compile("[\u200c\u200d]")
_SELECTOR = re.compile(f"[{_SELECTORS}]")


def _unhide(text: str) -> Iterator[Edit]:
    """Drop what cannot be seen, decode what was smuggled, make every space and line break plain."""
    for match in _SUSPECT.finditer(text):
        edit = _HANDLERS[match.lastgroup or ""](match)
        if edit is not None and edit.text != match[0]:
            yield edit


def _flag(match: re.Match[str]) -> Edit | None:
    tags = match[0][1:]
    if tags[-1] == "\U000e007f" and _FLAG.match(_untag(tags)):
        return None
    decoded = _spaced(_untag(tags), match[0][0], _after(match))
    return Edit(match.start(), match.end(), match[0][0] + decoded, hidden=len(tags))


def _tags(match: re.Match[str]) -> Edit:
    decoded = _spaced(_untag(match[0]), _before(match), _after(match))
    return Edit(match.start(), match.end(), decoded, hidden=len(match[0]))


def _untag(tags: str) -> str:
    return "".join(chr(ord(tag) - 0xE0000) for tag in tags if 0xE0020 <= ord(tag) <= 0xE007E)


def _spaced(decoded: str, before: str, after: str) -> str:
    """Words that were hidden next to a visible one must not run into it."""
    if len(decoded) < 3:
        return decoded
    return ("" if _PARTING.fullmatch(before) else " ") + decoded + ("" if _PARTING.fullmatch(after) else " ")


def _before(match: re.Match[str]) -> str:
    return match.string[match.start() - 1] if match.start() else ""


def _after(match: re.Match[str]) -> str:
    return match.string[match.end() : match.end() + 1]


def _unseen(match: re.Match[str]) -> Edit:
    """A run of joiners, variation selectors and other invisible characters.

    Joiners shape Arabic and Indic words and build emoji; elsewhere they only split words. One
    selector picks a glyph; several carry bytes, the first sixteen in the BMP and the rest above.
    """
    run = match[0]
    selectors = _SELECTOR.findall(run)
    if len(selectors) > 1:
        codes = (ord(one) - 0xE0100 + 16 for one in selectors)
        decoded = "".join(chr(code) for code in codes if 0x20 <= code <= 0x7E)
        return Edit(match.start(), match.end(), _spaced(decoded, _before(match), _after(match)), hidden=len(run))
    kept = _kept_joiner(match)
    glyph = len(selectors) == 1 and selectors[0] < "\U000e0100"
    return Edit(match.start(), match.end(), kept, hidden=len(run) - len(kept) - glyph)


def _kept_joiner(match: re.Match[str]) -> str:
    text = match.string
    if match.start() == 0 or match.end() == len(text):
        return ""
    pair = text[match.start() - 1], text[match.end()]
    if all(map(_JOINING_SCRIPTS.match, pair)):
        joiner = _JOINER.search(match[0])
        return joiner[0] if joiner else ""
    if all(map(_EMOJI.match, pair)) and "\u200d" in match[0]:
        return "\u200d"
    return ""


def _regional(match: re.Match[str]) -> Edit | None:
    """Pairs are flags; an odd letter is a letter in disguise."""
    if len(match[0]) % 2 == 0:
        return None
    letters = "".join(chr(ord(one) - 0x1F1E6 + ord("A")) for one in match[0])
    return Edit(match.start(), match.end(), letters, folded=len(letters))


def _to(replacement: str) -> Callable[[re.Match[str]], Edit]:
    return lambda match: Edit(match.start(), match.end(), replacement)


_HANDLERS: dict[str, Callable[[re.Match[str]], Edit | None]] = {
    "line": _to("\n"),
    "flag": _flag,
    "tags": _tags,
    "spaces": _to(" "),
    "unseen": _unseen,
    "surrogate": _to("\ufffd"),
    "quote": _to("'"),
    "regional": _regional,
}


def _cap_marks(text: str) -> Iterator[Edit]:
    for likely in _LIKELY_MARK_RUN.finditer(text):
        for match in _MARK_RUN.finditer(text, *likely.span()):
            start = match.start() + _MAX_MARKS
            if start < match.end():
                yield Edit(start, match.end(), "", hidden=match.end() - start)


def _compose(text: str) -> Iterator[Edit]:
    """NFKC, cluster by cluster, so that every character knows where it came from."""
    if unicodedata.is_normalized("NFKC", text):
        return
    for run in _NON_ASCII.finditer(text):
        first = run.start()
        begin = first - 1 if first and _continues(text[first]) else first
        for at in (*range(first + 1, run.end()), run.end()):
            if at < run.end() and _continues(text[at]):
                continue
            cluster = text[begin:at]
            composed = unicodedata.normalize("NFKC", cluster)
            if composed != cluster:
                yield Edit(begin, at, composed, aligned=at - begin == len(composed) == 1)
            begin = at


@lru_cache(maxsize=8192)
def _continues(char: str) -> bool:
    """Whether NFKC may join this character to the one before it: a mark, or a Hangul vowel or final."""
    first = unicodedata.normalize("NFKD", char)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


def _strip_marks(text: str) -> Iterator[Edit]:
    """Drop stacked accents and strike-through; accents that NFKC composed are letters by now."""
    for match in _GENERIC_RUN.finditer(text):
        run = match[0]
        base = _before(match)
        composed = unicodedata.normalize("NFD", base)[1:]  # the first of a stack, which are in the base by now
        if composed and len(composed + run) > _MAX_GENERIC_MARKS and _GENERIC_RUN.fullmatch(composed):
            bare = unicodedata.normalize("NFD", base)[0]
            yield Edit(match.start() - 1, match.end(), bare, hidden=len(composed + run))
            continue
        if len(run) > _MAX_GENERIC_MARKS:
            kept = ""
        elif base.isalpha():
            kept = "".join(mark for mark in run if mark not in _OVERLAYS and unicodedata.category(mark) != "Me")
        else:
            kept = "".join(mark for mark in run if mark != _KEYCAP or base in "0123456789#*")
        if kept != run:
            yield Edit(match.start(), match.end(), kept, hidden=len(run) - len(kept))


_STAGES = (_unhide, _cap_marks, fold_lunate, _compose, _strip_marks, fold_latin, fold_foreign, close_up)
