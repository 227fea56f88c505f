"""The protocols of the paper against plain PyTorch loops: shrunk in size, not in kind.

PUBLISHED holds what the paper's code does. Each protocol is trained here with torch.nn, torch.optim.SGD and
torch's schedulers, for 20 steps or more in float64, and by our code; parameters must agree to 1e-9.

Where we differ from the published code, and why:
- The second stage has no batch norm in front of the averaged heads. Their script for CIFAR puts a fresh one
  there for four or more networks; the logits are then no longer the mean of the networks' logits.
- The second stage has a constant learning rate, so nothing changes in its 20 steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter
from torch import Tensor, nn

from rrl.config.load import load_config
from rrl.config.runs import setting_name
from rrl.config.schema import Finetuning
from rrl.config.settings import HeadTraining, Recipe
from rrl.heads import training as heads_training
from rrl.heads.cached import Data
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.networks.trunks import Network, build_trunk
from rrl.plan import Plan
from rrl.training.randomness import generator, shuffled
from rrl.training.train import parameter_groups, train
from tests.helpers.clones import CLONE

torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
CONFIG = load_config(yaml.safe_load((CLONE / "config.yaml").read_text()), [])
STEP: dict[str, Any] = {"name": "step", "milestones": [8, 16, 24], "factor": 0.1}
COSINE: dict[str, Any] = {"name": "cosine", "final": 1e-7}
PUBLISHED: dict[str, dict[str, Any]] = {
    "pretrain ImageNet": {
        "batch_size": 256, "epochs": 90, "learning_rate": 0.1, "weight_decay": 1e-4, "momentum": 0.9, "nesterov": False,
        "schedule": {"name": "step", "milestones": [30, 60], "factor": 0.1}, "decay_norm": True,
    },
    "probe CIFAR": {
        "batch_size": 256, "epochs": 28, "learning_rate": 0.01, "weight_decay": [1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2],
        "momentum": 0.9, "nesterov": True, "schedule": STEP, "batch_norm": True,
    },
    "probe iNaturalist": {
        "batch_size": 256, "epochs": 28, "learning_rate": 0.01, "weight_decay": [1e-6, 1e-5, 1e-4],
        "momentum": 0.9, "nesterov": True, "schedule": STEP, "batch_norm": True,
    },
    "probe SEER-ImageNet": {
        "batch_size": 256, "epochs": 28, "learning_rate": 0.01, "weight_decay": [5e-4],
        "momentum": 0.9, "nesterov": True, "schedule": STEP, "batch_norm": "decayed",
    },
    "probe SEER-CIFAR": {
        "batch_size": 256, "epochs": 28, "learning_rate": 0.01, "weight_decay": [5e-4, 1e-3, 5e-3, 1e-2],
        "momentum": 0.9, "nesterov": True, "schedule": STEP, "batch_norm": True,
    },
    "fine-tune CIFAR": {
        "batch_size": 256, "epochs": 100, "learning_rate": 0.01, "weight_decay": [0, 1e-5, 1e-4, 5e-4], "momentum": 0.9,
        "nesterov": False, "schedule": COSINE, "decay_norm": "published",
    },
    "fine-tune iNaturalist": {
        "batch_size": 256, "epochs": 50, "learning_rate": 0.05, "weight_decay": [1e-6, 1e-5, 1e-4], "momentum": 0.9,
        "nesterov": False, "schedule": COSINE, "decay_norm": "published",
    },
    "two-stage CIFAR": {
        "batch_size": 256, "epochs": 2, "learning_rate": 0.001, "weight_decay": [0, 1e-5, 1e-4, 5e-4], "momentum": 0.9,
        "nesterov": True, "schedule": {"name": "constant"}, "batch_norm": False,
    },
    "two-stage iNaturalist": {
        "batch_size": 256, "epochs": 1, "learning_rate": 0.001, "weight_decay": [1e-6, 1e-5, 1e-4], "momentum": 0.9,
        "nesterov": True, "schedule": {"name": "constant"}, "batch_norm": False,
    },
}  # fmt: skip


TARGET = {
    "CIFAR": "cifar", "iNaturalist": "inaturalist18", "SEER-ImageNet": "seer_imagenet", "SEER-CIFAR": "seer_cifar"
}  # fmt: skip


def declared(protocol: str) -> dict[str, Any]:
    """What config.yaml says where it has the protocol, by the keys of PUBLISHED. Of learning rates and epochs of
    fine-tuning the published grid, if the one of PUBLISHED is in it."""
    what, where = protocol.split()
    if what == "pretrain":
        return asdict(CONFIG.recipes["erm"])
    if what == "probe":
        own = asdict(CONFIG.probes[TARGET[where]])
        (own["learning_rate"],) = own["learning_rates"]
        return own | {"weight_decay": own["weight_decays"]}
    finetuning = CONFIG.finetunings[TARGET[where]].model_dump()
    if what == "two-stage":
        own = finetuning["two_stage"] | {"weight_decays": finetuning["weight_decays"], "batch_norm": False}
        (own["learning_rate"],) = own["learning_rates"]
        return own | {"weight_decay": own["weight_decays"]}
    rates, epochs = PUBLISHED_GRID[where]
    assert finetuning["learning_rates"] == {"recommended": [0.01], "published": rates}
    assert finetuning["epochs"] in ({"recommended": [100], "published": epochs}, epochs)
    assert PUBLISHED[protocol]["learning_rate"] in rates and PUBLISHED[protocol]["epochs"] in epochs
    number = {"learning_rate": PUBLISHED[protocol]["learning_rate"], "epochs": PUBLISHED[protocol]["epochs"]}
    return finetuning | number | {"weight_decay": finetuning["weight_decays"]}


PUBLISHED_GRID = {"CIFAR": ([0.005, 0.01, 0.05], [100]), "iNaturalist": ([0.005, 0.01, 0.05], [50, 100])}


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_the_config_of_the_paper_has_the_published_numbers(protocol: str) -> None:
    assert {key: declared(protocol)[key] for key in PUBLISHED[protocol]} == PUBLISHED[protocol]


def test_two_stage_lists_what_the_published_code_starts_from() -> None:
    """Learning rate .01 and 100 epochs, at every weight decay."""
    for name in ("cifar", "inaturalist18", "swav"):
        of = CONFIG.finetunings[name]
        assert isinstance(of, Finetuning)
        assert of.two_stage.settings == [setting_name(0.01, decay, 100) for decay in of.weight_decays]


@dataclass
class Plain:
    """Training as one writes it: SGD by torch.optim, a scheduler of torch stepped once per epoch."""

    published: dict[str, Any]
    epochs: int
    milestones: list[int]

    def scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        schedulers = torch.optim.lr_scheduler
        match self.published["schedule"]["name"]:
            case "step":
                return schedulers.MultiStepLR(optimizer, self.milestones, 0.1)
            case "cosine":
                return schedulers.CosineAnnealingLR(optimizer, self.epochs, eta_min=1e-7)
        return schedulers.ConstantLR(optimizer, factor=1.0)

    def train(
        self,
        network: nn.Module,
        groups: list[dict[str, Any]],
        batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    ) -> list[float]:
        """The learning rate of each step."""
        published = self.published
        optimizer = torch.optim.SGD(
            groups, lr=published["learning_rate"], momentum=published["momentum"], nesterov=published["nesterov"]
        )
        scheduler = self.scheduler(optimizer)
        rates = []
        network.train()
        for epoch in range(self.epochs):
            for inputs, labels in batches(epoch):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(inputs), labels).backward()
                optimizer.step()
            scheduler.step()
        return rates


def enough(rates: list[float], protocol: str) -> bool:
    """20 steps with two changes of the learning rate, but for the schedule that is constant."""
    return len(rates) >= 20 and len(set(rates)) >= (1 if "two-stage" in protocol else 3)


def images() -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(30, 1, 12, 12, generator=random, dtype=torch.float64)
    y = torch.randint(0, 5, (30,), generator=random)
    return list(zip(x.split(8), y.split(8), strict=True))  # the last batch is smaller


def test_heads_on_seer_are_trained_by_their_own_probes() -> None:
    plan = Plan(CONFIG, {"data": {}})
    for name, target, probe in (
        ("seer_32-s0", "imagenet", "seer_imagenet"), ("seer_cat4", "imagenet", "seer_imagenet"),
        ("seer_cat2", "cifar10", "seer_cifar"), ("seer_256-s0", "cifar100", "seer_cifar"),
        ("seer_64-s0", "inaturalist18", "inaturalist18"), ("swav_cat7", "imagenet", "imagenet"),
        ("cat10", "cifar100", "cifar"), ("wide4-s0.0-2048", "cifar10", "cifar"),
    ):  # fmt: skip
        settings = plan.record(target, name, "linear_probe").settings
        assert (settings.shots, settings.probe) == (["all"], CONFIG.probes[probe])


@pytest.mark.parametrize(
    ("protocol", "decay_norm"),
    [
        *[(name, of["decay_norm"]) for name, of in PUBLISHED.items() if "decay_norm" in of],
        ("fine-tune CIFAR", False),
    ],
)
@pytest.mark.parametrize("arch", ["resnet8", "2xresnet8"])
def test_networks_are_trained_as_published(protocol: str, decay_norm: bool | str, arch: str) -> None:
    published = PUBLISHED[protocol] | {"decay_norm": decay_norm}
    data = images()
    epochs, milestones = 6, [2, 4]
    decays = published["weight_decay"] if isinstance(published["weight_decay"], list) else [published["weight_decay"]]
    for decay in (decays[0], max(decays), 0.1):  # the published ones, and one that would show
        torch.manual_seed(0)
        ours, plain = Network(build_trunk(arch), 5).double(), Network(build_trunk(arch), 5).double()
        plain.load_state_dict(ours.state_dict())
        schedule = {
            **published["schedule"],
            **({"milestones": milestones} if "step" in published["schedule"]["name"] else {}),
        }
        own = {field.name: published[field.name] for field in fields(Recipe) if field.name in published}
        own |= {"epochs": epochs, "batch_size": 8, "weight_decay": decay, "schedule": schedule, "precision": "float32"}
        recipe = TypeAdapter(Recipe).validate_python(own)
        train(
            ours,
            lambda epoch, skipped: iter(data),
            len(data),
            recipe,
            torch.device("cpu"),
            after_epoch=lambda epoch: None,
        )

        norm = [p for module in plain.modules() if isinstance(module, nn.BatchNorm2d) for p in module.parameters()]
        named = [p for name, p in plain.named_parameters() if "bn" in name]
        spared = {id(p) for p in {True: [], False: norm, "published": named}[decay_norm]}
        assert len(named) < len(norm)  # shortcuts
        groups = [
            {"params": [p for p in plain.parameters() if id(p) not in spared], "weight_decay": decay},
            {"params": [p for p in plain.parameters() if id(p) in spared], "weight_decay": 0.0},
        ]
        rates = Plain(published, epochs, milestones).train(plain, groups, lambda epoch: iter(data))
        assert enough(rates, protocol)
        for (name, a), b in zip(ours.state_dict().items(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=0, msg=f"{name} at weight decay {decay}")


D, C, N = 24, 5, 53


@pytest.mark.parametrize("protocol", [name for name in PUBLISHED if "probe" in name or "two-stage" in name])
def test_heads_are_trained_as_published(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published = PUBLISHED[protocol]
    random = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=random, dtype=torch.float64) * 2 + 3
    y = torch.arange(N) % C
    epochs = published["epochs"]
    batch_size = N * epochs // 20 if epochs < 20 else 32  # 20 steps or more; the last batch is smaller
    own = {field.name: published[field.name] for field in fields(HeadTraining) if field.name in published}
    own |= {"batch_size": batch_size, "steps_per_epoch": 0, "seed": 0}
    training = TypeAdapter(HeadTraining).validate_python(own)
    weight, bias = (part.double() for part in initial_head(C, D, seed=0))
    if not published["batch_norm"]:
        weight = weight * 30  # as of heads that are trained already
        bias = torch.randn(C, generator=random, dtype=torch.float64)
    settings = [Setting(published["learning_rate"], decay) for decay in [*published["weight_decay"], 0.5]]
    last: dict[int, heads_training.Heads] = {}

    class Last(heads_training.Selection):
        """Keeps the heads of the last epoch, not of the best."""

        def offer(self, trained: heads_training.Heads, epoch: int, correct: list[int], losses: list[float]) -> None:
            last.update({setting: trained.one(setting) for setting in range(len(settings))})

    monkeypatch.setattr(heads_training, "Selection", Last)
    data = Data(x[None], y)
    train_heads((weight, bias), data, {"val": data}, ["heldout"], settings, training, published["batch_norm"])

    order = generator("probe batches", 0)
    passes = [list(shuffled(N, batch_size, order)) for _ in range(epochs)]
    for number, setting in enumerate(settings):
        linear = nn.Linear(D, C).double()
        linear.load_state_dict({"weight": weight, "bias": bias})
        norm = nn.BatchNorm1d(D).double() if published["batch_norm"] else nn.Identity()
        head = nn.Sequential(norm, linear)
        groups = [{"params": list(linear.parameters()), "weight_decay": setting.weight_decay}]
        decay = setting.weight_decay if published["batch_norm"] == "decayed" else 0.0
        groups += [{"params": list(norm.parameters()), "weight_decay": decay}] if published["batch_norm"] else []
        plain = Plain(published, epochs, [8, 16, 24])
        rates = plain.train(head, groups, lambda epoch: ((x[chosen], y[chosen]) for chosen in passes[epoch]))
        assert enough(rates, protocol)
        found = [last[number].weight[0], last[number].bias[0]]
        expected = [linear.weight, linear.bias]
        if isinstance(norm, nn.BatchNorm1d):
            found += [last[number].scale[0], last[number].shift[0], last[number].mean, last[number].variance]
            expected += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("arch", "left"), [("resnet50", ".downsample.1."), ("resnet152", ".downsample.1."), ("vit_b16", "norm")]
)
def test_published_weight_decay_is_on_what_has_no_bn_in_its_name(arch: str, left: str) -> None:
    """Of a ResNet that is the batch norm of shortcuts, of a vision transformer every layer norm."""
    with torch.device("meta"):
        network = Network(build_trunk(arch), 10)
    named = {id(parameter): name for name, parameter in network.named_parameters()}

    def names(decay_norm: bool | str) -> list[set[str]]:
        own = {**PUBLISHED["fine-tune CIFAR"], "weight_decay": 1e-4, "decay_norm": decay_norm, "precision": "float32"}
        recipe = Recipe(**{field.name: own[field.name] for field in fields(Recipe) if field.name in own})
        groups = parameter_groups(network, recipe)
        assert [decay for _, decay in groups] == [1e-4, 0.0][: len(groups)]
        return [{named[id(parameter)] for parameter in parameters} for parameters, _ in groups]

    (everything,), (decayed, spared), (published, *rest) = names(True), names(False), names("published")
    assert decayed | spared == everything == set(named.values())
    assert published.union(*rest) == everything and {name for name in everything if "bn" in name} == set().union(*rest)
    assert decayed < published and all(left in name for name in published - decayed)
    assert "head.bias" in decayed
