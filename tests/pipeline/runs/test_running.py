"""Runs by config: what a TOML file may ask for, what it is told when it asks for nonsense."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Port
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store, StoreError

from .two_areas import TWO_AREAS

RUN = """
topology = "two.toml"
length_s = 1.0
steps = 6
batch_size = 4
area_size = 6
inputs = ["light"]
"""


def lfp_at(session: Session, *places: tuple[float, float, float]) -> Session:
    """The session with its first electrodes at these places, mm."""
    lfp = session["lfp"]
    unknown = (float("nan"),) * 3
    rows = [*places, *[unknown] * (len(lfp.channel_names) - len(places))]  # type: ignore[union-attr]
    table = {f"{axis}_mm": tuple(row[i] for row in rows) for i, axis in enumerate("xyz")}
    others = tuple(stream for stream in session.streams if stream.name != "lfp")
    return replace(session, streams=(*others, replace(lfp, table=table)))  # type: ignore[type-var]


@pytest.fixture
def store(tmp_path: Path, turning: Callable[..., Session]) -> Store:
    """A store with two sessions of one person, electrodes moved between them."""
    made = Store(tmp_path / "store").create()
    (tmp_path / "two.toml").write_text(TWO_AREAS)
    mixing = np.random.default_rng(5).standard_normal((2, 4))
    for day, options in enumerate(({}, {"mixing": mixing, "n_lfp": 4, "seed": 1})):
        session = turning(session=f"{day + 1:02d}", day=day, **options)
        session = lfp_at(session, (1.0, -78.0, 10.0), (-40.0, 5.0, 50.0))
        session.save(made.sessions / session.id / "v001")
    return made


def asked(tmp_path: Path, text: str, name: str = "run") -> run_config.RunConfig:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return run_config.read_run_config(path)


def target(run: Any, store: Store, name: str = "lfp") -> Port:
    """A target port of the first session as the network knows it."""
    return next(port for port in run.network.ports(store.session_ids()[0])[1] if port.name == name)


def trained(store: Store, tmp_path: Path, text: str, name: str = "run") -> Any:
    preparing.prepare_run(asked(tmp_path, text, name), store)
    return running.train_run(name, store)


def test_objectives_forcing_and_controls_are_asked_for_in_the_file(store: Store, tmp_path: Path) -> None:
    text = (
        RUN
        + """
    shuffle_recording = true
    [[objectives]]
    kind = "features"
    target = "lfp"
    weights = [1.0]
    [[objectives]]
    kind = "wiring"
    weight = { start = 0.1, end = 0.0 }
    [forcing]
    ports = ["lfp"]
    [network]
    session_size = 2
    kind = { V1 = "gated_linear", M1 = "transformer" }
    kind_options = { transformer = { window_bins = 5 } }
    [training]
    prune_to = 0.5
    """
    )
    run = trained(store, tmp_path, text)
    assert [row["weights"]["0: features lfp"] for row in run.choice] == [0.0, 1.0]
    opened = running.open_run(store, "run")
    assert opened.network.kind_options == {"transformer": {"window_bins": 5}}
    assert len(judging.evaluate_run("run", store).rows) > 0
    assert running.progress_of(store, "run") == (12, 12)


def test_a_finished_run_is_found_finished(store: Store, tmp_path: Path) -> None:
    text = RUN + "[[objectives]]\nkind = 'features'\ntarget = 'lfp'\nweights = [1.0]\n"
    first = trained(store, tmp_path, text)
    again = trained(store, tmp_path, text)
    assert (again.losses, again.choice) == (first.losses, first.choice)


def test_a_run_goes_on_from_another_and_changes_only_what_a_session_has_of_its_own(
    store: Store, tmp_path: Path
) -> None:
    first, second = store.session_ids()
    trained(store, tmp_path, f'sessions = ["{first}"]\n{RUN}[network]\nsession_size = 2\n', "base")
    text = f'sessions = ["{second}"]\nstart_from = "base"\n{RUN}[training]\ntrain_only = "session"\n'
    trained(store, tmp_path, text, "new")
    base, new = (running.open_run(store, name).network for name in ("base", "new"))
    there = dict(new.named_parameters())
    for name, parameter in base.named_parameters():
        assert torch.equal(parameter, there[name])  # what is shared, and the first session's own
    assert set(there) - set(dict(base.named_parameters()))
    assert len(judging.evaluate_run("new", store).rows) > 0


def test_channels_go_by_their_coordinates_where_that_is_asked_for(store: Store, tmp_path: Path) -> None:
    text = RUN + 'place = "coordinates"\nplace_within_mm = 10\n'
    run = trained(store, tmp_path, text)
    assert target(run, store).areas == ("V1", "M1", "", "", "", "")
    said = document_of(store.run_folder("run") / "channels.json")["channels"]
    assert [(c["area"], c["how"], c["distance_mm"]) for c in said[:2]] == [
        ("V1", "nearest", pytest.approx(5**0.5)),
        ("M1", "nearest", 5.0),
    ]
    assert [c["how"] for c in said[2:6]] == ["learned"] * 4
    assert all(0.5 <= c["share"] < 1 for c in said[2:6])  # of two areas the likelier
    with pytest.raises(ValueError, match="the nearest area of 'two'; at most 1 mm"):
        trained(store, tmp_path, RUN + 'place = "coordinates"\nplace_within_mm = 1\n', "near")


def test_pathways_are_estimated_from_training_time(store: Store, tmp_path: Path) -> None:
    text = RUN + 'place = "coordinates"\n[functional]\nport = "lfp"\ndensity = 1.0\nnegatives = "absolute"\n'
    run = trained(store, tmp_path, text)
    assert "estimated from the correlation" in run.network.topology.notes[0]
    assert run.network.topology.pathways[0].length_mm == pytest.approx(98.0, abs=0.1)  # the straight distance


def test_streams_may_be_of_another_kind(store: Store, tmp_path: Path) -> None:
    run = trained(store, tmp_path, RUN + '[kinds]\nlfp = "continuous"\n')
    assert target(run, store).kind == "continuous"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[[objectives]]\nkind = 'mse'",
            r"run\.toml: \[\[objectives\]\] 1: no objective 'mse'; there are: attention, cka",
        ),
        ("[[objectives]]\ntarget = 'lfp'", r"run\.toml: \[\[objectives\]\] 1: .*kind"),
        ("[forcing]\nports = []", r"run\.toml: \[forcing\]: forcing by \[\]"),
        ("[forcing]\nstrength = 1", r"run\.toml: \[forcing\]: .*strength"),
        ("[functional]\ndensity = 0.2", r"run\.toml: \[functional\]: port is missing"),
        ("[functional]\nport = 'lfp'\nmethod = 'guess'", r"run\.toml: \[functional\]: method is 'guess'"),
        ("[training]\ntrain_only = 'some'", r"run\.toml: \[training\]: train_only is 'some'"),
        ("[training]\ncolour = 1", r"run\.toml: \[training\]: .*colour"),
        ("shuffle_recording = true\nsurrogate = true", "a control is one of them"),
        ("[features]\nartefacts = ['muscle']\nbin = 1", r"run\.toml: \[features\]: .*bin"),
        ("place = 'somewhere'", r"run\.toml: place: "),
    ],
)
def test_a_config_that_makes_no_sense_is_told_with_file_and_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        asked(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[network]\ncolour = 1", r"run: \[network\]: 'colour' is no setting; there are area_size, .*kind"),
        ("[kinds]\nlfp = 'poisson'", r"run\.toml: \[kinds\]: lfp is 'poisson'; one of bold, choice"),
        ("[kinds]\nlfp = 'bold'", r"run: lfp: windows of \S+ s; what is read out settles after 20 s"),
        ("[functional]\nport = 'meg'", r"run: no port 'meg' in any session; there are"),
        ("[training]\nport_weights = { eeg = 2.0 }", r"run: port_weights: 'eeg' is no target; there are"),
        ("[network]\nkind = 'lstm'", r"run: \[network\]: no kind of module 'lstm'; there are: gated_linear, gru"),
        ("[forward]\neeg = 'head-fwd.fif'", r"run: \[forward\] eeg: no session has such a target"),
        ("[forward]\nlfp = 'head-fwd.fif'", r"head-fwd\.fif: .*a forward solution"),
    ],
)
def test_what_only_a_training_can_find_out_is_told_in_one_line(
    store: Store, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(store, tmp_path, RUN + text)


def test_a_run_cannot_start_from_one_that_is_not_there_or_change_its_network(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no such run"):
        trained(store, tmp_path, RUN + 'start_from = "nowhere"\n')
    trained(store, tmp_path, RUN, "base")
    with pytest.raises(ConfigError, match="are those of 'base'"):
        trained(store, tmp_path, RUN + 'start_from = "base"\n[network]\nrank = 2\n', "other")


def test_a_session_too_short_for_windows_is_left_out_unless_it_is_named(
    store: Store, tmp_path: Path, turning: Callable[..., Session]
) -> None:
    long = store.session_ids()
    short = turning(session="03", duration_s=3)
    short.save(store.sessions / short.id / "v001")
    config = asked(tmp_path, RUN)
    preparing.prepare_run(config, store)
    made = preparing.requested(store, "run")
    assert list(made.sessions) == long
    assert made.left_out[short.id].startswith("3.0 s of recording; at least")
    with pytest.raises(ValueError, match=rf"{short.id}: 3\.0 s of recording"):
        trained(store, tmp_path, f'sessions = ["{short.id}"]\n{RUN}', "named")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[training]\npatience = "soon"', r"\[training\]: patience is 'soon'; a whole number"),
        ("[training]\npatience = -1", r"\[training\]: patience is -1; 0 or more"),
        ("[training]\nclip_norm = 0", r"\[training\]: clip_norm is 0; above 0"),
        ("[training]\nlearning_rate = inf", r"\[training\]: learning_rate is inf; a finite number"),
        ("[training]\nprocesses = true", r"\[training\]: processes is True; a whole number"),
        ("[training]\nprecision = 16", r"\[training\]: precision is 16; a text"),
        ('[forcing]\nports = "lfp"', r"\[forcing\]: ports is 'lfp'; a list of ports"),
        ('[kinds]\nhand = "bolt"', r"\[kinds\]: hand is 'bolt'; one of bold, choice, continuous, eeg"),
    ],
)
def test_a_setting_of_another_type_or_out_of_bounds_is_refused_before_anything_is_made(
    tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml: " + said):
        asked(tmp_path, f"{RUN}{more}\n")
