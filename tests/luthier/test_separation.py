"""Just the stems: files of songs, from Python and on the command line."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import luthier
from core import Signature, TensorSpec
from core.errors import ConfigError
from luthier.__main__ import main
from luthier.bundles import _run
from luthier.separation import _check_sounds
from luthier.songs import songs_in
from luthier.sound_files import loudness, residual_db, write
from tests.conftest import Done

RATE = 44100


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two songs of one name, one of another, and one that is none."""
    folder = tmp_path_factory.mktemp("songs")
    for number, name in enumerate(("a/song.wav", "b/song.flac", "c d.ogg")):
        noise = np.random.default_rng(number).normal(0, 0.1, (RATE, 2))
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, noise, RATE)
    (folder / "no song.mp3").write_bytes(b"no song at all")
    return folder


@pytest.fixture(scope="module")
def words(store: Path) -> list[str]:
    """Return the bundled model, and a store that others share."""
    return ["model=htdemucs_small", f"store={store}"]


@pytest.fixture(scope="module")
def done(
    songs: Path, words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[luthier.Separated]:
    """Return what became of the folder, separated once."""
    out = tmp_path_factory.mktemp("out")
    return luthier.separate(songs, out=out, overrides=words)


def test_each_song_gets_files_named_after_it(done: list[luthier.Separated]) -> None:
    """A file for each stem; songs of one name do not share a folder, and a bad one costs none."""
    good = [one for one in done if one.error is None]
    assert len(good) == 3
    assert len({one.folder for one in good}) == 3
    for one in good:
        assert list(one.files) == ["drums", "bass", "other", "vocals"]
        for label, file in one.files.items():
            assert file.name.endswith(f"({label}).wav")
            assert soundfile.info(file).frames == RATE
        assert one.folder is not None
        assert sorted(one.folder.iterdir()) == sorted(one.files.values())
    (bad,) = [one for one in done if one.error is not None]
    assert bad.song.name == "no song.mp3"


@pytest.fixture(scope="module")
def run(
    done: list[luthier.Separated], words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> luthier.Run:
    """Return a measured run of the first song."""
    places = [*words[1:], f"output={tmp_path_factory.mktemp('run')}", "reporter=[json]"]
    return luthier.run("cpu_fp32", input=done[0].song, overrides=places)


def test_the_stems_are_those_of_a_measured_run(
    done: list[luthier.Separated], run: luthier.Run, words: list[str]
) -> None:
    """Leaving out what measures changes no sample, and neither does opening the run."""
    one = done[0]
    for label, file in one.files.items():
        saved = soundfile.read(run.folder / "stems" / f"{label}.wav")[0]
        assert np.array_equal(saved, soundfile.read(file)[0])
    with luthier.open(run.folder, overrides=words[1:]) as model:
        played = model(soundfile.read(one.song, dtype="float32")[0].T)
    assert np.array_equal(played["vocals"], next(iter(run.outputs.values()))["vocals"])


@pytest.fixture(scope="module")
def bundle(run: luthier.Run) -> Path:
    """Return the bundle of that run."""
    assert run.bundle is not None
    return run.bundle


def test_a_bundle_is_opened_by_itself(bundle: Path, words: list[str], tmp_path: Path) -> None:
    """Away from its run it gives what the recipe gives, to the last bit."""
    alone = tmp_path / "moved"
    shutil.copytree(bundle, alone)
    sound = np.random.default_rng(5).normal(0, 0.1, (2, 3 * RATE)).astype(np.float32)
    with luthier.open(alone) as of_bundle, luthier.open("cpu_fp32", overrides=words[1:]) as here:
        assert of_bundle.signature == here.signature
        one, other = of_bundle(sound), here({"mix": sound.astype(np.float64)})
    for label in one:
        assert np.array_equal(one[label], other[label])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), "`model.onnx` of the bundle is missing"),
        (lambda folder: _flip(folder / "model.onnx"), "`model.onnx` of the bundle was changed"),
        (lambda folder: _flip(folder / "pre.onnx"), "`pre.onnx` of the bundle was changed"),
        (lambda folder: _about(folder, format=99), "format 99"),
        (lambda folder: _about(folder, files=7), "cannot be read"),
        (lambda folder: (folder / "metadata.json").write_text("{"), "cannot be read"),
        (lambda folder: _about(folder, files={"../x": {"sha256": ""}}), "out of its folder|wrong"),
    ],
)
def test_a_spoiled_bundle_is_refused(
    bundle: Path, spoil: object, said: str, tmp_path: Path
) -> None:
    """A file that is missing or changed, another version, or a path out of the folder."""
    copied = tmp_path / "copied"
    shutil.copytree(bundle, copied)
    assert callable(spoil)
    spoil(copied)
    with pytest.raises(luthier.LuthierError, match=said):
        luthier.open(copied)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _about(folder: Path, **changes: object) -> None:
    file = folder / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_an_array_that_does_not_fit_is_refused(words: list[str]) -> None:
    """Its axes, its type or its values are named."""
    sound = np.zeros((2, 100), np.float32)
    wrong = [sound[0], sound.T, sound.astype(np.int16), sound * np.nan, {"y": sound}, sound[:, :0]]
    with luthier.open("cpu_fp32", overrides=words[1:]) as model:
        for one in wrong:
            with pytest.raises(luthier.InputError):
                model(one)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Return a function that types `luthier ...` in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["luthier", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


def test_the_command_writes_two_stems_as_mp3(
    songs: Path, words: list[str], tmp_path: Path, typed: object
) -> None:
    """One line for each song, with its speed, loudness and residual."""
    assert callable(typed)
    done = typed(
        "separate", str(songs / "c d.ogg"), *words, "--out", str(tmp_path / "x"),
        "--format", "mp3", "--two-stems", "vocals",
    )  # fmt: skip
    assert done.code == 0, done.err
    names = {file.name for file in (tmp_path / "x" / "c d").iterdir()}
    assert names == {"c d (vocals).mp3", "c d (no_vocals).mp3"}
    assert "real time" in done.out
    assert "LUFS" in done.out
    assert "not fit for real songs" in done.out


def test_a_song_that_fails_ends_with_an_error_after_all_others(
    songs: Path, words: list[str], tmp_path: Path, typed: object
) -> None:
    """The others are there, and the exit code says that one is not."""
    assert callable(typed)
    files = [str(songs / "no song.mp3"), str(songs / "c d.ogg")]
    done = typed("separate", *files, *words, "--out", str(tmp_path), "--stems", "bass")
    assert done.code != 0
    assert "1 of 2 songs could not be separated" in done.err
    assert [file.name for file in (tmp_path / "c d").iterdir()] == ["c d (bass).wav"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no song is given"),
        (["nothing.wav"], "does not exist"),
        (["--format", "aac", "x.wav"], "no format `aac`"),
        (["--fromat", "mp3", "x.wav"], "did you mean `--format`"),
        (["--format", "mp3", "--format", "ogg", "x.wav"], "`--format` is given twice"),
        (["--stems", "bass", "x.wav", "--stems", "drums"], "--stems drums,bass"),
        (["-"], "not read from standard input"),
        (["x.wav", "contract.min_snr_db=30"], "`contract.min_snr_db=` has no effect"),
        (["x.wav", "dataset.path=y"], "`dataset.path=` has no effect"),
        (["x.wav", "dataset=synthetic"], "by dataset `files`"),
        (["x.wav", "dataset.max_minutes=0.001"], "or allow it: dataset.max_minutes=1"),
        (["x.wav", "--stems", "guitar"], "no stem `guitar`"),
        (["x.wav", "--stems", "bass", "--two-stems", "bass"], "give one of the two"),
        (["x.wav", "model=nothing"], "no model is named `nothing`"),
        (["x.wav", "auto=true"], "only a run can choose"),
        (["x.wav", "--out", "x.wav/y"], "the folder of the stems cannot be written"),
        (["x.wav", "--out", ""], "has an empty name"),
        (["x.wav", "mode=list"], "`mode=` has no effect"),
        (["x.wav", "output=y"], "--out FOLDER"),
    ],
)
def test_a_wrong_command_is_refused(
    given: list[str],
    said: str,
    words: list[str],
    songs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: object,
) -> None:
    """One message, no traceback, nothing half written."""
    assert callable(typed)
    shutil.copy(songs / "a" / "song.wav", tmp_path / "x.wav")
    monkeypatch.chdir(tmp_path)
    own = [word for word in words if word.partition("=")[0] not in " ".join(given)]
    done = typed("separate", *given, *own)
    assert done.code != 0
    assert "Traceback" not in done.err
    shown = done.err + done.out
    assert any(one in shown for one in said.split("|")), shown
    assert [file.name for file in tmp_path.iterdir() if file.name != "separated"] == ["x.wav"]


