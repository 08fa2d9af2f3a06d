"""HTDemucs from every source, and the messages for broken checkpoints."""

from __future__ import annotations

import inspect
import json
import math
import os
import pickle
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from demucs.htdemucs import HTDemucs as Network
from hypothesis import given
from hypothesis import strategies as st

from core import Artifact, InputError, StageContext
from core.conformance import ModelSuite
from core.formats import opened_apart
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from core.store.hashing import folder_digest
from plugins.dsp.stft import Stft
from plugins.model._hybrid import cached as caches
from plugins.model._hybrid import checkpoint, foreign
from plugins.model._hybrid.arguments import RANGES, checked, fraction
from plugins.model.htdemucs import BUNDLED, HTDemucs, HTDemucsOptions, Layout
from tests.hostile import checkpoints
from tests.hostile.checkpoint_files import CHECKPOINTS

SMALL = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 8,
    "t_layers": 1,
    "t_heads": 2,
    "segment": Fraction(39, 5),
}


class TestBundled(ModelSuite):
    """The bundled model keeps the contract, with demucs's own layers."""

    plugin = HTDemucs
    options = HTDemucsOptions(weights="bundled", layout=Layout.plain)
    dsp = Stft(Stft.Options())
    window = {"time": 22050}  # noqa: RUF012  # read by the suite, never written


class TestBundledForNpu(TestBundled):
    """The bundled model keeps the contract in the layout for mobile NPUs."""

    options = HTDemucsOptions(weights="bundled", layout=Layout.npu)


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(**SMALL).eval()


def demucs_file(path: Path, model: Network) -> Path:
    """Write a checkpoint as demucs's own trainer does (`demucs.states.serialize_model`)."""
    package = {
        "klass": type(model),
        "args": (),
        "kwargs": SMALL,
        "state": {k: v.half() for k, v in model.state_dict().items()},
        "training_args": {"epochs": 1},
    }
    torch.save(package, path)
    return path


def fetched(options: HTDemucsOptions, folder: Path) -> tuple[HTDemucs, Artifact]:
    folder.mkdir()
    plugin = HTDemucs(options)
    made = plugin.fetch(StageContext(folder, silent()))
    return plugin, Artifact(
        str(folder),
        str(made.path),
        "torch",
        "fp32",
        folder_digest(folder),
        0,
        (),
        made.model,
        notices=made.model.notices if made.model else (),
    )


def test_demucs_own_format_is_read_without_running_it(tmp_path: Path) -> None:
    """A `.th` file gives the same network, through the restricted unpickler."""
    model = network()
    file = demucs_file(tmp_path / "mine.th", model)
    plugin, artifact = fetched(HTDemucsOptions(weights=str(file)), tmp_path / "work")
    mix = torch.randn(2, 22050, generator=torch.Generator().manual_seed(1)) * 0.1
    model.use_train_segment = False
    with torch.no_grad():
        expected = model(mix[None])[0].numpy()
    got = plugin.open(artifact, {}).reference({"mix": mix.numpy()})["stems"]
    assert snr_db(expected, got) > 50, "half precision is all that is lost"
    assert artifact.info.train_window == {"time": 343980}


def test_what_the_architecture_fixes_comes_from_the_model(tmp_path: Path) -> None:
    """Stems, rate and training window are read from the network."""
    model = Network(**{**SMALL, "sources": ["voice", "rest"], "samplerate": 16000})
    file = tmp_path / "two.safetensors"
    checkpoint.write(
        checkpoint.Checkpoint(dict(model._init_args_kwargs[1]), model.state_dict()), file
    )
    _, artifact = fetched(HTDemucsOptions(weights=str(file)), tmp_path / "work")
    output = artifact.info.signature.outputs[0]
    assert output.labels["stem"] == ("voice", "rest")
    assert output.rates["time"] == 16000
    assert artifact.info.train_window == {"time": 124800}


@pytest.mark.parametrize(
    ("weights", "layout", "samples"),
    [
        ("bundled", Layout.plain, 88200),
        ("bundled", Layout.npu, 90112),
        ("pretrained", Layout.plain, 343980),
        ("random", Layout.npu, 344064),
        ("elsewhere.th", Layout.plain, 343980),
    ],
)
def test_the_plan_says_the_training_window(weights: str, layout: Layout, samples: int) -> None:
    """The plan has the training window in whole blocks of the layout.

    For a file without a window it has HTDemucs's own.
    """
    plan = HTDemucs(HTDemucsOptions(weights=weights, layout=layout)).plan()
    assert plan.train_window == {"time": samples}
    assert plan.free == ("time",)


