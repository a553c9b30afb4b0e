"""What tests of trainings share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Several threads on two cores wait for each other, and add up in an order of their own."""
    torch.set_num_threads(1)
