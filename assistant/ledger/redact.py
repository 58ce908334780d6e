"""Secrets out, and untrusted text fenced: before the journal, the screen and the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

HIDDEN = "[secret-removed]"
_KEYWORD = (
    r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|auth[_-]?key|"
    r"private[_-]?key|credential|client[_-]?secret|jwt)"
)
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", HIDDEN),
    (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", HIDDEN),  # JWT: scontrol token
    (r"\bxox[a-z]-[\w-]{8,}|\bxapp-\d-[\w-]{8,}", HIDDEN),  # Slack
    (r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]+", HIDDEN),
    (r"\bhf_[A-Za-z0-9]{20,}|\bapi_org_[A-Za-z0-9]{20,}", HIDDEN),  # Hugging Face
    (r"\bnvapi-[\w-]{20,}", HIDDEN),  # NVIDIA NGC
    (r"\bgithub_pat_\w{20,}", HIDDEN),
    (r"\bsk-(?:[a-z]+-)*[\w-]{20,}", HIDDEN),  # OpenAI, Anthropic
    (r"\bAIza[\w-]{35}", HIDDEN),  # Google
    (r"\bwandb_v\d_\w{20,}", HIDDEN),
    (r"(\b[a-z][\w+.-]*:/{1,3}[^\s/:@]*):[^\s/@]+@", rf"\1:{HIDDEN}@"),  # a password in a URL (or a path made of it)
    (r"(?i)(\bauthorization\s*[:=]\s*(?:bearer|basic|token)?\s*|\bbearer\s+)[\w.~+/=-]{8,}", rf"\1{HIDDEN}"),
    (
        rf"(?i)((?<![A-Za-z])(?:[A-Za-z0-9]+[_-])*{_KEYWORD}(?:[_-][A-Za-z0-9]+)*['\"]?\s*[=:]\s*|"
        rf"--?{_KEYWORD}[= ])(?!\[secret-removed\])(\"[^\"]{{3,}}\"|'[^']{{3,}}'|[^\s\"',;&|]{{3,}})",
        rf"\1{HIDDEN}",
    ),
)
_DETECTORS = (
    "artifactory.ArtifactoryDetector", "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector",
    "discord.DiscordBotTokenDetector", "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector",
    "mailchimp.MailchimpDetector", "npm.NpmDetector", "openai.OpenAIDetector", "pypi_token.PypiTokenDetector",
    "sendgrid.SendGridDetector", "slack.SlackDetector", "square_oauth.SquareOAuthDetector", "stripe.StripeDetector",
    "telegram_token.TelegramBotTokenDetector", "twilio.TwilioKeyDetector",
)  # fmt: skip
"""Of detect-secrets; its entropy and keyword detectors take ordinary words of a log for secrets."""
_LONG = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}")
"""Every token of those detectors has such a part; without one they need not be imported (0.15 s)."""
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""ECMA-48: control sequences (colours, the cursor), and commands to the terminal (its title, links)."""
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and the marks that turn the direction of writing: a name must not repaint what is shown."""
_SECRET_NAME = re.compile(rf"(?i)(?:^|[_-]){_KEYWORD}(?:$|[_-])")


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern, re.DOTALL), put) for pattern, put in _PATTERNS)


@cache
def _detectors() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    parts = [name.split(".") for name in _DETECTORS]
    detectors = [getattr(import_module(f"detect_secrets.plugins.{module}"), kind)() for module, kind in parts]
    return tuple(pattern for detector in detectors for pattern in detector.denylist)


def redact(text: str) -> str:
    """``text`` without what looks like a token, key, password or connection string, and as text that a database and
    a terminal take: half a surrogate pair becomes ``?``, colours go, a control character becomes a space."""
    text = _UNSEEN.sub(" ", _ESCAPES.sub("", text.encode("utf-8", "replace").decode()))
    for pattern, put in _compiled():
        text = pattern.sub(put, text)
    if _LONG.search(text):
        for pattern in _detectors():
            text = pattern.sub(HIDDEN, text)  # the whole match: the detectors' groups may hold only a prefix
    return text


def redacted(value: Any) -> Any:
    """The same through lists and mappings; a value whose own name is a secret's (``HF_TOKEN``) goes as a whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            redacted(key): HIDDEN
            if isinstance(part, str) and part and _SECRET_NAME.search(str(key))
            else redacted(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value


def has_hidden(value: Any) -> bool:
    """Whether something was taken out of ``value``, so that it can no longer be carried out as it was said."""
    if isinstance(value, Mapping):
        return any(has_hidden(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(has_hidden(part) for part in value)
    return isinstance(value, str) and HIDDEN in value


def fence(text: str, label: str = "data") -> str:
    """``text`` marked as data that nobody has to obey; it cannot close the fence by itself."""
    inner = re.sub(r"</?\s*untrusted\b[^>]*>", "", redact(text), flags=re.IGNORECASE)
    source = re.sub(r"[^\w .:-]", "", label)
    return f'<untrusted source="{source}">\n{inner}\n</untrusted>'
