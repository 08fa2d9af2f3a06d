"""The arguments that an HTDemucs may be built with: each one has a declared range.

A checkpoint says how large its network is, and demucs builds whatever it says: a million layers,
or a window of a trillion samples. The ranges here are wide (the released models lie far within) and
narrow enough that a network in them is described in seconds and megabytes. `checkpoint.build` then
checks that the weights belong to it, before any memory is taken for them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

__all__ = ["RANGES", "checked", "fraction"]

#: Most digits of a numerator or denominator: enough for any length of music.
_DIGITS = 12
_RATIO = re.compile(rf"(-?\d{{1,{_DIGITS}}})(?:/(\d{{1,{_DIGITS}}})|\.(\d{{1,{_DIGITS}}}))?")


def fraction(numerator: Any, denominator: Any = 1) -> Fraction:
    """Return a fraction of two short whole numbers, or of a text such as `39/5` or `7.8`.

    Raises ValueError for anything else: `Fraction("1e999999999")` would compute for hours.
    """
    if isinstance(numerator, str) and denominator == 1:
        found = _RATIO.fullmatch(numerator)
        if found and not (found[2] and int(found[2]) == 0):
            return Fraction(numerator)
        raise ValueError(f"{_shown(numerator)} is no fraction")
    for number in (numerator, denominator):
        if type(number) is not int or abs(number) >= 10**_DIGITS:
            raise ValueError(f"{_shown(number)} is no whole number of {_DIGITS} digits or fewer")
    if denominator == 0:
        raise ValueError("a denominator is 0")
    return Fraction(numerator, denominator)


Check = Callable[[Any], str]
"""Returns in words what a value may be; nothing where the value is right."""


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str:
        right = type(value) is int and low <= value <= high
        return "" if right else f"a whole number from {low:,} to {high:,}"

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> str:
        right = type(value) in (int, float, Fraction) and low <= value <= high
        return "" if right else f"a number from {low:g} to {high:g}"

    return check


def _flag(value: Any) -> str:
    return "" if type(value) is bool or (type(value) is int and value in (0, 1)) else "true, false"


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        return "" if isinstance(value, str) and value in names else ", ".join(names)

    return check


def _or_none(check: Check) -> Check:
    def either(value: Any) -> str:
        said = "" if value is None else check(value)
        return f"{said}, or null" if said else ""

    return either


def _some(most: int, check: Check) -> Check:
    def each(value: Any) -> str:
        if not isinstance(value, list | tuple) or len(value) > most:
            return f"a list of at most {most}"
        said = next(filter(None, map(check, value)), "")
        return f"a list of items, each {said}" if said else ""

    return each


def _mask(value: Any) -> str:
    parts = value.split("_") if isinstance(value, str) and len(value) <= 64 else [""]  # noqa: PLR2004
    known = {"diag", "jmask", "random", "global"}
    return "" if set(parts) <= known else f"{', '.join(sorted(known))}, joined by `_`"


#: The name of the file that every song's sound before separation gets.
_TAKEN = "mixture"
_LONGEST_NAME = 100
_MOST_STEMS = 64


def _stems(value: Any) -> str:
    said = f"a list of 1 to {_MOST_STEMS} names"
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MOST_STEMS:
        return said
    if not all(isinstance(name, str) and _is_name(name) for name in value):
        return f"{said}, each usable as a file name"
    plain = [name.casefold() for name in value]
    if len(set(plain)) < len(plain) or _TAKEN in plain:
        return f"{said}, all different and none of them `{_TAKEN}`"
    return ""


def _is_name(name: str) -> bool:
    """Return whether a stem's name is plain: harmless to file systems and terminals."""
    marks = unicodedata.normalize("NFC", name)
    letters = bool(re.fullmatch(r"[\w ().&+-]+", marks)) and bool(re.search(r"\w", marks))
    return letters and marks.isprintable() and len(marks) <= _LONGEST_NAME and marks[0] != "."


#: Hz, and seconds: what a model was trained on.
_RATE = _whole(1_000, 768_000)
_SEGMENT = _number(0.01, 3_600)

