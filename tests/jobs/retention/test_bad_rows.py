"""Rows that no lifecycle makes go like others."""

from typing import Any

import pytest
from django.db import connection

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.retention import deletion
from jobs.retention.pruning import Retention, prune
from tests.jobs.bad_rows import of_each_kind, spoil
from tests.jobs.retention.conftest import age, lengthen

pytestmark = pytest.mark.django_db(transaction=True)


@of_each_kind
@pytest.mark.parametrize("events", [10, 1_500])
def test_delete__of_a_row_that_can_t_be_shown(make_job: Any, bad: dict[str, Any], events: int) -> None:
    for name in "ab":
        make_job(name, status="completed")
        lengthen(name, events)
        age(10, name)
        spoil(name, bad)
    ProcessingJobLifecycle("a").delete()
    list(prune(Retention({"completed": 1, bad.get("status", "failed"): 1})))
    for job_id in deletion.left(connection):
        list(deletion.delete_left(connection, job_id))
    assert not ProcessingJob.stored.exists()
