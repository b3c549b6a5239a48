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
_NEGATING = ("un", "in", "im", "ir", "dis", "non", "mis", "anti")


def opposed(one: str, other: str) -> bool:
    """Whether two lower-case words stand on two sides of a pole, or differ in a negating prefix or in -ful or -less."""
    for left, right in _SIDES:
        if (one in left and other in right) or (one in right and other in left):
            return True
    short, long = sorted((one, other), key=len)
    if any(long == prefix + short for prefix in _NEGATING):
        return True
    return short.removesuffix("ful") == long.removesuffix("less") or short.removesuffix("less") == long.removesuffix(
        "ful"
    )
