"""How much one client may use: messages a second, and sockets at once. Pure."""

import ipaddress

KEPT_CLIENTS = 1024  # buckets that are kept before full ones are dropped
DEBT_SECONDS = 20.0  # the longest wait for a client in debt, however much it sent: others may share its address
COST_BYTES = 1_024  # that count as one more message, since they take as long to check and parse


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
        """Take ``cost`` messages, going into debt if need be; return the seconds until the debt is paid."""
        self._left = max(self.left(now) - cost, -DEBT_SECONDS * self._rate)
        return max(0.0, -self._left / self._rate)

    def left(self, now: float) -> float:
        """Return how many messages are allowed now; negative while in debt."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    def is_full(self, now: float) -> bool:
        """Return whether the bucket is full, so that a new one would do as well."""
        return self.left(now) >= self._burst


class Allowances:
    """The bucket of each client, for all its sockets together; it outlives them, so reconnecting does not refill it."""

    def __init__(self) -> None:
        self._of: dict[str, MessageRate] = {}
        self._tidy_at = KEPT_CLIENTS

    def of(self, client: str, rate: float, burst: float, now: float) -> MessageRate:
        """Return the bucket of a client, which may send ``rate`` messages a second, and ``burst`` at once."""
        if len(self._of) >= self._tidy_at:
            self._of = {client: allowance for client, allowance in self._of.items() if not allowance.is_full(now)}
            self._tidy_at = max(KEPT_CLIENTS, 2 * len(self._of))
        if client not in self._of:
            self._of[client] = MessageRate(rate, burst, now)
        return self._of[client]


def network_of(address: str) -> str:
    """Return what limits count as one client: an IPv4 address itself, the /64 network of an IPv6 address.

    RFC 6177 gives each site at least a /64, so a client can change its address within that at will.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
