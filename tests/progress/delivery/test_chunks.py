"""Frames in chunks: as large as they may be, and encoded once."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.delivery import chunks as chunks_module
from progress.delivery.chunks import CHUNK_BYTES, Chunk, chunks, extras, visible
from progress.protocol.frames import Frame, event_frame


def a_frame(seq: int, kind: str = "status") -> Frame:
    return event_frame("job-1", seq, kind, f'{{"seq":{seq}}}')


def seqs(frames: Sequence[Frame]) -> list[int]:
    return [frame.seq for frame in frames]


def test_chunks__as_large_as_they_may_be_and_no_larger(monkeypatch):
    frames = [a_frame(seq) for seq in range(10, 15)]
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 2 * len(frames[0].payload))
    assert [seqs(chunk.frames) for chunk in chunks(frames)] == [[10, 11], [12, 13], [14]]
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 3 * len(frames[0].payload) - 1)
    assert [seqs(chunk.frames) for chunk in chunks(frames)] == [[10, 11], [12, 13], [14]]


@pytest.mark.parametrize(
    ("wants", "seen"),
    [((), [1, 3]), (("log",), [1, 2, 3]), (("output",), [1, 3, 4]), (("log", "output"), [1, 2, 3, 4])],
)
def test_visible__extras_only_where_asked_for(wants, seen):
    frames = [a_frame(1), a_frame(2, "log"), a_frame(3), a_frame(4, "output")]
    assert seqs(visible(frames, wants)) == seen
    assert seqs(extras(frames, wants)) == [seq for seq in seen if seq in (2, 4)]


@given(st.lists(st.integers(0, 2 * CHUNK_BYTES), max_size=20))
def test_chunks__are_all_frames_in_order_and_none_too_large(lengths: list[int]) -> None:
    frames = [Frame("x" * length, seq=seq) for seq, length in enumerate(lengths)]
    cut = list(chunks(frames))
    assert [frame for chunk in cut for frame in chunk.frames] == frames
    for chunk in cut:
        assert chunk.frames
        assert sum(len(frame.payload) for frame in chunk.frames) <= CHUNK_BYTES or len(chunk.frames) == 1


def test_chunk__is_encoded_once_for_each_transport():
    asked: list[str] = []

    def encode(frames: Sequence[Frame]) -> bytes:
        asked.append("one")
        return b"".join(frame.payload for frame in frames)

    def encode_otherwise(frames: Sequence[Frame]) -> bytes:
        asked.append("other")
        return b"|".join(frame.payload for frame in frames)

    chunk = Chunk([a_frame(1), a_frame(2)])
    first, second = (frame.payload for frame in chunk.frames)
    for _ in range(3):
        assert chunk.encoded(encode) == first + second
        assert chunk.encoded(encode_otherwise) == first + b"|" + second
    assert asked == ["one", "other"]
