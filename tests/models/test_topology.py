import random
import re
from dataclasses import replace
from itertools import combinations
from math import dist
from statistics import mean

import networkx
import pytest

from neuroloom.models import Area, GlobalModule, Pathway, Topology, TopologyError
from neuroloom.models.make_topologies import desikan68, four_areas
from neuroloom.models.topology_files import bundled

A, B, C = Area(name="A"), Area(name="B"), Area(name="C")


def small(*pathways: tuple[str, str]) -> Topology:
    return Topology(name="small", areas=(A, B, C), pathways=tuple(Pathway(source=s, target=t) for s, t in pathways))


def test_delay_is_length_over_speed():
    pathway = Pathway(source="A", target="B", length_mm=100.0)
    assert Topology(name="t", areas=(A, B), pathways=(pathway,), speed_m_per_s=5.0).delays_s() == (0.02,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"areas": ()}, "no areas"),
        ({"areas": (A, A)}, "'A' is there twice"),
        ({"pathways": (Pathway(source="A", target="Z"),)}, "'Z', which is no area"),
        ({"pathways": (Pathway(source="A", target="A"),)}, "back to itself"),
        ({"pathways": (Pathway(source="A", target="B", weight=0.0),)}, "above 0"),
        ({"pathways": (Pathway(source="A", target="B", length_mm=float("nan")),)}, "length_mm of A -> B is nan"),
        ({"pathways": (Pathway(source="A", target="B", sign=2),)}, "sign of A -> B is 2"),
        ({"pathways": (Pathway(source="A", target="B", kind="up"),)}, "'up'"),
        ({"global_modules": (GlobalModule(name="A"),)}, "'A' is there twice"),
        ({"global_modules": (GlobalModule(name="G", areas=("Z",)),)}, "'Z', which is no area"),
        ({"global_modules": (GlobalModule(name="G", time_scale_s=0.0),)}, "time_scale_s of G is 0.0"),
        ({"speed_m_per_s": 0.0}, "speed_m_per_s is 0.0"),
        ({"areas": (Area(name="A", hemisphere="up"),)}, "hemisphere of A is 'up'"),
    ],
)
def test_a_topology_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(TopologyError, match=message):
        Topology(**({"name": "t", "areas": (A, B)} | change))


@pytest.mark.parametrize(("name", "made"), [("desikan68", desikan68), ("four-areas", four_areas)])
def test_bundled_files_are_what_the_script_makes(name, made):
    assert Topology.read(name) == made()
    assert bundled() == ("desikan68", "four-areas")


def test_desikan_has_34_regions_in_each_hemisphere_mirrored():
    areas = Topology.read("desikan68").areas
    assert [len([a for a in areas if a.hemisphere == side]) for side in ("left", "right")] == [34, 34]
    for left, right in zip(areas[:34], areas[34:], strict=True):
        assert left.position_mm == (-right.position_mm[0], *right.position_mm[1:])


def test_toml_text_gives_the_same_topology_back(tmp_path):
    topology = Topology(
        name='odd "name" \x7f\n',
        areas=(
            Area(
                name="A", position_mm=(1.0, -2.5, 3.0), size=3, hemisphere="left", inputs=("tone",), outputs=("a", "b")
            ),
            B,
        ),
        pathways=(Pathway(source="A", target="B", weight=0.1, length_mm=7.0, sign=-1, kind="feedback"),),
        global_modules=(GlobalModule(name="G", size=2, time_scale_s=0.3, every_s=0.1, areas=("B",)),),
        speed_m_per_s=2.0,
        notes=("one",),
    )
    (tmp_path / "t.toml").write_text(topology.to_toml(), encoding="utf-8")
    assert Topology.read(tmp_path / "t.toml") == topology


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "t.toml: "),
        ("colour = 1", "unknown key 'colour'"),
        ("[[areas]]\nname = 'A'\ncolour = 1", "unknown key 'colour'"),
        ("[[areas]]\nsize = 1", "missing"),
        ("[[areas]]\nname = 'A'\nsize = 'big'", "wrong type"),
        ("links = [[0, 9, 1.0, 1.0]]\n[[areas]]\nname = 'A'", "beyond the 1 here"),
        ("areas = 3", "list of tables"),
    ],
)
def test_a_toml_file_that_makes_no_sense_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(TopologyError, match=message) as caught:
        Topology.read(tmp_path / "t.toml")
    assert "t.toml" in str(caught.value)


