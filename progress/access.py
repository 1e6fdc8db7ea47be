"""Hurries what decides who may see what: whoever changes that says so, and every server asks again at once.

Nothing rests on it. Each server asks every ``PROGRESS_ACCESS_SECONDS`` in any case (`progress.delivery.access_guard`),
and what it is told is only that something has changed: the answer is always the database's.
"""

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_out
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from .broker.publisher import tell_access_changed
from .conf import conf
from .delivery import hubs
from .models import AccessToken
from .source import edits

logger = logging.getLogger(__name__)

WRITTEN_BY_SIGN_INS = {"last_login"}


def access_changed(using: str | None = None) -> None:
    """Have every server ask soon whether those who watch may still do so, and whether they may see more.

    Call it where an access policy of your own reads other tables, and one of these has changed. Without it, that is
    noticed within ``PROGRESS_ACCESS_SECONDS`` and a moment. It can be called from anywhere, and does not raise.

    Args:
        using: The database that was written to; if a transaction is open there, the servers are told after its commit.

    """
    connection = connections[using or DEFAULT_DB_ALIAS]
    if connection.in_atomic_block:
        connection.on_commit(_tell, robust=True)
    else:
        _tell()


def _tell() -> None:
    try:
        hubs.access_changed()
        tell_access_changed()
    except Exception as error:  # whatever it is, it is not to fail what has just been saved
        logger.warning("The servers can't be told of a change (%r); they ask within %g s", error, conf.ACCESS_SECONDS)


def connect() -> None:
    """Connect to the signals of what Django's own accounts and the default policy decide by.

    Not to the deletion of sessions: with a receiver, ``clearsessions`` would read each row that it deletes.
    """
    user_model: Any = get_user_model()
    user_logged_out.connect(_signed_out, dispatch_uid="progress.access")
    edits.connect(access_changed)
    post_save.connect(_saved, sender=AccessToken, dispatch_uid="progress.access")  # of which a revocation is an update
    for model in user_model, Group:
        post_save.connect(_saved, sender=model, dispatch_uid="progress.access")
        post_delete.connect(_changed, sender=model, dispatch_uid="progress.access")
    relations = [getattr(user_model, name, None) for name in ("groups", "user_permissions")]
    for relation in *relations, Group.permissions:
        if through := getattr(relation, "through", None):  # a user model need not have these, or not as relations
            m2m_changed.connect(_changed, sender=through, dispatch_uid="progress.access")


def _signed_out(user: Model | None, **_: Any) -> None:
    if user is not None:
        access_changed(user._state.db)


def _saved(created: bool, update_fields: Any, using: str, **_: Any) -> None:
    if not created and (update_fields is None or set(update_fields) - WRITTEN_BY_SIGN_INS):
        access_changed(using)


def _changed(using: str, action: str = "post_", **_: Any) -> None:
    """Tell of a row that is gone, or of a relation, once it has changed."""
    if action.startswith("post_"):
        access_changed(using)
