"""What is refused, in a line of the log a minute: who is refused ten thousand times shall not fill the disk as well."""

import asyncio
import logging
from collections import Counter

SUMMARY_SECONDS = 60.0


class Refusals:
    """Logs the first refusal at once, and how many have followed once a minute.

    Args:
        logger: Where.

    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer is running

    def note(self, kind: str, line: str) -> None:
        """Note a refusal: of which kind, of a few, and the line that tells of it if it is the first."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._logger.info("%s", line)
            self._start(loop)
        else:
            self._counts[kind] += 1

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_later(SUMMARY_SECONDS, self._sum_up)

    def _sum_up(self) -> None:
        counts, self._counts, self._loop = self._counts, Counter(), None
        if counts:
            told = ", ".join(f"{count:,} × {kind}" for kind, count in counts.most_common())
            self._logger.info("Refused in the last %g seconds: %s", SUMMARY_SECONDS, told)
            self._start(asyncio.get_running_loop())
