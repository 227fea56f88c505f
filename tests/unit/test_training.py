"""Architectures, schedules and the training loop."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.sgd import sgd

from rrl.config.settings import Constant, Cosine, PaddedCrop, Recipe, Step, WarmupCosine
from rrl.data.images import Split
from rrl.errors import UserError
from rrl.networks.trunks import Network, build_trunk, parameter_count
from rrl.stages.random_network import set_statistics
from rrl.training import train as loop
from rrl.training.batches import epoch_batches
from rrl.training.randomness import shuffled
from rrl.training.schedule import learning_rates
from rrl.training.train import Tally, parameter_groups, train
from rrl.training.training_state import Position, Unsaved

CPU = torch.device("cpu")
RECIPE = Recipe(
    epochs=3, batch_size=8, learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, decay_norm=False,
    schedule=Step("step", [1, 2], 0.1), precision="float32",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "feature_dim", "parameters"),
    [("resnet8", 32, 19_480), ("resnet8w2", 64, 77_104), ("4xresnet8", 128, 77_920), ("2xresnet8w2", 128, 154_208)],
)
def test_architectures(arch: str, feature_dim: int, parameters: int) -> None:
    trunk = build_trunk(arch)
    assert (trunk.feature_dim, parameter_count(trunk)) == (feature_dim, parameters)
    assert trunk(torch.zeros(2, 1, 28, 28)).shape == (2, feature_dim)


def test_resnet50_has_the_size_of_the_paper() -> None:
    trunk = build_trunk("resnet50")
    assert (trunk.feature_dim, parameter_count(trunk)) == (2048, 23_508_032)
    assert trunk.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 2048)


def test_a_joint_trunk_is_its_trunks_side_by_side() -> None:
    joint = build_trunk("2xresnet8").eval()
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(joint(x), torch.cat([trunk(x) for trunk in joint.trunks], dim=1))


@pytest.mark.parametrize("arch", ["resnet9", "resnet8w0", "0xresnet8", "resnet8 ", "Resnet8"])
def test_an_unknown_architecture_is_refused(arch: str) -> None:
    with pytest.raises(
        UserError,
        match="must be one of resnet8, resnet8rgb, cifar_resnet18, resnet50, resnet152, .*w<width> after resnet8",
    ):
        build_trunk(arch)


def test_schedules_equal_pytorchs() -> None:
    def reference(make, epochs: int, steps: int, per_step: bool) -> list[float]:  # type: ignore[no-untyped-def]
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = make(optimizer)
        rates = []
        for _ in range(epochs):
            for _ in range(steps):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if per_step:
                    scheduler.step()
            if not per_step:
                scheduler.step()
        return rates

    torch_schedules = torch.optim.lr_scheduler
    step = learning_rates(Step("step", [8, 16, 24], 0.1), 0.1, 28, 3)
    assert step == pytest.approx(reference(lambda o: torch_schedules.MultiStepLR(o, [8, 16, 24], 0.1), 28, 3, False))
    cosine = learning_rates(Cosine("cosine", 1e-7), 0.1, 10, 4)
    assert cosine == pytest.approx(reference(lambda o: torch_schedules.CosineAnnealingLR(o, 10, 1e-7), 10, 4, False))
    assert learning_rates(Constant("constant"), 0.1, 2, 2) == [0.1] * 4
    warm = learning_rates(WarmupCosine("warmup-cosine", 0.1), 0.1, 5, 8)
    assert warm[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1]) and warm[-1] < 0.001
    assert all(a > b for a, b in pairwise(warm[4:]))


def made_up(network: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [(torch.rand(8, 1, 28, 28, generator=random), torch.randint(0, 5, (8,), generator=random)) for _ in range(4)]


def test_every_parameter_is_in_one_group() -> None:
    network = Network(build_trunk("2xresnet8"), 5)
    grouped = [p for group, _ in parameter_groups(network, RECIPE) for p in group]
    assert sorted(map(id, grouped)) == sorted(map(id, network.parameters()))


def test_a_loss_that_is_not_finite_stops_with_epoch_and_step() -> None:
    network = Network(build_trunk("resnet8"), 5)
    data = made_up(network)
    data[2] = (torch.full((8, 1, 28, 28), math.nan), data[2][1])
    with pytest.raises(UserError, match="epoch 1, step 3: the loss is nan"):
        train(network, lambda epoch, skipped: iter(data), 4, RECIPE, CPU, after_epoch=lambda epoch: None)


def told(steps_late: int) -> Callable[..., Tally]:
    return lambda at, processes, late: Tally(at, processes, steps_late)


@pytest.mark.parametrize("late", [1, 2, 9])
def test_a_loss_told_late_stops_with_its_own_epoch_and_step_before_anything_is_saved(
    late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where nobody waits for a step's loss."""
    monkeypatch.setattr(loop, "Tally", told(late))
    network = Network(build_trunk("resnet8"), 5)
    data = made_up(network) * 2
    data[6] = (torch.full((8, 1, 28, 28), math.nan), data[6][1])
    seen: list[int] = []

    class Watching(Unsaved):
        def begin(self, at: Position, *of: object) -> None:
            self.at = at

        def safe_point(self, settle: Callable[[], None] = lambda: None) -> None:
            seen.append(self.at.step)
            if self.at.step in (2, 7):  # time to save
                settle()
                assert self.at.seen == 8 * self.at.step

    with pytest.raises(UserError, match="epoch 1, step 7: the loss is nan"):
        train(network, lambda epoch, skipped: iter(data), 8, RECIPE, CPU, lambda epoch: None, saved=Watching())
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    network = Network(build_trunk("resnet8"), 5)
    with pytest.raises(UserError, match="epoch 1, step 7: the loss is nan"):
        train(network, lambda epoch, skipped: iter(data), 8, RECIPE, CPU, lambda epoch: pytest.fail("not noticed"))


