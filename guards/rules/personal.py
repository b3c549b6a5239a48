"""Personal data with a checkable form: mail addresses, telephone and card numbers, accounts, addresses.

Each finder yields code points [start, end). A regular expression proposes, a checksum or a numbering
plan disposes: ISO/IEC 7812 (Luhn), ISO 13616 (IBAN), the SSA's number areas, ITU E.164 plans.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

from guards.rules.patterns import compile_re2

Found = Iterator[tuple[int, int]]

_EMAIL = compile_re2(
    r"[\pL\pN.!#$%&'*+/=?^_`{|}~-]*[\pL\pN_+-]@[\pL\pN](?:[\pL\pN-]*[\pL\pN])?(?:\.[\pL\pN-]+)*\.\pL{2,63}"
)
# What stands left of the @ of a Git remote, and right of the dot of a systemd unit.
_NO_MAILBOX = re.compile(r"git@.*|.*\.(?:service|socket|timer|target|mount)", re.DOTALL)
# The password of a URL is no mailbox; `basic_auth` finds it.
_URL_USER = re.compile(r"://[^\s/:@]+:\Z")
_URL_USER_CHARS = 64

_NUMBER = re.compile(r"[+(]{0,2}[0-9][0-9 ().\-\u2010-\u2015/]*")
_DIGITS = re.compile(r"[0-9]+")
_DIGITS_PER_NUMBER = 7  # fewer are no telephone number and nothing longer

_CARD_SHAPES = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)})
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}(?:\d{3})?|62\d{14,17}",
    re.ASCII,
)
_IBAN = compile_re2(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_SSN = compile_re2(r"\b\d{3}[- ]\d{2}[- ]\d{4}\b")
_BARE_SSN = compile_re2(r"(?i)\b(?:ssn|social security)\b[^0-9\n]{0,30}\b(\d{9})\b")

_PHONE_WORD = re.compile(
    r"(?:phone|tel|call|mobile|cell|fax|text|whatsapp|sms|dial|contact|ring)\b[^0-9\n]{0,20}\Z", re.I
)
_BARE = re.compile(r"[( ]*\d+(?:\.\d+)?[) ]*", re.ASCII)  # may as well be an identifier or a decimal fraction
_BEFORE_PHONE = 32  # characters in which such a word counts
# Dates and IPv4 addresses, which numbering plans may take for a number.
_NOT_PHONE = re.compile(
    r"(?<![\d.])(?:(?:19|20)\d\d[-/.][01]\d[-/.][0-3]\d|[0-3]\d[-/.][0-3]\d[-/.](?:19|20)\d\d"
    r"|\d{1,3}(?:\.\d{1,3}){3}(?!\.\d))(?!\d)",
    re.ASCII,
)

_IPV4 = compile_re2(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_IPV6 = compile_re2(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}")


def number_runs(text: str) -> list[tuple[int, int]]:
    """Runs of digits and what separates digits, long enough to be a telephone number or more."""
    runs = []
    for match in _NUMBER.finditer(text):
        run = match[0].rstrip(" (.-\u2010\u2011\u2012\u2013\u2014\u2015/")
        if len(run) >= _DIGITS_PER_NUMBER and sum(map(len, _DIGITS.findall(run))) >= _DIGITS_PER_NUMBER:
            runs.append((match.start(), match.start() + len(run)))
    return runs


def find_emails(text: str) -> Found:
    for match in _EMAIL.finditer(text):
        start, end = match.span()
        in_url = _URL_USER.search(text, max(start - _URL_USER_CHARS, 0), start)
        if not in_url and not _NO_MAILBOX.fullmatch(text, start, end):
            yield start, end


def find_cards(text: str, runs: Sequence[tuple[int, int]]) -> Found:
    """Numbers in an issuer's range, written in one piece or in the groups of a card, with a right check digit."""
    for start, end in runs:
        if end - start < 13:
            continue
        groups = [match.span() for match in _DIGITS.finditer(text, start, end)]
        for first, (begin, _) in enumerate(groups):
            yield from _card_at(text, begin, groups[first : first + 5])


