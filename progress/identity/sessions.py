"""Which sessions still sign somebody in, whatever keeps them."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.db import router
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from ..source.store import among
from ..source.vocabulary import MAX_IDS, batched

ENGINES_WITH_ROWS = {f"django.contrib.sessions.backends.{name}" for name in ("db", "cached_db")}
REMEMBERED = 50_000  # sessions, some 200 bytes each

# When sessions that signed somebody in were to expire. Each save of a session moves that, so what one holds is decoded
# only if it has been saved since: to decode those of all who watch, each time, would take longer than all else.
_signed_in: dict[str, str] = {}


def living(session_keys: Collection[str]) -> tuple[set[str], dict[str, Exception]]:
    """Return those sessions that have not ended and hold a user; and those that could not be asked for, and why.

    Raises:
        Error: The database does not answer.

    """
    if not session_keys:
        return set(), {}
    store = import_module(settings.SESSION_ENGINE).SessionStore
    found: set[str] = set()
    unclear: dict[str, Exception] = {}
    if settings.SESSION_ENGINE in ENGINES_WITH_ROWS:
        found = _with_rows(store, session_keys)
        if settings.SESSION_ENGINE.endswith(".db"):
            return found, {}
    for key in set(session_keys) - found:
        try:
            if auth.SESSION_KEY in store(key):  # which loads it, as a request would
                found.add(key)
        except Exception as error:  # of a cache that does not answer, say
            unclear[key] = error
    return found, unclear


def _with_rows(store: Any, session_keys: Collection[str]) -> set[str]:
    model = store.get_model_class()
    alias = router.db_for_write(model)
    # As text, which is compared with itself only: to make 5,000 of them times takes as long as to read them.
    expires = Cast("expire_date", TextField())
    rows = model.objects.using(alias).filter(expire_date__gt=timezone.now()).annotate(expires=expires)
    expiries = dict(rows.filter(among(session_keys)).values_list("pk", "expires"))
    found = {key for key, expires in expiries.items() if _signed_in.get(key) == expires}
    saved = expiries.keys() - found
    if len(_signed_in) + len(saved) > REMEMBERED:
        _signed_in.clear()
    for some in batched(saved, MAX_IDS):  # of which each may be large
        for key, data, expires in rows.filter(among(some)).values_list("pk", "session_data", "expires"):
            if auth.SESSION_KEY in store(key).decode(data):
                _signed_in[key] = expires
                found.add(key)
    return found