def test_an_unknown_name_lists_the_bundled_ones():
    with pytest.raises(TopologyError, match="bundled are: desikan68, four-areas"):
        Topology.read("desikan86")


def test_csv_rows_are_sources_and_lengths_and_centres_lie_beside_it(tmp_path):
    (tmp_path / "b.csv").write_text(",P,Q\nP,0,2\nQ,-1,0\n")
    (tmp_path / "b_lengths.csv").write_text("0,10\n20,0\n")
    (tmp_path / "b_centres.csv").write_text("name,x,y,z\nQ,1,2,3\nP,0,0,0\n")
    topology = Topology.read(tmp_path / "b.csv")
    assert topology.pathways == (
        Pathway(source="P", target="Q", weight=2.0, length_mm=10.0),
        Pathway(source="Q", target="P", weight=1.0, length_mm=20.0, sign=-1),
    )
    assert topology.areas[1].position_mm == (1.0, 2.0, 3.0)
    assert any("negative" in note for note in topology.notes)


def test_csv_without_names_counts_its_areas(tmp_path):
    (tmp_path / "b.csv").write_text("0,1\n1,0\n")
    assert Topology.read(tmp_path / "b.csv").area_names == ("area000", "area001")


def test_lengths_whose_areas_are_named_in_another_order_go_with_their_areas(tmp_path):
    (tmp_path / "b.csv").write_text(",P,Q\nP,0,2\nQ,1,0\n")
    (tmp_path / "b_lengths.csv").write_text(",Q,P\nQ,0,20\nP,10,0\n")
    lengths = {p.source: p.length_mm for p in Topology.read(tmp_path / "b.csv").pathways}
    assert lengths == {"P": 10.0, "Q": 20.0}
    (tmp_path / "b_lengths.csv").write_text(",Q,R\nQ,0,20\nR,10,0\n")
    with pytest.raises(TopologyError, match=r"b_lengths\.csv: 'P' is not as often here as in b\.csv"):
        Topology.read(tmp_path / "b.csv")


@pytest.mark.parametrize(
    "text",
    ['"","P 1","2"\n"P 1",0,3\n"2",0,0\n', ";P 1;2\nP 1;0;3\n2;0;0\n", "\tP 1\t2\nP 1\t0\t3\n2\t0\t0\n",
     '"P 1","2"\n"P 1",0,3\n"2",0,0\n'],
    ids=["quoted", "semicolons", "tabs", "R"],
)  # fmt: skip
def test_a_matrix_as_spreadsheets_and_r_write_it(tmp_path, text):
    (tmp_path / "b.csv").write_text(text)
    (tmp_path / "b_centres.csv").write_text('name,x,y,z\n"P 1",0,0,0\n2,0,3,4\n')
    assert Topology.read(tmp_path / "b.csv").pathways == (Pathway(source="P 1", target="2", weight=3.0, length_mm=5.0),)


def test_an_edge_list_adds_the_rows_of_a_pair_and_says_what_it_did_not_read(tmp_path):
    (tmp_path / "b.csv").write_text(
        "Pre\tPost\ttype\tsynapses\nP\tQ\tchem\t2\nP\tQ\tgap\t3\nQ\tR\tchem\t-1\nR\tR\tgap\t9\n"
    )
    topology = Topology.read(tmp_path / "b.csv")
    assert topology.area_names == ("P", "Q", "R")
    assert topology.pathways == (
        Pathway(source="P", target="Q", weight=5.0),
        Pathway(source="Q", target="R", weight=1.0, sign=-1),
    )
    assert topology.notes[:2] == ("1 rows of pairs that were there before: weights added", "columns not read: type")


