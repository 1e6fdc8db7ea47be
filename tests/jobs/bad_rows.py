"""Rows that no lifecycle makes, as the ORM or an import can."""

import json
from typing import Any

import pytest
from django.db import connection

from jobs.models import JobEvent, ProcessingJob

INNER = {"attempt": "x", "current": "a", "total": [], "rate": {}, "eta_seconds": "soon", "unit": 5, "stage": {"a": 1}}

# JSON as it stands in the database, or other fields. Python can't read the last ones at all.
SHOWABLE = {"wrong types in the metadata": {"metadata": json.dumps(INNER)}}
UNSHOWABLE = {
    "metadata is a list": {"metadata": "[]"},
    "metadata is a text": {"metadata": '"text"'},
    "metadata is a number": {"metadata": "5"},
    "metadata is null": {"metadata": "null"},
    "a number that is infinite": {"metadata": '{"current": 1e400}'},
    "half of a surrogate pair": {"metadata": r'{"stage": "\ud800", "error": "\ud800"}'},
    "progress below 0": {"progress": -5.0},
    "progress above 100": {"progress": 101.0},
    "progress is infinite": {"progress": float("inf")},
    "unknown status": {"status": "weird"},
}
UNREADABLE = {"a number of too many digits": {"metadata": f'{{"current": {"9" * 5000}}}'}}

of_each_kind = pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name) for name, bad in [*SHOWABLE.items(), *UNSHOWABLE.items(), *UNREADABLE.items()]]
)
of_each_that_can_not_be_shown = pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name) for name, bad in [*UNSHOWABLE.items(), *UNREADABLE.items()]]
)


def spoil(job_id: str, bad: dict[str, Any]) -> None:
    """Store something in a job's row and its events, as it is."""
    for model, key in ((ProcessingJob, "id"), (JobEvent, "job_id")):
        columns = ", ".join(f"{name} = %s" for name in bad)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {model._meta.db_table} SET {columns} WHERE {key} = %s", [*bad.values(), job_id])
