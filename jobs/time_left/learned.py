"""What a job is told of its time: at its start by what earlier runs took, with each report by how far it is. Pure."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..events import in_words
from .course import LEAST_SECONDS, MOST_AT_ONCE, Course, Present
from .estimate import HIGH, LOW, MIDDLE, RUNS_FOR_RANGE, Place, Row, TimeLeft, later, quantiles, time_left
from .history import START, History, Work, ratio_of
from .record import MAX_SECONDS, MAX_SEGMENTS, Run, median_curve

if TYPE_CHECKING:
    from ..models import ProcessingJob
    from ..progress_report import Report

TIME_LEFT, ETA = "time_left", "eta_seconds"  # in the metadata
MAX_UNIT = 200  # characters
EVERY_SECONDS = 0.2  # between two estimates within a segment; so, with `MOST_AT_ONCE`, at most ten in any second


def shown_by(progress: float | None, metadata: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return what a job shows of how far it is."""
    return progress, metadata.get("current"), metadata.get("total"), metadata.get("stage")


def is_of(course: Course, job: "ProcessingJob") -> bool:
    """Return whether a job is where the course left it: else somebody else has reported as well."""
    return course.attempt == job.attempt and course.last == shown_by(job.progress, job.metadata)


@dataclass(slots=True)
class Start:
    """The start of a run of a kind, if that is told, and the runs before it. The same start, told again, is equal."""

    kind: str | None
    history: History | None = field(default=None, compare=False)

    def kind_of(self, job: "ProcessingJob") -> str:
        """Return which kind that is: what is not told is the job's."""
        return job.kind if self.kind is None else self.kind


@dataclass(slots=True)
class End:
    """When a run has ended, by the monotonic clock, and its course up to then. The same end, told again, is equal."""

    seconds: float = field(compare=False)
    course: Course | None = field(default=None, compare=False)

    def run(self, job: "ProcessingJob") -> Run | None:
        """Return what is kept of a run that succeeds; None where its process does not know how it went."""
        if self.course is None or not is_of(self.course, job):
            return None
        return self.course.run(self.seconds - self.course.began)


def _work_at_start(metadata: dict[str, Any], size: float | None, plan: list[list[Any]]) -> Work:
    """Return how much there is to do, as far as it is known at the start of a job."""
    stages = plan if isinstance(plan, list) else []  # what an import has stored may be anything
    names = [stage[0] for stage in stages if isinstance(stage, list) and stage]
    return Work(_unit(metadata), size, None, tuple(name for name in names if isinstance(name, str)))


