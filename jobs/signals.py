"""The seam between the jobs and those who show them, or run them."""

from django.dispatch import Signal

# Sent after the commit of each event, in the thread that wrote it, with ``event: jobs.events.Event``.
# Receivers must be quick; what they raise is logged and harms no job.
job_event_committed = Signal(use_caching=True)

# Sent after the commit of a job's deletion, in the thread that deleted it, with ``job_id: str``. The same holds.
job_deleted = Signal()

# Sent after the commit by which a job was queued again, since its worker was lost, with ``job: ProcessingJob``: whoever
# has queues has it run. Sent again, every few seconds, while a receiver raises an exception, and where the process died
# before it had told all; so it may come twice.
job_requeued = Signal()
