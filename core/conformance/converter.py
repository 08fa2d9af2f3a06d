"""The contracts of exporters, graph rewriters, quantizers and runtimes, on a small convolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from core.conformance.base import PluginSuite
from core.errors import LuthierError
from core.measure.metrics import snr_db
from core.plugin.boundary import unlikely
from core.plugin.stages import Calibration, StageContext, StageResult, TorchModel
from core.plugin.values import Artifact, ArtifactSpec, Fact, ModelInfo, Signature, TensorSpec
from core.store.hashing import folder_digest

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["ExporterSuite", "GraphSuite", "QuantizerSuite", "RuntimeSuite"]

SHAPE = (1, 3, 16, 16)
INFO = ModelInfo(
    Signature(
        (TensorSpec("x", ("channel", "height", "width"), SHAPE[1:]),),
        (TensorSpec("y", ("channel", "height", "width"), SHAPE[1:]),),
    ),
    ("x",),
    ("y",),
)


def feeds(seed: int = 0) -> Tensors:
    """Return one random input of the small model."""
    import numpy as np

    return {"x": np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)}


def torch_model() -> TorchModel:
    """Return two convolutions with a ReLU between them."""
    import torch

    torch.manual_seed(0)
    core = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1)
    ).eval()

    def reference(inputs: Tensors) -> Tensors:
        with torch.no_grad():
            return {"y": core(torch.from_numpy(inputs["x"][None]))[0].numpy()}

    return TorchModel(INFO, core, reference)


def onnx_artifact(folder: Path) -> Artifact:
    """Write the small model as ONNX, without any exporter."""
    import onnx
    from onnx import helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    weights = [(k, p.detach().numpy()) for k, p in torch_model().core.named_parameters()]
    names = {"0.weight": "w0", "0.bias": "b0", "2.weight": "w2", "2.bias": "b2"}
    pads: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0", "b0"], ["h"], name="conv0", **pads),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "w2", "b2"], ["y"], name="conv2", **pads),
        ],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(array, names[key]) for key, array in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.save(model, folder / "model.onnx")
    return artifact(folder, folder / "model.onnx", "onnx", "fp32")


def program_artifact(folder: Path) -> Artifact:
    """Write the small model as a torch program, without any exporter."""
    import torch

    from core.formats.torch_export import save

    folder.mkdir(parents=True, exist_ok=True)
    program = torch.export.export(torch_model().core, (torch.from_numpy(feeds()["x"]),))
    save(program, folder / "model.pt2")
    return artifact(folder, folder / "model.pt2", "torch_export", "fp32")


def artifact(
    folder: Path, path: Path, format_: str, precision: str, facts: dict[str, Fact] | None = None
) -> Artifact:
    """Describe files as the run would."""
    return Artifact(
        str(folder),
        str(path),
        format_,
        precision,
        folder_digest(folder),
        path.stat().st_size,
        ("test",),
        INFO,
        facts or {},
    )


def of(made: StageResult, work: StageContext) -> Artifact:
    """Describe the result of a stage as the run would."""
    return artifact(work.folder, made.path, made.format, made.precision, dict(made.facts))


def run(made: Artifact, inputs: Tensors) -> Array:
    """Run an ONNX graph or a torch program on the CPU; returns its first output."""
    if made.format != "torch_export":
        return run_onnx(made.path, inputs)
    import torch

    from core.formats.torch_export import load

    with torch.no_grad():
        out = load(Path(made.path)).module()(*map(torch.from_numpy, inputs.values()))
    output: Array = (out if isinstance(out, torch.Tensor) else out[0]).numpy()
    return output


def run_onnx(path: str, inputs: Tensors) -> Array:
    """Run a graph on ONNX Runtime's CPU; returns its first output."""
    import onnxruntime

    from core.formats.onnx_session import session_options

    settings = session_options()
    # x86 processors without VNNI would saturate sums of 8-bit products; this makes sums exact.
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        path, sess_options=settings, providers=["CPUExecutionProvider"]
    )
    output: Array = session.run(None, dict(inputs))[0]
    return output


class ExporterSuite(PluginSuite):
    """An exporter to ONNX or to torch programs; other formats override `run_exported`."""

    agreement_db: ClassVar[float] = 90.0

    def run_exported(self, exported: Artifact, inputs: Tensors) -> Array:
        """Run the exported model."""
        return run(exported, inputs)

    def test_the_export_computes_the_same(self, work: StageContext) -> None:
        """The exported graph gives the same output as the module."""
        model, exporter = torch_model(), self.make()
        made = exporter.run(model, feeds(), work)
        expected = model.reference({"x": feeds(1)["x"][0]})["y"]
        got = self.run_exported(of(made, work), feeds(1))[0]
        assert snr_db(expected, got) > self.agreement_db

    def test_plan_says_what_is_made(self, work: StageContext) -> None:
        """`plan` maps the module's spec to the spec of the artifact that `run` makes."""
        made = self.make().run(torch_model(), feeds(), work)
        assert self.make().plan(ArtifactSpec("torch")) == of(made, work).spec


