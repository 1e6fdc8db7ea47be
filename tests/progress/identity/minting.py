"""Tokens as other services make them, good and bad."""

import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "a-secret-that-two-services-share-4711-and-long-enough-for-SHA-512-as-well"
PRIVATE = Ed25519PrivateKey.generate()
PRIVATE_PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

KEYS = [
    {"kid": "shared", "alg": "HS256", "key": SECRET, "may_grant": True},
    {"kid": "pair", "alg": "EdDSA", "key": PUBLIC_PEM, "may_grant": True},
    {"kid": "modest", "alg": "HS256", "key": SECRET[::-1]},
]


def claims(**changed: Any) -> dict[str, Any]:
    """Those of a good token without a user; ``...`` leaves one out."""
    good = {"jti": "token-1", "aud": "progress", "exp": int(time.time()) + 600, "watch": {"jobs": ["job-1"]}}
    return {name: value for name, value in {**good, **changed}.items() if value is not ...}


def shared(*, kid: Any = "shared", secret: Any = SECRET, alg: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), secret, alg, headers={"kid": kid} if isinstance(kid, str) else None)


def pair(**changed: Any) -> str:
    return jwt.encode(claims(**changed), PRIVATE_PEM, "EdDSA", headers={"kid": "pair"})


def raw(payload: str, header: dict[str, Any] | None = None) -> str:
    """A token, well signed, of a payload and a header that no library would write."""
    algorithm = jwt.get_algorithm_by_name("HS256")
    parts = json.dumps({"alg": "HS256", "kid": "shared", **(header or {})}), payload
    text = ".".join(segment(part.encode()) for part in parts)
    return f"{text}.{segment(algorithm.sign(text.encode(), SECRET.encode()))}"


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
