"""In the admin: by what the list of jobs can be narrowed."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .models import ProcessingJob

KINDS_SHOWN = 30  # the first by the alphabet; the search finds the others


class KindFilter(SimpleListFilter):
    """By the kinds of those jobs that the user may see."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        """Return the kinds that there are, each by a step in the index: DISTINCT would go through all jobs."""
        jobs = model_admin.get_queryset(request).order_by("kind").values_list("kind", flat=True)
        kinds: list[str] = []
        while len(kinds) < KINDS_SHOWN and (found := jobs.filter(kind__gt=kinds[-1] if kinds else "").first()):
            kinds.append(found)
        return [(kind, kind) for kind in kinds]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> "QuerySet[ProcessingJob]":
        """Return the jobs of the chosen kind; all, if none is chosen."""
        kind = self.value()
        return queryset if kind is None else queryset.filter(kind=kind)
