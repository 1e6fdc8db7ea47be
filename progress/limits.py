"""What one client may take: messages a second, and sockets at once. Pure."""

from collections import Counter


class MessageRate:
    """A token bucket: ``rate`` messages a second sustained, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def allows(self, now: float) -> bool:
        """Count a message at ``now`` (seconds, monotonic); return whether it is allowed."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Places:
    """How many sockets each client holds in this process."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, client: str, limit: int) -> bool:
        """Take a place for a client; return False if it has ``limit`` already."""
        if self._taken[client] >= limit:
            return False
        self._taken[client] += 1
        return True

    def give_back(self, client: str) -> None:
        """Free a place that was taken."""
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]
