"""Links between the pages lead somewhere, by the names that GitHub gives to headings."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.site.pages import INDEX, ROOT, navigation, pages

PAGES = pages()
LINK = {"link_open": "href", "image": "src"}


def _tokens(page: str) -> list[Token]:
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse((ROOT / page).read_text("utf-8"))
    return [*parsed, *(inner for token in parsed for inner in token.children or ())]


def _anchors(page: str) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    tokens = _tokens(page)
    seen: Counter[str] = Counter()
    names = set()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(part.content for part in inline.children or ())
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            names.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    """A link to a file of the checkout names one that is there, and a heading that it has."""
    found = [str(t.attrs[LINK[t.type]]) for t in _tokens(page) if t.type in LINK]
    for link in found:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, name = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        if name:
            assert name in _anchors(target.relative_to(ROOT).as_posix()), link


def test_the_index_lists_every_page() -> None:
    """The menu of the site, which is the list in docs/README.md, has every page once."""
    listed = [path for entries in navigation((ROOT / INDEX).read_text("utf-8")).values()
              for _, path in entries]  # fmt: skip
    assert sorted(listed) == sorted({*PAGES} - {"README.md", INDEX})
    assert all(Path(ROOT / path).is_file() for path in listed)
