"""Words replaced by others of the vocabulary, the ones that the gradient says do most harm.

Source: Ebrahimi et al. 2018, "HotFlip: White-Box Adversarial Examples for Text Classification" (arXiv:1712.06751): the
harm of putting token b in the place of token a is, to first order, (vector of b - vector of a) . gradient there.
Departures: whole words by whole words of one token, letters only; a word of several tokens is judged by the sum over
them; the best few by the estimate are tried in a real forward of the changed text, and the best of these is kept, word
after word, instead of a beam search; the loss as in fgsm.py.

What comes out may no longer be the same request: an unlimited swap can take the harm out of it, and a guard that lets
it pass then is right. `min_cosine` keeps to words whose vectors are alike, which helps and does not promise it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch, embeddings_of
from guards.probes.gradient.perturbation import margins, right, slope
from guards.probes.targets import Text

_WORDS = re.compile(r"([^\W\d_]+)")  # split by it, a text has its words at the odd places
_BEST_OF_A_WORD = 2  # candidates for one place; more would crowd out other places


@dataclass(frozen=True, slots=True)
class FlipLimits:
    """`tries` changed texts are verified for each word; `min_cosine` of word vectors in [-1, 1], None takes any."""

    words: int = 3
    tries: int = 6
    min_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """`text` is the normalized text with some words replaced, `right` and `clean` whether it is judged right and
    whether it was before. `queries` counts texts that the classifier was shown, those for gradients among them."""

    text: str
    clean: bool
    right: bool
    replaced: int
    queries: int


@dataclass(frozen=True, slots=True)
class _Judged:
    batch: TokenBatch
    right: tuple[bool, ...]
    margins: tuple[float, ...]

    def row(self, number: int) -> _Judged:
        return _Judged(self.batch.rows(torch.tensor([number])), (self.right[number],), (self.margins[number],))


def hotflip(
    classifier: DifferentiableClassifier,
    text: Text,
    gold: int,
    limits: FlipLimits,
    places: Collection[int] | None = None,
) -> Flip:
    """At most `limits.words` words, one at a time, until the decision turns; a text that is judged wrong as it is
    stays as it is. `places` numbers the words that may be replaced, None is all."""
    now = _judged(classifier, [text], gold)
    parts = _WORDS.split(now.batch.texts[0])
    clean, queries, done = now.right[0], 1, set[int]()
    free = set(range(len(parts) // 2)) if places is None else set(places)
    while now.right[0] and len(done) < limits.words:
        gradient = _gradient(classifier, now.batch, gold)
        queries += 1
        swaps = _best_swaps(classifier, now.batch, gradient, parts, free - done, limits)
        tried = _tried(classifier, text, parts, swaps, gold)
        queries += len(swaps)
        best = max(range(len(swaps)), key=lambda row: tried.margins[row], default=None)
        if best is None or tried.margins[best] <= now.margins[0]:
            break
        word, new = swaps[best]
        parts[2 * word + 1] = new
        done.add(word)
        now = tried.row(best)
    return Flip("".join(parts), clean, now.right[0], len(done), queries)


def flipped_text(
    text: str, classifier: DifferentiableClassifier, gold: int, seed: int, limits: FlipLimits | None = None
) -> str:
    """For training on hard examples: a random half of the words may be replaced. The same seed gives the same text."""
    count = len(_WORDS.split(classifier.tokenize([Text(text)]).texts[0])) // 2
    places = random.Random(f"{seed}:{text}").sample(range(count), (count + 1) // 2)  # noqa: S311 - not secrecy
    return hotflip(classifier, Text(text), gold, limits or FlipLimits(), places).text


def _judged(classifier: DifferentiableClassifier, texts: Sequence[Text], gold: int) -> _Judged:
    batch = classifier.tokenize(texts)
    golds = torch.full((len(texts),), gold)
    with torch.no_grad():
        logits = classifier.logits(embeddings_of(classifier, batch), batch)
    return _Judged(batch, tuple(right(logits, golds).tolist()), tuple(margins(logits, golds).tolist()))


def _gradient(classifier: DifferentiableClassifier, batch: TokenBatch, gold: int) -> Tensor:
    """[T, D]"""
    return slope(classifier, embeddings_of(classifier, batch), batch, torch.tensor([gold])).gradient[0]


def _tried(
    classifier: DifferentiableClassifier, text: Text, parts: Sequence[str], swaps: Sequence[tuple[int, str]], gold: int
) -> _Judged:
    """All changed texts in one forward. One that normalization would change again counts as no harm."""
    texts = ["".join((*parts[: 2 * word + 1], new, *parts[2 * word + 2 :])) for word, new in swaps]
    if not texts:
        return _Judged(classifier.tokenize([text]), (), ())
    judged = _judged(classifier, [_with(text, changed) for changed in texts], gold)
    kept = zip(judged.margins, judged.batch.texts, texts, strict=True)
    return replace(judged, margins=tuple(m if seen == meant else -torch.inf for m, seen, meant in kept))


def _best_swaps(
    classifier: DifferentiableClassifier,
    batch: TokenBatch,
    gradient: Tensor,
    parts: Sequence[str],
    free: Collection[int],
    limits: FlipLimits,
) -> list[tuple[int, str]]:
    """Words by number and what to put there, the most harmful by the estimate first."""
    tokens = {word: places for word, places in _tokens_of_words(batch, parts).items() if word in free}
    if not tokens:
        return []
    names = {token: name for name, token in classifier.whole_words().items()}
    matrix = classifier.embedding_matrix
    fit = torch.zeros(len(tokens), matrix.shape[0], dtype=torch.bool)
    fit[:, list(names)] = True
    olds = [matrix[batch.ids[0, places]] for places in tokens.values()]
    rises = [gradient[places] for places in tokens.values()]
    before = torch.stack([(old * rise).sum() for old, rise in zip(olds, rises, strict=True)])
    gains = torch.stack([rise.sum(0) for rise in rises]) @ matrix.T - before[:, None]
    if limits.min_cosine is not None:
        middles = torch.nn.functional.normalize(torch.stack([old.mean(0) for old in olds]), dim=-1)
        fit &= middles @ matrix.T >= limits.min_cosine * matrix.norm(dim=-1)
    best = gains.masked_fill(~fit, -torch.inf).topk(_BEST_OF_A_WORD + 1)
    found: list[tuple[float, int, str]] = []
    for word, values, places in zip(tokens, best.values.tolist(), best.indices.tolist(), strict=True):
        for value, token in zip(values, places, strict=True):
            if value > 0 and names[token].lower() != parts[2 * word + 1].lower():
                found.append((value, word, names[token]))
    found.sort(key=lambda one: -one[0])
    return [(word, name) for _, word, name in found[: limits.tries]]


def _tokens_of_words(batch: TokenBatch, parts: Sequence[str]) -> dict[int, list[int]]:
    """By a word's number the positions of its tokens, of words that are wholly in the window and share no token."""
    positions = batch.attackable[0].nonzero().squeeze(-1).tolist()
    found: dict[int, list[int]] = {}
    start = 0
    for place, part in enumerate(parts):
        end = start + len(part)
        touching = [
            (position, span)
            for position, span in zip(positions, batch.spans[0], strict=True)
            if span[0] < end and start < span[1]
        ]
        whole = touching and touching[-1][1][1] == end and all(s[1] <= end for _, s in touching)
        if place % 2 and whole and touching[0][1][0] in (start, start - 1):  # some tokens bring the blank before
            found[place // 2] = [position for position, _ in touching]
        start = end
    return found


def _with(text: Text, judged: str) -> Text:
    return replace(text, prompt=judged) if text.response is None else replace(text, response=judged)
