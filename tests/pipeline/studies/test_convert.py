"""The conversion study on a language of six symbols: what each arm learns from, what is measured, what is kept."""

import json
import math

import pytest
import torch

from neuroloom.models.speaker import Shape
from neuroloom.models.teachers.hidden_markov import Language
from neuroloom.pipeline import speaking, studying
from neuroloom.pipeline.store import StoreError
from neuroloom.pipeline.studies import _convert_report, convert
from neuroloom.pipeline.studies._converting import ARMS, Schooling, _Course, stream
from neuroloom.pipeline.studies._converting import convert as taught
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig

SMALL = {
    "kind": "hidden_markov", "n_symbols": 6, "n_topics": 2, "successors": 2, "width": 16, "blocks": 2, "heads": 2,
    "context": 12, "steps": 60, "batch": 16,
}  # fmt: skip
SHAPE = Shape(n_inputs=6, n_outputs=6, width=16, blocks=2, context=8)
TINY = convert.Settings(
    teachers={"small": SMALL, "toggle": {"kind": "toggle", "channels": 1, "units": 8, "context": 16, "steps": 10}},
    conversions={
        "small to GRU": convert.Conversion(
            teacher="small", mixer="gru", width=16, length=8, arms=("logits", "both", "electrodes", "shuffled")
        ),
        "toggle to attention": convert.Conversion(
            teacher="toggle", mixer="attention", width=8, length=8, arms=("logits",)
        ),
    },
    headline="small to GRU", k_over_d=(0.25,), longer=(1.0, 2.0), sequences=64, n_test=16, seeds=2,
    schooling={"steps": 12, "batch": 8},
)  # fmt: skip


@pytest.fixture(scope="module")
def lessons(store):
    bench = convert.opened(TINY, store)
    return stream(bench.teacher("small"), length=8, n=64, batch=8, n_test=16)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "mine.toml"
    said = json.loads(TINY.model_dump_json())
    tables = {"schooling": said.pop("schooling")}
    for group in ("teachers", "conversions"):
        tables |= {f'{group}."{name}"': table for name, table in said.pop(group).items()}
    body = {None: said, **tables}
    config.write_text(
        "".join(
            (f"[{name}]\n" if name else "") + "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items())
            for name, table in body.items()
        )
    )
    name = studying.prepare_study("conversion", store, config=config)
    studying.run_study(name, store)
    return name


def course(lessons, arm, strength=1.0, electrodes=None):
    return _Course(lessons, SHAPE, arm, Schooling(steps=10, batch=8), 0, strength, electrodes)


def grads(lessons, arm, done):
    one = course(lessons, arm)
    one._loss(one._seen(0), done).backward()
    return {name: p.grad is not None and bool(p.grad.any()) for name, p in one.speaker.named_parameters()}


def test_more_tokens_bring_it_nearer(lessons):
    found = taught(lessons, SHAPE, "logits", Schooling(steps=60, batch=8), seed=0)
    first, last = found.curve[0], found.curve[-1]
    assert last[0] == 60 * 8 * 8
    assert last[1] < 0.7 * first[1]


def test_states_alone_teach_no_answers_until_the_trunk_stands_still(lessons):
    early, late = grads(lessons, "hidden", 0.5), grads(lessons, "hidden", 0.9)
    assert early["blocks.0.up.weight"]
    assert not early["logits.weight"]
    assert late["logits.weight"]
    assert not late["blocks.0.up.weight"]


def test_the_first_stage_feeds_each_block_with_the_teachers_states(lessons):
    one = course(lessons, "staged")
    seen = one._seen(0)
    fed = one.speaker.through(1, seen.states[0])
    expected = torch.nn.functional.mse_loss(fed, seen.states[1])
    first = torch.nn.functional.mse_loss(one.speaker.through(0, one.speaker.symbols(seen.symbols_BT)), seen.states[0])
    assert one._loss(seen, 0.0).item() == pytest.approx(((expected + first) / 2).item())


def test_the_last_stage_is_the_distribution_alone(lessons):
    staged, alone = (course(lessons, arm) for arm in ("staged", "logits"))
    assert staged._loss(staged._seen(0), 0.9).item() == pytest.approx(alone._loss(alone._seen(0), 0.9).item())
    assert staged._loss(staged._seen(0), 0.3).item() != pytest.approx(alone._loss(alone._seen(0), 0.3).item())


def test_a_piece_that_comes_again_has_the_same_noise(lessons):
    one = course(lessons, "electrodes", electrodes=ElectrodeConfig(n_channels=3))
    again = len(lessons.pieces)
    assert torch.equal(one._seen(0).electrodes_BTK, one._seen(again).electrodes_BTK)
    assert not torch.equal(one._seen(0).electrodes_BTK, one._seen(1).electrodes_BTK)


def test_the_control_has_the_same_values_at_wrong_times(lessons):
    config = ElectrodeConfig(n_channels=3)
    right, wrong = (
        course(lessons, arm, electrodes=config)._seen(0).electrodes_BTK for arm in ("electrodes", "shuffled")
    )
    assert not torch.equal(right, wrong)
    assert right.flatten(0, 1).sort(dim=0).values == pytest.approx(wrong.flatten(0, 1).sort(dim=0).values)


