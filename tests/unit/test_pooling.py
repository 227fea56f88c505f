"""Average pooling for GPUs gives what torch's does."""

import pytest
import torch
from torch import nn

from rrl.networks.trunks import Network, build_trunk
from rrl.training.pooling import AveragePool, average_without_races


@pytest.mark.parametrize("size", [1, (1, 1), 7, (6, 3), (None, 2), 20])
@pytest.mark.parametrize("shape", [(2, 3, 14, 12), (2, 3, 7, 7), (3, 13, 5)])
def test_values_and_gradients_are_torchs(size: object, shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=random, dtype=torch.float64)
    outputs, gradients = [], []
    for kind in (nn.AdaptiveAvgPool2d, AveragePool):
        leaf = images.clone().requires_grad_()
        outputs.append(kind(size)(leaf))  # type: ignore[arg-type]
        weights = torch.linspace(1, 2, outputs[-1].numel(), dtype=torch.float64).view(outputs[-1].shape)
        (outputs[-1] * weights).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-12, atol=1e-12)


def test_no_pool_of_a_network_stays_that_adds_up_in_any_order() -> None:
    torch.manual_seed(0)
    network = Network(build_trunk("torchvision/alexnet"), 3).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        before, keys = network(images), list(network.state_dict())
        average_without_races(network)
        torch.testing.assert_close(network(images), before)
    assert list(network.state_dict()) == keys
    assert not any(type(module) is nn.AdaptiveAvgPool2d for module in network.modules())
