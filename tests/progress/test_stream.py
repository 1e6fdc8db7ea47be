"""A stream, against a plain list of all events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.protocol import Frame, Position, event_frame
from progress.stream import Stream, Verdict, is_whole


def a_frame(seq: int, kind: str = "tick") -> Frame:
    fields = {"job_id": "job", "status": "in_progress", "progress": float(seq % 100), "message": f"at {seq}"}
    return event_frame("job", seq, kind, json.dumps({"type": "progress", **fields, "seq": seq}))


def a_stream(seq: int = 0, ring: int = 4) -> Stream:
    fields = {"job_id": "job", "status": "pending", "progress": 0.0, "message": f"at {seq}"}
    return Stream("name", Position("e", seq), {"type": "progress", **fields, "seq": seq}, ring)


def seqs(frames: list[Frame] | None) -> list[int] | None:
    return None if frames is None else [frame.seq for frame in frames]


def test_offer__tells_next_from_known_and_missing():
    stream = a_stream(5)
    assert [stream.offer(seq) for seq in (4, 5, 6, 7)] == [Verdict.SEEN, Verdict.SEEN, Verdict.FRESH, Verdict.GAP]


def test_append__refuses_what_is_not_the_next():
    with pytest.raises(AssertionError):
        a_stream(5).append(a_frame(7), is_log=False)


def test_after__nothing_is_missing_at_the_position():
    assert a_stream(5).after(5) == []


def test_after__a_position_ahead_can_not_be_replayed():
    assert a_stream(5).after(6) is None


def test_snapshot__shows_the_last_progress_at_the_position_of_the_last_log_line():
    stream = a_stream(5)
    stream.append(a_frame(6), is_log=False)
    stream.append(a_frame(7, "log"), is_log=True)
    shown = json.loads(stream.snapshot(recovered=True).text)
    assert (shown["message"], shown["seq"], shown["recovered"], shown["type"]) == ("at 6", 7, True, "snapshot")


def test_snapshot__is_made_once_for_all():
    stream = a_stream(5)
    assert stream.snapshot(recovered=False) is stream.snapshot(recovered=False)
    assert stream.snapshot(recovered=False) is not stream.snapshot(recovered=True)
    before = stream.snapshot(recovered=False)
    stream.append(a_frame(6), is_log=False)
    assert stream.snapshot(recovered=False) is not before


@given(
    start=st.integers(0, 20),
    ring=st.integers(1, 8),
    kinds=st.lists(st.sampled_from(["tick", "status", "stage", "log"]), max_size=20),
    fill_at=st.integers(0, 20),
    older=st.integers(0, 12),
    damage=st.sampled_from(["none", "none", "gap", "pruned"]),
)
def test_stream__replays_exactly_what_a_list_would(start, ring, kinds, fill_at, older, damage):
    log = [a_frame(seq) for seq in range(1, start + 1)]
    stream = a_stream(start, ring)
    kept = log[-older:] if older else []
    if damage == "gap" and len(kept) > 2:
        del kept[len(kept) // 2]
    elif damage == "pruned":
        kept = kept[: len(kept) // 2]  # the newer half is missing, so nothing joins on
    last_shown = f"at {start}"
    for count, kind in enumerate(kinds):
        if count == fill_at:
            stream.fill(kept)
        frame = a_frame(start + count + 1, kind)
        assert stream.offer(frame.seq) is Verdict.FRESH
        stream.append(frame, is_log=kind == "log")
        log.append(frame)
        last_shown = last_shown if kind == "log" else f"at {frame.seq}"
    end = start + len(kinds)
    assert stream.position == Position("e", end)
    for since in range(end + 2):
        replay = stream.after(since)
        assert replay is None or replay == log[since:]
        if min(ring, len(kinds)) >= end - since >= 0:
            assert replay is not None, "all of it came through here"
    shown = json.loads(stream.snapshot(recovered=False).text)
    assert (shown["seq"], shown["message"]) == (end, last_shown)


@given(position=st.integers(0, 20), ring=st.integers(1, 10), present=st.sets(st.integers(1, 20)))
def test_fill__keeps_only_an_unbroken_run_up_to_the_position(position, ring, present):
    stream = a_stream(position, ring)
    stream.fill([a_frame(seq) for seq in sorted(present)])
    run: list[int] = []
    while (seq := position - len(run)) in present and len(run) < ring:
        run.insert(0, seq)
    assert [frame.seq for frame in stream.ring] == run


@pytest.mark.parametrize(
    ("present", "whole"),
    [([4, 5, 6], True), ([4, 6], False), ([5, 6], False), ([4, 5], False), ([4, 5, 5, 6], False), ([], False)],
)
def test_is_whole__every_one_in_order(present, whole):
    assert is_whole([a_frame(seq) for seq in present], 3, 6) is whole


def test_is_whole__nothing_is_all_of_nothing():
    assert is_whole([], 3, 3)
