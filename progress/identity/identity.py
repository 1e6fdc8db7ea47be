"""Who a client is."""

from datetime import datetime
from typing import Any, Literal, NamedTuple

from django.contrib.auth.models import AnonymousUser

from ..source.store import type_of_user
from .grant import Grant
from .rights import Rights


class Proof(NamedTuple):
    """What a client has shown, by which it is checked again while its connection lasts (`identity.recheck`).

    A tuple, since proofs are looked up for each idle socket every few seconds.

    Args:
        kind: What it is.
        user_id: The user's; None of a token that admits without a user.
        password_hash: Of the user's password, or the beginning of it: a new password changes it.
        backend: That authenticated a session's user.
        session_key: The session's.
        jti: The name of a token, by which it can be revoked.
        grant: What a token names; None if it leaves its user what they may see.

    """

    kind: Literal["session", "token"]
    user_id: Any
    password_hash: str
    backend: str = ""
    session_key: str = ""
    jti: str = ""
    grant: Grant | None = None

    def __repr__(self) -> str:  # without what is secret
        return f"Proof({self.kind!r}, {self.user_id!r}, {self.backend!r}, {self.jti!r}, {self.grant!r})"


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

    @property
    def rights(self) -> Rights:
        """What decides what the client may see."""
        return Rights(self.user, None if self.proof is None else self.proof.grant)


ANYBODY = Identity(AnonymousUser())
