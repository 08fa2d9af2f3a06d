"""The wheel works by itself: in an environment without the checkout, from another folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment, beside the libraries of this one; returns `bin`.

    This environment's own Luthier stays out: Python reads no `.pth` file of a folder that a `.pth`
    file names.
    """
    folder = tmp_path_factory.mktemp("wheel")
    _done([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    _done([sys.executable, "-m", "venv", str(folder / "env")], folder)
    paths = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    found = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    (wheel,) = folder.glob("*.whl")
    python = str(found / "python")
    _done([python, "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)], folder)
    place = _done([python, "-c", "import core; print(core.__file__)"], folder).stdout.strip()
    assert Path(place).is_relative_to(folder)
    return found


def _ended(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _done(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    ended = _ended(command, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def test_recipes_and_plugins_come_along(scripts: Path, tmp_path: Path) -> None:
    """The help and the list of the command have the recipes and plugins of the wheel."""
    luthier = str(scripts / "luthier")
    assert "recipe=" in _done([luthier, "--help"], tmp_path).stdout
    listed = _done([luthier, "mode=list"], tmp_path).stdout
    assert {"cpu_fp32", "s24_int8", "htdemucs_small", "onnxruntime"} <= set(listed.split())


def test_a_song_is_separated_beside_a_foreign_core(scripts: Path, tmp_path: Path) -> None:
    """The command plays a song in a folder that holds a package `core` of others.

    `python -m luthier`, which looks there first, says that it found another `core`.
    """
    foreign = tmp_path / "core"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("", encoding="utf-8")
    noise = np.random.default_rng(0).normal(0, 0.05, (2 * 44100, 2))
    soundfile.write(tmp_path / "song.wav", noise, 44100)
    words = ["separate", "song.wav", "model=htdemucs_small", f"store={tmp_path / 'store'}"]
    _done([str(scripts / "luthier"), *words], tmp_path)
    stems = sorted(path.name for path in (tmp_path / "separated" / "song").iterdir())
    assert stems == [f"song ({stem}).wav" for stem in ("bass", "drums", "other", "vocals")]
    refused = _ended([str(scripts / "python"), "-m", "luthier", *words], tmp_path)
    assert refused.returncode == 1
    assert f"finds another one: {foreign / '__init__.py'}" in refused.stderr
    assert "with the command `luthier`" in refused.stderr
