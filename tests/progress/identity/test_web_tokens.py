"""What JSON Web Tokens say, and which are refused: all in the same words."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.identity import web_tokens
from progress.protocol.exceptions import InvalidToken
from tests.progress.identity.minting import KEYS, PRIVATE_PEM, PUBLIC_PEM, SECRET, claims, pair, raw, segment, shared


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS


def now(seconds: float = 0) -> int:
    return int(time.time() + seconds)


def text(**changed: Any) -> str:
    return json.dumps(claims(**changed))


GOOD = {
    "a shared secret": lambda: shared(),
    "a key pair": lambda: pair(),
    "the pair's new name": lambda: pair_named_anew(),
    "with a user": lambda: shared(kid="modest", secret=SECRET[::-1], sub="5", watch=...),
    "a prefix": lambda: shared(watch={"jobs": ["import-*"]}),
    "a feed of named jobs": lambda: shared(watch={"jobs": ["job-1"], "feed": "all"}),
    "times": lambda: shared(iat=now(), nbf=now()),
    "a clock a little ahead": lambda: shared(iat=now(5), nbf=now(5)),
    "several audiences": lambda: shared(aud=["billing", "progress"]),
    "half a second": lambda: shared(exp=time.time() + 60.5),
    "written by hand": lambda: raw(text()),
    "claims of others": lambda: shared(iss="billing", scope="all"),
}


def pair_named_anew() -> str:
    from joserfc import jwt
    from joserfc.jwk import OKPKey

    return jwt.encode({"alg": "Ed25519", "kid": "pair"}, claims(), OKPKey.import_key(PRIVATE_PEM), ["Ed25519"])


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_decode__good(make: Any) -> None:
    found = web_tokens.decode(make())
    assert found.jti == "token-1"
    assert found.expires > datetime.now(UTC)


BAD = {
    "no algorithm": lambda: unsigned({"alg": "none", "kid": "shared"}) + ".",
    "signed with the public key": lambda: raw_with_public_key(),
    "another algorithm": lambda: shared(alg="HS512"),
    "another key's name": lambda: shared(kid="modest"),
    "an unknown key": lambda: shared(kid="nobody"),
    "no key named": lambda: shared(kid=None),
    "a key named by a list": lambda: raw(text(), {"kid": ["shared"]}),
    "a key named by a number": lambda: raw(text(), {"kid": 5}),
    "a critical extension": lambda: raw(text(), {"crit": ["b64"], "b64": False}),
    "another secret": lambda: shared(secret="another-secret-which-is-long-enough-0815"),
    "no exp": lambda: shared(exp=...),
    "no jti": lambda: shared(jti=...),
    "no aud": lambda: shared(aud=...),
    "expired": lambda: shared(exp=now(-1)),
    "ten years": lambda: shared(exp=now(315_360_000)),
    "exp of text": lambda: raw(text(exp=str(now(60)))),
    "exp of nothing": lambda: raw(text(exp=None)),
    "exp of a list": lambda: raw(text(exp=[now(60)])),
    "exp of true": lambda: raw(text(exp=True)),
    "exp infinite": lambda: raw(text(exp="?").replace('"?"', "Infinity")),
    "exp not a number": lambda: raw(text(exp="?").replace('"?"', "NaN")),
    "exp of 1e400": lambda: raw(text(exp="?").replace('"?"', "1e400")),
    "exp of 400 digits": lambda: raw(text(exp=10**400)),
    "exp of 5,000 digits": lambda: raw(text(exp="?").replace('"?"', "9" * 5_000)),
    "exp before all time": lambda: raw(text(exp=-(10**15))),
    "iat later": lambda: shared(iat=now(60)),
    "nbf later": lambda: shared(nbf=now(60)),
    "nbf of text": lambda: raw(text(nbf="soon")),
    "another audience": lambda: shared(aud="billing"),
    "jti of a number": lambda: raw(text(jti=5)),
    "jti of nothing": lambda: shared(jti=""),
    "jti with a zero": lambda: shared(jti="a\x00"),
    "jti too long": lambda: shared(jti="a" * 129),
    "sub of a number": lambda: raw(text(sub=5)),
    "sub of nothing": lambda: raw(text(sub=None)),
    "sub with a zero": lambda: shared(sub="a\x00"),
    "a key that may not grant": lambda: shared(kid="modest", secret=SECRET[::-1]),
    "a fingerprint of a number": lambda: shared(sub="5", password_fingerprint=5),
    "nothing to watch": lambda: shared(watch=...),
    "watch of text": lambda: shared(watch="job-1"),
    "watch of nothing named": lambda: shared(watch={}),
    "watch of what we do not know": lambda: shared(watch={"jobs": ["job-1"], "users": [5]}),
    "no jobs": lambda: shared(watch={"jobs": []}),
    "jobs of text": lambda: shared(watch={"jobs": "job-1"}),
    "jobs of numbers": lambda: shared(watch={"jobs": [5]}),
    "jobs of lists": lambda: shared(watch={"jobs": [["job-1"]]}),
    "every job": lambda: shared(watch={"jobs": ["*"]}),
    "every job twice": lambda: shared(watch={"jobs": ["**"]}),
    "a star within": lambda: shared(watch={"jobs": ["a*b"]}),
    "a star in front": lambda: shared(watch={"jobs": ["*b"]}),
    "too many jobs": lambda: shared(watch={"jobs": [f"j{number}" for number in range(129)]}),
    "a feed without jobs": lambda: shared(watch={"feed": "all"}),
    "the feed of nobody": lambda: shared(watch={"jobs": ["job-1"], "feed": "mine"}),
    "an unknown feed": lambda: shared(sub="5", watch={"feed": "theirs"}),
    "a feed of a list": lambda: shared(sub="5", watch={"feed": ["all"]}),
    "deep JSON": lambda: raw("[" * 3_000),
    "JSON that is no object": lambda: raw("[]"),
    "no JSON": lambda: raw("{"),
    "too long": lambda: shared(more="x" * 9_000),
    "deep JSON in the header": lambda: f"{segment(b'[' * 3_000)}.{segment(text().encode())}.{segment(b'x')}",
    "empty parts": lambda: "..",
    "no base64": lambda: "é.é.é",
}


def unsigned(header: dict[str, Any]) -> str:
    return f"{segment(json.dumps(header).encode())}.{segment(text().encode())}"


def raw_with_public_key() -> str:
    """The known attack: the public key, which is public, as the secret of another algorithm."""
    signed = unsigned({"alg": "HS256", "kid": "pair"})
    return f"{signed}.{segment(hmac.new(PUBLIC_PEM.encode(), signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_decode__bad(make: Any) -> None:
    token = make()
    assert web_tokens.is_web_token(token)
    with pytest.raises(InvalidToken) as raised:
        web_tokens.decode(token)
    assert str(raised.value) == "The token is malformed, not signed by a known key, or not valid now."
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("place", [0, 40, 100, -1])
def test_decode__changed_in_one_letter(place: int) -> None:
    letters = list(pair())
    letters[place] = "A" if letters[place] != "A" else "B"
    with pytest.raises(InvalidToken):
        web_tokens.decode("".join(letters))


def test_decode__of_the_sites_own_key_after_a_rotation(settings: Any) -> None:
    token = web_tokens.encode({"jti": "ours", "watch": {"jobs": ["job-1"]}}, datetime.fromtimestamp(now(60), UTC))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 9, [settings.SECRET_KEY]
    assert web_tokens.decode(token).jti == "ours"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        web_tokens.decode(token)


def test_decode__not_after_a_shorter_maximum(settings: Any) -> None:
    token = shared(exp=now(600))
    settings.PROGRESS_MAX_TOKEN_SECONDS = 500
    with pytest.raises(InvalidToken):
        web_tokens.decode(token)


@given(st.integers(0, 2), st.text(max_size=40) | st.binary(max_size=40).map(segment))
def test_decode__anything_in_the_place_of_a_part_is_refused(place: int, junk: str) -> None:
    parts = shared().split(".")
    parts[place] = junk
    with pytest.raises(InvalidToken):
        web_tokens.decode(".".join(parts))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WATCH = st.dictionaries(st.sampled_from(["jobs", "feed", "x"]), SCALARS | st.lists(SCALARS, max_size=3))
CLAIMS = st.sampled_from(["jti", "aud", "exp", "sub", "watch", "iat", "nbf", "password_fingerprint", "iss"])


@given(st.dictionaries(CLAIMS, SCALARS | st.lists(SCALARS, max_size=3) | WATCH, min_size=1))
def test_decode__well_signed_nonsense_is_refused_or_says_what_it_may(changed: dict[str, Any]) -> None:
    try:
        found = web_tokens.decode(raw(text(**changed)))
    except InvalidToken:
        return
    assert found.expires > datetime.now(UTC)
    assert found.subject is not None or (found.grant is not None and found.grant.jobs)
