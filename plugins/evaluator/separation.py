"""Metrics of source separation: SDR, SI-SDR, the cost of precision, and the cost of the seams.

Without true stems, as for a user's own songs, there is no SDR. The metrics are then what the stems
leave of the mixture, and how loud each of them is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from core import (
    Array,
    EvaluatedItem,
    Evaluator,
    LimitSpec,
    Metric,
    Signature,
    StageError,
    TensorSpec,
    Window,
    hookimpl,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["Separation", "SeparationOptions", "level", "residual", "sdr", "seam_error", "si_sdr"]

#: Added to both energies by the Music Demixing Challenge, so that silence has an SDR too.
DELTA = 1e-7
#: Reported where the error or the signal is zero: a finite number survives JSON and plots.
LIMIT_DB = 200.0


#: A true stem that is quieter than the loudest by more dB is silent: nobody hears it beside that.
SILENT_DB = 60.0
#: The note of every metric that replaces SDR.
NO_TRUTH = "SDR needs true stems"
#: The axis along which a model's outputs are stems: parts that add up to the mixture.
STEM = "stem"


@dataclass
class SeparationOptions:
    """What is known of the stems beside the model's signature."""

    add_up: bool | None = None
    """Whether the stems add up to the input, so that what they leave of it is an error; null: if
    they are two or more along an axis called `stem`, each in the shape of the input."""


