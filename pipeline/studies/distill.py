"""Distillation: is one recorded sample worth more than one plain sample of behaviour, and how much more?

A student learns from N sequences of a teacher's behaviour, and from what electrodes recorded meanwhile:

    loss = nats(answers) + strength * mean (R h - e)^2 + nats(answers decoded from electrodes)

h: the student's states, R: a learned linear map, thrown away afterwards: at the test there are no electrodes. Each arm
is a set of candidates, and behaviour alone is always among them; which is taken is decided by held-out behaviour.

    hard        behaviour alone, over a curve of N: what everything is measured against
    electrodes  regression on electrodes, for every number of channels and every noise
    combined    the same, and the teacher's answers decoded from the electrodes (by a decoder that was fitted on other
                sequences) as soft answers; reported also by part: "decoded" is the soft answers alone
    guided      all three at once, and what a better decoder reads from the electrodes counts more than given answers:
                it has less luck of the draw in it. What noise took from it is learned beside it, as a map from the
                student's answers to what the decoder says of them, and thrown away as well
    reading     electrodes also while it only reads: more sequences with electrodes and without any answer
    shuffled    control: the same electrode values at wrong times
    surrogate   control: other values with the same covariance and spectra
    soft, full  upper bounds that no recording gives: the teacher's own distribution, its whole noiseless state

Shapes: N sequences, T steps, K channels, V answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from neuroloom.models.student_group import StudentShape
from neuroloom.models.student_speaker import student_bytes
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _decoders, _distill_report
from neuroloom.pipeline.studies._cells import FILES, NETWORKS, Key, Result
from neuroloom.pipeline.studies._device import Placed
from neuroloom.pipeline.studies._lessons import DEFAULT_KIND, Lessons, lessons_for, split
from neuroloom.pipeline.studies._report import Report, plain
from neuroloom.pipeline.studies._students import (
    UNKNOWN,
    Material,
    Schooled,
    Schooling,
    Student,
    log_probs,
    masked_nats,
    school,
)
from neuroloom.pipeline.studies._tables import AnyTeacher, Number, Numbers, Strengths, Table, one_of
from neuroloom.pipeline.synthetic.synthesis import Decibels, ElectrodeConfig, Facts, shuffled, surrogate

TITLE = "What is one recorded sample worth?"
ALSO = ("distillation",)
SIDE_BY_SIDE = True
SMALL_TEACHER = {
    "kind": "hidden_markov", "n_symbols": 16, "n_topics": 6, "successors": 3, "stay": 0.97, "width": 48, "blocks": 2,
    "heads": 2, "context": 32, "steps": 400,
}  # fmt: skip
Amounts = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]  # one to learn, one to choose
UPPER_BOUNDS = ("soft", "full")
GUIDES = ((2.0, 0.5), (2.0, 0.25))  # weights of decoded and of given answers in the guided arm
GUIDE_UNITS = 256  # of the network that decodes for it
WINDOWS = (2, 4)  # steps that a decoder of answers may see; held-out answers choose


class Settings(Placed):
    """What is asked. Defaults are the quick profile.

    curve: sequences of behaviour alone. budgets: sequences with electrodes. channels x snr_db: the grid; at: its cell
    (channels, dB) where the other arms and the controls stand. presets: further electrodes by name. strengths: of the
    regression on electrodes whose channels have unit variance; 0 is always a candidate. flatness: students imitate the
    electrodes' principal components, each divided by its deviation to this power: 0 is the channels as they are, and
    the more, the more small components count, in which much of the behaviour lies. formulation: how electrodes are
    learned from, controls included: `each` loss by itself, and both at `at`; or `guided`, see above. dropouts: that
    behaviour alone has a candidate for each of, the schooling's where it is empty; other candidates have that.
    reading: sequences with electrodes and without answers, per sequence with answers; 0 leaves the arm out.
    upper_bounds: let students see what no recording gives, as controls and for G.
    """

    teacher: AnyTeacher = Field(default_factory=lambda: dict(SMALL_TEACHER))
    length: int = Field(default=32, ge=2)
    n_test: int = Field(default=300, ge=2)
    seeds: int = Field(default=3, ge=1)
    curve: Amounts = (16, 64, 256, 1024, 4096)
    budgets: Amounts = (64,)
    channels: Numbers = (6, 24, 96)
    snr_db: tuple[Decibels, ...] = (-10.0, 0.0, 10.0)
    at: tuple[Number, Decibels] = (24, 0.0)
    presets: dict[str, ElectrodeConfig] = Field(
        default_factory=lambda: {"eeg-like": ElectrodeConfig(kind="eeg", n_channels=12, snr_db=-10.0, low_pass=0.7)}
    )
    strengths: Strengths = (10.0, 40.0, 120.0)
    flatness: float = Field(default=0.0, ge=0, le=1)
    formulation: Literal["each", "guided"] = "each"
    dropouts: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    reading: int = Field(default=0, ge=0)
    upper_bounds: bool = True
    units: int = Field(default=48, ge=1)
    schooling: Annotated[Table, one_of(Schooling)] = Field(default_factory=lambda: {"steps": 1500})

    @property
    def is_real(self) -> bool:
        """Whether the teacher is a session, whose electrodes are as they are: there is no grid, and no upper bound."""
        return "session" in self.teacher

    @property
    def most_recorded(self) -> int:
        """Sequences with electrodes that one seed may see."""
        return max(self.budgets) * (1 + self.reading)


FULL = Settings(
    teacher={"kind": "hidden_markov"},
    length=64,
    curve=(64, 256, 1024, 4096, 16384),
    budgets=(256,),
    channels=(8, 32, 128, 512),
    snr_db=(-20.0, -10.0, 0.0, 10.0, float("inf")),
    at=(128, 0.0),
    presets={"eeg-like": ElectrodeConfig(kind="eeg", n_channels=32, snr_db=-10.0, low_pass=0.7)},
    reading=3,
    units=128,
    schooling={"steps": 4000},
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Weights of a student's losses beside the answers: `hard` 0 where the teacher's own distribution replaces them."""

    strength: float = 0.0
    soft: float = 0.0
    hard: float = 1.0
    dropout: float | None = None


