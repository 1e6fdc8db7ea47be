"""Keeping and deleting jobs in the admin: with Django's own pages, which would load every event to show it."""

import contextlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.actions import delete_selected
from django.db.models import Model, ProtectedError, QuerySet, RestrictedError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from .. import action_admin
from ..database import connection_to_write
from ..exceptions import JobNotFound
from ..lifecycle import ProcessingJobLifecycle
from ..models import ProcessingJob
from .deletion import collected

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[ProcessingJob]
else:
    ModelAdmin = admin.ModelAdmin

NAMES_SHOWN = 50  # of jobs that are to be deleted; those beyond are counted


class RetentionAdmin(ModelAdmin):
    """Keeps and deletes jobs by their lifecycles, the latter for whoever has Django's permission to delete jobs."""

    _act: Callable[..., None]  # does something to each job, and shows a message for each

    @admin.action(description="Keep for good", permissions=["control"])
    def keep_jobs(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Have the chosen jobs never pruned."""
        self._act(request, queryset, action_admin.keep)

    @admin.action(description="Let go when they are old", permissions=["control"])
    def let_go(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Have the chosen jobs pruned like others."""
        self._act(request, queryset, action_admin.let_go)

    @admin.action(description="Delete", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> HttpResponseBase | None:
        """Ask, as Django does, then delete the chosen jobs."""
        *_, lacking, forbidding = self.get_deleted_objects(queryset, request)
        if lacking or forbidding or not request.POST.get("post"):
            return delete_selected(self, request, queryset)
        self.log_deletions(request, queryset)
        self._act(request, queryset, action_admin.delete, logs=False)
        return None

    def delete_model(self, request: HttpRequest, obj: ProcessingJob) -> None:
        """Delete a job."""
        with contextlib.suppress(JobNotFound):  # deleted by another meanwhile
            action_admin.delete(ProcessingJobLifecycle(obj.pk), request.user)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Go back to the list; Django would not, since nobody may change a job."""
        response = super().response_delete(request, obj_display, obj_id)
        if not isinstance(response, HttpResponseRedirect):
            return response
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(page, current_app=self.admin_site.name))

    def get_deleted_objects(
        self, objs: "Collection[ProcessingJob] | QuerySet[ProcessingJob]", request: HttpRequest
    ) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        """Return what the page that asks shows: names, counts, which permissions lack, and what forbids it."""
        jobs = list(objs)
        names = [f"Job {str(job)!r}" for job in jobs[:NAMES_SHOWN]]
        if len(jobs) > NAMES_SHOWN:
            names.append(f"{len(jobs) - NAMES_SHOWN:,} more")
        counts: dict[str, Any] = {"jobs": f"{len(jobs):,}", "events": f"{sum(job.seq for job in jobs):,} at most"}
        try:
            others = collected(connection_to_write().alias, jobs).others()
        except (ProtectedError, RestrictedError) as error:
            return names, counts, set(), [str(error.args[0])]
        counts |= {str(model._meta.verbose_name_plural): number for model, number in others.items()}
        lacking = {str(model._meta.verbose_name) for model in others if not self._may_delete(request, model)}
        return names, counts, lacking, []

    def _may_delete(self, request: HttpRequest, model: type[Model]) -> bool:
        of_model = self.admin_site._registry.get(model)
        return of_model is None or of_model.has_delete_permission(request)
