from dataclasses import replace

import pytest
import torch

from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology

BIN_S = 0.01
STIMULUS = Port(name="stimulus", kind="stimulus", channel_names=("s",), areas=("A",), bin_s=BIN_S)
SPIKES = Port(name="spikes", kind="spikes", channel_names=("u0", "u1", "u2"), areas=("A", "B", ""), bin_s=BIN_S)


def chain(*lengths_mm: float, **others) -> Topology:
    """A -> B -> C ... of the given lengths; 10 mm take one bin at 1 m/s."""
    names = "ABCDEF"[: len(lengths_mm) + 1]
    return Topology(
        name="chain",
        areas=tuple(Area(name=name) for name in names),
        pathways=tuple(
            Pathway(source=s, target=t, length_mm=mm) for s, t, mm in zip(names, names[1:], lengths_mm, strict=False)
        ),
        speed_m_per_s=1.0,
        **others,
    )


def network(topology: Topology, **options) -> ModularNetwork:
    made = ModularNetwork(topology, **({"area_size": 8, "bin_s": BIN_S} | options))
    made.attach("s1", [STIMULUS, SPIKES], [SPIKES])
    return made


def impulse(n_bins: int = 12) -> dict[str, torch.Tensor]:
    values = torch.zeros(1, n_bins, 1)
    values[0, 0, 0] = 1.0
    return {"stimulus": values}


def first_bins(made: ModularNetwork, n_bins: int = 12) -> list[int]:
    """Per area the first bin at which an impulse into A changes it, -1 for never."""
    changed = made.states("s1", impulse(n_bins)) - made.states("s1", {"stimulus": torch.zeros(1, n_bins, 1)})
    moved_TA = changed[0].abs().amax(dim=2) > 0
    return [int(column.nonzero()[0]) if column.any() else -1 for column in moved_TA.T]


@pytest.mark.parametrize("options", [{}, {"kind": "gru"}, {"rank": 2}, {"dale": True}, {"kind": {"B": "gru"}}])
def test_an_impulse_arrives_after_exactly_the_delays_on_its_way(options):
    assert first_bins(network(chain(30, 0, 50), **options)) == [0, 3, 4, 9]


def test_bins_within_the_shortest_delay_run_at_once_and_change_nothing():
    slow = network(chain(30, 30))
    assert slow.messages.min_delay == 3
    together = slow.states("s1", impulse())
    slow.messages.min_delay = 1
    assert torch.allclose(together, slow.states("s1", impulse()), atol=1e-6)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_lesioned_pathway_carries_nothing_until_it_is_restored(rank):
    made = network(chain(10, 10), rank=rank)
    made.lesion("B", "C")
    assert first_bins(made) == [0, 1, -1]
    made.lesion("B", "C", intact=True)
    assert first_bins(made) == [0, 1, 2]


def test_gradients_flow_only_where_the_connectome_leads():
    made = network(chain(10, 10))
    inputs = {"spikes": torch.ones(1, 6, 3, requires_grad=True)}
    made.states("s1", inputs)[:, :, 0].sum().backward()
    gradient_C = inputs["spikes"].grad.abs().sum(dim=(0, 1))
    assert gradient_C[0] > 0
    assert gradient_C[1] == 0  # unit u1 sits in B, from which nothing leads to A


def test_an_output_rests_on_inputs_up_to_its_own_bin_and_no_later():
    made = network(chain(10))
    values = torch.zeros(1, 8, 1, requires_grad=True)
    made("s1", {"stimulus": values})["spikes"][0, 4].sum().backward()
    assert (values.grad[0, :, 0] != 0).tolist() == [True] * 5 + [False] * 3


def test_a_global_module_joins_areas_without_pathways():
    topology = replace(chain(10), pathways=(), global_modules=(GlobalModule(name="G"),))
    assert first_bins(network(topology)) == [0, 2]


def test_a_clocked_global_module_keeps_its_state_between_updates():
    topology = replace(chain(10), pathways=(), global_modules=(GlobalModule(name="G", every_s=0.05),))
    assert first_bins(network(topology)) == [0, 6]  # reaches G at its update at bin 5, B one bin later


def test_a_slow_module_forgets_at_its_own_time_scale():
    made = network(replace(chain(10), global_modules=(GlobalModule(name="G", time_scale_s=1.0),)))
    _, alpha = made.groups[0].packed.constants()
    assert alpha[2].mean().item() == pytest.approx(BIN_S / 1.0, rel=0.01)


