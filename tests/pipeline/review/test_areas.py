"""The drawing of a network says where channels sit."""

import pytest

from neuroloom.models import Area, Topology
from neuroloom.pipeline.review.areas import topology_picture
from neuroloom.pipeline.review.run_folder import Placed, RunView

TOPOLOGY = Topology(
    name="two",
    areas=(Area(name="V1", position_mm=(0, -80, 10)), Area(name="M1", position_mm=(-40, 0, 50))),
)
CHANNELS = (
    Placed(area="V1", how="nearest", position_mm=(1.0, -78.0, 10.0)),
    Placed(area="M1", how="learned"),
    Placed(area="M1", how="learned"),
)


def test_channels_are_counted_by_area_and_by_how_they_were_placed():
    caption = topology_picture(TOPOLOGY, {}, "", CHANNELS).caption
    assert "3 channels: 1 nearest, 2 learned; 2 in M1, 1 in V1." in caption
    assert "the 1 whose place is known" in caption


def test_a_channel_with_a_place_is_drawn():
    assert topology_picture(TOPOLOGY, {}, "", CHANNELS[:1]).uri != topology_picture(TOPOLOGY, {}, "").uri


@pytest.mark.parametrize("content", ['{"channels": [{"how": "learned"}, 3]}', '{"channels": 1}', "[]"])
def test_channels_of_another_form_are_left_out(tmp_path, content):
    (tmp_path / "channels.json").write_text(content)
    assert RunView.read(tmp_path).channels == ()
