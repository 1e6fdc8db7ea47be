"""What ``make audit`` makes of each answer: the worst is one that looks like another."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.installation import ROOT

FOUND = "django 1.0 PYSEC-1"

# Stands in for pip-audit: it takes ``--output FILE``, and writes there only if it could ask for all.
PROGRAM = """#!/bin/sh
echo "$@" >>"$0.asked"
while [ "$1" != --output ]; do shift; done
case {answer} in
    clean) exit 0 ;;
    vulnerable) echo "{found}" >"$2"; exit 1 ;;
    away) echo "ConnectionError: no route" >&2; exit 1 ;;
    slow) [ "$(wc -l <"$0.asked")" -gt 2 ] && exit 0; exit 1 ;;
esac
"""


def audit(folder: Path, answer: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    program = folder / "pip-audit"
    program.write_text(PROGRAM.format(answer=answer, found=FOUND))
    program.chmod(0o755)
    (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    env = {**os.environ, "AUDIT_PAUSE_SECONDS": "0", **environment}
    command = [ROOT / ".ci" / "audit", program, folder]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    return done, Path(f"{program}.asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("answer", "status", "words", "times"),
    [
        ("clean", 0, "No known vulnerabilities", 1),
        ("vulnerable", 1, FOUND, 1),
        ("away", 2, "NOT AUDITED", 3),
        ("slow", 0, "No known vulnerabilities", 3),
    ],
)
def test_audit__each_answer(tmp_path: Path, answer: str, status: int, words: str, times: int) -> None:
    done, asked = audit(tmp_path, answer)
    assert (done.returncode, len(asked)) == (status, times), done.stderr
    assert words in done.stdout + done.stderr
    assert all("--strict" in each for each in asked), "or an index that knows nothing would be one that finds nothing"


def test_audit__that_was_not_made_is_told_where_nobody_relies_on_it(tmp_path: Path) -> None:
    done, _ = audit(tmp_path, "away", AUDIT_UNREACHABLE="tell")
    assert done.returncode == 0
    assert "NOT AUDITED" in done.stderr


def test_audit__of_a_vulnerability_nothing_excuses(tmp_path: Path) -> None:
    assert audit(tmp_path, "vulnerable", AUDIT_UNREACHABLE="tell")[0].returncode == 1