def test_an_edge_list_may_have_lengths_and_centres_and_be_a_connectome(tmp_path):
    (tmp_path / "b.csv").write_text("target,source,weight,length_mm\nQ,P,2,30\nP,Q,1,40\n")
    (tmp_path / "b_centres.csv").write_text("name,x,y,z\nQ,1,2,3\nP,0,0,0\n")
    (tmp_path / "t.toml").write_text('connectome = "b.csv"\nstrongest = 0.5\n')
    topology = Topology.read(tmp_path / "t.toml")
    assert topology.pathways == (Pathway(source="P", target="Q", weight=2.0, length_mm=30.0),)
    assert topology.areas[1].position_mm == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pre,post,n\nP,Q,1\n", "b.csv: edge list with columns pre, post, n; one of weight, synapses, count, strength"),
        ("pre,post,weight,count\nP,Q,1,1\n", "b.csv: columns weight and count; one of them"),
        ("pre,post,weight\nP,Q,many\n", "b.csv, line 2: 'many'; a finite number"),
        ("pre,post,weight\nP,,1\n", "b.csv, line 2: from 'P' to ''; a name at both ends"),
        ("pre,post,weight\nP,Q,1,5\n", "b.csv, line 2: 4 cells; 3 are needed"),
        ("pre,post,weight\n", "b.csv: connections between 0 areas"),
        ("from,to,weight,length_mm\nP,Q,1,5\nP,Q,1,6\n", "b.csv, line 3: P to Q is 6 mm long here, 5 mm before"),
    ],
)
def test_an_edge_list_that_leaves_something_open_says_where_and_what_is_needed(tmp_path, text, said):
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(TopologyError, match=re.escape(said)):
        Topology.read(tmp_path / "b.csv")


CONNECTOME = """connectome = "b.csv"
strongest = 0.5
speed_m_per_s = 2.0
[[areas]]
name = "P"
inputs = ["stimulus"]
[[pathways]]
source = "R"
target = "P"
kind = "feedback"
[[global_modules]]
name = "thalamus"
every_s = 0.1
"""


def test_a_toml_file_says_more_of_a_connectome(tmp_path):
    (tmp_path / "b.csv").write_text(",P,Q,R\nP,0,5,1\nQ,4,0,2\nR,0,0,0\n")
    (tmp_path / "t.toml").write_text(CONNECTOME)
    topology = Topology.read(tmp_path / "t.toml")
    assert [(p.source, p.target, p.kind) for p in topology.pathways] == [
        ("P", "Q", ""), ("Q", "P", ""), ("R", "P", "feedback"),
    ]  # fmt: skip
    assert topology.area_names == ("P", "Q", "R")
    assert topology.areas[0].inputs == ("stimulus",)
    assert (topology.speed_m_per_s, topology.global_modules[0].name) == (2.0, "thalamus")
    assert "the strongest 2 of 4 pathways kept" in topology.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('connectome = "c.csv"', "c.csv: no such file"),
        ('connectome = "../b.csv"', "beside this one is needed"),
        ('connectome = "t.toml"', "ends in .csv or .zip"),
        ('connectome = "b.csv"\nstrongest = 0', "strongest is 0; a share"),
        ('connectome = "b.csv"\n[[areas]]\nname = "S"', "area 'S' is not in b.csv; there are P, Q"),
        ("strongest = 0.5", "strongest without a connectome"),
    ],
)
def test_a_connectome_that_is_not_there_or_says_something_else_is_refused(tmp_path, text, message):
    (tmp_path / "b.csv").write_text(",P,Q\nP,0,5\nQ,4,0\n")
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(TopologyError, match=message):
        Topology.read(tmp_path / "t.toml")


@pytest.mark.parametrize("text", ["", "1,2\n", "0,x\n1,0\n", "0,nan\n1,0\n", ",P,Q\nP,0,1\nR,1,0\n", "P,Q\n0,1\n"])
def test_a_matrix_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(TopologyError, match=r"b\.csv"):
        Topology.read(tmp_path / "b.csv")


