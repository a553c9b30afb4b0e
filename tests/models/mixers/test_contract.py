"""What every mixer must do, inside the network that it is made for; and files of such networks."""

import json

import pytest
import torch

from neuroloom.models.mixers import kinds
from neuroloom.models.speaker import Shape, Speaker, file_bytes, read_speaker, spoken, state_bytes


def speaker(mixer="gru", **more):
    torch.manual_seed(0)
    return Speaker(Shape(n_inputs=5, n_outputs=5, mixer=mixer, width=12, **more)).eval()


def symbols(n=2, length=20):
    return torch.randint(5, (n, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("mixer", kinds.names())
def test_step_by_step_it_says_what_it_says_at_once(mixer, looped):
    network = speaker(mixer, looped=looped)
    if looped:
        torch.nn.init.normal_(network.loop_bias)
    read = symbols()
    states, found = network.start(2), []
    with torch.no_grad():
        for symbol in read.T:
            logits, states = network.step(symbol, states)
            found.append(logits)
        assert torch.stack(found, dim=1) == pytest.approx(network(read), abs=1e-5)


@pytest.mark.parametrize("mixer", kinds.names())
def test_what_comes_later_changes_nothing(mixer):
    network, read = speaker(mixer), symbols()
    other = read.clone()
    other[:, 10:] = (other[:, 10:] + 1) % 5
    assert torch.equal(network(read)[:, :10], network(other)[:, :10])
    assert not torch.allclose(network(read)[:, 10:], network(other)[:, 10:])


@pytest.mark.parametrize("mixer", kinds.names())
def test_only_attention_keeps_more_the_more_it_reads(mixer):
    network = speaker(mixer)
    states = network.start(1)
    sizes = []
    for symbol in symbols(1, 9).T:
        _, states = network.step(symbol, states)
        sizes.append(state_bytes(states))
    assert (sizes[-1] > sizes[0]) is (mixer == "attention")


def test_a_loop_is_one_block():
    whole, loop = (sum(p.numel() for p in speaker(blocks=4, looped=each).blocks.parameters()) for each in (False, True))
    assert whole == 4 * loop


def test_locally_taught_no_block_moves_the_one_before_it():
    network = speaker(blocks=2)
    network.watched(symbols(), local=True)[1][1].sum().backward()
    assert all(p.grad is None for p in network.blocks[0].parameters())
    assert any(p.grad is not None for p in network.blocks[1].parameters())


def test_a_file_gives_the_same_network(tmp_path):
    network = speaker("diagonal")
    (tmp_path / "one.safetensors").write_bytes(file_bytes(network, {"kl": 0.5}))
    again, told = read_speaker(tmp_path / "one.safetensors")
    assert told == {"kl": 0.5}
    assert torch.equal(again(symbols()), network(symbols()))


def test_a_file_of_something_else_is_refused_by_name(tmp_path):
    from safetensors.torch import save

    (tmp_path / "x.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"x\.safetensors: is no safetensors file"):
        read_speaker(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(save({"a": torch.ones(1)}, {"neuroloom speaker": json.dumps({})}))
    with pytest.raises(ValueError, match=r"y\.safetensors: holds tensors, but no network"):
        read_speaker(tmp_path / "y.safetensors")


def test_the_same_seed_says_the_same():
    first, again, other = (
        spoken(speaker(), torch.tensor([0]), 30, torch.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_at_no_temperature_the_likeliest_is_said():
    network = speaker()
    said = spoken(network, torch.tensor([3]), 1, torch.Generator(), temperature=0)
    assert said[0] == network(torch.tensor([[3]]))[0, -1].argmax()
