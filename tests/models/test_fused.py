"""The fast way through time gives the numbers and gradients of the plain one."""

import os

import numpy as np
import pytest
import torch

from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology, fused
from neuroloom.models.fused import passes, small_products
from neuroloom.models.fused.small_products import Products
from neuroloom.models.recurrence import Cut, step_by_step

NAMES = "ABCDEFG"
N_BINS, N_ROWS = 50, 6


@pytest.fixture(params=["leaky", "bundles"])
def way(request, monkeypatch):
    """Both ways, of which a CPU takes the first."""
    walks = {"leaky": fused.leaky, "bundles": fused.bundles}
    other = next(walks[name] for name in walks if name != request.param)
    monkeypatch.setattr(fused, "are_there", lambda _: request.param == "leaky")
    monkeypatch.setattr(other, "walk", None)


def topology(*delays: int, sign: int = 0, sizes: tuple[int, ...] = ()) -> Topology:
    """Seven areas; each sends to the next five, with these delays (bins of 10 ms) in turn."""
    ends = [(s, (s + hop) % 7) for s in range(7) for hop in range(1, 6)]
    return Topology(
        name="seven",
        areas=tuple(Area(name=n, size=sizes[i % len(sizes)] if sizes else 0) for i, n in enumerate(NAMES)),
        pathways=tuple(
            Pathway(source=NAMES[s], target=NAMES[t], length_mm=10.0 * delays[i % len(delays)], sign=sign)
            for i, (s, t) in enumerate(ends)
        ),
        speed_m_per_s=1.0,
    )


def compared(made: ModularNetwork, cut: Cut, gain: torch.Tensor | None = None, n_bins: int = 13) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (len(made.node_names), n_bins, 3, made.size)
    drive = (torch.randn(shape, generator=generator, dtype=torch.float64) * made.exists[:, None]).requires_grad_()
    asked = torch.randn(shape, generator=generator, dtype=torch.float64)
    groups, results = made.groups, []
    assert fused.can_run(groups, made.messages, drive, cut, False)
    parameters = [drive, *(p for part in (made.messages, *groups) for p in part.parameters())]
    for states in (
        fused.run(groups, made.messages, drive + made.bias()[:, None], gain, cut),
        step_by_step(groups, made.messages, drive + made.bias()[:, None], gain_N11H=gain, cut=cut),
    ):
        gradients = torch.autograd.grad((states * asked).sum(), parameters, allow_unused=True)
        results.append(
            (states, *(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)))
        )
    assert len(results[0]) == len(results[1]) > 4
    for mine, plain in zip(*results, strict=True):
        assert torch.allclose(mine, plain, atol=1e-10)


@pytest.mark.parametrize("delays", [(1,), (1, 2, 5), (3,), (2, 4), (20,)])
@pytest.mark.parametrize("every", [0, 4])
def test_states_and_all_gradients_are_those_of_autograd(way, delays, every):
    made = ModularNetwork(topology(*delays), area_size=5, bin_s=0.01).double()
    compared(made, Cut(every_bins=every))


def test_so_they_are_under_dales_law_with_signs_gains_and_areas_of_several_sizes(way):
    made = ModularNetwork(topology(1, 3, sign=-1, sizes=(3, 6)), bin_s=0.01, dale=True, density=0.7).double()
    gain = torch.rand(7, 1, 1, 6, generator=torch.Generator().manual_seed(1)).double() + 0.5
    compared(made, Cut(), gain)


@pytest.mark.parametrize("dale", [False, True])
def test_so_they_are_of_messages_of_low_rank(way, dale):
    made = ModularNetwork(topology(1, 3), area_size=6, bin_s=0.01, rank=2, dale=dale).double()
    made.lesion("A", "B")
    compared(made, Cut())


def test_so_they_are_with_a_global_module_and_without_any_pathway(way):
    slow = GlobalModule(name="slow", time_scale_s=0.5)
    areas = (Area(name="A"), Area(name="B"))
    compared(
        ModularNetwork(Topology(name="g", areas=areas, global_modules=(slow,)), area_size=4, bin_s=0.01).double(), Cut()
    )
    alone = ModularNetwork(Topology(name="n", areas=areas), area_size=4, bin_s=0.01).double()
    compared(alone, Cut(every_bins=3))


def test_a_lesion_counts(way):
    made = ModularNetwork(topology(1, 2), area_size=4, bin_s=0.01).double()
    made.lesion("A", "B")
    compared(made, Cut())


@pytest.mark.parametrize("delays", [(1,), (1, 2, 5), (3,), (2, 4), (20,)])
@pytest.mark.parametrize("every", [0, 4])
def test_states_and_all_gradients_of_gated_units_are_those_of_autograd(delays, every):
    compared(gated(topology(*delays), area_size=5), Cut(every_bins=every))


def test_so_they_are_of_gated_units_with_gains_and_areas_of_several_sizes():
    gain = torch.rand(7, 1, 1, 6, generator=torch.Generator().manual_seed(1)).double() + 0.5
    compared(gated(topology(1, 3, sign=-1, sizes=(3, 6)), density=0.7), Cut(), gain)
    compared(gated(topology(2, 3, sizes=(3, 6)), rank=2), Cut(every_bins=5), gain)


def test_so_they_are_of_gated_units_with_a_global_module_and_without_any_pathway():
    areas = (Area(name="A"), Area(name="B"))
    slow = GlobalModule(name="slow", time_scale_s=0.5)
    compared(gated(Topology(name="g", areas=areas, global_modules=(slow,)), area_size=4), Cut())
    compared(gated(Topology(name="n", areas=areas), area_size=4), Cut(every_bins=3))
    compared(gated(Topology(name="n", areas=areas), area_size=4), Cut())


