"""What kind of dynamical system a network is: its fixed points, and how fast nearby states part.

    fixed point          a state that stays where it is under a constant drive, whatever the delays
    Lyapunov exponents   mean rates, per second, at which small differences grow (above 0: chaos) or shrink

Used to set a student beside a teacher whose mechanism is known: two networks that predict equally well may differ here.
Fixed points as in Sussillo and Barak (2013): minima of the speed from many starts. Exponents by the QR method (Benettin
et al. 1980; Vogt et al. 2022 for recurrent networks) along one trajectory; the state includes what is still under way
in pathways. Kinds of module that remember more than their state ("transformer") are refused. Modules that update by a
clock rest where others do, but how differences grow depends on the moment: no growth and no exponents are told of them.

Shapes: N nodes, H units, B networks side by side, P points, K exponents, D bins that the longest delay takes.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .lyapunov import exponents
from .network import ModularNetwork

ALIKE = 1e-2  # points nearer than this, root mean square, are one
MOST_EIGENVALUES = 3000  # units times longest delay: beyond that no eigenvalues are computed


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoints:
    """states: (P, N, H). speeds: (P,), root mean square change per bin.

    growth: (P,), the largest factor per bin by which a small difference changes, delays included: below 1 it is stable;
        NaN where the network is too large, or has modules that update by a clock.
    """

    states: Tensor
    speeds: Tensor
    growth: Tensor

    @property
    def n_stable(self) -> int:
        """How many attract."""
        return int((self.growth < 1).sum())


class _System:
    """One bin of a network in double precision: a past of D states and a constant drive to the next state."""

    def __init__(self, network: ModularNetwork, drive_NH: Tensor | None) -> None:
        for group in network.groups:
            if hasattr(group.packed, "window_bins"):
                raise ValueError(
                    "fixed points and exponents need kinds whose state is all that they remember, which 'transformer' "
                    "is not"
                )
        self.network = network
        self.is_clocked = any(group.period_bins > 1 for group in network.groups)
        self.constants = [tuple(c.detach() for c in g.packed.constants()) for g in network.groups]
        self.weights = network.messages.weights().detach()
        self.exists = network.exists
        bias = network.bias().detach()
        if drive_NH is not None and drive_NH.shape != bias[:, 0].shape:
            raise ValueError(
                f"drive of shape {tuple(drive_NH.shape)}; {tuple(bias[:, 0].shape)}, nodes by units, is wanted"
            )
        self.drive = bias if drive_NH is None else bias + drive_NH.detach().double()[:, None]
        self.n_past = network.messages.max_delay

    def step(self, past_DNBH: Tensor) -> Tensor:
        """The next states (N, B, H) of B networks side by side; the latest of the past last."""
        messages = self.network.messages
        total = self.drive.expand_as(past_DNBH[0])
        if messages.edges:
            late = torch.tensor([self.n_past - edge.delay_bins for edge in messages.edges])
            sent = torch.bmm(past_DNBH[late, messages.sources], self.weights)
            total = total.index_add(0, messages.targets, sent)
        new = torch.zeros_like(total)
        for group, constants in zip(self.network.groups, self.constants, strict=True):
            found = group.packed(past_DNBH[-1, group.nodes], total[group.nodes], constants)
            new = new.index_copy(0, group.nodes, found)
        return new * self.exists

    def still(self, state_NH: Tensor) -> Tensor:
        """The next state where the past is all alike."""
        return self.step(state_NH[:, None].expand(self.n_past, -1, 1, -1))[:, 0]


def fixed_points(
    network: ModularNetwork, *, drive_NH: Tensor | None = None, n_starts: int = 32, steps: int = 400, seed: int = 0
) -> FixedPoints:
    """Fixed points under a constant drive (biases alone by default), the slowest first.

    n_starts: random states from which the search begins. What does not come to rest (speed above 1e-4) is left out.
    """
    double = _doubled(network)
    system = _System(double, drive_NH)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(network.node_names), network.size)
    starts = [torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(n_starts)]
    found: list[tuple[float, Tensor]] = []
    for start in starts:
        state = _at_rest(system, start * system.exists[:, 0], steps)
        speed = float((system.still(state) - state).square().mean().sqrt())
        if speed < 1e-4 and all(float((state - other).square().mean().sqrt()) > ALIKE for _, other in found):
            found.append((speed, state))
    found.sort(key=lambda pair: pair[0])
    states = torch.stack([state for _, state in found]) if found else torch.zeros(0, *shape, dtype=torch.float64)
    growth = torch.tensor([_growth(system, state) for _, state in found], dtype=torch.float64)
    return FixedPoints(states=states, speeds=torch.tensor([speed for speed, _ in found]), growth=growth)


def _at_rest(system: _System, state: Tensor, steps: int) -> Tensor:
    """A minimum of the speed near a state."""
    state = state.clone().requires_grad_(True)
    search = torch.optim.LBFGS([state], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-14,
                               history_size=20, line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Tensor:
        search.zero_grad()
        speed = (system.still(state) - state).square().sum()
        speed.backward()  # type: ignore[no-untyped-call]
        return speed

    search.step(closure)  # type: ignore[no-untyped-call]
    return state.detach()


def _growth(system: _System, state_NH: Tensor) -> float:
    """The largest eigenvalue of one bin, on the whole past."""
    n = state_NH.numel()
    if n * system.n_past > MOST_EIGENVALUES or system.is_clocked:
        return math.nan
    past = state_NH.expand(system.n_past, *state_NH.shape).clone()
    step = lambda past_DNH: system.step(past_DNH[:, :, None])[:, 0]  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(step, past).reshape(n, system.n_past * n)  # type: ignore[no-untyped-call]
    companion = torch.zeros(system.n_past * n, system.n_past * n, dtype=torch.float64)
    companion[: -n or None, n:] = torch.eye((system.n_past - 1) * n, dtype=torch.float64)
    companion[-n:] = jacobian
    return float(torch.linalg.eigvals(companion).abs().max())


def lyapunov_exponents(
    network: ModularNetwork,
    n_exponents: int = 1,
    *,
    drive_NH: Tensor | None = None,
    n_bins: int = 2000,
    settle_bins: int = 500,
    every_bins: int = 10,
    seed: int = 0,
) -> Tensor:
    """The largest exponents, 1/s, (K,), under a constant drive, from a random start.

    settle_bins: before anything is measured. every_bins: differences are made orthonormal again that often.
    Raises ValueError for a network with modules that update by a clock, and for numbers that cannot be measured.
    """
    double = _doubled(network)
    system = _System(double, drive_NH)
    if system.is_clocked:
        raise ValueError("exponents need modules that update in every bin; some here update by a clock")
    n_dimensions = system.n_past * int(system.exists.sum())
    if not (1 <= n_exponents <= n_dimensions and 1 <= every_bins <= n_bins):
        raise ValueError(
            f"n_exponents {n_exponents}, n_bins {n_bins}, every_bins {every_bins}; from 1 to {n_dimensions} exponents "
            "are wanted, and n_bins not below every_bins"
        )
    generator = torch.Generator().manual_seed(seed)
    shape = (system.n_past, len(network.node_names), network.size)
    past = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * system.exists[:, 0]
    differences = torch.randn(n_exponents, *shape, generator=generator, dtype=torch.float64) * system.exists[:, 0]

    def step(past_BF: Tensor) -> Tensor:
        past_DNBH = past_BF.view(-1, *shape).permute(1, 2, 0, 3)
        new = torch.cat([past_DNBH[1:], system.step(past_DNBH)[None]])
        return new.permute(2, 0, 1, 3).flatten(1)

    found = exponents(step, past.flatten(), differences.flatten(1), steps=n_bins, settle=settle_bins, every=every_bins)
    return found / network.bin_s


def _doubled(network: ModularNetwork) -> ModularNetwork:
    """A copy in double precision."""
    return copy.deepcopy(network).double().eval()
