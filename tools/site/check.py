"""Looks through a built site: every link leads somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["faults"]

#: What a browser fetches by itself: elements, and the attribute that holds the address.
FETCHED = {
    "img": "src",
    "script": "src",
    "iframe": "src",
    "audio": "src",
    "video": "src",
    "link": "href",
}
#: Links of a page's head that a browser does not follow by itself.
NOT_FETCHED = {"next", "prev", "index", "search", "author", "copyright", "canonical"}
STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class _Page(HTMLParser):
    """The names, links and fetched files of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = {"", "top"}
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one element names, links to or fetches."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        address = given.get(FETCHED.get(tag, ""))
        if address is not None and not (tag == "link" and given.get("rel") in NOT_FETCHED):
            self.fetched.add(address)


def faults(site: Path) -> list[str]:
    """Return the faults of the pages and style sheets below a folder, one line for each."""
    read = {file.resolve(): _Page(file.read_text("utf-8")) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in read.items():
        where = file.relative_to(site.resolve())
        found += [f"{where}: fetches {url}" for url in sorted(page.fetched) if _elsewhere(url)]
        for link in sorted(page.links | page.fetched):
            if urlsplit(link).scheme or _elsewhere(link):
                continue
            target, _, name = link.partition("#")
            aim = (file.parent / unquote(urlsplit(target).path)).resolve() if target else file
            if not aim.is_file():
                found.append(f"{where}: no file for {link}")
            elif aim in read and unquote(name) not in read[aim].names:
                found.append(f"{where}: no heading for {link}")
    for sheet in sorted(site.rglob("*.css")):
        for url in sorted({a or b for a, b in STYLE.findall(sheet.read_text("utf-8"))}):
            if _elsewhere(url):
                found.append(f"{sheet.relative_to(site)}: fetches {url}")
    return found


def _elsewhere(url: str) -> bool:
    """Return whether a browser asks another machine for an address."""
    return url.startswith("//") or urlsplit(url).scheme in {"http", "https"}
