"""The page of settings, against the settings."""

import re

from jobs import access, cancellation, extras, progress_report, threads
from jobs.retention import compaction, housekeeping, trimming
from progress.checks import BOUNDS
from progress.conf import PREFIX, Conf, types
from tests.documents import rows, section, spans
from tests.installation import ROOT

PAGE = "docs/settings.md"
OF_THE_SITE = rows(section(PAGE, "The site"))
OF_JOBS = rows(section(PAGE, "The jobs app"))
OF_PROGRESS = rows(section(PAGE, "The progress app"))
SOURCE = (ROOT / "progress_site" / "settings.py").read_text()


def test_settings_page__lists_every_setting_in_order():
    assert list(OF_PROGRESS) == [PREFIX + name for name in types()]


def test_settings_page__defaults():
    shown = {name: cells[0].strip("`") for name, cells in OF_PROGRESS.items()}
    assert shown == {PREFIX + name: repr(vars(Conf)[name]) for name in types()}


def test_settings_page__bounds():
    shown = {name: cells[1] for name, cells in OF_PROGRESS.items()}
    bounds = {PREFIX + name: f"{low:,} – {high:,}" for name, (low, high, _) in BOUNDS.items()}
    others = {
        "PROGRESS_UNIX_SOCKET_MODE": "octal",
        "PROGRESS_TOKEN_KEYS": "see there",
        "PROGRESS_TRUSTED_PROXIES": "addresses",
    }
    assert shown == others | bounds


def test_settings_page__units_are_those_that_the_names_tell():
    units = {name: cells[2] for name, cells in OF_PROGRESS.items()}
    assert all(unit for unit in units.values())
    for unit in ("seconds", "bytes"):
        of_that_unit = {name for name in units if units[name] == unit}
        assert of_that_unit == {name for name in units if name.endswith(f"_{unit.upper()}")}


def test_settings_page__lists_every_variable_that_the_site_reads():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', SOURCE))
    assert read == set(OF_THE_SITE)


def test_settings_page__every_setting_of_the_jobs_app():
    sources = "".join(path.read_text() for path in (ROOT / "jobs").rglob("*.py"))
    assert set(re.findall(r'(?:settings, |number_setting\()"(JOBS_\w+)"', sources)) == set(OF_JOBS)
    shown = {name: cells[0].strip("`") for name, cells in OF_JOBS.items()}
    assert shown == {
        "JOBS_ACCESS_POLICY": access.DEFAULT,
        "JOBS_MAX_THREADS": repr(threads.MAX_THREADS),
        "JOBS_CANCEL_SECONDS": repr(cancellation.CANCEL_SECONDS),
        "JOBS_REPORT_SECONDS": repr(progress_report.REPORT_SECONDS),
        "JOBS_LOG_TAIL": repr(trimming.LOG_TAIL),
        "JOBS_OUTPUT_BYTES": repr(extras.OUTPUT_BYTES),
        "JOBS_COMPACT_SECONDS": repr(compaction.COMPACT_SECONDS),
        "JOBS_KEEP_DAYS": "None",
        "JOBS_KEEP_COUNT": "None",
        "JOBS_KINDS": "{}",
        "JOBS_HOUSEKEEPING_SECONDS": repr(housekeeping.SECONDS),
    }


def test_settings_page__methods_of_an_access_policy():
    named = spans(OF_JOBS["JOBS_ACCESS_POLICY"][1])
    assert len(named) == 2
    assert all(callable(getattr(access.AccessPolicy, name, None)) for name in named), named
