"""What is said of a running job that changes with the time alone. As timing.js."""

import math
from dataclasses import dataclass
from datetime import datetime

from .connection import Frame
from .server_clock import seconds_since
from .silence import silence_of, silence_words, stalled_of, then_words
from .time_left import Countdown, is_learned, left_at, left_words, rounded_left
from .usual import is_longer, usual_percent, usual_words

LONGER = "longer than usual"
OF_ATTEMPT = frozenset({"started_at", "usual"})  # what a snapshot may say beside the state
ABOUT = OF_ATTEMPT | {"max_silence"}


@dataclass(frozen=True, slots=True)
class Told:
    """What to say of a job at a moment.

    Attributes:
        left: The time left in words, or what is said in its place; empty if nothing is known.
        seconds_left: Where earlier runs do not tell, what a rate does.
        usual: What earlier runs took, in words.
        usual_percent: Where a usual run would be by now; None if that is unknown.
        silence: That it does not report, in words; empty if it does.
        then: What will happen to a stalled one.

    """

    left: str = ""
    seconds_left: float | None = None
    usual: str = ""
    usual_percent: int | None = None
    silence: str = ""
    then: str = ""


NOTHING = Told()


class Timing:
    """The timing of one job, over its frames: a countdown needs to know what it has shown."""

    def __init__(self) -> None:
        self._countdown = Countdown()
        self._rounded: float | None = None

    def of(self, frame: Frame, now: datetime | None, *, is_live: bool) -> Told:
        """Return what to say of the job now.

        Args:
            frame: Its state, with what `kept_of` knows.
            now: The server's time; None while it is unknown.
            is_live: Whether the present is shown: of the past, no time is left.

        """
        if frame["status"] != "in_progress":
            return NOTHING
        time = now if is_live else None
        stalled, silence = stalled_of(frame), silence_of(frame, time)
        elapsed, usual = seconds_since(frame.get("started_at"), time), frame.get("usual")
        longer = is_longer(usual, elapsed)
        left, seconds = "", None
        if stalled or silence is not None or longer or not is_live:
            self._forget()
            left = LONGER if longer and not stalled and silence is None else ""
        else:
            left, seconds = self._left(frame, time)
        return Told(
            left=left,
            seconds_left=seconds,
            usual=usual_words(usual),
            usual_percent=None if frame["progress"] is None else usual_percent(usual, elapsed),
            silence="" if silence is None else silence_words(silence),
            then=then_words(stalled) if stalled else "",
        )

    def _left(self, frame: Frame, now: datetime | None) -> tuple[str, float | None]:
        """Return the time left in words, or in seconds where it is a rate's."""
        facts = frame["metadata"]
        if now is None:
            self._forget()
            return "", None if is_learned(facts) else left_at(facts, 0.0)[0]
        told_at = facts["time_left"].get("at") if is_learned(facts) else None
        age = seconds_since(told_at, now)
        seconds, floor = left_at(facts, (seconds_since(frame["timestamp"], now) or 0.0) if age is None else age)
        is_over = seconds == math.inf
        shown = self._countdown.show(None if is_over else seconds, now.timestamp(), floor)
        if shown is None:
            self._rounded = None
            return LONGER if is_over else "", None
        self._rounded = rounded_left(shown, self._rounded)
        return (left_words(self._rounded), None) if is_learned(facts) or shown <= 0 else ("", shown)

    def _forget(self) -> None:
        """Forget what was shown: it says nothing any more of what will be."""
        self._countdown.show(None, 0.0)
        self._rounded = None


def kept_of(before: Frame | None, frame: Frame) -> Frame:
    """Return a frame with what the snapshot before it said beside the state, as far as that still holds."""
    if before is None or frame["type"] == "snapshot":
        return frame
    is_same = before["metadata"].get("attempt") == frame["metadata"].get("attempt")
    return {name: before[name] for name in ABOUT if name in before and (is_same or name not in OF_ATTEMPT)} | frame
