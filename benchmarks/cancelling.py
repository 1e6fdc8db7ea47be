"""From a POST in the admin to `JobCancelled` in the worker: at most a second, 20 times of 20.

The worker counts, or it waits for something and only looks now and then whether it is to stop.
"""

import http.client
import json
import time
from urllib.parse import urlencode

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Served, Site

TITLE = "A request to cancel reaches the worker"
TIMES, SECONDS = 20, 1.0
CSRF = "c" * 32
WAYS = {"a loop that counts": "count", "work that only looks": "look"}
SESSION = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
user = get_user_model().objects.create_superuser("admin", password="not needed")
session = SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""
# Runs a job until it is cancelled; prints its id, and when the exception came.
WORK = """
import json, sys, time
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
how = sys.argv[1]
job = ProcessingJobLifecycle.create()
with Reporter(job) as report:
    print(job.job_id, flush=True)
    try:
        while True:
            time.sleep(0.01)
            if how == "count":
                report.advance()
            elif report.cancel_requested:
                report.advance(0)
    finally:
        print(json.dumps(time.time()), flush=True)
"""


def measure(options: Options) -> Result:
    """Cancel job after job, on SQLite alone and with PostgreSQL and Redis."""
    result = Result("cancelling", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite"), options)
    with site.redis_and_postgres(result) as urls:
        if urls is not None:
            redis_url, database_url = urls
            _on(result, "PostgreSQL and Redis", site.installed(options.folder / "pg", database_url, redis_url), options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    session = place.worker(SESSION).strip()
    served = place.serve()
    try:
        for words, how in WAYS.items():
            times = [_seconds(place, served, session, how) for _ in range(TIMES // 4 if options.is_quick else TIMES)]
            row = Row(f"{name}, {words}: the slowest of {len(times)}", [max(times)], "s", f"median {_median(times)} s")
            result.rows.append(row)
            result.ratios.append(Ratio(row.name, row.median, SECONDS, at_least=False, unit="s"))
    finally:
        served.stop()


def _median(times: list[float]) -> str:
    return f"{sorted(times)[len(times) // 2]:.2f}"


def _seconds(place: Site, served: Served, session: str, how: str) -> float:
    worker = place.start_worker(WORK, how)
    assert worker.stdout is not None
    job_id = worker.stdout.readline().strip()
    time.sleep(0.7)  # so that it is between two reports, at any moment
    began = time.time()
    headers = {
        "Cookie": f"sessionid={session}; csrftoken={CSRF}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    fields = {"csrfmiddlewaretoken": CSRF, "action": "cancel_jobs", "_selected_action": job_id}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("POST", "/admin/jobs/processingjob/", urlencode(fields), headers)
    status = connection.getresponse().status
    connection.close()
    output, errors = worker.communicate(timeout=60)
    if status != 302 or worker.returncode:
        raise RuntimeError(f"the admin answered {status}; the worker: {errors[-2000:]}")
    return float(json.loads(output)) - began
