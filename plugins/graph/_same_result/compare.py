"""Plays a graph before and after a rewrite on the same inputs, and measures the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import Progress, StageError
from core.formats.onnx_session import session_options
from core.measure.metrics import snr_db
from plugins.graph._same_result.feeds import NotPlayableError, random_feeds

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime


__all__ = ["check_same"]

#: How much of ONNX Runtime's own message an error carries.
REASON_WIDTH = 300


def check_same(
    before: Path,
    after: Path,
    times: int,
    tolerance_db: float,
    sizes: Mapping[str, int],
    progress: Progress,
) -> float:
    """Return the lowest SNR in dB of any output of `after` against `before`, over `times` inputs.

    Equal NaNs and equal infinities count as the same. Where noise gives them (a root, a logarithm),
    noise without a sign is played instead. Raises StageError, naming the worst output, when the
    SNR is below `tolerance_db`, and where only the rewritten graph cannot be played;
    NotPlayableError where the original graph cannot be played. One graph is open at a time, so
    a model of several gigabytes is not in memory twice.
    """
    try:
        feeds, expected = _played_first(before, times, sizes, progress)
    except NotPlayableError:
        raise
    except Exception as error:  # ONNX Runtime raises a class per status code, with no common base
        raise NotPlayableError(_reason(error)) from error
    try:
        session = _opened(after)
        progress(0, times, "playing the rewritten graph")
        actual = [_outputs(session, given) for given in feeds]
    except Exception as error:
        raise StageError(
            "the rewritten graph cannot be played, but the graph before can",
            _reason(error),
            "leave the stage out (graph=[]), or skip the step that causes this",
        ) from error
    worst_db, worst = float("inf"), ""
    for reference, estimate in zip(expected, actual, strict=True):
        for name, value in reference.items():
            worst_db, worst = min((worst_db, worst), (_compared(name, value, estimate), name))
    if worst_db < tolerance_db:
        raise StageError(
            f"the rewritten graph computes other values: output `{worst}` has "
            f"{worst_db:.1f} dB SNR, below {tolerance_db:g} dB",
            f"measured: {times} random input(s), ONNX Runtime's CPU, against the graph before",
            "leave the stage out (graph=[]), or skip the step that causes this",
        )
    return worst_db


def _played_first(
    path: Path, times: int, sizes: Mapping[str, int], progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return seeded random inputs, and what the graph gives for each."""
    import numpy as np

    session = _opened(path)
    inputs, played = [], []
    for index in range(times):
        progress(index, times, "playing the graph as it was")
        for positive in (False, True):
            source = np.random.default_rng(index)
            feeds = random_feeds(session.get_inputs(), sizes, source, positive=positive)
            outputs = _outputs(session, feeds)
            if all(_finite(value) for value in outputs.values()):
                break
        inputs.append(feeds)
        played.append(outputs)
    return inputs, played


def _opened(path: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = session_options()
    # The optimisers would fuse both graphs into the same one and hide the rewrite's effect.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def _outputs(session: onnxruntime.InferenceSession, feeds: Mapping[str, Any]) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    # An input that nothing reads may be gone.
    known = {given.name: feeds[given.name] for given in session.get_inputs()}
    return dict(zip(names, session.run(names, known), strict=True))


def _compared(name: str, reference: Any, outputs: Mapping[str, Any]) -> float:
    """Return the SNR in dB of one output; raises StageError where it is gone, or of another shape.

    An output may be a sequence of arrays, which counts by its worst.
    """
    import numpy as np

    parts, others = _parts(reference), _parts(outputs.get(name, []))
    if [part.shape for part in parts] != [other.shape for other in others]:
        raise StageError(
            f"the rewritten graph gives another output `{name}`",
            f"before: {_shapes(parts)}",
            f"after: {_shapes(others)}",
            "leave the stage out (graph=[]), or skip the step that causes this",
        )
    found = [200.0]
    for part, other in zip(parts, others, strict=True):
        if not np.issubdtype(part.dtype, np.number) and part.dtype != np.bool_:
            found.append(200.0 if (part == other).all() else -200.0)
            continue
        ours, theirs = part.astype(np.float64), other.astype(np.float64)
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        found.append(snr_db(np.where(same & ~np.isfinite(ours), 0.0, ours),
                            np.where(same & ~np.isfinite(ours), 0.0, theirs)))  # fmt: skip
    return min(found)


def _parts(value: Any) -> Sequence[Any]:
    """Return the arrays of an output."""
    return value if isinstance(value, list) else [value]


def _finite(value: Any) -> bool:
    import numpy as np

    return all(part.dtype.kind not in "fc" or np.isfinite(part).all() for part in _parts(value))


def _shapes(parts: Sequence[Any]) -> str:
    return ", ".join("×".join(map(str, part.shape)) or "()" for part in parts) or "nothing"


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:REASON_WIDTH]
