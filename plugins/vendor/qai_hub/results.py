"""Downloads and checks the results of jobs, a model or a dataset, and retries where needed.

The service gives no checksum. So every format is checked as far as it shows a cut: an archive by
its own checksums, ONNX by parsing it, a dataset by opening it. A bare context binary has no public
format; the only check is that it is not empty.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from core import StageError
from core.errors import UnsafePathError
from core.machine.paths import below
from plugins.vendor.qai_hub.confined import confined
from plugins.vendor.qai_hub.failures import explained, is_gone, is_local, is_transient

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.hub import Hub

__all__ = ["fetch_model", "fetch_outputs"]

TRIES = 2
Fetched = TypeVar("Fetched")


class _DamagedError(Exception):
    """The downloaded file is not whole."""


def fetch_model(hub: Hub, model_id: str, folder: Path) -> Path:
    """Download a model into `folder` as `model.<its ending>`, weights beside it; returns it."""
    from qai_hub import public_rest_api as rest

    def once(scratch: Path) -> Path:
        # The target is a file, not a folder: then the service's own name gives only the extension.
        got = Path(
            rest.download_model(hub.client.config, model_id, str(scratch / "got"), verbose=False)
        )
        if got.suffix == ".zip":
            got = _unpacked(got, scratch / "unpacked")
        _check_model(got)
        beside = [p for p in got.parent.iterdir() if p != got and p.is_file()]
        for part in beside if got.parent.name == "unpacked" else ():
            shutil.move(part, folder / part.name)
        target = folder / f"model{got.suffix}"
        shutil.move(got, target)
        return target

    return _downloaded(hub, "downloading the model", once)


def fetch_outputs(hub: Hub, dataset_id: str, target: Path) -> Path | None:
    """Download a dataset to the file `target`; returns None when the service no longer has it."""
    import h5py
    from qai_hub import public_rest_api as rest

    def once(scratch: Path) -> Path | None:
        try:
            got = rest.download_dataset(
                hub.client.config, dataset_id, str(scratch / "got.h5"), verbose=False
            )
        except Exception as error:
            if is_gone(error):
                return None
            raise
        try:
            with h5py.File(got, "r") as file:
                for group in file["data"].values():
                    names = {f"batch_{n}" for n in range(int(group.attrs["batch_count"]))}
                    if not names <= set(group):
                        raise _DamagedError("windows are missing")
        except (OSError, KeyError) as error:
            raise _DamagedError(str(error)) from error
        shutil.move(got, target)
        return target

    return _downloaded(hub, "downloading the results", once)


def _downloaded(hub: Hub, doing: str, once: Callable[[Path], Fetched]) -> Fetched:
    """Call `once` with an empty folder; a cut or damaged file is downloaded once more."""
    import tempfile

    for left in reversed(range(TRIES)):
        hub.work.progress(0, 0, doing)
        with confined(hub.work.folder) as scratch:
            try:
                return once(Path(tempfile.mkdtemp(dir=scratch)))
            except _DamagedError as error:
                if not left:
                    raise StageError(
                        f"the download from {hub.account.where} is damaged",
                        f"while {doing}, {TRIES} times: {hub.account.scrub(str(error))[:200]}",
                        "the job is done and kept; run the same command again",
                    ) from None
            except Exception as error:
                if is_local(error):
                    raise
                if not left or not is_transient(error):
                    raise explained(error, hub.account, doing) from None
    raise AssertionError("the last try returns or raises")


def _unpacked(archive: Path, folder: Path) -> Path:
    """Unpack the files of an archive flat into `folder`; returns the one that is the model."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/")).name
                if name and not member.is_dir():
                    part = below(folder, name, f"the archive {archive.name}")
                    with packed.open(member) as source, part.open("xb") as target:
                        shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, UnsafePathError) as error:
        raise _DamagedError(str(error)) from error
    models = [p for p in folder.iterdir() if p.suffix in (".onnx", ".dlc", ".tflite")]
    if len(models) != 1:
        names = ", ".join(sorted(p.name for p in folder.iterdir()))
        raise _DamagedError(f"an archive without one model in it: {names}")
    return models[0]


def _check_model(path: Path) -> None:
    if path.stat().st_size == 0:
        raise _DamagedError("an empty file")
    if path.suffix == ".onnx":
        import onnx
        from google.protobuf.message import DecodeError

        try:
            graph = onnx.load(str(path), load_external_data=False).graph
        except DecodeError as error:
            raise _DamagedError(f"not a complete ONNX graph: {error}") from error
        if not graph.node:
            raise _DamagedError("an ONNX graph without nodes")
