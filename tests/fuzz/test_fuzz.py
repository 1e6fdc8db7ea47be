"""A few seconds of what ``make fuzz`` does for as long as you like; and what that has found, which stays mended."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import campaign
from tests.fuzz.inputs import Step, handshake
from tests.fuzz.target import Target, check_error
from tests.fuzz.wire import BINARY, TEXT, Wire, framed, raw_frame
from tests.installation import Site

EXAMPLES = 60  # of each kind: some two seconds


@pytest.fixture(scope="module")
def target(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "db.sqlite3").write_bytes(sqlite_template.read_bytes())
    site = Site(f"sqlite:///{folder / 'db.sqlite3'}", folder)
    try:
        made = Target(site)
        try:
            yield made
            made.finish()
        finally:
            made.leave()
    finally:
        site.close()


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # of the observer's thread, not of a strategy
def test_attacks__whatever_is_sent_the_server_lives_and_others_notice_nothing(target: Target) -> None:
    campaign.run(target, EXAMPLES, number=time.time_ns())
    target.check()


@pytest.mark.parametrize(
    ("name", "value"), [("Sec-WebSocket-Protocol", "ñ"), ("Sec-WebSocket-Protocol", "%c3%b1, a"), ("Cookie", "ñ=ñ")]
)
def test_found__a_header_that_is_not_ascii_is_no_traceback(target: Target, name: str, value: str) -> None:
    target.attack(handshake("/progress/ws", [(name, value)]), [])


@pytest.mark.parametrize("host", ["elsewhere.example", "", "a b"])
def test_found__a_request_for_another_host_is_no_traceback(target: Target, host: str) -> None:
    target.attack(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), [])


def test_found__a_length_that_is_only_claimed_costs_nobody_else_their_turn(target: Target) -> None:
    """It was charged to the address, whose other sockets were not read for 20 seconds, and then cut as silent."""
    claims = [raw_frame(b"", 0x80 | BINARY, is_masked=True, length=length) for length in (2**31, 2**62, 2**63 - 1)]
    for claim in claims:
        target.attack(handshake("/progress/ws"), [Step(junk=claim)])
    began = time.monotonic()
    with Wire(target.port) as other:
        other.send(handshake("/progress/ws"))
        assert other.head() == 101
        other.send(framed(b'{"type":"ping"}') * 3)
        assert [frame.opcode for _ in range(3) if (frame := other.frame())] == [TEXT] * 3
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "error", "error": "No", "code": "nothing", "temporary": False},
        {"type": "error", "error": "No", "code": "unavailable", "temporary": False},
        {"type": "error", "error": "", "code": "invalid_message", "temporary": False},
        {"type": "error", "error": "No such job", "code": "job_not_found", "temporary": False, "subject": "a"},
        {"type": "error", "error": "No", "code": "invalid_message", "temporary": False, "more": 1},
    ],
)
def test_check_error__finds_what_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_error(wrong)
