from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from service.backends.sampling import RowSampling, SeededSampling, draw_token, uniform  # noqa: E402

LOGITS = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))


def plain(**changes: float) -> RowSampling:
    return RowSampling(**{"temperature": 1.0, "top_p": 1.0, "top_k": None, "seed": 0} | changes)


def drawn(sampling: RowSampling, draws: int = 4000) -> dict[int, float]:
    counts = Counter(int(draw_token(LOGITS, sampling, uniform(sampling.seed, place))) for place in range(draws))
    return {token: count / draws for token, count in counts.items()}


def test_tokens_come_as_often_as_the_model_says() -> None:
    # 4000 draws: four standard deviations are 0.031 at p = 0.4.
    assert drawn(plain()) == pytest.approx({0: 0.1, 1: 0.4, 2: 0.2, 3: 0.3}, abs=0.031)


def test_a_temperature_below_one_sharpens() -> None:
    weights = [0.01, 0.16, 0.04, 0.09]  # squares of the probabilities
    expected = {token: weight / sum(weights) for token, weight in enumerate(weights)}
    assert drawn(plain(temperature=0.5)) == pytest.approx(expected, abs=0.031)


def test_top_k_leaves_the_k_likeliest() -> None:
    assert drawn(plain(top_k=2)) == pytest.approx({1: 4 / 7, 3: 3 / 7}, abs=0.031)


def test_top_p_leaves_the_smallest_set_that_holds_that_mass() -> None:
    assert drawn(plain(top_p=0.65)) == pytest.approx({1: 4 / 7, 3: 3 / 7}, abs=0.031)


def test_top_p_counts_within_what_top_k_left() -> None:
    # After top-k 2 the likeliest has 4/7 = 0.57 of the mass.
    assert drawn(plain(top_k=2, top_p=0.55)) == {1: 1.0}


def test_a_nucleus_wider_than_the_candidates_is_still_exact() -> None:
    flat = torch.zeros(2000)
    tokens = {int(draw_token(flat, plain(top_p=0.9), (place + 0.5) / 2000)) for place in range(2000)}
    assert len(tokens) == 1800


@given(st.integers(), st.integers(min_value=0, max_value=10**6))
def test_quantiles_lie_in_the_unit_interval(seed: int, position: int) -> None:
    assert 0.0 <= uniform(seed, position) < 1.0


@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=40),
    st.floats(0.01, 2),
    st.floats(0.01, 1),
    st.one_of(st.none(), st.integers(1, 50)),
    st.floats(0, 1, exclude_max=True),
)
def test_every_draw_is_possible(logits: list[float], temperature: float, top_p: float, top_k: int, at: float) -> None:
    scores = torch.tensor(logits)
    token = draw_token(scores, RowSampling(temperature, top_p, top_k, 0), at)
    assert torch.softmax(scores / temperature, -1)[token] > 0


def request(tokens_before: int, sampling: RowSampling | None, evicted: int = 0) -> SimpleNamespace:
    initial, generated = [0] * (7 + evicted), [0] * (tokens_before - evicted)
    options = {} if sampling is None else {"sampling": sampling}
    return SimpleNamespace(
        state=SimpleNamespace(initial_tokens=initial, generated_tokens=generated, logit_processor_kwargs=options)
    )


def next_tokens(*requests: SimpleNamespace) -> list[int]:
    processor = SeededSampling()
    argument = processor.prepare_tensor_args(list(requests))
    rows = torch.sin(torch.arange(500.0)).repeat(len(requests), 1)
    return [int(token) for token in processor(rows, argument).argmax(-1)]


def test_neighbours_and_evictions_change_no_draw() -> None:
    mine = plain(seed=11)
    (alone,) = next_tokens(request(5, mine))

    assert next_tokens(request(3, plain(seed=2)), request(5, mine), request(1, None))[1] == alone
    assert next_tokens(request(5, mine, evicted=4)) == [alone]


def test_rows_without_sampling_stay_greedy() -> None:
    likeliest = int(torch.sin(torch.arange(500.0)).argmax())
    assert next_tokens(request(2, plain(seed=4)), request(2, None))[1] == likeliest


def test_seeds_and_positions_draw_differently() -> None:
    by_seed = {next_tokens(request(5, plain(seed=seed)))[0] for seed in range(20)}
    by_position = {next_tokens(request(place, plain()))[0] for place in range(20)}
    assert len(by_seed) > 15
    assert len(by_position) > 15
