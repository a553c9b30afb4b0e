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


def test_settings_may_be_mended_until_a_cell_has_been_made_with_them(store):
    for seeds in (2, 1):
        studying.prepare_study("distill", store, text=f"seeds = {seeds}\n", name="mended")
    studying._cells("mended", store, studying._asked("mended", store)[1]).put({"seed": 0}, {})
    with pytest.raises(ConfigError, match=r"mended: holds cells of this study with other settings \(seeds\); give"):
        studying.prepare_study("distill", store, text="seeds = 2\n", name="mended")
    with pytest.raises(ConfigError, match="mended: holds the study 'distill'; give this one another name"):
        studying.prepare_study("convert", store, name="mended")


def test_what_is_no_study_is_not_made_one(store):
    (store.run_folder("listener")).mkdir()
    (store.run_folder("listener") / "truth.json").write_text("{}")
    with pytest.raises(ConfigError, match="listener: is no study; give this one another name"):
        studying.prepare_study("distill", store, name="listener")


def test_a_file_counts_over_the_profile_before_it_is_checked(store):
    run = studying.prepare_study("tradeoff", store, profile="full", text="recorded = [1024]\n", name="wide")
    assert studying._asked(run, store)[1].recorded == (1024,)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(store):
    assert profiles_of("tradeoff") == ("quick", "full")
    with pytest.raises(ValueError, match="distill has no profile 'vast'; there are: quick, full, default"):
        studying.prepare_study("distill", store, profile="vast")


def test_a_fault_in_settings_as_text_is_told_as_in_a_file(store):
    with pytest.raises(ConfigError, match=r"settings: sedes: no such setting \(seeds\?\)"):
        studying.prepare_study("distill", store, text="sedes = 1\n", name="wrong")
    with pytest.raises(ConfigError, match=r"^settings: 4096 sequences with electrodes, but the curve .* without$"):
        studying.prepare_study("tradeoff", store, profile="full", text="curve = [16, 64, 256, 1024]\n", name="wrong")
    with pytest.raises(ConfigError, match="settings: is not TOML"):
        studying.prepare_study("distill", store, text="seeds = \n", name="wrong")
