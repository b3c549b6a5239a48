"""Words that word vectors take for near relatives and that say the opposite: a guard against absurd synonyms.

Written for this project. Far from complete: it holds the common words of praise and blame, of danger and safety, and
the pairs that stood among the nearest neighbours of frequent words. What is missing is one reason why a substitution
can change what a text says.
"""

from __future__ import annotations

_PRAISE = """
    good great excellent wonderful terrific amazing awesome fantastic splendid brilliant superb fine nice lovely
    beautiful best better perfect impressive enjoyable entertaining exciting interesting fun funny hilarious amusing
    clever smart witty fresh original pleasant charming delightful engaging fascinating powerful moving touching love
    loved loves like likes liked enjoy enjoyed praise praised success successful succeed succeeds win winner rich deep
    strong strength solid worthy useful healthy happy joy glad warm lively sharp bright right positive
"""
_BLAME = """
    bad terrible horrible awful dreadful horrific worst worse poor mediocre weak weakness flawed disappointing
    disappointed boring bored dull bland stale tedious tiresome dumb stupid silly foolish ugly unpleasant annoying
    irritating painful hate hated hates dislike disliked blame blamed failure failed fail fails lose loser lousy shallow
    empty hollow worthless useless unhealthy sick sad sadness unhappy grief cold lifeless wrong negative disaster
    disastrous mess ridiculous pathetic pointless
"""
_DANGER = """
    dangerous danger deadly harmful hazardous risky unsafe poisonous toxic lethal illegal unlawful criminal violent
    malicious evil guilty secret
"""
_SAFETY = """
    safe safely safety secure harmless nontoxic legal lawful legitimate peaceful kind innocent public
"""
_MUCH = "increase rise up more many high higher big large long old early first hot open start begin before"
_LITTLE = "decrease fall down less few low lower little small short new young late last cold close stop end after"
_MAKE = "build create make construct add attach buy give save help allow accept agree true real fast"
_UNMAKE = "destroy break dismantle remove detach sell take waste hurt forbid reject refuse disagree false fake slow"
_MALE = "man men boy boys male father son brother husband king actor"
_FEMALE = "woman women girl girls female mother daughter sister wife queen actress"

_SIDES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in ((_PRAISE, _BLAME), (_DANGER, _SAFETY), (_MUCH, _LITTLE), (_MAKE, _UNMAKE), (_MALE, _FEMALE))
)
_ENDINGS = ("er", "r", "est", "st", "ly", "s")
_NEGATING = ("un", "in", "im", "ir", "dis", "non", "mis", "anti")


def opposed(one: str, other: str) -> bool:
    """Whether two lower-case words, or their stems, stand on two sides of a pole, or differ in a negating prefix or in
    -ful or -less."""
    ones, others = _forms(one), _forms(other)
    for left, right in _SIDES:
        if (ones & left and others & right) or (ones & right and others & left):
            return True
    short, long = sorted((one, other), key=len)
    return (
        any(long == prefix + short for prefix in _NEGATING)
        or short.removesuffix("ful") == long.removesuffix("less")
        or short.removesuffix("less") == long.removesuffix("ful")
    )


def _forms(word: str) -> frozenset[str]:
    """The word, and what is left of it without an ending."""
    return frozenset({word, *(word.removesuffix(ending) for ending in _ENDINGS)})