RANGES: Mapping[str, Check] = {
    "sources": _stems,
    "audio_channels": _whole(1, 8),
    "channels": _whole(1, 4_096),
    "channels_time": _or_none(_whole(1, 4_096)),
    "growth": _number(0.25, 8),
    "nfft": _whole(16, 65_536),
    "wiener_iters": _whole(0, 16),
    "end_iters": _whole(0, 16),
    "wiener_residual": _flag,
    "cac": _flag,
    "depth": _whole(1, 12),
    "rewrite": _flag,
    "multi_freqs": _or_none(_some(16, _number(0, 1))),
    "multi_freqs_depth": _whole(0, 12),
    "freq_emb": _or_none(_number(0, 1_000)),
    "emb_scale": _number(1e-6, 1e6),
    "emb_smooth": _flag,
    "kernel_size": _whole(1, 256),
    "time_stride": _whole(1, 64),
    "stride": _whole(1, 64),
    "context": _whole(0, 64),
    "context_enc": _whole(0, 64),
    "norm_starts": _whole(0, 1_000),
    "norm_groups": _whole(1, 1_024),
    "dconv_mode": _whole(0, 3),
    "dconv_depth": _whole(-16, 16),
    "dconv_comp": _number(1, 1_024),
    "dconv_init": _number(0, 1_000),
    "bottom_channels": _whole(0, 16_384),
    "t_layers": _whole(0, 64),
    "t_emb": _one_of("sin", "cape", "scaled"),
    "t_hidden_scale": _number(0.01, 64),
    "t_heads": _whole(1, 256),
    "t_dropout": _number(0, 1),
    "t_max_positions": _whole(1, 1_000_000),
    "t_norm_in": _flag,
    "t_norm_in_group": _flag,
    "t_group_norm": _flag,
    "t_norm_first": _flag,
    "t_norm_out": _flag,
    "t_max_period": _number(1, 1e9),
    "t_weight_decay": _number(0, 1_000),
    "t_lr": _or_none(_number(0, 1_000)),
    "t_layer_scale": _flag,
    "t_gelu": _flag,
    "t_weight_pos_embed": _number(-1e6, 1e6),
    "t_sin_random_shift": _whole(0, 1_000_000),
    "t_cape_mean_normalize": _flag,
    "t_cape_augment": _flag,
    "t_cape_glob_loc_scale": _some(3, _number(-1e6, 1e6)),
    "t_sparse_self_attn": _flag,
    "t_sparse_cross_attn": _flag,
    "t_mask_type": _mask,
    "t_mask_random_seed": _whole(0, 2**32 - 1),
    "t_sparse_attn_window": _whole(0, 1_000_000),
    "t_global_window": _whole(0, 1_000_000),
    "t_sparsity": _number(0, 1),
    "t_auto_sparsity": _flag,
    "t_cross_first": _flag,
    "rescale": _or_none(_number(0, 1e6)),
    "samplerate": _RATE,
    "segment": _SEGMENT,
    "use_train_segment": _flag,
}


def checked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments; a segment that is given as text becomes a number.

    Raises ValueError that names the first argument out of its range, its value and the range. An
    argument without a known range may be a number, a flag or nothing.
    """
    made: dict[str, Any] = {}
    for name, value in arguments.items():
        given = value
        if name == "segment" and isinstance(value, str):
            given = fraction(value)
        allowed = RANGES.get(name, _or_none(_number(-1e6, 1e6)))(given)
        if allowed:
            raise ValueError(f"`{name}` is {_shown(value)}; it can be: {allowed}")
        made[name] = list(given) if isinstance(given, tuple) else given
    if "sources" not in made:
        raise ValueError("`sources` is missing: the names of the stems")
    return made


def _shown(value: Any) -> str:
    """Return a value as a short text, without working out how long it would be."""
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value):,}"
    if type(value) is int and abs(value) >= 10**30:
        return f"a number of about {math.ceil(value.bit_length() * math.log10(2)):,} digits"
    if isinstance(value, str):
        return f"`{value[:60]}`"
    if isinstance(value, bool | int | float | Fraction) or value is None:
        return str(value)[:60]
    return f"a {type(value).__name__}"
