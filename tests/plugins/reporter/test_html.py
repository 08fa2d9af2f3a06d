"""The HTML report is one file with every section, without foreign content or injection."""

from __future__ import annotations

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from core import Notice, SavedFile
from core.plugin.records import RunRecord
from plugins.reporter.html import Codec, HtmlReport, HtmlReportOptions
from tests.plugins.reporter.conftest import EMULATOR, STEMS

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
#: The smallest PNG: one black pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


#: Players of one item that is compared with FP32: three versions of every stem.
COMPARED = 3 * len(STEMS)


class Page(HTMLParser):
    """Collects the addresses, the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its addresses."""
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a script or style."""
        del tag
        self._silent = False

    def handle_data(self, data: str) -> None:
        """Note the visible text."""
        self.text += "" if self._silent else data

    def count(self, tag: str) -> int:
        """Return how often a tag occurs."""
        return sum(name == tag for name, _ in self.tags)


def written(record: RunRecord, folder: Path, **options: object) -> str:
    """Return the report of a record."""
    reporter = HtmlReport(HtmlReportOptions(**options))  # type: ignore[arg-type]
    reporter.luthier_run_finished(record=record, folder=str(folder))
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source(record: RunRecord, run_folder: Path) -> str:
    """Return the report of the realistic run."""
    return written(record, run_folder)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    """Return the report, parsed."""
    return Page(source)


def test_nothing_is_loaded_from_another_address(page: Page, source: str) -> None:
    """Every address is embedded, inside the page, or a file of the run folder."""
    assert all(address.startswith(("data:", "#", "./")) for address in page.addresses)
    assert not re.search(r"@import|url\(", source)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}


def test_the_policy_permits_only_this_script(page: Page) -> None:
    """The page's policy forbids all loading and permits its script by hash."""
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy


def test_a_node_on_the_cpu_is_named_with_its_reason(page: Page) -> None:
    """The page names each node on the CPU with the reason, so a person can rewrite it."""
    assert "The 3 nodes on the CPU, and why" in page.text
    why = "Operators of type `Erf` are not supported by QNN EP."
    assert f"Erf /encoder.1/dconv/Erf: {why}" in page.text
    assert "Cast /mask/Cast: the provider gives no reason" in page.text


def test_nodes_are_counted_by_device_and_precision(page: Page) -> None:
    """The page has the trace of each step, names what ran elsewhere, and says what is unknown."""
    assert "What computed each node" in page.text
    assert "Counted from ONNX Runtime's profile and the compiler's partition map." in page.text
    assert "The 3 nodes that did not run as asked; 2 of them" in page.text
    assert "Cast /mask/<b>Cast" in page.text  # text, and no element
    unknown = "not measured. Runtime `onnxruntime` has no trace of what computed each node."
    assert unknown.replace("`", "") in page.text


@pytest.mark.parametrize(
    "section",
    [
        "listen",
        "promise",
        "where",
        "placement",
        "budget",
        "labels",
        "inside",
        "size",
        "npu",
        "quality",
        "stages",
        "recipe",
        "origin",
    ],
)
def test_every_section_is_there(page: Page, section: str) -> None:
    """Every section exists, and the table of contents links to it."""
    assert f"#{section}" in page.addresses
    assert any(tag == "section" and a.get("id") == section for tag, a in page.tags)


def test_the_page_says_first_that_the_target_took_no_part(page: Page) -> None:
    """A danger and the sentence on the absent target come before any section."""
    top = page.text[: page.text.index("What ran where")]
    danger = top.index("random weights: the stems will not be separated")
    assert danger < top.index("Samsung Galaxy S24 (Snapdragon 8 Gen 3) took no part in this run")


def test_a_broken_contract_is_the_first_thing_said(page: Page) -> None:
    """A broken contract is said first, with the number, the stage, and that nothing was shipped."""
    top = page.text[: page.text.index("What was promised")]
    assert "The contract is broken, nothing was shipped" in top
    assert "0.02 dB off; lost by quantizer: 117.6 → 35.9 dB" in top


def test_a_limit_says_of_what_it_was_measured(page: Page) -> None:
    """A limit names the label, the item and the device of its measurement."""
    assert f"other of 1 window, on {EMULATOR}" in page.text


