"""A text before the guards: which parts of a conversation it has, and what the models say of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from guards.base import ScoreInput, Scorer
from guards.base import Subject as GuardSubject
from guards.errors import FieldViolation, InvalidInput, ScoringError
from guards.policy import Policy
from guards.readings.find import readings
from guards.readings.reading import Reading
from guards.types import Candidate, Coverage, Message, Role, Scope, Span, Stage, TextScores
from service.exchange import ModelScores
from service.judged_text import JudgedText, join
from service.lineup import Lineup
from service.stretches import Stretch, end_of, stretches
from service.turns import Turn, Turns, text_of, together, turns_of

MOST_ANSWERED = 600  # code points of a conversation that a response is judged after: its last 64 tokens are read


class Submission:
    """The texts of one call: each model scores them at most once, when the first guard asks for a head of it.

    Every model has a task of its own, so that one that fails or is slow touches only the guards that use it.
    """

    def __init__(self, lineup: Lineup, inputs: Sequence[ScoreInput], deadline: float) -> None:
        self.lineup = lineup
        self._inputs = inputs
        self._deadline = deadline
        self._tasks: dict[int, asyncio.Task[tuple[TextScores, ...]]] = {}  # by id of a scorer, which the lineup keeps
        self._further: list[Submission] = []

    def further(self, item: ScoreInput) -> Submission:
        """One more text of the same call, for what its scores leave open; closed with this one."""
        self._further.append(Submission(self.lineup, [item], self._deadline))
        return self._further[-1]

    async def scores(self, scorer: Scorer, index: int) -> TextScores:
        task = self._tasks.get(id(scorer))
        if task is None:
            task = self._tasks[id(scorer)] = asyncio.create_task(self._score(scorer))
        # One guard's timeout must not take the scores from the others.
        return (await asyncio.shield(task))[index]

    async def _score(self, scorer: Scorer) -> tuple[TextScores, ...]:
        scores = await scorer.score(self._inputs, self._deadline)
        for head in (head for text in scores for head in text.heads.values()):
            if not (math.isfinite(head.reward) and math.isfinite(head.risk)):
                raise ScoringError(f"head {head.head} gave a score that is not a finite number")
        return scores

    def result(self, scorer: Scorer, index: int) -> TextScores | None:
        """The scores if they were asked for and came."""
        task = self._tasks.get(id(scorer))
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()[index]

    async def close(self) -> None:
        """Ends what is still running, so that nothing outlives the request."""
        unfinished = [task for task in self._tasks.values() if task.cancel()]
        if unfinished:
            await asyncio.wait(unfinished)
        for one in self._further:
            await one.close()


class TextSubject:
    """Implements guards.base.Subject over a submission, in which the text has a place.

    `turns`: the place of what the user says over several turns, where the text has such.
    """

    def __init__(self, text: JudgedText, submission: Submission, index: int, turns: int | None = None) -> None:
        self.stage = text.stage
        self.text = text.text
        self._judged = text
        self._submission = submission
        self._index = index
        self._asked: set[int] = set()  # ids of scorers
        self._turns = (
            TurnsSubject(text.turns, TextSubject(text.turns.text, submission, turns), submission)
            if text.turns is not None and turns is not None
            else None
        )

    async def scores(self, head: str) -> TextScores:
        return await self._ask(self._submission.lineup.scorer_of(head))

    async def primary_scores(self) -> TextScores:
        """The rolled-out reward model's, whichever heads it has."""
        return await self._ask(self._submission.lineup.primary)

    async def _ask(self, scorer: Scorer) -> TextScores:
        self._asked.add(id(scorer))
        return await self._submission.scores(scorer, self._index)

    def scored(self) -> tuple[ModelScores, ...]:
        """What came from the models that were asked about this text, the primary first."""
        asked = [scorer for scorer in self._submission.lineup.scorers if id(scorer) in self._asked]
        results = [(scorer, self._submission.result(scorer, self._index)) for scorer in asked]
        return tuple(
            ModelScores(scorer.identity, text, self._turns.coverage(scorer) if self._turns else Coverage())
            for scorer, text in results
            if text is not None
        )

    def coverage(self, scorer: Scorer) -> Coverage:
        """How much of this text a model saw; nothing of nothing where it was not asked."""
        result = self._submission.result(scorer, self._index)
        return result.coverage if result else Coverage()

    def readings(self) -> tuple[Reading, ...]:
        return self._judged.readings if self.stage is Stage.REQUEST else readings(self.text)

    def turns(self) -> TurnsSubject | None:
        return self._turns

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return self._judged.spans(start, end)


