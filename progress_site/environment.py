"""The settings of the two apps, as the environment gives them."""

import os
from typing import Any

from environs import Env

from progress.conf import PREFIX, types

OTHERS = frozenset({"PROGRESS_TOKEN", "PROGRESS_FORBID_SKIPS"})  # read by watch_job and by the tests
OF_JOBS: dict[str, type] = {
    "JOBS_MAX_THREADS": int,
    "JOBS_CANCEL_SECONDS": float,
    "JOBS_REPORT_SECONDS": float,
    "JOBS_LOG_TAIL": int,
    "JOBS_OUTPUT_BYTES": int,
    "JOBS_COMPACT_SECONDS": float,
    "JOBS_KEEP_DAYS": float,
    "JOBS_KEEP_COUNT": int,
    "JOBS_HOUSEKEEPING_SECONDS": float,
    "JOBS_KINDS": dict,  # as JSON
}


def settings_from_environment(env: Env) -> dict[str, Any]:
    """Return the ``PROGRESS_*`` and ``JOBS_*`` settings in the environment, parsed to their types.

    Raises:
        environs.EnvError: A value does not parse; the message names the variable.

    """
    known = types()
    parsers: dict[type, Any] = {float: env.float, int: env.int, str: env.str}  # all else is JSON
    found: dict[str, Any] = {
        name: parsers.get(kind, env.json)(name) for name, kind in OF_JOBS.items() if name in os.environ
    }
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name != variable and variable not in OTHERS:
            # An unknown name is passed on, so that the check at start reports it.
            found[variable] = parsers.get(known[name], env.json)(variable) if name in known else os.environ[variable]
    return found
