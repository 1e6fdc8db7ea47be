import subprocess
import sys

from tests import ports
from tests.installation import ROOT


def test_free_port__is_given_once_also_before_anything_listens_there(monkeypatch):
    """The server of one test, slow to start, had another test's answer for it."""
    other = subprocess.Popen(
        [sys.executable, "-c", "from tests import ports; print(ports.free_port(), flush=True); input()"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    of_other, own = int(other.stdout.readline()), ports.free_port()
    monkeypatch.setattr(ports, "_given", set(ports._given))
    offered = iter([of_other, own, of_other + 1, of_other + 2, of_other + 3])
    monkeypatch.setattr(ports._random, "randint", lambda first, last: next(offered))
    assert ports.free_port() not in {of_other, own}
    other.communicate("\n")
    assert other.returncode == 0
