"""What can go wrong with a job. Each is the caller's to handle, and changed nothing.

JobError
├── JobNotFound
├── DuplicateJob
├── InvalidTransition
├── StaleAttempt
├── InvalidValue (also a ValueError)
└── JobCancelled
"""


class JobError(Exception):
    """The base of all that this app raises."""


class JobNotFound(JobError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")


class DuplicateJob(JobError):
    """A job with this id exists already."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"A job {job_id!r} exists already; give another id, or none to have one generated.")


class InvalidTransition(JobError):
    """The job's status does not allow the change."""

    def __init__(self, job_id: str, current: str, new: str) -> None:
        super().__init__(f"Job {job_id!r} is {current}; it can't become {new}.")
        self.current = current
        self.new = new


class StaleAttempt(JobError):
    """The job has been started anew since; this run's reports no longer count."""

    def __init__(self, job_id: str, attempt: int, current: int) -> None:
        super().__init__(f"Attempt {attempt} of job {job_id!r} is over (now: attempt {current}); stop working on it.")


class InvalidValue(JobError, ValueError):
    """An argument is out of its bounds."""


class JobCancelled(JobError):
    """Somebody asked for the job to be cancelled; raised in the worker, at its next report."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id!r} is to be cancelled.")
