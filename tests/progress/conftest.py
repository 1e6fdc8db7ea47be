"""Fixtures of the tests of the progress app."""

import logging
from collections.abc import Iterator

import pytest

from tests.progress.watching import LogLines


@pytest.fixture
def logged() -> Iterator[LogLines]:
    """What the site's own loggers say, from INFO up; they do not propagate to where ``caplog`` listens."""
    import progress_site.asgi  # noqa: F401  # its first import configures logging, and forgets other handlers

    lines = LogLines()
    loggers = [logging.getLogger(name) for name in ("progress", "jobs", "asyncio", "django", "channels")]
    for logger in loggers:
        logger.addHandler(lines)
    yield lines
    for logger in loggers:
        logger.removeHandler(lines)