def _card_at(text: str, begin: int, groups: Sequence[tuple[int, int]]) -> Found:
    shape: list[int] = []
    digits = ""
    for index, (start, end) in enumerate(groups):
        if index and text[groups[index - 1][1] : start] not in {" ", "-"}:
            return
        shape.append(end - start)
        digits += text[start:end]
        if len(digits) > 19:
            return
        shaped = len(shape) == 1 or tuple(shape) in _CARD_SHAPES
        likely = shaped and len(digits) >= 13 and _CARD.fullmatch(digits) is not None
        if likely and luhn.is_valid(digits) and not _glued(text, begin, end):
            yield begin, end


def _glued(text: str, start: int, end: int) -> bool:
    """Whether the number is a part of an identifier, a hash or a decimal fraction."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 1]
    if before[-1:].isalnum() or before[-1:] in {"_", "."} or (before[-1:] in {"-", ","} and before[:1].isdigit()):
        return True
    return after.isalnum() or after == "_"


def find_ibans(text: str) -> Found:
    for match in _IBAN.finditer(text):
        start, end = match.span()
        # A word in capitals after the number looks like one more group of it.
        while end - start >= 15 and not iban.is_valid(text[start:end]):
            end = text.rfind(" ", start, end)
        if end - start >= 15:
            yield start, end


def find_ssns(text: str, runs: Sequence[tuple[int, int]]) -> Found:
    for start, end in runs:
        for match in _SSN.finditer(text[start:end]):
            begin, stop = start + match.start(), start + match.end()
            digits = match[0].replace(" ", "-")
            if match[0][3] == match[0][6] and not _continues(text, begin, stop) and ssn.is_valid(digits):
                yield begin, stop
    for match in _BARE_SSN.finditer(text) if runs else ():
        if ssn.is_valid(match[1]):
            yield match.span(1)


def _continues(text: str, start: int, end: int) -> bool:
    """Whether the number goes on in a longer one, such as a serial number with dashes."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (
        before[-1:].isalnum() or after[:1].isalnum() or before[-1:] == "-" or (after[:1] == "-" and after[1:].isalnum())
    )


def find_phones(text: str, runs: Sequence[tuple[int, int]], regions: Sequence[str]) -> Found:
    """Numbers valid in `regions` or with a country code; digits without a separator only after a word like "call"."""
    for run in runs:
        for start, end in _between_dates(text, *_loosened(text, *run)):
            number = text[start:end]
            if len(number) < _DIGITS_PER_NUMBER or _glued(text, start, end):
                continue
            if _BARE.fullmatch(number) and not _PHONE_WORD.search(text, max(start - _BEFORE_PHONE, 0), start):
                continue
            yield from _phones_in(number, start, regions)


def _between_dates(text: str, start: int, end: int) -> Found:
    """The pieces of a run around dates and IPv4 addresses, without the spaces next to these."""
    for other in (*_NOT_PHONE.finditer(text, start, end), None):
        stop = other.start() if other else end
        piece = text[start:stop]
        yield start + len(piece) - len(piece.lstrip(" ")), start + len(piece.rstrip(" "))
        start = other.end() if other else end


def _loosened(text: str, start: int, end: int) -> tuple[int, int]:
    """The run without a first or last group that belongs to a word, as in "415-555-2671 2nd"."""
    if start and text[start - 1].isalnum():
        space = text.find(" ", start, end)
        start = space + 1 if space >= 0 else end
    if end < len(text) and text[end].isalnum():
        end = max(text.rfind(" ", start, end), start)
    return start, end


def _phones_in(run: str, offset: int, regions: Sequence[str]) -> Found:
    for region in regions:
        spans = [(match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(run, region)]
        if spans:
            yield from ((offset + start, offset + end) for start, end in spans)
            return


def find_ipv4(text: str) -> Found:
    for match in _IPV4.finditer(text):
        start, end = match.span()
        if text[start - 1 : start] != "." and text[end : end + 1] != "." and _is_address(match[0]):
            yield start, end


def find_ipv6(text: str) -> Found:
    for match in _IPV6.finditer(text):
        start, end = match.span()
        if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():
            digits = match[0].replace(":", "")
            if len(digits) > 2 and _is_address(match[0]):
                yield start, end


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
