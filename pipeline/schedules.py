"""What runs by itself, and when: `[schedules]` of the settings."""

from __future__ import annotations

from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from neuroloom.pipeline.config import Config


class Schedule(Config):
    """When something runs by itself: by `cron` (minute, hour, day, month, weekday) or `every_minutes`, one of them.

    on: False leaves it to people. time_zone: that of `[schedules]` where it is left out; a cron at 02:00 stays at 02:00
    by that zone's clock in summer and winter.
    """

    on: bool = True
    cron: str = ""
    every_minutes: float | None = Field(default=None, gt=0)
    time_zone: str = ""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.cron and self.every_minutes is not None:
            raise ValueError("cron and every_minutes are both given; one of them is wanted")
        return self

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        return _time_zone(name)


class VerifySchedule(Schedule):
    """Published files are read to the byte. budget_minutes: how long a run goes on; the next begins where it ended."""

    cron: str = "0 2 * * *"
    budget_minutes: float = Field(default=240.0, gt=0)


class RetrainSchedule(Schedule):
    """A run is trained anew where there are sessions or versions the last one has not seen.

    config: a file as `neuroloom train` takes, relative to the store; nothing is trained without one.
    """

    cron: str = "0 3 * * 0"
    config: str = ""


class SweepSchedule(Schedule):
    """The inbox is looked at, whether or not a watcher lives."""

    every_minutes: float | None = Field(default=60.0, gt=0)


class CleanSchedule(Schedule):
    """What `[retention]` gives up is deleted; off unless turned on."""

    on: bool = False
    cron: str = "0 4 * * *"


class ScheduleSettings(Config):
    """What runs by itself. time_zone: an IANA name, for every schedule that names none.

    Each has on (False leaves it to people), cron (minute, hour, day, month, weekday) or every_minutes, and time_zone.
    """

    time_zone: str = "UTC"
    verify: VerifySchedule = VerifySchedule()
    retrain: RetrainSchedule = RetrainSchedule()
    sweep: SweepSchedule = SweepSchedule()
    clean: CleanSchedule = CleanSchedule()

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        return _time_zone(name or "UTC")

    @field_validator("verify", "retrain", "sweep", "clean", mode="before")
    @classmethod
    def _leave_out_the_other_default(cls, found: Any) -> Any:
        """Whoever gives a cron does not want the default interval too, and the other way round."""
        if isinstance(found, dict) and "cron" in found and "every_minutes" not in found:
            return {**found, "every_minutes": None}
        if isinstance(found, dict) and "every_minutes" in found and "cron" not in found:
            return {**found, "cron": ""}
        return found


def _time_zone(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; an IANA name such as Europe/Berlin is wanted") from error
    return name
