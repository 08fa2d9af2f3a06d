"""HTDemucs (Rouard, Massa, Défossez 2023): the demucs package's own network, made exportable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    Fact,
    Model,
    ModelInfo,
    ModelSpec,
    Notice,
    Reach,
    Requirement,
    Signature,
    StageContext,
    StageResult,
    Tensors,
    TensorSpec,
    TorchModel,
    from_target,
    hookimpl,
    reaching,
)
from core.store.hashing import file_digest

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs as Network


BUNDLED = Path(__file__).parent / "bundled" / "htdemucs_small.safetensors"


class Layout(Enum):
    """How the same network is written down."""

    plain = "plain"
    npu = "npu"


@dataclass
class HTDemucsOptions:
    """The options of `htdemucs`."""

    weights: str = reaching("pretrained", words=("pretrained", "bundled", "random"))
    """`pretrained` (through demucs), `bundled` (a small model in the box), `random` (the full
    architecture, for timing and compile work), or a file: safetensors or demucs's own `.th`."""
    name: str = "htdemucs"
    """Which pretrained model: any name that demucs knows, or `hf://namespace/name`."""
    fallback: str | None = "bundled"
    """What to take when the pretrained weights cannot be fetched; `null` makes that an error."""
    layout: Layout = from_target("layout", default="plain")
    """`plain` keeps demucs's own layers; `npu` is the same network in four dimensions, which
    mobile NPUs compile."""
    seed: int = 0
    """The seed of `random` weights."""

    def __post_init__(self) -> None:
        """Refuse a fallback that could itself fail, and a hub model without `hf://`."""
        if self.fallback not in (None, "bundled"):
            raise ValueError(f"`fallback` is `{self.fallback}`; it can be: bundled, null")
        # Without the prefix a recipe could name anybody's weights without showing that it does.
        if "/" in self.name and not self.name.startswith("hf://"):
            raise ValueError(
                f"`name` is `{self.name}`; a model from another owner is hf://{self.name}"
            )


class HTDemucs(Model[HTDemucsOptions]):
    """HTDemucs: separates music into stems, by waveform and spectrogram together."""

    name = "htdemucs"
    Options = HTDemucsOptions
    libraries = (
        Requirement("torch", "pip install torch"),
        Requirement("demucs", "pip install demucs"),
        Requirement("safetensors", "pip install safetensors"),
    )

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return whether demucs's own weights are on this machine, and how to get them."""
        from plugins.model._hybrid.cached import address, cached, checkpoints

        found = cached()
        if found is not None:
            return [Notice("info", f"its own weights are on this machine: {found}")]
        text = (
            "its own weights are not on this machine: model=htdemucs downloads them once, or put "
            f"{address()} into {checkpoints()}"
        )
        return [Notice("warning", text)]

    def plan(self) -> ModelSpec:
        """Return the model's input: a waveform, through an STFT, in windows like its training's."""
        from plugins.model._hybrid import segment

        weights, samples = self.options.weights, segment.RELEASED
        if weights not in ("pretrained", "random"):
            path = BUNDLED if weights == "bundled" else Path(weights).expanduser()
            samples = segment.of_file(path)
        if self.options.layout is Layout.npu:
            samples += -samples % segment.BLOCK
        return ModelSpec(
            ("channel", "time"), dsp="stft", train_window={"time": samples}, free=("time",)
        )

    def reaches(self) -> Sequence[Reach]:
        """Return the hubs that pretrained weights come from, or the file of a checkpoint."""
        if self.options.weights == "pretrained":
            from plugins.model._hybrid.hosts import hosts

            asked = f"pretrained weights of {self.options.name}"
            return tuple(Reach("asks", host, asked) for host in hosts())
        if self.options.weights in ("bundled", "random"):
            return ()
        return (Reach("reads", str(Path(self.options.weights).expanduser().absolute()), "weights"),)

    def identity(self) -> str:
        """Return the hash of a local checkpoint, or the name of a published one."""
        from plugins.model._hybrid import checkpoint

        weights = self.options.weights
        if weights == "random":
            return f"random:{self.options.seed}"
        if weights == "pretrained":
            return f"pretrained:{self.options.name}"
        path = BUNDLED if weights == "bundled" else Path(weights).expanduser()
        checkpoint.check_file(path)
        return f"file:{file_digest(path)}"

    def fetch(self, work: StageContext) -> StageResult:
        """Write the weights as safetensors, with the constructor's arguments beside them."""
        from plugins.model._hybrid import checkpoint, weights

        options = self.options
        if options.weights == "random":
            found = weights.random(options.seed)
        elif options.weights == "bundled":
            found = weights.bundled(BUNDLED)
        elif options.weights == "pretrained":
            fallback = BUNDLED if options.fallback else None
            found = weights.pretrained(options.name, fallback, work)
        else:
            found = weights.file(Path(options.weights).expanduser(), work)
        target = work.folder / "model.safetensors"
        checkpoint.write(found.checkpoint, target)
        network = checkpoint.build(found.checkpoint, Path(options.weights))
        info = replace(
            _info(network),
            weights=found.origin,
            licence=found.checkpoint.licence,
            notices=found.notices,
            fit_for=found.fit_for,
        )
        facts: dict[str, Fact] = {"parameters": info.parameters}
        return StageResult(target, "torch", "fp32", facts, model=info, keep=found.keep)

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Build the network; the `npu` layout needs a window of one length."""
        import torch

        from plugins.model._hybrid import checkpoint
        from plugins.model._hybrid.layout import NpuCore
        from plugins.model._hybrid.split import HybridCore

        network = checkpoint.build(checkpoint.read(Path(artifact.path)), Path(artifact.path))
        core: torch.nn.Module
        if self.options.layout is Layout.npu and window:
            core = NpuCore(network, window["time"])
        else:
            core = HybridCore(network)

        def reference(inputs: Tensors) -> Tensors:
            with torch.no_grad():
                stems = network(torch.from_numpy(inputs["mix"])[None])[0]
            return {"stems": stems.numpy()}

        return TorchModel(artifact.info, core.eval(), reference)


def _info(network: Network) -> ModelInfo:
    """Return what the architecture fixes: stems, sample rate, channels, training segment."""
    channels, rate = network.audio_channels, {"time": float(network.samplerate)}
    stems = tuple(network.sources)
    return ModelInfo(
        signature=Signature(
            (TensorSpec("mix", ("channel", "time"), (channels, "time"), rates=rate),),
            (
                TensorSpec(
                    "stems",
                    ("stem", "channel", "time"),
                    (len(stems), channels, "time"),
                    rates=rate,
                    labels={"stem": stems},
                ),
            ),
        ),
        core_inputs=("mix", "mag"),
        core_outputs=("time_out", "spec_out"),
        dsp_facts={
            "nfft": network.nfft,
            "hop": network.hop_length,
            "input": "mix",
            "spec_input": "mag",
            "time_output": "time_out",
            "spec_output": "spec_out",
            "output": "stems",
            "normalise": True,
        },
        train_window={"time": int(network.samplerate * network.segment)},
        parameters=sum(p.numel() for p in network.parameters()),
    )


@hookimpl
def luthier_plugins() -> list[type[HTDemucs]]:
    """Return the model plugin of this file."""
    return [HTDemucs]
