"""What can go wrong with a job. Each is the caller's to handle, and changed nothing.

JobError
├── JobNotFound
├── DuplicateJob
├── InvalidTransition
├── StaleAttempt
├── InvalidValue (also a ValueError)
└── JobCancelled

Each can be pickled, as queues do, and says the same afterwards.
"""


class JobError(Exception):
    """The base of all that this app raises."""


class JobNotFound(JobError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"There is no job {self.job_id!r}."


class DuplicateJob(JobError):
    """A job with this id exists already, or is still being deleted."""

    def __init__(self, job_id: str, is_being_deleted: bool = False) -> None:
        super().__init__(job_id, is_being_deleted)
        self.job_id = job_id
        self.is_being_deleted = is_being_deleted

    def __str__(self) -> str:
        if self.is_being_deleted:
            return f"Job {self.job_id!r} is still being deleted; its id is free once its log is gone. Give another id."
        return f"A job {self.job_id!r} exists already; give another id, or none to have one generated."


class InvalidTransition(JobError):
    """The job's status does not allow the change."""

    def __init__(self, job_id: str, current: str, new: str) -> None:
        super().__init__(job_id, current, new)
        self.job_id = job_id
        self.current = current
        self.new = new

    def __str__(self) -> str:
        return f"Job {self.job_id!r} is {self.current}; it can't become {self.new}."


class StaleAttempt(JobError):
    """The job has been started anew since, or its worker was taken for dead; this run's reports no longer count."""

    def __init__(self, job_id: str, attempt: int, current: int) -> None:
        super().__init__(job_id, attempt, current)
        self.job_id = job_id
        self.attempt = attempt
        self.current = current

    def __str__(self) -> str:
        if self.attempt == self.current:
            return f"Attempt {self.attempt} of job {self.job_id!r} is over: its worker was lost; stop working on it."
        return (
            f"Attempt {self.attempt} of job {self.job_id!r} is over (now: attempt {self.current}); stop working on it."
        )


class InvalidValue(JobError, ValueError):
    """An argument is out of its bounds."""


class JobCancelled(JobError):
    """Somebody asked for the job to be cancelled; raised in the worker, at its next report."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"Job {self.job_id!r} is to be cancelled."
