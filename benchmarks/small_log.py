"""A job of a million events, compacted and deleted: 20 workers and 50 watchers beside it hardly notice.

Workers report four times a second each, and 50 watch a job of ten events a second: first alone, then while the log of a
job that has ended is compacted, then while another of that size is deleted in the admin, whose watchers have to hear of
it at once, and whose rows are deleted meanwhile by the server's housekeeping.
"""

import http.client
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

from benchmarks import onlookers, pruning, site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site, finish

TITLE = "A job of 1,000,000 events is compacted and deleted, while 20 workers report"
EVENTS, WATCHERS, OWN_WATCHERS = 1_000_000, 50, 5
COMPACTED_SECONDS, LEFT_PERCENT, LATER_MS, TOLD_MS, MEMORY_MIB = 5.0, 0.1, 25.0, 50.0, 100.0
HOUSEKEEPING = {"JOBS_HOUSEKEEPING_SECONDS": "1"}
CSRF = "c" * 32
BEGINS_SECONDS = 3.0  # after the workers were started, who import for two

# An ended job, public, of so many events: ticks, a log line in ten thousand, four stages; written by SQL.
FILL = """
import sys
from django.db import connection
from django.utils import timezone
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
job_id, events = sys.argv[1], int(sys.argv[2])
ProcessingJobLifecycle.create(job_id, public=True).mark_started()
numbers = f"WITH RECURSIVE n(g) AS (SELECT 3 UNION ALL SELECT g + 1 FROM n WHERE g < {events}) SELECT g FROM n"
if connection.vendor == "postgresql":
    numbers = f"SELECT g FROM generate_series(3, {events}) g"
with connection.cursor() as cursor:
    cursor.execute(
        "INSERT INTO jobs_jobevent (job_id, seq, kind, status, progress, message, metadata, timestamp) "
        "SELECT %s, g, CASE WHEN g %% 10000 = 0 THEN 'log' WHEN g %% 250000 = 1 THEN 'stage' ELSE 'tick' END, "
        f"'in_progress', g * 100.0 / {events}, 'row number ' || g, %s, %s FROM ({numbers}) s",
        [job_id, '{"attempt": 1, "current": 1234, "total": 1000000, "rate": 100.0, "stage": "s"}', timezone.now()],
    )
ProcessingJob.objects.filter(pk=job_id).update(seq=events)
ProcessingJobLifecycle(job_id).mark_completed()
"""
# Compacts the log of a job; prints the seconds that this took, and how many rows are left.
COMPACT = """
import sys, time
from jobs.models import JobEvent
from jobs.retention.compaction import compact
began = time.monotonic()
assert compact(sys.argv[1])
print(time.monotonic() - began, JobEvent.objects.filter(job_id=sys.argv[1]).count())
"""
# Ten events a second of one job, for so many seconds.
LIVE = """
import sys, time
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("live")
end, step = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    step += 1
    job.mark_progress(step % 100, metadata={"sent": time.time()})
    time.sleep(0.1)
"""
BEGIN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("live", public=True).mark_started()
user = User.objects.create_superuser("admin", "a@example.org", "password")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session.save()
print(session.session_key)
"""


def measure(options: Options) -> Result:
    """Measure on SQLite and on PostgreSQL, both with Redis."""
    result = Result("small_log", TITLE)
    with site.redis() as redis_url, site.postgres() as url:
        if redis_url is None:
            result.remarks.append("Left out: it needs Redis.")
            return result
        for name, database in (("SQLite", ""), ("PostgreSQL", url)):
            if database is not None:
                place = site.installed(options.folder / name, database, redis_url, **HOUSEKEEPING)
                _Scene(place, *((20_000, 4.0) if options.is_quick else (EVENTS, 12.0))).play(result, name, options)
    return result


class _Scene:
    """One installation, and what was seen there."""

    def __init__(self, place: Site, events: int, seconds: float) -> None:
        self.place, self.events, self.seconds = place, events, seconds
        self.session = place.worker(BEGIN).strip()
        self.served = place.serve()
        self.found: dict[str, list[float]] = {}

    def play(self, result: Result, name: str, options: Options) -> None:
        """Do all in turn, and add what was found."""
        for number in range(min(options.rounds, 3)):
            compacted, deleted = f"compacted-{number}", f"deleted-{number}"
            for job_id in (compacted, deleted):
                self.place.worker(FILL, job_id, str(self.events))
            self._beside("alone", lambda: None)
            self._beside("while compacting", lambda job_id=compacted: self._compact(job_id))
            self._beside("while deleting", lambda job_id=deleted: self._delete(job_id))
        self.served.stop()
        units = {"seconds": "s", "rows left": "%", "memory more": "MiB"}
        for what, figures in self.found.items():
            unit = next((unit for words, unit in units.items() if words in what), "ms")
            result.rows.append(Row(f"{name}, {what}", figures, unit))
        for what, most in (
            ("compaction, seconds", COMPACTED_SECONDS),
            ("compaction, rows left", LEFT_PERCENT),
            ("deletion, watchers told after", TOLD_MS),
            ("deletion, memory more", MEMORY_MIB),
        ):
            row = result.row(f"{name}, {what}")
            result.ratios.append(Ratio(row.name, row.median, most, at_least=False, unit=row.unit))
        alone = statistics.median(self.found["slowest report, alone"])
        for when in ("while compacting", "while deleting"):
            later = statistics.median(self.found[f"slowest report, {when}"]) - alone
            result.ratios.append(Ratio(f"{name}, slowest report {when}, later by", later, LATER_MS, False, "ms"))

    def _note(self, what: str, figure: float) -> None:
        self.found.setdefault(what, []).append(figure)

    def _beside(self, when: str, act: Callable[[], None]) -> None:
        """Let the workers report and the watchers watch while something is done."""

        def acting() -> None:
            time.sleep(BEGINS_SECONDS)
            act()

        with onlookers.there(f"{self.served.ws_url}/progress/ws/live", WATCHERS) as crowd, ThreadPoolExecutor() as pool:
            live = self.place.start_worker(LIVE, str(self.seconds + 2))
            done = pool.submit(acting)
            self._note(f"slowest report, {when}", pruning.slowest(self.place, self.seconds))
            done.result()  # or it has failed, and so has the benchmark
            finish(live)
            seen = crowd.seen()
        if seen["gaps"] or seen["snapshots"] != WATCHERS:
            raise RuntimeError(f"{when}: {seen['gaps']} gaps, {seen['snapshots'] - WATCHERS} unasked snapshots")
        self._note(f"p99 of the slowest watcher, {when}", seen["p99"])

    def _compact(self, job_id: str) -> None:
        seconds, left = map(float, self.place.worker(COMPACT, job_id).split())
        self._note("compaction, seconds", seconds)
        self._note("compaction, rows left", 100 * left / self.events)

    def _delete(self, job_id: str) -> None:
        before, most = site.memory(self.served), 0.0
        with onlookers.there(f"{self.served.ws_url}/progress/ws/{job_id}", OWN_WATCHERS) as crowd:
            began = time.time()
            self._post(f"/admin/jobs/processingjob/{job_id}/delete/")
            for _ in range(40):
                most = max(most, site.memory(self.served))
                time.sleep(0.1)
            gone = crowd.seen()["gone_at"]
        if not all(gone):
            raise RuntimeError("a watcher of the deleted job was not told")
        self._note("deletion, watchers told after", 1e3 * (max(gone) - began))
        self._note("deletion, memory more", most - before)

    def _post(self, path: str) -> None:
        headers = {
            "Cookie": f"sessionid={self.session}; csrftoken={CSRF}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=60)
        connection.request("POST", path, urlencode({"csrfmiddlewaretoken": CSRF, "post": "yes"}), headers)
        status = connection.getresponse().status
        if status != 302:
            raise RuntimeError(f"the admin answered {status}")
        connection.close()
