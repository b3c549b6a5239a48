"""Which calls a canary gets: the same sessions every time, and more of them as its share grows.

A session's place is a hash of its identifier, so that every replica and every restart sees it in the same place. A
share of p percent is the places below p: who is in at 10 % is in at 20 %.
"""

from __future__ import annotations

import hashlib

from service.exchange import CheckCall, GenerateCall

RESOLUTION = 0.01  # percent: the smallest share
_PLACES = 10_000
_SALT = b"wardgate-canary-1\0"  # our own, so that other systems that hash sessions pick other ones


def place(call: CheckCall | GenerateCall) -> int:
    """In [0, 10000), uniform over sessions, else over users, else over requests."""
    context = call.context
    who = context.session_id or context.user_hash or call.request_id
    digest = hashlib.sha256(_SALT + who.encode()).digest()
    return int.from_bytes(digest[:8], "big") * _PLACES >> 64


def in_share(call: CheckCall | GenerateCall, percent: float) -> bool:
    return place(call) < round(percent * _PLACES / 100)
