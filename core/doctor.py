"""`mode=doctor`: what works on this machine, and the command that mends what does not."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys

import psutil
from rich.console import Console

from core.errors import LuthierError
from core.registry import Entry, Registry
from core.store import open_store
from core.values import Notice

__all__ = ["examine", "machine", "versions"]

REPORTED = (
    "luthier",
    "torch",
    "demucs",
    "onnx",
    "onnxruntime",
    "onnxruntime-qnn",
    "onnxsim",
    "numpy",
    "hydra-core",
    "qai-hub",
    "tensorrt",
)


def machine() -> str:
    """Return the machine in words: processor, cores, memory, system."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB memory, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that results depend on."""
    found = {}
    for name in REPORTED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def examine(registry: Registry) -> None:
    """Print the machine, the libraries, the store, and every plugin that cannot run here."""
    console = Console(highlight=False)
    console.print(f"[bold]machine[/bold]  {machine()}")
    _show_store(console)
    console.print(f"[bold]python[/bold]   {sys.executable}\n")
    for name, version in versions().items():
        console.print(f"  [green]ok[/green]  {name} {version}")
    ready = broken = 0
    for entry in registry:
        problem = entry.problem()
        if problem:
            broken += 1
            console.print(f"  [yellow]--[/yellow]  {entry.kind} `{entry.name}`: {problem}")
        else:
            ready += 1
            _show_findings(console, entry)
    console.print(f"\n{ready} plugins ready, {broken} not")


def _show_store(console: Console) -> None:
    """Print where the store is, with the room there; one that cannot be says why."""
    try:
        store = open_store(None)
    except LuthierError as error:
        console.print("[bold]store[/bold]    ", end="")
        console.print(str(error), markup=False, soft_wrap=True)
        return
    existing = next(p for p in (store.root, *store.root.parents) if p.exists())
    free = f"{shutil.disk_usage(existing).free / 2**30:.0f} GiB free"
    here = str(store.root) == store.address
    room = f"({free})" if here else f"(copies in {store.root}, {free})"
    console.print(f"[bold]store[/bold]    {store.address} {room}", soft_wrap=True)


def _show_findings(console: Console, entry: Entry) -> None:
    """Print what a plugin finds on this machine; one that fails says so and costs no other."""
    try:
        found = entry.cls.findings()
    except Exception as error:
        found = [Notice("warning", f"cannot say: {type(error).__name__}: {error}")]
    for notice in found:
        style = {"info": "green", "warning": "yellow", "danger": "red"}[notice.severity]
        mark = {"info": "ok", "warning": "--", "danger": "!!"}[notice.severity]
        console.print(f"  [{style}]{mark}[/{style}]  {entry.kind} `{entry.name}`: ", end="")
        console.print(notice.text, markup=False, soft_wrap=True)
