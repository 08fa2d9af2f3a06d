"""The commands of docs/bundle.md sign and verify a bundle with a local key, offline."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.optional import needs

pytestmark = needs("model_signing", "needs model-signing")
PAGE = Path(__file__).parent.parent / "docs" / "bundle.md"


@pytest.fixture(autouse=True)
def offline(unconnected_processes: None) -> None:
    """Block the connections of every process that a test starts."""


def typed(word: str, key: str = "key") -> list[str]:
    """Return the page's command with `word` in it, for this Python and the key's name."""
    (line,) = re.findall(
        rf"^(?:python|openssl) .*\b{word}\b.*$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    first, *rest = shlex.split(line, comments=True)
    rest = [re.sub(r"^key\.", f"{key}.", each) for each in rest]
    return [sys.executable if first == "python" else first, *rest]


def test_a_signed_bundle_is_what_was_signed(command: Command, recipe: Path, tmp_path: Path) -> None:
    """A signed bundle verifies; a changed bit, a missing or extra file or another key does not."""
    from model_signing import verifying

    assert command(f"recipe={recipe}", f"output={tmp_path}/outputs").code == 0
    (bundle,) = (tmp_path / "outputs").rglob("bundle")
    work = bundle.parent
    for word in ("ecparam", "pubout", "sign", "verify"):
        done = subprocess.run(typed(word), cwd=work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def holds(key: str = "key.pub") -> bool:
        settings = verifying.Config().use_elliptic_key_verifier(public_key=work / key)
        try:
            settings.verify(bundle, work / "bundle.sig")
        except ValueError:
            return False
        return True

    assert holds()
    files = sorted(p for p in bundle.rglob("*") if p.is_file())
    draw = random.Random(7)  # noqa: S311 - places to break, no secret
    for file in files:
        whole = bytearray(file.read_bytes())
        broken = bytearray(whole)
        broken[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(broken)
        assert not holds(), file
        file.unlink()
        assert not holds(), file
        file.write_bytes(whole)
    assert holds()
    for name in ("more", ".git/config", "python/more.py"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text("x")
        refused = subprocess.run(
            typed("verify"), cwd=work, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert name in refused.stderr
        (bundle / name).unlink()
    for word in ("ecparam", "pubout"):
        subprocess.run(typed(word, "other"), cwd=work, capture_output=True, check=True)
    assert not holds("other.pub")
