"""A running ``serve`` that is attacked, and what must hold of it whatever it is sent."""

import contextlib
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from progress.protocol.codes import TEMPORARY, CloseCode, ErrorCode
from progress.protocol.frames import FEEDS
from tests.documents import section
from tests.fuzz.inputs import HIDDEN, WATCHED, Step, handshake
from tests.fuzz.wire import CLOSE, PONG, TEXT, Frame, Wire, framed
from tests.installation import Site, finish

MIB = 1024**2
GROWTH = 60 * MIB  # of the server's memory, at most, over however many attacks
KEY = "signs the tokens of a site that is attacked, and of no other"
SECRET = "the-name-of-what-is-hidden"  # of a job that no stranger may see
SENTINEL = framed(b'{"type":"unsubscribe","job_id":"(all before is answered)"}')
SENTINEL_ANSWER = {"type": "unsubscribed", "subject": "(all before is answered)"}
TYPES = {
    "progress",
    "snapshot",
    "log",
    "output",
    "backscroll",
    "feed",
    "pong",
    "heartbeat",
    "unsubscribed",
    "authenticated",
    "error",
}
LOST = {1001, 1006, 1011}  # what the page calls a lost connection, and a server that lives does not say
# What HTTP answers to a handshake, or to what was to be one. Never 500: that is an error of the server's own.
STATUSES = {100, 101, 200, 204, 301, 302, 400, 403, 404, 405, 411, 413, 414, 417, 426, 429, 431, 501, 503, 505}
DOCUMENTED = {int(code) for code in re.findall(r"\b[14]\d{3}\b", section("docs/protocol.md", "Close codes"))} - LOST
PRODUCTION = {
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": KEY,
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "PROGRESS_MAX_CLIENT_MESSAGES_PER_SECOND": "100000",  # all attacks are of one address, and the observer's
}
HAS_BODY = re.compile(rb"content-length|transfer-encoding", re.IGNORECASE)
TROUBLE = re.compile(r"Traceback|Unhandled|should not happen|can't be served|CRITICAL|never retrieved")

SET_UP = f"""
from django.contrib.auth import get_user_model
from jobs.lifecycle import ProcessingJobLifecycle
from progress.identity.tokens import issue_token
owner = get_user_model().objects.create_user("owner")
ProcessingJobLifecycle.create("{WATCHED}", public=True).mark_started()
ProcessingJobLifecycle.create("{HIDDEN}", owner=owner, name="{SECRET}").mark_started("{SECRET}")
print(issue_token(owner))
"""
WRITE = f"""
import select, sys, time
from jobs.lifecycle import ProcessingJobLifecycle
lifecycle = ProcessingJobLifecycle("{WATCHED}")
number = 2
while not select.select([sys.stdin], [], [], 0.02)[0]:
    number += 1
    lifecycle.log(str(number))
print(number)
"""


class Observer:
    """Somebody who only watches, all the time, and must get every line of the job's log, in order."""

    def __init__(self, url: str) -> None:
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(f"{url}/progress/ws", close_timeout=1, ping_interval=None))
        self._socket.send(json.dumps({"type": "subscribe", "job_id": WATCHED, "logs": True}))
        begun = [json.loads(self._socket.recv(20)) for _ in range(2)]  # what was logged before, and where it stands
        self.seq = begun[-1]["seq"]
        self.trouble = ""
        self._reached = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for text in self._socket:
                frame = json.loads(text)
                if frame["type"] != "heartbeat":
                    wanted = ("log", self.seq + 1, str(self.seq + 1))
                    assert (frame["type"], frame["seq"], frame["text"]) == wanted, f"{frame} after {self.seq}"
                    with self._reached:
                        self.seq += 1
                        self._reached.notify_all()
        except (AssertionError, ConnectionClosed) as error:
            self.trouble = repr(error)

    def wait_for(self, seq: int) -> None:
        """Wait until an event was seen; raise if another came in its place."""
        with self._reached:
            is_there = self._reached.wait_for(lambda: self.seq >= seq or self.trouble, 20)
        assert is_there, f"the observer stopped at {self.seq} of {seq}"
        assert not self.trouble, self.trouble

    def leave(self) -> None:
        """Close the socket."""
        self._open.close()
        self._thread.join()


