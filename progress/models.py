"""What is stored of tokens: those that the site has issued, and those that were revoked."""

from django.conf import settings
from django.db import models
from django.utils import timezone

MAX_BY = 300  # characters


class AccessToken(models.Model):
    """What is known of a token by its name, ``jti``; never the token itself, which admits whoever has it.

    Of another service's token there is a row only once it was revoked, with little but its name.
    """

    jti = models.CharField("name", primary_key=True, max_length=128)
    note = models.CharField(max_length=200, blank=True, help_text="What it is for, or whom it was given to.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,  # a row stays as it is when its user is deleted, which ends the token
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whom it identifies; empty if it admits without a user.",
    )
    watch = models.JSONField(null=True, blank=True, help_text="What it narrows or grants, as the token says it.")
    expires = models.DateTimeField(null=True, blank=True, help_text="Empty if another service has issued it.")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=MAX_BY, blank=True, help_text="Who, in words that outlive a user.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=MAX_BY, blank=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "token"
        indexes = (models.Index(fields=["expires"], name="token_expires"),)

    def __str__(self) -> str:
        return self.note or self.jti
