"""Scripts that run in a worker's process, with Django set up. Each prints a line of JSON."""

import json
import subprocess
from typing import Any

from benchmarks import harness
from tests.installation import Site

SECONDS = 300.0  # how long a worker may take

PIN = """
import json, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
from benchmarks import payload
from jobs.lifecycle import ProcessingJobLifecycle
"""

# Reports progress of one job: so many events, so many a second (0: full speed).
REPORT = (
    PIN
    + """
from benchmarks.peers.stamps import stamp_commits
events, rate = int(sys.argv[2]), float(sys.argv[3])
lifecycle = ProcessingJobLifecycle(payload.JOB)
stamps, began = stamp_commits(), time.monotonic()
for number in range(1, events + 1):
    if rate:
        time.sleep(max(0, began + number / rate - time.monotonic()))
    fields = payload.fields(number)
    lifecycle.mark_progress(fields["progress"], message=fields["message"], stage="s3")
print(json.dumps({"began": began, "stamps": stamps}))
"""
)

# Makes and starts jobs: so many, named like this.
MAKE_JOBS = (
    PIN
    + """
jobs, name = int(sys.argv[2]), sys.argv[3]
for number in range(jobs):
    ProcessingJobLifecycle.create(name.format(number), public=True).mark_started()
print("{}")
"""
)

# Reports progress of so many jobs in turn, so often each.
REPORT_MANY = (
    PIN
    + """
jobs, turns = int(sys.argv[2]), int(sys.argv[3])
lifecycles = [ProcessingJobLifecycle(f"job-{number}") for number in range(jobs)]
began = time.monotonic()
for turn in range(1, turns + 1):
    fields = payload.fields(turn)
    for lifecycle in lifecycles:
        lifecycle.mark_progress(fields["progress"], message=fields["message"], stage="s3")
print(json.dumps({"began": began, "stamps": []}))
"""
)

# The same, as the tutorial would have it, through a Redis: save the model, then group_send through async_to_sync.
REPORT_MANY_TUTORIAL = (
    PIN
    + """
from asgiref.sync import async_to_sync
from channels_redis.core import RedisChannelLayer
from jobs.models import ProcessingJob
count, turns = int(sys.argv[2]), int(sys.argv[3])
layer = RedisChannelLayer(hosts=[sys.argv[4]])
jobs = [ProcessingJob.objects.get(pk=f"job-{number}") for number in range(count)]
began = time.monotonic()
for turn in range(1, turns + 1):
    fields = payload.fields(turn, separators=payload.SPACED)
    for job in jobs:
        job.progress, job.message, job.metadata = fields["progress"], fields["message"], fields["metadata"]
        job.save()
        message = {**fields, "job_id": job.pk, "seq": turn}
        async_to_sync(layer.group_send)(f"progress_{job.pk}", {"type": "job.progress", "message": message})
print(json.dumps({"began": began, "stamps": []}))
"""
)


def work(site: Site, script: str, *arguments: float | str) -> dict[str, Any]:
    """Run a script on the client's core, and return what it prints."""
    process = site.start_worker(script, str(harness.CLIENT_CORE), *map(str, arguments))
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError("a worker took too long") from None
    if process.returncode:
        raise RuntimeError(f"a worker failed:\n{errors[-3000:]}")
    printed: dict[str, Any] = json.loads(output)
    return printed
