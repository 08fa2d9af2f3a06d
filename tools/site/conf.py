"""Sphinx's settings: the pages stay where GitHub shows them, and the site lies in `build/site`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tools.site.pages import INDEX, PAGES, ROOT, navigation, with_captions, with_menu

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Read, not imported: the environment that builds the site has no PyTorch.
_VERSION = re.search(
    r"^__version__ = \"(.+)\"$", (ROOT / "core/__init__.py").read_text("utf-8"), re.MULTILINE
)
assert _VERSION

project = "Luthier"
version = release = _VERSION[1]
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = list(PAGES)
exclude_patterns = [".*", "build", "outputs"]
myst_heading_anchors = 4  # the names that GitHub gives to headings
nitpicky = True
html_theme = "furo"
html_title = f"Luthier {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
# The search takes the extracts that it shows from the pages over HTTP, and a file has none.
html_show_search_summary = False


def _source(app: Sphinx, name: str, content: list[str]) -> None:  # noqa: ARG001 - Sphinx's signature
    """Show the titles of code blocks, and give the front page the menu."""
    content[0] = with_captions(content[0])
    if name == root_doc:
        content[0] = with_menu(content[0], navigation((ROOT / INDEX).read_text("utf-8")))


def setup(app: Sphinx) -> None:
    """Let Sphinx read the pages through `_source`."""
    app.connect("source-read", _source)
