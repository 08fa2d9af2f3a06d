from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core import LuthierError
from plugins.runtime.qai_hub import QaiHub
from plugins.vendor.qai_hub.account import find_account
from tests.hub.account import loopback_only
from tests.hub.cloud import TOKEN, Cloud

SECRET = "s3cr3t-t0ken"  # noqa: S105  # belongs to no account


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the client's configuration, on a machine that has none."""
    loopback_only(monkeypatch)
    for name in ("QAI_HUB_API_TOKEN", "QAI_HUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QAIHUB_CLIENT_INI", str(tmp_path / "client.ini"))
    return tmp_path / "client.ini"


def test_without_a_token_the_message_says_where_one_goes(bare: Path) -> None:
    """Without a token, the error names both places for one and where to get it.

    The doctor says the same as a warning: what needs one cannot run.
    """
    with pytest.raises(LuthierError, match="no token for Qualcomm AI Hub") as told:
        find_account()
    assert str(bare) in str(told.value)
    assert "QAI_HUB_API_TOKEN" in str(told.value)
    assert "/account/" in str(told.value)
    (notice,) = QaiHub.findings()
    assert notice.severity == "warning"
    assert "qai-hub configure" in notice.text


def test_the_clients_own_configuration_is_read(bare: Path) -> None:
    """Token and address come from the file that `qai-hub configure` writes."""
    bare.write_text(f"[api]\napi_token = {SECRET}\napi_url = https://hub.test\nweb_url = w\n")
    account = find_account()
    assert (account.token, account.api_url, account.source) == (
        SECRET, "https://hub.test", str(bare),
    )  # fmt: skip
    assert SECRET not in repr(account)


def test_the_variable_comes_before_the_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable wins over the client's configuration file."""
    bare.write_text("[api]\napi_token = other\napi_url = https://hub.test\nweb_url = w\n")
    monkeypatch.setenv("QAI_HUB_API_TOKEN", SECRET)
    assert find_account().token == SECRET
    assert find_account().api_url == "https://workbench.aihub.qualcomm.com"


@pytest.mark.parametrize("text", [SECRET, f"[api]\n{SECRET}\n", f"[api]\napi_token = {SECRET}\n"])
def test_a_damaged_configuration_is_named_but_not_shown(bare: Path, text: str) -> None:
    """A damaged configuration file is named, and its content, with the token, is not shown."""
    bare.write_text(text)
    with pytest.raises(LuthierError, match="cannot be read") as told:
        find_account()
    assert str(bare) in str(told.value)
    assert SECRET not in str(told.value)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("url", ["http://hub.test", "ftp://x", "hub", "https://a:b@hub.test"])
def test_a_token_is_never_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A token is sent by HTTPS only; plain HTTP is refused except to this machine."""
    monkeypatch.setenv("QAI_HUB_API_TOKEN", SECRET)
    monkeypatch.setenv("QAI_HUB_API_URL", url)
    with pytest.raises(LuthierError, match="cannot be"):
        find_account()


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("token", ["s3cr3t\nline", "s3cr3t word", "s3cr3tü"])
def test_a_token_that_no_header_takes_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """A token that no HTTP header can hold is refused without being shown."""
    monkeypatch.setenv("QAI_HUB_API_TOKEN", token)
    with pytest.raises(LuthierError, match="holds characters") as told:
        find_account()
    assert "s3cr3t" not in str(told.value)


@pytest.mark.usefixtures("bare")
def test_tokens_and_signed_links_are_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages lose the token and the signature of links; a link keeps its address."""
    monkeypatch.setenv("QAI_HUB_API_TOKEN", SECRET)
    text = f"token {SECRET} at https://s3.test/bucket/key?X-Amz-Signature=abc&x=1 failed"
    said = find_account().scrub(text)
    assert said == "token <token> at https://s3.test/bucket/key failed"


@pytest.mark.usefixtures("cloud")
def test_the_doctor_lists_the_devices() -> None:
    """With a token, the doctor lists every device once, with its systems."""
    (notice,) = QaiHub.findings()
    assert notice.severity == "info"
    assert "5 devices" in notice.text
    assert "Samsung Galaxy S23 (13, 14)" in notice.text
    assert TOKEN not in notice.text


@pytest.mark.parametrize(
    ("what", "said"),
    [("token", "refused the token"), ("gone", "cannot be reached"), ("html", "is not Qualcomm")],
)
def test_the_doctor_says_why_there_is_no_list(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    """Without a device list, the doctor gives the reason in one line, after one request."""
    if what == "token":
        monkeypatch.setenv("QAI_HUB_API_TOKEN", SECRET)
    if what == "gone":
        monkeypatch.setenv("QAI_HUB_API_URL", "http://127.0.0.1:9")
    cloud.faults.html = what == "html"
    (notice,) = QaiHub.findings()
    assert notice.severity == "warning"
    assert said in notice.text
    assert SECRET not in notice.text
    assert len([line for line in cloud.log if "devices" in line]) <= 1


@pytest.mark.usefixtures("bare")
def test_asking_without_a_token_loads_no_client() -> None:
    """Without a token, the doctor does not import the client, which takes a second."""
    import subprocess

    code = (
        "import sys; from plugins.runtime.qai_hub import QaiHub; QaiHub.findings();"
        "print('qai_hub.client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
