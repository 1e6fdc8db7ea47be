"""What events are made of frames."""

import json

import pytest

from progress.delivery.chunks import Chunk
from progress.protocol import frames
from progress.protocol.exceptions import job_not_found
from progress.protocol.frames import event_frame
from progress.protocol.position import Position
from progress.transports.sse.encoding import COMMENT, OneJob, SeveralJobs, http_chunk
from tests.streams import EventParser

TEXT = json.dumps({"type": "progress", "message": "é\n\r\u2028: data:"}, ensure_ascii=False)
ERROR = frames.error(job_not_found("b"))


def a_tick(seq, job="a", epoch="e1"):
    return event_frame(job, seq, "tick", TEXT, epoch)


def parsed(data):
    return EventParser().feed(data)


def test_one_job__the_data_is_the_frame_byte_for_byte():
    assert OneJob().events(Chunk([a_tick(7)]), chunked=False) == b"id: e1:7\ndata: " + TEXT.encode() + b"\n\n"


def test_one_job__the_same_bytes_for_all_who_watch():
    chunk = Chunk([a_tick(7), a_tick(8)])
    assert OneJob().events(chunk, chunked=True) is OneJob().events(chunk, chunked=True)
    assert OneJob().events(chunk, chunked=True) == http_chunk(OneJob().events(chunk, chunked=False))


def test_one_job__what_is_no_position_leaves_the_id():
    data = OneJob().events(
        Chunk([a_tick(7), ERROR, frames.heartbeat(), frames.backscroll("a", "e2", [])]), chunked=False
    )
    assert [event.last_id for event in parsed(data)] == ["e1:7"] * 4


@pytest.mark.parametrize("encoding", [OneJob(), SeveralJobs([("a", None)])], ids=["one", "several"])
def test_comment__is_no_event(encoding):
    data = encoding.events(Chunk([COMMENT]), chunked=False)
    assert parsed(data) == []
    assert data == b":\n\n"


def test_several__each_event_has_the_positions_of_all_jobs():
    encoding = SeveralJobs([("a", None), ("b", Position("f1", 3))])
    data = encoding.events(Chunk([a_tick(7), a_tick(4, "b", "f1"), ERROR]), chunked=False)
    data += encoding.events(Chunk([a_tick(1, "a", "e2")]), chunked=False)
    assert [event.last_id for event in parsed(data)] == ["e1:7,f1:3", "e1:7,f1:4", "e1:7,f1:4", "e2:1,f1:4"]


def test_several__in_chunks():
    chunk = Chunk([a_tick(7), a_tick(8)])
    plain = SeveralJobs([("a", None), ("b", None)]).events(chunk, chunked=False)
    assert SeveralJobs([("a", None), ("b", None)]).events(chunk, chunked=True) == http_chunk(plain)


@pytest.mark.parametrize(("length", "head"), [(1, b"1\r\n"), (255, b"ff\r\n"), (65_536, b"10000\r\n")])
def test_http_chunk__says_its_length(length, head):
    assert http_chunk(b"x" * length) == head + b"x" * length + b"\r\n"
