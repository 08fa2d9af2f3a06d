"""Plays a file with the bundle, or tests the bundle. Needs numpy and onnxruntime only."""

import argparse
import json
import sys
import time
from pathlib import Path

import manifest

#: The format that `core/bundle/write.py` writes; this program would misread another one.
FORMAT = 1
#: Seconds between two lines about the progress, where no terminal shows it.
PAUSE_S = 10.0
INPUT = """\
INPUT is {media}an .npz file with an array for every input of the signature in metadata.json. For an
.npz, FOLDER gets outputs.npz{written}.
"""


def main() -> int:
    """Do as the command line says; returns the exit code."""
    bundle = Path(__file__).resolve().parent.parent
    media = (bundle / "python" / "medium.py").is_file()
    arguments = parsed(media)
    started = time.perf_counter()
    manifest.check(bundle)
    checked = time.perf_counter() - started
    metadata = read(bundle / "metadata.json")
    if arguments.self_test:
        return self_test(bundle, metadata, checked)
    play(bundle, metadata, arguments.input, arguments.folder, media=media)
    return 0


def parsed(media: bool) -> argparse.Namespace:
    """Return the arguments; ends the process with code 2 where they are wrong."""
    known, written = "", ""
    if media:
        known = "a file that medium.py reads (a WAV file; it says which), or "
        written = ", for another file one file for every result"
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, epilog=INPUT.format(media=known, written=written)
    )
    parser.add_argument("input", metavar="INPUT", type=Path, nargs="?", help="the file to play")
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", help="gets the results")
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="try every back end on the golden window, and print what came of it",
    )
    arguments = parser.parse_args()
    if arguments.self_test and arguments.input:
        parser.error("--self-test takes no INPUT")
    if not arguments.self_test and arguments.folder is None:
        parser.error("give an INPUT and a FOLDER, or --self-test")
    return arguments


def play(bundle: Path, metadata: dict, source: Path, target: Path, *, media: bool) -> None:
    """Read `source`, play it, and write the outputs below `target`."""
    import join
    import numpy as np
    import window

    if source.suffix != ".npz" and not media:
        raise manifest.BundleError(
            f"{source} is no .npz file, and this bundle has no program that reads another one: "
            f"{needed(metadata)}"
        )
    if source.suffix == ".npz":
        inputs = typed(opened(source, metadata), metadata)
    else:
        import medium

        inputs = medium.read(source, metadata)
    target.mkdir(parents=True, exist_ok=True)
    run = window.Window(bundle, metadata).run
    made = join.play(inputs, metadata, Progress(run, windows(inputs, metadata)))
    if source.suffix == ".npz":
        np.savez(target / "outputs.npz", **made)
    else:
        medium.write(target, made, metadata)
    print(f"written below {target}", file=sys.stderr)


def opened(source: Path, metadata: dict) -> dict:
    """Return the arrays of a file; raises BundleError where it is none."""
    import zipfile

    import numpy as np

    try:
        with np.load(source) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise manifest.BundleError(
            f"{source} is no .npz file: {manifest.reason(error)}; {needed(metadata)}"
        ) from error


def needed(metadata: dict) -> str:
    """Return how an .npz with the inputs is made, in words."""
    specs = [
        f"{spec['name']}={spec['dtype']} ({', '.join(map(str, spec['axes']))})"
        for spec in metadata["signature"]["inputs"]
    ]
    return f"write one with numpy.savez, with the arrays {'; '.join(specs)}"


def typed(inputs: dict, metadata: dict) -> dict:
    """Return the inputs in the types of the signature; raises BundleError where none fits."""
    import numpy as np

    fitting = {}
    for spec in metadata["signature"]["inputs"]:
        name, array = spec["name"], inputs.get(spec["name"])
        if array is None:
            given = ", ".join(inputs) or "none"
            raise manifest.BundleError(
                f"there is no array `{name}`; given: {given}; {needed(metadata)}"
            )
        if not np.can_cast(array.dtype, spec["dtype"], "same_kind"):
            raise manifest.BundleError(
                f"`{name}` is {array.dtype}; the model takes {spec['dtype']}"
            )
        fixed = [size for size in spec["shape"] if isinstance(size, int)]
        wrong = array.ndim != len(spec["shape"]) or any(
            isinstance(size, int) and size != found
            for size, found in zip(spec["shape"], array.shape, strict=False)
        )
        if wrong or not array.size:
            raise manifest.BundleError(
                f"`{name}` has the shape {array.shape}; the model takes "
                f"({', '.join(map(str, spec['shape']))})"
                + (", where a name stands for any length" if len(fixed) < array.ndim else "")
            )
        fitting[name] = array.astype(spec["dtype"])
    return fitting


