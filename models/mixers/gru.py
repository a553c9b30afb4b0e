"""A gated recurrent unit (Cho et al. 2014): a state of one width, whatever the length."""

from __future__ import annotations

from torch import Tensor, nn

from . import State


class Mixer(nn.Module):
    """As PyTorch has it, with a linear map behind."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.width = width
        self.cell = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden, _ = self.cell(x_BTD)
        found: Tensor = self.out(hidden)
        return found

    def start(self, batch: int) -> State:
        return (self.out.weight.new_zeros(1, batch, self.width),)

    def step(self, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, after = self.cell(x_BD[:, None], state[0])
        return self.out(hidden[:, 0]), (after,)
