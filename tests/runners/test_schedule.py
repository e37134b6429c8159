"""The day of a run is the one that its CronJob's Job was scheduled for, whenever its pod runs."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.cli.submit import command, zone_of
from understudy.runners.cluster.schedule import day_of

MOMENTS = st.datetimes(datetime(2020, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))
ZONES = st.sampled_from(["UTC", "Etc/UTC", "Europe/Berlin", "Asia/Tokyo", "Pacific/Kiritimati", "America/New_York"])


def zone(name):
    return zone_of(click.Context(command), command.params[0], name)


@given(MOMENTS, ZONES, st.floats(0, 400))
def test_a_jobs_day_is_that_of_its_minute_in_its_zone_however_late_its_pod_starts(scheduled, name, hours):
    job = f"understudy-nightly-{int(scheduled.timestamp()) // 60}"
    late = scheduled + timedelta(hours=hours)
    assert day_of(job, zone(name), late) == scheduled.astimezone(zone(name)).date().isoformat()


@pytest.mark.parametrize("job", ["", "first-night", "again-20261031", "understudy-nightly-123", "29883000"])
def test_any_other_job_is_of_its_own_day(job):
    now = datetime(2026, 11, 1, 16, tzinfo=UTC)
    assert day_of(job, UTC, now) == "2026-11-01"
    assert day_of(job, zone("Asia/Tokyo"), now) == "2026-11-02"


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "/etc", "Europe", ""])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(click.BadParameter, match="A time zone must be known"):
        zone(name)


def test_a_retry_after_midnight_is_of_the_night_that_was_scheduled(cluster, command):
    """Without the Job's name the pod's clock would make it another night."""
    scheduled = datetime(2026, 11, 1, 23, 58, tzinfo=UTC)
    job = f"understudy-nightly-{int(scheduled.timestamp()) // 60}"
    for _ in range(2):
        assert command(cluster, "nightly", "--job", job, date=None).returncode == 0
    [run] = cluster.backend.runs
    assert run["display_name"] == "hotel-tips-nightly-2026-11-01"
    assert run["runtime_config"]["parameters"]["date"] == "2026-11-01"


def test_a_night_is_of_the_zone_that_the_settings_name(cluster, command, monkeypatch):
    scheduled = datetime(2026, 10, 31, 17, tzinfo=UTC)  # 2 o'clock in Tokyo, on the day after
    monkeypatch.setenv("UNDERSTUDY_JOB", f"understudy-nightly-{int(scheduled.timestamp()) // 60}")
    monkeypatch.setenv("TIME_ZONE", "Asia/Tokyo")
    assert command(cluster, "nightly", date=None).returncode == 0
    assert cluster.backend.runs[0]["display_name"] == "hotel-tips-nightly-2026-11-01"


def test_a_date_that_is_given_goes_before_the_jobs(cluster, command):
    assert command(cluster, "nightly", "--job", "understudy-nightly-29883000").returncode == 0
    assert cluster.backend.runs[0]["display_name"] == "hotel-tips-nightly-2026-11-01"
