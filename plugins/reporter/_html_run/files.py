"""The files of a run beside its report, and the command that runs it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, command, el, join, link_to
from plugins.reporter._reading import megabytes

if TYPE_CHECKING:
    from core.plugin.records import RunRecord

__all__ = ["Beside", "beside", "files"]

#: What a run folder holds: files and folders by their names there, and their titles.
LOCK, BUNDLE, RECORD = "recipe.lock.yaml", "bundle", "report.json"


@dataclass(frozen=True)
class Beside:
    """A file or a folder that lies beside the report: its address, its name, and its content."""

    address: str
    name: str
    content: str


def beside(record: RunRecord, folder: Path) -> list[Beside]:
    """Return what lies in the run folder; `record` has the true paths of the saved files."""
    return [*_saved(record, folder), *_others(record, folder)]


def _saved(record: RunRecord, folder: Path) -> Iterator[Beside]:
    """Yield the folders of the saved files; each file has a link of its own."""
    paths = [PurePosixPath(saved.path.replace("\\", "/")) for saved in record.saved]
    for top in dict.fromkeys(path.parts[0] for path in paths if len(path.parts) > 1):
        sizes = [
            (folder / path).stat().st_size
            for path in paths
            if path.parts[0] == top and (folder / path).is_file()
        ]
        yield _folder(top, sizes)


def _others(record: RunRecord, folder: Path) -> Iterator[Beside]:
    if (folder / BUNDLE).is_dir():
        found = (file for file in (folder / BUNDLE).rglob("*") if file.is_file())
        yield _folder(BUNDLE, [file.stat().st_size for file in found])
    # The reporter `json` may write its file after this one.
    if "json" in _reporters(record):
        yield Beside(link_to(RECORD), RECORD, "every figure, for programs")
    if (folder / LOCK).is_file():
        yield Beside(link_to(LOCK), LOCK, "the recipe with every option")


def _folder(name: str, sizes: list[int]) -> Beside:
    count = f"{len(sizes)} file{'s' if len(sizes) != 1 else ''}"
    return Beside(f"{link_to(name)}/", f"{name}/", f"{count}, {megabytes(sum(sizes))}")


def _reporters(record: RunRecord) -> frozenset[str]:
    """Return the names of the reporters of the resolved recipe."""
    import yaml

    try:
        config = yaml.safe_load(record.config)
    except yaml.YAMLError:
        return frozenset()
    named = config.get("reporter") if isinstance(config, dict) else None
    return frozenset(map(str, named)) if isinstance(named, dict) else frozenset()


def files(found: list[Beside], again: str, *, shortened: bool) -> Html:
    """Return the links and the command; `shortened` says that its paths are names alone."""
    links = (
        el("li", el("a", one.name, href=one.address), el("small", one.content)) for one in found
    )
    about = "This run again"
    if shortened:
        about += "; paths are names alone here, so that the page can be passed on"
    return join(
        el("ul", *links, class_="files") if found else None,
        el("p", f"{about}:", class_="note") if again else None,
        command(again) if again else None,
    )
