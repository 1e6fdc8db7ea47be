"""JSON Web Tokens (RFC 7519): what one says, after its signature and its claims were checked."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import jwt
from jwt.algorithms import OKPAlgorithm

from ..conf import conf
from ..protocol.exceptions import InvalidToken
from . import keys
from .grant import Grant

AUDIENCE = "progress"
FINGERPRINT = "password_fingerprint"  # a claim of the site's own tokens
MAX_CHARACTERS = 8_192  # of a token: more than the 128 jobs that one may name take
LEEWAY_SECONDS = 10.0  # by which the clock of who signed may be ahead
JTI = re.compile(r"[!-~]{1,128}")
SUBJECT = re.compile(r"[^\x00-\x1f]{1,128}")
SAME = {"EdDSA": ["EdDSA", "Ed25519"]}  # RFC 9864 has renamed it


class Claims(NamedTuple):
    """What a token says.

    Args:
        jti: Its name, by which it can be revoked.
        expires: When it ends.
        subject: The primary key of its user, as a string; None if it admits without one.
        fingerprint: Of its user's password; None where other services sign, which do not know that.
        grant: What it narrows or grants; None if it leaves its user what they may see.

    """

    jti: str
    expires: datetime
    subject: str | None
    fingerprint: str | None
    grant: Grant | None


class _Coder(jwt.PyJWT):
    """PyJWT, which knows only the old name of EdDSA."""

    def __init__(self) -> None:
        super().__init__()
        self._jws.register_algorithm("Ed25519", OKPAlgorithm())

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """Refuse what JSON does not have, and Python would take: NaN and infinity."""
        payload: object = json.loads(decoded["payload"], parse_constant=_no_constant)
        if not isinstance(payload, dict):
            raise jwt.DecodeError("not an object")
        return payload


def _no_constant(name: str) -> None:
    raise ValueError(name)


_coder = _Coder()


def is_web_token(token: str) -> bool:
    """Return whether a token has the form of these."""
    return token.count(".") == 2 and ":" not in token


def encode(claims: dict[str, Any], expires: datetime) -> str:
    """Return a token that the site signs itself, valid from now on."""
    key = keys.own_key()
    assert isinstance(key.secret, bytes)
    issued = int(datetime.now(UTC).timestamp())
    payload = {"aud": AUDIENCE, "iat": issued, "exp": int(expires.timestamp()), **claims}
    return _coder.encode(payload, key.secret, key.algorithm, headers={"kid": key.kid})


def decode(token: str) -> Claims:
    """Return what a token says.

    Raises:
        InvalidToken: It is not signed by a key that we know, has expired, is not for us, or says what it may not.

    """
    try:
        return _decode(token)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError, RecursionError):
        # Without the cause, which may quote the token.
        raise InvalidToken("The token is malformed, not signed by a known key, or not valid now.") from None


def _decode(token: str) -> Claims:
    if len(token) > MAX_CHARACTERS:
        raise ValueError("too long")
    key = keys.find(jwt.get_unverified_header(token).get("kid"))
    if key is None:
        raise ValueError("no such key")
    payload = _coder.decode(
        token,
        key.secret,
        algorithms=SAME.get(key.algorithm, [key.algorithm]),
        audience=AUDIENCE,
        leeway=LEEWAY_SECONDS,
        options={"require": ["jti", "exp", "aud"]},
    )
    subject = payload.get("sub")
    if subject is None and ("sub" in payload or not key.may_grant):
        raise ValueError("this key admits nobody without a user")
    grant = Grant.of(payload.get("watch"), has_user=subject is not None)
    return Claims(
        _text(payload["jti"], JTI),
        _expiry(payload["exp"]),
        None if subject is None else _text(subject, SUBJECT),
        _fingerprint(payload[FINGERPRINT]) if FINGERPRINT in payload else None,
        grant,
    )


def _text(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("not such a text")
    return value


def _fingerprint(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a fingerprint")
    return value


def _expiry(value: object) -> datetime:
    """Return when a token ends: to the second, since a clock that is behind must not lengthen it, and not too late."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a time")
    expires, now = datetime.fromtimestamp(value, UTC), datetime.now(UTC)
    if not now < expires <= now + timedelta(seconds=conf.MAX_TOKEN_SECONDS + LEEWAY_SECONDS):
        raise ValueError("has expired, or lasts too long")
    return expires
