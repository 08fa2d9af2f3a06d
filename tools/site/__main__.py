"""Builds the documentation as a site.

python -m tools.site    needs the packages of requirements-site.lock

The site lies in `build/site`. It opens from the disk, without a server and without a network. A
broken link, a page that the menu lacks, or a file from another machine ends the build with exit
code 1.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from tools.site.check import faults
from tools.site.pages import ROOT

SITE, TREES = ROOT / "build" / "site", ROOT / "build" / "site-trees"
START = """\
<!DOCTYPE html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=README.html">
<title>Luthier</title>
<a href="README.html">Luthier</a>
"""


def main() -> int:
    """Build the site anew, and look through it."""
    for folder in (SITE, TREES):  # a warning about a page is given only when the page is read
        shutil.rmtree(folder, ignore_errors=True)
    settings = Path(__file__).parent
    asked = ["--fail-on-warning", "--keep-going", "--quiet", "--conf-dir", str(settings)]
    if code := sphinx([*asked, "--doctree-dir", str(TREES), str(ROOT), str(SITE)]):
        return code
    (SITE / "index.html").write_text(START, encoding="utf-8")
    found = faults(SITE)
    print("\n".join(found or [f"the site: {SITE / 'index.html'}"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
