"""Uploads models and datasets once: each has a name from its content, which is looked up first."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import Array
from plugins.vendor.qai_hub import content
from plugins.vendor.qai_hub.confined import confined
from plugins.vendor.qai_hub.failures import explained, is_gone

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.hub import Hub

__all__ = ["dataset_name", "remember_model", "upload_dataset", "upload_model"]

#: Answers that are searched for an upload of a name, each of a hundred.
PAGES = 10


def upload_model(hub: Hub, path: Path) -> Any:
    """Return the client's model with this content; upload it if it is not there."""
    from qai_hub import public_rest_api as rest

    name, config, doing = _model_name(path), hub.client.config, "looking for the model"

    def listed(offset: int, limit: int) -> Any:
        return rest.get_model_list(config, offset, limit)

    def stored(known: str) -> str:
        if known and _there(hub, lambda: rest.get_model(config, known)):
            return known
        for model in hub.pages(doing, listed, "models", PAGES):
            if model.name == name and model.file_upload_complete:
                return str(model.model_id)
        return ""

    def upload() -> str:
        size = sum(file.stat().st_size for file in content.parts_of(path))
        hub.work.progress(0, 0, f"uploading the model, {size / 1e6:.0f} MB")
        with confined(hub.work.folder):
            return str(hub.client.upload_model(str(_whole(path)), name=name).model_id)

    uploaded = _once(hub, name, stored, upload, "uploading the model")
    return hub.call("looking at the model", hub.client.get_model, uploaded)


def remember_model(hub: Hub, path: Path, model_id: str) -> None:
    """Remember that the service made this model itself, so that it is not uploaded again."""
    name = _model_name(path)
    with hub.lock(name):
        hub.ledger.write(replace(hub.ledger.read(name), id=model_id))


def dataset_name(entries: Mapping[str, Sequence[Array]]) -> str:
    """Return the name of a dataset of this content in the account."""
    return f"luthier-{content.of_entries(entries)}"


def upload_dataset(hub: Hub, entries: Mapping[str, Sequence[Array]]) -> Any:
    """Return the client's dataset with this content; upload it if it is not there.

    The service keeps a dataset for 30 days, so a remembered one may be gone.
    """
    from qai_hub import public_rest_api as rest

    name, config = dataset_name(entries), hub.client.config

    def lives(dataset: Any) -> bool:
        ends = dataset.expiration_time.seconds
        return bool(dataset.permanent or not ends or ends > time.time())

    def listed(offset: int, limit: int) -> Any:
        return rest.get_dataset_list(config, offset, limit)

    def stored(known: str) -> str:
        if known and _there(hub, lambda: rest.get_dataset(config, known), lives):
            return known
        for one in hub.pages("looking for the windows", listed, "datasets", PAGES):
            if one.name == name and one.file_upload_complete and lives(one):
                return str(one.dataset_id)
        return ""

    def upload() -> str:
        size = sum(array.nbytes for arrays in entries.values() for array in arrays)
        hub.work.progress(0, 0, f"uploading the windows, {size / 1e6:.0f} MB")
        lists = {key: list(arrays) for key, arrays in entries.items()}
        with confined(hub.work.folder):
            return str(hub.client.upload_dataset(lists, name=name).dataset_id)

    uploaded = _once(hub, name, stored, upload, "uploading the windows")
    return hub.call("looking at the windows", hub.client.get_dataset, uploaded)


def _once(
    hub: Hub, name: str, stored: Callable[[str], str], upload: Callable[[], str], doing: str
) -> str:
    """Return the id of the object `name`: remembered, found in the account, or uploaded."""
    with hub.lock(name):
        entry = hub.ledger.read(name)
        known = stored(entry.id) or str(hub.call(doing, upload))
        if known != entry.id:
            hub.ledger.write(replace(entry, id=known))
        return known


def _there(hub: Hub, ask: Callable[[], Any], good: Callable[[Any], bool] = lambda _: True) -> bool:
    """Return whether the service still has the object that it gave an id for."""
    try:
        return good(ask())
    except Exception as error:
        if is_gone(error):
            return False
        raise explained(error, hub.account, "looking for an upload") from None


def _model_name(path: Path) -> str:
    return f"luthier-{content.content_of(path)}"


def _whole(path: Path) -> Path:
    """Return the path to upload: the file, or a folder of the graph and its weights alone."""
    parts = content.parts_of(path)
    if len(parts) == 1:
        return path
    folder = Path(tempfile.mkdtemp(suffix=".onnx"))
    for part in parts:
        shutil.copyfile(part, folder / part.name)
    return folder
