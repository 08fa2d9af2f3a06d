"""The cells of a chain: one network, exported once, at every precision of its exporter.

An error that a plugin raises on purpose is a refusal; any other error is a crash.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import Artifact
from core.errors import LuthierError
from core.measure.agreement import strayed
from tools.coverage.plugins import as_artifact, made, work_in
from tools.coverage.prepare import FILE, Prepared, prepared
from tools.coverage.reference import PRODUCTS, REFERENCES, played
from tools.coverage.torch_reference import TORCH_REFERENCES, lowered
from tools.coverage.worst import worst_db

if TYPE_CHECKING:
    from tools.coverage.case import Case
    from tools.coverage.onnx_models import OnnxModel

__all__ = ["FLOAT", "ONNX", "ON_NPU", "TORCH", "Cell", "Chain", "cells", "crashed", "judged"]

FLOAT = "fp32"
#: Precisions of each format of artifact; the first is the float graph itself.
ONNX = (FLOAT, "a8w8", "int8", "qat", "mixed", "w8a16", "w4a16", "dynamic", "fp16")
TORCH = (FLOAT, "torch_int8", "torch_dynamic", "bf16", "torch_fp16")
#: The same graphs, compiled for a phone's NPU and played by its emulator; named after the recipes.
ON_NPU = ("s24_fp16", "s24_int8", "s24_w8a16")
#: A loss against the reference, in dB, that must be reported.
SILENT_DB = 6.0
#: The most that rounding between the products may cost beyond rounding the products alone, in dB:
#: at a higher cost, a sentinel or a structural operand was rounded like a signal.
ROUNDING_DB = 15.0
LEAST_DB = 6.0
#: The most that a reference counts, in dB: above it, the reference left in float what others may
#: round. An NPU's kernels are the vendor's own: exponents, divisions and gates of 16 bits reach it.
ENOUGH_DB = {
    FLOAT: 86.0, "a8w8": 36.0, "int8": 36.0, "qat": 36.0, "mixed": 36.0, "w8a16": 40.0,
    "w4a16": 20.0, "dynamic": 36.0, "fp16": 60.0, "torch_int8": 36.0, "torch_dynamic": 36.0,
    "bf16": 40.0, "torch_fp16": 60.0, "s24_fp16": 44.0, "s24_int8": 32.0, "s24_w8a16": 32.0,
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """The outcome of one network at one precision.

    `verdict` is near, told, loss, refused, crash or late; told is a loss that a run warns of, with
    the warning as its `reason`. `snr_db` is the SNR of the worst output over all test windows.
    `reference_db` is the SNR of other tools on the same graph, and `products_db` their SNR with
    only matrix products and convolutions quantised; None where there is no figure. `names` says
    whether a refusal names a node, an operator or a tensor of the graph.
    """

    model: str
    exporter: str
    precision: str
    verdict: str
    snr_db: float | None = None
    reference_db: float | None = None
    products_db: float | None = None
    reason: str = ""
    names: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Chain:
    """A network and its exporter; a model file has no exporter.

    `windows` is the number of windows to calibrate on, `limit_s` the most seconds for a cell.
    """

    subject: Case | OnnxModel
    exporter: str = FILE
    windows: int = 44
    limit_s: float = 120.0

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return the precisions that the exporter's artifact can get, its own included."""
        if self.exporter == "torch_export":
            return TORCH
        return (*ONNX, *ON_NPU) if self.exporter == "onnx" else ONNX


