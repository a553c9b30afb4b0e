"""Mind reading: what of a teacher's mind can be read from noisy electrodes, in bits, beside what there is to read.

    token        the symbol it reads now               ceiling: its entropy
    answer       what it answers                       ceiling: entropy less the teacher's own uncertainty
    topic        the hidden topic behind the symbols   ceiling: what the symbols so far tell of it (exact posterior)
    attention    does a head look mostly at the symbol before? (each head at its median, mean over heads)
    certainty    is the teacher more certain than usual?

    bits = H(target) - cross-entropy of the decoder on sequences it has never seen, nobody of which it was fitted on

Where electrodes lie is varied, too: in one layer alone, from which a head of a later one should be read less well; and
their values at wrong times are a control, from which nothing should be.

A negative number says that the decoder fits noise, and is shown as it is. Decoders: linear; linear over a window of the
last steps; one hidden layer over the same window; and the step's linear decoder with a language model as prior:
p(target | e) / p(target) * p(target | what was decoded before), or before and after. The language model is taught on
text (`_language_model.py`); of the test it sees what was decoded, never the symbols. Beside it stands the bound: the
same evidence with the hidden-Markov language itself as prior, which nobody has of a person.
Capacity: no decoder can give more bits per sample than the channel carries for Gaussian signals; see synthesis.py.
Shapes: N sequences, T steps, K channels, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from neuroloom.models.teachers import hidden_markov
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _decoders, _mindread_report
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._decoders import Rows, Scaler, best_linear, linear, mlp, windowed
from neuroloom.pipeline.studies._device import Placed
from neuroloom.pipeline.studies._language_model import Sayings, nats, taught, told
from neuroloom.pipeline.studies._lessons import DEFAULT_KIND, Lessons, lessons_for
from neuroloom.pipeline.studies._report import Report
from neuroloom.pipeline.studies._tables import AnyTeacher, Number, Numbers
from neuroloom.pipeline.studies.distill import SMALL_TEACHER
from neuroloom.pipeline.synthetic.synthesis import Decibels, ElectrodeConfig, shuffled

TITLE = "What can be read from a mind?"
ALSO = ("mindreading", "mind-reading")
BITS = 1 / math.log(2)
TRUSTS = (0.25, 0.5, 0.75, 1.0)  # in a decoder's evidence beside a prior: it was fitted without one


class Settings(Placed):
    """What is asked. Defaults are the quick profile.

    sequences: with electrodes, per seed; a fifth of them chooses, a fifth is the test. window: steps a decoder may look
    back. text: sequences without electrodes that a language model learns from as well. retrieval: of so many test
    sequences the right one is looked for by its decoded symbols. covered: layers in
    which all electrodes of the cell `at` lie, one after the other; every block of a hidden-Markov teacher by default.
    """

    teacher: AnyTeacher = Field(default_factory=lambda: dict(SMALL_TEACHER))
    length: int = Field(default=32, ge=2)
    sequences: int = Field(default=300, ge=5)
    seeds: int = Field(default=3, ge=1)
    channels: Numbers = (6, 24)
    snr_db: tuple[Decibels, ...] = (-10.0, 0.0, 10.0)
    at: tuple[Number, Decibels] = (24, 0.0)
    window: int = Field(default=4, ge=1)
    text: int = Field(default=1000, ge=0)
    retrieval: int = Field(default=50, ge=2)
    units: int = Field(default=128, ge=1)
    covered: tuple[str, ...] | None = None

    @property
    def is_real(self) -> bool:
        """Whether the teacher is a session, whose electrodes are as they are: there is no grid."""
        return "session" in self.teacher

    @property
    def is_hidden_markov(self) -> bool:
        """Whether the teacher is the default kind, whose language and blocks are known."""
        return not self.is_real and self.teacher.get("kind", DEFAULT_KIND) == "hidden_markov"

    @property
    def layers(self) -> tuple[str, ...]:
        """Those covered alone."""
        if self.covered is not None or not self.is_hidden_markov:
            return self.covered or ()
        blocks = self.teacher.get("blocks", hidden_markov.Settings().blocks)
        return tuple(f"block{i}" for i in range(int(blocks)))


FULL = Settings(
    teacher={"kind": "hidden_markov"}, length=64, sequences=1250, channels=(8, 32, 128),
    snr_db=(-10.0, 0.0, 10.0), at=(128, 0.0),
)  # fmt: skip


def opened(settings: Settings, store: Store, progress: Any = None) -> Lessons:
    """The teacher's lessons, recorded throughout, with its attention."""
    n = settings.seeds * settings.sequences
    lessons = lessons_for(
        settings.teacher, store, n=n + settings.text, n_recorded=n, n_test=1, length=settings.length, progress=progress,
        attention=True,
    )  # fmt: skip
    if settings.sequences > len(lessons.inputs):
        raise ValueError(f"sequences = {settings.sequences}; {lessons.name} has {len(lessons.inputs)} to learn from")
    known = () if lessons.oracle is None else tuple(lessons.oracle.states)
    if unknown := [layer for layer in settings.layers if layer not in known]:
        raise ValueError(f"covered: no layer {unknown[0]!r}; there are {', '.join(known) or 'none in a session'}")
    return lessons


