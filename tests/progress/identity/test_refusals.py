"""Refusals in the log: the first at once, the others in a line a minute."""

import asyncio
import logging

import pytest

from progress.identity import refusals as refusals_module
from progress.identity.refusals import Refusals
from tests.progress.watching import eventually

logger = logging.getLogger("tests.refusals")


@pytest.fixture(autouse=True)
def soon(monkeypatch, caplog):
    monkeypatch.setattr(refusals_module, "SUMMARY_SECONDS", 0.05)
    caplog.set_level(logging.INFO)


async def test_note__the_first_is_told_and_the_others_are_counted(caplog):
    refusals = Refusals(logger)
    for number in range(1000):
        refusals.note("few" if number % 4 == 0 else "many", f"client {number} was refused")
    assert caplog.messages == ["client 0 was refused"]
    await eventually(lambda: len(caplog.messages) > 1)
    assert caplog.messages[1] == "Refused in the last 0.05 seconds: 750 × many, 249 × few"
    refusals.note("few", "client 7 was refused")
    assert len(caplog.messages) == 2
    await eventually(lambda: len(caplog.messages) > 2)
    await eventually(lambda: refusals._loop is None)
    refusals.note("few", "client 8 was refused")
    assert caplog.messages[3:] == ["client 8 was refused"]


async def test_note__of_another_event_loop_begins_anew(caplog):
    refusals = Refusals(logger)
    refusals.note("few", "one was refused")

    def elsewhere() -> None:
        async def note() -> None:
            refusals.note("few", "another was refused")

        asyncio.run(note())

    await asyncio.to_thread(elsewhere)
    assert caplog.messages == ["one was refused", "another was refused"]
