"""The page `docs/licences.md`: the licence of every package that the base and each extra bring.

Names and versions come from the lock. A licence comes from the statement of the package where it is
installed. A package of another platform keeps the row that was written on that platform, so the
page is the same wherever it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tools.locked import BASE, Locked, locked, parts

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "licences.md"
UNSEEN = "not looked at"
COPYLEFT = re.compile(
    r"\b[AL]?GPL[\w.+-]*|\bMPL[\w.-]*|\bE[PU]+L[\w.-]*|\bCDDL[\w.-]*", re.IGNORECASE
)
GCC = "GCC's runtime: GPL-3.0-or-later with its exception for runtimes"
#: Foreign parts of wheels, by the licence files in the wheels. Read by a person, not computed.
INSIDE = {
    "av": "FFmpeg: LGPL-3.0-or-later; libx264 and libx265: GPL-2.0-or-later; LAME, libgmp, GnuTLS, "
    "Nettle, libunistring: LGPL",
    "grpcio": "Mozilla's root certificates: MPL-2.0",
    "lxml": "iconv, in wheels for Windows: LGPL-2.1",
    "numpy": f"{GCC}; libquadmath: LGPL-2.1-or-later",
    "onnxruntime": "Eigen: MPL-2.0",
    "onnxruntime-qnn": "Eigen: MPL-2.0; and Qualcomm's libraries: see its `Qualcomm_LICENSE.pdf`",
    "scipy": f"{GCC}; libquadmath: LGPL-2.1-or-later",
    "soundfile": "libsndfile: LGPL-2.1",
    "torch": GCC,
}
#: Names of classifiers that are no SPDX names.
SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
#: Phrases that only one licence's text contains.
TEXTS = {
    "Apache License": "Apache-2.0",
    "Permission is hereby granted, free of charge": "MIT",
    "Redistribution and use in source and binary forms": "BSD",
}
HEAD = f"""# Licences

Luthier is under Apache-2.0. It contains no code of the packages below: pip installs them beside it,
each under its own licence. This page is written by `make docs`: names and versions are those of the
lock, and a licence is the one that the package declares. `make sbom` writes the same for what is
installed on a machine, with hashes, as CycloneDX.

Not in the lock, and {UNSEEN}: the extras `tensorrt` and `rtx`, and the libraries that the
public build of PyTorch for Linux brings for GPUs. All are NVIDIA's. Nor are the extras `openvino`
and `nncf` (Apache-2.0, by Intel; `nncf` brings scikit-learn, BSD-3-Clause) and `webgpu` (MIT, by
Microsoft), nor the tools of `make site`, which no installation has. Pretrained weights have their
own licences, which the bundle names; a bundle holds no package."""
COPYLEFT_SAYS = """\
The licence of these packages, or of a library inside their wheels, asks that changes to it are
passed on under the same licence."""
PARTS_SAY = f"""\
A part is `{BASE}`, which every installation has, or an extra. The parts come from the lock's
notes on which package needs which. These notes do not separate the extras of a package, so a part
may list a package too many."""
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


def page(table: Table) -> str:
    """Return the page; `table` writes Markdown."""
    packages, before = locked(), _rows_before()
    bring = parts(packages)
    rows = {p.name: _row(p, bring, before) for p in packages.values()}
    copyleft = [
        (f"`{name}`", row[2], INSIDE.get(name, ""), _through(packages[name]), row[3])
        for name, row in rows.items()
        if COPYLEFT.search(row[2]) or COPYLEFT.search(INSIDE.get(name, ""))
    ]
    missing = sorted(set(bring) - {part for part, names in bring.items() if names})
    rest = [(f"`{m}`", "not in the lock", UNSEEN, f"`{m}`") for m in missing]
    lines = [
        HEAD,
        "## Copyleft",
        COPYLEFT_SAYS,
        table(("package", "its licence", "inside its wheels", "needed by", "part"), copyleft),
        "## All packages",
        PARTS_SAY,
        table(("package", "version", "licence", "part"), [*rows.values(), *rest]),
    ]
    return "\n\n".join(lines) + "\n"


def _row(package: Locked, bring: dict[str, set[str]], before: dict[str, str]) -> tuple[str, ...]:
    said = _said(package) or before.get(f"{package.name} {package.version}", UNSEEN)
    if COPYLEFT.search(said):
        said = f"**{said.strip('*')}**"
    asking = [part for part, names in bring.items() if package.name in names]
    named = [BASE] if BASE in asking else [p for p in asking if p != "dev"] or asking
    return f"`{package.name}`", package.version, said, ", ".join(f"`{p}`" for p in named)


def _through(package: Locked) -> str:
    return ", ".join("Luthier" if name == "luthier" else f"`{name}`" for name in package.via) or (
        "Luthier"
    )


def _rows_before() -> dict[str, str]:
    """Return the licences of the existing page, by name and version."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    rows = re.findall(r"^\| `([\w.-]+)` \| (\S+) \| (.+?) \| `", text, re.MULTILINE)
    return {f"{name} {version}": said for name, version, said in rows}


def _said(package: Locked) -> str:
    """Return the licence that the installed package states; empty for another or no version."""
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return ""
    if found.version.partition("+")[0] != package.version:
        return ""
    if expression := found.metadata.get("License-Expression"):
        return expression
    classifiers = found.metadata.get_all("Classifier") or []
    names = [c.split(" :: ")[-1] for c in classifiers if c.startswith("License :: OSI Approved ::")]
    stated = (found.metadata.get("License") or "").strip()
    brief = stated if "\n" not in stated and len(stated) < 60 and stated != "UNKNOWN" else ""
    told = " or ".join(SPDX.get(name, name) for name in names)
    return told or brief or _read(found) or "none stated"


def _read(found: metadata.Distribution) -> str:
    """Return the licence by the text that a package ships without naming the licence."""
    for file in found.files or []:
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            text = " ".join(file.read_text(encoding="utf-8").split())
            for phrase, name in TEXTS.items():
                if phrase in text:
                    return f"{name}, by the text of its `{file.name}`"
    return ""
