"""HTDemucs (Rouard, Massa, Défossez 2023): the demucs package's own network, made exportable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    InputError,
    Library,
    Made,
    Model,
    ModelInfo,
    ModelSpec,
    Notice,
    Signature,
    TensorSpec,
    TorchModel,
    Work,
    hookimpl,
)
from core.material import file_digest

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs as Network

    from core.values import Tensors
    from plugins.model.hybrid.checkpoint import Checkpoint

BUNDLED = Path(__file__).parent / "bundled" / "htdemucs_small.safetensors"
STEMS = ["drums", "bass", "other", "vocals"]


class Layout(Enum):
    """How the same network is written down."""

    plain = "plain"
    npu = "npu"


@dataclass
class HTDemucsOptions:
    """The options of `htdemucs`."""

    weights: str = "pretrained"
    """`pretrained` (through demucs), `bundled` (a small model in the box), `random` (the full
    architecture, for timing and compile work), or a file: safetensors or demucs's own `.th`."""
    name: str = "htdemucs"
    """Which pretrained model: any name that demucs knows, or `hf://namespace/name`."""
    fallback: str | None = "bundled"
    """What to take when the pretrained weights cannot be fetched; `null` makes that an error."""
    layout: Layout = Layout.plain
    """`plain` keeps demucs's own layers; `npu` is the same network in four dimensions, which
    mobile NPUs compile."""
    seed: int = 0
    """The seed of `random` weights."""

    def __post_init__(self) -> None:
        """Refuse a fallback that could itself fail."""
        if self.fallback not in (None, "bundled"):
            raise ValueError(f"`fallback` is `{self.fallback}`; it can be: bundled, null")


class HTDemucs(Model[HTDemucsOptions]):
    """HTDemucs: separates music into stems, by waveform and spectrogram together."""

    name = "htdemucs"
    Options = HTDemucsOptions
    libraries = (
        Library("torch", "pip install torch"),
        Library("demucs", "pip install demucs"),
        Library("safetensors", "pip install safetensors"),
    )

    def plan(self) -> ModelSpec:
        """Say what it takes: a waveform, through an STFT."""
        return ModelSpec(("channel", "time"), dsp="stft")

    def identity(self) -> str:
        """Return the hash of a local checkpoint, or the name of a published one."""
        weights = self.options.weights
        if weights == "random":
            return f"random:{self.options.seed}"
        if weights == "pretrained":
            return f"pretrained:{self.options.name}"
        path = BUNDLED if weights == "bundled" else Path(weights).expanduser()
        if not path.is_file():
            raise InputError(
                f"checkpoint `{weights}` does not exist",
                "give a file, or one of: model.weights=pretrained, bundled, random",
            )
        return f"file:{file_digest(path)}"

    def fetch(self, work: Work) -> Made:
        """Write the weights as safetensors, with the constructor's arguments beside them."""
        from plugins.model.hybrid import checkpoint

        loaded, origin, notices, keep = self._load(work)
        target = work.folder / "model.safetensors"
        checkpoint.write(loaded, target)
        network = checkpoint.build(loaded, Path(self.options.weights))
        info = replace(_info(network), weights=origin, licence=loaded.licence, notices=notices)
        return Made(target, "torch", "fp32", {"parameters": info.parameters}, model=info, keep=keep)

    def _load(self, work: Work) -> tuple[Checkpoint, str, tuple[Notice, ...], bool]:
        """Return the checkpoint, where it is from, what to say of it, and whether it may be kept."""
        from plugins.model.hybrid import checkpoint, pretrained

        weights = self.options.weights
        if weights == "random":
            text = "random weights: timings and sizes are real, the sound is noise"
            return (
                _random(self.options.seed),
                "random (42 M parameters, untrained)",
                (Notice("danger", text),),
                True,
            )
        if weights == "bundled":
            return checkpoint.read(BUNDLED), _BUNDLED_ORIGIN, (), True
        if weights != "pretrained":
            path = Path(weights).expanduser()
            return checkpoint.read(path), f"file {path.name}", (), True
        fetched = work.folder / "fetched.safetensors"
        try:
            pretrained.fetch(self.options.name, fetched, work.progress)
            loaded = checkpoint.read(fetched)
        except InputError as error:
            if self.options.fallback is None:
                raise
            text = (
                f"the pretrained weights `{self.options.name}` were not used: {error.what}. "
                "The small bundled model took their place; it learned from synthetic music and "
                "will not separate real songs as well"
            )
            return checkpoint.read(BUNDLED), _BUNDLED_ORIGIN, (Notice("danger", text),), False
        finally:
            fetched.unlink(missing_ok=True)
        loaded = replace(loaded, licence=loaded.licence or "MIT (demucs)")
        return loaded, f"pretrained {self.options.name}, from demucs", (), True

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Build the network; the `npu` layout needs a window of one length."""
        import torch

        from plugins.model.hybrid import checkpoint
        from plugins.model.hybrid.layout import NpuCore
        from plugins.model.hybrid.split import HybridCore

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


_BUNDLED_ORIGIN = "bundled small model, trained on synthetic music"


def _random(seed: int) -> Checkpoint:
    """Return the architecture of the released `htdemucs`, untrained."""
    import torch
    from demucs.htdemucs import HTDemucs as Network

    from plugins.model.hybrid.checkpoint import Checkpoint

    # What differs from the constructor's defaults in the released checkpoint (demucs 4, 955717e8).
    kwargs = {"sources": STEMS, "bottom_channels": 512, "dconv_mode": 3, "segment": 7.8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Checkpoint(kwargs, Network(**kwargs).state_dict(), "none: untrained")


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
    """Add `htdemucs`."""
    return [HTDemucs]
