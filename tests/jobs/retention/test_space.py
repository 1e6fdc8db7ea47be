"""An SQLite file that shrinks again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.installation import Site

FILL = """
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from django.utils import timezone
lifecycle = ProcessingJobLifecycle.create("job-1")
JobEvent.objects.bulk_create(
    JobEvent(job=lifecycle.job, seq=seq, kind="tick", status="pending", message="x" * 2000, timestamp=timezone.now())
    for seq in range(2, 1502)
)
ProcessingJob.objects.update(seq=1501)
lifecycle = ProcessingJobLifecycle("job-1")
lifecycle.mark_started()
lifecycle.mark_completed()
"""
TIDY = """
from jobs.retention.housekeeping import Housekeeper
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle("job-1").delete()
Housekeeper().tidy()
"""


def pragma(site: Site, name: str) -> int:
    with sqlite3.connect(site.database_url.removeprefix("sqlite:///")) as connection:
        value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    connection.close()
    return value


def test_new_file__gives_space_back_while_it_is_cleaned(sqlite_site: Site) -> None:
    sqlite_site.worker(FILL)
    before = pragma(sqlite_site, "page_count")
    sqlite_site.worker(TIDY)
    assert pragma(sqlite_site, "freelist_count") == 0
    assert pragma(sqlite_site, "page_count") < before / 5


def test_connection__writes_nothing_by_coming(sqlite_site: Site) -> None:
    """Each server that follows the file would compare all that is watched, and each writer wait."""
    with closing(sqlite3.connect(sqlite_site.database_url.removeprefix("sqlite:///"))) as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        sqlite_site.worker("from jobs.models import ProcessingJob\nassert not ProcessingJob.objects.exists()")
        assert connection.execute("PRAGMA data_version").fetchone() == before


def test_new_file__is_written_to_by_no_connection_of_the_process_that_has_made_it(sqlite_site: Site) -> None:
    sqlite_site.env["DATABASE_URL"] = f"{sqlite_site.database_url}-new"
    sqlite_site.worker("""
import sqlite3
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
assert connection.cursor().execute("PRAGMA auto_vacuum").fetchone() == (2,)
with sqlite3.connect(connection.settings_dict["NAME"]) as other:
    before = other.execute("PRAGMA data_version").fetchone()
    connection.close()
    connection.ensure_connection()
    assert other.execute("PRAGMA data_version").fetchone() == before
""")


@pytest.mark.slow
def test_prune_jobs__vacuum_makes_an_old_file_like_a_new_one(sqlite_site: Site, tmp_path: Path) -> None:
    path = Path(sqlite_site.database_url.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as connection:
        connection.executescript("PRAGMA journal_mode=DELETE; PRAGMA auto_vacuum=NONE; VACUUM; PRAGMA journal_mode=WAL")
    connection.close()
    sqlite_site.worker(FILL)
    assert pragma(sqlite_site, "auto_vacuum") == 0
    said = sqlite_site.manage("prune_jobs", "--keep-latest=0", "--vacuum")
    assert "Deleted 1 job in" in said
    assert "MB less." in said
    assert pragma(sqlite_site, "auto_vacuum") == 2
    assert pragma(sqlite_site, "freelist_count") == 0
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_prune_jobs__vacuum_alone(sqlite_site: Site, dry: list[str]) -> None:
    said = sqlite_site.manage("prune_jobs", "--vacuum", *dry)
    assert ("The file takes" in said) == (not dry)
