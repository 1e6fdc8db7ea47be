"""What the tests of the jobs say, on PostgreSQL."""

import os
import subprocess
import sys

import pytest

from tests.installation import ROOT

FILES = (
    "test_actions",
    "test_admin_filters",
    "test_among",
    "test_attempts",
    "test_batch",
    "test_batch_trouble",
    "test_batch_within",
    "test_batch_unclear",
    "test_cancellation",
    "test_changes",
    "test_children",
    "test_children_cost",
    "test_children_races",
    "test_clocks",
    "test_conflicts",
    "test_edit",
    "test_events",
    "test_family",
    "test_in_users_tests",
    "test_kind",
    "test_lifecycle",
    "test_lifecycle_bounds",
    "test_lost_connections",
    "test_ordinary_callers",
    "test_output",
    "test_property",
    "recovery/test_fencing",
    "recovery/test_recover_stalled",
    "recovery/test_recovered",
    "recovery/test_requeued",
    "recovery/test_stalled",
    "recovery/test_sweep",
    "recovery/test_worker_lease",
    "retention/test_compaction",
    "retention/test_migration",
    "retention/test_trimming",
    "reporting/test_asynchronous",
    "reporting/test_asynchronous_left",
    "reporting/test_asynchronous_loops",
    "reporting/test_entered",
    "reporting/test_decorator",
    "reporting/test_logs",
    "reporting/test_reporter",
    "reporting/test_reporter_trouble",
    "reporting/test_stages",
    "reporting/test_noted_stages",
    "reporting/test_processes",
    "reporting/test_shown_stages",
    "reporting/test_tracking",
    "reporting/test_report_thread",
    "reporting/test_asked_runs",
    "reporting/test_forks",
    "reporting/test_noted_lines",
    "reporting/test_rich",
    "reporting/test_tqdm",
    "reporting/test_transactions",
    "retention/test_commands",
    "retention/test_deletion",
    "retention/test_housekeeping",
    "retention/test_lease",
    "retention/test_pruning",
    "retention/test_retention_admin",
    "retention/test_unclear_deletions",
    "test_speed",
    "time_left/test_learned",
    "time_left/test_learning",
    "time_left/test_store",
    "test_transactions",
    "test_unclear_commits",
    "test_unclear_threads",
)


def run(postgres_url: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:xdist", "-p", "no:cacheprovider", *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=ROOT, env={**env, "DATABASE_URL": postgres_url}, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(done.stdout[-10_000:] + done.stderr[-2_000:], pytrace=False)


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_jobs__on_postgres(postgres_url: str) -> None:
    run(postgres_url, *(f"tests/jobs/{name}.py" for name in FILES))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_property__on_postgres(postgres_url: str) -> None:
    run(postgres_url, "-m", "slow", "tests/jobs/test_property.py")