def at_start(
    history: History, metadata: dict[str, Any], size: float | None, plan: list[list[Any]]
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return what is told of earlier runs when a run starts, None if there are none; and of its time left."""
    work = _work_at_start(metadata, size, plan)
    rows = history.rows(START, None, work, set())
    return (usual(history, work, rows), _shown(rows, Place(0, 0))) if rows else (None, {})


def of_total(before: Course | None, course: Course | None) -> dict[str, Any] | None:
    """Return what is told of earlier runs by the first total, if that scales them; None if it was told of already.

    Args:
        before: The course before the report.
        course: The course after it.

    """
    if before is None or course is None or before.total or not course.total or course.size or not course.attempt:
        return None
    rows = course.history.rows(START, None, course.work, set())
    told = usual(course.history, course.work, rows) if rows else None
    return told if told is not None and "scaled" in told else None


def begun(history: History, job: "ProcessingJob", seconds: float) -> Course:
    """Return the course of a job that has just begun, at a time of the monotonic clock."""
    work, last = _work_at_start(job.metadata, job.size, job.plan), shown_by(job.progress, job.metadata)
    return Course(history, seconds, job.attempt, work.size, work.plan, last, unit=work.unit)


def followed(course: Course | None, job: "ProcessingJob", report: "Report", progress: float | None) -> Course | None:
    """Return the course after a report. It is lost for good where others report as well.

    Args:
        course: The course up to then.
        job: The job before the report.
        report: The report.
        progress: The percentage that it shows.

    """
    if course is None or not is_of(course, job):
        return lost(course)
    at = report.seconds - course.began
    if "unit" in report.metadata:
        course = course._replace(unit=_unit(report.metadata))
    stage = course.present.shown if report.stage is None else report.stage
    current: Any = report.current if report.of_stage else _known(report.current, job, "current")
    total: Any = report.total if report.of_stage else _known(report.total, job, "total")
    if report.of_stage or (total and (report.current is not None or report.total is not None)):
        course = course.moved(at, stage, current, total)
    elif report.progress is not None:
        course = course.moved(at, stage, report.progress, 100, is_percent=True)
    elif report.current is not None or stage != course.present.shown:
        course = course.moved(at, stage, None, None)
    return course.at_percent(at, progress)


def lost(course: Course | None) -> Course | None:
    """Return a course that is not known any more: it is of no attempt."""
    return None if course is None else course._replace(attempt=0)


def _known(told: float | None, job: "ProcessingJob", name: str) -> Any:
    return job.metadata.get(name) if told is None else told


def _unit(metadata: dict[str, Any]) -> str:
    unit = metadata.get("unit", "")
    return unit if isinstance(unit, str) and len(unit) <= MAX_UNIT else ""


def tell(course: Course | None, job: "ProcessingJob", report: "Report", shown: dict[str, Any]) -> Course | None:
    """Add to what a report shows of the time left what earlier runs say; return the course that knows of it.

    Where they say nothing, what the rate says stands; what was said a moment ago stays as it is.
    """
    said: dict[str, Any] | None = {}
    if course is not None and course.attempt and course.history.runs:
        course, said = _estimated(course, report.seconds - course.began)
    if said is None:
        shown.pop(ETA, None)
    elif said:
        shown |= said
    elif TIME_LEFT in job.metadata:
        shown[TIME_LEFT] = None
        shown.setdefault(ETA, None)  # what stands there was learned as well
    return course


def kept(job: "ProcessingJob") -> dict[str, Any]:
    """Return what the metadata say besides in an event that says nothing new of the time left: as of when that is."""
    told = job.metadata.get(TIME_LEFT)
    return {TIME_LEFT: {"at": in_words(job.updated_at), **told}} if isinstance(told, dict) and told else {}


def _estimated(course: Course, at: float) -> tuple[Course, dict[str, Any] | None]:
    """Return what earlier runs say after so many seconds, and the course that knows when it was asked.

    That is None if it was asked a moment ago, and empty if no earlier run had the present segment.
    """
    of, since = len(course.past), at - course.asked_at
    allowance = min(float(MOST_AT_ONCE), course.allowance + since / EVERY_SECONDS)
    if allowance < 1 or (of == course.asked_of and since < EVERY_SECONDS):
        return course, None
    course = course._replace(asked_at=at, asked_of=of, allowance=allowance - 1)
    if of == MAX_SEGMENTS:
        return course, {}
    present = course.present
    rows = course.history.rows(course.key, present.known_total, course.work, course.begun)
    return course, _shown(rows, _place(present, at)) if rows else {}


def _place(present: Present, at: float) -> Place:
    if not present.is_counted:
        return Place(present.began, at)
    return Place(present.began, at, present.share, present.ticked, present.step)


def _shown(rows: tuple[Row, ...], place: Place) -> dict[str, Any]:
    """Return what the metadata say, by what earlier runs say."""
    left = time_left(rows, place)
    if left is None or left.middle > MAX_SECONDS:
        return {ETA: None, TIME_LEFT: None}
    has_range, eta = len(rows) >= RUNS_FOR_RANGE, round(left.middle, 1)
    told: dict[str, Any] = {"floor": short(left.floor)}
    if has_range:
        told |= {"low": min(short(left.low), eta), "high": max(short(left.high), eta)}
    if place.share is None or place.share >= 1:
        told["later"] = [[short(after), *_three(then, has_range=has_range)] for after, then in later(rows, place)]
    return {ETA: eta, TIME_LEFT: told}


def _three(left: TimeLeft | None, *, has_range: bool) -> list[float | None]:
    """Return middle, low and high; None for what is not known."""
    if left is None or left.middle > MAX_SECONDS:
        return [None, None, None]
    return [short(left.middle), *([short(left.low), short(left.high)] if has_range else [None, None])]


def short(seconds: float) -> float:
    """Return seconds without digits that mean nothing."""
    return round(min(seconds, MAX_SECONDS)) if seconds >= 20 else round(seconds, 1)


def usual(history: History, work: Work, rows: tuple[Row, ...]) -> dict[str, Any] | None:
    """Return what is told of earlier runs, by what they say of the start; None if their size tells nothing of this."""
    wholes = [(row.before + row.length + row.after, row.weight) for row in rows]
    wanted = (LOW, MIDDLE, HIGH) if len(rows) >= RUNS_FOR_RANGE else (MIDDLE,)
    told: dict[str, Any] = {"runs": len(rows), "seconds": [short(seconds) for seconds in quantiles(wholes, wanted)]}
    runs = history.recent(work)
    is_scaled = any(ratio_of(run, work) not in (None, 1) for run in runs)
    if is_scaled and told["seconds"][-1] < LEAST_SECONDS:
        return None  # no run that was kept took so little
    curves = [run.percents for run in runs if run.percents is not None]
    if 2 * len(curves) > len(runs) and any(curve := median_curve(curves)):
        told["curve"] = curve
    if is_scaled:
        told["scaled"] = True
    return told