def keys(settings: Settings) -> list[Key]:
    """Every cell: electrodes and a seed."""
    at = {"k": settings.at[0], "snr_db": settings.at[1]}
    grid = [{"k": k, "snr_db": snr} for k in settings.channels for snr in settings.snr_db]
    cells: list[dict[str, Any]] = [at] if settings.is_real else [*grid]
    cells += [at | {"layer": layer} for layer in settings.layers]
    cells += [at | {"control": "shuffled"}]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """One by one."""
    return [[key] for key in asked]


def solve(lessons: Lessons, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Every target decoded in every way, for each cell."""
    return [_cell(lessons, settings, key) for key in asked]


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _mindread_report.report(settings, found, facts)


def _cell(lessons: Lessons, settings: Settings, key: Key) -> Result:
    rows = lessons.rows(int(key["seed"]), settings.sequences, settings.sequences)
    place: dict[str, Any] = {"subject_seed": int(key["seed"]), "noise_seed": int(key["seed"])}
    place |= {"layers": (key["layer"],)} if "layer" in key else {}
    asked = ElectrodeConfig(n_channels=int(key["k"]), snr_db=float(key["snr_db"])).model_copy(update=place)
    tape = lessons.tape(asked, rows)
    values = shuffled(tape.values_TK, int(key["seed"])) if "control" in key else tape.values_TK
    e_NTK = torch.as_tensor(values).view(len(rows), lessons.length, -1)
    parts = _parts(len(rows))
    e_NTK = Scaler.of(e_NTK[parts[0]])(e_NTK).to(settings.place)
    is_grid = not {"layer", "control"} & key.keys()
    read: list[dict[str, Any]] = []
    for name, (target_NT, n_classes, ceiling) in targets(lessons, rows, parts).items():
        read += _read(name, e_NTK, target_NT, n_classes, ceiling, parts, settings, int(key["seed"]), is_grid)
    found: Result = {"read": read, "facts": tape.facts.to_json()}
    return found | (_with_prior(lessons, rows, e_NTK, parts, settings, int(key["seed"])) if is_grid else {})


def _parts(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Training, choosing and test, by time: three, one and one fifths."""
    order, fifth = torch.arange(n), max(1, n // 5)
    return order[: n - 2 * fifth], order[n - 2 * fifth : n - fifth], order[n - fifth :]


Target = tuple[Tensor, int, float | None]


def targets(lessons: Lessons, rows: Tensor, parts: tuple[Tensor, Tensor, Tensor]) -> dict[str, Target]:
    """Per name: classes (N, T), how many there are, and the bits there are to read at the test, None where unknown.

    What only a model can tell is left out for a session, and so are its answers where some were not given.
    """
    test = parts[2]
    symbols, answers = lessons.inputs[rows], lessons.answers_NT[rows]
    found: dict[str, Target] = {"token": (symbols, lessons.n_inputs, _entropy(symbols[test], lessons.n_inputs))}
    oracle = lessons.oracle
    if oracle is None:
        all_known = bool((answers != _decoders.UNKNOWN).all())
        return found | ({"answer": (answers, lessons.n_outputs, None)} if all_known else {})
    log_prob = oracle.log_prob_NTV[rows]
    uncertain_NT = -(log_prob.exp() * log_prob).sum(dim=-1)
    own = float(uncertain_NT[test].mean()) * BITS
    found["answer"] = (answers, lessons.n_outputs, _entropy(answers[test], lessons.n_outputs) - own)
    if oracle.topic_NT is not None and oracle.posterior_NTZ is not None:
        topic, posterior = oracle.topic_NT[rows], oracle.posterior_NTZ[rows]
        told = float(-posterior[test].gather(-1, topic[test][..., None]).log().mean()) * BITS
        n_topics = posterior.shape[-1]
        found["topic"] = (topic, n_topics, _entropy(topic[test], n_topics) - told)
    for layer, attention in oracle.attention.items():
        for head in range(attention.shape[1]):
            before = attention[rows][:, head].diagonal(offset=-1, dim1=-2, dim2=-1)
            before = torch.nn.functional.pad(before, (1, 0))
            found[f"attention {layer}.{head}"] = (_above_median(before, parts[0]), 2, None)
    return found | {"certainty": (_above_median(-uncertain_NT, parts[0]), 2, None)}


def _above_median(value_NT: Tensor, train: Tensor) -> Tensor:
    return (value_NT > value_NT[train].median()).long()


def _entropy(target_NT: Tensor, n_classes: int) -> float:
    share = torch.bincount(target_NT.flatten(), minlength=n_classes).double() / target_NT.numel()
    return float(-(share * share.clamp_min(1e-12).log()).sum()) * BITS


def _read(
    name: str,
    e_NTK: Tensor,
    target_NT: Tensor,
    n_classes: int,
    ceiling: float | None,
    parts: tuple[Tensor, Tensor, Tensor],
    settings: Settings,
    seed: int,
    by_all: bool,
) -> list[dict[str, Any]]:
    """Bits of one target by each decoder; attention (there are many heads) and certainty by the window alone, and so
    everything where not `by_all`.
    """
    train, choose, test = parts
    entropy = _entropy(target_NT[test], n_classes)

    def rows(features: Tensor, part: Tensor) -> Rows:
        return features[part].flatten(0, 1), target_NT[part].flatten().to(features.device)

    wide = windowed(e_NTK, settings.window)
    decoders = {"linear, window": best_linear(rows(wide, train), rows(wide, choose), n_classes)[0]}
    features = {"linear, window": wide, "linear": e_NTK, "network, window": wide}
    if by_all and name in ("token", "answer", "topic"):
        decoders["linear"] = best_linear(rows(e_NTK, train), rows(e_NTK, choose), n_classes)[0]
        decoders["network, window"] = mlp(
            rows(wide, train), rows(wide, choose), n_classes, units=settings.units, seed=seed
        )
    found = []
    for decoder, classifier in decoders.items():
        log_prob = classifier(rows(features[decoder], test)[0]).cpu()
        y = target_NT[test].flatten()
        bits = entropy + float(log_prob.gather(-1, y[:, None]).mean()) * BITS
        right = float((log_prob.argmax(dim=-1) == y).double().mean())
        said = {"target": name.partition(" ")[0], "place": name, "decoder": decoder, "bits": bits, "right": right}
        found.append(said | {"entropy": entropy, "ceiling": ceiling})
    return found


def _with_prior(
    lessons: Lessons, rows: Tensor, e_NTK: Tensor, parts: tuple[Tensor, Tensor, Tensor], settings: Settings, seed: int
) -> Result:
    """The token with and without a language model's prior, and the right sequence looked for among others."""
    if not lessons.reads_symbols:
        return {}
    train, choose, test = parts
    symbols, n = lessons.inputs[rows], lessons.n_inputs
    text = torch.cat([symbols[train], lessons.inputs[lessons.n_recorded :]])
    share = (torch.bincount(text.flatten(), minlength=n) + 1.0).log().log_softmax(dim=-1)
    shown = symbols.to(e_NTK.device)
    x = [(e_NTK[part].flatten(0, 1), shown[part].flatten()) for part in (train, choose)]
    decoder, penalty = best_linear(x[0], x[1], n)

    def evidence(part: Tensor) -> Tensor:
        return decoder(e_NTK[part].flatten(0, 1)).cpu().view(len(part), lessons.length, n) - share

    unseen = _decoders.cross_fitted(e_NTK[train], shown[train], lambda known: linear(*known, n, penalty)).cpu() - share
    sayings, held, heard = Sayings.of(unseen, symbols[train]), (evidence(choose), symbols[choose]), evidence(test)
    said = {"plain": heard + share}
    for name, ahead in (("prior", False), ("whole", True)):
        model = taught(text, sayings, share, held, ahead=ahead, seed=seed)
        trust = min(TRUSTS, key=lambda trust: float(nats(told(model, held[0], trust), held[1])))
        said[name] = told(model, heard, trust)
    if settings.is_hidden_markov:
        past, whole = hidden_markov.language_told(settings.teacher).heard(heard)
        said |= {"bound": past.float(), "bound, whole": whole.float()}
    entropy, among = _entropy(symbols[test], n), settings.retrieval
    return {
        "language_model": {name: entropy - float(nats(each, symbols[test])) * BITS for name, each in said.items()},
        "retrieval": {name: retrieved(each, symbols[test], among) for name, each in said.items()},
        "among": min(among, len(test)),
    }


def retrieved(log_prob_NTC: Tensor, symbols_NT: Tensor, among: int) -> float:
    """Share of sequences that are among the ten likeliest of `among` candidates, by their decoded symbols."""
    candidates = symbols_NT[:among]
    scores = torch.stack(
        [log_prob_NTC[:among].gather(-1, c.expand(len(candidates), -1)[..., None]).sum((1, 2)) for c in candidates]
    )
    rank = (scores > scores.diagonal()).sum(dim=0)
    return float((rank < 10).double().mean())
