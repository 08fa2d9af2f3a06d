"""NVIDIA's TensorRT and TensorRT-RTX: builds an engine for GPUs, here or ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import (
    Artifact,
    ArtifactSpec,
    BundlePart,
    Fact,
    ModelInfo,
    Notice,
    Requirement,
    Runtime,
    Session,
    StageContext,
    StageError,
    StageResult,
    TorchModel,
    hookimpl,
)
from core.errors import MissingLibraryError
from core.machine.program import line
from plugins.runtime._tensorrt.capabilities import enum_name
from plugins.runtime._tensorrt.library import FLAVOURS, Flavour, Library, choose, clash, installed
from plugins.runtime._tensorrt.options import TensorRtOptions

if TYPE_CHECKING:
    from plugins.runtime._tensorrt.driver import Machine
    from plugins.runtime._tensorrt.process import Built, Wanted
    from plugins.runtime._tensorrt.profiles import Profile

__all__ = ["Flavour", "TensorRt", "TensorRtOptions"]

ENGINE = "tensorrt_engine"


class TensorRt(Runtime[TensorRtOptions]):
    """Builds a TensorRT engine for NVIDIA GPUs, with or without one, and runs it on a GPU."""

    name = "tensorrt"
    Options = TensorRtOptions
    libraries = (Requirement("onnx", "pip install onnx"),)
    accepts = frozenset({"onnx"})
    compiles = True
    precisions = frozenset({"fp32", "fp16", "bf16", "int8", "fp8", "int4"})
    columns: ClassVar[Mapping[str, str]] = {
        "layers": "layers",
        "unfused_pairs": "unfused pairs",
        "engine_bytes": "engine",
    }

    @classmethod
    def unavailable(cls) -> str:
        """Return why no engine can be built or opened here: neither library is installed."""
        return "" if installed() else choose(Flavour.auto)[1]

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return which of the two libraries is installed, and whether a GPU can run an engine."""
        from plugins.runtime._tensorrt.driver import look

        found = [
            Notice("danger", problem)
            if (problem := clash(one))
            else Notice("info", f"{one.title} {one.version} builds engines")
            for one in installed()
        ]
        here = look()
        if here.problem:
            what = f"{here.problem}: engines are built ahead of time, and do not run here"
            return [*found, Notice("warning", what)]
        gpus = ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in here.gpus)
        return [*found, Notice("info", f"GPUs, driver for CUDA {here.driver}: {gpus}")]

    def machine(self) -> Mapping[str, Fact]:
        """Return the library that builds, and where it times kernels the GPU that it times."""
        library, _ = choose(self.options.flavour)
        if library is None:
            return {}
        facts: dict[str, Fact] = {"library": library.title, "version": library.version}
        if library.flavour is Flavour.tensorrt:
            from plugins.runtime._tensorrt.driver import look

            facts["gpu"] = next((gpu.name for gpu in look().gpus), "none")
        return facts

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the engine's spec: the graph's own precision, since networks are strongly typed.

        Raises MisfitError for integers, GPUs or options that the library does not take, and
        MissingLibraryError where the library is missing, before anything is made.
        """
        from plugins.runtime._tensorrt.fit import check_fit

        check_fit(self.options, spec)
        self._library()
        return ArtifactSpec(ENGINE, spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Build the engine, with its record beside it, and report its layers.

        Raises StageError for a graph that the library does not take, DoesNotFitError where it
        breaks a limit.
        """
        from core.formats.onnx_graph import loaded
        from core.machine.child_process import Limits
        from plugins.runtime._tensorrt import integers, profiles
        from plugins.runtime._tensorrt.layers import facts_of, layers_in, unfused
        from plugins.runtime._tensorrt.process import build

        source, target = Path(artifact.path), work.folder / "model.engine"
        library = self._library()
        work.progress(0, 0, "reading the graph")
        model = loaded(source)
        integers.check(model, source)
        readers = list(integers.quantised_readers(model))
        del model
        ranges = profiles.resolved(profiles.shapes(source), self.options.profiles, source)
        here = self._checked_machine(library)
        limits = Limits(self.options.time_limit_s, self.options.memory_limit_mb * 1_000_000)

        def told(message: str, elapsed_s: float) -> None:
            work.progress(elapsed_s, 0, f"{library.title}: {message}")

        built = build(
            source,
            target,
            library=library,
            wanted=self._wanted(library, ranges, work),
            limits=limits,
            folder=work.folder,
            progress=told,
        )
        self._record(artifact, target, library, here, built, ranges)
        layers = layers_in(built.layers)
        rows, count = unfused(layers, readers)
        facts: dict[str, Fact] = {
            **facts_of(layers),
            "quantised_products": len(readers),
            "unfused_pairs": count,
            "unfused": [*rows],
            "engine_bytes": target.stat().st_size,
            "build_s": built.seconds,
            "builder_peak_memory_mb": built.peak_rss_bytes / 1e6,
            "library": f"{library.title} {built.version}",
            "compute_capabilities": [*self.options.compute_capabilities],
        }
        precision = self.plan(artifact.spec).precision
        notices = _notices(built, facts, readers)
        return StageResult(target, ENGINE, precision, facts, notices)

    def unopenable(self) -> str:
        """Return why this machine cannot run the engine; "" where it can."""
        from plugins.runtime._tensorrt.driver import look
        from plugins.runtime._tensorrt.opening import why_not

        library, problem = choose(self.options.flavour)
        if library is None:
            return problem
        return why_not(library, look(), self._gpus())

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Check the engine against its record and this machine, and open it on the first GPU.

        Raises StageError for an engine that is damaged, or for another library or GPU: such an
        engine is never handed to the library.
        """
        from plugins.runtime._tensorrt import provenance
        from plugins.runtime._tensorrt.driver import look

        if problem := self.unopenable():
            raise StageError(
                "runtime `tensorrt` cannot run its engine on this machine",
                problem,
                "run it on a machine with such a GPU: the engine and its record are in the bundle",
            )
        library, gpu = self._library(), look().gpus[0]
        here = provenance.Here(
            library.flavour.value, library.version, gpu.capability, provenance.platform_name()
        )
        data, record = provenance.opened(Path(artifact.path), here)
        from plugins.runtime._tensorrt.session import EngineSession

        work.progress(0, 0, f"opening the engine on {gpu.name}")
        return EngineSession(
            data,
            record,
            library,
            cuda_graphs=self.options.cuda_graphs,
            streaming=self.options.weight_streaming,
        )

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the library and the GPUs that the engine in the bundle is for."""
        library = self._library()
        return BundlePart(
            {
                "library": f"{library.title} {library.version}",
                "compute_capabilities": [*self.options.compute_capabilities],
            }
        )

    def _library(self) -> Library:
        """Return the chosen library; raises MissingLibraryError where it cannot be used."""
        library, problem = choose(self.options.flavour)
        if library is not None:
            problem = clash(library)
        if library is None or problem:
            raise MissingLibraryError(
                "runtime `tensorrt` cannot build an engine on this machine",
                problem,
                f"see what works here: {line(['mode=doctor'])}",
            )
        return library

    def _gpus(self) -> Sequence[str]:
        """Return the capabilities of which the GPU must have one; none where every GPU will do."""
        return () if self.options.hardware_compatible else self.options.compute_capabilities

    def _checked_machine(self, library: Library) -> Machine:
        """Return what the driver says; TensorRT builds only for the GPU that is in the machine."""
        from plugins.runtime._tensorrt.driver import look
        from plugins.runtime._tensorrt.opening import why_not

        here = look()
        tied = library.flavour is Flavour.tensorrt
        if tied and (problem := why_not(library, here, self._gpus())):
            raise StageError(
                "TensorRT builds an engine on the GPU that it is for, and cannot here",
                problem,
                "build ahead of time with the other library: runtime.flavour=rtx "
                f"({FLAVOURS[Flavour.rtx].install})",
            )
        return here

    def _wanted(self, library: Library, ranges: Sequence[Profile], work: StageContext) -> Wanted:
        from plugins.runtime._tensorrt.process import Wanted

        options, is_rtx = self.options, library.flavour is Flavour.rtx
        flags = {
            "WEIGHT_STREAMING": options.weight_streaming,
            "REFIT": options.refit,
            "VERSION_COMPATIBLE": options.version_compatible,
        }
        cache = ""
        if options.timing_cache and not is_rtx:
            # A file for each version and GPU: the library refuses the times of another.
            sort = "-".join((library.version, *options.compute_capabilities))
            cache = str(work.state("tensorrt") / f"timing-{sort}.cache")
        return Wanted(
            capabilities=[enum_name(c) for c in options.compute_capabilities] if is_rtx else [],
            flags=[name for name, wanted in flags.items() if wanted],
            profiles=ranges,
            optimisation_level=options.optimisation_level,
            workspace_bytes=options.workspace_mb * 1_000_000,
            hardware_compatible=options.hardware_compatible,
            timing_cache=cache,
        )

    def _record(
        self,
        artifact: Artifact,
        engine: Path,
        library: Library,
        here: Machine,
        built: Built,
        ranges: Sequence[Profile],
    ) -> None:
        """Write the record of where the engine came from, and of where it may run."""
        from core.store.hashing import file_digest
        from plugins.runtime._tensorrt import provenance

        options = {**asdict(self.options), "flavour": self.options.flavour.name}
        provenance.write(
            provenance.Record(
                onnx_sha256=artifact.sha256,
                flavour=library.flavour.value,
                version=library.version,  # of the package: the module's own lacks `.post1`
                capabilities=[*self.options.compute_capabilities],
                engine_sha256=file_digest(engine),
                engine_bytes=engine.stat().st_size,
                platform=provenance.platform_name(),
                driver=here.driver,
                hardware_compatible=self.options.hardware_compatible,
                version_compatible=self.options.version_compatible,
                inputs=built.inputs,
                outputs=built.outputs,
                profiles=[
                    {name: [list(axis) for axis in axes] for name, axes in one.items()}
                    for one in ranges
                ],
                options=options,
            ),
            engine,
        )


def _notices(
    built: Built, facts: Mapping[str, Fact], readers: Sequence[tuple[str, str, str]]
) -> tuple[Notice, ...]:
    """Return what a person must know of the engine: pairs in float, and the library's warnings."""
    notices = [Notice("info", f"TensorRT: {text}") for text in built.warnings]
    rows = facts["unfused"]
    if isinstance(rows, list) and rows:
        named = [row for row in rows if isinstance(row, dict)]
        first, kinds = named[0], sorted({str(row["operator"]) for row in named})
        notices.append(
            Notice(
                "warning",
                f"{facts['unfused_pairs']} of {len(readers)} products of quantised values compute "
                f"in float, the first: {first['operator']} {first['node']} (its conversion "
                f"{first['pair']} was not fused); in float they lose nothing: "
                f"quantizer.exclude=[{','.join(kinds)}]",
            )
        )
    return tuple(notices)


@hookimpl
def luthier_plugins() -> list[type[TensorRt]]:
    """Return the runtime plugin of this file."""
    return [TensorRt]
