"""The page of settings, against the settings."""

import re
from pathlib import Path

from jobs import access
from progress.checks import BOUNDS
from progress.conf import PREFIX, Conf, types

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "settings.md").read_text()
SOURCE = (ROOT / "progress_site" / "settings.py").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table under a heading, by the name in the first."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_settings_page__lists_every_setting_in_order():
    assert list(rows("Of the progress app")) == [PREFIX + name for name in types()]


def test_settings_page__defaults():
    shown = {name: cells[0].strip("`") for name, cells in rows("Of the progress app").items()}
    assert shown == {PREFIX + name: repr(vars(Conf)[name]) for name in types()}


def test_settings_page__bounds():
    shown = {name: cells[1] for name, cells in rows("Of the progress app").items()}
    bounds = {PREFIX + name: f"{low:,} – {high:,}" for name, (low, high, _) in BOUNDS.items()}
    assert shown == {"PROGRESS_UNIX_SOCKET_MODE": "octal"} | bounds


def test_settings_page__units_are_those_that_the_names_tell():
    units = {name: cells[2] for name, cells in rows("Of the progress app").items()}
    assert all(unit for unit in units.values())
    for unit in ("seconds", "bytes"):
        of_that_unit = {name for name in units if units[name] == unit}
        assert of_that_unit == {name for name in units if name.endswith(f"_{unit.upper()}")}


def test_settings_page__lists_every_variable_that_the_site_reads():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', SOURCE))
    assert read == set(rows("Of the site"))


def test_settings_page__every_setting_of_the_jobs_app():
    sources = "".join(path.read_text() for path in (ROOT / "jobs").rglob("*.py"))
    table = rows("Of the jobs app")
    assert set(re.findall(r'settings, "(JOBS_\w+)"', sources)) == set(table)
    assert table["JOBS_ACCESS_POLICY"][0] == f"`{access.DEFAULT}`"
