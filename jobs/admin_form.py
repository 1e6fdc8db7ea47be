"""In the admin: the form that makes a job."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from . import validation
from .exceptions import DuplicateJob, InvalidValue
from .lifecycle import ProcessingJobLifecycle
from .models import ProcessingJob

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[ProcessingJob]
else:
    ModelForm = forms.ModelForm


class AddJobForm(ModelForm):
    """A new job. The form makes it as its last check: only the database knows whether an id is free."""

    id = forms.CharField(
        label="Id", required=False, help_text="1 to 64 letters, digits, '.', '_' or '-'. Empty: one is generated."
    )

    class Meta:
        model = ProcessingJob
        fields = ("id", "name", "kind", "owner", "public", "keep", "metadata")

    def clean_id(self) -> str | None:
        """Check the id, if one is given."""
        job_id: str = self.cleaned_data["id"]
        return _checked(validation.job_id, job_id) if job_id else None

    def clean_metadata(self) -> dict[str, Any]:
        """Check the metadata by the bounds of every writer."""
        checked: dict[str, Any] = _checked(validation.metadata, self.cleaned_data["metadata"] or {})
        return checked

    def clean(self) -> dict[str, Any]:
        """Make the job, if all the fields are good."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            arguments = {name: cleaned[name] for name in self.Meta.fields if name != "id"}
            try:
                self.instance = ProcessingJobLifecycle.create(cleaned["id"], **arguments).job
            except DuplicateJob as error:
                self.add_error("id", str(error))
            else:
                cleaned |= {"id": self.instance.pk, "metadata": self.instance.metadata}
        return cleaned

    def validate_unique(self) -> None:
        """Nothing to check: the job is made."""


def _checked(check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except InvalidValue as error:
        raise ValidationError(str(error)) from None
