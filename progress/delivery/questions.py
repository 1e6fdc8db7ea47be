"""One question about many, asked every few seconds: how many are asked about at once goes by how long that takes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ..source.store import UNAVAILABLE
from ..source.vocabulary import MANY_IDS, MAX_IDS
from . import reads

logger = logging.getLogger(__name__)

A = TypeVar("A")
K = TypeVar("K")
V = TypeVar("V")

QUICK_SECONDS, SLOW_SECONDS = 0.25, 1.0  # of a visit to the database, by which the next is to take more, or less


class Questions(Generic[K, V, A]):
    """One question about many, in as many visits to the database as it takes, of which none may take long.

    A backend, a session engine or a policy of the host's own may be asked for each, and be slow: then fewer are asked
    about in a visit, this time or the next.

    Args:
        ask: Answers about some, in a thread; those that it can't answer about it leaves out.

    """

    def __init__(self, ask: Callable[[Mapping[K, V]], Mapping[K, A]]) -> None:
        self._ask = ask
        self._size = MAX_IDS

    async def answers(self, wanted: Mapping[K, V]) -> dict[K, A]:
        """Return the answers that there are. Where asking fails, each half is asked about, and so on.

        Raises:
            OperationalError: The database does not answer, or so many took too long.

        """
        answers: dict[K, A] = {}
        failed: Exception | None = None
        loop, pieces = asyncio.get_running_loop(), [list(wanted)] if wanted else []
        while pieces:
            piece = pieces.pop()
            batch, rest = piece[: self._size], piece[self._size :]
            pieces += [rest] if rest else []
            asked = wanted if len(batch) == len(wanted) else {key: wanted[key] for key in batch}
            began = loop.time()
            try:
                answers.update(await reads.in_thread(self._ask, asked))
            except UNAVAILABLE:
                self._size = max(1, len(batch) // 10)
                raise
            except Exception as error:  # of a user model of the host's own, say, which is to harm one client only
                failed = error
                half = len(batch) // 2
                pieces += [batch[half:], batch[:half]] if half else []
            took = loop.time() - began
            if took > SLOW_SECONDS:
                self._size = max(1, len(batch) // 2)
            elif took < QUICK_SECONDS:
                self._size = min(MANY_IDS, self._size * 2)
        if failed is not None:
            logger.error("Access was asked for again for %d of %d only", len(answers), len(wanted), exc_info=failed)
        return answers
