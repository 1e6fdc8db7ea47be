"""What the page about access shows: it runs, and the site takes tokens of other libraries."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from progress.checks import check_settings
from progress.identity import tokens
from progress.models import AccessToken
from tests.documents import FENCE, PAGES
from tests.progress.identity.minting import PRIVATE_PEM, PUBLIC_PEM, SECRET

pytestmark = pytest.mark.django_db

SNIPPETS = FENCE.findall(PAGES["docs/access.md"])
USER = 42


def snippet_with(words: str, language: str = "python") -> str:
    (code,) = (code for named, code in SNIPPETS if named == language and words in code)
    return code


def run(code: str, **names: Any) -> dict[str, Any]:
    exec(compile(code, "a snippet", "exec"), names)
    return names


@pytest.fixture
def keys(settings: Any) -> None:
    """As the page lists them, with a key pair and a secret of the test's."""
    code = snippet_with("PROGRESS_TOKEN_KEYS")
    (public,) = (part for part in code.split('"') if "BEGIN" in part)
    (secret,) = (part for part in code.split('"') if "random secret" in part)
    settings.PROGRESS_TOKEN_KEYS = run(code.replace(public, PUBLIC_PEM.replace("\n", "\\n")).replace(secret, SECRET))[
        "PROGRESS_TOKEN_KEYS"
    ]
    assert check_settings() == []
    User.objects.create_user("ann", pk=USER)


def are_taken(by_secret: str, by_pair: str) -> bool:
    guest, user = tokens.verify(by_secret).rights, tokens.verify(by_pair).rights
    return guest.admits("import-march") and not guest.is_of_user and user.user.pk == USER and user.grant is None


def test_issue_and_revoke__run() -> None:
    ann = User.objects.create_user("ann")
    names = run(snippet_with("issue_token"), user=ann)
    assert tokens.verify(names["token"]).user == ann
    assert tokens.verify(names["share"]).rights.admits("import-march")
    jti = AccessToken.objects.values_list("jti", flat=True)[0]
    run(snippet_with("revoke_token").replace("f3b0c2…", jti), user=ann)
    assert AccessToken.objects.get(revoked_by="user ann").jti == jti


def test_python__mints_what_is_taken(keys: None) -> None:
    names = run(snippet_with("import jwt"), secret=SECRET, private_key_pem=PRIVATE_PEM)
    assert are_taken(names["by_secret"], names["by_pair"])


def test_node__mints_what_is_taken(keys: None, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js: install the package nodejs")
    code = snippet_with("node:crypto", "js")
    calls = [line.removeprefix("// ") for line in code.splitlines() if line.startswith("// token(")]
    (tmp_path / "mint.mjs").write_text(
        "const { SECRET: secret, PRIVATE_PEM: privateKeyPem } = process.env;\n"
        + code
        + "\n".join(f"console.log({call});" for call in calls)
    )
    env = {**os.environ, "SECRET": SECRET, "PRIVATE_PEM": PRIVATE_PEM}
    printed = subprocess.run([node, "mint.mjs"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    by_secret, by_pair = printed.stdout.split()
    assert are_taken(by_secret, by_pair)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the older name of the algorithm
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_joserfc__mints_what_is_taken(keys: None, algorithm: str) -> None:
    claims = {"aud": "progress", "exp": int(time.time()) + 600}
    by_secret = jwt.encode(
        {"alg": "HS256", "kid": "reports-1"},
        {**claims, "jti": "1", "watch": {"jobs": ["import-march"]}},
        OctKey.import_key(SECRET),
    )
    by_pair = jwt.encode(
        {"alg": algorithm, "kid": "billing-2026"},
        {**claims, "jti": "2", "sub": str(USER)},
        OKPKey.import_key(PRIVATE_PEM),
        [algorithm],
    )
    assert are_taken(by_secret, by_pair)
