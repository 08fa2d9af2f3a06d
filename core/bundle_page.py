"""What a bundle says to a person: its README, and the licence of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.exchange import Shipped
from core.values import ModelInfo

__all__ = ["licence", "readme"]

_UNKNOWN = (
    "NO LICENCE IS STATED FOR THESE WEIGHTS.\n\n"
    "Without one you may not pass them on, nor ship them in an app. Ask whoever made them.\n"
)
_USE = {
    "python": ("Python", "sh", "python python/run.py song.wav stems/\n"),
    "cpp": (
        "C++ 17",
        "cpp",
        '#include "join.h"\n#include "window.h"\n\n'
        "Window window(folder);  // of this bundle; keep it, opening takes long\n"
        "std::vector<float> result = play(window, input);  // rows one after the other\n",
    ),
    "kotlin": (
        "Kotlin",
        "kotlin",
        "Window(File(folder)).use { window ->  // of this bundle; keep it, opening takes long\n"
        "    val result = play(window, input)  // FloatArrays: rows one after the other\n"
        "}\n",
    ),
}
_BUILD = (
    "g++ -std=c++17 -O2 -I cpp -I $ONNXRUNTIME/include cpp/run.cpp "
    "-L $ONNXRUNTIME/lib -lonnxruntime -o run\n./run . input.f32 output.f32\n"
)


def licence(info: ModelInfo) -> str:
    """Return the licence note of the weights, loud where the model states none."""
    stated = f"Licence: {info.licence}\n" if info.licence else _UNKNOWN
    return f"Weights: {info.weights or 'of unknown origin'}\n{stated}"


def readme(about: dict[str, Any], languages: Sequence[str], parts: Sequence[Shipped]) -> str:
    """Return the bundle's README."""
    parts_of_page = [
        f"# {about['title'] or about['recipe']}",
        _what(about),
        _table(about, languages),
        *_programs(about, languages),
        *_linking(parts),
    ]
    return "\n\n".join(part.strip() for part in parts_of_page) + "\n"


def _what(about: dict[str, Any]) -> str:
    weights, target = about["weights"], about["target"]["title"] or about["runtime"]["plugin"]
    stated = weights["licence"] or "**none is stated: do not pass the weights on**"
    return (
        f"For {target}. Weights: {weights['origin']}. Their licence: {stated} "
        "(`LICENCE-WEIGHTS.txt`)."
    )


def _table(about: dict[str, Any], languages: Sequence[str]) -> str:
    model, fallback, graphs = about["model"], about["fallback"], about["host_graphs"]
    rows = [(model["file"], f"the model: {model['format']}, {model['precision']}")]
    if fallback:
        rows.append((
            fallback["file"],
            f"what it was compiled from: {fallback['format']}, {fallback['precision']}",
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
    rows += [(f"{name}/", f"a program in {_USE[name][0]} that plays a whole input") for name in languages]
    lines = [f"| `{name}` | {text} |" for name, text in rows]
    return "\n".join(["| file | what it is |", "| --- | --- |", *lines])


def _programs(about: dict[str, Any], languages: Sequence[str]) -> list[str]:
    """Return a section for every language, and what is missing where there is none."""
    if not languages:
        return [
            "There is no program for the device here: the runtime, the dsp or the chunker of this "
            "recipe ships none. `metadata.json` says what one must do."
        ]
    (source, *_), (result, *_) = about["signature"]["inputs"], about["signature"]["outputs"]
    shapes = [f"`{t['name']}` ({', '.join(t['axes'])})" for t in (source, result)]
    sections = [
        f"A whole input {shapes[0]} goes in, a whole output {shapes[1]} comes out, both 32-bit "
        "floats. The program cuts windows, runs each through the graphs above, and joins them."
    ]
    for language in languages:
        title, fence, lines = _USE[language]
        section = f"## {title}\n\n```{fence}\n{lines}```"
        if language == "cpp":
            section += f"\n\nOr as a command, on raw floats:\n\n```sh\n{_BUILD}```"
        sections.append(section)
    return sections


def _linking(parts: Sequence[Shipped]) -> list[str]:
    lines = {language: text for part in parts for language, text in part.lines.items()}
    if not lines:
        return []
    fences = [f"```{language}\n{text.strip()}\n```" for language, text in lines.items()]
    return ["## What a program needs", *fences]
