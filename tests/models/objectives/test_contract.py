"""What every objective must do."""

from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_map

from neuroloom.models.objectives import kinds


def example(kind: str):
    return kinds(kind).example(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", kinds.names())
def test_it_is_one_finite_number(kind):
    objective, prediction, target, mask = example(kind)
    for value in (objective(prediction, target), objective(prediction, target, mask)):
        assert value.shape == ()
        assert value.isfinite()


@pytest.mark.parametrize("kind", kinds.names())
def test_its_gradient_reaches_the_prediction_and_a_step_down_lowers_it(kind):
    objective, prediction, target, mask = example(kind)
    leaves = tree_map(lambda value: value.clone().requires_grad_(), prediction)
    before = objective(leaves, target, mask)
    before.backward()
    lower = tree_map(lambda value: value.detach() - 0.01 * value.grad, leaves)
    assert objective(lower, target, mask) < before


@pytest.mark.parametrize("kind", kinds.names())
def test_what_is_masked_may_hold_nan_and_does_not_count(kind):
    objective, prediction, target, mask = example(kind)
    leaves = tree_map(lambda value: value.clone().requires_grad_(), prediction)
    holes = tree_map(lambda value, valid: torch.where(valid, value, float("nan")), target, mask)
    value = objective(leaves, holes, mask)
    value.backward()
    assert torch.equal(value, objective(prediction, target, mask))
    tree_map(lambda leaf: pytest.fail("NaN in the gradient") if leaf.grad.isnan().any() else None, leaves)


@pytest.mark.parametrize("kind", kinds.names())
def test_where_nothing_is_valid_it_is_zero(kind):
    objective, prediction, target, mask = example(kind)
    assert objective(prediction, target, tree_map(torch.zeros_like, mask)) == 0


@pytest.mark.parametrize("kind", kinds.names())
def test_it_says_when_the_gradient_must_be_cut(kind):
    assert example(kind)[0].detach_every == (2 if kind == "local" else 0)


def test_a_file_dropped_in_is_an_objective(tmp_path, monkeypatch):
    (tmp_path / "absolute.py").write_text(
        "from torch import nn\nclass Objective(nn.Module):\n"
        "    def forward(self, p, t, mask=None):\n        return (p - t).abs().mean()\n"
    )
    monkeypatch.setattr(kinds, "path", [*kinds.path, str(tmp_path)])
    monkeypatch.setattr("neuroloom.models.objectives.__path__", [*kinds.path])
    assert kinds("absolute").Objective()(torch.ones(2), torch.zeros(2)) == 1.0


def test_every_file_in_the_folder_is_listed():
    folder = Path(__file__).parents[3] / "models" / "objectives"
    assert kinds.names() == tuple(sorted(f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")))


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(
        ValueError,
        match="no objective 'mse'; there are: attention, cka, features, local, nll, similarity, soft_targets",
    ):
        kinds("mse")
