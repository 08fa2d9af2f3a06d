"""Where the token for Qualcomm AI Hub comes from, and how it is kept out of every message."""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core import StageError

__all__ = ["TOKEN", "URL", "Account", "find_account", "host"]

#: The client knows no variable for the token, only `QAIHUB_CLIENT_INI` for the path of its file.
TOKEN, URL, INI = "QAI_HUB_API_TOKEN", "QAI_HUB_API_URL", "QAIHUB_CLIENT_INI"
DEFAULT_INI = "~/.qai_hub/client.ini"
DEFAULT_URL = "https://workbench.aihub.qualcomm.com"
#: The text after the address in a link to the storage is a signature that lets anybody read it.
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")


@dataclass(frozen=True)
class Account:
    """An address with the token for it; `source` says in words where the token was found."""

    api_url: str
    web_url: str
    source: str
    project: str | None = None
    token: str = field(default="", repr=False)

    @property
    def loopback(self) -> bool:
        """Return whether the address is this machine: a test server, no phone."""
        return _is_loopback(self.api_url)

    @property
    def where(self) -> str:
        """Return the name of the service, with its address when that is not Qualcomm's own."""
        own = self.api_url.rstrip("/") == DEFAULT_URL
        return "Qualcomm AI Hub" if own else f"Qualcomm AI Hub at {self.api_url}"

    def scrub(self, text: str) -> str:
        """Return `text` without the token and without the signatures of storage links."""
        text = text.replace(self.token, "<token>") if self.token else text
        return _QUERY.sub(r"\1", text)

    def page(self, job_id: str) -> str:
        """Return the address of a job's page."""
        return f"{self.web_url.rstrip('/')}/jobs/{job_id}/"

    def client(self) -> Any:
        """Return the vendor's client for this account; nothing is sent yet."""
        import logging

        from qai_hub import Client, ClientConfig

        # The terminal would show its retries, in urllib3's words.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        return Client(
            config=ClientConfig(
                api_token=self.token,
                api_url=self.api_url,
                web_url=self.web_url,
                default_project=self.project,
            )
        )


def host() -> str:
    """Return the host of the service, whether or not there is a token for it."""
    try:
        url = find_account().api_url
    except StageError:
        url = DEFAULT_URL
    return urlsplit(url).netloc.rpartition("@")[2]


def find_account() -> Account:
    """Return the account of this machine; raises StageError when there is no token."""
    file = Path(os.environ.get(INI, DEFAULT_INI)).expanduser()
    token = os.environ.get(TOKEN, "").strip()
    if token:
        url = os.environ.get(URL, "").strip() or DEFAULT_URL
        return _checked(Account(url, url, f"the variable {TOKEN}", token=token))
    if not file.is_file():
        raise _no_token("no token for Qualcomm AI Hub was found", f"looked at: {TOKEN}, {file}")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
        section = parser["api"]
        token, url = section["api_token"].strip(), section["api_url"].strip()
        web = section.get("web_url", url).strip()
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # Not the parser's own words: its error shows the line, and that may hold the token.
        raise _no_token(
            "the configuration of Qualcomm AI Hub's client cannot be read",
            f"at: {file}",
            "it needs a section [api] with api_token, api_url and web_url",
        ) from None
    if not token:
        raise _no_token("the token in Qualcomm AI Hub's configuration is empty", f"at: {file}")
    project = section.get("default_project") or None
    return _checked(Account(url, web, str(file), project, token))


def _no_token(what: str, *where: str) -> StageError:
    return StageError(
        what,
        *where,
        f"get a token: {DEFAULT_URL}/account/",
        f"then: qai-hub configure --api_token ..., or set the variable {TOKEN}",
    )


def _checked(account: Account) -> Account:
    """Refuse a token that no header accepts, and an address that would carry it unencrypted."""
    if not account.token.isascii() or not account.token.isprintable() or " " in account.token:
        # Refused here, because the libraries would show it in their refusal.
        raise _no_token(
            "the token for Qualcomm AI Hub holds characters that a token cannot have",
            f"from: {account.source}",
        )
    parts = urlsplit(account.api_url)
    encrypted = parts.scheme == "https" or (parts.scheme == "http" and account.loopback)
    if not encrypted or not parts.hostname or parts.username or parts.password:
        raise StageError(
            f"the address of Qualcomm AI Hub cannot be `{account.scrub(account.api_url)}`",
            f"from: {account.source if TOKEN not in account.source else URL}",
            "it starts with https:// (http:// only for this machine) and holds no user name",
        )
    return account


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
