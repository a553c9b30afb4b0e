"""What a trained run is worth, written into its folder: scores beside baselines and rivals, pathways, mechanism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neuroloom.ingest import durable
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs.preparing import permitted, requested
from neuroloom.pipeline.runs.run_config import RunConfig, checked, training_of
from neuroloom.pipeline.runs.run_files import CHECKPOINT, RIVALS
from neuroloom.pipeline.runs.running import lead_fields_of, made_of, open_run, windows_of
from neuroloom.pipeline.store import Store, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from neuroloom.pipeline.runs.training import Run
    from neuroloom.pipeline.runs.windowing import Windows
    from neuroloom.pipeline.scores.evaluation import Scores
    from neuroloom.pipeline.scores.mechanism import Mechanism
    from neuroloom.pipeline.scores.worse import WorseTargets

SCORES = "scores.json"
PATHWAYS = "pathways.json"
MECHANISM = "mechanism.json"
Progress = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Into one trained run; what each part of it takes is opened once, when it is first asked for.

    Its parts raise StoreError for a run that is not there or has not come to a network yet, and where a consent has
    ended to what was recorded for it.
    """

    name: str
    store: Store

    @cached_property
    def config(self) -> RunConfig:
        """What was asked for."""
        return permitted(self.store, self.name)

    @cached_property
    def run(self) -> Run:
        """The trained network, at its best step."""
        _ = self.config  # it may not be permitted any more
        return open_run(self.store, self.name)

    @cached_property
    def data(self) -> Windows:
        """What it was trained on."""
        return windows_of(self.config, self.store)

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.store.run_folder(self.name)

    def evaluate(
        self,
        *,
        baselines: Sequence[str] = ("mean", "ridge"),
        against: Sequence[str] = (),
        seeds: int = 1,
        forward_s: float | None = None,
        progress: bool | Progress = False,
    ) -> Scores:
        """Score the run beside its baselines on the time nobody has looked at; written to its `scores.json`.

        against: other networks, see `rivals.py`, trained here under the same conditions where they are not there yet.
        seeds: how many of each, and of the run's own network; with more than one, intervals are over seeds, too.
        """
        from neuroloom.pipeline.scores.evaluation import check_baselines, evaluate, n_bins_ahead
        from neuroloom.pipeline.scores.rivals import check_rivals

        _ = self.config  # a run that is not there is said before anything else
        check_baselines(baselines)
        check_rivals(against)
        n_bins_ahead(forward_s, self.data.config)
        runs, rivals = [self.run], dict[str, Any]()
        if against or seeds > 1:
            runs, rivals = self._rivals(against, seeds, progress)
        scores = evaluate(runs, self.data.held_out, baselines=baselines, rivals=rivals, forward_s=forward_s)
        scores.to_json(self.folder / SCORES)
        return scores

    def _rivals(
        self, against: Sequence[str], seeds: int, progress: bool | Progress
    ) -> tuple[list[Run], dict[str, list[Run]]]:
        from neuroloom.pipeline.runs.training import attach
        from neuroloom.pipeline.scores.rivals import AGAIN, Conditions, train_rivals

        config, run, data = self.config, self.run, self.data
        if config.start_from:
            raise ConfigError(f"{config.name}: goes on from {config.start_from!r}; a rival would start from nothing")
        conditions = Conditions(
            topology=run.network.topology,
            make=lambda topology, seed: made_of(config, topology, seed),
            attach=lambda network: attach(network, data, lead_fields=lead_fields_of(config, network.topology, data)),
            data=data,
            config=replace(training_of(config), processes=1),  # one after the other, in this process
        )
        home = self.folder / RIVALS
        numbers = range(config.seed, config.seed + seeds)
        again = train_rivals(conditions, [AGAIN], seeds=numbers[1:], folder=home, progress=progress)[AGAIN]
        rivals = train_rivals(conditions, against, seeds=numbers, folder=home, progress=progress)
        return [run, *(replace(one, name=run.name) for one in again)], rivals

    def trained_again(self, seeds: int) -> list[Run]:
        """The trainings from other seeds that `evaluate` made, one fewer than `seeds`.

        Raises StoreError where one is missing, not whole, or of other settings.
        """
        from neuroloom.pipeline.runs.run import Run
        from neuroloom.pipeline.scores.rivals import AGAIN

        found, first = list[Run](), self.run.config.seed
        for seed in range(first + 1, first + seeds):
            folder, wanted = self.folder / RIVALS / f"{AGAIN}-{seed}", replace(self.run.config, seed=seed, processes=1)
            one = Run.open(folder) if (folder / CHECKPOINT).is_file() else None
            if one is None or not one.is_whole or one.config != wanted:
                raise StoreError(
                    f"{self.name}: is not trained from seed {seed}; `neuroloom evaluate {self.name} --seeds {seeds}` "
                    f"trains it from all {seeds}"
                )
            found.append(one)
        return found

    def same_pathways(self, against: Sequence[str], seeds: int) -> list[str]:
        """A remark for each network to compare with half of whose pathways, or more, are those of the run itself.

        Where nearly all areas are joined nothing can be swapped: then there is no lead over such a network to be had.
        """
        from neuroloom.pipeline.scores.rivals import TOPOLOGIES

        own, told, first_seed = self.run.network.topology, [], self.config.seed
        for rival in (name for name in against if name in TOPOLOGIES):
            made = [TOPOLOGIES[rival](own, seed) for seed in range(first_seed, first_seed + seeds)]
            n_same = sum(len(set(one.pathways) & set(own.pathways)) for one in made) / seeds
            if own.pathways and n_same >= len(own.pathways) / 2:
                share = n_same / len(own.pathways)
                told.append(
                    f"{rival}: {share:.0%} of its pathways are those of {own.name!r} itself; its lead says little"
                )
        return told

    def repeatable(self) -> list[dict[str, Any]]:
        """What share of each target's held-out variance repeats with its events: a row per session and port.

        share: the median over channels, None where too little was repeated to tell.
        """
        import numpy as np

        from neuroloom.pipeline.scores.ceilings import repeatable_shares

        rows: list[dict[str, Any]] = []
        for session, ports in repeatable_shares(self.data.held_out).items():
            for port, share_C in ports.items():
                known = share_C[np.isfinite(share_C)]
                rows.append(
                    {"session": session, "port": port, "share": float(np.median(known)) if known.size else None}
                )
        return rows

    def pathways(self) -> list[dict[str, Any]]:
        """What each pathway carries and what is lost without it; written to the run's `pathways.json`."""
        from neuroloom.pipeline.scores.pathways import WARNING, pathway_rows

        rows = [row.to_json() for row in pathway_rows(self.run, self.data.held_out, self.data.validation)]
        durable.write_json(self.folder / PATHWAYS, {"warning": WARNING, "pathways": rows})
        return rows

    def mechanism(self) -> list[Mechanism]:
        """Where the network rests, and whether small differences grow, per session; written to its `mechanism.json`.

        Raises ConfigError for a network of which that cannot be told.
        """
        from neuroloom.pipeline.scores.mechanism import mechanisms

        found = checked(lambda: mechanisms(self.run, self.data.held_out), self.name)
        said = {"sessions": [one.to_json() | {"words": one.words()} for one in found]}
        durable.write_json(self.folder / MECHANISM, said)
        return found