def test_every_song_of_one_name_has_a_place_of_its_own(songs: Path, tmp_path: Path) -> None:
    """Also where the folders above them share a name, and a link keeps the name that it has."""
    named = [tmp_path / part / "song.wav" for part in ("a", "x/b", "y/b", "z/b")]
    for file in named:
        file.parent.mkdir(parents=True)
        shutil.copy(songs / "a" / "song.wav", file)
    (tmp_path / "pretty.wav").symlink_to(songs / "a" / "song.wav")
    found = songs_in([*named, *named, tmp_path / "pretty.wav"], tmp_path / "out")
    assert [one.place for one in found] == ["song", "b/song", "b_2/song", "b_3/song", "pretty"]
    assert found[-1].source.file.name == "pretty.wav"


def test_stems_of_an_earlier_time_are_no_songs(songs: Path, tmp_path: Path) -> None:
    """The output may lie inside the folder of the songs; a stem that is named itself is taken."""
    out = tmp_path / "separated"
    stem = out / "song" / "song (bass).wav"
    mine = out / "mine (live).wav"
    for file in (tmp_path / "song.wav", stem, mine):
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(songs / "a" / "song.wav", file)
    assert {one.source.file for one in songs_in([tmp_path], out)} == {tmp_path / "song.wav", mine}
    assert [one.source.file for one in songs_in([stem], out)] == [stem]


