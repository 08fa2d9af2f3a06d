"""Makes untrusted text safe to show: no escape sequence, no undecoded byte, no credential."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    "HIDDEN",
    "SECRET",
    "cleaner",
    "holds_credentials",
    "in_one_line",
    "plain",
    "shown",
    "shown_below",
    "spelt",
    "without_credentials",
]

#: The text that replaces a credential.
HIDDEN = "(hidden)"
#: Bytes of a file name that are no text: Python reads the byte 0xe9 as this plus 0xe9.
SURROGATE_BYTES = 0xDC00
#: Shorter values of variables are no secrets; replacing them would break words.
SHORTEST = 8

#: A name whose value is secret, in a URL's query and elsewhere.
_PRIVATE = r"(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|credential)"
_PART = r"[\w.-]{0,60}"
_QUERY = (
    rf"(?:{_PART}(?:{_PRIVATE}|signature|auth){_PART}|sig|pass|pwd|code|pat|jwt|session|{_PART}key)"
)
#: In Azure's form a container stands before the `@`: abfs://container@account.dfs.core.windows.net.
_AZURE = r"(?<!abfs:)(?<!abfss:)(?<!wasb:)(?<!wasbs:)"
#: `user:password@` of a URL. A password may hold `/` and `@`; a port is no password.
_USER = re.compile(
    rf"(?<=:)(?:{_AZURE}//[^/\s'\"<>?#]{{0,300}}@"
    r"|//[^/\s'\"<>@:]{0,100}:(?!\d{1,5}(?:/|\s|$))[^\s'\"<>]{0,300}@)"
)
_PARAMETER = re.compile(rf"(?<=[?&;#])({_QUERY})=([^&;\s'\"<>#]{{1,2000}})", re.IGNORECASE)
#: `password=...` outside of a URL: in an override, in a library's message. A number is no secret,
#: nor is a list of them (`token` is also an axis of a model), and after a colon prose may follow.
_SETTING = re.compile(
    rf"((?:(?<=[^\w.\[\]-])|^)[\w.\[\]-]{{0,80}}{_PRIVATE}[\w-]{{0,40}}"
    r"(?:['\"]?\s?=\s?|['\"]\s?:\s?|:\s?(?=['\"]|\S{0,80}\d|\S{20})))"
    r"(?!\.\.\.|\(hidden\)|https?://|(?:null|none|true|false)\b|\[?[-+\d.,]+(?:\W|$))"
    r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s'\",;&)\]}]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"\b(authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:basic|bearer|token|digest)\s+)?[^\s'\",]+"
    r"|\b(bearer\s+)(?=\S{0,80}\d)[\w.~+/=-]{8,}",
    re.IGNORECASE,
)
#: Tokens that are known by their shape: Hugging Face, AWS, GitHub, GitLab, Slack, Google, a JWT.
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
#: The name of an option whose value is secret.
SECRET = re.compile(_PRIVATE, re.IGNORECASE)
_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def plain(text: str) -> str:
    r"""Return `text` with characters that move, colour or hide text spelt out, as `\x1b[2J`.

    Newlines and tabs stay. Control characters (C0, C1, DEL), marks that turn the direction of
    text, and surrogates become Python's escapes; bytes of a file name that are no text become
    escapes of those bytes: `caf\xe9.wav`.
    """
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" or _harmless(c) else spelt(c) for c in text)


def in_one_line(name: str) -> str:
    r"""Return a name or a path on one line: as `plain`, with line breaks and tabs spelt out, too.

    A file may be called `a\nb.wav`: whoever shows a name uses this, so that it ends no line.
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() or _harmless(c) else spelt(c) for c in name)


def without_credentials(text: str) -> str:
    """Return `text` without passwords and tokens, as far as they can be recognised.

    That is those in URLs, in settings and headers, those of a known shape, and the values of
    environment variables that are named as secrets.
    """
    return _without(text, _secrets())


def _without(text: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        text = text.replace(value, "...")
    if "://" in text and "@" in text:
        text = _USER.sub("//", text)
    if "=" in text or ":" in text:
        text = _PARAMETER.sub(rf"\1={HIDDEN}", text)
        text = _SETTING.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def _secrets() -> tuple[str, ...]:
    """Return the values of the environment variables that are named as secrets."""
    values = (os.environ.get(name, "") for name in os.environ if _is_secret(name))
    return tuple(value for value in values if len(value) >= SHORTEST)


@functools.cache
def _is_secret(name: str) -> bool:
    """Return whether an environment variable of this name holds a secret."""
    return bool(_VARIABLE.search(name))


def holds_credentials(text: str) -> bool:
    """Return whether a URL in `text` holds a user with a password, or a secret in its query."""
    return "://" in text and bool(_USER.search(text) or _PARAMETER.search(text))


def shown(text: str) -> str:
    """Return `text` as a person may see it, on any screen and in any file."""
    return plain(without_credentials(text))


def cleaner() -> Callable[[str], str]:
    """Return a function like `shown` that reads the environment once, for many texts."""
    secrets = _secrets()
    return lambda text: plain(_without(text, secrets))


def shown_below(node: Any, clean: Callable[[str], str] | None = None) -> Any:
    """Return plain data (dicts, lists, scalars) with every text, keys too, as it may be shown.

    `clean` takes the place of `shown`.
    """
    clean = clean or cleaner()
    if isinstance(node, str):
        return clean(node)
    if isinstance(node, Mapping):
        return {shown_below(key, clean): shown_below(one, clean) for key, one in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(shown_below(one, clean) for one in node)
    return node


def _harmless(character: str) -> bool:
    """Return whether a character that Python does not call printable only takes up room."""
    # Joiners belong to the letters of Persian and to pictures; they hide nothing.
    return unicodedata.category(character) == "Zs" or character in "\u200c\u200d"


def spelt(character: str) -> str:
    r"""Return the escape of a character that is not shown as it is: `\x1b`, `\xe9`, `\u202e`."""
    byte = ord(character) - SURROGATE_BYTES
    if 0x80 <= byte <= 0xFF:  # noqa: PLR2004
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape", errors="backslashreplace").decode()