class TurnsSubject:
    """Implements guards.base.Turns. The first is scored with the text; what is left of it, when somebody asks."""

    def __init__(self, turns: Turns, subject: TextSubject, submission: Submission) -> None:
        self.subject = subject
        self.messages = turns.messages
        self._turns = turns.turns
        self._submission = submission

    async def counted(self, withheld: Callable[[GuardSubject], Awaitable[bool]]) -> TurnsSubject | None:
        kept: list[Turn] = []
        for turn in self._turns[:-1]:
            when_new = (*kept, turn)
            if not turn.refused or not await withheld(self._subject(await text_of(when_new))):
                kept.append(turn)
        if len(kept) == len(self._turns) - 1:
            return self
        left = await together((*kept, self._turns[-1]))
        return TurnsSubject(left, self._subject(left.text), self._submission) if left else None

    def coverage(self, scorer: Scorer) -> Coverage:
        return self.subject.coverage(scorer)

    def _subject(self, text: JudgedText) -> TextSubject:
        return TextSubject(text, self._submission.further(text.as_request), 0)


def inputs_of(prompt: JudgedText, texts: Sequence[JudgedText]) -> list[ScoreInput]:
    """One for each text, a response after what it answers, and behind them the user's turns of a judged prompt."""
    turns = [text.turns.text for text in texts if text.turns]
    return [
        *(text.as_request if text.stage is Stage.REQUEST else text.after(prompt) for text in texts),
        *(text.as_request for text in turns),
    ]


def subjects_of(texts: Sequence[JudgedText], submission: Submission) -> list[TextSubject]:
    """One for each text of a submission of `inputs_of`."""
    behind = count(len(texts))
    return [
        TextSubject(text, submission, index, next(behind) if text.turns else None) for index, text in enumerate(texts)
    ]


async def request_text(messages: Sequence[Message], scope: Scope, policy: Policy | None = None) -> JudgedText:
    """The judged part of a conversation, with the user's turns where a guard of `policy` reads them.

    Raises InvalidInput when nothing is new.
    """
    chosen = range(len(messages)) if scope is Scope.WHOLE_CONVERSATION else _new_turns(messages)
    parts = _parts(messages, chosen)
    conversation = await _with_earlier(messages, chosen[0], parts) if scope is Scope.NEW_TURNS else None
    text = replace(await join(Stage.REQUEST, parts), conversation=conversation)
    if policy is None or not policy.reads_turns:
        return text
    return replace(text, turns=await turns_of(messages, scope, policy.safe_messages.values()))


async def earlier_text(messages: Sequence[Message], scope: Scope) -> JudgedText | None:
    """The turns that `request_text` leaves out because they were judged before; None when there are none."""
    if scope is Scope.WHOLE_CONVERSATION:
        return None
    new = set(_new_turns(messages))
    earlier = [index for index in range(len(messages)) if index not in new]
    return await join(Stage.REQUEST, _parts(messages, earlier)) if earlier else None


async def _with_earlier(messages: Sequence[Message], first: int, new: Sequence[Stretch]) -> JudgedText | None:
    """New turns, from message `first` on, with the end of what was said before, where they are short."""
    earlier = end_of(_said_before(messages, first), MOST_ANSWERED - sum(len(one.text) for one in new))
    # not as a request: nobody judges it by itself, so it needs no readings
    return await join(Stage.RESPONSE, (*earlier, *new)) if earlier else None


def _said_before(messages: Sequence[Message], first: int) -> Iterator[Stretch]:
    """Newest first, so that a long history costs no more than what is read of it."""
    for index in range(first - 1, -1, -1):
        if messages[index].role is not Role.SYSTEM:
            yield from (one for one in reversed(stretches(index, messages[index].parts)) if one.text.strip())


async def candidate_text(candidate: Candidate, index: int) -> JudgedText:
    return await join(Stage.RESPONSE, stretches(index, candidate.parts))


def _parts(messages: Sequence[Message], chosen: Iterable[int]) -> list[Stretch]:
    return [one for index in chosen for one in stretches(index, messages[index].parts)]


def _new_turns(messages: Sequence[Message]) -> list[int]:
    answered = max((i for i, message in enumerate(messages) if message.role is Role.ASSISTANT), default=-1)
    new = [i for i in range(answered + 1, len(messages)) if messages[i].role is not Role.SYSTEM]
    if not new:
        what = "ends with an assistant message" if answered >= 0 else "holds only system messages"
        raise InvalidInput(
            f"the conversation {what}, so no turn is new",
            [
                FieldViolation(
                    "messages",
                    "end with a user or tool message and put the response to judge in candidates,"
                    " or set scope to SCOPE_WHOLE_CONVERSATION",
                )
            ],
        )
    return new
