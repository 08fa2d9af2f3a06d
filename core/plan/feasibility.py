"""Verdicts on windows: whether a chain of stages compiles for a device at one window length.

The store keeps them as the step `fit`. The fingerprint holds all that decides on the answer, but
not the calibration data, which decides on ranges and not on what fits. A runtime's limits are
options of it, and so belong to the fingerprint. Failures of other sorts are no verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from core.config.pipeline import Pipeline
from core.errors import DoesNotFitError
from core.plugin.values import Artifact, Fact
from core.steps.chain import chain
from core.store import damage, fingerprint
from core.store.hashing import folder_digest
from core.store.local import Store

__all__ = ["Verdict", "advised", "compiled", "find", "keep", "option_for", "refused"]

STEP = "fit"


@dataclass(frozen=True)
class Verdict:
    """Whether a window compiles, and what it cost to find out.

    `window` gives samples per axis. `why` holds the lines of the refusal, `cause` what ran out in
    a word or two. `facts` are those of the compiled artifact that its runtime puts into tables.
    `cacheable` is false if the store must not keep the verdict: the attempt failed for a reason
    that may be gone next time.
    """

    precision: str
    window: dict[str, int]
    fits: bool
    seconds: float
    peak_memory_mb: float
    made_at: str
    cause: str = ""
    why: list[str] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    cacheable: bool = True


def compiled(pipeline: Pipeline, artifact: Artifact) -> Verdict:
    """Return the verdict for a compiled artifact."""
    return Verdict(
        pipeline.precision,
        dict(pipeline.chunker.window()),
        fits=True,
        seconds=artifact.made_in_s,
        peak_memory_mb=artifact.peak_memory_mb,
        made_at=artifact.made_at,
        facts={name: artifact.facts.get(name) for name in pipeline.runtime.columns},
    )


def refused(pipeline: Pipeline, error: DoesNotFitError) -> Verdict:
    """Return the verdict for a refusal."""
    return Verdict(
        pipeline.precision,
        dict(pipeline.chunker.window()),
        fits=False,
        seconds=error.seconds,
        peak_memory_mb=error.peak_memory_mb,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cause=error.cause,
        why=[error.what, *error.lines],
        cacheable=error.cacheable,
    )


def find(store: Store, pipeline: Pipeline) -> Verdict | None:
    """Return the stored verdict on the pipeline's window, if there is one."""
    return _read(store.find(STEP, _fingerprint(pipeline)))


def keep(store: Store, pipeline: Pipeline, verdict: Verdict) -> None:
    """Keep a verdict, unless it is not `cacheable` or one is kept already."""
    if not verdict.cacheable or find(store, pipeline) is not None:
        return
    about = _fingerprint(pipeline)
    with store.lock(STEP, about, lambda: None), store.staging() as folder:
        file = folder / "verdict.json"
        file.write_bytes(msgspec.json.encode(verdict))
        artifact = Artifact(
            str(folder), str(file), "facts", verdict.precision, folder_digest(folder),
            file.stat().st_size, (STEP,), made_at=verdict.made_at,
        )  # fmt: skip
        store.keep(STEP, about, artifact)


def advised(
    error: DoesNotFitError, pipeline: Pipeline, store: Store, search: str
) -> DoesNotFitError:
    """Return `error` with what would fit, as far as the store knows, and how to find out more."""
    windows = [v.window for v in _known(store, pipeline) if v.fits]
    lines = [f"find the longest that fits: {search}"]
    if windows:
        longest = max(windows, key=lambda window: sorted(window.values()))
        size = ", ".join(f"{length} along {axis}" for axis, length in longest.items())
        lines.insert(0, f"known to fit: {size}: {option_for(pipeline, longest)}")
    told = DoesNotFitError(
        error.what, *error.lines, *lines, cause=error.cause, cacheable=error.cacheable
    )
    told.seconds, told.peak_memory_mb = error.seconds, error.peak_memory_mb
    return told


def option_for(pipeline: Pipeline, window: dict[str, int]) -> str:
    """Return the override that gives the recipe's chunker this window: `chunker.length=44100`."""
    longer = {axis: length + 1 for axis, length in window.items()}
    this, other = (
        fingerprint.of_plugin(pipeline.chunker.resized(w))["options"] for w in (window, longer)
    )
    return " ".join(f"chunker.{key}={value}" for key, value in this.items() if value != other[key])


def _known(store: Store, pipeline: Pipeline) -> Iterator[Verdict]:
    """Yield the stored verdicts on all windows of the same pipeline."""
    question = {k: v for k, v in _fingerprint(pipeline).items() if k != "window"}
    for about in store.fingerprints(STEP):
        if {k: v for k, v in about.items() if k != "window"} == question:
            verdict = _read(store.find(STEP, about))
            if verdict is not None:
                yield verdict


def _read(artifact: Artifact | None) -> Verdict | None:
    """Return the verdict in a file that the store verified; an unreadable one is reported."""
    if artifact is None:
        return None
    try:
        return msgspec.json.decode(Path(artifact.path).read_bytes(), type=Verdict)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        what = "a verdict on a window cannot be read, and is ignored"
        damage.tell(Path(artifact.folder), f"{what}: {error}")
        return None


def _fingerprint(pipeline: Pipeline) -> dict[str, Any]:
    stages = [fingerprint.of_plugin(s.plugin) for s in chain(pipeline) if not s.plugin.passes]
    return {
        "plugin": f"runtime `{pipeline.runtime.name}`",
        "model": {**fingerprint.of_plugin(pipeline.model), "identity": pipeline.model.identity()},
        "dsp": fingerprint.of_plugin(pipeline.dsp),
        "stages": stages,
        "precision": pipeline.precision,
        "window": dict(pipeline.chunker.window()),
    }
