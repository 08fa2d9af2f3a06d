"""The facts that a model must state for the STFT of demucs."""

from __future__ import annotations

from dataclasses import dataclass

from core import Fact, ModelInfo, StageError

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """The facts of a model's `dsp_facts`: sizes, names of tensors, normalisation."""

    nfft: int
    hop: int
    input: str
    spec_input: str
    time_output: str
    spec_output: str
    output: str
    normalise: bool

    @classmethod
    def of(cls, info: ModelInfo) -> Facts:
        """Read the facts; raises StageError where one is missing or the sizes do not fit."""
        types: dict[str, type[Fact]] = {
            **dict.fromkeys(("nfft", "hop"), int),
            **dict.fromkeys(("input", "spec_input", "time_output", "spec_output", "output"), str),
            "normalise": bool,
        }
        wrong = [n for n, kind in types.items() if not isinstance(info.dsp_facts.get(n), kind)]
        if wrong:
            raise StageError(
                f"dsp `stft` needs facts that the model does not give: {', '.join(wrong)}",
                f"the model gives: {', '.join(sorted(info.dsp_facts)) or 'none'}",
                "give them in `ModelInfo.dsp_facts`, or choose a model that needs dsp `none`",
            )
        facts = cls(**{name: info.dsp_facts[name] for name in types})  # type: ignore[arg-type]  # checked above
        # With an odd hop, 3/2 hop is no whole number of samples: demucs asserts this too.
        if facts.hop < 1 or facts.nfft != 4 * facts.hop or facts.hop % 2:
            raise StageError(
                f"dsp `stft` needs an even hop of a quarter of the window, as in demucs, "
                f"but the model has nfft {facts.nfft} and hop {facts.hop}",
            )
        return facts
