"""What the pictures of studies show, as the browser has it."""

from neuroloom.pipeline.review.figures import power_of_ten
from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._report import Table


def table(*rows):
    return Table(name="t", title="Shares", caption="", rows=rows)


def test_a_bound_is_drawn_and_told_as_one():
    rows = ({"arm": "logits", "share": 0.9, "share_bound": ""}, {"arm": "hidden", "share": 1.0, "share_bound": ">"})
    drawn = _charts.bars(name="arm", value="share", x_label="share")(table(*rows))
    assert drawn.alt == "Shares: logits 0.90; hidden >1.00"
    plain = _charts.bars(name="arm", value="share", x_label="share")(table(rows[0], {**rows[1], "share_bound": ""}))
    assert drawn.uri != plain.uri


def test_ticks_are_plain_numbers_up_to_a_hundred_thousand():
    assert [power_of_ten(value) for value in (0.01, 1000, 1e5, 1e6)] == ["0.01", "1,000", "100,000", "10\u2076"]
