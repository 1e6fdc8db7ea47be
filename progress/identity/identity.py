"""Who a client is."""

from dataclasses import dataclass
from datetime import datetime

from ..source.store import type_of_user


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a client, and when its token expires; None if a cookie or nothing identifies it."""

    user: type_of_user
    expires: datetime | None = None