def test_a_directed_graph_keeps_its_directions_and_its_inhibition():
    graph = networkx.DiGraph(name="g")
    graph.add_node("A", pos=(1, 2, 3))
    graph.add_edge("A", "B", weight=-2.0, length_mm=5.0)
    graph.add_edge("A", "A")
    topology = Topology.from_networkx(graph)
    assert topology.pathways == (Pathway(source="A", target="B", weight=2.0, length_mm=5.0, sign=-1),)
    assert topology.areas == (Area(name="A", position_mm=(1.0, 2.0, 3.0)), Area(name="B"))


def test_a_graph_without_lengths_takes_straight_distances_and_leaves_weights_of_0_out():
    graph = networkx.DiGraph(speed_m_per_s=2.0)
    graph.add_node("A", position_mm=(0, 0, 0), inputs="stimulus")
    graph.add_node("B", position_mm=(0, 3, 4))
    graph.add_edge("A", "B")
    graph.add_edge("B", "A", weight=0)
    topology = Topology.from_networkx(graph)
    assert topology.pathways == (Pathway(source="A", target="B", length_mm=5.0),)
    assert (topology.areas[0].inputs, topology.speed_m_per_s) == (("stimulus",), 2.0)
    assert topology.notes == ("no lengths of edges: straight distances taken",)


def test_a_graph_that_makes_no_sense_is_refused_naming_node_or_edge():
    graph = networkx.DiGraph(name="g")
    graph.add_edge("A", "B", weight="strong")
    with pytest.raises(TopologyError, match="g: weight of edge A -> B is 'strong'; a number is needed"):
        Topology.from_networkx(graph)
    graph.add_node("A", position_mm=(1, 2))
    with pytest.raises(TopologyError, match=r"position of node A is \(1, 2\); three numbers are needed"):
        Topology.from_networkx(graph)
    with pytest.raises(TopologyError, match="a NetworkX graph is needed"):
        Topology.from_networkx([[0, 1], [1, 0]])


def test_an_undirected_edge_becomes_two_pathways():
    assert len(Topology.from_networkx(networkx.path_graph(3)).pathways) == 4


def test_rewiring_keeps_degrees_and_lengths_but_not_the_pairs():
    topology = Topology.read("desikan68")
    other = topology.rewired(seed=1)
    for end in ("source", "target"):
        assert sorted(getattr(p, end) for p in other.pathways) == sorted(getattr(p, end) for p in topology.pathways)
    assert [p.length_mm for p in other.pathways] == [p.length_mm for p in topology.pathways]
    same = {(p.source, p.target) for p in other.pathways} & {(p.source, p.target) for p in topology.pathways}
    assert len(same) < 0.3 * len(topology.pathways)


def test_rewiring_is_repeatable():
    topology = Topology.read("desikan68")
    assert topology.rewired(seed=3) == topology.rewired(seed=3) != topology.rewired(seed=4)


def test_dense_keeps_the_total_weight():
    topology = small(("A", "B"), ("B", "C")).dense()
    assert len(topology.pathways) == 6
    assert sum(p.weight for p in topology.pathways) == pytest.approx(2.0)


def test_distance_only_takes_the_shortest_pairs():
    areas = tuple(Area(name=n, position_mm=(x, 0.0, 0.0)) for n, x in (("A", 0.0), ("B", 1.0), ("C", 10.0)))
    topology = Topology(
        name="t", areas=areas, pathways=(Pathway(source="A", target="C"), Pathway(source="C", target="A"))
    )
    assert {(p.source, p.target) for p in topology.distance_only().pathways} == {("A", "B"), ("B", "A")}


def test_distance_only_needs_positions():
    with pytest.raises(TopologyError, match="no position for A"):
        small(("A", "B")).distance_only()


def test_none_keeps_the_global_modules():
    topology = Topology.read("four-areas").none()
    assert (topology.pathways, len(topology.global_modules)) == ((), 1)


def test_its_repr_says_what_it_is():
    assert repr(Topology.read("four-areas")) == (
        "Topology('four-areas': 4 areas, 10 pathways (density 0.83, delays 20.0 to 75.0 ms), global modules: thalamus)"
    )


