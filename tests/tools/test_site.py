"""The checks of the built site, and the form in which its pages reach the generator."""

from __future__ import annotations

from pathlib import Path

from tools.site.check import faults
from tools.site.pages import navigation, with_captions, with_menu

PAGE = "<html><head>{head}</head><body><h2 id='here'>Here</h2>{body}</body></html>"


def _site(folder: Path, head: str = "", body: str = "", style: str = "") -> list[str]:
    (folder / "a.html").write_text(PAGE.format(head=head, body=body))
    (folder / "b.html").write_text(PAGE.format(head="", body=""))
    (folder / "a b.css").write_text(style)
    return faults(folder)


def test_links_that_hold_are_no_fault(tmp_path: Path) -> None:
    """Links to pages, headings, the top and other machines hold, and so does a style sheet."""
    links = ("b.html", "b.html#here", "#here", "#", "https://example.org/x", "mailto:a@example.org")
    body = "".join(f"<a href='{link}'>x</a>" for link in links)
    assert not _site(tmp_path, "<link rel='stylesheet' href='a%20b.css?v=1'>", body)


def test_broken_links_are_named(tmp_path: Path) -> None:
    """A link to no file, to no heading, and an image that is missing are named with their page."""
    body = "<a href='c.html'>x</a><a href='b.html#there'>x</a><a href='#no'>x</a><img src='d.png'>"
    assert _site(tmp_path, body=body) == [
        "a.html: no heading for #no",
        "a.html: no heading for b.html#there",
        "a.html: no file for c.html",
        "a.html: no file for d.png",
    ]


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    """Scripts, fonts and style sheets of another machine are named; a link to it may stay."""
    head = (
        "<script src='https://cdn.example/x.js'></script>"
        "<link rel='preconnect' href='//fonts.example'>"
        "<link rel='canonical' href='https://example.org/'>"
    )
    style = "@import 'https://fonts.example/a.css'; a {b: url(//x.example/b.png)} c {d: url(e)}"
    assert _site(tmp_path, head, style=style) == [
        "a.html: fetches //fonts.example",
        "a.html: fetches https://cdn.example/x.js",
        "a b.css: fetches //x.example/b.png",
        "a b.css: fetches https://fonts.example/a.css",
    ]


def test_the_menu_follows_the_index() -> None:
    """Sections and entries of the index become the menu, with paths from the root."""
    index = "# All\n\n[x](a.md)\n\n## One\n\n- [A page](a.md): words\n- [Up](../B.md)\n\n## Two\n"
    sections = navigation(index)
    assert sections == {"One": [("A page", "docs/a.md"), ("Up", "B.md")], "Two": []}
    menu = with_menu("# Front", {"One": sections["One"]})
    assert menu.startswith("# Front\n\n```{toctree}\n")
    assert ":caption: One\n\nA page <docs/a>\nUp <B>\n```" in menu


def test_a_titled_block_shows_its_title() -> None:
    """A block that is a file shows the file's name; other blocks stay as they are."""
    page = '```python title="plugins/a.py"\nx = 1\n```\n\n```bash\nls\n```\n'
    made = with_captions(page)
    assert made.startswith("```{code-block} python\n:caption: plugins/a.py\n\nx = 1\n```")
    assert made.endswith("```bash\nls\n```\n")
