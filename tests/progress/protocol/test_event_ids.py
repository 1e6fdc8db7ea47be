"""Positions in the ids of events."""

import pytest

from progress.protocol.codes import ErrorCode
from progress.protocol.event_ids import event_id, positions_of
from progress.protocol.exceptions import Refused
from progress.protocol.position import MAX_SEQ, Position

ONE, OTHER = Position("9f1c2a7be03d5512", 17), Position("a2b4000000000000", MAX_SEQ)


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([ONE], "9f1c2a7be03d5512:17"),
        ([ONE, OTHER], f"9f1c2a7be03d5512:17,a2b4000000000000:{MAX_SEQ}"),
        ([None, ONE, None], ",9f1c2a7be03d5512:17,"),
        ([None, None], ","),
    ],
    ids=str,
)
def test_event_id__is_read_as_it_was_written(positions, text):
    assert event_id(positions) == text
    assert positions_of(text, len(positions)) == positions


@pytest.mark.parametrize("count", [1, 2, 128])
def test_positions_of__nothing(count):
    assert positions_of("", count) == [None] * count


@pytest.mark.parametrize(
    "text",
    [
        "9f1c2a7be03d5512",
        "9f1c2a7be03d5512:",
        ":17",
        ":",
        "e:-1",
        "e:1.5",
        "e:１",
        "e:²",
        "é:1",
        "e f:1",
        "e:1:2",
        f"e:{MAX_SEQ + 1}",
        "e:" + "9" * 100_000,
        "e:1,e:2",
        ",",
        "null",
        "0",
        "\x00:1",
        '{"epoch":"e","seq":1}',
    ],
)
def test_positions_of__nonsense_is_refused(text):
    with pytest.raises(Refused) as caught:
        positions_of(text, 1)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize(("text", "count"), [("e:1", 2), ("e:1,f:2", 3), ("e:1,f:2,", 2), ("," * 1_000_000, 128)])
def test_positions_of__as_many_as_there_are_jobs(text, count):
    with pytest.raises(Refused):
        positions_of(text, count)