def test_the_plan_reads_the_training_window_of_a_file(tmp_path: Path) -> None:
    """The plan reads the training window from a file's header, if the header is not damaged."""
    model = Network(**{**SMALL, "samplerate": 16000})
    file = tmp_path / "mine.safetensors"
    checkpoint.write(
        checkpoint.Checkpoint(dict(model._init_args_kwargs[1]), model.state_dict()), file
    )
    options = HTDemucsOptions(weights=str(file), layout=Layout.plain)
    assert HTDemucs(options).plan().train_window == {"time": 124800}
    for damage in (b"", b"\x00" * 9, file.read_bytes()[:100], b"\x03\0\0\0\0\0\0\0[1]"):
        file.write_bytes(damage)
        assert HTDemucs(options).plan().train_window == {"time": 343980}


def truncated(path: Path) -> Path:
    path.write_bytes(BUNDLED.read_bytes()[:100_000])
    return path


def truncated_th(path: Path) -> Path:
    demucs_file(path, network())
    path.write_bytes(path.read_bytes()[:50_000])
    return path


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return a command that creates a file."""
        return os.system, ("touch /tmp/luthier-test-bomb",)


def bomb(path: Path) -> Path:
    with path.open("wb") as file:
        pickle.dump({"klass": Network, "state": Bomb()}, file)
    return path


def bomb_in_zip(path: Path) -> Path:
    torch.save({"klass": Network, "args": (), "kwargs": {}, "state": Bomb()}, path)
    return path


def other_weights(path: Path) -> Path:
    other = Network(**{**SMALL, "channels": 12})
    checkpoint.write(checkpoint.Checkpoint(SMALL, other.state_dict()), path)
    return path


def other_class(path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(3)}, path, {"class": "os.system", "kwargs": "{}"})
    return path


def text(path: Path) -> Path:
    path.write_text("these are no weights\n")
    return path


def half_a_package(path: Path) -> Path:
    torch.save({"klass": Network, "kwargs": SMALL}, path)
    return path


def listed_arguments(path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(3)}, path, {"class": "HTDemucs", "kwargs": "[1]"})
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (truncated, "t.safetensors", "damaged or truncated"),
        (truncated_th, "t.th", "damaged or truncated"),
        (bomb, "b.th", "holds more than weights"),
        (bomb_in_zip, "z.th", "holds more than weights"),
        (other_weights, "o.safetensors", "belongs to another architecture"),
        (other_class, "c.safetensors", "is not an HTDemucs"),
        (empty, "e.safetensors", "is empty"),
        (text, "w.txt", "damaged or truncated, or of another format"),
        (text, "w.safetensors", "damaged or truncated"),
        (half_a_package, "h.th", "is not an HTDemucs"),
        (listed_arguments, "l.safetensors", "not a JSON object"),
        (folder, "weights", "is a folder"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_refused(
    tmp_path: Path, make: object, name: str, said: str
) -> None:
    """A broken checkpoint is refused with its name and the reason, and none of its code runs."""
    trace = Path("/tmp/luthier-test-bomb")  # noqa: S108  # the file that the bomb would create
    trace.unlink(missing_ok=True)
    file = make(tmp_path / name)  # type: ignore[operator]  # one of the makers above
    with pytest.raises(InputError, match=said) as error:
        checkpoint.build(checkpoint.read(file), file)
    assert name in str(error.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [(bomb, "b.th", "holds more than weights"), (folder, "weights", "is a folder")],
)
def test_a_strangers_file_is_refused_in_the_words_of_the_process_that_read_it(
    tmp_path: Path, make: object, name: str, said: str
) -> None:
    """A bad file is refused with the message of the process that read it.

    The process leaves no file behind.
    """
    file = make(tmp_path / name)  # type: ignore[operator]  # one of the makers above
    with pytest.raises(InputError, match=said) as error:
        fetched(HTDemucsOptions(weights=str(file)), tmp_path / "work")
    assert name in str(error.value)
    assert not list((tmp_path / "work").iterdir())


def test_a_file_may_have_as_long_a_name_as_there_is(tmp_path: Path) -> None:
    """A file with the longest possible name can be read, and its error is reported."""
    ending = ".safetensors"
    file = tmp_path / f"{'x' * (255 - len(ending))}{ending}"
    file.write_bytes(BUNDLED.read_bytes())
    assert foreign.opened(file, tmp_path, silent()).kwargs
    text(file)
    with pytest.raises(InputError, match="damaged or truncated"):
        foreign.opened(file, tmp_path, silent())


def test_a_file_that_takes_too_long_or_too_much_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that reads a file too long or with too much memory is stopped.

    The message says which limit was exceeded.
    """
    file = demucs_file(tmp_path / "mine.th", network())
    for name, value, said in (
        ("SECONDS", 0.0, "it took more than 0 s"),
        ("MEMORY", 16 * 2**20, "memory|MemoryError|ended with"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(opened_apart, name, value)
            patch.setattr(opened_apart, f"{name}_PER_BYTE", 0)
            with pytest.raises(InputError, match="cannot be opened") as error:
                foreign.opened(file, tmp_path, silent())
        assert re.search(said, error.value.lines[0])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.th"]


def test_no_hostile_checkpoint_becomes_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every hostile checkpoint ends in one clear error that names the file, and runs nothing."""
    monkeypatch.chdir(tmp_path)
    for name, data in checkpoints(len(CHECKPOINTS), seed=0):
        file = tmp_path / name
        file.write_bytes(data)
        with pytest.raises(InputError) as error:
            checkpoint.build(checkpoint.read(file), file)
        assert name in str(error.value)
        assert len(str(error.value)) < 2000, "nothing that the file says fills a screen"
        file.unlink()
    assert not list(tmp_path.iterdir())


def test_every_argument_of_the_network_has_a_range() -> None:
    """Every argument of demucs's network has a range, so a new argument needs one first."""
    names = set(inspect.signature(Network.__init__).parameters) - {"self"}
    assert names == set(RANGES)


@given(
    name=st.sampled_from(sorted(RANGES)),
    value=st.one_of(
        st.integers(2**32),
        st.integers(max_value=-(2**32)),
        st.floats(min_value=1e10),
        st.just(math.nan),
        st.text(st.characters(categories=["Cc", "Zl"]), min_size=1),
        st.lists(st.integers(), min_size=65),
        st.dictionaries(st.text(), st.integers(), min_size=1),
    ),
)
def test_a_value_out_of_its_range_is_named(name: str, value: object) -> None:
    """A wrong value of any argument is refused by the argument's name."""
    with pytest.raises(ValueError, match=f"`{name}` is|no fraction"):
        checked({"sources": ["a", "b"], name: value})


@pytest.mark.parametrize(
    "given", ["1e999999999", "1/0", "9" * 13, "1e5", "nan", "", "1/", ("1e999999999", 1), (1, 0)]
)
def test_a_fraction_that_would_be_worked_out_for_hours_is_none(given: object) -> None:
    """A fraction that would take hours to compute is refused; `Fraction` takes any exponent."""
    with pytest.raises(ValueError, match=r"fraction|whole number|denominator"):
        fraction(*given) if isinstance(given, tuple) else fraction(given)
    assert fraction("39/5") == fraction(39, 5) == fraction("7.8") == Fraction(39, 5)


@pytest.mark.parametrize(
    "names",
    [
        ["../x", "a"],
        ["a", "A"],
        [""],
        ["mixture", "b"],
        [".hidden"],
        ["a\x1b[2J"],
        ["a/b"],
        ["-" * 3],
    ],
)
def test_a_stem_is_named_as_a_file_may_be(names: list[str]) -> None:
    """A stem's name must be a valid file name, because stems are files and names are shown."""
    with pytest.raises(ValueError, match="`sources` is"):
        checked({"sources": names})
    assert checked({"sources": ["lead vocals", "голос", "bass (DI)"]})


def test_a_file_that_is_not_there_is_refused_by_the_plan() -> None:
    """A missing checkpoint is refused by the plan, before anything runs."""
    with pytest.raises(InputError, match="does not exist"):
        HTDemucs(HTDemucsOptions(weights="/no/such/file.th")).identity()


def test_a_folder_is_refused_by_the_plan(tmp_path: Path) -> None:
    """The error for a folder as weights says that it is a folder."""
    with pytest.raises(InputError, match="is a folder"):
        HTDemucs(HTDemucsOptions(weights=str(tmp_path))).identity()


WRITE = """
import sys
from fractions import Fraction
from pathlib import Path
import torch
from plugins.model._hybrid.checkpoint import Checkpoint, write
kwargs = {"sources": ["a", "b"], "segment": Fraction(39, 5), "channels": 8}
state = {"second": torch.ones(3), "first": torch.zeros(2, 2)}
write(Checkpoint(kwargs, state, "MIT"), Path(sys.argv[1]))
"""


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    """Equal weights give equal files in any process, so the store sees one artifact."""
    for seed in "012":
        subprocess.run(
            [sys.executable, "-c", WRITE, str(tmp_path / f"{seed}.safetensors")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    kept = checkpoint.read(tmp_path / "0.safetensors")
    assert kept.kwargs == {"sources": ["a", "b"], "segment": Fraction(39, 5), "channels": 8}
    assert kept.licence == "MIT"


def test_one_metadata_entry_per_value_is_read_too(tmp_path: Path) -> None:
    """Metadata with one entry per value is read, as in demucs's hub and the bundled model."""
    from safetensors.torch import save_file

    segment = {"_type": "fraction", "numerator": 39, "denominator": 5}
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": json.dumps([["a", "b"]]),
        "kwargs": json.dumps({"segment": segment}),
    }
    save_file({"w": torch.zeros(3)}, tmp_path / "hub.safetensors", metadata)
    found = checkpoint.read(tmp_path / "hub.safetensors")
    assert found.kwargs == {"sources": ["a", "b"], "segment": Fraction(39, 5)}
    assert checkpoint.read(BUNDLED).licence == "Apache-2.0"


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send every request to a closed port, and start with empty caches."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_small_model_steps_in_loudly(tmp_path: Path) -> None:
    """Without a network the small model replaces the pretrained one, with a notice `danger`.

    The store does not keep the result, so a later run tries again.
    """
    plugin = HTDemucs(HTDemucsOptions(weights="pretrained"))
    folder = tmp_path / "work"
    folder.mkdir()
    made = plugin.fetch(StageContext(folder, silent()))
    assert made.keep is False
    assert made.model is not None
    assert made.model.notices[0].severity == "danger"
    assert "cannot be fetched" in made.model.notices[0].text
    assert "bundled" in made.model.weights
    assert made.model.fit_for is not None


@pytest.mark.usefixtures("no_network")
def test_weights_that_were_put_in_place_by_hand_are_found_without_a_network(tmp_path: Path) -> None:
    """Weights that were copied by hand to the folder that `mode=doctor` names are found offline."""
    (absent,) = HTDemucs.findings()
    assert absent.severity == "warning"
    assert f"put {caches.address()} into {caches.checkpoints()}" in absent.text
    name = caches.address().rpartition("/")[2]
    assert name.startswith("955717e8-")
    caches.checkpoints().mkdir(parents=True)
    file = demucs_file(caches.checkpoints() / name, network())
    assert caches.checkpoints() == Path(torch.hub.get_dir(), "checkpoints")
    (found,) = HTDemucs.findings()
    assert (found.severity, str(file) in found.text) == ("info", True)
    options = HTDemucsOptions(weights="pretrained", fallback=None)
    _, artifact = fetched(options, tmp_path / "work")
    assert artifact.info.weights == "pretrained htdemucs, from demucs"
    assert artifact.info.fit_for is None


@pytest.mark.usefixtures("no_network")
def test_weights_in_the_cache_of_the_hub_are_found(tmp_path: Path) -> None:
    """Weights in the hub's cache are found when both files of the revision `main` are there."""
    repository = tmp_path / "hf" / "hub" / "models--adefossez--HTDemucs"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    (snapshot / "htdemucs.yaml").write_text("models: ['955717e8']\n")
    assert caches.cached() is None, "half a download is none"
    (snapshot / "955717e8.safetensors").touch()
    assert caches.cached() == snapshot / "955717e8.safetensors"


def test_the_hub_looks_where_we_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The names of repository, file and cache folder are demucs's and PyTorch's own."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from demucs.pretrained import REMOTE_ROOT, _parse_remote_files

    assert f"models--{DEFAULT_NAMESPACE}--{hf_repo_name('htdemucs')}" == caches.REPOSITORY
    assert caches.address() == _parse_remote_files(REMOTE_ROOT / "files.txt")["955717e8"]
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches.checkpoints() == Path(torch.hub.get_dir(), "checkpoints")


def test_the_small_model_says_what_it_is_fit_for(tmp_path: Path) -> None:
    """The small model says that it fits synthetic songs.

    For other songs it names the command and the steps without a network.
    """
    _, artifact = fetched(HTDemucsOptions(weights="bundled"), tmp_path / "work")
    fit = artifact.info.fit_for
    assert fit is not None
    assert (fit.datasets, fit.instead) == (("synthetic",), ("model=htdemucs",))
    assert caches.address() in fit.offline
    assert caches.CHECKPOINTS in fit.offline


@pytest.mark.usefixtures("no_network")
def test_without_a_fallback_it_is_an_error(tmp_path: Path) -> None:
    """With `model.fallback=null`, missing pretrained weights are an error."""
    with pytest.raises(InputError, match="cannot be fetched"):
        fetched(HTDemucsOptions(weights="pretrained", fallback=None), tmp_path / "work")


def test_random_weights_say_so_in_red(tmp_path: Path) -> None:
    """Random weights have the full 42 M parameters and a notice of the highest severity."""
    _, artifact = fetched(HTDemucsOptions(weights="random"), tmp_path / "work")
    assert artifact.info.parameters == pytest.approx(42e6, rel=0.01)
    assert artifact.info.notices[0].severity == "danger"


def test_random_weights_follow_their_seed() -> None:
    """The same seed has the same identity for the store, and another seed another."""
    identities = [HTDemucs(HTDemucsOptions("random", seed=s)).identity() for s in (0, 0, 1)]
    assert identities[0] == identities[1] != identities[2]
