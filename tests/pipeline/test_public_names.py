"""What the package offers by name can be had by name."""

import pytest

import neuroloom.pipeline as pipeline


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_public_name_can_be_imported(name):
    assert callable(getattr(pipeline, name))


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(AttributeError, match=r"no 'algin'; it has .*align"):
        pipeline.algin  # noqa: B018