def test_networks_that_are_no_pair_are_refused(lessons):
    with pytest.raises(ValueError, match="no arm 'osmosis'; there are: logits"):
        course(lessons, "osmosis")
    with pytest.raises(ValueError, match="3 blocks cannot be paired with 2 layers"):
        _Course(lessons, Shape(n_inputs=6, n_outputs=6, blocks=3), "local", Schooling(), 0, 1.0, None)
    with pytest.raises(ValueError, match="blocks of width 12 cannot be fed"):
        _Course(lessons, Shape(n_inputs=6, n_outputs=6, width=12), "staged", Schooling(), 0, 1.0, None)


def test_settings_name_what_is_not_there():
    with pytest.raises(ValueError, match="no teacher 'guru'"):
        convert.Settings(conversions={"x": convert.Conversion(teacher="guru", mixer="gru")})
    with pytest.raises(ValueError, match="no arm 'osmosis'"):
        convert.Settings(conversions={"x": convert.Conversion(teacher="toggle", mixer="gru", arms=("osmosis",))})


def test_every_arm_of_the_full_profile_is_one_that_can_be_taught():
    arms = {arm for asked in convert.FULL.conversions.values() for arm in asked.arms}
    assert arms == set(ARMS)


def test_an_arm_that_is_twice_as_fast_takes_half_the_tokens():
    def cell(arm, curve):
        result = {"kl": curve[-1][1], "agreement": 1.0, "curve": curve, "by_length": {}}
        result |= {"read_per_s": 1.0, "spoken_per_s": 1.0, "state_bytes": 1, "parameters": 1}
        return {"conversion": "small to GRU", "arm": arm}, [result, result]

    alone = cell("logits", [[100, 1.0], [200, 0.5], [400, 0.25]])
    both = cell("both", [[100, 0.5], [200, 0.25], [400, 0.2]])
    row = _convert_report._row(TINY, both, [alone, both])
    assert (row["share"], row["share_bound"]) == (pytest.approx(0.5), "")
    assert "share" not in _convert_report._row(TINY, alone, [alone, both])


@pytest.mark.parametrize(("both", "said"), [(0.2, "States saved tokens"), (0.9, "States saved no more")])
def test_a_saving_is_one_beyond_the_control(both, said):
    def row(arm, share):
        ends = {"share": share, "share_low": share - 0.05, "share_high": share + 0.05, "share_bound": ""}
        return {"what": f"small to GRU, {arm}", "conversion": "small to GRU", "arm": arm, "k_over_d": None} | ends

    rows = [row("both", both) | {"tokens": 9}, row("shuffled", 0.9) | {"tokens": 9}]
    assert _convert_report._sentence(TINY, rows, []).startswith(said)


def test_it_says_what_it_took_and_keeps_the_numbers(store, run):
    report = json.loads((store.run_folder(run) / "report.json").read_text())
    assert "(small to GRU, 2 seeds" in report["sentence"]
    assert {row["arm"] for row in report["tables"]["conversions"]} == {"logits", "both", "electrodes", "shuffled"}
    lengths = {row["what"]: row for row in report["tables"]["lengths_toggle"] if row["length"] == 16}
    assert lengths.keys() == {"teacher: toggle", "toggle to attention"}
    assert all(math.isfinite(row["kl"]) for row in report["tables"]["divergence"])
    assert (store.review / f"run-{run}.html").is_file()


def test_the_first_seeds_networks_are_kept_and_speak(store, run):
    names = [path.name for path in speaking.networks(run, store)]
    assert names == [
        "small-to-GRU_both.safetensors", "small-to-GRU_electrodes_0.25.safetensors", "small-to-GRU_logits.safetensors",
        "small-to-GRU_shuffled_0.25.safetensors", "toggle-to-attention_logits.safetensors",
    ]  # fmt: skip
    speech = speaking.generate(run, store, network="small-to-GRU_logits", prompt="ab", length=12)
    assert (speech.prompt, len(speech.said)) == ("ab", 12)
    assert set(speech.said) <= set("abcdef")
    assert 0 < speech.remarks["share_of_steps_the_language_has"] <= 1


def test_what_cannot_be_said_is_one_line(store, run):
    with pytest.raises(StoreError, match="no network 'parrot'; there are: small-to-GRU_both"):
        speaking.generate(run, store, network="parrot")
    with pytest.raises(ValueError, match="the prompt has 'z'; the network reads 'abcdef'"):
        speaking.generate(run, store, network="small", prompt="z")
    with pytest.raises(ValueError, match="'toggle' answers what it is shown"):
        speaking.generate(run, store, network="toggle")
    with pytest.raises(StoreError, match="no network that speaks"):
        speaking.generate("elsewhere", store)


def test_words_are_runs_of_three_letters_and_more():
    from neuroloom.models.teachers.characters import ALPHABET

    text = torch.tensor([ALPHABET.index(letter) for letter in "to read, or to_write"])
    assert speaking.known_words(text) == {"read", "write"}


def test_the_languages_own_speech_is_in_the_language_and_a_slip_is_counted():
    language = Language.drawn(n_symbols=6, n_topics=2, successors=2, stay=0.9, seed=0)
    said, _ = language.speak(200, 20, torch.Generator().manual_seed(0))
    nats, share = speaking.in_language(language, said)
    assert share == 1.0
    assert nats == pytest.approx(language.floor_nats(200, 19, torch.Generator().manual_seed(1)), abs=0.05)
    impossible = torch.nonzero(language.next_ZVV.sum(dim=0) == 0)[0]
    slip = torch.cat([said[:1], impossible[None], said[1:2]], dim=1)
    assert speaking.in_language(language, slip)[1] < 1.0