def test_under_autocast_gated_units_go_the_plain_way():
    made = ModularNetwork(topology(1), area_size=4, kind="gru")
    drive = torch.zeros(7, 3, 2, 4)
    assert fused.can_run(made.groups, made.messages, drive, Cut(), False)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused.can_run(made.groups, made.messages, drive, Cut(), False)


def gated(network: Topology, **options) -> ModularNetwork:
    """Of which no gate is where it starts."""
    made = ModularNetwork(network, bin_s=0.01, kind="gru", **options).double()
    with torch.no_grad():
        packed = made.groups[0].packed
        packed.gate_bias += torch.randn(packed.gate_bias.shape, generator=torch.Generator().manual_seed(2))
    return made


def test_what_it_cannot_do_goes_the_plain_way():
    for made, cut, is_nudged in (
        (ModularNetwork(topology(1), area_size=65, rank=2), Cut(), False),
        (ModularNetwork(topology(1), area_size=4, kind="gated_linear"), Cut(), False),
        (ModularNetwork(topology(1), area_size=4, kind={"A": "gru"}), Cut(), False),
        (ModularNetwork(topology(1), area_size=4), Cut(between_areas=True), False),
        (ModularNetwork(topology(1), area_size=4), Cut(), True),
    ):
        drive = torch.zeros(7, 3, 2, made.size)
        assert not fused.can_run(made.groups, made.messages, drive, cut, is_nudged)


def test_under_autocast_products_are_in_bf16_and_the_result_is_near():
    made = ModularNetwork(topology(1, 2), area_size=16, bin_s=0.01)
    made.attach("s", [Port(name="x", kind="stimulus", channel_names=("a",), bin_s=0.01)], [])
    light = {"x": torch.ones(2, 20, 1)}
    exact = made.states("s", light)
    exact.square().sum().backward()
    wanted = made.messages.weight.grad.clone()
    made.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        near = made.states("s", light)
    near.float().square().sum().backward()
    assert 0 < (near - exact).abs().max() < 0.02
    assert (made.messages.weight.grad - wanted).norm() < 0.03 * wanted.norm()


def made_small_products(size: int, *, turned: bool, late: list[int]) -> tuple[Products, int]:
    """Of as many matrices of N_BINS, one after the other, every two with one result; how long a tensor of them is."""
    n, length = len(late), N_BINS * N_ROWS * size
    place = np.arange(n) * length
    result = np.arange(n) // 2 * (size**2 if turned else length)
    right = place if turned else np.arange(n) * size**2
    parts = np.array([*range(0, n, 2), n])
    return Products(size, N_ROWS, turned, place, right, result, np.array(late), parts), n * length


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [3, 64, 200])  # 64: in several steps of rows; 200: too wide for that
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bins", [(0, N_BINS, 0), (7, 40, 5), (8, 9, 8)])  # first, before the last, beginning
def test_small_products_are_those_of_torch(dtype, size, turned, bins):
    late = [0, 1, 60, 3, 36]
    products, length = made_small_products(size, turned=turned, late=late)
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(length, generator=generator, dtype=dtype)
    right = torch.randn(max(length, 5 * size**2), generator=generator, dtype=dtype)
    result = torch.randn(max(length, 5 * size**2), generator=generator, dtype=dtype)
    wanted, (first, last, beginning) = result.clone(), bins
    for at, n in zip(zip(products.left, products.right, products.result, strict=True), late, strict=True):
        rows = slice(max(first, beginning + n) * N_ROWS, last * N_ROWS)
        a, b, c = (part[place:] for part, place in zip((left, right, wanted), at, strict=True))
        a, b, c = (part[: N_BINS * N_ROWS * size] for part in (a, b, c))
        if turned:
            c[: size**2] += (a.view(-1, size)[rows].T @ b.view(-1, size)[rows]).flatten()
        else:
            c.view(-1, size)[rows] += a.view(-1, size)[rows] @ b[: size**2].view(size, size)
    with small_products.alone:
        products.of(left, right, result).add(first, last, beginning=beginning)
    assert torch.allclose(result, wanted, atol=1e-3 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("kind", ["leaky", "gru"])
def test_threads_share_the_work_and_change_no_bit(monkeypatch, kind):
    made = ModularNetwork(topology(1, 2, 5), area_size=9, bin_s=0.01, kind=kind)
    drive = torch.randn(7, 11, 4, 9, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(small_products, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(passes, "WORTH_A_THREAD", 1)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            states = fused.run(made.groups, made.messages, drive, None, Cut())
            found.append(
                (
                    states,
                    *torch.autograd.grad(states.square().sum(), [made.messages.weight, made.groups[0].packed.weight]),
                )
            )
    finally:
        torch.set_num_threads(before)
    assert len(small_products._threads(os.getpid())._threads) > 0
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("kind", ["leaky", "gru"])
def test_nothing_is_read_that_was_not_written(way, kind):
    """Under deterministic algorithms torch fills new memory with nan."""
    made = ModularNetwork(topology(1, 3), area_size=4, bin_s=0.01, kind=kind)
    drive = torch.ones(7, 6, 3, 4, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(9).isnan().all()
        states = fused.run(made.groups, made.messages, drive, None, Cut(every_bins=4))
        gradients = torch.autograd.grad(states.sum(), [drive, *made.messages.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(one.isfinite().all() for one in (states, *gradients))


def test_the_blas_has_its_threads_back_when_the_last_one_leaves():
    def n_threads():
        return {library.num_threads for library in small_products._blas().lib_controllers}

    before = n_threads()
    with small_products.alone:
        with small_products.alone:
            assert n_threads() == {1}
        assert n_threads() == {1}
    assert n_threads() == before
