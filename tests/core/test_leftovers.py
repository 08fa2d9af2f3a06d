"""What a killed process left behind is removed by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.leftovers import owned_name, sweep_up


def test_folders_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """The name says whose it is."""
    code = "from core.leftovers import owned_name; print(owned_name('x'))"
    root = Path(__file__).parents[2]
    dead = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    ).stdout.strip()
    for name in (dead, owned_name("y"), "results"):
        (tmp_path / name).mkdir()
    sweep_up(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {owned_name("y"), "results"}
