"""The distribution of another author, installed as a person does: no edit under core/ is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.store.hashing import digest, file_digest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "upscaler"


def digest_of_core() -> str:
    """Return the hash of every source file of the core."""
    files = (ROOT / "core").rglob("*")
    return digest(
        {str(file): file_digest(file) for file in files if file.is_file() and file.suffix != ".pyc"}
    )


@dataclass
class Stranger:
    """A Python environment with the distribution, and an empty working folder."""

    python: Path
    folder: Path

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run Python in the environment, outside the checkout; returns its output."""
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env={**variables, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def core(self, *arguments: str) -> str:
        """Run Luthier in the environment."""
        return self.run("-m", "core", *arguments, "output=out", "store=store")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Install a copy of the distribution into an environment that sees this one's libraries."""
    folder = tmp_path_factory.mktemp("stranger")
    made, copy, work = folder / "venv", folder / "upscaler", folder / "work"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    python = next(made.glob("bin/python")) if os.name != "nt" else made / "Scripts" / "python.exe"
    own = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    seen = "".join(f"import site; site.addsitedir({p!r})\n" for p in site.getsitepackages())
    # This checkout comes first, even if the libraries' environment has Luthier from elsewhere.
    first = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    Path(own, "libraries.pth").write_text(first + seen, encoding="utf-8")
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-index", str(copy)], check=True)
    return Stranger(python, work)


@pytest.fixture(scope="module")
def folder(stranger: Stranger) -> Path:
    """Run the recipe of the distribution once; returns its run folder."""
    before = digest_of_core()
    stranger.core("recipe=upscale_int8")
    assert digest_of_core() == before
    (run,) = (stranger.folder / "out" / "upscale_int8").iterdir()
    return run


def test_its_plugins_are_listed_with_their_distribution(stranger: Stranger) -> None:
    """`mode=list` shows the plugins with their distribution, and the preset and the recipe."""
    listing = [line.strip() for line in stranger.core("mode=list").splitlines()]
    for name in ("upscaler", "shapes", "tiles", "psnr"):
        (line,) = (row for row in listing if row.split()[:1] == [name])
        assert line.endswith("(luthier-upscaler)")
    for name in ("small_tiles", "upscale_int8"):
        assert any(row.split()[:1] == [name] for row in listing)


def test_the_recipe_beats_bicubic_in_8_bits(folder: Path) -> None:
    """`upscale_int8` beats bicubic by over 2 dB on every image, and has over 35 dB to FP32."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["precision"] == "int8"
    found = {
        name: [m["value"] for m in report["metrics"] if m["name"] == name]
        for name in ("psnr", "psnr_gain", "psnr_to_fp32")
    }
    assert [len(values) for values in found.values()] == [4, 4, 4]
    assert min(found["psnr_gain"]) > 2
    assert min(found["psnr_to_fp32"]) > 35
    assert all("CPU" in m["device"] for m in report["metrics"])


def test_images_are_written(folder: Path) -> None:
    """The run folder holds every input, output and true image, and the bundle holds the graph."""
    from struct import unpack_from

    sizes = {
        label: {unpack_from(">II", file.read_bytes(), 16) for file in folder.rglob(f"{label}.png")}
        for label in ("input", "upscaled", "true")
    }
    assert sizes == {"input": {(96, 96)}, "upscaled": {(192, 192)}, "true": {(192, 192)}}
    assert (folder / "bundle" / "model.onnx").is_file()


def test_the_bundle_alone_upscales_an_image(folder: Path, tmp_path: Path) -> None:
    """The bundle's own program upscales an image in tiles, without a dsp."""
    import numpy as np

    bundle = folder / "bundle"
    metadata = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))
    assert (metadata["host_graphs"], metadata["fallback"]) == (None, None)
    image = np.random.default_rng(0).random((3, 70, 131), np.float32)
    np.savez(tmp_path / "image.npz", image=image)
    subprocess.run(
        [sys.executable, bundle / "python" / "run.py", tmp_path / "image.npz", tmp_path],
        check=True,
    )
    with np.load(tmp_path / "outputs.npz") as made:
        upscaled = made["upscaled"]
    assert upscaled.shape == (3, 140, 262)
    rough = image.repeat(2, axis=1).repeat(2, axis=2)
    assert np.corrcoef(rough.ravel(), upscaled.ravel())[0, 1] > 0.7


def test_a_second_run_computes_nothing(stranger: Stranger, folder: Path) -> None:
    """A second run of the same recipe finds every step in the store."""
    assert (folder / "report.json").is_file()
    planned = stranger.core("recipe=upscale_int8", "mode=plan")
    assert re.search(r"^0 of \d+ steps would run", planned, re.MULTILINE), planned


def test_a_photo_and_a_preset_are_taken(stranger: Stranger, folder: Path) -> None:
    """`input=` with a PNG file selects the dataset of images, and `chunker=` takes the preset."""
    photo = next(folder.rglob("input.png"))
    planned = stranger.core(
        "recipe=upscale_int8", f"input={photo}", "chunker=small_tiles", "mode=plan"
    )
    assert "height=32" in planned


def test_a_folder_of_songs_still_opens(stranger: Stranger) -> None:
    """With the dataset of images installed, a recipe for audio still opens a folder of songs."""
    import numpy as np
    import soundfile

    (stranger.folder / "songs").mkdir()
    song = np.random.default_rng(0).normal(0, 0.1, (44100, 2))
    soundfile.write(stranger.folder / "songs" / "song.wav", song, 44100)
    assert "steps would run" in stranger.core("recipe=cpu_fp32", "input=songs", "mode=plan")


def test_it_passes_the_conformance_suites(stranger: Stranger) -> None:
    """The distribution's own tests, built on `core.conformance`, pass where it is installed."""
    tests = stranger.folder.parent / "upscaler" / "tests"
    printed = stranger.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests))
    assert "failed" not in printed
    assert "passed" in printed
