"""Rows that can be read, whatever is wrong with others."""

import logging

from django.db import Error, models

from .models import ProcessingJob

logger = logging.getLogger(__name__)


def readable(jobs: "models.QuerySet[ProcessingJob]") -> list[ProcessingJob]:
    """Return jobs but for those whose row can't be read: an import may store what Python does not take.

    Raises:
        Error: The database does not answer.

    """
    try:
        return list(jobs)
    except Error:
        raise
    except Exception:
        found: list[ProcessingJob] = []
    for pk in jobs.values_list("pk", flat=True):
        try:
            found += ProcessingJob.objects.using(jobs.db).filter(pk=pk)
        except Error:
            raise
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            logger.warning("Job %s can't be read: %r", pk, error)
    return found
