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
        areas=(Area(name="A", position_mm=(1.0, -2.5, 3.0), size=3, hemisphere="left"), B),
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