def test_every_warning_stands_whole_before_the_first_figure(
    record: RunRecord, tmp_path: Path
) -> None:
    """Dangers and warnings come whole before the first figure, and infos after the figures."""
    long = "a song fares far worse than the calibration promised. " + "Look at /encoder.3. " * 40
    notices = (Notice("info", "by the way"), Notice("warning", long), Notice("danger", "beware"))
    page = Page(written(dataclasses.replace(record, notices=notices), tmp_path))
    first = page.text.index("Nearness to FP32 PyTorch")
    assert "".join(long.split()) in "".join(page.text[:first].split())
    assert page.text.index("beware") < page.text.index("a song fares") < first
    assert page.text.index("by the way") > first


def test_every_precision_that_was_tried_is_told(page: Page) -> None:
    """The page says which precision was chosen and why, which was refused, and which not tried."""
    text = page.text[page.text.index("What was promised") :]
    assert "int8 is the fastest that holds the contract" in text
    assert "quantizer torch_half accepts torch_export" in text
    assert "not tried" in text


def test_operators_are_counted_at_their_precision(page: Page) -> None:
    """The page shows the shares of each precision in a mixed graph."""
    assert "w8a8 57.6 %" in page.text
    assert "1.17 billion multiply-accumulates a window; 159.8 MB" in page.text


def test_sensitivities_and_worst_tensors_are_shown(page: Page) -> None:
    """The page lists the most sensitive parts first, and the worst tensors.

    A part without a measurement has no number.
    """
    text = page.text[page.text.index("Where 8 bits cost most") :]
    assert text.index("/encoder.0/conv") < text.index("/encoder.1/conv")
    assert "24.1 dB" in text
    assert "/decoder.3/Add_output_0" in text


