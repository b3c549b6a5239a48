"""Leaked credentials: detect-secrets' patterns and a few newer ones, run on RE2.

Source: https://github.com/Yelp/detect-secrets (plugins' `denylist`). We depart from it:
- only the patterns are used, never its scanner, so that no secret is ever sent out to be verified;
- they run on RE2, since Python's `re` backtracks; look-around becomes a check of the neighbours;
- spans come from the match, because its values are not unique in a line (its GitHub value is "ghp");
- a token must not be a piece of a longer word, and a few demand a digit;
- its entropy and keyword plugins are left out: hashes and prose set them off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import re2
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.cloudant import CloudantDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.softlayer import SoftlayerDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

from guards.rules.patterns import compile_re2

Found = Iterator[tuple[int, int]]

_LOOK_BEHIND = r"(?:(?<=\W)|(?<=^))"
_LOOK_AHEAD = re.compile(r"\(\?!(\\w|\[[^\]]+\])\)")
_MAX_REPEAT = re.compile(r",(\d{4,})\}")  # RE2 stops at 1000
_WORD = re.compile(r"[A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re2._Regexp
    group: int  # the group that holds the secret; 0 is the whole match
    not_before: re.Pattern[str] | None = None  # a character that must not follow


@dataclass(frozen=True, slots=True)
class SecretKind:
    """`hints`, in lower case: a text without any of them holds no such secret."""

    hints: tuple[str, ...]
    patterns: tuple[_Pattern, ...]
    accepts: Callable[[str], bool]

    def find(self, text: str) -> Found:
        for pattern in self.patterns:
            for match in pattern.regex.finditer(text):
                start, end = match.span(pattern.group)
                if _cut_out(text, start, end, pattern) and self.accepts(text[start:end]):
                    yield start, end


def _cut_out(text: str, start: int, end: int, pattern: _Pattern) -> bool:
    """Whether [start, end) is a token of its own and not a piece of a longer word."""
    if pattern.not_before is not None and pattern.not_before.match(text, end):
        return False
    first_joins = start > 0 and _WORD.match(text, start) and _WORD.match(text, start - 1)
    return not first_joins and not (_WORD.match(text, end - 1) and _WORD.match(text, end))


def _translated(source: re.Pattern[str], group: int) -> _Pattern:
    pattern = source.pattern.replace(_LOOK_BEHIND, r"(?:^|\W)")
    ahead = _LOOK_AHEAD.search(pattern)
    pattern = _MAX_REPEAT.sub(",}", _LOOK_AHEAD.sub("", pattern))
    regex = compile_re2(pattern, case_sensitive=not source.flags & re.IGNORECASE)
    return _Pattern(regex, group, re.compile(ahead[1]) if ahead else None)


def _anything(_: str) -> bool:
    return True


def _has_digit(secret: str) -> bool:
    return any(char.isdigit() for char in secret)


def _aws_access_key(secret: str) -> bool:
    return secret.startswith(("AKIA", "A3T")) or _has_digit(secret)


def _kind(
    hints: tuple[str, ...],
    plugin: type[RegexBasedDetector] | None = None,
    *,
    group: int = 0,
    only: slice = slice(None),
    ours: tuple[str, ...] = (),
    accepts: Callable[[str], bool] = _anything,
) -> SecretKind:
    """`ours` are RE2 patterns that the plugin lacks; their first group is the secret."""
    theirs = [_translated(source, group) for source in list(plugin().denylist)[only]] if plugin else []
    return SecretKind(hints, (*theirs, *(_Pattern(compile_re2(pattern), 1) for pattern in ours)), accepts)


_PASSWORD_HINTS = ("key", "pwd", "pass", "token")

SECRET_KINDS: dict[str, SecretKind] = {
    "anthropic_key": _kind(("sk-ant-",), ours=(r"(sk-ant-[A-Za-z0-9_-]{32,})",)),
    "artifactory_credentials": _kind(
        ("akc", "ap"), ours=(r"(?:\s|=|:|\"|^)(AKC[a-zA-Z0-9]{10,}|AP[\dA-F][a-zA-Z0-9]{8,})",), accepts=_has_digit
    ),
    "aws_access_key": _kind(
        ("a3t", "abia", "acca", "akia", "asia"), AWSKeyDetector, only=slice(0, 1), accepts=_aws_access_key
    ),
    "aws_secret_key": _kind(
        ("aws",),
        AWSKeyDetector,
        group=1,
        only=slice(1, 2),
        ours=(r"(?i)aws.{0,20}?(?:secret|key|token).{0,20}?[=:]\s*([0-9a-zA-Z/+]{40})",),
    ),
    "azure_storage_key": _kind(("accountkey=",), AzureStorageKeyDetector),
    "basic_auth": _kind(("://",), BasicAuthDetector, group=1),
    "cloudant_credentials": _kind(("cl",), CloudantDetector, group=1),
    "discord_bot_token": _kind((".",), DiscordBotTokenDetector, accepts=_has_digit),
    "github_token": _kind(
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        GitHubTokenDetector,
        ours=(r"(github_pat_[A-Za-z0-9_]{22,255})",),
    ),
    "gitlab_token": _kind(("gl", "gr1348941"), GitLabTokenDetector),
    "google_api_key": _kind(("aiza",), ours=(r"(AIza[0-9A-Za-z_-]{35})",)),
    "hugging_face_token": _kind(("hf_",), ours=(r"(hf_[A-Za-z]{34})",)),
    "ibm_cloud_iam_key": _kind(_PASSWORD_HINTS, IbmCloudIamDetector, group=1, accepts=_has_digit),
    "ibm_cos_hmac": _kind(("secret",), IbmCosHmacDetector, group=1),
    # Its own pattern ends at the second dot and leaves the signature in the open.
    "jwt": _kind(
        ("eyj",),
        ours=(r"(eyJ[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_.+/=-]*[A-Za-z0-9_+/=-])?)",),
        accepts=JwtTokenDetector.is_formally_valid,
    ),
    "mailchimp_key": _kind(("-us",), MailchimpDetector),
    "npm_token": _kind(("_authtoken", "npm_"), NpmDetector, group=1, ours=(r"(npm_[A-Za-z0-9]{36})",)),
    "openai_key": _kind(
        ("sk-",), OpenAIDetector, ours=(r"(sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,})",), accepts=_has_digit
    ),
    "pypi_token": _kind(("pypi-",), PypiTokenDetector),
    "sendgrid_key": _kind(("sg.",), SendGridDetector),
    "slack_token": _kind(("xox", "hooks.slack.com"), SlackDetector),
    "softlayer_credentials": _kind(("sl", "softlayer"), SoftlayerDetector, group=1),
    "square_oauth_secret": _kind(("sq0csp-",), SquareOAuthDetector),
    "stripe_key": _kind(("k_live_",), StripeDetector, ours=(r"([rs]k_live_[0-9a-zA-Z]{24,247})",)),
    "telegram_bot_token": _kind((":",), TelegramBotTokenDetector),
    "twilio_key": _kind(("ac", "sk"), TwilioKeyDetector, accepts=_has_digit),
}

_KEY_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]:")
_KEY_END = re.compile(r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: *[0-9a-f]+")
_KEY_LINE = re.compile(r"(?:\s|\\n)*[A-Za-z0-9+/=]{16,}")


def find_private_keys(text: str) -> Found:
    """From BEGIN to END; without an END, the header and the lines of key material after it."""
    at = 0
    ended = True
    while (begin := _KEY_BEGIN.search(text, at)) is not None:
        end = _KEY_END.search(text, begin.end()) if ended else None
        ended = end is not None  # once no END is left there is none for later headers either
        at = end.end() if end else _key_material(text, begin.end())
        if at > begin.end():
            yield begin.start(), at


def _key_material(text: str, at: int) -> int:
    while (line := _KEY_LINE.match(text, at)) is not None:
        at = line.end()
    return at
