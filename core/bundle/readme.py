"""The texts of a bundle for people: its README, and the licence of the weights."""

from __future__ import annotations

from collections.abc import Sequence
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

Window window(folder);  // of this bundle; keep it, opening takes long
std::vector<float> result = play(window, input);  // rows one after the other
"""
_KOTLIN = """\
Window(File(folder)).use { window ->  // of this bundle; keep it, opening takes long
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
        "pip install numpy onnxruntime\npython python/run.py INPUT FOLDER\n",
    ),
    "cpp": ("C++ 17", "cpp", _CPP),
    "kotlin": ("Kotlin", "kotlin", _KOTLIN),
}
#: The text after the lines of a language.
_MORE = {
    "python": "INPUT is an `.npz` with an array for every input, or a file that `python/medium.py` "
    "reads, where there is one.",
    "cpp": "Or as a command, on raw floats:\n\n```sh\n"
    "g++ -std=c++17 -O2 -I cpp -I $ONNXRUNTIME/include cpp/run.cpp "
    "-L $ONNXRUNTIME/lib -lonnxruntime -o run\n./run . input.f32 output.f32\n```",
    "kotlin": "`input` and `result` lie in memory as in C++. Models are opened by path: copy the "
    "bundle out of the assets first, for example to `filesDir`.",
}


def licence(info: ModelInfo) -> str:
    """Return the licence note of the weights: a warning in capitals where the model states none."""
    stated = f"Licence: {shown(info.licence)}\n" if info.licence else _UNSTATED
    return f"Weights: {shown(info.weights) or 'of unknown origin'}\n{stated}"


def readme(about: dict[str, Any], languages: Sequence[str], parts: Sequence[BundlePart]) -> str:
    """Return the bundle's README."""
    parts_of_page = [
        f"# {inline(about['title'] or about['recipe'])}",
        _what(about),
        *_never_run(about["runtime"].get("never_run", "")),
        _table(about, languages),
        *_programs(about, languages),
        *_linking(parts),
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


def _table(about: dict[str, Any], languages: Sequence[str]) -> str:
    model, fallback, graphs = about["model"], about["fallback"], about["host_graphs"]
    rows = [(model["file"], f"the model: {model['format']}, {model['precision']}")]
    if fallback:
        rows.append((
            fallback["file"],
            f"the same model before it was compiled: {fallback['format']}, {fallback['precision']}",
        ))  # fmt: skip
    if graphs:
        rows += [
            (graphs["forward"]["file"], "one window to the model's inputs, as a graph"),
            (graphs["inverse"]["file"], "the model's outputs back to one window, as a graph"),
        ]
    rows.append((
        "metadata.json",
        "signature, tensors, chunking, dsp, versions, hashes of all other files",
    ))  # fmt: skip
    rows += [
        (f"{name}/", f"a program in {_USE[name][0]} that plays a whole input") for name in languages
    ]
    lines = [f"| {code(name)} | {inline(text)} |" for name, text in rows]
    return "\n".join(["| file | what it is |", "| --- | --- |", *lines])


def _programs(about: dict[str, Any], languages: Sequence[str]) -> list[str]:
    """Return a section for every language, or the reason why there is none."""
    if not languages:
        return [_NO_PROGRAM]
    given, made = (
        ", ".join(map(_tensor, about["signature"][side])) for side in ("inputs", "outputs")
    )
    words = "It cuts windows, runs each through the graphs above, and joins them."
    if about["fallback"]:
        words += f" Where the device cannot run {code(about['model']['file'])}, it says so and "
        words += f"runs {code(about['fallback']['file'])} on the CPU."
    tensors = [*about["signature"]["inputs"], *about["signature"]["outputs"]]
    floats = all(spec["dtype"] == "float32" for spec in tensors)
    types = ", all 32-bit floats" if floats else ""
    sections = [f"The program maps {given} to {made}{types}. {words}"]
    for language in languages:
        title, fence, lines = _USE[language]
        sections.append(f"## {title}\n\n```{fence}\n{lines}```\n\n{_MORE[language]}")
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
