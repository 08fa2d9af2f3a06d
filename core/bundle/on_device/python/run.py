"""Plays a file with the bundle: `python run.py INPUT FOLDER`. Needs numpy and onnxruntime only.

INPUT is a file that `medium.py` reads, or an `.npz` with an array for every input of the
signature in `metadata.json`; then FOLDER gets `outputs.npz`.
"""

import json
import sys
from pathlib import Path

import join
import numpy as np
import window

#: The format that `core/bundle/write.py` writes; this program would misread another one.
FORMAT = 1


def main(source: Path, target: Path) -> None:
    """Read `source`, play it, and write the outputs below `target`."""
    bundle = Path(__file__).resolve().parent.parent
    metadata = read(bundle / "metadata.json")
    target.mkdir(parents=True, exist_ok=True)
    run = window.Window(bundle, metadata).run
    if source.suffix == ".npz":
        with np.load(source) as arrays:
            inputs = {name: arrays[name] for name in arrays.files}
        inputs = typed(inputs, metadata["signature"]["inputs"])
        np.savez(target / "outputs.npz", **join.play(inputs, metadata, run))
        return
    import medium

    medium.write(target, join.play(medium.read(source, metadata), metadata, run), metadata)


def typed(inputs: dict, specs: list) -> dict:
    """Return the inputs in the types of the signature; raises SystemExit where they do not fit."""
    fitting = {}
    for spec in specs:
        array = inputs.get(spec["name"])
        if array is None:
            raise SystemExit(f"there is no array `{spec['name']}`; given: {', '.join(inputs)}")
        if not np.can_cast(array.dtype, spec["dtype"], "same_kind"):
            raise SystemExit(f"`{spec['name']}` is {array.dtype}; the model takes {spec['dtype']}")
        fitting[spec["name"]] = array.astype(spec["dtype"])
    return fitting


def read(file: Path) -> dict:
    """Return the content of `metadata.json`; raises SystemExit where it cannot be read."""
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
        known = metadata["format"]
    except (OSError, ValueError, RecursionError, TypeError, LookupError) as error:
        raise SystemExit(f"{file} is damaged: {error}") from error
    if known != FORMAT:
        raise SystemExit(f"{file} has the format {known}, this program reads {FORMAT}")
    return metadata


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