def opened(settings: Settings, store: Store, progress: Any = None) -> Lessons:
    """The teacher's lessons, with enough recorded sequences that no two seeds share one."""
    lessons = lessons_for(
        settings.teacher,
        store,
        n=max(*settings.curve, settings.seeds * settings.most_recorded),
        n_recorded=settings.seeds * settings.most_recorded,
        n_test=settings.n_test,
        length=settings.length,
        progress=progress,
    )
    if (most := max(*settings.curve, settings.most_recorded)) > len(lessons.inputs):
        raise ValueError(
            f"curve and budgets ask for {most} sequences; {lessons.name} has {len(lessons.inputs)} to learn from"
        )
    return lessons


def keys(settings: Settings) -> list[Key]:
    """Every cell: an arm, its sequences, its electrodes, a seed. Behaviour alone comes first."""
    cells: list[dict[str, Any]] = [{"arm": "hard", "n": n} for n in sorted({*settings.curve, *settings.budgets})]
    k, snr = settings.at
    each, at = ("electrodes", "combined") if settings.formulation == "each" else ("guided", "guided")
    for n in settings.budgets:
        cells += [{"arm": arm, "n": n, "k": k, "snr_db": snr} for arm in (at, "shuffled", "surrogate")]
        cells += [{"arm": "reading", "n": n, "k": k, "snr_db": snr}] if settings.reading else []
        if settings.is_real:
            continue
        cells += [{"arm": arm, "n": n} for arm in UPPER_BOUNDS if settings.upper_bounds]
        cells += [
            {"arm": each, "n": n, "k": channels, "snr_db": noise}
            for channels in settings.channels
            for noise in settings.snr_db
            if (channels, noise) != settings.at
        ]
        cells += [{"arm": each, "n": n, "preset": name} for name in settings.presets]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """Seeds of one cell are trained side by side."""
    batches: dict[str, list[Key]] = {}
    for key in asked:
        batches.setdefault(str({name: value for name, value in key.items() if name != "seed"}), []).append(key)
    return list(batches.values())


