from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from subjects import subject

from guards.rules.sensitive import DEFAULT_ENTITIES, Entity, SensitiveDataConfig, SensitiveDataGuard
from guards.types import Action, Span
from tests.growth import grows_linearly

_GUARD = SensitiveDataGuard(SensitiveDataConfig())
_EVERYTHING = SensitiveDataGuard(SensitiveDataConfig(entities=tuple(Entity)))
_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcdefghijklmnop+/==\n-----END RSA PRIVATE KEY-----"
_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
_HEX64 = "0123456789abcdef" * 4
_MIX = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2rS5tU8wX1zA4cD7fG0iM3oR6qV9xY2"

# One value of each kind, and a text that holds it.
FOUND = [
    ("email_address", "bob.o'neil+x@mail.example.co.uk", "Write to {}."),
    ("email_address", "имя@почта.рф", "Пишите на {}"),
    ("phone_number", "415-555-2671", "call {} 2nd time"),
    ("phone_number", "415-555-2671", "on 2024-01-15 {}"),
    ("phone_number", "415-555-2671", "{} 2024-01-15 is when"),
    ("phone_number", "(415) 555-2671", "Ring {}, please"),
    ("phone_number", "+44 20 7946 0958", "{}"),
    ("phone_number", "4155552671", "my phone number is {}"),
    ("payment_card", "4111 1111 1111 1111", "card {} exp 12/27"),
    ("payment_card", "5555-5555-5555-4444", "pay with {} 2nd time"),
    ("payment_card", "378282246310005", "amex {}"),
    ("iban", "DE89 3704 0044 0532 0130 00", "IBAN {} BIC COBADEFF"),
    ("iban", "GB82WEST12345698765432", "to {}."),
    ("us_ssn", "536-90-4399", "ssn {}"),
    ("us_ssn", "536904399", "social security number: {}"),
    ("private_key", _PEM, "here:\n{}\nbye"),
    ("private_key", _PEM.rpartition("\n")[0], "cut off: {}"),
    ("anthropic_key", f"sk-ant-api03-{_MIX[:60]}", "key {}"),
    ("artifactory_credentials", "AKCp8" + _MIX[:20], "X: {} "),
    ("aws_access_key", "AKIAIOSFODNN7EXAMPLE", "id={}"),
    ("aws_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = {}"),
    ("aws_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 'AWS_SECRET_KEY: "{}"'),
    ("azure_storage_key", "AccountKey=" + (_MIX + _MIX)[:86] + "==", "AccountName=x;{};"),
    ("basic_auth", "hunter2", "postgres://admin:{}@db.host/x"),
    ("cloudant_credentials", _HEX64, "cloudant_password={}"),
    ("discord_bot_token", f"M{_MIX[:23]}.{_MIX[:6]}.{_MIX[:27]}", "token {}"),
    ("github_token", f"ghp_{_MIX[:36]}", "use {}!"),
    ("github_token", f"github_pat_{_MIX[:60]}", "use {}!"),
    ("gitlab_token", f"glpat-{_MIX[:20]}", "{}"),
    ("gitlab_token", f"glagent-{_MIX[:60]}", "{}"),
    ("google_api_key", f"AIza{_MIX[:35]}", "key={}&x=1"),
    ("hugging_face_token", "hf_" + "aBcDeFgHiJ" * 3 + "kLmN", "login {}"),
    ("ibm_cloud_iam_key", _MIX[:44], "ibm_cloud_api_key: {}"),
    ("ibm_cos_hmac", _HEX64[:48], "cos_secret_access_key = {}"),
    ("jwt", _JWT, "Authorization: Bearer {}"),
    ("mailchimp_key", f"{_HEX64[:32]}-us12", "key {}"),
    ("npm_token", f"npm_{_MIX[:36]}", "publish with {}"),
    ("openai_key", f"sk-{_MIX[:20]}T3BlbkFJ{_MIX[:20]}", "OPENAI {}"),
    ("openai_key", f"sk-proj-{_MIX[:60]}", "OPENAI {}"),
    ("pypi_token", f"pypi-AgEIcHlwaS5vcmc{_MIX}", "{}"),
    ("sendgrid_key", f"SG.{_MIX[:22]}.{_MIX[:43]}", "{}"),
    ("slack_token", "xoxb-123456789012-123456789012-abcdef", "{}"),
    ("slack_token", "https://hooks.slack.com/services/T000/B000/XXXX", "post to {}"),
    ("softlayer_credentials", _HEX64, "softlayer_api_key={}"),
    ("square_oauth_secret", f"sq0csp-{_MIX[:43]}", "{}"),
    ("stripe_key", f"sk_live_{_MIX[:24]}", "{}"),
    ("stripe_key", f"rk_live_{_MIX[:60]}", "{}"),
    ("telegram_bot_token", f"110201543:{_MIX[:35]}", "{}"),
    ("twilio_key", f"AC{_HEX64[:32]}", "sid {}"),
]

BENIGN = [
    "Upgrade to version 10.15.7 (build 19H2026) before 2024-01-15 10:30:00.",
    "Order 20240115-123456 shipped with tracking 1Z999AA10123456784.",
    "The UUID is 123e4567-e89b-12d3-a456-426614174000, not 00000000-0000-0000-0000-000000000000.",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709 fixes it",
    "md5 d41d8cd98f00b204e9800998ecf8427e of the empty file",
    "ISBN 978-3-16-148410-0 and ISSN 2049-3630",
    "Timestamps 1700000000, 1700000000000 and 1700000000000000 are in s, ms and us.",
    "pi is 3.14159265358979323846 and e is 2.718281828459045235360",
    "for i in range(1000000): total += 12345678 * 87654321",
    "The server listens on 192.168.100.200:8080 and 10.0.0.1.",
    "git clone git@github.com:org/repo.git && systemctl status getty@tty1.service",
    "@app.route('/x') decorates; pip install foo@git+https://host/repo; npm i react@18.2.0",
    "docker pull image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "A file that starts with BEGIN RSA PRIVATE KEY is a key.",
    "Look for the line -----BEGIN PRIVATE KEY----- in the file.",
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQ\n-----END CERTIFICATE-----",
    "std::vector<int> v{1, 2, 3}; v.at(2) == 3;",
    "x = 0x1F4A9; y = 0b101010; z = 1e-10; w = 6.02214076e23",
    "Flight LH400 leaves at 10:55, gate 24, seat 31A, booking ABC123.",
    "Population: 331 449 281 people over 9 833 520 square kilometres.",
    "Revenue rose from 1,234,567,890 to 2,345,678,901 dollars.",
    "Ports 8000-8100 and 9000-9100 are open; PID 12345; exit 137.",
    "Coordinates 40.7128, -74.0060 and 51.5074, -0.1278",
    "https://example.com:8080/path?id=12345678&page=2#section-10",
    "See https://docs.python.org/3.11/library/re.html at line 1234.",
    "The regex \\d{3}-\\d{2}-\\d{4} matches numbers.",
    "SSN 000-12-3456 and 666-12-3456 cannot exist.",
    "Serial 536-90-4399-17 and part A-536-90-4399 are in stock.",
    "The test number 4111 1111 1111 1112 has a wrong check digit.",
    "APARTMENTSXYZ and APACHESPARK are words; AKC is a kennel club.",
    "ASIAPACIFICMARKETGROW and AKIA are no keys.",
    "The key is in the password manager, and the token: see the vault.",
    "password: correct horse battery staple",
    "const token = process.env.API_TOKEN; // never write it here",
    "curl -H 'Authorization: Bearer $TOKEN' https://api.host/v1",
    "aws s3 cp s3://bucket/key . --profile default",
    "eyJ is how a JSON Web Token starts; a.b.c is its shape.",
    "Matrix [[1, 2, 3], [4, 5, 6], [7, 8, 9]] has determinant 0.",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "0000 0000 0000 0000 and 1234 5678 1234 5678",
    "Python 3.11.9, torch 2.13.0+cpu, CUDA 12.4, driver 550.54.15",
    "2024-01-15T10:30:00.123456Z INFO 20240115103000 done in 1234567 us",
    "GPU memory 143771 MiB; 4194304 tokens; lr 3e-4; seed 1234567890",
    "1:00  1\n       1 2065-01-01 10:20:00  2024-01-01 00:00:00.0  01/02/2024 12:30",
    "n=1000000: 1,295,176.3266261867 of (github.com/nodejs/node/commit/5305831184)",
    "Chapter 12.3.4.5 covers section 7.1.2.10 in pages 100-110.",
]


def _found(guard: SensitiveDataGuard, text: str) -> list[tuple[str, str]]:
    return [(match.entity.value, text[match.start : match.end]) for match in guard.find(text)]


@pytest.mark.parametrize(("entity", "value", "text"), FOUND, ids=[f"{row[0]}-{at}" for at, row in enumerate(FOUND)])
def test_each_kind_is_found_with_exact_bounds(entity: str, value: str, text: str) -> None:
    assert _found(_GUARD, text.format(value)) == [(entity, value)]


def test_every_default_kind_has_an_example_here() -> None:
    assert {row[0] for row in FOUND} == {entity.value for entity in DEFAULT_ENTITIES}


@pytest.mark.parametrize("text", BENIGN)
def test_honest_technical_text_holds_nothing_sensitive(text: str) -> None:
    assert _found(_GUARD, text) == []


def test_addresses_are_found_on_request() -> None:
    guard = SensitiveDataGuard(SensitiveDataConfig(entities=(Entity.IPV4_ADDRESS, Entity.IPV6_ADDRESS)))
    text = "from 192.168.1.20 to 2001:db8::ff00:42:8329, at 10:30:00, not 999.1.1.1 or std::cout"
    assert _found(guard, text) == [("ipv4_address", "192.168.1.20"), ("ipv6_address", "2001:db8::ff00:42:8329")]


def test_only_the_asked_kinds_are_found() -> None:
    guard = SensitiveDataGuard(SensitiveDataConfig(entities=(Entity.IBAN,)))
    assert _found(guard, "bob@example.com GB82WEST12345698765432 415-555-2671") == [("iban", "GB82WEST12345698765432")]


def test_telephone_numbers_follow_the_configured_regions() -> None:
    french = SensitiveDataGuard(SensitiveDataConfig(regions=("FR",)))
    assert _found(french, "appelez 06.12.34.56.78 !") == [("phone_number", "06.12.34.56.78")]
    assert _found(_GUARD, "appelez 06.12.34.56.78 !") == []


@pytest.mark.parametrize("bad", [{"regions": ("XX",)}, {"entities": ("shoe_size",)}, {"action": "allow"}, {"extra": 1}])
def test_a_wrong_setting_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SensitiveDataConfig.model_validate(bad)


async def test_a_finding_per_kind_has_every_occurrence_and_its_replacement() -> None:
    text = "a@b.com or 415-555-2671 or c@d.org"
    mail, phone = sorted(await _GUARD.evaluate(subject(text)), key=lambda finding: finding.category)
    assert (mail.category, mail.action, mail.replacement) == ("email_address", Action.REDACT, "[EMAIL_ADDRESS]")
    assert mail.spans == (Span(0, 0, 0, 7), Span(0, 0, 27, 34))
    assert (phone.category, phone.spans) == ("phone_number", (Span(0, 0, 11, 23),))
    assert mail.rule == "sensitive_data"


async def test_spans_point_into_the_text_as_it_was_sent() -> None:
    text = "mail b\u200bo\u200bb@ехample.com 😀"
    (finding,) = await _GUARD.evaluate(subject(text))
    (span,) = finding.spans
    assert text[span.start : span.end] == "b\u200bo\u200bb@ехample.com"


async def test_scores_are_never_asked_for() -> None:
    judged = subject("a@b.com")
    await _GUARD.evaluate(judged)
    assert not _GUARD.uses_scores
    assert judged.asked_scores == 0


async def test_long_texts_are_judged_as_short_ones() -> None:
    text = "word " * 2_000 + "bob@example.com"
    (finding,) = await _GUARD.evaluate(subject(text))
    assert finding.spans == (Span(0, 0, 10_000, 10_015),)


@given(st.lists(st.sampled_from([row[2].format(row[1]) for row in FOUND] + BENIGN) | st.text(max_size=20), max_size=5))
def test_occurrences_are_in_order_within_the_text_and_never_overlap(pieces: list[str]) -> None:
    text = subject(" ".join(pieces)).text.text
    end = 0
    for match in _EVERYTHING.find(text):
        assert end <= match.start < match.end <= len(text)
        end = match.end
    assert _EVERYTHING.find(text) == _EVERYTHING.find(text)


_PUMPED = [
    "a", "1", "1 ", "1-", "a@", "a.", "@", "a@a.", "://a:", "eyJ", "eyJa.", "AKIA", "aws key ", "aws_key='", "-", "(1",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n" + "A" * 20 + "\n", "//a/:_authToken=", "xoxb-1-",
    "glpat-", "sk-", "key=", "key ", "secret_key ", "cl_key ", "1:", "AC", "ap", "DE89 ", "A1 ", "123-45-", "1.1.1.1.",
    "::", "a:", "Private", "call ", "call 1", "\n", " ", "M" + "a" * 24 + ".", "https://hooks.slack.com/services/T",
]  # fmt: skip


@pytest.mark.parametrize("unit", _PUMPED)
def test_no_text_takes_more_than_linear_time(unit: str) -> None:
    assert grows_linearly(unit, _EVERYTHING.find, str)