@pytest.mark.parametrize("kind", ["leaky", "gru"])
def test_the_time_scale_of_a_global_module_is_not_learned(kind):
    made = network(replace(chain(10), global_modules=(GlobalModule(name="G", time_scale_s=1.0),)), kind=kind)
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.1, weight_decay=0.5)
    made.states("s1", impulse()).square().sum().backward()
    optimizer.step()
    packed = made.groups[0].packed
    share = packed.constants()[1][2].max() if kind == "leaky" else packed.rate[2].max()
    assert share.item() == pytest.approx(0.00995, rel=0.01)


def test_the_gradient_is_cut_every_so_many_bins():
    made = network(chain(10), detach_every=4)
    values = torch.zeros(1, 8, 1, requires_grad=True)
    made.states("s1", {"stimulus": values})[0, 6].sum().backward()
    assert (values.grad[0, :, 0] != 0).tolist() == [False] * 4 + [True] * 3 + [False]


@pytest.mark.parametrize("options", [{}, {"kind": "gru"}, {"dale": True}, {"rank": 4}])
def test_the_spectral_radius_starts_where_it_is_told(options):
    made = ModularNetwork(Topology.read("four-areas"), area_size=24, gain=0.8, **options)
    n_nodes, size = len(made.node_names), made.size
    whole = torch.zeros(n_nodes, size, n_nodes, size)
    for edge, weight in zip(made.messages.edges, made.messages.weights(), strict=True):
        whole[edge.source, :, edge.target] += weight
    for node in range(n_nodes):
        whole[node, :, node] += made.groups[0].packed.constants()[0][node]
    radius = torch.linalg.eigvals(whole.reshape(n_nodes * size, -1).detach()).abs().max().item()
    assert radius == pytest.approx(0.8, rel=0.05)


def test_activity_dies_out_below_a_gain_of_one():
    made = network(chain(10, 10), gain=0.9)
    states = made.states("s1", impulse(400))
    assert states[0, -1].abs().max() < 1e-3 * states[0, :20].abs().max()


def test_dales_law_holds_for_every_unit():
    made = network(chain(10, 10), dale=True)
    local = made.groups[0].packed.constants()[0]
    assert ((local >= 0).all(dim=2) | (local <= 0).all(dim=2)).all()
    assert (made.messages.weights() >= 0).all()


def test_an_inhibiting_pathway_inhibits():
    topology = replace(chain(10), pathways=(Pathway(source="A", target="B", sign=-1),))
    assert (network(topology).messages.weights() <= 0).all()


def test_equal_seeds_give_equal_bits_whatever_the_order_of_attaching():
    first, second = (ModularNetwork(chain(10), area_size=4, bin_s=BIN_S, seed=5) for _ in range(2))
    for made, order in ((first, ("a", "b")), (second, ("b", "a"))):
        for session in order:
            made.attach(session, [SPIKES], [SPIKES])
    assert {name: value.tolist() for name, value in first.state_dict().items()} == {
        name: value.tolist() for name, value in second.state_dict().items()
    }


def test_another_seed_gives_other_weights():
    weights = [network(chain(10), seed=seed).messages.weights() for seed in (0, 1)]
    assert not torch.equal(*weights)


def test_a_new_session_adds_encoders_and_readouts_only():
    made = network(chain(10))
    shared = {name for name, _ in made.named_parameters() if not name.startswith("sessions.")}
    made.attach("s.2", [SPIKES], [SPIKES])
    assert {name for name, _ in made.named_parameters() if not name.startswith("sessions.")} == shared
    assert made("s.2", {"spikes": torch.zeros(2, 3, 3)})["spikes"].shape == (2, 3, 3, 1)


def test_a_saved_network_loads_with_weights_only_and_computes_the_same(tmp_path):
    made, other = network(chain(10), seed=1), network(chain(10), seed=2)
    torch.save(made.state_dict(), tmp_path / "w.pt")
    other.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    assert torch.equal(made("s1", impulse())["spikes"], other("s1", impulse())["spikes"])


def test_a_masked_input_may_hold_nan_and_drives_nothing():
    made = network(chain(10))
    values, mask = torch.full((1, 4, 3), float("nan")), torch.zeros(1, 4, 3, dtype=torch.bool)
    hidden = made.states("s1", {"spikes": values}, {"spikes": mask})
    hidden.sum().backward()
    assert torch.equal(hidden, made.states("s1", {"spikes": torch.zeros(1, 4, 3)}))
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)


