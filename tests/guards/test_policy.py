from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.policy import load_policy
from guards.types import Action, Enforcement, FailMode
from tests.fakes import HEADS, REWARD_POLICY, write_policy
from tests.plugin_guards import installed

GUARD = "{kind: reward, name: risk, head: request_risk, thresholds: {block: 0.8}}"
WORDS = "{kind: patterns, name: words, category: word, keywords: [bomb]}"


def policy(request: str = GUARD, head: str = 'name: p\nversion: "1"', more: str = "") -> str:
    return f"{head}\nrequest:\n  - {request}\n{more}\n"


def guard(old: str, new: str) -> str:
    assert old in GUARD
    return policy(GUARD.replace(old, new))


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (policy(more="colour: red"), "colour", "Extra inputs"),
        (policy("{kind: magic, name: risk}"), "request.0", "no guard kind of that name; known: "),
        (policy("{name: risk}"), "request.0", "no guard kind"),
        (policy("[]"), "request.0", "a guard is a mapping"),
        (policy(GUARD[:-1] + ", colour: red}"), "request.0", "colour"),
        (policy(GUARD[:-1] + ", settings: {}}"), "request.0", "a guard is a mapping"),
        (policy(WORDS[:-1] + ", colour: red}"), "request.0", "colour"),
        (guard("request_risk", "nothing"), "risk", "does not judge the request side; these do: request_risk"),
        (guard("request_risk", "response_reward"), "risk", "does not judge the request side"),
        (guard("block: 0.8", "block: 1.5"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: 0"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: -1"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: .nan"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: .inf"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: high"), "request.0", "thresholds.block"),
        (guard("block: 0.8", ""), "request.0", "thresholds"),
        (guard("block: 0.8", "redact: 0.8"), "request.0", "'redact'"),
        (guard("block: 0.8", "allow: 0.8"), "request.0", "'allow'"),
        (guard("block: 0.8", "explode: 0.8"), "request.0", "no action 'explode'; one of allow, flag"),
        (guard("name: risk", "name: Ri sk"), "request.0.name", "pattern"),
        (guard("name: risk, ", ""), "request.0", "name"),
        (policy(f"{GUARD}\n  - {GUARD}"), "file", "two guards of one side have the same name"),
        (policy(GUARD[:-1] + ", on_error: maybe}"), "request.0.on_error", "'closed' or 'open'"),
        (policy(GUARD[:-1] + ", on_error: {crash: open}}"), "request.0.on_error.crash", "Extra inputs"),
        (policy(GUARD[:-1] + ", timeout_s: 0}"), "request.0.timeout_s", "greater than 0"),
        (policy(GUARD[:-1] + ", timeout_s: .nan}"), "request.0.timeout_s", ""),
        (policy(GUARD[:-1] + ", enforcement: off}"), "request.0.enforcement", "'enforce' or 'shadow'"),
        ('name: p\nversion: "1"\n', "file", "a policy without guards would allow everything"),
        (policy(head="name: p\nversion: 1"), "version", 'quote the version, as in version: "1"'),
        (policy(head="name: p\nversion: 1.10"), "version", "quote the version"),
        (policy(head="name: p\nversion: 2026-01-01"), "version", "string"),
        (policy(head='name: p\nversion: "a b"'), "version", "pattern"),
        (policy(head="name: p"), "version", "required"),
        (policy(head='version: "1"'), "name", "required"),
        (policy(head='name: "../p"\nversion: "1"'), "name", "pattern"),
        (policy(more="safe_messages: {de: Nein.}"), "file", 'safe_messages needs "en"'),
        (policy(more="coverage: {on_incomplete: allow}"), "coverage.on_incomplete", "'block' or 'flag'"),
        (policy(more="generate: {candidates: 9}"), "generate.candidates", "less than or equal to 8"),
        (policy(more="generate: {max_regenerations: -1}"), "generate.max_regenerations", "greater than or equal to 0"),
        ("", "file", "dictionary"),
        ("- a list\n", "file", "dictionary"),
        ("name: [unclosed\n", "", "not valid YAML"),
        ("[" * 3000, "", "not valid YAML"),
        ("\x00", "", "not valid YAML"),
        ("name: !!python/object/apply:os.system [id]\n", "", "not valid YAML"),
        (policy(more="description: 2026-99-99"), "", "not valid YAML"),
        (guard("block: 0.8", "block: {calibration: Sh op}"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: {threshold: 0.8}"), "request.0", "thresholds.block"),
        (guard("block: 0.8", "block: [0.8]"), "request.0", "thresholds.block"),
        (
            guard("block: 0.8", "block: {calibration: a}, flag: {calibration: b}"),
            "request.0",
            "one calibrated threshold",
        ),
        (policy(GUARD[:-1] + ", on_expired: open}"), "request.0", "on_expired"),
        (policy(GUARD[:-1] + ", on_drift: ignore}"), "request.0", "on_drift"),
        (policy("{kind: patterns, name: w, category: c, patterns: ['(']}"), "'w'", "patterns[0] is not RE2 syntax"),
        (policy("{kind: patterns, name: w, category: c, action: allow, keywords: [a]}"), "request.0", "ALLOW"),
        (policy("{kind: patterns, name: w, category: c}"), "request.0", "at least one keyword or pattern"),
    ],
)
def test_a_wrong_policy_is_refused_with_file_place_and_fault(tmp_path: Path, text: str, place: str, what: str) -> None:
    file = write_policy(tmp_path, text, "wrong.yaml")
    with pytest.raises(ConfigError) as refused:
        load_policy(file, HEADS)
    said = str(refused.value)
    assert said.startswith(f"{file}: ")
    assert place in said
    assert what in said
    assert "input_value" not in said
    assert "errors.pydantic.dev" not in said


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    file = write_policy(tmp_path, policy(GUARD[:-1] + ", timeout_s: 0, on_error: no}", more="colour: red"))
    with pytest.raises(ConfigError, match=r"request\.0\.timeout_s.*request\.0\.on_error.*colour"):
        load_policy(file, HEADS)


@pytest.mark.parametrize("make", [lambda file: None, lambda file: file.mkdir()])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "p.yaml"
    make(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(file, HEADS)


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(b"name: \xff\xfe\x80")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_policy(file, HEADS)


def test_a_policy_is_what_its_file_says(tmp_path: Path) -> None:
    file = write_policy(
        tmp_path,
        """
        name: strict
        version: "2.1"
        enforcement: shadow
        request:
          - kind: reward
            name: risk
            head: request_risk
            thresholds: {flag: 0.2, block: 0.9, escalate: 0.5}
            enforcement: shadow
            timeout_s: 0.5
            on_error: {timeout: open}
          - {kind: patterns, name: words, category: word, keywords: [bomb], on_error: open}
        coverage: {on_incomplete: flag}
        generate: {candidates: 3, max_regenerations: 0}
        rank_by: other
        safe_messages: {en: No., de: Nein., pt-BR: Não.}
        """,
    )
    policy = load_policy(file, HEADS)
    risk, words = policy.request
    assert (policy.name, policy.version, policy.enforcement) == ("strict", "2.1", Enforcement.SHADOW)
    assert policy.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (risk.guard.name, risk.enforcement, risk.timeout_s) == ("risk", Enforcement.SHADOW, 0.5)
    assert [risk.on_error.mode(kind) for kind in ("timeout", "internal")] == [FailMode.OPEN, FailMode.CLOSED]
    assert [words.on_error.mode(kind) for kind in ("timeout", "internal")] == [FailMode.OPEN, FailMode.OPEN]
    assert (words.enforcement, words.timeout_s) == (Enforcement.ENFORCED, 10.0)
    assert (policy.incomplete, policy.candidates, policy.max_regenerations) == (Action.FLAG, 3, 0)
    assert (policy.rank_by, policy.response) == ("other", ())
    assert [policy.safe_message(x) for x in ("de-CH", "DE", "pt-BR", "fr", "")] == [
        "Nein.",
        "Nein.",
        "Não.",
        "No.",
        "No.",
    ]


def test_what_a_policy_leaves_out_is_strict(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path), HEADS)
    (risk,) = policy.request
    assert policy.enforcement is risk.enforcement is Enforcement.ENFORCED
    assert risk.on_error.mode("timeout") is risk.on_error.mode("error") is FailMode.CLOSED
    assert policy.incomplete is Action.BLOCK


def test_the_digest_changes_with_every_byte(tmp_path: Path) -> None:
    before = load_policy(write_policy(tmp_path), HEADS)
    after = load_policy(write_policy(tmp_path, REWARD_POLICY + "# a remark\n"), HEADS)
    assert before.digest != after.digest


@pytest.fixture
def _plugin(tmp_path: Path) -> Iterator[None]:
    with installed(tmp_path / "site"):
        yield


@pytest.mark.usefixtures("_plugin")
def test_a_policy_may_name_a_kind_that_a_package_brings(tmp_path: Path) -> None:
    policy = load_policy(
        write_policy(tmp_path, 'name: p\nversion: "1"\nrequest: [{kind: plugin, name: x, does: hang}]'), HEADS
    )
    assert policy.request[0].guard.name == "x"
