"""The keys of tokens: which are taken, and what is said at start of those that are not."""

from typing import Any

import pytest

from progress.checks import check_settings
from progress.identity import keys
from tests.progress.identity.minting import KEYS, PRIVATE_PEM, PUBLIC_PEM, SECRET

GOOD = {"kid": "billing", "alg": "HS256", "key": SECRET}


def test_keys__good(settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    assert check_settings() == []
    modest = keys.find("modest")
    assert modest is not None
    assert not modest.may_grant


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("billing", "must be a list of keys"),
        ({"billing": SECRET}, "must be a list of keys"),
        (["billing"], "give it 'kid', 'alg', 'key'"),
        ([{"kid": "billing"}], "give it 'kid', 'alg', 'key'"),
        ([{**GOOD, "grants": True}], "nothing else"),
        ([{**GOOD, "kid": ""}], "'kid' must be"),
        ([{**GOOD, "kid": 5}], "'kid' must be"),
        ([{**GOOD, "kid": "site-1"}], "not begin with 'site-'"),
        ([{**GOOD, "may_grant": "no"}], "'may_grant' must be true or false"),
        ([{**GOOD, "alg": "none"}], "'alg' must be HS256"),
        ([{**GOOD, "alg": "RS256"}], "'alg' must be HS256"),
        ([{**GOOD, "alg": ["HS256"]}], "'alg' must be HS256"),
        ([{**GOOD, "key": None}], "'key' must be a string"),
        ([{**GOOD, "key": SECRET[:31]}], "too weak"),
        ([{**GOOD, "key": "change-me" * 9}], "too weak"),
        ([{**GOOD, "key": PUBLIC_PEM}], "must be EdDSA"),
        ([{**GOOD, "alg": "EdDSA"}], "openssl pkey"),
        ([{**GOOD, "alg": "EdDSA", "key": PRIVATE_PEM}], "Give its public key"),
        ([GOOD, {**GOOD, "key": SECRET[::-1]}], "give each its own"),
    ],
)
def test_check__says_what_to_do_and_no_secret(settings: Any, entries: Any, words: str) -> None:
    settings.PROGRESS_TOKEN_KEYS = entries
    (problem,) = check_settings()
    assert problem.id == "progress.E003"
    assert words in problem.msg
    assert SECRET[:8] not in problem.msg
    assert "BEGIN" not in problem.msg


def test_key__shows_no_secret() -> None:
    assert "secret" not in repr(keys.own_key())


def test_own_key__is_not_the_secret_key_itself(settings: Any) -> None:
    assert keys.own_key().secret != settings.SECRET_KEY.encode()
    assert keys.find(keys.own_key().kid) == keys.own_key()