class Target:
    """The server, a worker that writes all the time, and somebody who watches that.

    Args:
        site: The installation.

    """

    def __init__(self, site: Site) -> None:
        self.token = site.worker(SET_UP, DJANGO_SECRET_KEY=KEY).strip()
        self._served = site.serve(**PRODUCTION)
        self.port = self._served.port
        self._writer = site.start_worker(WRITE)
        self._observer = Observer(self._served.ws_url)
        self._before: int | None = None
        self._log_read = 0  # characters

    def attack(self, request: bytes, steps: Sequence[Step]) -> None:
        """Send a handshake and what follows it; check all that comes back.

        Raises:
            AssertionError: Something does not hold.
            TimeoutError: The server neither answers nor ends the connection.

        """
        with Wire(self.port) as wire:
            wire.send(request)
            if b"\r\n\r\n" not in request or HAS_BODY.search(request):
                wire.send_no_more()  # the server would wait for the rest
            status = wire.head()
            assert status is None or status in STATUSES, f"status {status}"
            if status == 101:
                self._talk(wire, steps)
            else:
                wire.send_no_more()
            received = wire.rest()
        has_token = any(step.has_token for step in steps)
        assert has_token or SECRET.encode() not in received, "what is hidden was shown"
        assert b"Traceback" not in received
        assert b"\r\nInjected" not in received
        self._check_log()

    def _talk(self, wire: Wire, steps: Sequence[Step]) -> None:
        sent_codes = {1000}.union(*(step.close_codes for step in steps))
        for step in steps:
            wire.send(step.data(self.token))
        if all(step.is_sane for step in steps):
            wire.send(SENTINEL)
        else:
            wire.send_no_more()
        while (frame := wire.frame()) is not None:
            self._check(frame, sent_codes)
            if frame.opcode == CLOSE:
                break
            if frame.opcode == TEXT and json.loads(frame.payload) == SENTINEL_ANSWER:
                wire.send(framed((1000).to_bytes(2), CLOSE))
        wire.send_no_more()

    def _check(self, frame: Frame, sent_codes: set[int]) -> None:
        if frame.opcode == CLOSE:
            assert frame.close_code is None or frame.close_code in DOCUMENTED | sent_codes, f"close {frame.close_code}"
            frame.payload[2:].decode()
        elif frame.opcode == TEXT:
            message = json.loads(frame.payload)
            assert message["type"] in TYPES, message
            if message["type"] == "error":
                check_error(message)
        else:
            assert frame.opcode == PONG

    def _check_log(self) -> None:
        """Check what was logged since the last look: of one attack, so that hypothesis can make it smaller."""
        with self._served.log.open(errors="replace") as log:
            log.seek(self._log_read)
            news = log.read()
            self._log_read = log.tell()
        trouble = TROUBLE.search(news)
        assert trouble is None, f"the server has logged:\n{news[trouble.start() :][:2000]}"

    def check(self) -> None:
        """Check what must hold between attacks: it lives, has not grown, logs no trouble, and serves others exactly."""
        assert self._served.running, f"the server has ended:\n{self._served.log_text()[-5000:]}"
        self._check_log()
        assert not self._observer.trouble, self._observer.trouble
        used = _memory(self._served.pid)
        self._before = self._before or used
        assert used - self._before < GROWTH, f"{(used - self._before) / MIB:.0f} MiB more"

    def finish(self) -> None:
        """Check it for the last time, once all that was written has reached the observer."""
        assert self._writer.stdin is not None
        self._writer.stdin.write("enough\n")
        last = int(finish(self._writer))
        self._observer.wait_for(last)
        self.attack(handshake("/progress/ws"), [])
        self.check()

    def leave(self) -> None:
        """Watch no longer; the installation ends the processes."""
        self._observer.leave()


def check_error(message: dict[str, Any]) -> None:
    """Check an ``error`` frame by what the protocol says of it."""
    assert message.keys() - {"subject"} == {"type", "error", "code", "temporary"}, message
    code = ErrorCode(message["code"])
    assert message["temporary"] is (code in TEMPORARY), message
    assert isinstance(message["error"], str), message
    assert message["error"], message
    subject = message.get("subject", "")
    assert isinstance(subject, str), message
    assert code is not ErrorCode.JOB_NOT_FOUND or "subject" in message, message
    assert code is not ErrorCode.JOB_NOT_FOUND or message["error"] == "Job not found", message
    assert code is not ErrorCode.UNAVAILABLE or subject in {*FEEDS, WATCHED, HIDDEN, ""}, message


def _memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


assert {*CloseCode} <= DOCUMENTED
