"""The peak memory of a block: its process, and the children that it starts."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from core.machine.memory import peak_memory

MEGABYTES = 200
#: Takes memory, says so, and keeps it until its input is closed.
CHILD = f"held = bytearray({MEGABYTES * 10**6}); print(len(held), flush=True); input()"


def test_what_the_process_takes_counts() -> None:
    """Memory that the block takes and gives back is in its peak, and not in the next one's."""
    with peak_memory(0.005) as before:
        time.sleep(0.05)
    with peak_memory(0.005) as peak:
        held = bytearray(MEGABYTES * 10**6)
        time.sleep(0.1)
        del held
    assert peak.mb == pytest.approx(before.mb + MEGABYTES, abs=20)
    with peak_memory(0.005) as after:
        time.sleep(0.05)
    assert after.mb == pytest.approx(before.mb, abs=20)


def test_a_child_counts_while_it_lives() -> None:
    """A child that begins in the middle of the block is seen; one that ended counts no more."""
    with peak_memory(0.005) as peak:
        time.sleep(0.02)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            deadline = time.monotonic() + 20
            while peak.mb < MEGABYTES and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.1)
            alone = peak.mb
            child.communicate(b"\n")
        time.sleep(0.1)
        again = peak.mb
    assert alone > MEGABYTES
    assert again == pytest.approx(alone, abs=20)
