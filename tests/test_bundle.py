"""The bundle alone, with only ONNX Runtime and NumPy, separates as Luthier does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import soundfile

from core import Array, Signature
from core.measure.metrics import snr_db
from core.store.hashing import file_digest
from plugins.dataset._generator import make_song
from plugins.dataset.synthetic import Synthetic
from tests.test_end_to_end import S24, SHORT, core

#: Runs `python/run.py` of a bundle in a process that can import only NumPy and ONNX Runtime.
ALONE = """\
import importlib.abc, runpy, sys

bundle, song, target = sys.argv[1:]
allowed = {"numpy", "onnxruntime"}
shipped = {"cpu", "device", "golden", "join", "manifest", "medium", "window"}
before = {name.partition(".")[0] for name in sys.modules}
assert not before & {"core", "plugins", "torch", "onnx", "scipy", "soundfile"}, before

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        if top not in {*sys.stdlib_module_names, *allowed, *shipped}:
            raise ModuleNotFoundError(f"`{name}` is not to be had here", name=name)

sys.meta_path.insert(0, Nothing())
sys.path.insert(0, f"{bundle}/python")
sys.argv = ["run.py", song, target]
runpy.run_path(f"{bundle}/python/run.py", run_name="__main__")
loaded = {name.partition(".")[0] for name in sys.modules} - before
assert loaded - {*sys.stdlib_module_names} <= allowed | shipped, loaded
"""
QUICK = ["measure.budget_windows=1", "reporter=[json]"]
STEMS = ("drums", "bass", "other", "vocals")


@pytest.fixture(scope="module")
def fp32(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of `cpu_fp32` on `song.wav`, and its bundle as `alone/`."""
    folder = tmp_path_factory.mktemp("fp32")
    made = make_song(7, 2.6)
    soundfile.write(folder / "song.wav", made.mixture.T, made.samplerate, "PCM_16")
    run(folder, "recipe=cpu_fp32", f"input={folder / 'song.wav'}", f"store={store}", *QUICK)
    return folder


