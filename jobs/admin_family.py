"""On a job's page in the admin: the way to the job that it is a part of, and to those that are parts of it."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .models import ProcessingJob

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

NONE = SafeString("-")


def link_to_parent(shown: "ModelAdmin[Any]", job: ProcessingJob) -> SafeString:
    """Return a link to the parent, by its id: who may see the job may perhaps not see what that is called."""
    if job.parent_id is None or not ProcessingJob.objects.filter(pk=job.parent_id).exists():
        return NONE
    return format_html('<a href="{}">{}</a>', _url(shown, "change", job.parent_id), job.parent_id)


def link_to_children(shown: "ModelAdmin[Any]", job: ProcessingJob) -> SafeString:
    """Return a link to the list of those children that the user may see."""
    if not ProcessingJob.objects.filter(parent=job.pk).exists():
        return NONE
    query = urlencode({"parent__exact": job.pk})
    return format_html('<a href="{}?{}">{}</a>', _url(shown, "changelist"), query, "Show them")


def _url(shown: "ModelAdmin[Any]", page: str, *arguments: str) -> str:
    options = shown.opts
    return reverse(f"{shown.admin_site.name}:{options.app_label}_{options.model_name}_{page}", args=arguments)
