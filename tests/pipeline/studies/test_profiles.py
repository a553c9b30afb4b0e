"""Profiles that come along, and settings as text."""

import pytest

from neuroloom.pipeline import studying
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.profiles import FOLDER, profile_words, profiles_of
from neuroloom.pipeline.studies import kinds, study_of


def test_every_profile_is_one_of_a_study_and_its_settings_are_known(store):
    found = [(path.parent.name, path.stem) for path in FOLDER.glob("*/*.toml")]
    assert {("distill", "default"), ("stabilise", "middle")} <= set(found)
    for study, profile in found:
        assert study in kinds.names()
        run = studying.prepare_study(study, store, profile=profile)
        assert run == f"{study}-{profile}"
        assert studying._asked(run, store)[1] != study_of(study)[1].Settings()
        assert f"{profile} of {study}" in profile_words()


def test_a_profile_by_another_name_of_its_study_and_with_a_setting_of_ones_own(store):
    run = studying.prepare_study("stabilisation", store, profile="middle", text="seeds = 1\n", name="mine")
    settings = studying._asked(run, store)[1]
    assert (settings.units, settings.gains, settings.seeds) == (256, (2.5,), 1)
    with pytest.raises(ConfigError, match="stabilise-middle: holds another study or other settings"):
        studying.prepare_study("stabilise", store, profile="middle", text="seeds = 1\n")


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(store):
    assert profiles_of("mindread") == ("quick", "full")
    with pytest.raises(ValueError, match="distill has no profile 'vast'; there are: quick, full, default"):
        studying.prepare_study("distill", store, profile="vast")


def test_a_fault_in_settings_as_text_is_told_as_in_a_file(store):
    with pytest.raises(ConfigError, match=r"settings: sedes: no such setting \(seeds\?\)"):
        studying.prepare_study("distill", store, text="sedes = 1\n", name="wrong")
    with pytest.raises(
        ConfigError, match=r"settings beside the profile's: .*4096 sequences with electrodes, but the curve .* without$"
    ):
        studying.prepare_study("tradeoff", store, profile="full", text="curve = [16, 64, 256, 1024]\n", name="wrong")
    with pytest.raises(ConfigError, match="settings: is not TOML"):
        studying.prepare_study("distill", store, text="seeds = \n", name="wrong")
