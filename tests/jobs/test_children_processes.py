"""Children whose parent's code runs in another process, or nowhere."""

import pytest

from tests.conftest import MakeSite
from tests.sampling import first_quick

MAKE = """
from jobs.lifecycle import ProcessingJobLifecycle
parent = ProcessingJobLifecycle.create("parent")
parent.mark_started()
for number in range(4):
    ProcessingJobLifecycle.create(f"child-{number}", parent=parent)
"""
END = """
import os, sys
from jobs.lifecycle import ProcessingJobLifecycle
child = ProcessingJobLifecycle(sys.argv[1])
child.mark_started()
child.mark_completed()
os._exit(0)  # as a forked worker ends: nothing that waits for the end of the process is done
"""
TICK = """
from jobs.lifecycle import ProcessingJobLifecycle
child = ProcessingJobLifecycle("child-0")
child.mark_started()
child.mark_progress(20)
child.mark_progress(40)
"""


@pytest.mark.parametrize("backend", first_quick(["sqlite", "postgres"]))
@pytest.mark.slow
def test_parent__is_told_by_other_processes(make_site: MakeSite, backend: str) -> None:
    site = make_site(backend)
    site.worker(MAKE)
    assert site.job("parent")["metadata"]["child_jobs"] == 4
    site.worker(TICK)
    assert site.job("parent")["progress"] == 10, "a process that ends tells what it has not told yet"
    for number in range(1, 4):
        site.worker(END, f"child-{number}")
        assert site.job("parent")["progress"] == 10 + 25 * number
