"""The contract of every model: safe files, a true signature, and a core that matches the whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.conformance.base import PluginSuite
from core.formats.torch_outputs import by_name
from core.inference.drawn import drawn
from core.inference.items import check_example
from core.measure.metrics import snr_db
from core.plugin.kinds import Dsp
from core.plugin.stages import StageContext
from core.plugin.values import Artifact
from core.store.hashing import folder_digest

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["ModelSuite"]

PICKLES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".bin", ".ckpt")


class ModelSuite(PluginSuite):
    """Name the `dsp` plugin (made) that the model needs, and a `window` in lengths per axis."""

    dsp: ClassVar[Dsp[Any]]
    window: ClassVar[dict[str, int]]
    agreement_db: ClassVar[float] = 100.0

    def fetched(self, work: StageContext) -> Artifact:
        """Return the artifact of `fetch`, as the run would hold it."""
        made = self.make().fetch(work)
        return Artifact(
            str(work.folder),
            str(made.path),
            made.format,
            made.precision,
            folder_digest(work.folder),
            made.path.stat().st_size,
            ("model",),
            made.model,
        )

    def piece(self, artifact: Artifact) -> Tensors:
        """Return one window that fits the model: its own example, or values drawn for it.

        Override it if neither is valid: an integer without a range is drawn as 0 or 1.
        """
        model, signature = self.make(), artifact.info.signature
        own: Tensors | None = model.example(artifact.info, self.window)
        if own is not None:
            check_example(own, signature, model)
            return own
        return {s.name: drawn(s, self.window, seed=5, scale=0.1) for s in signature.inputs}

    def test_plan_agrees_with_what_is_fetched(self, work: StageContext) -> None:
        """The plan gives the format, dsp and axes of the fetched model.

        It also gives the training windows, which a layout may round up, and the free axes.
        """
        plan, artifact = self.make().plan(), self.fetched(work)
        info = artifact.info
        assert plan.format == artifact.format
        assert plan.dsp == self.dsp.name
        assert {a for s in info.signature.inputs for a in s.axes} == set(plan.axes)
        if plan.free is not None:
            assert {axis for spec in info.signature.inputs for axis in spec.free} == set(plan.free)
        for axis, length in plan.train_window.items():
            assert info.train_window[axis] <= length <= 1.1 * info.train_window[axis]

    def test_identity_is_stable(self) -> None:
        """Two plugins with the same options have the same identity."""
        assert self.make().identity() == self.make().identity() != ""

    def test_no_pickle_is_written(self, work: StageContext) -> None:
        """Weights are kept in a format that cannot run code when it is read."""
        self.fetched(work)
        assert [p.name for p in Path(work.folder).rglob("*") if p.suffix in PICKLES] == []

    def test_reference_keeps_the_signature(self, work: StageContext) -> None:
        """The model's own forward gives the outputs of the signature, of its types and finite."""
        import numpy as np

        artifact = self.fetched(work)
        outputs = self.make().open(artifact, self.window).reference(self.piece(artifact))
        for spec in artifact.info.signature.outputs:
            assert outputs[spec.name].dtype.name == spec.dtype
            assert outputs[spec.name].ndim == len(spec.axes)
            assert np.isfinite(outputs[spec.name]).all()

    def test_the_same_window_gives_the_same_output(self, work: StageContext) -> None:
        """Nothing is kept from one call to the next, and no random number is drawn."""
        artifact = self.fetched(work)
        reference, piece = self.make().open(artifact, self.window).reference, self.piece(artifact)
        # Copies: a module may give its own buffer, or write to its input.
        first, second = (
            {n: a.copy() for n, a in reference({n: a.copy() for n, a in piece.items()}).items()}
            for _ in range(2)
        )
        for name, array in first.items():
            assert snr_db(array, second[name]) > self.agreement_db

    def test_core_and_dsp_make_the_whole(self, work: StageContext) -> None:
        """dsp, core and inverse dsp give the same output as the model's own forward."""
        import torch

        artifact = self.fetched(work)
        opened, piece = self.make().open(artifact, self.window), self.piece(artifact)
        transform = self.dsp.bind(artifact.info)
        feeds, remembered = transform.forward(piece)
        with torch.no_grad():
            given = opened.core(*(torch.from_numpy(feeds[n]) for n in artifact.info.core_inputs))
        tensors = by_name(given, artifact.info.core_outputs)
        cores = {name: tensor.numpy() for name, tensor in tensors.items()}
        outputs, reference = transform.inverse(cores, remembered), opened.reference(piece)
        for name, array in reference.items():
            assert snr_db(array, outputs[name]) > self.agreement_db