def test_names_are_only_names(
    songs: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: object
) -> None:
    """A reference, an override, a flag and an empty name: each is a file or is refused."""
    assert callable(typed)
    monkeypatch.chdir(tmp_path)
    names = ["${oc.env:HOME}.wav", "a=b.wav", "-dash.wav"]
    for name in names:
        shutil.copy(songs / "a" / "song.wav", tmp_path / name)
    done = typed("separate", *names[:1], "--out", "c=d", "a=b.wav", *words, "--", "-dash.wav")
    assert done.code == 0, done.err
    folders = {file.name for file in (tmp_path / "c=d").iterdir()}
    assert folders == {"${oc.env_HOME}", "a=b", "-dash"}


def test_what_progress_raises_comes_out_as_it_is(
    songs: Path, words: list[str], tmp_path: Path
) -> None:
    """No plugin and no song is named for it, nothing is written, and the next call works."""
    for mine in (ZeroDivisionError("mine"), luthier.InputError("mine"), KeyboardInterrupt()):

        def progress(*_: object, mine: BaseException = mine) -> None:
            raise mine

        with pytest.raises(type(mine)) as raised:
            luthier.separate(
                songs / "c d.ogg", out=tmp_path / "x", overrides=words, progress=progress
            )
        assert raised.value is mine
    assert not (tmp_path / "x").exists()