class Separation(Evaluator[SeparationOptions]):
    """Compares stems with the true ones where they are known, and listens for the seams.

    The metrics, in dB, of each stem (the label) and their mean (the statistic): `sdr`, `si_sdr`,
    `sdr_mixture` and `sdr_improvement`, `sdr_reference` and `sdr_drop`, `seam_error`. A stem that
    is silent in a song has no SDR there. Without true stems: `residual` and `residual_reference` of
    each item, and `level` of each stem in dBFS.
    """

    name = "separation"
    Options = SeparationOptions
    limits: ClassVar[Mapping[str, LimitSpec]] = {
        "min_sdr_db": LimitSpec("sdr", "dB", is_least=True, of_truth=True),
        "max_sdr_drop_db": LimitSpec("sdr_drop", "dB", of_truth=True),
        "max_residual_db": LimitSpec("residual", "dB"),
        "max_seam_error_db": LimitSpec("seam_error", "dB"),
    }

    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return every metric per stem, then its mean over the stems.

        Raises StageError where stems are said to add up to an input of another shape.
        """
        metrics = [*_quality(played, signature), *_seams(played, signature)]
        unknown = signature.outputs[0].name not in played.item.references
        others = [*self._without_truth(played, signature)] if unknown else []
        return [*others, *self._with_means(played, signature, metrics)]

    def _without_truth(self, played: EvaluatedItem, signature: Signature) -> Iterator[Metric]:
        """Yield what the stems leave of the mixture, and the level of each."""
        spec = signature.outputs[0]
        mixture = played.item.inputs[signature.inputs[0].name]
        if self._adds_up(spec, mixture, played.outputs[spec.name]):
            note = f"mixture minus the sum of the stems, relative to the mixture; {NO_TRUTH}"
            for name, outputs, device in (
                ("residual", played.outputs, played.device),
                ("residual_reference", played.reference, "PyTorch FP32"),
            ):
                value = residual(mixture, outputs[spec.name].sum(axis=spec.axis(_stem_axis(spec))))
                if value is not None:
                    item = played.item.name
                    yield Metric(name, value, "dB", device, item, better="lower", note=note)
        note = f"RMS of the whole song, where a full-scale sine has 0 dBFS (AES17); {NO_TRUTH}"
        for index, stem in enumerate(_stems(spec)):
            value = level(_stem(played.outputs[spec.name], spec, index))
            device, item = played.device, played.item.name
            yield Metric("level", value, "dBFS", device, item, stem, note=note)

    def _adds_up(self, spec: TensorSpec, mixture: Array, stems: Array) -> bool:
        """Return whether the stems add up to the mixture; labels such as speakers do not."""
        said, axis = self.options.add_up, _stem_axis(spec)
        fits = bool(axis) and stems.take(0, spec.axis(axis)).shape == mixture.shape
        if said and not fits:
            raise StageError(
                f"the stems cannot add up to the input: `{spec.name}` has the shape {stems.shape}, "
                f"the input {mixture.shape}",
                "let the signature decide: evaluator.separation.add_up=null",
            )
        return fits and (said if said is not None else axis == STEM and len(_stems(spec)) > 1)

    def _with_means(
        self, played: EvaluatedItem, signature: Signature, metrics: list[Metric]
    ) -> Sequence[Metric]:
        if not signature.outputs[0].labels:
            return metrics
        by_name: dict[str, list[Metric]] = {}
        for metric in metrics:
            by_name.setdefault(metric.name, []).append(metric)
        for found in by_name.values():
            mean, one = sum(metric.value for metric in found) / len(found), found[0]
            metrics.append(replace(one, value=mean, label="", statistic="mean"))
        return metrics


def _quality(played: EvaluatedItem, signature: Signature) -> Iterator[Metric]:
    """Compare outputs, FP32 reference and mixture with the true stems, where there are any."""
    spec = signature.outputs[0]
    truth = played.item.references.get(spec.name)
    if truth is None:
        return
    mixture = played.item.inputs[signature.inputs[0].name]
    sounding = _sounding(truth, spec)
    for index, stem in enumerate(_stems(spec)):
        if not sounding[index]:
            continue
        true, estimate, fp32 = (
            _stem(array, spec, index)
            for array in (truth, played.outputs[spec.name], played.reference[spec.name])
        )
        yield from _of_stem(played, stem, true, estimate, fp32)
        if mixture.size == true.size:
            mixed = sdr(true, mixture.reshape(true.shape))
            yield from _over_mixture(played, stem, mixed, sdr(true, estimate))


def _sounding(truth: Array, spec: TensorSpec) -> list[bool]:
    """Return for every stem whether it is in the song: SDR has no meaning for a silent one.

    Its leakage would decide every contract, however quiet it is. `core.measure.metrics` compares
    such a stem with FP32 in relation to the others.
    """
    import numpy as np

    powers = [
        float(np.sum(np.square(_stem(truth, spec, index), dtype=np.float64)))
        for index in range(len(_stems(spec)))
    ]
    least = max(powers) * 10 ** (-SILENT_DB / 10)
    return [power > 0 and power >= least for power in powers]


def _of_stem(
    played: EvaluatedItem, stem: str, true: Array, estimate: Array, fp32: Array
) -> Iterator[Metric]:
    here, before = sdr(true, estimate), sdr(true, fp32)
    device, item, against = played.device, played.item.name, played.against
    note = "MDX definition, whole song"
    yield Metric("sdr", here, "dB", device, item, stem, better="higher", note=note)
    scale_invariant = si_sdr(true, estimate)
    if scale_invariant is not None:
        note = "Le Roux et al. 2019, whole song"
        yield Metric(
            "si_sdr", scale_invariant, "dB", device, item, stem, better="higher", note=note
        )
    yield Metric(
        "sdr_reference", before, "dB", "PyTorch FP32", item, stem, better="higher", note=against
    )
    note = f"loss of SDR against FP32 PyTorch with {against}"
    yield Metric("sdr_drop", before - here, "dB", device, item, stem, better="lower", note=note)


def _over_mixture(played: EvaluatedItem, stem: str, mixed: float, here: float) -> Iterator[Metric]:
    device, item = played.device, played.item.name
    note = "the untouched mixture, used as the stem"
    yield Metric("sdr_mixture", mixed, "dB", "no device", item, stem, note=note)
    note, gain = "SDR above that of the untouched mixture", here - mixed
    yield Metric("sdr_improvement", gain, "dB", device, item, stem, better="higher", note=note)


def _seams(played: EvaluatedItem, signature: Signature) -> Iterator[Metric]:
    """Compare the error where windows meet with the error between, per stem."""
    import numpy as np

    spec = signature.outputs[0]
    axes = set(played.windows[0].start) if played.windows else set()
    if len(axes) != 1 or not axes <= set(spec.axes):
        return
    output, ideal = played.outputs[spec.name], played.ideal[spec.name]
    at = spec.axis(axes.pop())
    for index, stem in enumerate(_stems(spec)):
        error = np.moveaxis(_stem(output, spec, index) - _stem(ideal, spec, index), at, -1)
        energy = np.square(error, dtype=np.float64).reshape(-1, error.shape[-1]).mean(axis=0)
        value = seam_error(energy, played.windows)
        if value is not None:
            yield Metric(
                "seam_error",
                value,
                "dB",
                played.device,
                played.item.name,
                stem,
                better="lower",
                note="error where windows meet, relative to the error between, against "
                "FP32 PyTorch with the training window",
            )


def sdr(reference: Array, estimate: Array) -> float:
    """Return the signal-to-distortion ratio in dB of (channel, time), as the MDX challenge does.

    10·log10((Σ s² + 1e-7) / (Σ (s - e)² + 1e-7)) over channels and time (Mitsufuji et al. 2022,
    "Music Demixing Challenge 2021", eq. 2).
    """
    import numpy as np

    signal = np.sum(np.square(reference, dtype=np.float64)) + DELTA
    noise = np.sum(np.square(reference.astype(np.float64) - estimate)) + DELTA
    return float(10 * np.log10(signal / noise))


def si_sdr(reference: Array, estimate: Array) -> float | None:
    """Return the scale-invariant SDR in dB over all channels; None for a silent reference.

    10·log10(‖a·s‖² / ‖a·s - e‖²) with a = ⟨e, s⟩ / ‖s‖² (Le Roux et al. 2019, "SDR - half-baked or
    well done?", eq. 5), clipped to ±200 dB.
    """
    import numpy as np

    true, heard = (np.ravel(a).astype(np.float64) for a in (reference, estimate))
    energy = float(true @ true)
    if energy == 0:
        return None
    target = float(heard @ true) / energy * true
    return _ratio_db(float(target @ target), float(np.sum(np.square(target - heard))))


def residual(mixture: Array, total: Array) -> float | None:
    """Return in dB what stems leave of the mixture, in relation to it; None for a silent mixture.

    10·log10(Σ (x - Σ s)² / Σ x²) over channels and time, with the mixture x and the estimates s:
    the error that "mixture consistency" drives to zero (Wisdom et al. 2019, "Differentiable
    consistency constraints for improved deep speech enhancement"), as a level. At 0 dB they leave
    as much as there was. It does not tell which sound is in which stem: the mixture as one stem
    and silence as the others leave nothing.
    """
    import numpy as np

    energy = float(np.sum(np.square(mixture, dtype=np.float64)))
    if energy == 0:
        return None
    left = float(np.sum(np.square(mixture.astype(np.float64) - total)))
    return _ratio_db(left, energy)


def level(sound: Array) -> float:
    """Return the RMS level in dBFS over all channels; -200 for silence.

    20·log10(√2 · RMS): AES17 takes the level of a full-scale sine, whose RMS is 1/√2, as 0 dBFS.
    """
    import numpy as np

    power = float(np.mean(np.square(sound, dtype=np.float64))) if sound.size else 0.0
    return _ratio_db(2 * power, 1.0)


def seam_error(energy: NDArray[np.float64], windows: Sequence[Window]) -> float | None:
    """Return in dB how much more error lies where windows meet than elsewhere.

    `energy` (time,) is the error's, sample by sample, at the input's rate or a multiple. Windows
    meet in their overlap, or within 1/16 of a window of a join without one, but never nearer to
    the middle of a window than to the join. None where nothing meets, or where there is no error.
    """
    import numpy as np

    if len(windows) < 2:  # noqa: PLR2004  # one window meets no other
        return None
    (axis,) = windows[0].start
    scale = len(energy) / max(window.stop[axis] for window in windows)
    meets = np.zeros(len(energy), bool)
    for before, after in pairwise(windows):
        start, stop, following = before.start[axis], before.stop[axis], after.start[axis]
        reach = max((stop - following) / 2, (stop - start) / 16)
        reach = min(reach, (following - start) / 4)
        centre = (stop + following) / 2
        meets[round((centre - reach) * scale) : round((centre + reach) * scale)] = True
    if meets.all() or not meets.any() or not energy.any():
        return None
    return _ratio_db(float(energy[meets].mean()), float(energy[~meets].mean()))


def _ratio_db(over: float, under: float) -> float:
    import numpy as np

    if over == 0 or under == 0:
        return LIMIT_DB if over else -LIMIT_DB
    return float(np.clip(10 * np.log10(over / under), -LIMIT_DB, LIMIT_DB))


def _stems(spec: TensorSpec) -> tuple[str, ...]:
    """Return the names of the stems; the output's own name where it has none."""
    return next(iter(spec.labels.values()), (spec.name,))


def _stem_axis(spec: TensorSpec) -> str:
    """Return the axis along which the stems lie; "" where there is none."""
    return next(iter(spec.labels), "")


def _stem(array: Array, spec: TensorSpec, index: int) -> Array:
    """Return one stem; the axis of the stems stays, 1 long."""
    import numpy as np

    axis = next(iter(spec.labels), None)
    return array if axis is None else np.take(array, [index], spec.axis(axis))


@hookimpl
def luthier_plugins() -> list[type[Separation]]:
    """Return the evaluator plugin of this file."""
    return [Separation]
