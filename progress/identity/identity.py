"""Who a client is."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from django.contrib.auth.models import AnonymousUser

from ..source.store import type_of_user


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client has shown, by which it is checked again while its connection lasts (`identity.recheck`)."""

    kind: Literal["session", "token"]
    user_id: Any
    password_hash: str = field(repr=False)  # of the user's password, or the beginning of it: a new password changes it
    backend: str = ""  # that authenticated a session's user
    session_key: str = field(default="", repr=False)


class Identity(NamedTuple):
    """The user of a client, as the database had them.

    Args:
        user: The user.
        expires: When the client's token expires; None if a cookie or nothing identifies it.
        proof: What identifies it; None if nothing does.

    """

    user: type_of_user
    expires: datetime | None = None
    proof: Proof | None = None


ANYBODY = Identity(AnonymousUser())
