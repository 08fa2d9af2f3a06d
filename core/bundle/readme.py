"""The texts of a bundle for people: its README, and the licence of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.plugin.records import compiled_only
from core.plugin.stages import BundlePart
from core.plugin.values import ModelInfo
from core.text.markdown import code, inline
from core.text.shown import shown

__all__ = ["licence", "readme"]

_UNSTATED = (
    "NO LICENCE IS STATED FOR THESE WEIGHTS.\n\n"
    "Without a licence you may not pass the weights on or ship them in an app. Ask their author.\n"
)
_CPP = """\
#include "join.h"
#include "window.h"

Window window(folder);  // of this bundle; tests it, so keep it
std::vector<float> result = play(window, input);  // rows one after the other
"""
_PYTHON = """\
pip install {packages}
python python/run.py --self-test
python python/run.py INPUT FOLDER
"""
_KOTLIN = """\
Window(File(folder)).use { window ->  // of this bundle; tests it, so keep it
    val result = play(window, input)  // FloatArrays: rows one after the other
}
"""
_NO_PROGRAM = (
    "This bundle has no program for the device: the runtime, the dsp or the chunker of this recipe "
    "ships none. `metadata.json` says what such a program must do."
)
#: A language's title, and the fence and lines that show how its program is called.
_USE = {
    "python": (
        "Python",
        "sh",
        _PYTHON,
    ),
    "cpp": ("C++ 17", "cpp", _CPP),
    "kotlin": ("Kotlin", "kotlin", _KOTLIN),
}
#: The text after the lines of a language.
_MORE = {
    "python": "Python 3.11 or newer. INPUT is {media}an `.npz` with an array for every input. "
    "`python python/run.py --help` says more.",
    "cpp": "Or as a command, on raw floats:\n\n```sh\n"
    "g++ -std=c++17 -O2 -I cpp -I $ONNXRUNTIME/include cpp/run.cpp "
    "-L $ONNXRUNTIME/lib -lonnxruntime -o run\n"
    "./run . --self-test\n./run . input.f32 output.f32\n```",
    "kotlin": "`input` and `result` lie in memory as in C++. Models are opened by path: copy the "
    "bundle out of the assets first, for example to `filesDir`.",
}


def licence(info: ModelInfo) -> str:
    """Return the licence note of the weights: a warning in capitals where the model states none."""
    stated = f"Licence: {shown(info.licence)}\n" if info.licence else _UNSTATED
    return f"Weights: {shown(info.weights) or 'of unknown origin'}\n{stated}"


def readme(
    about: dict[str, Any],
    languages: Sequence[str],
    parts: Sequence[BundlePart],
    files: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the bundle's README; `files` has the size and the hash of all files but it."""
    parts_of_page = [
        f"# {inline(about['title'] or about['recipe'])}",
        _what(about),
        *_never_run(about["runtime"].get("never_run", "")),
        *_programs(about, languages, parts, files),
        _trust(about, languages),
        _growth(files, parts),
        *_linking(parts),
        _table(about, files),
    ]
    return "\n\n".join(part.strip() for part in parts_of_page) + "\n"


def _what(about: dict[str, Any]) -> str:
    weights, target = about["weights"], about["target"]["title"] or about["runtime"]["plugin"]
    stated = "**none is stated: do not pass the weights on**"
    if weights["licence"]:
        stated = inline(weights["licence"])
    return (
        f"For {inline(target)}. Weights: {inline(weights['origin'])}. Their licence: {stated} "
        "(`LICENCE-WEIGHTS.txt`)."
    )


def _never_run(why: str) -> list[str]:
    """Return a warning that nothing ran the model for the device; none where something did."""
    if not why:
        return []
    said = compiled_only(shown(why))
    return [f"**The model was {inline(said)}. Try it on the device before you ship it.**"]


def _trust(about: dict[str, Any], languages: Sequence[str]) -> str:
    """Return how the bundle is checked, and what it does not prove."""
    words = (
        "## Is it whole, and does it compute right?\n\n"
        "`SHA256SUMS` has the hash of every other file: `sha256sum -c SHA256SUMS` checks them."
    )
    if languages:
        words += (
            " So do the programs, each time before they open a model: a file that is missing, "
            "changed or from another version is named, and nothing runs."
        )
    if about["golden"] is None:
        return f"{words} No session of the run could play a window here: there is no golden window."
    least = about["golden"]["tolerance_db"]
    rows = [
        f"| {_PLAYED[artifact]} | {stages.get('model', 0.0):.1f} dB | {stages['outputs']:.1f} dB |"
        for artifact, stages in least.items()
        if artifact != "dsp"
    ]
    table = "\n".join([*_LEAST, *rows])
    return f"{words}\n\n{_GOLDEN}\n\n{table}\n\n{_UNPROVEN}"


_GOLDEN = (
    "`golden.bin` holds one window with its results, and `golden.json` says where what lies. A "
    "program plays it on every device (NPU, GPU, CPU) before it uses that device. If the result is "
    "further off than this, it says so and tries the next one:"
)
_LEAST = (
    "| least SNR on the golden window | the model's own outputs | the whole window |",
    "| --- | --- | --- |",
)
_UNPROVEN = (
    "The window is noise with the spectrum of a window of the run's data. A change that is smaller "
    "than the tolerance passes, and so does a change of `golden.bin` together with `SHA256SUMS`: "
    "sign the bundle if you pass it on."
)
#: The artifacts of the golden window in words.
_PLAYED = {"model": "the model", "fallback": "`fallback/`, on the GPU or the CPU"}


