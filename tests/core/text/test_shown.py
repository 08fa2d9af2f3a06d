"""Text of others is shown without what a terminal obeys and without what is a secret."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import LuthierError
from core.text.shown import (
    holds_credentials,
    in_one_line,
    plain,
    shown,
    shown_below,
    without_credentials,
)

#: Every kind of text: control characters, marks of direction, and bytes that are no text.
ANY = st.text(st.characters(codec=None), max_size=60)


@given(ANY)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """The text has no control or format character and no surrogate, encodes, and is stable."""
    told = plain(text)
    told.encode("utf-8")
    for character in told:
        kind = unicodedata.category(character)
        assert character in "\n\t\u200c\u200d" or kind not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    assert plain(told) == told


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=60))
def test_a_persons_own_words_stay(text: str) -> None:
    """Letters of any script, digits, signs and pictures are shown as they are."""
    assert plain(text) == text


def test_a_name_stays_in_its_line() -> None:
    """A song may have a newline in its name."""
    assert in_one_line("new\nline\t.wav") == "new\\nline\\t.wav"


def test_a_message_keeps_its_names_on_one_line() -> None:
    """A name in backticks and a place end no line of a message; what a library says may."""
    error = LuthierError("`a\nb.wav` is damaged", "at: /songs/a\nb.wav", "first\nsecond")
    assert str(error).split("\n") == [
        r"`a\nb.wav` is damaged",
        r"  at: /songs/a\nb.wav",
        "  first",
        "second",
    ]


@given(st.text())
def test_a_name_is_one_line(text: str) -> None:
    """A name is shown as `plain` text is, and ends no line."""
    assert len(in_one_line(text).splitlines()) <= 1
    assert plain(in_one_line(text)) == in_one_line(text)


def test_a_name_that_is_no_utf_8_is_spelt_byte_by_byte() -> None:
    """A name that is not UTF-8 is spelt in the system's bytes, not in Python's surrogates."""
    assert plain(b"caf\xe9.wav".decode("utf-8", "surrogateescape")) == r"caf\xe9.wav"


SECRETS = [
    "https://ana:hunter2@host/x",
    "s3://AKIDEXAMPLE:hun/ter2+x=@bucket/prefix",
    "postgresql://ana:p@hunter2@host:5432/db",
    "redis://:hunter2@host",
    "https://hunter2@host/x",
    "abfs://container:hunter2@account/x",
    "https://host/x?a=1&token=hunter2&b=2",
    "https://host/x?X-Amz-Signature=hunter2",
    "https://host/x?sig=hunter2&se=2027",
    "https://host/x?api_key=hunter2",
    "password=hunter2",
    "hydra.launcher.ray.init._redis_password=hunter2",
    "hub.token='hunter2'",
    "{'aws_secret_access_key': 'hunter2 x'}",
    '"api-key": "hunter2"',
    "password: hunter2",
    "Authorization: Basic hunter2",
    "authorization=Bearer hunter2",
    "bearer hunter2hunter2",
]


@pytest.mark.parametrize("before", ["", "cannot reach ", "dataset.path=", "('"])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_credential_is_repeated(secret: str, before: str) -> None:
    """Credentials in a URL, a query, a setting or a header are hidden, whatever precedes them."""
    assert "hunter2" not in without_credentials(f"{before}{secret} and so on")


@pytest.mark.parametrize(
    "token",
    [
        "hf_" + "aB3" * 10,
        "AKIA" + "ABCD" * 4,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 9,
        "eyJ" + "hbGciOiJI" + ".eyJzdWIiOiIx.SflKxwRJ",
    ],
)
def test_a_token_is_known_by_its_shape(token: str) -> None:
    """A token is recognised by its shape at any place."""
    assert token not in without_credentials(f"weights of {token}: no")


def test_values_of_secret_variables_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of secret variables are hidden if they are long enough to be a secret."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", "swordfish!")
    monkeypatch.setenv("SHORT_KEY", "on")
    assert without_credentials("it said swordfish! on line 1") == "it said ... on line 1"


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/a/b@c",
        "abfs://container@account.dfs.core.windows.net/x",
        "sqlite:////home/a@b/runs.db",
        "https://[::1]:8080/x",
        "write to ana@host, or see https://host/x?page=2&sort=up",
        "model.max_tokens=8",
        "runtime.profiles=[{ids_token: [1, 4, 8], mask_token: [1, 4, 8]}]",
        "the token: where it was",
        "set MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        "give one: hub.token=...",
        "chunker.length=22528 precision=int8",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Ports, containers, mail addresses, numbers and prose are not hidden."""
    assert without_credentials(text) == text
    assert not holds_credentials(text)


@pytest.mark.parametrize("url", [one for one in SECRETS if "://" in one])
def test_a_url_with_a_secret_is_told_from_one_without(url: str) -> None:
    """A URL with a secret is recognised, so that options can refuse it."""
    assert holds_credentials(f"reporter.mlflow.uri={url}")


@given(ANY)
def test_hiding_is_stable(text: str) -> None:
    """Hiding twice gives the same text as hiding once."""
    told = shown(text)
    assert shown(told) == told


def test_nested_data_is_cleaned_with_its_keys() -> None:
    """Secrets are hidden in lists, tuples and mappings, keys included, which keep their shape."""
    assert shown_below({"a\x1b": ["\r", ("x", 1.5, None)]}) == {
        "a\\x1b": ["\\r", ("x", 1.5, None)],
    }


@pytest.mark.parametrize(
    "text", ["://a:" * 20_000, "a.token-" * 10_000, "?key" * 20_000, "bearer " * 10_000]
)
def test_a_long_text_made_to_be_slow_is_not(text: str) -> None:
    """A long text takes no quadratic time: no pattern scans the rest from every place."""
    started = time.process_time()
    shown(text + "@")
    assert time.process_time() - started < 2