class GraphSuite(PluginSuite):
    """A rewriter of ONNX graphs that may not change what they compute."""

    agreement_db: ClassVar[float] = 100.0

    def test_the_graph_computes_the_same(self, work: StageContext, tmp_path: Path) -> None:
        """Before and after give the same numbers."""
        before = onnx_artifact(tmp_path / "before")
        after = of(self.make().run(before, work), work)
        assert (
            snr_db(run_onnx(before.path, feeds()), run_onnx(after.path, feeds()))
            > self.agreement_db
        )

    def test_its_input_is_left_alone(self, work: StageContext, tmp_path: Path) -> None:
        """The input artifact is not written to: the store owns it."""
        before = onnx_artifact(tmp_path / "before")
        self.make().run(before, work)
        assert folder_digest(Path(before.folder)) == before.sha256


class QuantizerSuite(PluginSuite):
    """A quantizer of ONNX graphs or torch programs.

    `min_snr_db` is the SNR that it must exceed on two small convolutions; a quantizer that leaves
    convolutions alone overrides `given`.
    """

    min_snr_db: ClassVar[float] = 25.0

    def given(self, folder: Path) -> Artifact:
        """Write the quantizer's input, in a format that it accepts."""
        accepts = self.make().accepts
        return onnx_artifact(folder) if "onnx" in accepts else program_artifact(folder)

    def calibration(self) -> Calibration:
        """Return as many windows as the plugin asks for."""
        count = self.make().calibration_windows

        def stream() -> Iterator[Tensors]:
            return (feeds(seed) for seed in range(count))

        return Calibration(count, stream)

    def test_it_keeps_the_signal(self, work: StageContext, tmp_path: Path) -> None:
        """The quantised graph still computes what the float graph computes, but for noise."""
        before = self.given(tmp_path / "before")
        after = of(self.make().run(before, self.calibration(), work), work)
        assert snr_db(run(before, feeds(99)), run(after, feeds(99))) > self.min_snr_db

    def test_plan_says_what_is_made(self, work: StageContext, tmp_path: Path) -> None:
        """`plan` names the format and precision that `run` makes."""
        before = self.given(tmp_path / "before")
        made = self.make().run(before, self.calibration(), work)
        assert self.make().plan(before.spec) == of(made, work).spec

    def test_its_input_is_left_alone_and_its_ends_stay_float(
        self, work: StageContext, tmp_path: Path
    ) -> None:
        """The store owns the input artifact; the model's inputs and outputs keep type and shape."""
        before = self.given(tmp_path / "before")
        after = of(self.make().run(before, self.calibration(), work), work)
        assert folder_digest(Path(before.folder)) == before.sha256
        expected, output = run(before, feeds(1)), run(after, feeds(1))
        assert (output.dtype, output.shape) == (expected.dtype, expected.shape)

    def test_values_that_are_not_numbers_are_refused(
        self, work: StageContext, tmp_path: Path
    ) -> None:
        """Calibration data with a NaN would silently ruin every range."""
        import numpy as np

        plugin = self.make_unchecked()
        wrong = {name: np.full_like(array, np.nan) for name, array in feeds().items()}
        if not plugin.calibration_windows:
            return  # it looks at none
        with pytest.raises(LuthierError, match=r"not numbers|NaN|not finite"):
            plugin.run(self.given(tmp_path / "before"), Calibration(1, lambda: [wrong]), work)


class RuntimeSuite(PluginSuite):
    """A runtime; it is given an ONNX graph where it takes one, else a torch module or program.

    If it says that this machine cannot open what it compiles here, it need not compute anything.
    """

    agreement_db: ClassVar[float] = 60.0

    @pytest.fixture
    def given(self, tmp_path: Path) -> Artifact:
        """Return an artifact that the runtime accepts."""
        if "onnx" in self.make().accepts:
            return onnx_artifact(tmp_path / "given")
        if "torch" not in self.make().accepts:
            return program_artifact(tmp_path / "given")
        (tmp_path / "given").mkdir()
        file = tmp_path / "given" / "weights.safetensors"
        file.touch()
        return artifact(file.parent, file, "torch", "fp32")

    def test_a_session_computes_what_torch_computes(
        self, given: Artifact, work: StageContext
    ) -> None:
        """A session takes and gives tensors by name, and says what it runs on.

        If it says what computed each node, it counts at least one, and none below zero.
        """
        runtime = self.make()
        if why := runtime.unopenable():
            pytest.skip(f"what it compiles is never run here: {why}")
        if runtime.compiles:
            given = of(runtime.compile(given, work), work)
        with runtime.open(given, torch_model, work) as session:
            outputs = session.run(feeds(2))
            assert session.device
            placement = session.placement(feeds(2))
        assert unlikely(placement) == ""
        expected = torch_model().reference({"x": feeds(2)["x"][0]})["y"]
        assert snr_db(expected, outputs["y"][0]) > self.agreement_db

    def test_what_cannot_be_opened_here_is_compiled_and_refused(
        self, given: Artifact, work: StageContext
    ) -> None:
        """If `unopenable` says why, the runtime compiles, and `open` raises a LuthierError."""
        runtime = self.make()
        why = runtime.unopenable()
        if not why:
            pytest.skip("this machine can open what it compiles")
        assert runtime.compiles, "only a runtime that compiles can make what cannot be opened here"
        assert why == " ".join(why.split()).rstrip("."), "a phrase in one line, without a full stop"
        assert self.make().unopenable() == why, "another instance says the same"
        made = runtime.compile(given, work)
        assert runtime.plan(given.spec) == of(made, work).spec
        with pytest.raises(LuthierError):
            self.make_unchecked().open(of(made, work), torch_model, work)
