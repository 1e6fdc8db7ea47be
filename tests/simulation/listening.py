"""What the software logs, as a part of the story; an error in it is a violation."""

import logging
from typing import Any

from tests.simulation.world import World

LOGGERS = "progress", "jobs"


class Listener(logging.Handler):
    """Puts what the software logs into the story."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.tell("log", f"{record.levelname} {record.getMessage()}")
        if record.levelno >= logging.ERROR:
            self._world.note(f"the log says: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


class listening:  # noqa: N801
    """Listen to the loggers of the software, instead of the console."""

    def __init__(self, world: World) -> None:
        self._listener = Listener(world)
        self._before: list[tuple[logging.Logger, Any]] = []

    def __enter__(self) -> None:
        for logger in map(logging.getLogger, LOGGERS):
            self._before.append((logger, (logger.handlers, logger.level, logger.propagate)))
            logger.handlers, logger.propagate = [self._listener], False
            logger.setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        for logger, (handlers, level, propagate) in self._before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
