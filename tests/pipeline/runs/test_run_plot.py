"""A run, its data and its scores in a notebook."""

import pytest

from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline import evaluate, train
from neuroloom.pipeline.runs.windowing import windows

TOPOLOGY = Topology(name="two", areas=(Area(name="V1"), Area(name="M1")))


@pytest.fixture(scope="module")
def data(simulated):
    return windows([simulated(duration_s=40, n_units=4).session], length_s=0.6)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    network = ModularNetwork(TOPOLOGY, area_size=4, bin_s=0.02)
    folder = tmp_path_factory.mktemp("run")
    return train(network, data, folder=folder, steps=4, batch_size=4, validate_every=2)


def test_data_say_how_many_windows_there_are_of_each_split(data):
    n = {split.name: split.n_windows for split in (data.train, data.validation, data.held_out)}
    told = f"{n['train']} train, {n['validation']} validation, {n['held_out']} held_out"
    assert repr(data) == f"<Windows of 1 session, 0.6 s in bins of 20 ms: {told}>"
    assert repr(data.train).startswith(f"<Split train: {n['train']} windows, ")


def test_features_are_told_in_a_line_each(data):
    (session,) = data.sessions.values()
    made = session.features
    assert (
        repr(made) == f"<Features of {made.session_id}: {made.n_bins:,} bins of 20 ms; ports {', '.join(made.ports)}>"
    )
    assert all(len(repr(port)) < 100 for port in made.ports.values())


def test_data_show_a_row_per_port(data):
    (session,) = data.sessions.values()
    assert data._repr_html_().count("<tr>") == 1 + len(session.features.ports)


def test_a_run_says_what_it_is_of_and_how_far_it_came(run):
    assert repr(run) == (
        f"<Run network: 2 areas of 'two', 4 steps, best {run.best_loss:.4g} at step {run.best_step}, {run.folder}>"
    )
    assert "<td>batch_size</td><td>4</td>" in run._repr_html_()


def test_a_run_without_scores_is_drawn_by_its_loss(run):
    (loss,) = run.plot().axes
    assert {text.get_text() for text in loss.get_legend().get_texts()} >= {"training"}
    assert len(loss.get_lines()[0].get_xdata()) == 4


def test_scores_come_below_the_loss_one_metric_each(run, data):
    scores = evaluate(run, data.held_out, baselines=("mean",))
    _, *below = run.plot(scores).axes
    metrics = dict.fromkeys(row.metric for row in scores)
    assert [axes.get_xlabel() for axes in below] == list(metrics)[:4]
    assert f"<td>{run.name}</td>" in scores._repr_html_()
