"""Where students learn: one setting of every study, which is no part of what a cell is."""

import json

import pytest
import torch

from neuroloom.models.brain_students import BrainShape, BrainStudents
from neuroloom.models.topology import Topology
from neuroloom.pipeline import studying
from neuroloom.pipeline.studies import kinds
from neuroloom.pipeline.studies._device import place_of

TINY = """
seeds = 1
curve = [4, 8]
budgets = [8]
channels = [4]
snr_db = [0.0]
at = [4, 0.0]
presets = {}
strengths = [10.0]
units = 8
length = 8
n_test = 8
upper_bounds = false
[schooling]
steps = 4
validate_every = 2
batch_size = 4
[teacher]
kind = "hidden_markov"
n_symbols = 6
n_topics = 2
successors = 2
width = 8
blocks = 1
heads = 2
context = 12
steps = 3
batch = 4
"""
on_an_accelerator = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no accelerator here")


def test_auto_is_an_accelerator_where_there_is_one_and_the_cpu_elsewhere(monkeypatch):
    for has_one, place in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_one=has_one: has_one)
        assert {kinds(name).Settings().place for name in kinds.names()} == {torch.device(place)}


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device = 'cuda', but torch sees"):
        place_of("cuda")
    with pytest.raises(ValueError, match="device = 'gpu' is none that torch knows; auto, cpu or cuda are wanted"):
        place_of("gpu")


def test_cells_made_before_there_was_a_device_are_found_whatever_is_asked_for(store, tmp_path):
    run = studying.prepare_study("distill", store, text=TINY, name="old")
    said = studying.run_study(run, store)
    assert said.conditions["device"].startswith("cuda" if torch.cuda.is_available() else "cpu")
    request = store.run_folder(run) / "study.json"
    before = json.loads(request.read_text())
    assert before["settings"].pop("device") == "auto"
    request.write_text(json.dumps(before))  # as an older neuroloom wrote it
    assert studying.progress_of(run, store) == (5, 5)
    assert studying.prepare_study("distill", store, text=f'device = "cpu"\n{TINY}', name="old") == "old"
    assert studying.progress_of("old", store) == (5, 5)


def test_a_brain_moves_with_what_its_students_share():
    shape = BrainShape(topology=Topology.read("four-areas"), entry="V1", exit="M1", n_inputs=4, n_electrodes=2)
    students = BrainStudents(shape, (0,)).to("meta")
    (network,) = students.template
    tensors = [*students.parameters(), *network.parameters(), *network.buffers()]
    assert {value.device.type for value in tensors} == {"meta"}


@on_an_accelerator
def test_a_cell_is_made_on_an_accelerator(store):
    run = studying.prepare_study("distill", store, text=TINY, name="there")
    assert studying.run_study(run, store).conditions["device"].startswith("cuda")
