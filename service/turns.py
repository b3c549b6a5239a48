"""What a user says over several turns, as one text: a request may be told in parts (docs/adr/013-turns.md).

A turn is all that the user said between two answers. Where only new turns are judged, the newest and the last ones
before it are read together, as much of them as costs about one short forward more. Where the whole
conversation is judged, everything that the user said is.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from guards.refusals import is_refusal
from guards.types import Message, Role, Scope, Stage
from service.judged_text import JudgedText, join
from service.stretches import Stretch, both_ends, end_of, stretches

MOST_CHARACTERS = 400  # code points of turns read together, the newlines between them aside: some 100 tokens of English
MOST_TURNS = 16  # of them, the newest among them
_FOR_EARLIER = MOST_CHARACTERS // 2  # that a long newest turn leaves
_OPENING = 1000  # code points of an answer or a safe message that are compared


@dataclass(frozen=True, slots=True)
class Turn:
    """`refused`: the answer was one of the policy's safe messages, or declines in other words."""

    said: tuple[Stretch, ...]
    refused: bool = False

    @property
    def message(self) -> int:
        """The first of its messages, by which it is named."""
        return self.said[0].message

    def __len__(self) -> int:
        return sum(len(one.text) for one in self.said)


@dataclass(frozen=True, slots=True)
class Turns:
    """Two turns or more, oldest first, and what they say together."""

    turns: tuple[Turn, ...]
    text: JudgedText

    @property
    def messages(self) -> tuple[int, ...]:
        """Which turns these are."""
        return tuple(turn.message for turn in self.turns)

    async def only(self, messages: Container[int]) -> JudgedText:
        """What those of these turns say together, as it was judged."""
        return await text_of(turn for turn in self.turns if turn.message in messages)


async def turns_of(messages: Sequence[Message], scope: Scope, safe_messages: Collection[str]) -> Turns | None:
    """None where the user has said nothing new, or nothing before."""
    told = tuple(_told(messages))
    if scope is Scope.WHOLE_CONVERSATION:
        return await together(Turn(said) for said, _ in told)  # all of it is judged, refused or not
    if not told or told[-1][1] is not None:
        return None
    safe = tuple(filter(None, map(_folded, safe_messages)))
    return await together(_last([Turn(said, _refuses(answer, safe)) for said, answer in told[-MOST_TURNS:]]))


async def together(turns: Iterable[Turn]) -> Turns | None:
    chosen = tuple(turns)
    if len(chosen) < 2:
        return None
    return Turns(chosen, await text_of(chosen))


async def text_of(turns: Iterable[Turn]) -> JudgedText:
    return await join(Stage.REQUEST, tuple(chain.from_iterable(turn.said for turn in turns)))


def _told(messages: Sequence[Message]) -> Iterator[tuple[tuple[Stretch, ...], Message | None]]:
    """What the user said at each turn, and what was answered; None to the newest, as long as nothing is."""
    said: list[Stretch] = []
    for index, message in enumerate(messages):
        if message.role is Role.USER:
            said += (one for one in stretches(index, message.parts) if one.text.strip())
        elif message.role is Role.ASSISTANT and said:
            yield tuple(said), message
            said = []
    if said:
        yield tuple(said), None


def _refuses(answer: Message | None, safe: tuple[str, ...]) -> bool:
    """Decides nothing by itself: a turn is left out only where the guard, too, would have stopped it."""
    return answer is not None and (_folded(answer.text).startswith(safe) or is_refusal(answer.text))


def _folded(text: str) -> str:
    return " ".join(text[:_OPENING].casefold().split())


def _last(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The newest turn, and of those before it what is left room for, their ends first."""
    if len(turns) < 2:
        return ()
    *earlier, newest = turns
    room = max(MOST_CHARACTERS - len(newest), _FOR_EARLIER)
    kept: list[Turn] = []
    for turn in reversed(earlier):
        cut = replace(turn, said=end_of(reversed(turn.said), room))
        if not cut.said:
            break
        kept.append(cut)
        room -= len(cut)
    used = sum(map(len, kept))
    # the newest begins where earlier ones end, and what is long may say it at its end
    return (*reversed(kept), replace(newest, said=both_ends(newest.said, MOST_CHARACTERS - used)))
