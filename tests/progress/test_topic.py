"""What one topic does that no other test shows: how it cuts what it sends into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from progress.protocol import Frame
from progress.topic import PIECE_BYTES, pieces


@given(st.lists(st.integers(0, 2 * PIECE_BYTES), max_size=20))
def test_pieces__are_all_frames_in_order_and_none_too_large(lengths: list[int]) -> None:
    frames = [Frame("x" * length, seq=seq) for seq, length in enumerate(lengths)]
    cut = list(pieces(frames))
    assert [frame for piece, _ in cut for frame in piece] == frames
    for piece, wire in cut:
        assert wire == b"".join(frame.wire for frame in piece)
        assert len(wire) <= PIECE_BYTES or len(piece) == 1
