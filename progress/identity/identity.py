"""Who a client is."""

from dataclasses import dataclass
from datetime import datetime

from ..source.store import type_of_user


@dataclass(frozen=True, slots=True)
class Identity:
    """Who watches, and until when they may; None for as long as they like."""

    user: type_of_user
    expires: datetime | None = None
