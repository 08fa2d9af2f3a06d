"""Installs every extra alone, beside the base, in a fresh environment, and runs what it is for.

python -m tools.bench_extras              every extra (make bench-extras)
python -m tools.bench_extras s3 ray       only these; the others stay unchanged

Each environment has the newest packages that pyproject.toml allows, not those of the lock: that is
what `pip install` gives to a user. Needs pip's index, `openssl`, and 5 GB of disk. The figures go
to `docs/results/extras.json`, from which `make docs` writes the table of `docs/install.md`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tools.results import measure

__all__ = ["COMMAND", "RESULTS", "TRIALS", "UNTRIED", "extras"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "extras.json"
COMMAND = "make bench-extras"
SWEEP = "python -m core -m recipe=cpu_fp32 precision=fp32,fp16"
SIGNATURE = "bundle --signature bundle.sig --no-ignore-git-paths"


@dataclass(frozen=True)
class Trial:
    """Commands that use an extra, and how the last of them ends."""

    commands: tuple[str, ...]
    code: int = 0
    says: str = ""
    """Words that the last command must print: the reason, where the machine lacks a device."""


#: The commands for every extra that this machine can try, as the documentation gives them.
TRIALS: Mapping[str, Trial] = {
    "qualcomm": Trial(("python -m core recipe=s24_int8",)),
    "rtx": Trial(("python -m core recipe=tensorrt_fp16",)),
    "openvino": Trial(
        (
            "python -m core recipe=openvino_fp32",
            "python -m core recipe=openvino_bf16",
            "python -m core recipe=openvino_int8",
        )
    ),
    # Beside the base alone: ONNX Runtime plays what NNCF made for OpenVINO.
    "nncf": Trial(("python -m core recipe=openvino_nncf runtime=onnxruntime",)),
    "webgpu": Trial(
        ("python -m core recipe=cpu_fp32 runtime.provider=webgpu",), 1, "finds no device"
    ),
    "formats": Trial(("python -m core recipe=cpu_fp32 input=song.m4a",)),
    "dynamo": Trial(("python -m core recipe=cpu_fp32 exporter=onnx_dynamo",)),
    "mlflow": Trial(("python -m core recipe=cpu_fp32 reporter=[terminal,mlflow]",)),
    "torchao": Trial(("python -m core recipe=cpu_torch_int8",)),
    "s3": Trial(("python -m core recipe=cpu_fp32 store=s3://bucket/luthier",)),
    "joblib": Trial((f"{SWEEP} hydra/launcher=joblib hydra.launcher.n_jobs=2",)),
    "ray": Trial(
        (
            f"{SWEEP} hydra/launcher=ray",
            "python -m core recipe=cpu_fp32 input=songs scale=ray batch.workers=2",
        )
    ),
    "slurm": Trial((f"{SWEEP} hydra/launcher=submitit_slurm",), 2, "no Slurm"),
    "optuna": Trial((f"{SWEEP} hydra/sweeper=optuna hydra.sweeper.n_trials=2",)),
    "signing": Trial(
        (
            "python -m core recipe=cpu_fp32 reporter=[]",
            "openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
            "openssl ec -in key.pem -pubout -out key.pub",
            f"python -m model_signing sign key {SIGNATURE} --private_key key.pem",
            f"python -m model_signing verify key {SIGNATURE} --public_key key.pub",
        )
    ),
}
#: Extras that are not installed here, with the reason.
UNTRIED = {"tensorrt": "its libraries lie on an index of NVIDIA's own"}


def extras() -> list[str]:
    """Return the extras of pyproject.toml for users, in its order."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [name for name in about["project"]["optional-dependencies"] if name != "dev"]


def made(folder: Path) -> Path:
    """Make the base environment: PyTorch as it is locked, and Luthier without extras."""
    base = folder / "base"
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)  # noqa: S603 - our words
    _pip(base, "install", "--requirement", str(ROOT / "requirements-torch.lock"))
    _pip(base, "install", str(ROOT))
    return base


