"""Choose the day that a run is of when nobody names one."""

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from understudy.errors import BadInput

JOB = re.compile(r".+-(\d{8})")
FIRST_MINUTE = 26_297_280  # of 2020: eight digits that a person writes for a date, as in rerun-20261101, are less


def day_of(job: str, zone: tzinfo, now: datetime) -> str:
    """Return the day for which a CronJob made a Job, else today's.

    The controller calls the Job <CronJob>-<minutes since 1970>, by the time that it was scheduled for. So a pod that
    starts late, or once more after midnight, is of the same day. The Job's annotation of that time is not on the pod.

    Args:
        job: name of the Job; empty outside of one.
        zone: in which the day begins and ends.
        now: the time for any other Job, with its zone.

    >>> day_of("understudy-nightly-29883000", UTC, datetime.now(UTC))
    '2026-10-26'

    Source: Kubernetes, pkg/controller/cronjob/cronjob_controllerv2.go, getJobName.
    """
    found = JOB.fullmatch(job)
    minute = int(found[1]) if found else 0
    moment = datetime.fromtimestamp(60 * minute, UTC) if minute >= FIRST_MINUTE else now
    return moment.astimezone(zone).date().isoformat()


def zone_named(name: str) -> tzinfo:
    """Return the time zone of a name.

    Raises:
        BadInput: it is unknown here.
    """
    if name in {"UTC", "Etc/UTC"}:  # known without the system's files too
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(
            f"A time zone must be known to the system, got '{name}'. Write it like Europe/Berlin, or install tzdata."
        ) from error
