"""Overlapping windows over a token sequence, so that nothing is truncated silently."""

from __future__ import annotations


def windows(n_tokens: int, size: int, overlap: int) -> tuple[tuple[int, int], ...]:
    """Windows [start, end) of at most `size` tokens that cover `n_tokens` tokens, in order.

    Neighbours share at least `overlap` tokens. The last window is shifted back so that it is
    full, since a head reads a full window better than a stub. No window for no tokens.
    """
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be >= 0, not {n_tokens}")
    if size < 1:
        raise ValueError(f"size must be >= 1, not {size}")
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be >= 0 and < size ({size}), not {overlap}")
    if n_tokens == 0:
        return ()
    if n_tokens <= size:
        return ((0, n_tokens),)
    last = n_tokens - size
    starts = (*range(0, last, size - overlap), last)
    return tuple((start, start + size) for start in starts)
