"""The admin: lists tokens, makes share links, revokes; edits nothing by hand."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from .conf import conf
from .identity import web_tokens
from .identity.revocation import revoke_token
from .identity.tokens import issue_token
from .models import AccessToken
from .source.store import selectors
from .source.vocabulary import is_job_id

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[AccessToken]
    ModelForm = forms.ModelForm[AccessToken]
else:
    ModelAdmin, ModelForm = admin.ModelAdmin, forms.ModelForm

HOURS = 24  # that a share link is valid, unless something else is asked for


class ShareForm(ModelForm):
    """A share link to be made."""

    job_id = forms.CharField(label="Job", help_text="The id of a job that you may see.")
    hours = forms.IntegerField(min_value=1, initial=HOURS, help_text="How long whoever has the link may watch the job.")
    user: Any = None  # who asks

    class Meta:
        model = AccessToken
        fields = ("note",)

    def clean_job_id(self) -> str:
        """Check that it is a job that its user may share: one that they see."""
        job_id: str = self.cleaned_data["job_id"]
        if not is_job_id(job_id) or selectors.get_visible_job(self.user, job_id) is None:
            raise ValidationError("There is no such job, or it is not for you to see.")
        return job_id

    def clean_hours(self) -> int:
        """Check that no token lasts longer than the setting says."""
        hours: int = self.cleaned_data["hours"]
        most = int(conf.MAX_TOKEN_SECONDS // 3600)
        if hours > most:
            raise ValidationError(f"A token may last for {most:,} hours.")
        return hours


@admin.register(AccessToken)
class AccessTokenAdmin(ModelAdmin):
    """Tokens, newest first: those that the site has issued, and those that were revoked."""

    form = ShareForm
    list_display = ("__str__", "jti", "state", "admits_to", "user", "expires", "created_at", "created_by")
    list_filter = ("created_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("jti", "note")
    actions = ("revoke_tokens",)
    fields = (
        "jti",
        "note",
        "state",
        "admits_to",
        "user",
        "expires",
        "created_at",
        "created_by",
        "revoked_at",
        "revoked_by",
    )

    # Who may do what

    def has_change_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        """Nobody edits what is known of a token."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        """Nobody deletes it: a revoked token would be valid again."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        """Whoever may view or revoke tokens."""
        return super().has_view_permission(request, obj) or self.has_revoke_permission(request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may revoke tokens."""
        return super().has_change_permission(request)

    # A share link

    def get_form(
        self, request: HttpRequest, obj: AccessToken | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, which knows who asks."""
        return type("OurShareForm", (super().get_form(request, obj, change, **kwargs),), {"user": request.user})

    def get_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> Any:
        """Return what a share link takes, or what is known of a token."""
        return self.fields if obj else ("job_id", "hours", "note")

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        """Issue the token of a share link; the link is with the object while it is shown, and nowhere else."""
        data = form.cleaned_data
        page = request.build_absolute_uri(reverse("progress:job", args=[data["job_id"]]))
        token = issue_token(
            jobs=[data["job_id"]],
            seconds=data["hours"] * 3600,
            by=_by(request),
            note=data["note"],
        )
        obj.pk = web_tokens.decode(token).jti
        obj.refresh_from_db()
        obj.link = f"{page}#t={token}"  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: AccessToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the link, this once."""
        context = {**self.admin_site.each_context(request), "title": "Share link", "token": obj, "opts": self.opts}
        return TemplateResponse(request, "progress/share_link.html", context)

    # Showing

    @admin.display(description="State")
    def state(self, token: AccessToken) -> str:
        """Show whether it is valid."""
        if token.revoked_at is not None:
            return "Revoked"
        return "Expired" if token.expires is not None and token.expires <= timezone.now() else "Valid"

    @admin.display(description="Admits to")
    def admits_to(self, token: AccessToken) -> str:
        """Show what it narrows or grants."""
        if not isinstance(token.watch, dict):
            return "What its user may see" if token.user_id is not None else "-"
        jobs, feed = token.watch.get("jobs"), token.watch.get("feed")
        named = [f"jobs {', '.join(map(str, jobs))}" if jobs else "", f"the feed {feed}" if feed else ""]
        return "; ".join(filter(None, named))

    # Revoking

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: "QuerySet[AccessToken]") -> None:
        """Revoke the chosen tokens."""
        for token in queryset:
            revoke_token(token.jti, by=_by(request))
            self.log_change(request, token, "Revoked.")
            self.message_user(request, f"Token {str(token)!r}: revoked.", messages.SUCCESS)


def _by(request: HttpRequest) -> Any:
    """Return who does it: somebody who is signed in, or the admin would not have let them come here."""
    return request.user
