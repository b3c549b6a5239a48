"""Ratios that are looked at after every trial: evidence and intervals that stay valid however often one looks.

A Wilson interval at 99% that is looked at after each trial is wrong at some time far oftener than once in 100. The
mixture of betas keeps its promise: under the hypothesis the evidence is a supermartingale that starts at 1, so that
the chance that it ever reaches 1/alpha is at most alpha (Ville 1939).

Sources: Robbins 1970, "Statistical methods related to the law of the iterated logarithm", for the mixture; Howard,
Ramdas, McAuliffe and Sekhon 2021 (arXiv:1810.08240) for confidence sequences from it; Waudby-Smith and Ramdas 2024
(arXiv:2010.09686) for bets on bounded means, of which this is the binary case.

Departures: the mixing density is Jeffreys' Beta(1/2, 1/2); for evidence against "at most p0" it is cut to the ratios
above p0, since every one of those is a bet that a true ratio up to p0 loses on average. The sequence is not intersected
with its past, so it depends on the counts alone. What is assumed: trials in an order that nobody chose by their
outcomes, each a success with a chance of at most p0 given the ones before. The same prompts asked of the same guard
again are no new trials: do not add up runs with one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from guards.probes.statistics.beta import log_beta, log_tail
from guards.probes.statistics.estimate import Estimate

_A = _B = 0.5
_STEPS = 60  # of bisection, each halves the error


def log_evidence(successes: int, trials: int, at_most: float) -> float:
    """The natural logarithm of the e-value against "the true ratio is `at_most` or less".

    0 says nothing, ln 20 = 3.0 is evidence at 5%, ln 100 = 4.6 at 1%; below 0 speaks for the hypothesis, without
    proving it. Look as often as you like.
    """
    _check(successes, trials)
    if not 0 < at_most < 1:
        raise ValueError("the ratio of the hypothesis lies between 0 and 1")
    failures = trials - successes
    posterior = log_beta(successes + _A, failures + _B) + log_tail(at_most, successes + _A, failures + _B)
    prior = log_beta(_A, _B) + log_tail(at_most, _A, _B)
    return posterior - prior - successes * math.log(at_most) - failures * math.log1p(-at_most)


def confidence_sequence(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """Every ratio that the trials so far do not speak against; true after all trials at once, with chance `level`.

    Raises ValueError without a trial: then nothing is known but [0, 1].
    """
    _check(successes, trials)
    if trials < 1:
        raise ValueError("a ratio needs at least one trial")
    failures = trials - successes
    threshold = -math.log(1 - level)
    mixture = log_beta(successes + _A, failures + _B) - log_beta(_A, _B)

    def excluded(ratio: float) -> bool:
        return mixture - successes * math.log(ratio) - failures * math.log1p(-ratio) >= threshold

    value = successes / trials
    low = 0.0 if successes == 0 else _edge(outside=0.0, inside=value, excluded=excluded)
    high = 1.0 if failures == 0 else _edge(outside=1.0, inside=value, excluded=excluded)
    return Estimate(value, low, high)


def _edge(outside: float, inside: float, excluded: Callable[[float], bool]) -> float:
    """Where exclusion begins between a ratio that is excluded and one that is not; errs towards a wider interval."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            break
        outside, inside = (middle, inside) if excluded(middle) else (outside, middle)
    return outside


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError("there are no more successes than trials, and none below zero")
