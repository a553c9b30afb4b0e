"""How fast the packed network trains, against a module per area and a Linear per pathway that compute the same numbers.

    python benchmarks/network.py [--areas 34 80] [--units 32 64] [--delays 1] [--repeats 5] [--device cpu] [--json]

Forward and backward over T bins, leaky units, random pathways of the given density, one thread on a CPU. Before any
timing, states and gradients are compared with the naive network's; the last column says whether they are the same.
On a CPU with one thread the time is that of the process, the least of the repeats: other programs disturb it little.

    naive          a module per area, a Linear per pathway, loops over both
    autograd       packed, gradients by autograd            hand-written   packed, `models/fused/`
    bf16           the same with products in bf16           low rank       messages of rank 8: another, smaller function
    gated          areas of gated units (`kind = "gru"`), packed, by autograd and hand-written; other rows are of leaky
                   ones
    nn.GRU         one GRU of as many units as all areas together, all joined: what an undivided network costs
    bound          what the products of the naive network would take at the speed of one large product: nothing that
                   computes the same numbers in float32 can be faster
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.models.recurrence import step_by_step

BIN_S = 0.01
MOST_GRU_UNITS = 2600  # beyond that its weights alone take a gigabyte


class NaiveNetwork(nn.Module):
    """The same network as people write it first: loops over areas and pathways."""

    def __init__(self, packed: ModularNetwork) -> None:
        super().__init__()
        local, messages, size = packed.groups[0].packed, packed.messages, packed.size
        n_areas, edges = len(packed.areas), messages.edges
        self.local = nn.ModuleList(nn.Linear(size, size) for _ in range(n_areas))
        self.pathways = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in edges)
        self.log_tau = nn.ParameterList(nn.Parameter(local.log_tau[a, 0].detach().clone()) for a in range(n_areas))
        self.into: list[list[tuple[int, int, int]]] = [[] for _ in range(n_areas)]
        with torch.no_grad():
            for area, linear in enumerate(self.local):
                linear.weight.copy_(local.weight[area].T)
                linear.bias.copy_(local.bias[area, 0])
            for e, (edge, weight) in enumerate(zip(edges, messages.weights(), strict=True)):
                self.pathways[e].weight.copy_(weight.T)
                self.into[edge.target].append((e, edge.source, edge.delay_bins))

    def forward(self, drive_TABH: Tensor) -> Tensor:
        """States, (T, A, B, H)."""
        n_bins, n_areas, n_batch, size = drive_TABH.shape
        rest = drive_TABH.new_zeros(n_batch, size)
        history: list[list[Tensor]] = []
        for t in range(n_bins):
            now = []
            for area in range(n_areas):
                before = history[t - 1][area] if t else rest
                total = drive_TABH[t, area] + self.local[area](before)
                for e, source, delay in self.into[area]:
                    total = total + self.pathways[e](history[t - delay][source] if t >= delay else rest)
                alpha = -torch.expm1(-1 / self.log_tau[area].exp().clamp_min(0.3))
                now.append(before + alpha * (torch.tanh(total) - before))
            history.append(now)
        return torch.stack([torch.stack(now) for now in history])


def random_topology(n_areas: int, density: float, max_delay_bins: int, seed: int = 0) -> Topology:
    """Pathways drawn at the given density, each with a delay of 1 to `max_delay_bins` bins."""
    draw = random.Random(seed)
    names = [f"area{a}" for a in range(n_areas)]
    pathways = tuple(
        Pathway(source=s, target=t, length_mm=10.0 * draw.randint(1, max_delay_bins))
        for s in names
        for t in names
        if s != t and draw.random() < density
    )
    areas = tuple(Area(name=name) for name in names)
    return Topology(name="random", areas=areas, pathways=pathways, speed_m_per_s=1.0)


def packed_states(network: ModularNetwork, drive_TABH: Tensor) -> Tensor:
    """States of the packed network under a given drive, (T, A, B, H)."""
    drive_NTBH = drive_TABH.transpose(0, 1) + network.bias()[:, None]
    return network.run(drive_NTBH).transpose(0, 1)


def step_s(run: Callable[[], Tensor], parameters: list[nn.Parameter], repeats: int, device: str) -> float:
    """Least seconds of forward + backward."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    times_s = []
    for _ in range(repeats + 1):
        for parameter in parameters:
            parameter.grad = None
        start_s = clock()
        run().float().square().mean().backward()
        if device != "cpu":
            torch.cuda.synchronize()
        times_s.append(clock() - start_s)
    return min(times_s[1:])


def autograd_states(network: ModularNetwork, drive_TABH: Tensor) -> Tensor:
    """States of the packed network, its gradients by autograd, (T, A, B, H)."""
    drive_NTBH = drive_TABH.transpose(0, 1) + network.bias()[:, None]
    return step_by_step(network.groups, network.messages, drive_NTBH).transpose(0, 1)


