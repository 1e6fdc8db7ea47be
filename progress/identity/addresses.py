"""IP addresses as proxies and settings write them. Pure."""

import ipaddress
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(text: str) -> str | None:
    """Return the address in «192.0.2.7:5000», «[2001:db8::1]:443» or «fe80::1%eth0»; None if there is none.

    It comes without port and zone, and an IPv4 address that is mapped into IPv6 as itself.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str((found.version == 6 and found.ipv4_mapped) or found)


@lru_cache
def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks in «127.0.0.0/8, ::1»; a single address is a network of one.

    Raises:
        ValueError: One of them is none, or has bits beyond its prefix.

    """
    return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Return whether an address is in one of the networks."""
    found = address_of(address)
    return found is not None and any(ipaddress.ip_address(found) in network for network in networks)
