"""The program of a bundle: the plugins' files, the core's own, and constants for C++ and Kotlin."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.plugin.stages import BundlePart

__all__ = ["write"]

HERE = Path(__file__).parent / "on_device"
#: The parts that a language needs, or it is left out: see `core/bundle/write.py`.
NEEDED = {
    "python": {"python/window.py", "python/join.py"},
    "cpp": {"cpp/window.h", "cpp/join.h"},
    "kotlin": {"kotlin/Window.kt", "kotlin/Join.kt"},
}
OWN = {
    "python": ["python/run.py", "python/manifest.py", "python/golden.py"],
    "cpp": ["cpp/run.cpp", "cpp/manifest.h", "cpp/golden.h"],
    "kotlin": ["kotlin/Manifest.kt", "kotlin/Golden.kt"],
}
#: The fields of a group of the golden window, in the order of `Group` below.
GROUP = ("stage", "tensor", "label", "start", "step", "count", "offset", "power")
#: The constants that are lists of rows, with the type of a row.
ROWS = {"TOLERANCES": "Tolerance", "GOLDEN": "Group"}
CPP_ROWS = """\
struct Tolerance {
  const char *artifact, *stage;
  double db;
};
struct Group {
  const char *stage, *tensor, *label;
  int64_t start, step, count, offset;
  double power;
};"""
KOTLIN_ROWS = """\
class Tolerance(val artifact: String, val stage: String, val db: Double)
    class Group(
        val stage: String, val tensor: String, val label: String,
        val start: Long, val step: Long, val count: Long, val offset: Long,
        val power: Double
    )"""


def write(bundle: Path, about: dict[str, Any], parts: Sequence[BundlePart]) -> list[str]:
    """Write the program in every language that has all its parts; return the languages."""
    sources = {place: file for part in parts for place, file in part.sources.items()}
    constants = _constants(about) if about["tensors"] is not None else None
    whole = []
    for language, needed in NEEDED.items():
        known = about["tensors"] if language == "python" else constants
        if known is None or not needed <= sources.keys():
            continue
        whole.append(language)
        own = {place: HERE / place for place in OWN[language]}
        for place, file in {**sources, **own}.items():
            if place.startswith(f"{language}/"):
                target = bundle / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    if constants and "cpp" in whole:
        (bundle / "cpp" / "bundle.h").write_text(_cpp(constants), encoding="utf-8")
    if constants and "kotlin" in whole:
        (bundle / "kotlin" / "Bundle.kt").write_text(_kotlin(constants), encoding="utf-8")
    return whole


def _constants(about: dict[str, Any]) -> dict[str, Any] | None:
    """Return the constants for programs in compiled languages; None where shapes are not fixed.

    Strings, numbers and shapes by the name of the constant, every number of the chunker included.
    """
    graphs, tensors = about["host_graphs"], about["tensors"]
    first = graphs["forward"] if graphs else about["model"]
    last = graphs["inverse"] if graphs else about["model"]
    if not (len(tensors["inputs"]) == len(tensors["outputs"]) == 1 and "inputs" in first):
        return None
    (source,), (result,) = tensors["inputs"].values(), tensors["outputs"].values()
    ends = [
        next(tensor for tensor in graph[side] if tensor["name"] == name)
        for graph, side, name in ((first, "inputs", source), (last, "outputs", result))
    ]
    sizes = [size for tensor in ends for size in tensor["shape"]]
    fixed = all(isinstance(size, int) and size > 0 for size in sizes)
    if not fixed or {tensor["dtype"] for tensor in ends} != {"float32"}:
        return None
    numbers = {
        name.upper(): value
        for name, value in about["chunking"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
        if name.isascii() and name.isidentifier()
    }
    return {
        "ID": about["id"],
        "STRIDE": 0,  # unknown, if the chunker does not say
        **numbers,
        "MODEL": about["model"]["file"],
        "FALLBACK": about["fallback"]["file"] if about["fallback"] else "",
        "FORWARD": graphs["forward"]["file"] if graphs else "",
        "INVERSE": graphs["inverse"]["file"] if graphs else "",
        "INPUT": source,
        "OUTPUT": result,
        "INPUT_SHAPE": ends[0]["shape"],
        "OUTPUT_SHAPE": ends[1]["shape"],
        **_of_golden(about["golden"]),
    }


def _of_golden(table: dict[str, Any] | None) -> dict[str, Any]:
    """Return the table of the golden window as constants; empty lists where there is none."""
    if table is None:
        return {"GOLDEN_OFFSET": 0, "GOLDEN_COUNT": 0, "TOLERANCES": [], "GOLDEN": []}
    (window,) = table["inputs"]
    tolerances = [
        (artifact, stage, float(db))
        for artifact, stages in table["tolerance_db"].items()
        for stage, db in stages.items()
    ]
    groups = [tuple(group[name] for name in GROUP) for group in table["groups"]]
    return {
        "GOLDEN_OFFSET": window["offset"],
        "GOLDEN_COUNT": window["count"],
        "TOLERANCES": tolerances,
        "GOLDEN": groups,
    }


def _cpp(constants: dict[str, Any]) -> str:
    lines = [CPP_ROWS]
    for name, value in constants.items():
        if isinstance(value, str):
            lines.append(f"inline constexpr const char* {name} = {_cpp_text(value)};")
        elif name in ROWS:
            rows = "".join(f"\n    {{{_fields(row, _cpp_text, '')}}}," for row in value)
            lines.append(f"inline const std::vector<{ROWS[name]}> {name}{{{rows}}};")
        elif isinstance(value, list):
            shape = ", ".join(map(str, value))
            lines.append(f"inline const std::vector<int64_t> {name}{{{shape}}};")
        elif isinstance(value, int):
            lines.append(f"inline constexpr int64_t {name} = {value};")
        else:
            lines.append(f"inline constexpr double {name} = {value!r};")
    return (
        "// What metadata.json says, as constants.\n"
        "#pragma once\n\n#include <cstdint>\n#include <vector>\n\nnamespace bundle {\n"
        + "\n".join(lines)
        + "\n}  // namespace bundle\n"
    )


def _cpp_text(text: str) -> str:
    """Return a string literal in UTF-8; bytes other than printable ASCII become octal escapes.

    Octal escapes end after three digits; C++ has no escape for half of a surrogate pair.
    """
    raw = text.encode("utf-8", "surrogateescape")
    return f'"{"".join(_escaped(byte, f"{chr(92)}{byte:03o}", "?") for byte in raw)}"'


def _kotlin_text(text: str) -> str:
    """Return a string literal in UTF-16; units other than printable ASCII are escaped."""
    raw = text.encode("utf-16-be", "surrogatepass")
    units = (int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2))
    return f'"{"".join(_escaped(unit, f"{chr(92)}u{unit:04x}", "$") for unit in units)}"'


def _escaped(code: int, escape: str, special: str) -> str:
    """Return a code as a string literal holds it; `special` has a meaning in the language."""
    letter = chr(code) if 32 <= code < 127 else ""  # noqa: PLR2004  # printable ASCII
    return f"\\{letter}" if letter and letter in f'"\\{special}' else letter or escape


def _fields(row: tuple[Any, ...], text: Callable[[str], str], whole: str) -> str:
    """Return the fields of a row as literals; `whole` ends a literal of an integer."""
    return ", ".join(
        text(field) if isinstance(field, str) else f"{field!r}{whole * isinstance(field, int)}"
        for field in row
    )


def _kotlin(constants: dict[str, Any]) -> str:
    lines = [KOTLIN_ROWS]
    for name, value in constants.items():
        if isinstance(value, str):
            lines.append(f"const val {name} = {_kotlin_text(value)}")
        elif name in ROWS:
            rows = "".join(
                f"\n        {ROWS[name]}({_fields(row, _kotlin_text, 'L')})," for row in value
            )
            lines.append(f"val {name} = listOf<{ROWS[name]}>({rows})")
        elif isinstance(value, list):
            lines.append(f"val {name} = longArrayOf({', '.join(map(str, value))})")
        elif isinstance(value, int):
            lines.append(f"const val {name} = {value}L")
        else:
            lines.append(f"const val {name} = {value!r}")
    body = "\n".join(f"    {line}" for line in lines)
    return f"// What metadata.json says, as constants.\nobject Bundle {{\n{body}\n}}\n"