def scattered(*, paired: bool, n_areas: int = 30, share: float = 0.2) -> Topology:
    """Areas anywhere in a box, pathways drawn at random; weights fall with length."""
    draw = random.Random(0)
    areas = tuple(
        Area(name=f"a{n:02d}", position_mm=(draw.uniform(0, 60), draw.uniform(0, 60), draw.uniform(0, 60)))
        for n in range(n_areas)
    )
    pathways = []
    for a, b in combinations(areas, 2):
        for source, target in ((a, b), (b, a)):
            if draw.random() < share or (paired and source is b and pathways and pathways[-1].target == b.name):
                mm = 1.2 * dist(a.position_mm, b.position_mm)
                pathways.append(Pathway(source=source.name, target=target.name, weight=100 / mm, length_mm=mm))
    there = {(p.source, p.target) for p in pathways}
    if paired:
        pathways = [p for p in pathways if (p.target, p.source) in there]
    return Topology(name="scattered", areas=areas, pathways=tuple(pathways))


@pytest.mark.parametrize("paired", [False, True])
def test_rewiring_by_length_keeps_degrees_lengths_and_which_weight_goes_with_which_length(paired):
    topology = scattered(paired=paired)
    other = topology.rewired(seed=1, keep_lengths=True)
    for end in ("source", "target"):
        assert sorted(getattr(p, end) for p in other.pathways) == sorted(getattr(p, end) for p in topology.pathways)
    old, new = (sorted(p.length_mm for p in one.pathways) for one in (topology, other))
    assert max(abs(a - b) for a, b in zip(old, new, strict=True)) < 6.0  # of lengths up to 100 mm
    by_length = sorted(other.pathways, key=lambda p: p.length_mm)
    assert [p.weight for p in by_length] == sorted((p.weight for p in topology.pathways), reverse=True)
    same = {(p.source, p.target) for p in other.pathways} & {(p.source, p.target) for p in topology.pathways}
    assert len(same) < 0.5 * len(topology.pathways)


def test_rewiring_by_length_keeps_loops_where_all_pathways_are_loops():
    pathways = {(p.source, p.target) for p in scattered(paired=True).rewired(keep_lengths=True).pathways}
    assert all((target, source) in pathways for source, target in pathways)


def test_rewiring_without_lengths_moves_them_and_with_lengths_does_not():
    topology = scattered(paired=True)

    def off_mm(other: Topology) -> float:
        """How far the length of a pathway is from what the distance of its ends would give."""
        return mean(abs(p.length_mm - 1.2 * other.distance_mm(p.source, p.target)) for p in other.pathways)

    assert off_mm(topology.rewired(keep_lengths=True)) < 1e-6 < 10 < off_mm(topology.rewired())


def test_rewiring_by_length_says_how_far_it_came():
    assert "pairs of areas stay joined" in Topology.read("desikan68").rewired(keep_lengths=True).notes[-1]


def test_where_a_port_enters_and_leaves_is_said_by_name_or_kind():
    areas = (replace(A, inputs=("stimulus",)), replace(B, inputs=("tones",), outputs=("choice",)), C)
    topology = Topology(name="t", areas=areas)
    assert topology.entering("lights", "stimulus") == ("A",)
    assert topology.entering("tones", "stimulus") == ("A", "B")
    assert (topology.leaving("press", "choice"), topology.leaving("gaze")) == (("B",), ())


@pytest.mark.parametrize("names", ["stimulus", ("",), ("x", "x")])
def test_entrances_that_are_no_list_of_names_are_refused(names):
    with pytest.raises(TopologyError, match="inputs of A"):
        Topology(name="t", areas=(replace(A, inputs=names),))


def test_a_rewiring_says_how_many_pairs_stay_joined():
    """Of four areas that are nearly all joined nothing can be swapped: such a control is the network itself."""
    assert "rewired: 100% of the pairs of areas stay joined" in Topology.read("four-areas").rewired(seed=1).notes
    told = next(note for note in Topology.read("desikan68").rewired(seed=1).notes if note.startswith("rewired: "))
    assert int(told.removeprefix("rewired: ").partition("%")[0]) < 30
