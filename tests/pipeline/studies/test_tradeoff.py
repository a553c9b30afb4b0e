"""The trade-off study on people of a language of six symbols."""

import json

import pytest
import torch

from neuroloom.models.teachers import dialect, hidden_markov
from neuroloom.pipeline import studying
from neuroloom.pipeline.studies import _tradeoff_rows, tradeoff
from neuroloom.pipeline.studies._lessons import GAZE, looked_back
from neuroloom.pipeline.studies._people import pooled
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig

SMALL = {
    "n_symbols": 6, "n_topics": 2, "successors": 2, "width": 16, "blocks": 1, "heads": 2, "context": 8, "steps": 20,
    "batch": 16, "own_steps": 5,
}  # fmt: skip
TINY = tradeoff.Settings(
    teacher=SMALL, length=8, n_test=10, new_people=1, seeds=2, draws=5, curve=(8, 16, 32), people=(1, 2),
    recorded=(16,), recorded_people=(1, 2), mixed=((16, 16),), teams=({"surface": 1, "gaze": 1},),
    channels=(2,), snr_db=(0.0,), strengths=(10.0,),
    devices={
        "surface": ElectrodeConfig(n_channels=4),
        "gaze": ElectrodeConfig(n_channels=2, layers=(GAZE,)),
    },
    units=8, schooling={"steps": 10, "validate_every": 5, "batch_size": 8}, budgets=(1_000.0, 100_000.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(store):
    return tradeoff.opened(TINY, store)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    name = prepared(store, tmp_path_factory.mktemp("config"))
    studying.run_study(name, store)
    return name


def prepared(store, folder, **changed):
    said = json.loads(TINY.model_dump_json()) | changed
    tables = {name: said.pop(name) for name in ("teacher", "schooling", "costs")}
    tables |= {f"devices.{name}": config for name, config in said.pop("devices").items()}
    said.pop("prices")
    teams = "".join(f"[[teams]]\n{_toml(team)}" for team in said.pop("teams"))
    (folder / "ours.toml").write_text(
        _toml(said) + teams + "".join(f"[{n}]\n{_toml(table)}" for n, table in tables.items())
    )
    return studying.prepare_study("tradeoff", store, config=folder / "ours.toml")


def test_under_another_name_other_prices_train_nothing(store, run, tmp_path, monkeypatch):
    before = json.loads((store.run_folder(run) / "report.json").read_text())
    (tmp_path / "cheap").mkdir()
    file = prepared(store, tmp_path / "cheap", budgets=[2_000.0, 5_000.0])
    assert file == run  # the same file: the same study, of other budgets
    monkeypatch.setattr(tradeoff, "opened", lambda *_: pytest.fail("people were asked again"))
    text = (tmp_path / "cheap" / "ours.toml").read_text()
    name = studying.prepare_study("tradeoff", store, text=text, name="other-prices")
    assert studying.progress_of(name, store) == studying.progress_of(run, store)
    report = studying.run_study(name, store)
    assert {row["budget"] for row in report.to_json()["tables"]["portfolios"]} == {2_000.0, 5_000.0}
    prepared(store, tmp_path)
    assert json.loads((store.run_folder(run) / "report.json").read_text()) == before
    changed = text.replace("seeds = 2", "seeds = 1")
    assert changed != text
    other = studying.prepare_study("tradeoff", store, text=changed, name="other-seeds")
    assert studying.progress_of(other, store)[0] == 0


@pytest.fixture(scope="module")
def found(store, run):
    cells = studying._cells(run, store, TINY)
    return [(key, cells.get(key)) for key in tradeoff.keys(TINY)]


def test_people_share_a_language_and_have_habits():
    common = hidden_markov.language_of(dialect.Settings(**SMALL)).next_ZVV
    own = [dialect.dialect(hidden_markov.language_of(s), s).next_ZVV for s in (
        dialect.Settings(**SMALL, share=0.25, person=person) for person in (0, 1))]  # fmt: skip
    assert not torch.equal(*own)
    for table in own:
        assert (table >= 0.75 * common - 1e-12).all()
        assert table.sum(dim=-1) == pytest.approx(torch.ones(2, 6).double())


def test_people_answer_differently(bench):
    one, other = bench.people.of(0, 2)
    assert not torch.equal(one.the_oracle("").calibration["block0"], other.the_oracle("").calibration["block0"])


def test_no_two_seeds_share_a_person(bench):
    mine, theirs = ({person.digest for person in bench.people.of(seed, 2)} for seed in (0, 1))
    assert len(mine | theirs) == 4


def test_looking_at_the_last_but_one_is_one_step_back():
    attention = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert looked_back(attention).tolist() == [[[0.0], [1.0]]]


def test_each_person_has_channels_of_their_own(bench):
    people = bench.people.of(0, 2)
    seen = pooled(
        people, 0, 16, [ElectrodeConfig(n_channels=k, layers=("block0",)) for k in (3, 2)]
    ).lessons.electrodes_NTK.isnan()
    assert seen.shape[-1] == 5
    assert (seen[..., :3].all(dim=-1) != seen[..., 3:].all(dim=-1)).all()
    assert (seen[..., :3].any(dim=-1) != seen[..., 3:].any(dim=-1)).all()


def test_plain_sequences_have_no_electrodes(bench):
    found = pooled(bench.people.of(0, 1), 10, 10, [ElectrodeConfig(n_channels=3, layers=("block0",))])
    unknown = found.lessons.electrodes_NTK.isnan().flatten(1).all(dim=1)
    assert (len(found.lessons), int(unknown.sum()), len(found.validation)) == (16, 6, 4)
    assert found.validation.electrodes_NTK is None


def test_only_the_gaze_sees_the_gaze():
    layers = {"block0": 0, GAZE: 0}
    team = {"device": "mixed", "people": 3, "team": {"gaze": 1, "surface": 2}}
    assert [one.layers for one in tradeoff.electrodes_of(TINY, team, layers)] == [(GAZE,), ("block0",), ("block0",)]
    assert tradeoff.electrodes_of(TINY, {"device": "none", "people": 3}, layers) is None


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="64 sequences with electrodes, but the curve has"):
        tradeoff.Settings(curve=(16, 256))
    with pytest.raises(ValueError, match="is none of the devices"):
        tradeoff.Settings(varied="hat")
    with pytest.raises(ValueError, match="a team with 'hat', which is none of the devices gaze"):
        tradeoff.Settings(teams=({"hat": 1, "gaze": 3},))
    with pytest.raises(ValueError, match="two devices or more"):
        tradeoff.Settings(teams=({"gaze": 4},))


def test_behaviour_alone_is_always_a_candidate(found):
    plain = {(k["people"], k["plain"], k["seed"]): r for k, r in found if k["device"] == "none"}
    harmed = [(k, {**r, "candidates": [{**c, "validation_nats": 99.0} for c in r["candidates"]]}) for k, r in found
              if k["device"] == "surface"]  # fmt: skip
    alone = [(k, r) for k, r in found if k["device"] == "none"]
    for cell in _tradeoff_rows.cells_of(alone + harmed, TINY.seeds):
        if cell["device"] == "surface":
            n = cell["plain"] + cell["recorded"]
            assert cell["losses"] == tuple(
                plain[cell["people"], n, seed]["candidates"][0]["kl"] for seed in range(TINY.seeds)
            )


def test_it_says_what_pays_and_keeps_the_numbers(found):
    report = tradeoff.report(TINY, found, {})
    assert report.sentence.startswith("For 1,000 at assumed prices")
    tables = {table.name: table for table in report.every_table()}
    assert {
        "pays",
        "frontier",
        "iso_loss",
        "loss_map",
        "surcharge",
        "exchange",
        "portfolios",
        "mixed",
        "fit",
    } <= tables.keys()
    assert [row["fitted"] for row in tables["fit"].rows].count(False) == 2
    assert {row["device"] for row in tables["exchange"].rows} == {*TINY.devices, "mixed"}
    assert any(row["control"] for row in tables["exchange"].rows)
    json.dumps(report.to_json(), allow_nan=False)


def test_a_grid_that_has_just_begun_says_so(found):
    report = tradeoff.report(TINY, found[:1], {})
    assert report.sentence.startswith("Nothing to say yet")


def test_other_prices_train_nothing_again(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tradeoff, "opened", lambda *_: pytest.fail("the people were asked again"))
    before = json.loads((store.run_folder(run) / "report.json").read_text())["tables"]
    assert prepared(store, tmp_path, costs={"person_hour": 300.0}) == run
    after = studying.run_study(run, store).to_json()["tables"]
    assert after["exchange"] == before["exchange"]
    assert after["portfolios"] != before["portfolios"]


def _toml(table):
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items() if value is not None)
