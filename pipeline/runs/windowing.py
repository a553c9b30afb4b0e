"""Windows of sessions, for training, validation and the time nobody has looked at; lazy.

Shapes: B windows, T time bins, C channels of a port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.shown import html_table
from neuroloom.ingest.words import count, listed, visible
from neuroloom.models.ports import Port
from neuroloom.pipeline.runs.cosmoothing import hold_out_units
from neuroloom.pipeline.runs.feature_cache import build_features
from neuroloom.pipeline.runs.features import FeatureConfig, PortFeatures
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import SplitName, WindowConfig, time_blocks

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = slice(None)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Batch:
    """Windows of one session. Values outside a mask are 0 and mean nothing.

    inputs, targets: port name -> (B, T, C); masks of the same shapes. Spikes are counts, choices class indices,
    stimuli impulses, all else is scaled. uncertainty_ms: port name -> (B,), how well a window's times are known: the
    root mean square over its bins, of targets and inputs at their own time (an input's lag is known exactly).
    first_bins: (B,). scored: (T,), False for bins that only warm the network up.
    """

    session: str
    first_bins: NDArray[np.int64]
    inputs: Mapping[str, Tensor]
    input_masks: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    uncertainty_ms: Mapping[str, Tensor]
    scored: NDArray[np.bool_]

    def __repr__(self) -> str:
        ins, outs = ({n: tuple(v.shape) for n, v in ports.items()} for ports in (self.inputs, self.targets))
        return f"<Batch of {visible(self.session)}: inputs {ins}, targets {outs}>"


def known_targets(batch: Batch, port: str, scored: NDArray[np.bool_], readout: Any) -> Tensor:
    """The mask (B, T, C) of what is known of a port in the bins (T,) that count.

    They are those that are scored, and before which its readout has seen as much of the past as it needs; of a window
    that is too short for that, those from its half on.
    """
    import torch

    reach_bins = min(getattr(readout, "reach_bins", 0), len(scored) // 2)
    return batch.masks[port] & torch.from_numpy(scored & (np.arange(len(scored)) >= reach_bins))[None, :, None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Split:
    """The windows of one part of time, over all sessions; nothing is read until a batch is asked for."""

    name: SplitName
    sessions: Mapping[str, SessionData]
    config: WindowConfig

    def __repr__(self) -> str:
        of = listed(tuple(self.sessions))
        return f"<Split {self.name}: {count(self.n_windows, 'window')}, {self.duration_s:.1f} s of {of}>"

    @property
    def n_windows(self) -> int:
        """How many windows lie side by side in it."""
        return sum(len(self.tiles(session)) for session in self.sessions)

    @property
    def duration_s(self) -> float:
        """Its length over all sessions, seconds."""
        bins = sum(last - first for data in self.sessions.values() for first, last in data.blocks[self.name])
        return bins * self.config.bin_s

    def tiles(self, session: str) -> list[int]:
        """First bins of windows that lie side by side; what is left over at a block's end is not used."""
        length = self.config.n_bins
        return [
            start
            for first, last in self._of(session).blocks[self.name]
            for start in range(first, last - length + 1, length)
        ]

    def _of(self, session: str) -> SessionData:
        if session not in self.sessions:
            raise ValueError(f"no session {session!r} in these windows; there are {', '.join(self.sessions) or 'none'}")
        return self.sessions[session]

    def random_batch(self, step: int, *, batch_size: int, share: slice = WHOLE) -> Batch:
        """Windows drawn anywhere in the split, of one session, chosen by its length.

        A pure function of the seed and the step: a run that goes on at step n draws what it would have drawn.
        share: of these windows, where several processes have a part of each batch.
        """
        rng = np.random.default_rng([self.config.seed, step])
        names = list(self.sessions)
        room = [self.sessions[name].rooms[self.name] for name in names]
        weights = np.array([float(r.sum()) for r in room])
        chosen = int(rng.choice(len(names), p=weights / weights.sum()))
        blocks = self.sessions[names[chosen]].blocks[self.name]
        which = rng.choice(len(blocks), size=batch_size, p=room[chosen] / room[chosen].sum())
        starts = [blocks[i][0] + int(rng.integers(room[chosen][i])) for i in which]
        return self.batch(names[chosen], starts[share])

    def batches(self, *, batch_size: int, warm_up_bins: int = 0, share: slice = WHOLE) -> Iterator[Batch]:
        """All windows side by side, in order of time, each session's in batches of at most `batch_size`.

        warm_up_bins: context before each window, marked as not scored. share: of these batches.
        """
        tiles = {session: self.tiles(session) for session in self.sessions}
        parts = [
            (session, starts[i : i + batch_size])
            for session, starts in tiles.items()
            for i in range(0, len(starts), batch_size)
        ]
        for session, starts in parts[share]:
            yield self.batch(session, starts, warm_up_bins=warm_up_bins)

    def batch(self, session: str, starts: Sequence[int], *, warm_up_bins: int = 0) -> Batch:
        """The windows of one session that start at these bins, with `warm_up_bins` of context before each."""
        import torch

        data, length = self._of(session), self.config.n_bins + warm_up_bins
        firsts = [start - warm_up_bins for start in starts]

        def stacked(name: str, *, target: bool) -> tuple[Tensor, Tensor]:
            values, mask = data.stacked(name, firsts, length, target=target)
            known = torch.ones((), dtype=torch.bool).expand(values.shape) if mask is None else torch.from_numpy(mask)
            return torch.from_numpy(values), known

        inputs = {name: stacked(name, target=False) for name in data.input_names}
        targets = {name: stacked(name, target=True) for name in data.target_names}
        return Batch(
            session=session,
            first_bins=np.asarray(firsts, dtype=np.int64),
            inputs={name: pair[0] for name, pair in inputs.items()},
            input_masks={name: pair[1] for name, pair in inputs.items()},
            targets={name: pair[0] for name, pair in targets.items()},
            masks={name: pair[1] for name, pair in targets.items()},
            uncertainty_ms={
                name: torch.from_numpy(data.uncertainty_at(name, starts, self.config.n_bins))
                for name in dict.fromkeys((*data.input_names, *data.target_names))
            },
            scored=np.arange(length) >= warm_up_bins,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Windows:
    """Windows of several sessions: `.train`, `.validation`, `.held_out`. control: what was done to the recordings."""

    sessions: Mapping[str, SessionData]
    config: WindowConfig
    feature_config: FeatureConfig = field(default_factory=FeatureConfig)
    control: str = ""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split.n_windows} {split.name}" for split in self._splits())
        bins = f"{self.config.length_s:g} s in bins of {1e3 * self.config.bin_s:g} ms"
        control = f"; control: {self.control}" if self.control else ""
        return f"<Windows of {count(len(self.sessions), 'session')}, {bins}: {sizes}{control}>"

    def _repr_html_(self) -> str:
        head = ("session", "port", "kind", "channels", "comes in", "is asked for", "lag (bins)")
        rows = [
            _port_row(data, name, made) for data in self.sessions.values() for name, made in data.features.ports.items()
        ]
        return html_table(repr(self), head, rows, len(rows))

    @property
    def train(self) -> Split:
        """What networks and scalers are fitted on."""
        return self._split("train")

    @property
    def validation(self) -> Split:
        """What settings are chosen on."""
        return self._split("validation")

    @property
    def held_out(self) -> Split:
        """What nobody has looked at."""
        return self._split("held_out")

    def ports(self, session: str | Session) -> tuple[list[Port], list[Port]]:
        """Inputs and outputs of one session. KeyError lists the sessions there are."""
        name = session if isinstance(session, str) else session.id
        if name not in self.sessions:
            raise KeyError(f"no session {name!r}; there are {sorted(self.sessions)}")
        return self.sessions[name].ports()

    def _splits(self) -> tuple[Split, Split, Split]:
        return self.train, self.validation, self.held_out

    def _split(self, name: SplitName) -> Split:
        return Split(name=name, sessions=self.sessions, config=self.config)


def _port_row(data: SessionData, name: str, made: PortFeatures) -> tuple[object, ...]:
    """A port as `Windows` shows it."""
    comes_in, is_asked_for = name in data.input_names, name in data.target_names
    lag = data.lag_of(name) if comes_in else None
    return (data.id, name, made.port.kind, made.port.n_channels, comes_in, is_asked_for, lag)


def windows(
    sessions: Sequence[Session],
    *,
    length_s: float = 2.0,
    bin_s: float = 0.02,
    held_out: float = 0.2,
    validation: float = 0.15,
    gap_s: float | None = None,
    lag_bins: int = 1,
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    held_out_units: float = 0.0,
    shuffle_recording: bool = False,
    surrogate: bool = False,
    use_extrapolated: bool = False,
    max_uncertainty_ms: float | None = None,
    seed: int = 0,
    folder: Path | None = None,
    features: FeatureConfig | None = None,
) -> Windows:
    """Windows of `length_s` over sessions, split by interleaved blocks of time; lazy. See `WindowConfig`.

    folder: cache of the features (a store's `derived/`). features: how they are made; its bin is `bin_s`.
    shuffle_recording, surrogate: controls, one of them: recordings of the brain at the wrong times, or noise with their
        statistics; see `controls.py`. Behaviour and stimuli stay.
    Raises ValueError where two sessions have the same id, a recording is too short, a port name is not known, or a
    target would come in unlagged.
    """
    config = WindowConfig(
        length_s=length_s,
        bin_s=bin_s,
        held_out=held_out,
        validation=validation,
        gap_s=gap_s,
        lag_bins=lag_bins,
        inputs=None if inputs is None else tuple(inputs),
        targets=None if targets is None else tuple(targets),
        kinds=dict(kinds or {}),
        held_out_units=held_out_units,
        use_extrapolated=use_extrapolated,
        max_uncertainty_ms=max_uncertainty_ms,
        seed=seed,
    )
    feature_config = feature_config_of(features, bin_s, config.kinds)
    made: dict[str, SessionData] = {}
    for session in sessions:
        if session.id in made:
            raise ValueError(f"two sessions are {session.id}; each needs an id of its own")
        found = build_features(session, config=feature_config, folder=folder)
        found = hold_out_units(found, held_out_units, seed=seed) if held_out_units else found
        reach_bins = max((port.reach_bins for port in found.ports.values()), default=0)
        try:
            blocks = time_blocks(found.n_bins, config, reach_bins=reach_bins)
        except ValueError as error:
            raise ValueError(f"{session.id}: {error}; `neuroloom verdict {session.id} reject` leaves it out") from error
        made[session.id] = SessionData(features=found, config=config, blocks=blocks)
    if not made:
        raise ValueError("no session; at least one is wanted")
    _check_ports(made, config)
    data = Windows(sessions=made, config=config, feature_config=feature_config)
    if not (shuffle_recording or surrogate):
        return data
    from neuroloom.pipeline.runs.controls import controlled

    return controlled(data, shuffle_recording=shuffle_recording, surrogate=surrogate, seed=seed)


def feature_config_of(features: FeatureConfig | None, bin_s: float, kinds: Mapping[str, str]) -> FeatureConfig:
    """How features are made for windows that ask for these."""
    features = features or FeatureConfig()
    return replace(features, bin_s=bin_s, kinds={**features.kinds, **kinds})


def _check_ports(sessions: Mapping[str, SessionData], config: WindowConfig) -> None:
    known = {name for data in sessions.values() for name in data.features.ports}
    for name in (*(config.inputs or ()), *(config.targets or ())):
        if name not in known:
            raise ValueError(f"no port {name!r} in any session; there are {', '.join(sorted(known))}")
    for data in sessions.values():
        for name in config.inputs or ():
            if name in data.features.ports and data.features[name].target_only:
                raise ValueError(f"{data.id}: {name!r} cannot come in: its units are held out")
        both = sorted(set(data.input_names) & set(data.target_names))
        if config.lag_bins <= 0 and both:
            raise ValueError(f"{data.id}: {both[0]!r} is input and target with a lag of {config.lag_bins}; 1 is wanted")
        if not data.input_names or not data.target_names:
            raise ValueError(
                f"{data.id}: {len(data.input_names)} inputs, {len(data.target_names)} targets; each needs one"
            )
