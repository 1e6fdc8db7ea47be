"""Where pieces end, and their bytes."""

import json

import pytest

from progress.polling import pieces
from progress.polling.pieces import body_of, page_end, piece_of
from progress.protocol.frames import Frame
from progress.protocol.position import Position


def events(first: int, last: int, *, logs: bool = False, size: int = 0) -> list[Frame]:
    text = '{{"type":"progress","seq":{},"message":"ä{}"}}'
    extra = "log" if logs else ""
    return [Frame(text.format(seq, "x" * size), seq=seq, extra=extra) for seq in range(first, last + 1)]


@pytest.mark.parametrize(("seq", "end"), [(0, 256), (1, 256), (255, 256), (256, 512), (511, 512)])
def test_page_end__is_a_multiple_of_the_page(seq: int, end: int) -> None:
    assert page_end(seq) == end


@pytest.mark.parametrize(
    ("since", "last", "reached", "is_whole"),
    [
        (0, 0, 0, False),
        (0, 10, 10, False),
        (0, 256, 256, True),
        (0, 300, 256, True),
        (255, 300, 256, True),
        (256, 300, 300, False),
    ],
)
def test_piece__never_runs_past_its_page(since: int, last: int, reached: int, is_whole: bool) -> None:
    piece = piece_of(Position("e", since), events(since + 1, last), (), is_end=True)
    assert piece.reached == ("e", reached)
    assert (piece.is_whole, piece.is_end, piece.is_empty) == (is_whole, not is_whole, since == last)


def test_piece__ends_before_it_is_too_long_at_the_same_event_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1_000)
    long = events(1, 9, size=400)
    for last in (3, 5, 9):
        piece = piece_of(Position("e", 0), long[:last], (), is_end=False)
        assert (piece.reached.seq, piece.is_whole) == (2, True)
    assert not piece_of(Position("e", 0), long[:2], (), is_end=False).is_whole
    assert piece_of(Position("e", 0), events(1, 2, size=5_000), (), is_end=False).reached.seq == 1


def test_extras__are_passed_over_unless_they_are_wanted() -> None:
    mixed = [*events(1, 2), *events(3, 4, logs=True)]
    plain, logs = (piece_of(Position("e", 0), mixed, wants, is_end=False) for wants in ((), ("log",)))
    assert (len(plain.frames), len(logs.frames)) == (2, 4)
    assert plain.reached == logs.reached == ("e", 4)


def test_body__holds_the_frames_byte_for_byte() -> None:
    piece = piece_of(Position("e", 0), events(1, 2), (), is_end=True)
    body = body_of(piece, 88)
    assert body == b'{"epoch":"e","seq":2,"wave":88,"end":true,"events":[%b]}\n' % b",".join(
        each.payload for each in piece.frames
    )
    assert json.loads(body)["events"][1]["seq"] == 2
