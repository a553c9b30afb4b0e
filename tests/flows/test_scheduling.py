"""What `[schedules]` says is what Prefect is told."""

from datetime import timedelta

import pytest

from neuroloom.flows.scheduling import schedules_of
from neuroloom.pipeline.config import ConfigError, read_config
from neuroloom.pipeline.settings import Settings


def settings(tmp_path, text):
    path = tmp_path / "neuroloom.toml"
    path.write_text(text)
    return read_config(path, Settings)


def test_by_default_verify_is_nightly_sweep_hourly_and_nothing_is_trained_or_deleted():
    found = schedules_of(Settings())
    assert {name: (s.cron or s.interval, s.active) for name, s in found.items()} == {
        "verify": ("0 2 * * *", True),
        "sweep": (timedelta(hours=1), True),
        "clean": ("0 4 * * *", False),
        "retrain": ("0 3 * * 0", False),
    }


def test_retraining_is_on_once_a_config_is_named(tmp_path):
    found = settings(tmp_path, '[schedules]\nretrain = {config = "reach.toml"}')
    assert schedules_of(found)["retrain"].active


def test_a_time_zone_is_that_of_all_unless_one_has_its_own(tmp_path):
    text = '[schedules]\ntime_zone = "Europe/Berlin"\nverify = {time_zone = "Asia/Tokyo"}'
    found = schedules_of(settings(tmp_path, text))
    assert (found["verify"].timezone, found["sweep"].timezone) == ("Asia/Tokyo", "Europe/Berlin")


def test_intervals_count_from_a_fixed_date_in_their_zone(tmp_path):
    text = '[schedules]\ntime_zone = "Europe/Berlin"\n[schedules.sweep]\nevery_minutes = 15'
    found = schedules_of(settings(tmp_path, text))["sweep"]
    assert found.interval == timedelta(minutes=15)
    assert found.anchor_date.isoformat() == "2025-01-01T00:00:00+01:00"


def test_an_interval_takes_the_place_of_a_cron_and_the_other_way_round(tmp_path):
    text = '[schedules]\nverify = {every_minutes = 30}\nsweep = {cron = "5 * * * *"}'
    found = schedules_of(settings(tmp_path, text))
    assert (found["verify"].cron, found["verify"].interval) == (None, timedelta(minutes=30))
    assert (found["sweep"].cron, found["sweep"].interval) == ("5 * * * *", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('verify = {cron = "0 2 * * *", every_minutes = 5}', "one of them is wanted"),
        ('time_zone = "Mars/Base"', "is no time zone"),
        ("sweep = {every_minutes = 0}", "greater than 0"),
        ("swep = {}", "known here"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        settings(tmp_path, f"[schedules]\n{text}")


def test_a_cron_that_is_none_is_named(tmp_path):
    found = settings(tmp_path, '[schedules]\nverify = {cron = "every night"}')
    with pytest.raises(ConfigError, match=r"schedules\.verify\.cron: found 'every night'"):
        schedules_of(found)
