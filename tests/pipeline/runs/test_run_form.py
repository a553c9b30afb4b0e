"""A training as a form says what the config file would say, and reaches no file outside of the store."""

import dataclasses
import inspect

import pytest
from pydantic import ValidationError

from neuroloom.models import ModularNetwork
from neuroloom.models.modules import kinds as module_kinds
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.runs.run_config import RunConfig, training_of
from neuroloom.pipeline.runs.run_form import NetworkForm, NewRun, TrainingForm
from neuroloom.pipeline.runs.training import TrainConfig
from neuroloom.pipeline.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").create()


def test_the_form_has_the_defaults_of_what_it_stands_for():
    taken = {name: given.default for name, given in inspect.signature(ModularNetwork).parameters.items()}
    assert {name: taken[name] for name in NetworkForm.model_fields} == NetworkForm().model_dump()
    taken = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    assert {name: taken[name] for name in TrainingForm.model_fields} == TrainingForm().model_dump()
    taken = {name: field.default for name, field in RunConfig.model_fields.items()}
    shared = set(NewRun.model_fields) - {"name", "network", "training", "topology"}
    assert {name: taken[name] for name in shared} == {name: NewRun.model_fields[name].default for name in shared}


def test_titles_are_written_as_people_write_them():
    titles = {
        name: field["title"] for name, field in NewRun.model_json_schema()["properties"].items() if "title" in field
    }
    assert (titles["length_s"], titles["batch_size"]) == ("Length, s", "Batch size")


def test_every_kind_of_module_of_the_form_is_there():
    for kind in NetworkForm.model_json_schema()["properties"]["kind"]["enum"]:
        assert module_kinds(kind).Module


def test_what_is_typed_in_is_what_is_trained(store):
    new = NewRun(name="a", steps=7, network={"kind": "gru", "noise": 0.1}, training={"patience": 3})
    config = new.config(store)
    assert (config.topology, config.network) == ("four-areas", {"kind": "gru", "noise": 0.1})
    how = training_of(config)
    assert (how.steps, how.patience, how.learning_rate) == (7, 3, TrainConfig().learning_rate)


def test_a_topology_is_one_that_ships_or_a_file_in_the_store(store, tmp_path):
    (store.root / "mine.toml").write_text("")
    assert NewRun(name="a", topology="mine.toml").config(store).topology == str(store.root.resolve() / "mine.toml")
    (tmp_path / "outside.toml").write_text("")
    (store.root / "link.toml").symlink_to(tmp_path / "outside.toml")
    for elsewhere in ("../outside.toml", str(tmp_path / "outside.toml"), "link.toml", "nobody", ""):
        with pytest.raises(ConfigError, match=r"a file in .* or one of desikan68, four-areas is wanted"):
            NewRun(name="a", topology=elsewhere).config(store)


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "x" * 90])
def test_a_name_is_that_of_a_folder(name):
    with pytest.raises(ValidationError):
        NewRun(name=name)