def test_an_interruption_keeps_the_songs_that_are_done(
    songs: Path, words: list[str], tmp_path: Path
) -> None:
    """Of the song that was being played nothing is left."""

    def progress(stage: str, done: float, *_: object) -> None:
        if stage == "songs" and done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        luthier.separate(songs, out=tmp_path, overrides=words, stems=["bass"], progress=progress)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["song (bass).wav"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_made(
    songs: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model is converted, and no song is played, for stems that have no place."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "x")

    monkeypatch.setattr("core.machine.folders.owned_folder", refused)
    monkeypatch.setattr("luthier.players.playing", None)
    with pytest.raises(luthier.LuthierError, match="stems cannot be written: Permission denied"):
        luthier.separate(songs, out=tmp_path / "x", overrides=words)


def _spec(name: str, *axes: str, rate: float | None = 44100.0, **labels: tuple[str, ...]) -> Any:
    shape = tuple(len(labels[axis]) if axis in labels else axis for axis in axes)
    return TensorSpec(name, axes, shape, rates={axes[-1]: rate} if rate else {}, labels=labels)


@pytest.mark.parametrize(
    "spec",
    [
        _spec("scores", "class", rate=None),
        _spec("picture", "channel", "height", "width", rate=None),
        _spec("loudness", "channel", "frame"),
        _spec("sound", "channel", "time", rate=None),
    ],
)
def test_a_model_that_makes_no_sound_is_refused(spec: TensorSpec) -> None:
    """Its outputs would be written as sounds of a wrong rate; a mono one and one label are fine."""
    song = _spec("mix", "channel", "time")
    with pytest.raises(ConfigError, match=f"it has `{spec.name}`") as refused:
        _check_sounds("m", Signature((song,), (spec,)))
    assert "luthier.run" in refused.value.lines[-1]
    for fine in (song, _spec("parts", "source", "channel", "time", source=("vocals",))):
        _check_sounds("m", Signature((song,), (fine,)))


def test_what_a_graph_of_a_bundle_refuses_is_an_error_of_the_input() -> None:
    """ONNX Runtime's own classes would come out."""

    class Session:
        def run(self, *_: object) -> None:
            raise RuntimeError("[ONNXRuntimeError] : 2 : Invalid input shape: {1}")

    with pytest.raises(luthier.InputError, match="Invalid input shape") as refused:
        _run(Session(), ["y"], {"x": np.zeros((1, 2, 1))})
    assert "x (1, 2, 1)" in refused.value.lines[0]


def test_a_closed_model_says_so(words: list[str]) -> None:
    """Closing it twice is the same as once."""
    model = luthier.open("cpu_fp32", overrides=words[1:])
    model.close()
    model.close()
    with pytest.raises(luthier.InputError, match="the model is closed"):
        model(np.zeros((2, 100), np.float32))


def test_wav_keeps_what_is_beyond_full_scale_and_others_count_what_they_clip(
    tmp_path: Path,
) -> None:
    """Nothing is clipped in silence."""
    loud = np.full((2, RATE), 0.5, np.float32)
    loud[:, :10] = 1.5
    assert write(tmp_path / "a.wav", loud, RATE) == 0
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0].T, loud)
    for ending in ("flac", "mp3", "ogg"):
        assert write(tmp_path / f"a.{ending}", loud, RATE) == 20
        assert soundfile.info(tmp_path / f"a.{ending}").frames == pytest.approx(RATE, abs=2400)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """Libsndfile calls it `System error.`."""
    (tmp_path / "a.wav").symlink_to("/dev/full")
    with pytest.raises(luthier.LuthierError, match="No space left") as raised:
        write(tmp_path / "a.wav", np.zeros((2, RATE), np.float32), RATE)
    assert "free some room" in str(raised.value)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(("dbfs", "lufs"), [(-23.0, -23.0), (-33.0, -33.0)])
def test_loudness_is_that_of_the_standard(rate: int, dbfs: float, lufs: float) -> None:
    """EBU Tech 3341, cases 1 and 2: a stereo sine of 1 kHz for 20 s, within 0.1 LU."""
    sine = 10 ** (dbfs / 20) * np.sin(2 * np.pi * 1000 * np.arange(20 * rate) / rate)
    assert loudness(np.stack([sine, sine]), rate) == pytest.approx(lufs, abs=0.1)


@pytest.mark.parametrize(
    "levels",
    [
        [(-36.0, 10), (-23.0, 60), (-36.0, 10)],
        [(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)],
    ],
)
def test_quiet_parts_do_not_count(levels: list[tuple[float, int]]) -> None:
    """EBU Tech 3341, cases 3 and 4: the gates leave -23 LUFS, within 0.1 LU."""
    parts = [
        10 ** (dbfs / 20) * np.sin(2 * np.pi * 1000 * np.arange(seconds * 48000) / 48000)
        for dbfs, seconds in levels
    ]
    sine = np.concatenate(parts)
    assert loudness(np.stack([sine, sine]), 48000) == pytest.approx(-23.0, abs=0.1)


def test_silence_has_no_loudness_and_no_residual() -> None:
    """And neither has a sound shorter than a block."""
    assert loudness(np.zeros((2, RATE)), RATE) == -np.inf
    assert loudness(np.ones((2, 100)), RATE) == -np.inf
    assert residual_db(np.ones((2, 10)), np.ones((2, 10))) == -np.inf
    assert residual_db(np.ones((2, 10)), np.full((2, 10), 0.9)) == pytest.approx(-20)
