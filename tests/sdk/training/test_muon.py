import pytest
import torch
from torch import nn

from faceseal.training.muon import Muon, optimizers, orthogonalized


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (16, 16)])
def test_the_update_of_a_matrix_is_nearly_orthogonal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalized(matrix))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_the_update_keeps_the_matrix_directions():
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalized(matrix) @ right.T
    assert inner.diagonal().min() > 0.3
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 0.05


def test_a_step_is_as_large_as_one_of_adamw():
    weight = nn.Parameter(torch.zeros(64, 16, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    Muon([weight], learning_rate=1e-2).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 1e-2, rel=0.25)


def test_both_optimizers_together_learn_a_small_network():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    x = torch.randn(256, 4)
    y = (x[:, :1] * x[:, 1:2]).sin()
    both = optimizers(network, 2e-2, 0.0)
    first = nn.functional.mse_loss(network(x), y).item()
    for _ in range(150):
        network.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        for optimizer in both:
            optimizer.step()
    assert nn.functional.mse_loss(network(x), y).item() < 0.1 * first


def test_every_parameter_belongs_to_one_optimizer():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8, 2))
    owned = [id(p) for o in optimizers(network, 1e-3, 0.0) for g in o.param_groups for p in g["params"]]
    assert sorted(owned) == sorted(id(p) for p in network.parameters())


def test_the_state_of_a_run_comes_back_from_a_checkpoint():
    weight = nn.Parameter(torch.ones(8, 8))
    one, other = Muon([weight], 1e-2), Muon([weight], 1e-2)
    weight.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(4))
    one.step()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.state[weight]["average"], one.state[weight]["average"])
