"""Systems in which pathways must carry what is asked for: some areas are followers that nobody records from.

    sources     chaotic by themselves (gain 1.8), with a weak pathway from somewhere: 5 % of their recurrent power
    followers   quiet by themselves (gain 0.9), with one pathway from a source of their own: 30 % of their power

Every pathway has a delay of 1 to 5 bins. Rates are each unit's own share of the way from its lowest to its highest
over all trials, not trial by trial: what a lesion does to their size stays to be seen.

Shapes: K trials, T bins, A areas, E pathways, H units of an area, N recorded units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .sets import BIN_S, TEST, TRAIN, VALIDATION, Matrix, Trials

N_SOURCES, SIZE, RECORDED, HEARD = 3, 30, 20, 16
GAINS, SHARES = (1.8, 0.9), (0.05, 0.3)  # of sources, of followers
N_BINS, BURN, ALPHA, NOISE = 100, 120, 0.12, 0.03
TOP_HZ, SPREAD = 40.0, 2.0
LONGEST = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """local: (A, H, H). across: (E, H, H). ends: source and target of each pathway. delays: (E,), bins.

    unheard: followers of which no unit is heard. seed: the one it was drawn with.
    """

    local: Matrix
    across: Matrix
    ends: tuple[tuple[int, int], ...]
    delays: tuple[int, ...]
    unheard: tuple[int, ...]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of its areas, sources first."""
        return tuple(f"A{a}" for a in range(len(self.local)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What a system did. states: (K, T, A, H), the tanh of x. x: likewise. sent: (E, K, T, H), each pathway's current.

    local: (K, T, A, H), the current that each area gives itself.
    """

    states: Matrix
    x: Matrix
    sent: Matrix
    local: Matrix

    def shares(self, ends: tuple[tuple[int, int], ...]) -> Matrix:
        """What each pathway's current is of the variance of all recurrent currents of its target, (E,)."""
        sent, local = self.sent.var(axis=(1, 2)).mean(axis=1), self.local.var(axis=(0, 1)).mean(axis=1)
        total = local + np.bincount([target for _, target in ends], weights=sent, minlength=len(local))
        return np.asarray(sent / total[[target for _, target in ends]])


def drawn(seed: int) -> System:
    """One of the systems, its currents brought to their shares."""
    rng = np.random.default_rng([seed, 17])
    n_areas = 2 * N_SOURCES
    is_follower = np.arange(n_areas) >= N_SOURCES
    first = [(int(s), N_SOURCES + f) for f, s in enumerate(rng.permutation(N_SOURCES))]
    back = [(int(rng.choice([a for a in range(n_areas) if a != s])), s) for s in range(N_SOURCES)]
    ends = (*first, *back)
    scale = 1 / np.sqrt(SIZE)
    gains = np.where(is_follower, GAINS[1], GAINS[0])[:, None, None]
    system = System(
        local=rng.normal(0, scale, (n_areas, SIZE, SIZE)) * gains,
        across=rng.normal(0, scale, (len(ends), SIZE, SIZE)),
        ends=ends,
        delays=tuple(int(d) for d in rng.integers(1, LONGEST + 1, len(ends))),
        unheard=tuple(int(a) for a in N_SOURCES + rng.permutation(N_SOURCES)[:2]),
        seed=seed,
    )
    wanted = np.array([SHARES[int(is_follower[target])] for _, target in ends])
    for _ in range(8):
        share = course(system, 20, seed=99).shares(ends)
        factor = np.sqrt(wanted / (1 - wanted) * (1 - share) / np.maximum(share, 1e-6)).clip(0.3, 3)
        system.across[:] *= factor[:, None, None]
    return system


def course(
    system: System, n_trials: int, *, seed: int, cut: tuple[int, ...] = (), keep_currents: bool = True
) -> Course:
    """Trials from random starts, with these pathways cut."""
    rng = np.random.default_rng([system.seed, seed])
    n_areas, size = system.local.shape[:2]
    x = rng.normal(size=(n_trials, n_areas, size))
    past = [np.tanh(x)] * LONGEST
    states, xs = np.empty((2, n_trials, N_BINS, n_areas, size))
    n_kept = n_trials if keep_currents else 0
    sent, local = np.zeros((len(system.ends), n_kept, N_BINS, size)), np.zeros((n_kept, N_BINS, n_areas, size))
    for t in range(-BURN, N_BINS):
        drive = np.stack([past[-1][:, a] @ system.local[a].T for a in range(n_areas)], axis=1)
        if t >= 0 and keep_currents:
            local[:, t] = drive
        for e, (source, target) in enumerate(system.ends):
            current = past[-system.delays[e]][:, source] @ system.across[e].T * (e not in cut)
            drive[:, target] += current
            if t >= 0 and keep_currents:
                sent[e, :, t] = current
        x = (1 - ALPHA) * x + ALPHA * drive + NOISE * rng.normal(size=x.shape)
        past = [*past[1:], np.tanh(x)]
        if t >= 0:
            states[:, t], xs[:, t] = past[-1], x
    return Course(states=states, x=xs, sent=sent, local=local)


def recorded(system: System, n_trials: int) -> Trials:
    """Trials of the whole system as they are learned from: 7 of 10 for training, 1 for validation, 2 for the test."""
    did = course(system, n_trials, seed=1, keep_currents=False)
    part = np.where(np.arange(n_trials) < 0.7 * n_trials, TRAIN, VALIDATION)
    part[np.arange(n_trials) >= 0.8 * n_trials] = TEST
    shares = course(system, 60, seed=2).shares(system.ends)
    return _trials(system, _shown(did), part, _scale(_shown(did)), tuple(map(float, shares)), 0)


def lesioned(system: System, n_trials: int, cut: tuple[int, ...], like: Trials) -> Trials:
    """Trials with these pathways cut, on the scale of those of the whole system; all are for the test."""
    whole = _scale(_shown(course(system, len(like.part), seed=1, keep_currents=False)))
    did = course(system, n_trials, seed=3, cut=cut, keep_currents=False)
    return _trials(system, _shown(did), np.full(n_trials, TEST), whole, tuple(p[3] for p in like.pathways), 1)


def _shown(did: Course) -> Matrix:
    return did.states[..., :RECORDED].reshape(*did.states.shape[:2], -1)


def _scale(shown: Matrix) -> tuple[Matrix, Matrix]:
    return shown.mean(axis=(0, 1)), shown.std(axis=(0, 1))


def _trials(
    system: System, shown: Matrix, part: Matrix, scale: tuple[Matrix, Matrix], shares: tuple[float, ...], draw: int
) -> Trials:
    mean, std = scale
    rates = TOP_HZ * BIN_S * (1 + np.clip((shown - mean) / (SPREAD * std), -0.99, 1)) / 2
    names = system.names
    unheard = np.repeat(np.isin(np.arange(len(names)), system.unheard), RECORDED)
    return Trials(
        name=f"system {system.seed}",
        counts=np.random.default_rng([system.seed, 5, draw]).poisson(rates).astype(np.float64),
        rates=rates,
        held_out=unheard | np.tile(np.arange(RECORDED) >= HEARD, len(names)),
        part=part,
        area=tuple(name for name in names for _ in range(RECORDED)),
        pathways=tuple(
            (names[s], names[t], d, share) for (s, t), d, share in zip(system.ends, system.delays, shares, strict=True)
        ),
    )
