"""A topology in a notebook: a table and a figure."""

import pytest

from neuroloom.models import Area, GlobalModule, Pathway, Topology

PAIR = Topology(
    name="pair",
    areas=(Area(name="V1", position_mm=(0.0, -80.0, 0.0)), Area(name="M1", position_mm=(-30.0, 0.0, 50.0))),
    pathways=(Pathway(source="V1", target="M1"),),
    global_modules=(GlobalModule(name="thalamus", time_scale_s=0.5),),
)


def words_of(axes):
    return {text.get_text() for text in axes.texts}


def test_it_is_drawn_from_above_and_from_the_left_with_its_names():
    above, left = PAIR.plot().axes
    assert words_of(above) == {"V1", "M1", "thalamus\n0.5 s"}
    assert words_of(left) == {"V1", "M1"}
    assert left.xaxis_inverted()


def test_scores_come_with_a_colour_bar():
    assert PAIR.plot({"V1": 0.5}, label="R2").axes[-1].get_ylabel() == "R2"


def test_areas_whose_places_are_not_known_lie_on_a_circle():
    figure = Topology(name="loose", areas=(Area(name="a"), Area(name="b"))).plot()
    assert figure.axes[0].get_title() == "from above (places not known: on a circle)"
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words", ["<td>V1</td><td>0, -80, 0</td>", "<td>M1</td><td>-30, 0, 50</td><td></td><td>V1</td>"]
)
def test_a_table_has_a_row_per_area(words):
    assert words in PAIR._repr_html_()


def test_names_are_escaped():
    html = Topology(name="<b>", areas=(Area(name="<script>", inputs=("<i>",)),))._repr_html_()
    assert not any(tag in html for tag in ("<script", "<b>", "<i>"))