def cells(
    chain: Chain,
    precisions: Collection[str],
    at: Callable[[str, str], None],
    alone: Collection[str] = (),
) -> Iterator[Cell]:
    """Yield a cell for each of `precisions`, or one cell for all if the export fails.

    `at` is called with the precision and the step before each step. A precision of `alone` is not
    compared with a reference, because making its reference ended the process.
    """
    folder = Path(tempfile.mkdtemp(prefix="coverage-"))
    try:
        at(FLOAT, "export")
        started = time.perf_counter()
        try:
            found = prepared(chain.subject, chain.exporter, chain.windows, folder)
        except Exception as error:
            yield replace(_failed(chain, FLOAT, error), seconds=time.perf_counter() - started)
            return
        for precision in precisions:
            started = time.perf_counter()
            at(precision, "lower")
            cell = _cell(chain, found, precision, folder)
            cell = replace(cell, seconds=round(time.perf_counter() - started, 2))
            beside = precision != FLOAT and precision not in (*ON_NPU, *alone)
            if cell.snr_db is not None and beside:
                at(precision, "reference")
                cell = _compared(chain, found, cell, folder)
            yield judged(cell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judged(cell: Cell) -> Cell:
    """Return a cell that has a figure with the verdict from its references."""
    if cell.snr_db is None:
        return cell
    most = ENOUGH_DB[cell.precision]
    allowed = [
        min(most, figure) - less
        for figure, less in ((cell.reference_db, SILENT_DB), (cell.products_db, ROUNDING_DB))
        if figure is not None
    ]
    if cell.precision == FLOAT:
        allowed = [most - SILENT_DB]
    # Below `LEAST_DB` there is hardly any signal in the noise, whatever the references reach.
    if cell.snr_db >= max([*allowed, LEAST_DB]):
        return replace(cell, verdict="near", reason="")
    return replace(cell, verdict="told" if cell.reason else "loss")


def _cell(chain: Chain, found: Prepared, precision: str, folder: Path) -> Cell:
    if precision == FLOAT and found.problem is not None:
        return _failed(chain, precision, found.problem, found.artifact)
    artifact = found.artifact
    try:
        if precision != FLOAT:
            artifact = _lowered(chain, found, precision.removeprefix("s24_"), folder)
    except Exception as error:
        return _failed(chain, precision, error, found.artifact)
    try:
        outputs = _played(found, artifact, folder)
        at_home = worst_db(found.expected, outputs)
    except Exception as error:
        failed = _failed(chain, precision, error, found.artifact)
        if precision == FLOAT:
            return failed
        # Any error counts: a quantizer must make a playable graph of a playable graph.
        return crashed(chain, precision, f"its artifact cannot be played: {failed.reason}")
    cell = Cell(chain.subject.name, chain.exporter, precision, "near", at_home)
    if precision in ON_NPU:
        try:
            emulated = _emulated(found, artifact, folder)
            there = worst_db(found.expected, emulated)
        except Exception as error:
            return _failed(chain, precision, error, found.artifact)
        warned = strayed(
            found.expected, outputs, emulated, artifact.info.signature, ("the CPU", "the emulator")
        )
        said = "; ".join(notice.text for notice in warned)
        cell = replace(cell, snr_db=there, reference_db=at_home, reason=said)
    return cell


def _played(found: Prepared, artifact: Artifact, folder: Path) -> list[Mapping[str, Any]]:
    """Return the outputs of this machine's CPU for the test windows."""
    runtime = "onnxruntime" if artifact.format == "onnx" else "torch"
    with made("runtime", runtime).open(artifact, lambda: found.model, work_in(folder)) as session:
        return [session.run(window) for window in found.tests]


def _emulated(found: Prepared, artifact: Artifact, folder: Path) -> list[Mapping[str, Any]]:
    """Return the outputs of a Galaxy S24's NPU, by the vendor's emulator."""
    from core.plugin.progress import silent

    runtime = made("runtime", "qnn", "target=s24", "runtime.time_limit_s=100")
    compiled = as_artifact(runtime.compile(artifact, work_in(folder)), artifact.model)
    with runtime.open(compiled, lambda: found.model, work_in(folder)) as session:
        return list(session.run_many(found.tests, silent()))


def _lowered(chain: Chain, found: Prepared, precision: str, folder: Path) -> Artifact:
    """Return the artifact of the precision's quantizer."""
    from core import Calibration

    plugin = _quantizer(chain, precision)
    given = found.calibration[: plugin.calibration_windows]
    data = Calibration(len(given), lambda: iter(given))
    result = plugin.run(found.artifact, data, work_in(folder))
    return as_artifact(result, found.artifact.model)


def _quantizer(chain: Chain, precision: str) -> Any:
    """Return the precision's quantizer, with its own windows or the available ones."""
    words = ["quantizer.steps=12"] if precision == "qat" else []
    plugin = made("quantizer", precision, *words)
    if plugin.calibration_windows > chain.windows:
        words += [f"quantizer.windows={chain.windows}"]
        if precision == "mixed":
            words = [f"quantizer.windows={chain.windows - 1}", "quantizer.held_windows=1"]
        plugin = made("quantizer", precision, *words)
    return plugin


def _compared(chain: Chain, found: Prepared, cell: Cell, folder: Path) -> Cell:
    """Return the cell with the figures of other tools on the same graph and the same data."""
    # If a quantizer needs no data, the other tools get all windows.
    wanted = _quantizer(chain, cell.precision).calibration_windows or chain.windows
    data = found.calibration[:wanted]
    if cell.precision in TORCH_REFERENCES:
        names = found.artifact.info.core_outputs
        outputs = _quietly(
            lambda: lowered(chain.subject.make(), cell.precision, names, data, found.tests)
        )
        return replace(cell, reference_db=_db(found, outputs))
    make = REFERENCES[cell.precision]
    source = Path(found.artifact.path)

    def reference(*only: str) -> float | None:
        target = work_in(folder).folder / "model.onnx"
        return _db(
            found,
            _quietly(
                lambda: (
                    make(source, target, data, *only),
                    played(target, found.tests),
                )[1]
            ),
        )

    products = reference(*PRODUCTS) if cell.precision not in ("dynamic", "fp16") else None
    return replace(cell, reference_db=reference(), products_db=products)


def _quietly(make: Callable[[], Any]) -> Any:
    """Return the result of another tool, or None if it fails; its warnings are hidden."""
    from plugins.quantizer._onnx.qdq.graph import quiet

    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            return make()
    except Exception:
        return None


def _db(found: Prepared, outputs: Sequence[Mapping[str, Any]] | None) -> float | None:
    if outputs is None:
        return None
    try:
        return worst_db(found.expected, outputs)
    except (KeyError, ValueError):
        return None


def _failed(
    chain: Chain, precision: str, error: Exception, artifact: Artifact | None = None
) -> Cell:
    name, exporter = chain.subject.name, chain.exporter
    if not isinstance(error, LuthierError):
        return crashed(chain, precision, f"{type(error).__name__}: {_first_line(error)}")
    told = "\n".join((error.what, *error.lines))
    reason = "; ".join((error.what, *error.lines[:2]))
    return Cell(
        name, exporter, precision, "refused", reason=_portable(reason), names=_names(told, artifact)
    )


def crashed(chain: Chain, precision: str, why: str) -> Cell:
    """Return the cell of an error that nobody intended."""
    return Cell(chain.subject.name, chain.exporter, precision, "crash", reason=_portable(why))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no message").partition("\n")[0]


def _portable(text: str) -> str:
    """Return a reason without paths of this machine, short enough for a table."""
    return re.sub(r"(at: )?(/[^\s;:'\"`]+)+/", "", text)[:300]


def _names(told: str, artifact: Artifact | None) -> bool:
    """Return whether a refusal names a part of the network."""
    words = set(re.findall(r"[\w./:\[\]-]+", told))
    if artifact is None or artifact.format != "onnx":
        # Without a graph yet: an operator of PyTorch, or a line of the module's code.
        return bool(re.search(r"aten[.:]|operators?\b|\.py:\d+|line \d+", told))
    import onnx

    model = onnx.load(artifact.path, load_external_data=False)
    parts = {t for node in model.graph.node for t in (node.name, node.op_type, *node.output)}
    parts |= {value.name for value in (*model.graph.input, *model.graph.output)}
    return bool(words & parts)