def test_what_is_told_late_adds_up_to_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for late in (0, 3):
        monkeypatch.setattr(loop, "Tally", told(late))
        torch.manual_seed(0)
        network = Network(build_trunk("resnet8"), 5)
        data = made_up(network)
        train(network, lambda epoch, skipped, data=data: iter(data), 4, RECIPE, CPU, after_epoch=lambda epoch: None)  # type: ignore[misc]
        lines.append([line for line in capsys.readouterr().err.splitlines() if " loss " in line])
    assert lines[0] == lines[1] and len(lines[0]) == RECIPE.epochs


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_fused_step_that_gpus_take_is_the_same_protocol(nesterov: bool) -> None:
    torch.manual_seed(0)
    start = [torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last), torch.randn(7)]
    gradients = [[torch.randn_like(part) for part in start] for _ in range(4)]  # autograd's lie in memory as they do
    found = []
    for fused in (False, True):
        parameters, velocities = [part.clone() for part in start], [None, None]
        for step in gradients:
            sgd(
                parameters, step, velocities, lr=0.1, momentum=0.9, weight_decay=0.01, dampening=0.0,
                nesterov=nesterov, maximize=False, foreach=not fused, fused=fused,
            )  # fmt: skip
        found.append([*parameters, *velocities])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_last_smaller_batch_is_used_and_every_image_once() -> None:
    batches = list(shuffled(10, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


def test_batches_depend_on_seed_and_epoch() -> None:
    data = Split(
        torch.arange(40 * 784, dtype=torch.int64).remainder(256).byte().view(40, 28, 28).numpy(),
        torch.arange(40).numpy(),
    )
    plain = PaddedCrop(0.0, 1.0, 0, False)
    order = {
        (seed, epoch): torch.cat([y for _, y in epoch_batches(data, plain, 16, seed, epoch)]).tolist()
        for seed in (0, 1) for epoch in (0, 1) for _ in (0, 1)
    }  # fmt: skip
    assert len({tuple(labels) for labels in order.values()}) == 4
    assert all(sorted(labels) == list(range(40)) for labels in order.values())


def test_statistics_of_an_untrained_network_are_the_average_over_batches() -> None:
    images = torch.randint(0, 256, (30, 28, 28), generator=torch.Generator().manual_seed(0)).byte().numpy()
    trunk = build_trunk("resnet8")
    stem = trunk.stem.weight.clone()
    set_statistics(trunk, Split(images, torch.zeros(30).long().numpy()), PaddedCrop(0.0, 1.0, 0, False), 10, CPU)
    with torch.no_grad():
        parts = [trunk.stem(torch.from_numpy(images[i : i + 10]).float()[:, None] / 255) for i in (0, 10, 20)]
    expected = torch.stack([part.mean(dim=(0, 2, 3)) for part in parts]).mean(0)
    torch.testing.assert_close(trunk.bn.running_mean, expected)
    assert torch.equal(trunk.stem.weight, stem)


def test_mixed_precision_is_the_same_training_to_its_rounding() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    images = torch.randn(4, 1, 12, 12, generator=random)[labels] + torch.randn(64, 1, 12, 12, generator=random)
    weights = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        network = Network(build_trunk("resnet8"), 4)
        recipe = replace(RECIPE, learning_rate=0.01, precision=precision)
        batches = list(zip(images.split(16), labels.split(16), strict=True))
        train(network, lambda epoch, skipped, batches=batches: iter(batches), 4, recipe, CPU, lambda epoch: None)
        weights[precision] = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        assert weights[precision].dtype == torch.float32
    torch.manual_seed(0)
    start = torch.cat([parameter.detach().flatten() for parameter in Network(build_trunk("resnet8"), 4).parameters()])
    moved = weights["float32"] - start
    difference = (weights["bfloat16"] - weights["float32"]).norm() / moved.norm()
    assert 1e-4 < difference < 0.3
