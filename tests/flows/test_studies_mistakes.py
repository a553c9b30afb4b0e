"""What a person writes wrongly for record-teacher and study is one line: the file, what was found, what is wanted."""

import pytest

TEACHER = """
[teacher]
n_symbols = 6
n_topics = 2
successors = 2
width = 16
blocks = 2
heads = 2
context = 12
steps = 3
batch = 4
"""

RECORDINGS = {
    "sequence = 3": r"sequence: no such setting (sequences?); known here: name, subject",
    "sequences = 0": "sequences: Input should be greater than or equal to 1, found 0",
    "step_s = inf": "step_s: Input should be a finite number, found inf",
    'subject = "sub 01"': "subject: 1 to 40 letters and digits without spaces or signs are wanted, found 'sub 01'",
    'teacher = "toggle"': "teacher: a table is wanted, found 'toggle'",
    '[teacher]\nkind = "gpt"': "teacher: no teacher 'gpt'; there are: causal_lm, characters",
    '[teacher]\nkind = "module"': "teacher: a module cannot be named in a configuration file",
    '[teacher]\nkid = "toggle"': "teacher: kid: no such setting; known here: n_symbols",
    "[teacher]\nwidht = 16": "teacher: widht: no such setting (width?)",
    '[teacher]\nwidth = "wide"': "teacher: width: Input should be a valid integer",
    "[teacher]\nwidth = 17": "teacher: width = 17; a multiple of heads = 4 is wanted",
    "[teacher]\nsteps = 0": "teacher: steps = 0; 1 or more is wanted",
    "[teacher]\nblocks = -1": "teacher: blocks = -1; 1 or more is wanted",
    "[teacher]\nsuccessors = 40": "teacher: successors = 40; 1 to 32 is wanted",
    '[teacher]\nkind = "dialect"\nshare = 3': "teacher: share = 3.0; 0 to 1 is wanted",
    '[teacher]\nkind = "toggle"\nchannels = 40': "teacher: channels = 40; 1 to 12 is wanted",
    '[teacher]\nkind = "causal_lm"': "teacher: path: is missing",
    "length = 100": "sequences of 100 steps, but the teacher hidden_markov reads 64 at most",
    'electrodes = "probe"': "electrodes: a list is wanted, found 'probe'",
    "[electrodes]\nn_channels = 3": "electrodes: a list of tables is wanted, each under [[electrodes]]",
    "[[electrodes]]\nn_channel = 3": "electrodes.0.n_channel: no such setting (n_channels?)",
    '[[electrodes]]\nkind = "utah"': "electrodes.0.kind: Input should be 'projection', 'local', 'sparse', 'eeg' or",
    '[[electrodes]]\nname = "a/../../b"': "electrodes.0.name: 1 to 40 letters and digits",
    "[[electrodes]]\n[[electrodes]]": "electrodes: devices named probe, probe; names that differ, and not 'behaviour'",
    "[[electrodes]]\nsnr_db = -inf": "electrodes.0.snr_db: a number of decibels, or inf, is wanted, found -inf",
    "[[electrodes]]\nsnr_spread_db = inf": "electrodes.0.snr_spread_db: Input should be a finite number",
    '[[electrodes]]\nlayers = "block0"': "electrodes.0.layers: a list is wanted, found 'block0'",
    f'length = 12\n[[electrodes]]\nlayers = ["block9"]\n{TEACHER}': "no layer 'block9' to record; there are block0",
}

STUDIES = {
    ("distill", "sedes = 3"): "sedes: no such setting (seeds?)",
    ("distill", "curve = []"): "curve: a list that is not empty is wanted",
    ("distill", "curve = [0, 16]"): "curve.0: Input should be greater than or equal to 2, found 0",
    ("distill", "budgets = []"): "budgets: a list that is not empty is wanted",
    ("distill", "at = [7]"): "at.1: is missing",
    ("distill", 'at = "24 at 0 dB"'): "at: a list is wanted, found '24 at 0 dB'",
    ("distill", '[teacher]\nkind = "hidden_markow"'): "teacher: no teacher 'hidden_markow'; there are",
    ("distill", '[teacher]\nsession = "x"\nelectrode = ["a"]'): "teacher: electrode: no such setting (electrodes?)",
    ("distill", "[schooling]\nstep = 3"): "schooling: step: no such setting (steps?)",
    ("distill", '[schooling]\nsteps = "many"'): "schooling: steps: Input should be a valid integer",
    ("distill", "[presets.mine]\nn_chanels = 3"): "presets.mine.n_chanels: no such setting (n_channels?)",
    ("distill", 'device = "gpu"'): "device = 'gpu' is none that torch knows",
    ("distill", f"length = 13\n{TEACHER}"): "sequences of 13 steps, but the teacher hidden_markov reads 12 at most",
    ("mindread", "window = 0"): "window: Input should be greater than or equal to 1",
    ("mindread", f'length = 12\ncovered = ["block9"]\n{TEACHER}'): "no layer 'block9'; there are block0, block1",
    ("stabilise", 'arms = ["behavior"]'): "arms: no arm 'behavior'; there are: behaviour, curriculum",
    ("stabilise", 'systems = ["toggel"]'): "systems.0: Input should be 'toggle', 'brain' or 'chaotic', found 'toggel'",
    ("stabilise", "[teacher]\nchanels = 2"): "teacher: chanels: no such setting (channels?)",
    ("stabilise", "lengths = [500]"): "sequences of 500 steps, but the teacher toggle reads 24 at most",
    ("tradeoff", "[prices.gaze]\nhours = 5"): "prices.gaze.hours: no such setting (hour?)",
    ("tradeoff", "[prices.helmet]\nhour = 5"): "prices of 'helmet', which is none of the devices gaze, eeg-like",
    ("tradeoff", "[prices.gaze]\nhour = 5"): "no prices of 'eeg-like'; there are those of gaze",
    ("tradeoff", "budgets = [0]"): "budgets.0: Input should be greater than 0",
    ("tradeoff", "[[teams]]\nhelmet = 3"): "a team with 'helmet', which is none of the devices",
    ("convert", '[conversions.x]\nteacher = "nobody"\nmixer = "gru"'): "x: no teacher 'nobody'; there are: transformer",
    ("convert", '[conversions.x]\nteacher = "transformer"\nmixer = "grue"'): "no mixer 'grue'; there are",
}


@pytest.mark.parametrize(("text", "told"), RECORDINGS.items())
def test_a_wrong_recording(neuroloom, tmp_path, text, told):
    (tmp_path / "mine.toml").write_text(text)
    said = neuroloom("record-teacher", tmp_path / "mine.toml")
    last = said.err.splitlines()[-1]
    assert said.code == 2
    assert last.startswith("neuroloom: ")
    assert "mine" in last
    assert told in last
    assert not (tmp_path / "store" / "runs" / "mine").exists()


@pytest.mark.parametrize(("study", "text"), STUDIES)
def test_a_wrong_study(neuroloom, tmp_path, study, text):
    (tmp_path / "mine.toml").write_text(text)
    said = neuroloom("study", study, "--config", tmp_path / "mine.toml")
    last = said.err.splitlines()[-1]
    assert said.code == 2
    assert last.startswith("neuroloom: ")
    assert "mine" in last
    assert STUDIES[study, text] in last
