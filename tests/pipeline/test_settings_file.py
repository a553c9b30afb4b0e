"""The settings file a store begins with: every setting, explained, and nothing decided that was not asked for."""

import inspect
import re

import pytest

from neuroloom.pipeline.config import ConfigError, read_config
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.settings_file import parsed, settings_text, write_settings
from neuroloom.pipeline.store import Store, StoreError


def read(text, tmp_path):
    path = tmp_path / "neuroloom.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, Settings)


def test_as_written_it_is_all_defaults(tmp_path):
    assert read(settings_text({}), tmp_path) == Settings()


def test_with_every_comment_taken_away_it_is_all_defaults_too(tmp_path):
    text = re.sub(r"^# (?=\w+ = )", "", settings_text({}), flags=re.M)
    assert text.count(" = ") > 40
    assert read(text, tmp_path) == Settings()


def test_every_setting_is_explained_where_it_stands():
    for section, field in Settings.model_fields.items():
        words = inspect.getdoc(field.annotation)
        unexplained = [name for name in field.annotation.model_fields if name not in words]
        if section == "schedules":
            unexplained = [name for name in unexplained if name not in ("verify", "retrain", "sweep", "clean")]
        assert unexplained == [], section


def test_what_is_asked_for_is_set_and_the_rest_is_not(tmp_path):
    asked = parsed(["inbox.settle_s=30", "schedules.sweep.every_minutes=5", "schedules.time_zone=Europe/Berlin"])
    found = read(settings_text(asked), tmp_path)
    assert found.model_dump(exclude_unset=True, exclude_defaults=True) == {
        "inbox": {"settle_s": 30.0},
        "schedules": {"time_zone": "Europe/Berlin", "sweep": {"every_minutes": 5.0}},
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("settle_s=30", "SECTION.KEY=VALUE is wanted"),
        ("inbox.settle=30", "inbox.settle"),
        ("inbox.settle_s=-1", "inbox.settle_s"),
        ("schedules.time_zone=Mars/Base", "no time zone"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(asked, told, tmp_path):
    store = Store(tmp_path / "store").create()
    with pytest.raises(ConfigError, match=told):
        write_settings(store, parsed([asked]))
    assert not store.settings_file.exists()


def test_settings_that_are_there_are_only_replaced_when_asked(tmp_path):
    store = Store(tmp_path / "store").create()
    write_settings(store, {})
    with pytest.raises(StoreError, match="is there already"):
        write_settings(store, parsed(["inbox.settle_s=30"]))
    write_settings(store, parsed(["inbox.settle_s=30"]), replace=True)
    assert Settings.of(store).inbox.settle_s == 30