def test_every_track_has_player_picture_and_link(page: Page, run_folder: Path) -> None:
    """All ten sounds have a player, a picture, and a link to the whole file."""
    assert page.count("audio") == 10 + COMPARED * 2
    pictures = [a["src"] or "" for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 10
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    links = {unquote(a) for a in page.addresses if a.startswith("./")}
    assert "./stems/0 mixture.wav" in links
    assert all((run_folder / link).exists() for link in links)


def test_hostile_names_stay_text(record: RunRecord, run_folder: Path) -> None:
    """Hostile names of songs, stems, stages, notices and options add no tag and end no script."""
    clean = Page(written(record, run_folder))
    saved = tuple(dataclasses.replace(s, label=HOSTILE, item=HOSTILE) for s in record.saved)
    stages = tuple(
        dataclasses.replace(
            s, title=HOSTILE, plugin=HOSTILE, options=dict.fromkeys(s.options, HOSTILE)
        )
        for s in record.stages
    )
    budget = tuple(dataclasses.replace(b, device=HOSTILE, note=HOSTILE) for b in record.budget)
    items = tuple(dataclasses.replace(i, name=HOSTILE) for i in record.items)
    hostile = dataclasses.replace(
        record, title=HOSTILE, recipe=HOSTILE, weights=HOSTILE, config=HOSTILE, machine=HOSTILE,
        saved=saved, stages=stages, budget=budget, items=items, played_on=HOSTILE,
        probed_on=HOSTILE, notices=(Notice("danger", HOSTILE),), versions={HOSTILE: HOSTILE},
    )  # fmt: skip
    page = Page(written(hostile, run_folder))
    assert page.count("script") == clean.count("script")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "alert(1)" in page.text


def test_paths_and_secrets_of_the_machine_stay_here(source: str, run_folder: Path) -> None:
    """Recipe and options show names in place of absolute paths, and no secret."""
    assert str(run_folder) not in source
    assert "hf_AbCdEf123456" not in source
    assert "path: evening song.flac" in source


def test_the_files_of_the_run_are_linked(record: RunRecord, run_folder: Path) -> None:
    """The page links to the bundle, the lock file, the record and the stems that are there."""
    (run_folder / "bundle").mkdir()
    (run_folder / "bundle" / "model.onnx").write_bytes(bytes(2000))
    (run_folder / "recipe.lock.yaml").write_text("title: x")
    config = f"{record.config}reporter:\n  json: {{}}\n"
    page = Page(written(dataclasses.replace(record, config=config), run_folder))
    assert {"./bundle/", "./recipe.lock.yaml", "./report.json", "./stems/"} <= {*page.addresses}
    assert "bundle/1 file, 2 kB" in page.text
    shutil.rmtree(run_folder / "bundle")
    (run_folder / "recipe.lock.yaml").unlink()
    page = Page(written(record, run_folder))
    assert not {"./bundle/", "./recipe.lock.yaml", "./report.json"} & {*page.addresses}


def test_the_command_of_the_run_can_be_copied(page: Page) -> None:
    """The page has the command, without the folders of this machine, and a button for it."""
    shown = "python -m core recipe=s24_int8 'input=evening song.flac'"
    assert shown in page.text
    assert [a["data-copy"] for _, a in page.tags if "data-copy" in a] == [shown]
    assert "paths are names alone here" in page.text


def test_further_items_are_only_linked(record: RunRecord, run_folder: Path) -> None:
    """Items beyond `preview_items` are links only, so the page stays small."""
    page = Page(written(record, run_folder, preview_items=1))
    assert page.count("audio") == 5 + COMPARED
    assert "./stems/1%20vocals.wav" in page.addresses


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_can_be_embedded(record: RunRecord, run_folder: Path, codec: Codec) -> None:
    """Every codec's preview is embedded with the codec's MIME type."""
    mime = {"ogg": "audio/ogg", "mp3": "audio/mpeg", "flac": "audio/flac"}[codec.value]
    source = written(record, run_folder, codec=codec, stereo=True, preview_seconds=1.0)
    assert f"data:{mime};base64," in source
    assert "A preview of 0:00 to 0:01" in source


def test_the_comparison_with_fp32_can_be_left_out(record: RunRecord, run_folder: Path) -> None:
    """With `compared_seconds=0` the page has the sounds of the run alone."""
    page = Page(written(record, run_folder, compared_seconds=0))
    assert page.count("audio") == 10
    assert "Against FP32 PyTorch" not in page.text


def test_images_are_shown_and_other_files_linked(record: RunRecord, tmp_path: Path) -> None:
    """Images are shown and other files linked, without a player; one script folds chapters."""
    (tmp_path / "out.png").write_bytes(PIXEL)
    (tmp_path / "javascript:x.txt").write_text("text")
    saved = (
        SavedFile("out.png", "upscaled", "cat"),
        SavedFile("javascript:x.txt", "numbers", "cat"),
    )
    bare = dataclasses.replace(record, saved=saved, items=(), command="")
    page = Page(written(bare, tmp_path))
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == ["upscaled"]
    assert "./javascript%3Ax.txt" in page.addresses
    assert (page.count("audio"), page.count("script")) == (0, 1)
    assert not [word for word in ("you hear", "true stems", "Listen") if word in page.text]


def test_the_summary_says_what_cost_the_most(page: Page) -> None:
    """The summary before the sections names the largest loss."""
    top = page.text[: page.text.index("What ran where")]
    assert (
        "chunk (input cut into windows) makes the largest difference: it leaves an SNR of 26.5 dB"
        in top
    )
    assert "Mean SDR fell 0.12 dB against FP32 PyTorch in the same windows" in top


def test_a_sound_that_cannot_be_read_is_linked(record: RunRecord, tmp_path: Path) -> None:
    """A sound that cannot be read has a link and no player, and the report is written."""
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    saved = (SavedFile("broken.wav", "drums", "song"),)
    page = Page(written(dataclasses.replace(record, saved=saved, items=()), tmp_path))
    assert "./broken.wav" in page.addresses
    assert page.count("audio") == 0


def test_a_bare_run_still_makes_a_page(record: RunRecord, tmp_path: Path) -> None:
    """A run without budget, metrics and files has a page with the remaining sections."""
    bare = dataclasses.replace(
        record, budget=(), metrics=(), saved=(), notices=(), stages=record.stages[:1], probed_on=""
    )
    page = Page(written(bare, tmp_path))
    assert "#stages" in page.addresses
    assert "#budget" not in page.addresses


@pytest.mark.parametrize(
    "options", [{"preview_seconds": 0}, {"preview_items": -1}, {"compared_seconds": -1}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    """An option without sense is refused by its name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        HtmlReportOptions(**options)  # type: ignore[arg-type]