def solve(lessons: Lessons, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Train the candidates of cells that differ in their seed only; each result names all of them and their losses."""
    arm = asked[0]["arm"]
    prepared = [_materials(lessons, settings, key) for key in asked]
    candidates = _candidates(arm, settings)
    students = [
        Student(
            lessons=one.lessons,
            validation=one.validation,
            hard=candidate.hard,
            soft=candidate.soft,
            electrodes=candidate.strength,
            dropout=candidate.dropout,
            seed=int(key["seed"]),
        )
        for key, one in zip(asked, prepared, strict=True)
        for candidate in candidates
    ]
    seen = prepared[0].lessons.electrodes_NTK
    shape = StudentShape(
        n_inputs=lessons.n_inputs,
        n_outputs=lessons.n_outputs,
        n_electrodes=0 if seen is None else seen.shape[-1],
        units=settings.units,
        reads_symbols=lessons.reads_symbols,
        blurred=_is_guided(arm, settings),
    )
    found = school(shape, students, Schooling(**settings.schooling | {"device": str(settings.place)}))
    scores = test_scores(lessons, shape, found, str(settings.place))
    rows: list[dict[str, Any]] = [
        {
            "strength": c.strength, "soft": c.soft, "hard": c.hard, "dropout": c.dropout,
            "validation_nats": f.validation_nats, "best_step": f.best_step, **score,
        }
        for c, f, score in zip(candidates * len(asked), found, scores, strict=True)
    ]  # fmt: skip
    per = len(candidates)
    results: list[Result] = []
    for i, (key, one) in enumerate(zip(asked, prepared, strict=True)):
        part = slice(i * per, (i + 1) * per)
        results.append({"candidates": rows[part], "facts": one.facts.to_json() if one.facts else {}})
        if key["seed"] == 0 and lessons.oracle is not None and lessons.reads_symbols:
            results[-1][FILES] = _kept(settings, key, shape, found[part], rows[part])
    return results


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _distill_report.report(settings, found, facts)


def test_scores(
    lessons: Lessons, shape: StudentShape, found: Sequence[Schooled], device: str
) -> list[dict[str, float]]:
    """On fresh sequences: nats per answer, and where the teacher can be asked, the divergence from it (nats)."""
    answers = log_probs(shape, [one.weights for one in found], lessons.test_inputs, device)
    scores = []
    for log_prob in answers:
        nats = masked_nats(log_prob, lessons.test_answers_NT).sum() / (lessons.test_answers_NT != UNKNOWN).sum()
        score = {"nats": float(nats)}
        if lessons.oracle is not None:
            truth = lessons.oracle.test_log_prob_NTV
            score["kl"] = float((truth.exp() * (truth - log_prob)).sum(dim=-1).mean())
        scores.append(score)
    return scores


def _kept(
    settings: Settings, key: Key, shape: StudentShape, found: Sequence[Schooled], rows: Sequence[Mapping[str, Any]]
) -> dict[str, bytes]:
    """The file of the student that held-out behaviour chose, by its name in the run's folder."""
    best = min(range(len(found)), key=lambda i: found[i].validation_nats)
    words = [key["arm"], f"n{key['n']}", *([key["preset"]] if "preset" in key else [])]
    words += [f"k{key['k']}", f"{key['snr_db']:g}dB"] if "k" in key else []
    told = {name: value for name, value in key.items() if name != "seed"} | {"kl": rows[best]["kl"]}
    told |= {"teacher": {"kind": DEFAULT_KIND} | settings.teacher, "length": settings.length}
    data = student_bytes(shape, found[best].weights, plain(told))
    return {f"{NETWORKS}/{re.sub(r'[^A-Za-z0-9_.+-]+', '-', '_'.join(words))}.safetensors": data}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    lessons: Material
    validation: Material
    facts: Facts | None = None


def _candidates(arm: str, settings: Settings) -> list[Candidate]:
    alone = [Candidate(dropout=dropout) for dropout in settings.dropouts or (None,)]
    regression = [Candidate(strength=strength) for strength in settings.strengths]
    if arm == "hard":
        return alone
    if arm == "soft":
        return [Candidate(soft=1.0, hard=0.0)]
    if arm == "combined":
        return [
            *alone,
            *regression,
            Candidate(soft=1.0),
            *(Candidate(strength=c.strength, soft=1.0) for c in regression),
        ]
    if _is_guided(arm, settings):
        return [*alone, *(replace(c, soft=soft, hard=hard) for c in regression for soft, hard in GUIDES)]
    return [*alone, *regression]


def _is_guided(arm: str, settings: Settings) -> bool:
    return settings.formulation == "guided" and arm not in ("hard", *UPPER_BOUNDS)


def _materials(lessons: Lessons, settings: Settings, key: Key) -> _Prepared:
    """What the student of a cell may see. Scalers and decoders know its training rows only."""
    n, arm = int(key["n"]), key["arm"]
    if arm in UPPER_BOUNDS and not settings.upper_bounds:
        raise ValueError(f"the arm {arm!r} sees what no recording gives; upper_bounds = true is wanted for it")
    rows = lessons.rows(int(key["seed"]), n, settings.most_recorded)
    train, validate = split(rows)
    held = Material(inputs=lessons.inputs[validate], answers_NT=lessons.answers_NT[validate])
    inputs, answers = lessons.inputs[train], lessons.answers_NT[train]
    if arm == "hard":
        return _Prepared(lessons=Material(inputs=inputs, answers_NT=answers), validation=held)
    if arm == "soft":
        soft = lessons.the_oracle("its own distribution").log_prob_NTV[train].exp()
        return _Prepared(lessons=Material(inputs=inputs, answers_NT=answers, soft_NTV=soft), validation=held)
    if arm == "reading":
        more = lessons.rows(int(key["seed"]), n * (1 + settings.reading), settings.most_recorded)[n:]
        inputs = torch.cat([inputs, lessons.inputs[more]])
        answers = torch.cat([answers, torch.full_like(lessons.answers_NT[more], UNKNOWN)])
        train, rows = torch.cat([train, more]), torch.cat([rows, more])
    e_NTK, facts = _electrodes(lessons, settings, key, rows)
    position = _places(rows, train)
    scaler = _decoders.Scaler.of(e_NTK[position])
    seen = scaler(e_NTK, keep_unknown=True)
    soft_NTV = None
    if arm == "combined":
        soft_NTV = _decoded(lessons, seen, rows, train, validate)
    elif _is_guided(arm, settings):
        denoised = _decoders.Components.above_noise(seen[position])(seen)
        soft_NTV = _guides(lessons, denoised, rows, train, validate)
    target = seen[position]
    if settings.flatness:
        target = _decoders.Components.of(target, settings.flatness)(target)
    material = Material(inputs=inputs, answers_NT=answers, electrodes_NTK=target, soft_NTV=soft_NTV)
    return _Prepared(lessons=material, validation=held, facts=facts)


def _electrodes(lessons: Lessons, settings: Settings, key: Key, rows: Tensor) -> tuple[Tensor, Facts | None]:
    """What was recorded of these rows, (N, T, K), or a control made from it."""
    shape, seed = (len(rows), lessons.length, -1), int(key["seed"])
    if key["arm"] == "full":
        return torch.as_tensor(lessons.clean_state(rows)).view(shape), None
    tape = lessons.tape(electrodes_of(settings, key), rows)
    values = tape.values_TK
    if key["arm"] == "shuffled":
        values = shuffled(values, seed)
    if key["arm"] == "surrogate":
        values = surrogate(values, seed)
    return torch.as_tensor(values).view(shape), tape.facts


def electrodes_of(settings: Settings, key: Key) -> ElectrodeConfig:
    """A cell's electrodes: every seed has its own subject and its own noise."""
    seeds = {"subject_seed": int(key["seed"]), "noise_seed": int(key["seed"])}
    if "preset" in key:
        return settings.presets[key["preset"]].model_copy(update=seeds)
    return ElectrodeConfig(n_channels=int(key["k"]), snr_db=float(key["snr_db"])).model_copy(update=seeds)


def _decoded(lessons: Lessons, seen_NTK: Tensor, rows: Tensor, train: Tensor, validate: Tensor) -> Tensor:
    """The teacher's answers as a decoder reads them from electrodes: probabilities (N, T, V) of the training rows."""
    y, held_y, n = lessons.answers_NT[train], lessons.answers_NT[validate], lessons.n_outputs
    places, held_places = _places(rows, train), _places(rows, validate)
    tried = []
    for window in WINDOWS:
        features = torch.nan_to_num(_decoders.windowed(seen_NTK, window))
        x = features[places]
        held = _decoders.known_rows(features[held_places], held_y)
        decoder, penalty = _decoders.best_linear(_decoders.known_rows(x, y), held, n)
        tried.append((_decoders.nats(decoder, *held), penalty, x))
    _, penalty, x = min(tried, key=lambda each: each[0])
    return _decoders.cross_fitted(x, y, lambda known: _decoders.linear(*known, n, penalty)).exp()


def _guides(lessons: Lessons, denoised_NTK: Tensor, rows: Tensor, train: Tensor, validate: Tensor) -> Tensor:
    """The same by a small network that knows what was shown at each step as well as what electrodes saw there."""
    y, n = lessons.answers_NT[train], lessons.n_outputs
    places = _places(rows, train)
    features = _decoders.side_by_side([denoised_NTK, _shown(lessons, rows, train)], places)
    held = _decoders.known_rows(features[_places(rows, validate)], lessons.answers_NT[validate])
    return _decoders.cross_fitted(
        features[places], y, lambda known: _decoders.mlp(known, held, n, units=GUIDE_UNITS)
    ).exp()


def _shown(lessons: Lessons, rows: Tensor, train: Tensor) -> Tensor:
    """What the teacher was shown, (N, T, I): symbols as one of I, features in deviations of the training rows."""
    if lessons.reads_symbols:
        return nn.functional.one_hot(lessons.inputs[rows], lessons.n_inputs).float()
    return _decoders.Scaler.of(lessons.inputs[train])(lessons.inputs[rows])


def _places(rows: Tensor, part: Tensor) -> Tensor:
    """Where some sequences lie among `rows`."""
    return torch.cat([torch.nonzero(rows == row)[0] for row in part])
