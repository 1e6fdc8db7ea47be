"""What one client may take: messages a second, and sockets at once. Pure."""

import ipaddress
from collections import Counter

KEPT_CLIENTS = 1024  # whose debts are looked through at a time
DEBT_SECONDS = 20.0  # after which what was taken in advance is paid, however much; others may share the address
COST_BYTES = 1_024  # that count as one more message: to check and to parse them takes as long


class MessageRate:
    """A token bucket: ``rate`` messages a second sustained, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def allows(self, now: float) -> bool:
        """Count a message at ``now`` (seconds, monotonic); return whether it is allowed."""
        if self.left(now) < 1:
            return False
        self._left -= 1
        return True

    def spend(self, cost: float, now: float) -> float:
        """Take what is there, or in advance what will be, and return the seconds after which it is paid."""
        self._left = max(self.left(now) - cost, -DEBT_SECONDS * self._rate)
        return max(0.0, -self._left / self._rate)

    def left(self, now: float) -> float:
        """Return how many messages are allowed at once."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    def is_full(self, now: float) -> bool:
        """Tell whether nothing was taken that has not come back."""
        return self.left(now) >= self._burst


class Allowances:
    """What each client may send, on all its sockets together: one that comes again finds what it has left.

    Args:
        seconds: After how many idle seconds all is there again.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._of: dict[str, MessageRate] = {}
        self._tidy_at = KEPT_CLIENTS

    def of(self, client: str, rate: float, now: float) -> MessageRate:
        """Return what a client may send, so much a second."""
        if len(self._of) >= self._tidy_at:
            self._of = {client: allowance for client, allowance in self._of.items() if not allowance.is_full(now)}
            self._tidy_at = max(KEPT_CLIENTS, 2 * len(self._of))
        if client not in self._of:
            self._of[client] = MessageRate(rate, rate * self._seconds, now)
        return self._of[client]


class ConnectionLimit:
    """How many sockets each client holds in this process."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def acquire(self, client: str, limit: int) -> bool:
        """Take a place for a client; return False if it has ``limit`` already."""
        if self._taken[client] >= limit:
            return False
        self._taken[client] += 1
        return True

    def release(self, client: str) -> None:
        """Free a place that was taken."""
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]


def network_of(address: str) -> str:
    """Return what one client holds of the addresses: that of IPv4 itself, of IPv6 the network of 64 bits.

    RFC 6177 has each site get no less than that, so within it anybody can change addresses at will.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
