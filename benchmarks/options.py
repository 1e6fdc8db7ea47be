"""How much to measure."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Options:
    """How many rounds, how long each, and where files may go meanwhile."""

    folder: Path
    rounds: int = 5
    seconds: float = 3.0

    @classmethod
    def quick(cls, folder: Path) -> "Options":
        """Return enough to see that everything works, not enough to believe a figure."""
        return cls(folder, rounds=2, seconds=1.0)

    @property
    def is_quick(self) -> bool:
        """Whether this is the quick form."""
        return self.rounds < 3
