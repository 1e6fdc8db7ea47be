"""A job's stream begins anew where its log was set back: by a restored backup, say."""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Least

from .database import with_retries
from .ids import renewed
from .models import ProcessingJob


def renew_epoch(job_id: str, epoch: str) -> None:
    """Give a job whose log was set back, to a restored backup, say, a new epoch, unless another process has done so.

    Positions of the old epoch stand for events that are gone; a client that sends one gets a snapshot. The attempt
    stays the same for its worker. If a worker holds the row at this moment, nothing is done.
    """

    def renew(connection: BaseDatabaseWrapper) -> None:
        jobs = ProcessingJob.objects.using(connection.alias).filter(pk=job_id, epoch=epoch)
        with transaction.atomic(using=connection.alias):
            free = jobs.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
            if list(free.values_list("pk")):
                # All that follows is kept, whatever the floor was before.
                jobs.update(epoch=renewed(epoch), floor=Least("floor", "seq"))

    with_retries(renew)
