"""Weights of objectives, chosen by what they do to behaviour on validation time; 0 is always among the candidates.

A training is run for every combination of candidates, from the same start and with the same seed; the one whose best
validation loss on *behaviour* is least wins, the smaller weights where two are equal. So neural data are used only
where they make behaviour better, and `choice.json` says what each weight did:

    {"select_on": ["choice"], "chosen": 2, "candidates": [{"weights": {"features lfp": 0.0}, "loss": 0.61}, ...]}

Design rationale: behaviour alone decides, since a loss that contains the neural term is lowered by its weight, whatever
it does to the rest. A fixed weight does harm where recordings are noisy; 0 as a candidate costs one more training and
bounds the harm by the noise of the validation loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from neuroloom.pipeline.runs.objectives import ObjectiveConfig, Schedule, said_weight
from neuroloom.pipeline.runs.windowing import Windows

MOST_COMBINATIONS = 24


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Objectives with one weight each. rows: what every combination of candidates came to; empty without a choice.

    select_on: the targets whose validation loss chooses the best network; empty for all.
    """

    objectives: tuple[ObjectiveConfig, ...] = ()
    select_on: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


def n_combinations(objectives: Sequence[ObjectiveConfig]) -> int:
    """How many trainings it takes to choose; 1 where there is nothing to choose."""
    return prod(len(objective.candidates) for objective in objectives)


def combinations(objectives: Sequence[ObjectiveConfig]) -> list[tuple[ObjectiveConfig, ...]]:
    """Every combination of candidate weights, zeros first. Raises ValueError where there are too many."""
    n = n_combinations(objectives)
    if n > MOST_COMBINATIONS:
        raise ValueError(f"{n} combinations of weights to choose among; at most {MOST_COMBINATIONS} are tried")
    lines = product(*([replace(o, weight=weight, weights=()) for weight in o.candidates] for o in objectives))
    return list(lines)


def behaviour_of(data: Windows, select_on: Sequence[str], port_weights: Mapping[str, float]) -> tuple[str, ...]:
    """The targets that a choice rests on: those of `select_on`, or all that are behaviour.

    Raises ValueError where there is none, or one of `select_on` is a recording of a brain.
    """
    ports = {port.name: port for one in data.sessions.values() for port in one.ports()[1]}
    neural = [name for name in select_on if name in ports and ports[name].is_neural]
    if neural:
        raise ValueError(f"weights are chosen on behaviour, but select_on names {neural[0]!r}, a recording of a brain")
    behaviour = tuple(name for name, port in ports.items() if port.is_behaviour and port_weights.get(name, 1.0) > 0)
    if not (select_on or behaviour):
        raise ValueError(f"weights are chosen on behaviour, but none of the targets is: {', '.join(sorted(ports))}")
    return tuple(select_on) or behaviour


def row_of(objectives: Sequence[ObjectiveConfig], loss: float, best_step: int) -> dict[str, Any]:
    """What one combination came to, as JSON has it."""
    weights = {f"{i}: {o.label()}": said_weight(o.weight) for i, o in enumerate(objectives)}
    return {"weights": weights, "loss": loss, "best_step": best_step}


def told(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a choice came to, a line per objective, as people are told. Empty without a choice."""
    if not rows:
        return []
    best = min(rows, key=lambda row: float(row["loss"]))
    lines = []
    for name, weight in best["weights"].items():
        tried = list(dict.fromkeys(str(row["weights"][name]) for row in rows))
        if len(tried) > 1:
            verdict = ": it does not help behaviour" if weight == 0 else ""
            lines.append(f"{name.partition(': ')[2]}: weight {weight} of {', '.join(tried)}{verdict}")
    return lines


def best_of(tried: Sequence[tuple[Sequence[ObjectiveConfig], float]]) -> int:
    """The number of the combination with the least loss; the one with the smaller weights where two are equal."""
    return min(range(len(tried)), key=lambda n: (tried[n][1], sum(_size(o) for o in tried[n][0])))


def _size(objective: ObjectiveConfig) -> float:
    weight = objective.weight
    if isinstance(weight, Schedule):
        return max(weight.start, weight.end)
    return 1.0 if isinstance(weight, str) else float(weight)
