"""Who a client is."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from django.contrib.auth.models import AnonymousUser

from ..source.store import type_of_user
from .grant import Grant
from .rights import Rights


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client has shown, by which it is checked again while its connection lasts (`identity.recheck`)."""

    kind: Literal["session", "token"]
    user_id: Any  # None of a token that admits without a user
    password_hash: str = field(repr=False)  # of the user's password, or the beginning of it: a new password changes it
    backend: str = ""  # that authenticated a session's user
    session_key: str = field(default="", repr=False)
    jti: str = ""  # the name of a token, by which it can be revoked
    grant: Grant | None = None  # what a token names; None if it leaves its user what they may see

    def __hash__(self) -> int:  # of all fields it would take longer, and proofs are looked up for each idle socket
        return hash((self.user_id, self.session_key, self.jti))


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

    @property
    def key(self) -> Hashable:
        """The same for those with this user, as read last, whose tokens name the same: quicker than rights to find."""
        user, _, proof = self
        if proof is None:
            return user
        return id(user) if proof.grant is None else (id(user), proof.grant)


ANYBODY = Identity(AnonymousUser())
