"""Where HTDemucs weights come from: the box, a file, demucs's releases, or a random generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from core import FitFor, InputError, Notice, StageContext
from plugins.model._hybrid import cached, checkpoint, foreign
from plugins.model._hybrid import pretrained as releases
from plugins.model._hybrid.checkpoint import Checkpoint

__all__ = ["Found", "bundled", "file", "pretrained", "random"]

STEMS = ["drums", "bass", "other", "vocals"]


@dataclass(frozen=True)
class Found:
    """Weights, their origin in words, notices for the user, and whether the cache may keep them.

    `fit_for` names the inputs that they suit; None for any input.
    """

    checkpoint: Checkpoint
    origin: str
    notices: tuple[Notice, ...] = ()
    keep: bool = True
    fit_for: FitFor | None = None


def bundled(path: Path) -> Found:
    """Return the small model in the box, which is fit for songs like those that it learned from."""
    offline = (
        f"without a network here: download `{cached.address()}` elsewhere, put it under its name "
        f"into `{cached.CHECKPOINTS}` (or `$TORCH_HOME/hub/checkpoints`) and run the same command; "
        "or name the file: `model=htdemucs model.weights=FILE`. `mode=doctor` says "
        "whether the weights are on this machine"
    )
    fit_for = FitFor(
        ("synthetic",),
        "the bundled small model was trained on generated music only and is not fit for real songs",
        ("model=htdemucs",),
        offline,
    )
    return Found(
        checkpoint.read(path), "bundled small model, trained on synthetic music", fit_for=fit_for
    )


def file(path: Path, work: StageContext) -> Found:
    """Return a local checkpoint, which may come from anywhere: a process of its own opens it."""
    return Found(foreign.opened(path, work.folder, work.progress), f"file {path.name}")


def pretrained(name: str, fallback: Path | None, work: StageContext) -> Found:
    """Return a released model; without it `fallback`, with a danger notice, which is never kept.

    Raises InputError when the model is not available and there is no fallback.
    """
    fetched = work.folder / "fetched.safetensors"
    try:
        releases.fetch(name, fetched, work.progress)
        loaded = checkpoint.read(fetched)
    except InputError as error:
        if fallback is None:
            raise
        reason = f" ({error.lines[0]})" if error.lines else ""
        text = (
            f"{error.what}{reason}. The bundled small model, which was trained on "
            "generated music, replaces it."
        )
        return replace(bundled(fallback), notices=(Notice("danger", text),), keep=False)
    finally:
        fetched.unlink(missing_ok=True)
    loaded = replace(loaded, licence=loaded.licence or "MIT (demucs)")
    return Found(loaded, f"pretrained {name}, from demucs")


def random(seed: int) -> Found:
    """Return the architecture of the released `htdemucs`, untrained."""
    import torch
    from demucs.htdemucs import HTDemucs

    # The released checkpoint (955717e8) differs from the constructor's defaults in these.
    kwargs = {"sources": STEMS, "bottom_channels": 512, "dconv_mode": 3, "segment": 7.8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = HTDemucs(**kwargs).state_dict()
    text = "random weights: timings and sizes are real, the sound is noise"
    return Found(
        Checkpoint(kwargs, state, "none: untrained"),
        f"random (untrained, seed {seed})",
        (Notice("danger", text),),
    )