def tried(base: Path, name: str) -> Iterator[dict[str, Any]]:
    """Install an extra into a copy of the base, and use it; yields its row."""
    if name not in TRIALS:
        yield {"untried": UNTRIED[name]}
        return
    trial, here = TRIALS[name], base.parent / name
    # Links in place of copies: pip replaces files and changes none.
    shutil.copytree(base, here, symlinks=True, copy_function=os.link)
    _pip(here, "install", f"{ROOT}[{name}]")
    _pip(here, "check")
    ended = _used(here, base.parent / f"{name}-files", trial)
    yield {
        "mb": (_size(here) - _size(base)) / 1e6,
        "packages": len(_packages(here)) - len(_packages(base)),
        "commands": list(trial.commands),
        "code": ended.returncode,
        "as_expected": ended.returncode == trial.code and trial.says in ended.stdout,
    }
    shutil.rmtree(here)


def _used(here: Path, files: Path, trial: Trial) -> subprocess.CompletedProcess[str]:
    """Type the commands of a trial into a folder of their own, up to the first that fails."""
    (files / "songs").mkdir(parents=True)
    _write_songs(files)
    with contextlib.ExitStack() as stack:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        env |= {"LUTHIER_STORE": str(here.parent / "store"), "XDG_CACHE_HOME": str(files / "cache")}
        if any("s3://" in command for command in trial.commands):
            env |= _bucket(stack)
        for command in trial.commands:
            words = [str(here / "bin/python") if w == "python" else w for w in command.split()]
            ended = subprocess.run(  # noqa: S603 - words of ours
                words, cwd=files, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False,
            )  # fmt: skip
            print(f"{command}\n{ended.stdout}", flush=True)
            if ended.returncode:
                break
            for bundle in files.glob("outputs/*/*/bundle"):
                shutil.copytree(bundle, files / "bundle", dirs_exist_ok=True)
    return ended


def _bucket(stack: contextlib.ExitStack) -> dict[str, str]:
    """Start a server of the S3 protocol with a bucket; returns the variables to reach it."""
    import boto3

    from tests import s3

    url = stack.enter_context(s3.server())
    keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(
        Bucket="bucket"
    )
    return {"AWS_ENDPOINT_URL_S3": url, **{key.upper(): value for key, value in keys.items()}}


def _write_songs(files: Path) -> None:
    """Write songs of 3 s: two of FLAC, and one that the base cannot read."""
    import av
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.1, (3 * 44100, 2)).astype(np.float32)
    for name in ("one", "two"):
        soundfile.write(files / "songs" / f"{name}.flac", noise, 44100)
    with av.open(str(files / "song.m4a"), "w") as song:
        stream = song.add_stream("aac", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(noise.T.copy(), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            song.mux(packet)


def _pip(here: Path, *words: str) -> None:
    subprocess.run([here / "bin/python", "-m", "pip", "--quiet", *words], check=True)  # noqa: S603


def _packages(here: Path) -> list[Path]:
    return list(here.glob("lib/python*/site-packages/*.dist-info"))


def _size(here: Path) -> int:
    """Return the bytes of an environment's packages."""
    return sum(file.lstat().st_size for file in here.glob("lib/**/*") if file.is_file())


def main() -> int:
    """Try the named extras, or all; returns 1 if one did not end as expected."""
    with tempfile.TemporaryDirectory() as folder:
        base = made(Path(folder))
        parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
            name: partial(tried, base, name) for name in extras()
        }
        measure(RESULTS, COMMAND, parts, sys.argv[1:])
    rows = {name: found["rows"][0] for name, found in json.loads(RESULTS.read_text()).items()}
    failed = [name for name, row in rows.items() if not row.get("as_expected", True)]
    if failed:
        print(f"ended otherwise than expected: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