def test_areas_of_different_size_keep_to_their_own_units():
    topology = replace(chain(10), areas=(Area(name="A", size=3), Area(name="B", size=5)))
    states = network(topology).states("s1", impulse())
    assert states.shape[2:] == (2, 5)
    assert states[:, :, 0, 3:].abs().max() == 0
    assert states[:, :, 0, :3].abs().max() > 0


def test_noise_is_drawn_in_training_only_and_only_where_it_is_asked_for():
    made = network(chain(10), noise={"B": 0.5})
    noisy = made.states("s1", impulse())
    assert not torch.equal(noisy, made.states("s1", impulse()))
    assert torch.equal(noisy[:, 0, 0], made.states("s1", impulse())[:, 0, 0])
    made.eval()
    assert torch.equal(made.states("s1", impulse()), made.states("s1", impulse()))


def test_strengths_come_in_the_topologys_order():
    topology = chain(50, 10, 30)
    made = network(topology)
    made.lesion("C", "D")
    norms, lengths_mm = made.pathway_strengths()
    assert lengths_mm.tolist() == [50.0, 10.0, 30.0]
    assert (norms > 0).tolist() == [True, True, False]


def test_channels_of_unknown_areas_are_told():
    assert network(chain(10)).unplaced("s1") == {"spikes": ("u2",)}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda n: n("s9", impulse()), "'s9' is not attached; attached: s1"),
        (lambda n: n.readout("s1", "eeg"), "no output 'eeg'; it has: spikes"),
        (lambda n: n("s1", {"eeg": torch.zeros(1, 2, 3)}), "no input 'eeg'; it has: stimulus, spikes"),
        (lambda n: n("s1", {}), "one at least"),
        (lambda n: n("s1", {"spikes": torch.zeros(1, 2, 5)}), r"shape \(1, 2, 5\)"),
        (lambda n: n("s1", {"spikes": torch.zeros(1, 2, 3), "stimulus": torch.zeros(1, 4, 1)}), "must be the same"),
        (lambda n: n.attach("s1", [], []), "attached already"),
        (lambda n: n.attach("s2", [], [STIMULUS]), "cannot be an output"),
        (lambda n: n.attach("s2", [], [replace(SPIKES, bin_s=0.5)]), "bins of 0.5 s"),
        (lambda n: n.attach("s2", [], [replace(SPIKES, areas=("A",))]), "3 channels but 1 areas"),
        (lambda n: n.attach("s2", [], [SPIKES, SPIKES]), "there twice"),
        (lambda n: n.attach("s2", [], [replace(SPIKES, kind="smell")]), "no readout 'smell'; there are: bold, choice"),
        (lambda n: n.attach("s2", [], [SPIKES], lead_fields={"eeg": torch.zeros(1, 1)}), "which is no output port"),
        (lambda n: n.lesion("B", "A"), "no pathway B -> A"),
        (lambda n: n.lesion("B", "Z"), "no area or global module 'Z'"),
        (
            lambda n: ModularNetwork(n.topology, kind="lstm"),
            "no kind of module 'lstm'; there are: gated_linear, gru, leaky, transformer",
        ),
        (lambda n: ModularNetwork(n.topology, kind="gru", dale=True), "Dale's law"),
        (lambda n: ModularNetwork(n.topology, area_size=0), "area_size 0"),
    ],
)
def test_wrong_use_is_told_in_one_line(act, message):
    with pytest.raises(ValueError, match=message) as caught:
        act(network(chain(10)))
    assert "\n" not in str(caught.value)


def test_a_student_learns_a_teachers_rates_better_than_the_mean():
    torch.manual_seed(0)
    topology = chain(20)
    teacher, student = network(topology, seed=1, gain=1.4), network(topology, seed=2)
    with torch.no_grad():
        stimulus = torch.randn(32, 30, 1) * 3
        count = teacher("s1", {"stimulus": stimulus})["spikes"][..., 0] * 4
    readout = student.readout("s1", "spikes")
    readout.start_at(count.mean(dim=(0, 1)), count.std(dim=(0, 1)))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = readout.nll(student("s1", {"stimulus": stimulus})["spikes"], count).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    at_mean, best = (
        (rate - count * rate.log() + torch.lgamma(count + 1)).mean().item()
        for rate in (count.mean(dim=(0, 1)).expand_as(count), count)
    )
    assert (losses[-1] - best) < 0.2 * (at_mean - best)


@pytest.mark.parametrize("name", ["area_size", "rank", "session_size", "recompute_bins"])
def test_sizes_that_are_no_whole_numbers_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} is 1.5; a whole number"):
        ModularNetwork(Topology.read("four-areas"), **{"bin_s": 0.02, "area_size": 4, name: 1.5})
