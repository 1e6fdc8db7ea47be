"""The outbox, against what it was given."""

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from progress.delivery.outbox import Outbox
from progress.protocol.frames import Frame, event_frame, heartbeat

KINDS = ["tick", "tick", "tick", "status", "stage", "log", "edit"]
puts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 9)), max_size=40)


def drained(outbox: Outbox) -> list[Frame]:
    frames = []
    while (frame := outbox.pop()) is not None:
        frames.append(frame)
    return frames


def frames_of(given_puts: list[tuple[str, str, int]]) -> list[Frame]:
    return [event_frame(job, seq, kind, "x" * length) for seq, (job, kind, length) in enumerate(given_puts)]


@given(puts)
def test_outbox__keeps_order_and_drops_superseded_ticks_alone(given_puts):
    frames, outbox = frames_of(given_puts), Outbox(10**6)
    for frame in frames:
        assert outbox.put(frame)
    last = {frame.state_of: frame.seq for frame in frames}
    expected = [frame for frame in frames if not (frame.is_tick and last[frame.state_of] > frame.seq)]
    assert len(outbox) == len(expected)
    assert drained(outbox) == expected


@given(puts, st.lists(st.booleans(), max_size=60))
def test_outbox__nothing_but_superseded_ticks_is_lost_while_it_is_read(given_puts, pops):
    outbox, sent = Outbox(10**6), []
    for frame, pop in zip(frames_of(given_puts), [*pops, *[False] * 40], strict=False):
        outbox.put(frame)
        if pop:
            sent.append(outbox.pop())
    sent += drained(outbox)
    assert [frame.seq for frame in sent] == sorted({frame.seq for frame in sent})
    for frame in set(frames_of(given_puts)) - set(sent):
        same = [each for each in sent if each.seq == frame.seq]
        later = [each for each in sent if each.state_of == frame.state_of and each.seq > frame.seq]
        assert same or (frame.is_tick and later)


@given(puts, st.integers(1, 80))
def test_outbox__says_when_more_waits_than_may(given_puts, limit):
    outbox, waiting = Outbox(limit), []
    for frame in frames_of(given_puts):
        waiting = [each for each in waiting if not (each.is_tick and each.state_of == frame.state_of)] + [frame]
        assert outbox.put(frame) is (sum(len(each.payload) for each in waiting) <= limit)


def test_outbox__a_heartbeat_supersedes_a_heartbeat_alone():
    """Any word that is an id can name a job; «heartbeat» is one."""
    outbox = Outbox(10_000)
    tick = event_frame("heartbeat", 1, "tick", "{}")
    for frame in (tick, heartbeat(), heartbeat()):
        outbox.put(frame)
    first, second = drained(outbox)
    assert first is tick
    assert json.loads(second.text)["type"] == "heartbeat"


class Model:
    """What the outbox is to do, without a thought for its cost."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: list[tuple[Frame, bool]] = []

    def put(self, frame: Frame, *, lasting: bool) -> bool:
        def stays(other: Frame, lasts: bool) -> bool:
            return lasts or not other.is_tick or other.state_of != frame.state_of

        self.waiting = [each for each in self.waiting if stays(*each)] + [(frame, lasting)]
        return sum(len(each.payload) for each, _ in self.waiting) <= self.limit

    def pop(self) -> Frame | None:
        return self.waiting.pop(0)[0] if self.waiting else None

    def clear(self) -> None:
        self.waiting.clear()


steps = st.one_of(
    st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 9), st.booleans()),
    st.sampled_from(["pop", "pop", "pop", "clear"]),
)


@given(st.lists(steps, max_size=60), st.integers(1, 80))
def test_outbox__does_as_the_model_does(given_steps, limit):
    outbox, model = Outbox(limit), Model(limit)
    for seq, step in enumerate(given_steps):
        if step == "clear":
            outbox.clear()
            model.clear()
        elif step == "pop":
            assert outbox.pop() is model.pop()
        else:
            job, kind, length, lasting = step
            frame = event_frame(job, seq, kind, "x" * length)
            assert outbox.put(frame, lasting=lasting) is model.put(frame, lasting=lasting)
        assert len(outbox) == len(model.waiting)
    assert drained(outbox) == [frame for frame, _ in model.waiting]


def test_outbox__takes_as_much_as_may_wait_and_no_byte_more():
    frame = event_frame("a", 1, "status", "12345678")
    assert Outbox(len(frame.payload)).put(frame)
    assert not Outbox(len(frame.payload) - 1).put(frame)


def test_outbox__what_is_taken_out_makes_room():
    frame = event_frame("a", 1, "status", "12345678")
    outbox = Outbox(len(frame.payload))
    for _ in range(100):
        assert outbox.put(frame)
        assert outbox.pop() is frame


def test_outbox__takes_no_longer_the_more_waits():
    """A plain dict looks for its first key behind all that were taken out."""
    outbox = Outbox(10**9)
    frames = [event_frame("a", seq, "tick", "x") for seq in range(100_000)]
    for frame in frames:
        outbox.put(frame, lasting=True)
    began = time.process_time()
    assert drained(outbox) == frames
    assert time.process_time() - began < 5  # a quadratic one takes minutes
