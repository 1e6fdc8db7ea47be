"""What a claim hands back: rows of figures, and ratios held against the target."""

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One measured thing, over all rounds."""

    name: str
    figures: list[float]
    unit: str
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.figures)


@dataclass
class Ratio:
    """A figure that has a target: at least or at most so much."""

    claim: str
    figure: float
    target: float
    at_least: bool
    unit: str = "×"

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.figure >= self.target if self.at_least else self.figure <= self.target


@dataclass
class Result:
    """All of one claim."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Result":
        """Return a result from its dictionary."""
        rows, ratios = [Row(**row) for row in kept["rows"]], [Ratio(**ratio) for ratio in kept["ratios"]]
        return cls(**{**kept, "rows": rows, "ratios": ratios})

    def row(self, name: str) -> Row:
        """Return a row by its name."""
        return next(row for row in self.rows if row.name == name)

    def has(self, *names: str) -> bool:
        """Return whether all these were measured."""
        return set(names) <= {row.name for row in self.rows}

    def ratio(self, over: str, under: str) -> float:
        """Return the ratio of two rows: the median of their rounds'."""
        pairs = zip(self.row(over).figures, self.row(under).figures, strict=True)
        return statistics.median(a / b for a, b in pairs)

    def compare(self, over: str, under: str, target: float, *, at_least: bool = True) -> None:
        """Add the ratio of two rows, with its target, unless one of them was skipped."""
        if self.has(over, under):
            self.ratios.append(Ratio(f"{over} ÷ {under}", self.ratio(over, under), target, at_least))