def _growth(files: Mapping[str, Mapping[str, Any]], parts: Sequence[BundlePart]) -> str:
    """Return a table of what an app grows by: the files that it loads, and the libraries."""
    loaded = sum(f["bytes"] for name, f in files.items() if _folder(name) not in _USE)
    rows = [("this bundle without its programs", _megabytes(loaded))]
    for library in (one for part in parts for one in part.libraries):
        size = f"not known: {library.where}" if library.where else "not known"
        if library.bytes is not None:
            size = f"{_megabytes(library.bytes)}: {library.where}"
        rows.append((f"{f'{library.name} {library.version}'.strip()}, which {library.why}", size))
    lines = [f"| {inline(what)} | {inline(size)} |" for what, size in rows]
    return "\n".join([
        "## What an app grows by\n",
        "| part | size, not compressed |",
        "| --- | --- |",
        *lines,
    ])  # fmt: skip


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _folder(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def _table(about: dict[str, Any], files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of all files; of two this page cannot have the hash, because they have its."""
    known = {about["model"]["file"]: _artifact("the model", about["model"])}
    fallback, graphs = about["fallback"], about["host_graphs"]
    if fallback:
        known[fallback["file"]] = _artifact("the same model before it was compiled", fallback)
    if graphs:
        known[graphs["forward"]["file"]] = "one window to the model's inputs, as a graph"
        known[graphs["inverse"]["file"]] = "the model's outputs back to one window, as a graph"
    known |= {
        "golden.bin": "one window with its results, to test a device by",
        "golden.json": "where what lies in golden.bin, and the tolerances",
        "LICENCE-WEIGHTS.txt": "origin and licence of the weights",
    }
    rows = [
        (name, known.get(name, _other(name)), f"{entry['bytes']:,}", entry["sha256"])
        for name, entry in files.items()
    ]
    own = "signature, tensors, chunking, dsp, versions, hashes"
    rows += [
        ("README.md", "this page", "", "in SHA256SUMS"),
        ("metadata.json", own, "", "in SHA256SUMS"),
        ("SHA256SUMS", "the hashes of all other files", "", ""),
    ]
    lines = [
        f"| {code(name)} | {inline(text)} | {size} | {found} |" for name, text, size, found in rows
    ]
    return "\n".join([
        "## Every file\n",
        "| file | what it is | bytes | SHA-256 |",
        "| --- | --- | --- | --- |",
        *lines,
    ])  # fmt: skip


def _artifact(what: str, about: dict[str, Any]) -> str:
    return f"{what}: {about['format']}, {about['precision']}"


def _other(name: str) -> str:
    """Return what a file is that has no name of its own here."""
    folder = _folder(name)
    if folder in _USE:
        return f"the program in {_USE[folder][0]}"
    return "belongs to the model before it was compiled" if folder else "belongs to the model"


def _programs(
    about: dict[str, Any],
    languages: Sequence[str],
    parts: Sequence[BundlePart],
    files: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Return a section for every language, or the reason why there is none."""
    if not languages:
        return [_NO_PROGRAM]
    given, made = (
        ", ".join(map(_tensor, about["signature"][side])) for side in ("inputs", "outputs")
    )
    words = "It cuts windows, runs each through the graphs, and joins them."
    if about["fallback"]:
        words += f" Where the device cannot run {code(about['model']['file'])}, it says why and "
        words += f"runs {code(about['fallback']['file'])}."
    tensors = [*about["signature"]["inputs"], *about["signature"]["outputs"]]
    floats = all(spec["dtype"] == "float32" for spec in tensors)
    types = ", all 32-bit floats" if floats else ""
    sections = [f"The program maps {given} to {made}{types}. {words}"]
    media = "a file that `python/medium.py` reads, or " if "python/medium.py" in files else ""
    # The others are packages for Android.
    of_python = [one.name for part in parts for one in part.libraries if ":" not in one.name]
    packages = " ".join(sorted({"numpy", "onnxruntime", *of_python}))
    for language in languages:
        title, fence, lines = _USE[language]
        lines = lines.replace("{packages}", packages)
        more = _MORE[language].format(media=media) if language == "python" else _MORE[language]
        sections.append(f"## {title}\n\n```{fence}\n{lines}```\n\n{more}")
    return sections


def _tensor(spec: dict[str, Any]) -> str:
    """Return a tensor of the signature in words, such as `mix` (channel 2, time at 44100 Hz)."""
    axes = []
    for axis, size in zip(spec["axes"], spec["shape"], strict=True):
        labels, rate = spec["labels"].get(axis), spec["rates"].get(axis)
        about = f": {', '.join(labels)}" if labels else f" {size}" if size != axis else ""
        axes.append(inline(f"{axis}{about}{f' at {rate:g} Hz' if rate else ''}"))
    kind = "" if spec["dtype"] == "float32" else f"{spec['dtype']}: "
    return f"{code(spec['name'])} ({kind}{'; '.join(axes)})"


def _linking(parts: Sequence[BundlePart]) -> list[str]:
    lines = {language: text for part in parts for language, text in part.lines.items()}
    if not lines:
        return []
    fences = [f"```{language}\n{text.strip()}\n```" for language, text in lines.items()]
    return ["## What a program needs", *fences]