def bf16_states(network: ModularNetwork, drive_TABH: Tensor) -> Tensor:
    """States of the packed network under autocast, (T, A, B, H)."""
    with torch.autocast(drive_TABH.device.type, torch.bfloat16):
        return packed_states(network, drive_TABH)


def gru_states(gru: nn.GRU, drive_TABH: Tensor) -> Tensor:
    """States of one GRU whose input is the drive of all units, (T, B, A * H)."""
    states: Tensor = gru(drive_TABH.transpose(1, 2).flatten(2))[0]
    return states


def bound_s(n_pathways: int, n_areas: int, n_units: int, args: argparse.Namespace) -> float:
    """The least time that all products take: twice the multiplications, three times over (forward, two gradients)."""
    n = 2048
    a, b = torch.randn(2, n, n, device=args.device)
    best = min(_product_s(a, b, args.device) for _ in range(4))
    wanted = 3 * 2 * (n_pathways + n_areas) * args.bins * args.batch * n_units**2
    return wanted / (2 * n**3 / best)


def _product_s(a: Tensor, b: Tensor, device: str) -> float:
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start_s = clock()
    a @ b
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start_s


def largest_difference(network: ModularNetwork, naive: NaiveNetwork, drive: Tensor) -> tuple[float, float]:
    """Between the two: of the states, and of the gradient of all pathway weights, relative to the largest."""
    states, wanted = packed_states(network, drive), naive(drive)
    states.square().mean().backward()
    wanted.square().mean().backward()
    gradient = network.messages.weight.grad
    wanted_gradient = torch.stack([pathway.weight.grad.T for pathway in naive.pathways])
    relative = ((gradient - wanted_gradient).abs().max() / wanted_gradient.abs().max()).item()
    return (states - wanted).abs().max().item(), relative


def measure(n_areas: int, n_units: int, args: argparse.Namespace) -> list[dict[str, object]]:
    """One row per network: naive, packed, packed with messages of low rank."""
    topology = random_topology(n_areas, args.density, args.delays)
    generator = torch.Generator().manual_seed(0)
    drive = torch.randn(args.bins, n_areas, args.batch, n_units, generator=generator).to(args.device)
    make = partial(ModularNetwork, topology, area_size=n_units, bin_s=BIN_S)
    gated = make(kind="gru").to(args.device)
    packed, low_rank = make().to(args.device), make(rank=args.rank).to(args.device)
    naive = NaiveNetwork(packed).to(args.device)
    gru = nn.GRU(n_areas * n_units, n_areas * n_units).to(args.device)
    state_error, gradient_error = largest_difference(packed, naive, drive)
    is_same = state_error < 1e-4 and gradient_error < 1e-3
    runs: list[tuple[str, Callable[[], Tensor], nn.Module, bool]] = [
        ("naive", lambda: naive(drive), naive, True),
        ("autograd", lambda: autograd_states(packed, drive), packed, is_same),
        ("hand-written", lambda: packed_states(packed, drive), packed, is_same),
        ("bf16", lambda: bf16_states(packed, drive), packed, False),
        (f"low rank {args.rank}", lambda: packed_states(low_rank, drive), low_rank, False),
        ("gated, autograd", lambda: autograd_states(gated, drive), gated, False),
        ("gated, hand-written", lambda: packed_states(gated, drive), gated, False),
    ]
    if n_areas * n_units <= MOST_GRU_UNITS:
        runs.append(("nn.GRU", lambda: gru_states(gru, drive), gru, False))
    rows: list[dict[str, object]] = []
    for label, run, module, same in runs:
        seconds = step_s(run, list(module.parameters()), args.repeats, args.device)
        rows.append({"network": label, "step_s": seconds, "same": same})
    rows.append({"network": "bound", "step_s": bound_s(len(topology.pathways), n_areas, n_units, args), "same": True})
    for row in rows:
        row["times_faster"] = float(str(rows[0]["step_s"])) / float(str(row["step_s"]))
    shape = {"areas": n_areas, "units": n_units, "pathways": len(topology.pathways)}
    return [shape | row | {"state_error": state_error, "gradient_error": gradient_error} for row in rows]


def main() -> None:
    """Print one row per size and network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--areas", type=int, nargs="+", default=[34, 80])
    parser.add_argument("--units", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--density", type=float, default=0.2)
    parser.add_argument("--delays", type=int, default=1, help="delays are drawn from 1 to this many bins")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [row for areas in args.areas for units in args.units for row in measure(areas, units, args)]
    if args.json:
        json.dump({"settings": vars(args), "rows": rows}, sys.stdout, indent=1)
        return
    print("areas units pathways network                step ms  times faster  same numbers")
    for row in rows:
        print(
            f"{row['areas']:5} {row['units']:5} {row['pathways']:8} {row['network']:20}"
            f"{row['step_s'] * 1e3:9.1f} {row['times_faster']:13.1f}  {row['same']}"
        )


if __name__ == "__main__":
    main()
