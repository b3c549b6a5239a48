from __future__ import annotations

import pytest

from guards.errors import ConfigError
from guards.probes.base import ProbeKind
from guards.probes.prompts.material import read_material
from guards.probes.reward.answers import Answers
from guards.probes.reward.formatting import STYLES, Formatting, FormattingConfig
from guards.probes.reward.length_bias import LengthBias, LengthBiasConfig, slope, tokens
from guards.probes.reward.prompt_ignoring import PromptIgnoring, PromptIgnoringConfig
from guards.probes.reward.refusal_bias import RefusalBias, RefusalBiasConfig
from guards.probes.reward.sycophancy import Opinions, Sycophancy, SycophancyConfig
from guards.refusals import is_refusal
from tests.guards.probes.fake_targets import FakeScores, measured, successes, targets, trials

_ITEMS = read_material(None, "reward_answers", Answers).items
_OWN = {item.prompt: item.better for item in _ITEMS}


def _good(prompt: str, response: str) -> float:
    """Pays for the better answer and for nothing else."""
    return float(_OWN.get(prompt) == response)


def test_a_reward_that_pays_for_length_is_found_with_its_slope() -> None:
    probe = LengthBias(LengthBiasConfig(name="length_bias"))
    paid = FakeScores(lambda prompt, response: 3 * _good(prompt, response) + 0.1 * tokens(response))
    rows = measured(probe, targets(scores=paid))
    assert all(trial.value == pytest.approx(0.1) for trial in trials(rows))
    assert successes(rows) > 0
    fair = measured(probe, targets(scores=FakeScores(_good)))
    assert successes(fair) == 0
    assert all(trial.value == 0 for trial in trials(fair))


def test_a_slope_is_of_the_least_squares_line() -> None:
    assert slope([1, 2, 3, 10], [2, 4, 6, 20]) == pytest.approx(2)
    assert slope([0, 1, 2], [1, 0, 1]) == pytest.approx(0)


def test_a_reward_that_pays_for_emoji_is_found_under_that_style_alone() -> None:
    probe = Formatting(FormattingConfig(name="formatting"))
    scores = FakeScores(lambda prompt, response: _good(prompt, response) + 5 * ("😀" in response))
    rows = measured(probe, targets(scores=scores))
    heads = 2
    assert successes(rows, style="emoji") == successes(rows) == heads * len(_ITEMS)
    assert {trial.value for trial in trials(rows, style="capitals")} == {0.0}


@pytest.mark.parametrize("style", STYLES)
def test_looks_add_no_word(style: str) -> None:
    text = "Put it into water. Then wait, e.g. six minutes. Done!"
    dressed = STYLES[style](text)
    assert dressed != text
    words = [word.strip(".!?,-*#") for word in dressed.lower().split()]
    added = {"answer"} if style == "markdown" else set()
    assert {word for word in words if word.isalpha()} - added <= {word.strip(".!?,-") for word in text.lower().split()}


def test_an_answer_that_was_ahead_before_is_not_the_looks_doing() -> None:
    rows = measured(
        Formatting(FormattingConfig(name="formatting")), targets(scores=FakeScores(lambda p, r: -_good(p, r)))
    )
    assert successes(rows) == 0
    assert all(trial.skipped for trial in trials(rows))


def test_a_flatterer_is_found_and_an_honest_reward_is_not() -> None:
    items = read_material(None, "sycophancy", Opinions).items
    honest, opinions = {item.honest for item in items}, [item.opinion for item in items]
    probe = Sycophancy(SycophancyConfig(name="sycophancy", heads=("helpfulness",)))
    fair = measured(probe, targets(scores=FakeScores(lambda prompt, response: float(response in honest))))
    assert successes(fair) == 0

    def flattering(prompt: str, response: str) -> float:
        return float(response in honest) * (-1 if prompt.startswith(tuple(opinions)) else 1)

    assert successes(measured(probe, targets(scores=FakeScores(flattering)))) == len(items)


def test_a_reward_that_loves_refusals_fails_the_safe_half_alone() -> None:
    probe = RefusalBias(RefusalBiasConfig(name="refusal_bias", heads=("response_reward",)))
    rows = measured(probe, targets(scores=FakeScores(lambda prompt, response: float(_refuses(response)))))
    assert successes(rows, half="safe") == len(trials(rows, half="safe", kind=ProbeKind.BENIGN)) > 0
    assert successes(rows, half="unsafe", kind=ProbeKind.ATTACK) == 0
    rows = measured(probe, targets(scores=FakeScores(lambda prompt, response: -float(_refuses(response)))))
    assert successes(rows, half="safe") == 0
    assert successes(rows, half="unsafe") == len(trials(rows, half="unsafe"))


def _refuses(response: str) -> bool:
    return is_refusal(response) or response.startswith(("No.", "I cannot", "As an assistant"))


def test_a_reward_that_does_not_read_the_prompt_is_found() -> None:
    probe = PromptIgnoring(PromptIgnoringConfig(name="prompt_ignoring", heads=("helpfulness",)))
    assert successes(measured(probe, targets(scores=FakeScores(_good)))) == 0
    blind = measured(probe, targets(scores=FakeScores(lambda prompt, response: 1.0)))
    assert successes(blind) == len(trials(blind)) == 3 * len(_ITEMS)


def test_every_head_that_reads_exchanges_is_asked_unless_the_suite_chooses() -> None:
    rows = measured(PromptIgnoring(PromptIgnoringConfig(name="prompt_ignoring")), targets())
    assert {row.setting.target for row in rows} == {"response_reward", "helpfulness"}
    for head in ("nobody", "request_risk"):
        probe = PromptIgnoring(PromptIgnoringConfig(name="prompt_ignoring", heads=(head,)))
        with pytest.raises(ConfigError, match="helpfulness"):
            measured(probe, targets())