def windows(inputs: dict, metadata: dict) -> int:
    """Return how many windows the inputs will be cut into; 0 where this is unknown."""
    chunking = metadata["chunking"]
    axis, stride = chunking.get("axis"), chunking.get("stride")
    for spec in metadata["signature"]["inputs"]:
        if isinstance(stride, int) and stride > 0 and axis in spec["axes"]:
            return -(-inputs[spec["name"]].shape[spec["axes"].index(axis)] // stride)
    return 0


class Progress:
    """Runs windows, and says on the standard error how many are done and how long the rest takes.

    The first window is not timed: it came after the opening of the models.
    """

    def __init__(self, run: object, total: int) -> None:
        """Take the function that runs a window, and the number of windows, 0 if unknown."""
        self.run, self.total, self.done = run, total, 0
        self.started = self.told = time.perf_counter()

    def __call__(self, inputs: dict) -> dict:
        """Run one window."""
        made = self.run(inputs)
        self.done += 1
        now = time.perf_counter()
        live = sys.stderr.isatty()
        if live or now - self.told >= PAUSE_S:
            self.told = now
            print(f"\r{self.text(now)}\x1b[K" if live else self.text(now), end="" if live else "\n",
                  file=sys.stderr, flush=True)  # fmt: skip
        if live and self.done == self.total:
            print(file=sys.stderr)
        return made

    def text(self, now: float) -> str:
        """Return how far it is: `window 12 of 80, 34 s left`."""
        if not self.total:
            return f"window {self.done}"
        left = (now - self.started) / self.done * (self.total - self.done)
        return f"window {self.done} of {self.total}, {left:.0f} s left"


def self_test(bundle: Path, metadata: dict, checked: float) -> int:
    """Try every back end, print what came of it, and return 0 if one can be used."""
    import window  # first: it turns off what ONNX Runtime would report when it is loaded

    # isort: split
    import onnxruntime

    size = sum(file["bytes"] for file in metadata["files"].values())
    count = len(metadata["files"])
    print(f"bundle {metadata['id'][:12]}, {metadata['title'] or metadata['recipe']}")
    print(f"{count} files, {size / 1e6:.1f} MB: as listed ({1000 * checked:.0f} ms)")
    print(f"ONNX Runtime {onnxruntime.__version__}; made with "
          f"{metadata['versions'].get('onnxruntime', 'another engine')}")  # fmt: skip
    tested = window.Window(bundle, metadata, say=print, every=True)
    if tested.golden is None:
        print("this bundle has no golden window: no result was compared")
    used = tested.used
    print(f"used: {used}")
    return 0


def read(file: Path) -> dict:
    """Return the content of `metadata.json`; raises BundleError where it cannot be read."""
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
        known = metadata["format"]
    except (OSError, ValueError, RecursionError, TypeError, LookupError) as error:
        raise manifest.BundleError(f"{file} is damaged: {error}") from error
    if known != FORMAT:
        raise manifest.BundleError(f"{file} has the format {known}, this program reads {FORMAT}")
    return metadata


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except manifest.BundleError as problem:
        raise SystemExit(str(problem)) from None
    except ModuleNotFoundError as problem:
        raise SystemExit(f"`{problem.name}` is not installed: pip install {problem.name}") from None
    except (OSError, MemoryError) as problem:
        name = getattr(problem, "filename", None)
        words = manifest.reason(problem)
        raise SystemExit(f"{name}: {words}" if name else words) from None
    except KeyboardInterrupt:
        raise SystemExit("interrupted: nothing was written") from None
