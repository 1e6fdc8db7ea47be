"""What other processes do in the tests. A new one imports this, and no Django has to be set up there."""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from jobs.exceptions import JobError
from jobs.reporting.current import current_reporter
from jobs.reporting.logs import JobLogHandler

BOUND_SECONDS = 20.0  # for which something may go on that is to be stopped


def count(report: Any, number: int) -> int:
    for _ in range(number):
        report.advance()
    return os.getpid()


def loop(report: Any, number: int) -> int:
    return sum(report.track(range(number)))


def say(report: Any, name: str, number: int) -> None:
    for which in range(number):
        report.log(f"{name} {which}")
        report.output(name).write(f"{which} " + "x" * 1000 + "\n")


def log_deep_down(report: Any) -> None:
    with report:
        logger = logging.getLogger("deep.down")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler := JobLogHandler())
        logger.info("from %s", "deep down")
        logger.removeHandler(handler)
        current_reporter().advance(3)
    assert current_reporter() is not report


def until_stopped(report: Any, path: str) -> None:
    """Write by what it was stopped, and when."""
    give_up_at = time.monotonic() + BOUND_SECONDS
    try:
        while time.monotonic() < give_up_at:
            report.advance()
            Path(f"{path}.begun").touch()
            time.sleep(0.01)
    except JobError as error:
        Path(f"{path}.new").write_text(f"{time.time()} {type(error).__name__} {error}")
        os.rename(f"{path}.new", path)
        raise


def count_and_die(report: Any, number: int) -> None:
    count(report, number)
    report.log("my last words")
    os.kill(os.getpid(), signal.SIGKILL)


def count_while_the_parent_lives_and_longer(report: Any, path: str) -> None:
    """Write a file once it has begun, and another once it has done its work, though its parent is dead."""
    handler = logging.FileHandler(f"{path}.log")
    logging.getLogger("jobs.reporting.link").addHandler(handler)
    parent = os.getppid()
    report.log("begun")
    Path(f"{path}.begun").touch()
    give_up_at = time.monotonic() + BOUND_SECONDS
    while os.getppid() == parent and time.monotonic() < give_up_at:
        report.advance()
        time.sleep(0.01)
    for _ in range(100):
        report.advance()
        report.log("is anybody there?")
    Path(f"{path}.done").touch()