@pytest.fixture(scope="module")
def int8(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of `s24_int8` on `song.npz`, and its bundle as `alone/`."""
    folder = tmp_path_factory.mktemp("int8")
    run(folder, "recipe=s24_int8", f"store={store}", *SHORT)
    metadata = json.loads((folder / "alone" / "metadata.json").read_text(encoding="utf-8"))
    signature = msgspec.convert(metadata["signature"], Signature)
    (item,) = Synthetic(Synthetic.Options(seconds=4)).items("evaluation", signature)
    np.savez(folder / "song.npz", **item.inputs)
    return folder


def run(folder: Path, *arguments: str) -> None:
    """Run a recipe into `folder / "out"`, and move its bundle to `folder / "alone"`."""
    done = core(*arguments, f"output={folder / 'out'}")
    assert done.returncode == 0, done.stderr
    (bundle,) = folder.glob("out/*/*/bundle")
    shutil.move(bundle, folder / "alone")


def played_alone(folder: Path, song: str) -> dict[str, Array]:
    """Play the song with the bundle in a bare process; returns (channel, time) per stem."""
    target, script = folder / "stems", folder / "alone.py"
    script.write_text(ALONE)
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(folder / "alone"), str(folder / song), str(target)],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if song.endswith(".npz"):
        with np.load(target / "outputs.npz") as made:
            return dict(zip(STEMS, made["stems"], strict=True))
    return read(target)


def read(folder: Path) -> dict[str, Array]:
    """Return the stems (channel, time) of a folder."""
    files = {name: folder / f"{name}.wav" for name in STEMS}
    return {name: soundfile.read(file, dtype="float32")[0].T for name, file in files.items()}


def agreement_db(folder: Path, stems: dict[str, Array]) -> float:
    """Return the worst SNR of a stem, in dB, against the same stem of Luthier's own run."""
    (own,) = folder.glob("out/*/*/stems")
    return min(snr_db(expected, stems[name]) for name, expected in read(own).items())


def test_the_bundle_of_cpu_fp32_separates_as_luthier_does(fp32: Path) -> None:
    """The bundle of `cpu_fp32` agrees with Luthier's 24-bit stems to more than 100 dB."""
    assert agreement_db(fp32, played_alone(fp32, "song.wav")) > 100


@pytest.mark.long
@S24
def test_the_bundle_of_s24_int8_separates_as_luthier_does(int8: Path) -> None:
    """The bundle of `s24_int8` plays its fallback on a CPU, and agrees to more than 60 dB.

    The steps before the fallback give the same digits as Luthier's. With other digits (for example
    NumPy's transform, which agrees to 133 dB), a quantised graph rounds differently in places, and
    the stems agree to less than 50 dB.
    """
    assert agreement_db(int8, played_alone(int8, "song.npz")) > 60


@pytest.mark.long
@S24
def test_the_bundle_of_the_phone_holds_what_a_phone_needs(int8: Path) -> None:
    """The phone's bundle has a context binary, fallback, small graphs, licence and examples."""
    bundle = int8 / "alone"
    metadata = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["model"]["format"] == "qnn_context"
    assert (metadata["fallback"]["format"], metadata["fallback"]["precision"]) == ("onnx", "int8")
    assert any(name.endswith(".bin") for name in metadata["files"])
    sizes = {name: metadata["files"][name]["bytes"] for name in ("pre.onnx", "post.onnx")}
    assert max(sizes.values()) < 200_000
    assert metadata["host_graphs"]["forward"]["opset"] == {"ai.onnx": 17}
    assert metadata["runtime"]["qnn_version"]
    assert metadata["chunking"]["stride"] == 67_584
    assert metadata["dsp"]["nfft"] == 4096
    page = (bundle / "README.md").read_text(encoding="utf-8")
    for said in ("```kotlin", "```cpp", "```sh", "qnn-runtime", "libcdsprpc.so", "Apache-2.0"):
        assert said in page
    assert "Apache-2.0" in (bundle / "LICENCE-WEIGHTS.txt").read_text(encoding="utf-8")


@pytest.mark.long
@S24
def test_the_cpp_of_the_bundle_separates_as_luthier_does(int8: Path, tmp_path: Path) -> None:
    """The bundle's C++ program, built with ONNX Runtime's headers, agrees to more than 60 dB."""
    headers = os.environ.get("ONNXRUNTIME_INCLUDE", "")
    if shutil.which("g++") is None or not Path(headers, "onnxruntime_cxx_api.h").is_file():
        pytest.skip("needs g++, and ONNXRUNTIME_INCLUDE: a folder with onnxruntime_cxx_api.h")
    library = library_of_onnxruntime(tmp_path)
    code, program = int8 / "alone" / "cpp", tmp_path / "run"
    subprocess.run(
        [  # noqa: S607
            "g++", "-std=c++17", "-O2", "-Wall", f"-I{code}", f"-I{headers}", str(code / "run.cpp"),
            f"-L{library}", "-lonnxruntime", f"-Wl,-rpath,{library}", "-o", str(program),
        ],
        check=True,
    )  # fmt: skip
    with np.load(int8 / "song.npz") as song:
        song["mix"].tofile(tmp_path / "in.f32")
    done = subprocess.run(
        [program, int8 / "alone", tmp_path / "in.f32", tmp_path / "out.f32"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "NPU: not used: this processor is no Snapdragon" in done.stderr
    assert "CPU: passes" in done.stderr
    found = np.fromfile(tmp_path / "out.f32", np.float32).reshape(len(STEMS), 2, -1)
    assert agreement_db(int8, dict(zip(STEMS, found, strict=True))) > 60


def self_test(bundle: Path) -> subprocess.CompletedProcess[str]:
    """Run the self-test of the bundle's Python program."""
    return subprocess.run(
        [sys.executable, "-B", str(bundle / "python" / "run.py"), "--self-test"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def listed_anew(bundle: Path) -> None:
    """Write the hashes that fit the files as they are, as somebody would who changes them."""
    sums = bundle / "SHA256SUMS"
    head, *lines = sums.read_text(encoding="utf-8").splitlines()
    names = [line.partition("  ")[2] for line in lines]
    lines = [f"{file_digest(bundle / name)}  {name}" for name in names]
    sums.write_text("\n".join([head, *lines, ""]), encoding="utf-8")


def flipped_weight(file: Path) -> None:
    """Turn the sign of the largest weight of the largest matrix of a graph."""
    model = onnx.load(file)
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights = onnx.numpy_helper.to_array(tensor).copy()
    place = np.unravel_index(np.argmax(np.abs(weights)), weights.shape)
    weights[place] = -weights[place]
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, file)


def hamming(file: Path) -> None:
    """Replace the Hann window of a graph of the dsp by a Hamming window."""
    model = onnx.load(file)
    (tensor,) = (one for one in model.graph.initializer if one.name == "hann")
    window = onnx.numpy_helper.to_array(tensor)
    other = (0.08 * window.max() + 0.92 * window).astype(window.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(other, tensor.name))
    onnx.save(model, file)


def truncated(file: Path) -> None:
    """Cut a file in its middle."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_the_self_test_of_a_whole_bundle_passes(fp32: Path) -> None:
    """The self-test prints each back end with dB and times, and ends with exit code 0."""
    done = self_test(fp32 / "alone")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("CPU: "))
    assert re.fullmatch(
        r"CPU: passes: model [\d.]+ dB of [\d.]+, outputs [\d.]+ dB of [\d.]+, "
        r"cold start \d+ ms, first window \d+ ms, second window \d+ ms",
        line,
    )
    assert done.stdout.endswith("used: CPU\n")


DAMAGES = [
    ("model.onnx", flipped_weight, "CPU: its result is wrong: "),
    ("pre.onnx", hamming, "pre.onnx computes something else: "),
    ("post.onnx", hamming, "post.onnx computes something else: "),
    ("model.onnx", truncated, "CPU: "),
    ("pre.onnx", truncated, "pre.onnx cannot be opened: "),
    ("golden.bin", truncated, "golden.json and golden.bin do not fit"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGES)
def test_a_damage_is_named_by_the_list_of_hashes_and_by_the_golden_window(
    fp32: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], said: str
) -> None:
    """A changed file is refused by its name; with a list that fits it, the self-test fails."""
    bundle = tmp_path / "bundle"
    shutil.copytree(fp32 / "alone", bundle)
    damage(bundle / name)
    refused = self_test(bundle)
    assert refused.returncode == 1
    assert f"{name} was changed" in refused.stderr
    assert "CPU" not in refused.stdout
    listed_anew(bundle)
    failed = self_test(bundle)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_back_end_whose_result_is_wrong_is_not_used(fp32: Path, tmp_path: Path) -> None:
    """The program names it, says how far it is off, and plays on the next one."""
    bundle = tmp_path / "bundle"
    shutil.copytree(fp32 / "alone", bundle)
    shutil.copy(bundle / "model.onnx", bundle / "wrong.onnx")
    flipped_weight(bundle / "wrong.onnx")
    device = bundle / "python" / "device.py"
    code = device.read_text(encoding="utf-8").replace("def backends(", "def right(")
    others = (
        "def backends(folder, metadata):\n"
        "    def absent():\n        raise RuntimeError('there is no NPU')\n"
        "    wrong = lambda: cpu.open_on_cpu(folder / 'wrong.onnx')\n"
        "    first = [('NPU', 'model', absent), ('GPU', 'model', wrong)]\n"
        "    return [*first, *right(folder, metadata)]\n"
    )
    device.write_text(f"{code}\n\n{others}", encoding="utf-8")
    listed_anew(bundle)
    done = subprocess.run(
        [sys.executable, "-B", bundle / "python" / "run.py", fp32 / "song.wav", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    npu, gpu, cpu, *_ = done.stderr.splitlines()
    assert npu == "NPU: not used: there is no NPU"
    assert re.fullmatch(
        r"GPU: not used: its result is wrong: .+ has [\d.]+ dB on the golden window, and [\d.]+ dB "
        r"are needed",
        gpu,
    )
    assert cpu.startswith("CPU: passes: ")
    assert agreement_db(fp32, read(tmp_path / "out")) > 100


MAIN = """\
#include <iostream>
#include "golden.h"
int main(int, char** arguments) {
  try {
    check_manifest(arguments[1]);
    const Golden golden(arguments[1]);
    const auto window = golden.cycled(%d);
    const std::vector<double> values(window.begin(), window.end());
    std::cout << golden.worst("model", "outputs", [&](const std::string&) { return values; }).db;
    return 0;
  } catch (const BundleError& error) {
    std::cerr << error.what() << '\\n';
    return 1;
  }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_cpp_checks_hashes_and_the_golden_window_as_python_does(
    fp32: Path, tmp_path: Path
) -> None:
    """C++ gives Python's SNR of a wrong result, and refuses changed files and other bundles."""
    bundle, program = tmp_path / "bundle", tmp_path / "check"
    shutil.copytree(fp32 / "alone", bundle)
    metadata = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))
    shape = metadata["host_graphs"]["inverse"]["outputs"][0]["shape"]
    (tmp_path / "main.cpp").write_text(MAIN % np.prod(shape))
    subprocess.run(
        [  # noqa: S607
            "g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{bundle / 'cpp'}",
            str(tmp_path / "main.cpp"), "-o", str(program),
        ],
        check=True,
    )  # fmt: skip

    def ran() -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, bundle], capture_output=True, text=True, check=False)

    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(bundle / "python")
        golden = runpy.run_path(str(bundle / "python" / "golden.py"))["Golden"](bundle)
    (window,) = golden.inputs.values()
    _, expected, _ = golden.worst("model", "outputs", {"stems.window": np.resize(window, shape)})
    done = ran()
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(expected, abs=1e-3)

    sums = (bundle / "SHA256SUMS").read_text(encoding="utf-8")
    (bundle / "SHA256SUMS").write_text(sums.replace(f"# bundle {metadata['id']}", "# bundle 0"))
    assert "is another bundle (0) than the one" in ran().stderr
    (bundle / "SHA256SUMS").write_text(sums.replace("  pre.onnx", "  ../song.wav"))
    assert "names a file outside of the bundle: ../song.wav" in ran().stderr
    (bundle / "SHA256SUMS").write_text(sums)
    truncated(bundle / "model.onnx")
    (bundle / "post.onnx").unlink()
    refused = ran()
    assert refused.returncode == 1
    assert "model.onnx was changed" in refused.stderr
    assert "post.onnx is missing" in refused.stderr


def test_a_bundle_that_is_not_whole_is_refused(fp32: Path, tmp_path: Path) -> None:
    """Every missing file is named, whether it computes or not; nothing runs without the list."""
    bundle = tmp_path / "bundle"
    shutil.copytree(fp32 / "alone", bundle)
    (bundle / "post.onnx").unlink()
    (bundle / "LICENCE-WEIGHTS.txt").unlink()
    refused = self_test(bundle)
    assert refused.returncode == 1
    assert "post.onnx is missing" in refused.stderr
    assert "LICENCE-WEIGHTS.txt is missing" in refused.stderr
    (bundle / "SHA256SUMS").unlink()
    assert "SHA256SUMS cannot be read" in self_test(bundle).stderr


def test_the_readme_lists_every_file(fp32: Path) -> None:
    """The README has every file with its size and hash, the network too, and what to link."""
    bundle = fp32 / "alone"
    page = (bundle / "README.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0].strip("| `"): line for line in page.splitlines() if "| `" in line}
    found = {f.relative_to(bundle).as_posix() for f in bundle.rglob("*") if f.is_file()}
    assert {name for name in found if "__pycache__" not in name} <= rows.keys()
    for name in ("model.onnx", "golden.bin", "cpp/window.h", "kotlin/Golden.kt"):
        size = (bundle / name).stat().st_size
        assert f"{size:,} | {file_digest(bundle / name)}" in rows[name]
    assert "| onnxruntime 1." in page


def test_a_window_of_the_bundle_is_nobodys_music(fp32: Path) -> None:
    """The golden window is noise: unlike any place of the song, with its level and spectrum."""
    bundle = fp32 / "alone"
    table = json.loads((bundle / "golden.json").read_text(encoding="utf-8"))
    assert (bundle / "golden.bin").stat().st_size < 1_500_000
    (given,) = table["inputs"]
    kept = np.fromfile(bundle / "golden.bin", "<f4", given["count"]).reshape(given["shape"])
    song = soundfile.read(fp32 / "song.wav", dtype="float32")[0].T
    pieces = [song[:, at : at + kept.shape[1]] for at in (0, song.shape[1] - kept.shape[1])]
    assert all(abs(np.corrcoef(kept.ravel(), piece.ravel())[0, 1]) < 0.1 for piece in pieces)
    assert 0.5 < np.std(kept) / max(np.std(piece) for piece in pieces) < 2


def library_of_onnxruntime(folder: Path) -> Path:
    """Return a folder with the installed library under the names that linkers need."""
    package = importlib.util.find_spec("onnxruntime")
    assert package is not None
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("capi/libonnxruntime.so*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(file)
    return folder
