"""The threat model names tests, and each is there."""

import re

import pytest

from tests.documents import PAGES
from tests.installation import ROOT

PAGE = PAGES["docs/security.md"]
NAMED = re.findall(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/.]+)\)", PAGE)
THREATS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4 and "held by" not in line
]


@pytest.mark.parametrize(("test", "path"), sorted(set(NAMED)))
def test_threats__the_tests_that_are_named_exist(test: str, path: str) -> None:
    assert re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path} has no {test}"


def test_threats__each_is_held_by_a_test() -> None:
    assert len(THREATS) > 20
    assert [line for line in THREATS if "[`test_" not in line] == []
