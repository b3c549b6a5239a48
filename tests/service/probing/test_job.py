"""What the service and its probe process say arrives as it was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import Settings, settings_from_json, settings_to_json
from service.probing.job import (
    Finished,
    Job,
    Message,
    Planned,
    Refused,
    UnitDone,
    decode,
    decode_job,
    encode,
    encode_job,
)

WORDS = st.text()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(WORDS, JSON, max_size=4)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Planned, st.dictionaries(WORDS, WORDS, max_size=3), st.integers(0)),
    st.builds(UnitDone, DOCUMENTS),
    st.builds(Finished, DOCUMENTS),
    st.builds(Refused, WORDS, WORDS),
)


@given(MESSAGES)
def test_a_message_arrives_as_it_was_said_in_one_line(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode(line)


@given(
    st.builds(Job, WORDS, WORDS, st.integers(), WORDS, st.none() | st.floats(0, 1e9), st.just(2), st.integers()),
    st.lists(DOCUMENTS, min_size=2, max_size=2),
)
def test_a_job_comes_with_its_units(job: Job, units: list[dict[str, Any]]) -> None:
    first, *rest = encode_job(job, units)
    assert decode_job(first) == job
    assert [json.loads(line) for line in rest] == units


def test_settings_reach_the_process_as_they_are() -> None:
    settings = Settings.model_validate(
        {
            "grpc": {"admin_tokens_file": "/secrets/admins"},
            "backend": {"kind": "openai", "base_url": "http://x/v1", "model": "m", "api_key_file": "/secrets/key"},
            "probing": {"schedules": [{"suite": "guard", "every": "24h"}, {"suite": "other", "cron": "0 3 * * 1"}]},
            "models": [
                {
                    "name": "toxic",
                    "source": "file:/models/toxic",
                    "kind": "classifier",
                    "input": "text",
                    "judges": ["request"],
                    "risk_labels": ["toxic"],
                }
            ],
        }
    )
    assert settings_from_json(settings_to_json(settings)) == settings
