"""Writes the pages and tables that come from the code; `--check` fails when one is stale.

python -m tools.docs            write
python -m tools.docs --check    print the stale pages, exit 1
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from core.cli.listing import presets
from core.config.discovery import discover
from core.config.limits import OWN
from core.config.recipes import read_recipes
from core.config.settings import SLOTS, Batch, Clean, Diff, Fit, Measure
from core.plugin import hooks
from core.plugin.kinds import KINDS, Evaluator
from core.plugin.options import OptionDoc, describe
from core.plugin.registry import Registry
from tools import (
    engines_page,
    extras_page,
    licences,
    precision_page,
    qualcomm_page,
    recipe_schema,
    report_schema,
    rooms_page,
    songs_page,
    tensorrt_page,
    torture_page,
)
from tools.coverage import page as coverage_page

ROOT = Path(__file__).parent.parent
MARK = "<!-- recipes: written by `make docs` -->"
WRITTEN = (
    "Written by `make docs` from the code. `python -m core mode=list` also shows the "
    "additions of other installed packages."
)
END = "<!-- end of recipes -->"
ROOMS = "<!-- rooms: written by `make docs` -->", "<!-- end of rooms -->"
TORTURE = "<!-- torture: written by `make docs` -->", "<!-- end of torture -->"
MEASURED = "<!-- measured: written by `make docs` -->", "<!-- end of measured -->"


def reference(registry: Registry) -> str:
    """Return the reference page: every recipe, preset, plugin, option and hook of the box."""
    parts = [
        "# Reference",
        WRITTEN,
        "## Recipes",
        recipes(),
        "## Targets and precisions",
    ]
    for group in ("target", "precision"):
        rows = presets(registry, ROOT / "conf", group).items()
        parts.append(_table(("name", group), [(f"`{name}`", title) for name, title in rows]))
    parts += ["## Plugins"]
    for kind, base in KINDS.items():
        slots = [slot for slot, of in SLOTS.items() if of == kind]
        parts.append(f"### {kind}")
        parts.append(f"{_first(base)} Slots: {', '.join(f'`{slot}`' for slot in slots)}.")
        for entry in (e for e in registry if e.kind == kind and e.distribution == "luthier"):
            parts.append(f"#### `{entry.name}`\n\n{entry.summary}")
            if describe(entry.cls.Options):
                parts.append(_options(describe(entry.cls.Options)))
    parts += [
        "## Measuring",
        "Options of `measure`, in addition to the plugins' options.",
        _options(describe(Measure)),
        "## Many songs",
        "Options of `batch`: see [many songs](songs.md).",
        _options(describe(Batch)),
        "## Contracts",
        "Limits of a recipe's `contract`, each a number or null. Evaluators add some.",
        _table(("limit", "what is compared with it"), _limits(registry)),
        "## What fits",
        "Options of `fit`, for `mode=fit`.",
        _options(describe(Fit)),
        "## The disk",
        "Options of `clean`, for `mode=clean`: see [the store](store.md#clean-up).",
        _options(describe(Clean)),
        "## What changed",
        "Options of `diff`, for `mode=diff`.",
        _options(describe(Diff)),
    ]
    parts += [
        "## Hooks",
        _table(
            ("hook", "when"),
            [
                (f"`{name}{inspect.signature(function)}`".replace("'", ""), _first(function))
                for name, function in vars(hooks).items()
                if name.startswith("luthier_")
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def recipes() -> str:
    """Return the table of the recipes in the box."""
    found = read_recipes([ROOT / "recipes"])
    return _table(("recipe", "purpose"), [(f"`{r.name}`", r.title) for r in found.values()])


def renewed(page: Path, start: str, end: str, inner: str) -> str:
    """Return the text of a page with `inner` between the marks `start` and `end`."""
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n\n{inner}\n\n{end}{after}"


def _limits(registry: Registry) -> list[tuple[str, ...]]:
    """Return every limit of a contract, with the figure that is compared with it."""
    rows = [(f"`{name}`", spec.about) for name, spec in OWN.items()]
    for evaluator, cls in registry.classes(Evaluator).items():
        limits = cls.limits
        judged = f"of evaluator `{evaluator}`: the worst value over all items and labels"
        rows += [
            (f"`{name}`", spec.about or f"`{spec.metric}` {judged}")
            for name, spec in limits.items()
        ]
    return [*rows]


def _options(options: list[OptionDoc]) -> str:
    rows = [(f"`{o.name}`", o.type.replace("|", "or"), f"`{o.default}`", o.text) for o in options]
    return _table(("option", "type", "default", "meaning"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _first(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def main() -> int:
    """Write or check every generated page; returns the exit code."""
    registry = discover()
    qualcomm, precision = ROOT / "docs" / "qualcomm.md", ROOT / "docs" / "precision.md"
    songs, security = ROOT / "docs" / "songs.md", ROOT / "docs" / "security.md"
    coverage, tensorrt = ROOT / "docs" / "coverage.md", ROOT / "docs" / "tensorrt.md"
    engines, install = ROOT / "docs" / "engines.md", ROOT / "docs" / "install.md"
    architecture = ROOT / "docs" / "architecture.md"
    pages = {
        ROOT / "docs" / "reference.md": reference(registry),
        ROOT / "README.md": renewed(ROOT / "README.md", MARK, END, recipes()),
        qualcomm: renewed(qualcomm, *MEASURED, qualcomm_page.tables(_table)),
        tensorrt: renewed(tensorrt, *MEASURED, tensorrt_page.tables(_table)),
        precision: renewed(precision, *MEASURED, precision_page.tables(_table)),
        songs: renewed(songs, *MEASURED, songs_page.tables(_table)),
        security: renewed(security, *TORTURE, torture_page.tables(_table)),
        coverage: renewed(coverage, *MEASURED, coverage_page.tables(_table)),
        engines: renewed(engines, *MEASURED, engines_page.tables(_table)),
        install: renewed(install, *MEASURED, extras_page.tables(_table)),
        architecture: renewed(architecture, *ROOMS, rooms_page.drawing(_table)),
        licences.PAGE: licences.page(_table),
        **report_schema.schemas(),
        recipe_schema.FILE: recipe_schema.text(registry),
    }
    stale = [
        p for p, text in pages.items() if not p.is_file() or p.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        for page in stale:
            print(f"stale: {page.relative_to(ROOT)}; run `make docs`")
        return int(bool(stale))
    for page in stale:
        page.write_text(pages[page], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
