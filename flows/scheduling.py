"""What runs by itself, from `[schedules]` of neuroloom.toml, as Prefect has schedules.

Rules, the same for all:

    overlap     one at a time; a run that would start beside another of its kind is cancelled (CANCEL_NEW, limit 1)
    catch-up    what was missed while nothing ran starts when the runner is back: one run, the others are cancelled
                beside it; each looks at how things are, so one after a gap does the work of all
    anchor      intervals count from 2025-01-01 00:00 in their time zone, whenever the service was started
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron, Interval
from prefect.schedules import Schedule as PrefectSchedule

from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.schedules import Schedule, ScheduleSettings
from neuroloom.pipeline.settings import Settings

ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
ANCHOR = datetime(2025, 1, 1)  # made aware with each schedule's own zone


def schedules_of(settings: Settings) -> dict[str, PrefectSchedule]:
    """By the flow's name. Raises ConfigError for a cron that is none.

    One that is off is there and paused, so that the dashboard shows it; retraining without a config is off.
    """
    asked = settings.schedules
    wanted: dict[str, Schedule] = {"verify": asked.verify, "sweep": asked.sweep, "clean": asked.clean}
    wanted["retrain"] = asked.retrain if asked.retrain.config else asked.retrain.model_copy(update={"on": False})
    return {name: _made(name, schedule, asked) for name, schedule in wanted.items()}


def _made(name: str, asked: Schedule, settings: ScheduleSettings) -> PrefectSchedule:
    zone = asked.time_zone or settings.time_zone
    if asked.every_minutes is not None:
        anchor = ANCHOR.replace(tzinfo=ZoneInfo(zone))
        every = Interval(timedelta(minutes=asked.every_minutes), anchor_date=anchor, timezone=zone)
        return replace(every, active=asked.on)
    try:
        return Cron(asked.cron, timezone=zone, active=asked.on)
    except ValueError as error:
        raise ConfigError(
            f"neuroloom.toml: schedules.{name}.cron: found {asked.cron!r}; five fields are wanted, as in '0 2 * * *'"
        ) from error
