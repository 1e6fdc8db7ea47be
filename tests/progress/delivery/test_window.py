"""A window, against a plain list of all events."""

import json
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.delivery import window as window_module
from progress.delivery.window import Verdict, Window, is_whole
from progress.protocol.frames import Frame, event_frame
from progress.protocol.position import Position


def a_frame(seq: int, kind: str = "tick") -> Frame:
    fields = {"job_id": "job", "status": "in_progress", "progress": float(seq % 100), "message": f"at {seq}"}
    return event_frame("job", seq, kind, json.dumps({"type": "progress", **fields, "seq": seq}))


def a_window(seq: int = 0, most: int = 4) -> Window:
    fields = {"job_id": "job", "status": "pending", "progress": 0.0, "message": f"at {seq}"}
    return Window({"name": "name"}, Position("e", seq), {"type": "progress", **fields, "seq": seq}, most)


def seqs(frames: list[Frame] | None) -> list[int] | None:
    return None if frames is None else [frame.seq for frame in frames]


def test_offer__tells_next_from_known_and_missing():
    window = a_window(5)
    assert [window.verdict(seq) for seq in (4, 5, 6, 7)] == [Verdict.SEEN, Verdict.SEEN, Verdict.FRESH, Verdict.GAP]


def test_append__refuses_what_is_not_the_next():
    with pytest.raises(AssertionError):
        a_window(5).append(a_frame(7), is_log=False)


def test_after__nothing_is_missing_at_the_position():
    assert a_window(5).after(5) == []


def test_after__a_position_ahead_can_not_be_replayed():
    assert a_window(5).after(6) is None


def test_snapshot__shows_the_last_progress_at_the_position_of_the_last_log_line():
    window = a_window(5)
    window.append(a_frame(6), is_log=False)
    window.append(a_frame(7, "log"), is_log=True)
    shown = json.loads(window.snapshot(recovered=True).text)
    assert (shown["message"], shown["seq"], shown["recovered"], shown["type"]) == ("at 6", 7, True, "snapshot")


def test_snapshot__is_made_once_for_all():
    window = a_window(5)
    assert window.snapshot(recovered=False) is window.snapshot(recovered=False)
    assert window.snapshot(recovered=False) is not window.snapshot(recovered=True)
    before = window.snapshot(recovered=False)
    window.append(a_frame(6), is_log=False)
    assert window.snapshot(recovered=False) is not before


@given(
    start=st.integers(0, 20),
    most=st.integers(1, 8),
    size=st.integers(1, 2_000),
    kinds=st.lists(st.sampled_from(["tick", "status", "stage", "log"]), max_size=20),
)
def test_window__replays_exactly_what_a_list_would(start, most, size, kinds):
    with mock.patch.object(window_module, "WINDOW_BYTES", size):
        window = a_window(start, most)
        log: list[Frame] = []
        last_shown = f"at {start}"
        for seq, kind in enumerate(kinds, start + 1):
            frame = a_frame(seq, kind)
            assert window.verdict(frame.seq) is Verdict.FRESH
            window.append(frame, is_log=kind == "log")
            log.append(frame)
            last_shown = last_shown if kind == "log" else f"at {frame.seq}"
    end = start + len(kinds)
    assert window.position == Position("e", end)
    kept = 0  # as many of the last as fit
    while kept < min(most, len(log)) and sum(len(frame.payload) for frame in log[-kept - 1 :]) <= size:
        kept += 1
    assert window.begin == end - kept
    for since in range(end + 2):
        is_here = end - kept <= since <= end
        assert window.after(since) == (log[len(log) - (end - since) :] if is_here else None)
    shown = json.loads(window.snapshot(recovered=False).text)
    assert (shown["seq"], shown["message"]) == (end, last_shown)


def test_snapshot__of_what_can_not_be_encoded_raises():
    window = Window({"name": "name"}, Position("e", 1), {"job_id": "job", "progress": float("inf")}, 4)
    with pytest.raises(ValueError, match="JSON"):
        window.snapshot(recovered=False)


@pytest.mark.parametrize(
    ("present", "whole"),
    [([4, 5, 6], True), ([4, 6], False), ([5, 6], False), ([4, 5], False), ([4, 5, 5, 6], False), ([], False)],
)
def test_is_whole__every_one_in_order(present, whole):
    assert is_whole([a_frame(seq) for seq in present], 3, 6) is whole


def test_is_whole__nothing_is_all_of_nothing():
    assert is_whole([], 3, 3)


@given(
    position=st.integers(0, 20), most=st.integers(1, 10), live=st.integers(0, 5), present=st.sets(st.integers(1, 20))
)
def test_fill__keeps_only_an_unbroken_run_up_to_what_is_here(position, most, live, present):
    window = a_window(position, most)
    for seq in range(position + 1, position + live + 1):
        window.append(a_frame(seq), is_log=False)
    window.fill([a_frame(seq) for seq in sorted(present)])
    run = list(range(position + live, position, -1))[:most]
    while len(run) < most and (seq := position + live - len(run)) in present and live <= most:
        run.append(seq)
    assert [frame.seq for frame in window.events] == run[::-1]
    assert window.is_filled


def test_fill__no_more_than_there_is_room_for(monkeypatch):
    window = a_window(3)
    frames = [a_frame(seq) for seq in (1, 2, 3)]
    monkeypatch.setattr(window_module, "WINDOW_BYTES", len(frames[1].payload) + len(frames[2].payload))
    window.fill(frames)
    assert list(window.events) == frames[1:]
    window.append(a_frame(4), is_log=False)
    assert [frame.seq for frame in window.events] == [3, 4], "what is older gives way"


def test_window__holds_as_many_bytes_as_it_may_and_no_more(monkeypatch):
    size = len(a_frame(11).payload)
    monkeypatch.setattr(window_module, "WINDOW_BYTES", 3 * size)
    window = a_window(10, most=100)
    for seq in range(11, 14):
        window.append(a_frame(seq), is_log=False)
    assert window.begin == 10
    window.append(a_frame(14), is_log=False)
    assert window.begin == 11
    monkeypatch.setattr(window_module, "WINDOW_BYTES", 4 * size - 1)
    window = a_window(10, most=100)
    for seq in range(11, 15):
        window.append(a_frame(seq), is_log=False)
    assert window.begin == 11
    window = a_window(13, most=100)
    window.fill([a_frame(seq) for seq in range(10, 14)])
    assert window.begin == 10