def evaluate_run(name: str, store: Store, **how: Any) -> Scores:
    """Score a run beside its baselines; see `Look.evaluate`."""
    return Look(name=name, store=store).evaluate(**how)


def worse_of(name: str, store: Store) -> WorseTargets:
    """The targets that a run predicts worse than their mean would, as its training has noted."""
    from neuroloom.pipeline.scores.worse import WORSE, read_worse

    return read_worse(document_of(store.run_folder(name) / WORSE))


def scores_of(name: str, store: Store) -> dict[str, Any]:
    """The scores a run has. Raises StoreError where it has not been evaluated."""
    requested(store, name)
    found = document_of(store.run_folder(name) / SCORES)
    if not found:
        raise StoreError(f"{name}: has no scores; `neuroloom evaluate {name}` makes them")
    return found


def compare_runs(names: Sequence[str], store: Store) -> list[dict[str, Any]]:
    """The scores of several runs side by side: a row per session, port and metric, a column per run or baseline."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name in names:
        for score in scores_of(name, store)["scores"]:
            if score["area"] or score["channel"]:
                continue
            key = (score["session"], score["port"], score["metric"])
            row = rows.setdefault(key, {"session": key[0], "port": key[1], "metric": key[2], "scores": {}})
            column = name if score["model"] == "network" else f"{name} {score['model']}"
            row["scores"][column] = {field: score[field] for field in ("value", "low", "high")}
    return list(rows.values())
