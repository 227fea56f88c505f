"""The stacked heads against torch.nn and torch.optim.SGD, one setting after the other."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from rrl.config.settings import Constant, HeadTraining, Step
from rrl.errors import UserError
from rrl.heads.cached import Data, join
from rrl.heads.graphs import FusedSweep
from rrl.heads.picking import Selection
from rrl.heads.sweep import GROUP, BatchNorm, Heads, Sweep, evaluate, logits
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.selection import training_images
from rrl.training.randomness import generator
from rrl.training.schedule import learning_rates

D, C, N, B = 24, 5, 103, 32
SETTINGS = [(0.1, 0.0), (0.1, 0.01), (0.1, 1.0), (0.02, 0.1)]  # learning rate, weight decay


def made_up(count: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % C
    centres = torch.randn(C, D, generator=random)
    return centres[labels] + torch.randn(count, D, generator=random) * 2 + 3, labels


def one_by_one(
    x: torch.Tensor,
    y: torch.Tensor,
    batches: list[torch.Tensor],
    rates: list[float],
    rate: float,
    decay: float,
    weight: torch.Tensor,
    batch_norm: BatchNorm,
    momentum: float,
    nesterov: bool,
) -> nn.Sequential:
    """The protocol in plain PyTorch: decay on the linear layer, on the batch norm if "decayed"."""
    linear = nn.Linear(D, C)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.zero_()
    norm = nn.BatchNorm1d(D) if batch_norm else nn.Identity()
    head = nn.Sequential(norm, linear)
    groups = [{"params": linear.parameters(), "weight_decay": decay}]
    if batch_norm:
        groups.append({"params": norm.parameters(), "weight_decay": decay if batch_norm == "decayed" else 0.0})
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov)
    for factor, chosen in zip(rates, batches, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return head.eval()


@pytest.mark.parametrize("group", [10**6, 2 * C * D, 1], ids=["together", "in pairs", "alone"])
@pytest.mark.parametrize("batch_norm", [True, False, "decayed"])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
@pytest.mark.parametrize("kind", [Sweep, FusedSweep])
def test_sweep_equals_training_one_by_one(
    kind: type[Sweep],
    batch_norm: BatchNorm,
    momentum: float,
    nesterov: bool,
    group: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(GROUP, "cpu", group)
    x, y = made_up()
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1)) * 0.01
    heads = Heads.create(weight, torch.zeros(C), len(SETTINGS), batch_norm)
    rates_of, decays = zip(*SETTINGS, strict=True)
    sweep = kind(heads, decays, rates_of, momentum, nesterov, batch_norm)
    order = torch.Generator().manual_seed(2)
    batches = [part for _ in range(6) for part in torch.randperm(N, generator=order).split(B)]
    rates = learning_rates(Step(name="step", milestones=[2, 4], factor=0.1), 1.0, 6, len(batches) // 6)
    for factor, chosen in zip(rates, batches, strict=True):
        sweep.step(x[chosen], y[chosen], factor if kind is Sweep else torch.tensor(factor))
    for number, (rate, decay) in enumerate(SETTINGS):
        head = one_by_one(x, y, batches, rates, rate, decay, weight, batch_norm, momentum, nesterov)
        norm, linear = head
        torch.testing.assert_close(heads.weight[number], linear.weight, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(heads.bias[number], linear.bias, atol=1e-5, rtol=1e-5)
        if batch_norm:
            torch.testing.assert_close(heads.scale[number], norm.weight, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(heads.shift[number], norm.bias, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(heads.mean, norm.running_mean, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(heads.variance, norm.running_var, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(logits(heads, x)[:, number], head(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("classes", [3, 40])
def test_large_heads_are_multiplied_alone_with_the_same_logits(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more classes than images the inputs are scaled, else the weights."""
    random = torch.Generator().manual_seed(0)
    heads = Heads(*(torch.randn(3, classes, D, generator=random), torch.randn(3, classes, generator=random)),
                  torch.rand(3, D, generator=random), torch.randn(3, D, generator=random), torch.zeros(D), torch.ones(D))  # fmt: skip
    x = torch.randn(8, D, generator=random)
    together = logits(heads, x)
    monkeypatch.setitem(GROUP, "cpu", 1)
    torch.testing.assert_close(logits(heads, x), together, atol=1e-4, rtol=1e-5)
    norm = nn.functional.batch_norm(x, torch.zeros(D), torch.ones(D), heads.scale[1], heads.shift[1])
    torch.testing.assert_close(together[:, 1], norm @ heads.weight[1].T + heads.bias[1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("batch_norm", [True, False, "decayed"])
def test_steps_of_a_gpu_are_those_of_a_cpu_in_float64(batch_norm: bool) -> None:
    x, y = (part.double() if part.is_floating_point() else part for part in made_up())
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for kind in (Sweep, FusedSweep):
        heads = Heads.create(weight, torch.zeros(C, dtype=torch.float64), 3, batch_norm)
        sweep = kind(heads, [0.0, 0.01, 0.1], [1.0, 0.5, 2.0], 0.9, True, batch_norm)
        rate = 0.03 if kind is Sweep else torch.tensor(0.03, dtype=torch.float64)
        losses = [sweep.step(x[start : start + 20], y[start : start + 20], rate) for start in range(0, N, 20)]
        found.append([heads.weight, heads.bias, heads.scale, heads.shift, heads.mean, *losses])
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_loss_is_that_of_the_batch_before_the_step() -> None:
    x, y = made_up()
    heads = Heads.create(torch.zeros(C, D), torch.zeros(C), 2, batch_norm=True)
    losses = Sweep(heads, [0.0, 0.0], [1.0, 1.0], 0.9, True, True).step(x, y, 0.1)
    torch.testing.assert_close(losses, torch.full((2,), float(torch.log(torch.tensor(float(C))))))


def test_evaluation_counts_every_image_once_whatever_the_slices() -> None:
    x, y = made_up()
    heads = Heads.create(torch.randn(C, D, generator=torch.Generator().manual_seed(3)), torch.zeros(C), 1, True)
    heads.mean, heads.variance = x.mean(0), x.var(0)
    correct, loss = evaluate(heads, Data(x[None], y).slices(10))
    scores = logits(heads, x)[:, 0]
    assert int(correct) == int((scores.argmax(1) == y).sum())
    assert float(loss) == pytest.approx(float(nn.functional.cross_entropy(scores, y)), abs=1e-6)


TRAINING = HeadTraining(
    epochs=5,
    steps_per_epoch=0,
    batch_size=32,
    momentum=0.9,
    nesterov=True,
    schedule=Constant(name="constant"),
    seed=0,
)
HEAD = initial_head(C, D, seed=0)


def test_probe_learns_separable_data_and_picks_the_best_epoch_of_the_best_setting() -> None:
    x, y = made_up(400)
    data = Data(x[None, :200], y[:200])
    held = {"val": Data(x[None, 200:300], y[200:300]), "test": Data(x[None, 300:], y[300:])}
    settings = [Setting(0.1, 0.0), Setting(0.1, 0.1)]
    selections, curves = train_heads(HEAD, data, held, ["heldout", "paper"], settings, TRAINING, batch_norm=True)
    for rule, split in (("heldout", "val"), ("paper", "test")):
        best = max(max(row) for row in curves[split]["correct"])
        picked = selections[rule]
        assert curves[split]["correct"][picked.epoch][picked.setting] == best > 80
        assert picked.head is not None
        assert int(evaluate(picked.head, held[split].slices(64))[0]) == best


def test_heldout_never_evaluates_test() -> None:
    x, y = made_up(300)
    held = {"val": Data(x[None, 200:], y[200:])}  # a look at test would be a KeyError
    _, curves = train_heads(HEAD, Data(x[None, :200], y[:200]), held, ["heldout"], [Setting(0.1, 0.0)], TRAINING, True)
    assert set(curves) == {"val"}


def test_ties_go_to_the_lower_loss_then_to_the_earlier() -> None:
    heads = Heads.create(torch.zeros(C, D), torch.zeros(C), 2, batch_norm=True)
    selection = Selection("heldout")
    selection.offer(heads, 0, [7, 7], [0.5, 0.4])
    selection.offer(heads, 1, [7, 7], [0.4, 0.6])
    assert (selection.setting, selection.epoch) == (1, 0)


def test_views_are_used_in_turn() -> None:
    x, y = made_up(64)
    views = torch.stack([x, torch.zeros_like(x)])
    settings = [Setting(0.1, 0.0)]
    held = {"val": Data(x[None], y)}
    one_epoch, two_epochs = replace(TRAINING, epochs=1), replace(TRAINING, epochs=2)
    first, _ = train_heads(HEAD, Data(views, y), held, ["heldout"], settings, one_epoch, True)
    alone, _ = train_heads(HEAD, Data(x[None], y), held, ["heldout"], settings, one_epoch, True)
    assert first["heldout"].head is not None and alone["heldout"].head is not None
    torch.testing.assert_close(first["heldout"].head.weight, alone["heldout"].head.weight)
    two, _ = train_heads(HEAD, Data(views, y), held, ["heldout"], settings, two_epochs, True)
    same, _ = train_heads(HEAD, Data(x[None], y), held, ["heldout"], settings, two_epochs, True)
    assert two["heldout"].best != same["heldout"].best


def test_paper_trains_on_val_too_where_there_are_no_shots() -> None:
    x, y = made_up(60)
    data = {"train": Data(x[None, :40], y[:40]), "val": Data(x[None, 40:], y[40:])}
    assert training_images(data, "heldout", "all", join).features.tolist() == x[None, :40].tolist()
    assert training_images(data, "paper", "all", join).features.tolist() == x[None].tolist()
    for rule in ("heldout", "paper"):
        few = training_images(data, rule, 3, join)
        assert few.labels.tolist() == y[: 3 * C].tolist() and torch.equal(few.features, x[None, : 3 * C])


def test_a_last_batch_of_one_image_is_refused() -> None:
    x, y = made_up(33)
    with pytest.raises(UserError, match="33 images in batches of 32 leave a batch of one image"):
        train_heads(HEAD, Data(x[None], y), {}, ["heldout"], [Setting(0.1, 0.0)], TRAINING, True)


def test_a_loss_that_is_not_finite_is_refused_with_its_setting() -> None:
    x, y = made_up(64)
    settings = [Setting(0.1, 0.0), Setting(0.1, 1e6)]
    with pytest.raises(UserError, match="weight_decay=1000000.0.*not finite"):
        train_heads(HEAD, Data(x[None], y), {"val": Data(x[None], y)}, ["heldout"], settings, TRAINING, True)


def test_streams_of_chance_differ_by_name() -> None:
    draws = {tuple(torch.randperm(20, generator=generator("batches", seed)).tolist()) for seed in range(4)}
    assert len(draws) == 4
