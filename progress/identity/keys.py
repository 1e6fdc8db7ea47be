"""The keys that sign tokens: the site's own, and those of other services, as ``PROGRESS_TOKEN_KEYS`` lists them.

A token names its key. The key, and never the token, says by which algorithm it is signed, and whether it may admit
somebody without a user.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.utils.crypto import salted_hmac

from ..conf import conf

OWN_PREFIX = "site-"  # of the names of the site's own keys
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
FIELDS = {"kid", "alg", "key", "may_grant"}
SECRET_BYTES = 32  # as long as the hash, RFC 7518, section 3.2
SECRET_CHARACTERS = 10  # different ones: a random secret of 32 has some twenty


@dataclass(frozen=True, slots=True)
class Key:
    """A key by which tokens are checked.

    Args:
        kid: Its name.
        algorithm: ``HS256`` or ``EdDSA``.
        secret: The shared secret, or the public key.
        may_grant: Whether its tokens may admit somebody without a user.

    """

    kid: str
    algorithm: str
    secret: bytes | Ed25519PublicKey = field(repr=False)
    may_grant: bool


def own_key() -> Key:
    """Return the key by which the site signs: it follows from SECRET_KEY."""
    return _own(settings.SECRET_KEY)


def find(kid: object) -> Key | None:
    """Return the key of a name; None if there is none.

    Raises:
        ValueError: The setting is wrong, of which `problem_of` tells at start.

    """
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if _own(secret).kid == kid:
            return _own(secret)
    for entry in conf.TOKEN_KEYS:
        if isinstance(entry, Mapping) and entry.get("kid") == kid:
            return _key_of(entry)
    return None


def problem_of(entries: object) -> str | None:
    """Return in words what is wrong with a value of ``PROGRESS_TOKEN_KEYS``, and what to do; None if it is valid."""
    if not isinstance(entries, list | tuple):
        return "must be a list of keys, each with 'kid', 'alg', 'key' and, if need be, 'may_grant'"
    kids: set[str] = set()
    for number, entry in enumerate(entries, 1):
        try:
            kid = _key_of(entry).kid
        except ValueError as error:
            return f"has a wrong key (number {number}): {error}"
        if kid in kids:
            return f"has two keys with the 'kid' {kid!r}: give each its own, since a token names its key by that"
        kids.add(kid)
    return None


@lru_cache(maxsize=8)
def _own(secret: str | bytes) -> Key:
    derived = salted_hmac("progress.tokens", "HS256", secret=secret, algorithm="sha256").digest()
    kid = OWN_PREFIX + hashlib.sha256(derived).hexdigest()[:8]
    return Key(kid, "HS256", derived, may_grant=True)


def _key_of(entry: object) -> Key:
    """Return a key of the setting.

    Raises:
        ValueError: It is wrong; the message says what to do, and holds no secret.

    """
    if not isinstance(entry, Mapping) or not {"kid", "alg", "key"} <= set(entry) <= FIELDS:
        raise ValueError("give it 'kid', 'alg', 'key' and, if need be, 'may_grant', and nothing else")
    kid, may_grant = entry["kid"], entry.get("may_grant", False)
    if not isinstance(kid, str) or not NAME.fullmatch(kid) or kid.startswith(OWN_PREFIX):
        raise ValueError(f"'kid' must be 1 to 64 letters, digits, '.', '_' or '-', and not begin with {OWN_PREFIX!r}")
    if not isinstance(may_grant, bool):
        raise ValueError("'may_grant' must be true or false")
    return Key(kid, entry["alg"], _secret_of(entry["alg"], entry["key"]), may_grant)


def _secret_of(algorithm: object, key: Any) -> bytes | Ed25519PublicKey:
    if algorithm not in ("HS256", "EdDSA"):
        raise ValueError("'alg' must be HS256, for a shared secret, or EdDSA, for an Ed25519 key pair")
    if not isinstance(key, str):
        raise ValueError("'key' must be a string")
    return _shared_secret(key) if algorithm == "HS256" else _public_key(key)


def _shared_secret(key: str) -> bytes:
    secret = key.encode()
    if key.lstrip().startswith("-----BEGIN"):
        raise ValueError("'key' is a PEM file, so 'alg' must be EdDSA")
    if len(secret) < SECRET_BYTES or len(set(secret)) < SECRET_CHARACTERS:
        raise ValueError(
            f"the secret is too weak: it must be random, and {SECRET_BYTES} characters or more. "
            """Make one by: python -c "import secrets; print(secrets.token_urlsafe(32))\""""
        )
    return secret


@lru_cache(maxsize=64)  # to parse one takes as long as to check a signature
def _public_key(key: str) -> Ed25519PublicKey:
    if "PRIVATE KEY" in key:
        raise ValueError("'key' is a private key, which belongs to the service that signs. Give its public key")
    try:
        found = load_pem_public_key(key.encode())
    except Exception:  # whatever the library says of what is no key
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError("'key' must be an Ed25519 public key in PEM: openssl pkey -in private.pem -pubout")
    return found
