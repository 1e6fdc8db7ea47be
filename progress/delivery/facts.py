"""What decides who may watch a job, and else is in no event."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ..source.store import Head

if TYPE_CHECKING:
    from ..source.store import ProcessingJob


class Facts(NamedTuple):
    """Which stream a job is, and whatever of it can be edited: that may be all that an access policy goes by."""

    epoch: str
    owner_id: Any
    public: bool
    name: str

    @classmethod
    def of(cls, stored: "Head | ProcessingJob") -> "Facts":
        """Return the facts in a row, or in its head."""
        return cls(stored.epoch, stored.owner_id, stored.public, stored.name)
