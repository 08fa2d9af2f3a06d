"""`tools.midi_stems`: a MIDI file without some of its channels."""

from __future__ import annotations

import struct

import pytest

from tools.midi_stems import only_channels

_TEMPO = b"\x00\xff\x51\x03\x07\xa1\x20"
_END = b"\x00\xff\x2f\x00"


def _file(*tracks: bytes) -> bytes:
    header = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 96)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in tracks)


def test_other_channels_go_and_what_stays_keeps_its_time() -> None:
    """The delay of a removed event is added to the next kept event, also above 127 ticks."""
    drums, bass = b"\x99\x24\x64", b"\x91\x28\x64"
    song = _file(_TEMPO + b"\x60" + drums + b"\x60" + bass + b"\x10" + drums + _END)
    assert only_channels(song, (10,)) == _file(_TEMPO + b"\x60" + drums + b"\x70" + drums + _END)
    assert only_channels(song, (2,)) == _file(_TEMPO + b"\x81\x40" + bass + b"\x10\xff\x2f\x00")


def test_a_status_byte_that_is_left_out_is_written() -> None:
    """A kept event gets its status byte, because the event that had it may be removed."""
    song = _file(b"\x00\x99\x24\x64\x05\x26\x64" + b"\x00\xc1\x21" + _END)
    assert only_channels(song, (10,)) == _file(b"\x00\x99\x24\x64\x05\x99\x26\x64" + _END)
    assert only_channels(song, (2,)) == _file(b"\x05\xc1\x21" + _END)


def test_what_belongs_to_no_channel_stays() -> None:
    """Resets of the synthesizer, the tempo and chunks of other kinds are kept."""
    reset = b"\x00\xf0\x05\x7e\x7f\x09\x01\xf7"
    other = b"XFIH" + struct.pack(">I", 2) + b"ab"
    song = _file(reset + _TEMPO + _END)
    assert only_channels(song + other, ()) == song


def test_another_file_is_refused() -> None:
    """A file that is not MIDI is refused, and the message quotes its first bytes."""
    with pytest.raises(ValueError, match="no MIDI file: it begins with b'OggS'"):
        only_channels(b"OggS0000", (1,))
