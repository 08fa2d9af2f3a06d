"""A stranger's names in a bundle's programs and pages stay names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from core.bundle import program
from core.text.markdown import code, inline

#: What ends a string, begins a template or a trigraph, moves a terminal, or is outside of ASCII.
HOSTILE = (
    '"; system("rm"); // \\ \\" ??/ $x ${y} %s \x1b[2J \r\n \u202e \u00e9 \U0001f941 </script>'
)


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_a_hostile_name_stays_a_string_in_cpp(tmp_path: Path) -> None:
    """The compiled program returns the exact bytes, whatever a model calls its tensors."""
    file, binary = tmp_path / "main.cpp", tmp_path / "main"
    literal = program._cpp_text(HOSTILE)
    file.write_text(f"#include <cstdio>\nint main() {{ std::fputs({literal}, stdout); }}\n")
    subprocess.run(["g++", "-std=c++17", "-O0", file, "-o", binary], check=True)  # noqa: S607  # the system's own
    done = subprocess.run([binary], check=True, capture_output=True)
    assert done.stdout == HOSTILE.encode()


def test_a_hostile_name_stays_a_string_in_kotlin() -> None:
    """Kotlin strings use the escapes of JSON, and one for the dollar that begins a template."""
    literal = program._kotlin_text(HOSTILE)
    assert literal.isascii()
    assert literal.isprintable()
    assert literal.count("$") == literal.count("\\$") == 2
    assert json.loads(literal.replace("\\$", "$")) == HOSTILE


def test_a_hostile_title_is_no_markup_in_a_readme() -> None:
    """A title adds neither HTML, a link, code, a table cell, nor a heading to a README."""
    told = inline("x\n# y <script> [a](javascript:b) `c` | *d* &lt;")
    assert told == r"x # y \<script\> \[a\](javascript:b) \`c\` \| \*d\* &amp;lt;"
    assert code("a`b|c\n") == r"`a'b\|c`"
    assert inline("htdemucs_small, 8-bit (a8w8)") == "htdemucs_small, 8-bit (a8w8)"
