"""The publisher of a process: its end, and its children."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]


def script(source: str) -> str:
    """Run a worker in another process, and return what it prints."""
    head = """
        import os, sys
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import django
        django.setup()
        from progress.broker import layers
        from jobs.events import Event
        from jobs.states import EventKind
        from django.utils import timezone
        from progress.broker.publisher import Publisher

        class Printing:
            async def group_send(self, group, message):
                print(os.getpid(), group, [publication[2] for publication in message["events"]], flush=True)

        layers.get_channel_layer = lambda: Printing()
        publication = lambda seq: Event("job-1", "e", seq, EventKind.TICK, "in_progress", 0.0, "", {}, timezone.now())
    """
    text = textwrap.dedent(head) + textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def test_exit__waits_for_the_last_events():
    printed = script("""
        for seq in range(500):
            Publisher.of_this_process().put(publication(seq))
    """)
    assert printed.rstrip().endswith("499]")


def test_fork__the_child_has_its_own_publisher():
    printed = script("""
        Publisher.of_this_process().put(publication(1))
        Publisher.of_this_process().flush()
        Publisher._making.acquire()     # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            Publisher.of_this_process().put(publication(2))
            Publisher.of_this_process().flush()
            os._exit(0)
        os.waitpid(child, 0)
        Publisher._making.release()
        Publisher.of_this_process().put(publication(3))
        Publisher.of_this_process().flush()
    """)
    pids, seqs = zip(*[(line.split()[0], line.split()[2]) for line in printed.splitlines()], strict=True)
    assert seqs == ("[1]", "[2]", "[3]")
    assert pids[0] == pids[2] != pids[1]
