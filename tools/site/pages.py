"""The pages of the documentation, in the order of docs/README.md, which lists them for readers."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["INDEX", "PAGES", "ROOT", "navigation", "pages", "with_captions", "with_menu"]

ROOT = Path(__file__).parents[2]
#: Where the pages lie, as patterns below the root.
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "examples/*/README.md")
#: The page that gives the order. GitHub shows it with the folder `docs`.
INDEX = "docs/README.md"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)#]+\.md)\)", re.MULTILINE)
TITLED = re.compile(r"^```(\w+) title=\"([^\"]+)\"$", re.MULTILINE)


def pages(root: Path = ROOT) -> list[str]:
    """Return the path of every page below the root, in the order of `PAGES`."""
    return [page.relative_to(root).as_posix() for form in PAGES for page in sorted(root.glob(form))]


def navigation(index: str) -> dict[str, list[tuple[str, str]]]:
    """Return the sections of the index page, each with the names and paths of its pages.

    A section is a heading of the second level. An entry is a line `- [name](path.md)`, with a path
    relative to `docs`, whatever follows it.
    """
    _, *parts = SECTION.split(index)
    return {
        section: [(name, _below_root(path)) for name, path in ENTRY.findall(text)]
        for section, text in zip(parts[::2], parts[1::2], strict=True)
    }


def with_menu(front: str, sections: dict[str, list[tuple[str, str]]]) -> str:
    """Return the front page with Sphinx's directives that make the menu of the site."""
    menus = [f"```{{toctree}}\n:hidden:\n\nAll pages <{INDEX.removesuffix('.md')}>\n```"]
    for section, entries in sections.items():
        lines = [f"{name} <{path.removesuffix('.md')}>" for name, path in entries]
        menus.append(
            f"```{{toctree}}\n:hidden:\n:caption: {section}\n\n" + "\n".join(lines) + "\n```"
        )
    return "\n\n".join([front, *menus]) + "\n"


def with_captions(page: str) -> str:
    """Return a page whose blocks with a title show it: the name of the file that they are."""
    return TITLED.sub(r"```{code-block} \1\n:caption: \2\n", page)


def _below_root(path: str) -> str:
    """Return a path relative to `docs` as one relative to the root."""
    return path.removeprefix("../") if path.startswith("../") else f"docs/{path}"
