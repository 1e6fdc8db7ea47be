"""A function that is a run of a job."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, overload

from .. import validation
from .reporter import Reporter

P = ParamSpec("P")
Work = Callable[Concatenate[Reporter, P], Any]
Reported = Callable[Concatenate[Any, P], Any]


@overload
def reported(function: Work[P], /) -> Reported[P]: ...


@overload
def reported(*, unit: str = "", kind: str | None = None) -> Callable[[Work[P]], Reported[P]]: ...


def reported(function: Any = None, /, *, unit: str = "", kind: str | None = None) -> Any:
    """Have each call of a function be a run of the job that is its first argument; the function gets the `Reporter`.

    The job is given as a job, its lifecycle or its id. What the function returns is returned, and becomes the job's
    result unless it is None, or the function has set ``report.result``. A call whose job is cancelled returns None. It
    may be an ``async def``.

    Args:
        function: What to decorate, by ``@reported`` without arguments.
        unit: What is counted, for people.
        kind: What sort of work it is; else a job that has no kind gets the function's name.

    Raises:
        TypeError: It is a generator function, which has done nothing when it returns.

    """
    if function is None:
        return functools.partial(reported, unit=unit, kind=kind)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator function; use a Reporter's block within it.")

    def reporter(job: Any) -> Reporter:
        made = Reporter(job, unit=unit, kind=kind)
        made.usual_kind = validation.fitting_text(f"{function.__module__}.{function.__qualname__}", validation.MAX_KIND)
        return made

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awork(job: Any, /, *args: Any, **kwargs: Any) -> Any:
            async with reporter(job) as report:
                return _with_result(report, await function(report, *args, **kwargs))

        return awork

    @functools.wraps(function)
    def work(job: Any, /, *args: Any, **kwargs: Any) -> Any:
        with reporter(job) as report:
            return _with_result(report, function(report, *args, **kwargs))

    return work


def _with_result(report: Reporter, result: Any) -> Any:
    if report.result is None:
        report.result = result
    return result
