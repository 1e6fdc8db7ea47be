"""What the frame writer relies on below Daphne, and that frames are never mixed, on a real socket."""

import asyncio
import contextlib
import json
import socket
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from progress.protocol import websocket_frame
from progress.server import ServeCommandLine, _with_backlog
from tests.installation import Site

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_websocket_frame__header_says_the_length(length: int) -> None:
    payload = b"x" * length
    frame = websocket_frame(payload)
    assert frame[0] == 0x81  # final, text
    assert not frame[1] & 0x80  # unmasked
    short = frame[1]
    if short < 126:
        header, said = 2, short
    elif short == 126:
        header, said = 4, int.from_bytes(frame[2:4])
    else:
        header, said = 10, int.from_bytes(frame[2:10])
    assert said == length
    assert frame[header:] == payload
    assert (short == 126) == (126 <= length < 65_536)


def test_backlog__is_added_where_none_is_given() -> None:
    assert _with_backlog("tcp:port=1:interface=::1") == "tcp:port=1:interface=::1:backlog=4096"
    assert _with_backlog("tcp:port=1:backlog=7") == "tcp:port=1:backlog=7"
    assert _with_backlog("unix:/run/site.sock") == "unix:/run/site.sock"


def test_command_line__every_flag_of_daphne_is_there() -> None:
    from daphne.cli import CommandLineInterface

    def flags(line: Any) -> set[str]:
        return {flag for action in line.parser._actions for flag in action.option_strings}

    assert flags(ServeCommandLine()) == flags(CommandLineInterface())


MANY = """
import json, sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create("job-123", public=True)
job.mark_started()
for step in range(int(sys.argv[1])):
    job.mark_progress(step % 100, stage=f"stage {step}", metadata={"pad": "x" * ((step * 977) % 15_000)})
job.mark_completed()
"""


async def test_frames__are_whole_for_a_reader_in_fits_and_starts_among_pongs(sqlite_site: Site) -> None:
    """A small receive buffer makes partial writes; pings make Autobahn write in between."""
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("other", public=True)')
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000000", PROGRESS_SEND_SECONDS="60")
    narrow = socket.create_connection(("127.0.0.1", served.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    async with connect(
        f"{served.ws_url}/progress/ws/other", sock=narrow, max_queue=1, ping_interval=None, max_size=None
    ) as reader:
        await asyncio.to_thread(sqlite_site.worker, MANY, "600")
        await reader.send('{"type": "subscribe", "job_id": "job-123", "since": {"epoch": "none", "seq": 0}}')
        epoch = None
        while epoch is None:
            frame = json.loads(await reader.recv())
            epoch = frame["epoch"] if frame["job_id"] == "job-123" else None
        since = {"epoch": epoch, "seq": 1}
        await reader.send(json.dumps({"type": "subscribe", "job_id": "job-123", "since": since}))
        seqs, pongs = [], []
        for _ in range(603):
            if len(seqs) % 10 == 0:
                pongs.append(await reader.ping())
            seqs.append(json.loads(await reader.recv())["seq"])  # a mixed frame would be no JSON, or no frame
        assert seqs == [*range(2, 604), 603]
        await asyncio.wait_for(asyncio.gather(*pongs), 10)


async def test_slow_reader__is_closed_with_4008(sqlite_site: Site) -> None:
    sqlite_site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("other", public=True)')
    # Without a deadline, so that only the bound of the outbox can close it.
    served = sqlite_site.serve(PROGRESS_OUTBOX_BYTES="100000", PROGRESS_SEND_SECONDS="3600", DJANGO_LOG_LEVEL="DEBUG")
    sqlite_site.worker(MANY, "1500")  # about 11 MB
    narrow = socket.create_connection(("127.0.0.1", served.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with connect(
        f"{served.ws_url}/progress/ws/job-123", sock=narrow, max_queue=1, ping_interval=None, max_size=None
    ) as reader:
        epoch = json.loads(await reader.recv())["epoch"]
        since = {"epoch": epoch, "seq": 1}
        await reader.send(json.dumps({"type": "subscribe", "job_id": "job-123", "since": since}))
        while "Closing a socket with 4008" not in served.log_text():  # noqa: ASYNC110  (only the log tells)
            await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionClosed):
            while True:
                last = json.loads(await reader.recv())["seq"]  # what was under way, each frame whole
        assert last < 1500
        assert reader.close_code in {4008, 1006}  # 1006 where the server no longer waited for it to be read
