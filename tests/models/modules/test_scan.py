"""A linear recurrence in closed form against one written out."""

import pytest
import torch

from neuroloom.models.modules._scan import by_doubling, in_order, linear_scan

GENERATOR = torch.Generator().manual_seed(0)
DECAY, ADDED = torch.rand(2, 13, 3, 4, generator=GENERATOR), torch.randn(2, 13, 3, 4, generator=GENERATOR)
START = torch.randn(2, 3, 4, generator=GENERATOR)


def test_three_bins_by_hand():
    decay, added = torch.tensor([0.5, 0.0, 2.0]), torch.tensor([1.0, 3.0, 1.0])
    states = linear_scan(decay.view(1, 3, 1, 1), added.view(1, 3, 1, 1), torch.full((1, 1, 1), 4.0))
    assert states.flatten().tolist() == [3.0, 3.0, 7.0]


@pytest.mark.parametrize("n_bins", [1, 2, 3, 8, 13])
def test_doubling_gives_what_going_in_order_gives(n_bins):
    parts = DECAY[:, :n_bins], ADDED[:, :n_bins], START
    assert torch.allclose(by_doubling(*parts), in_order(*parts), atol=1e-6)


def test_its_gradient_is_that_of_the_recurrence():
    leaves = [part.double().requires_grad_() for part in (DECAY, ADDED, START)]
    assert torch.autograd.gradcheck(linear_scan, leaves)
