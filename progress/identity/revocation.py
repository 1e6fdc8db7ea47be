"""Tokens that were revoked: by name, whoever has issued them."""

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import router, transaction
from django.utils import timezone

from ..models import AccessToken
from ..source.store import By, actor_of, most_ids, record_of_token
from ..source.vocabulary import ActionKind, batched
from .web_tokens import JTI

logger = logging.getLogger(__name__)

FORGOTTEN_AT_ONCE = 500  # tokens
KEPT_HOURS = 24.0  # after they have expired: by a clock that is behind, they are still valid


def revoke_token(jti: str, *, expires: datetime | None = None, by: By = None) -> bool:
    """Revoke a token, of this site or of another service: it admits nobody from here on.

    Open sockets that have shown it are closed within seconds, on every server. To revoke it again changes nothing.

    Args:
        jti: The token's name, its claim ``jti``.
        expires: When a token of another service expires, so that this can be forgotten then; else it never is.
        by: Who revokes it.

    Returns:
        Whether anything was known of a token of this name; of another service's, nothing is.

    Raises:
        InvalidValue: ``by`` is nobody who could be named.
        ValueError: There can be no token of this name.

    """
    if not JTI.fullmatch(jti):
        raise ValueError("a token's name has 1 to 128 characters, without spaces")
    with transaction.atomic(using=router.db_for_write(AccessToken)):
        row, is_new = AccessToken.objects.select_for_update().get_or_create(jti=jti, defaults={"expires": expires})
        if row.revoked_at is None:
            row.revoked_at, row.revoked_by = timezone.now(), str(actor_of(by))
            row.save(update_fields=["revoked_at", "revoked_by"])  # whose signal may hurry the access guard
            record_of_token(ActionKind.REVOKE, by, watch_of(row), f"token {jti}")
            logger.info("The token %s was revoked", jti)
    return not is_new


def watch_of(token: AccessToken) -> Collection[str]:
    """Return the jobs that a token names."""
    jobs = token.watch.get("jobs") if isinstance(token.watch, dict) else None
    return [str(job_id) for job_id in jobs or ()]


def revoked_among(jtis: Collection[str]) -> set[str]:
    """Return those of these tokens that were revoked; read where they are written, since a replica may lag."""
    alias = router.db_for_write(AccessToken)
    rows = AccessToken.objects.using(alias).filter(revoked_at__isnull=False)
    pieces = batched(jtis, most_ids(alias))
    return {jti for some in pieces for jti in rows.filter(jti__in=some).values_list("jti", flat=True)}


def forget_expired() -> None:
    """Delete what is known of some tokens that expired long ago, those of them first that expired first."""
    until = timezone.now() - timedelta(hours=KEPT_HOURS)
    expired = AccessToken.objects.filter(expires__lt=until).order_by("expires").values_list("pk", flat=True)
    AccessToken.objects.filter(pk__in=list(expired[:FORGOTTEN_AT_ONCE])).delete()
