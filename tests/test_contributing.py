"""What is written for those who work on the project agrees with what the project does."""

import re

from tests.installation import ROOT

CHECKS = ROOT / ".ci" / "run"
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_workflow__runs_all_checks_with_the_pythons_that_they_look_for() -> None:
    version = r"\b3\.\d+\b"
    assert set(re.findall(version, WORKFLOW)) == set(re.findall(version, CHECKS.read_text())) >= {"3.11"}
    assert re.findall(r"run: (.+)", WORKFLOW) == [CHECKS.relative_to(ROOT).as_posix()]
    assert CHECKS.stat().st_mode & 0o111, "it is run as a program"


def test_pre_commit__calls_what_the_checks_call() -> None:
    """So no version of a tool stands there a second time."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    (targets,) = re.findall(r"make --keep-going ([a-z ]+) \|\|", CHECKS.read_text())
    assert re.findall(r"entry: (.+)", hooks) == [f"make {target}" for target in targets.split()]
    assert re.findall(r"repo: (.+)", hooks) == ["local"]


def test_contributing__names_what_the_tests_need() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    needed = re.findall(r"missing\+=\((.+)\)", CHECKS.read_text())
    named = re.findall(r"^\|[^|]+\| `([\w-]+)`", page, re.MULTILINE)
    assert sorted(["make", *named]) == sorted(needed)
    wheels = re.findall(r'python_version < "(.+)"', (ROOT / "requirements-dev.txt").read_text())
    assert re.findall(r"below Python ([\d.]+\d)", page) == wheels
