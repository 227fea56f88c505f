"""Distillation: the loss and the loop against plain PyTorch, the images that the student sees, and the whole stage."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rrl.config.settings import PaddedCrop, Photographs, Recipe, Step, Transform, keyed
from rrl.data.images import Split, load_split
from rrl.errors import UserError
from rrl.job import Card
from rrl.networks.inference import for_inference
from rrl.networks.stored_networks import load_trunk
from rrl.networks.trunks import Network, build_trunk
from rrl.stages import extract
from rrl.stages.distill import check_teachers, distillation, read_heads, teacher_logits, view_batches
from rrl.store.features import views_of
from rrl.store.files import sha256_of_file
from rrl.training.randomness import generator, shuffled, stream
from rrl.training.train import train
from tests.helpers.clones import CLONE
from tests.helpers.trainings import CROP, RECIPE, VIEWS, Source

torch.set_num_threads(1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("source"))


def noise(count: int, size: int = 28) -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (count, size, size), dtype=np.uint8), np.arange(count, dtype=np.int64) % 3)


def recipe(**changed: Any) -> Recipe:
    return replace(RECIPE, **changed)


def losses(log: str, name: str) -> list[tuple[float, float]]:
    """Loss and share of each epoch of a log."""
    return [(float(a), float(b)) for a, b in re.findall(rf"^epoch \d+/\d+ loss (\S+) {name} (\S+)$", log, re.MULTILINE)]


# The loss and the loop


def entropy(logits: Tensor, temperature: float) -> float:
    return float(torch.distributions.Categorical(logits=logits.double() / temperature).entropy().mean())


def test_the_loss_is_the_mean_over_teachers_of_the_softened_cross_entropy() -> None:
    torch.manual_seed(0)
    students, teachers = torch.randn(7, 2 * 5, dtype=torch.float64), torch.randn(7, 2, 5, dtype=torch.float64) * 3
    for temperature in (1.0, 4.0):
        divergence = 0.0
        for teacher in range(2):
            ours = (students[:, 5 * teacher : 5 * teacher + 5] / temperature).log_softmax(1)
            theirs = (teachers[:, teacher] / temperature).softmax(1)
            divergence += float((theirs * (theirs.log() - ours)).sum(1).mean()) / 2
        expected = temperature**2 * (divergence + entropy(teachers, temperature))
        assert float(distillation(temperature).loss(students, teachers)) == pytest.approx(expected, abs=1e-12)


def test_agreement_is_the_mean_over_teachers() -> None:
    students = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    teachers = torch.tensor([[[3.0, 1.0], [3.0, 1.0]], [[1.0, 3.0], [1.0, 3.0]]])
    assert float(distillation(1.0).right(students, teachers)) == 0.5
    assert float(distillation(1.0).right(students, students.view(2, 2, 2))) == 2.0


class Heads(nn.Module):
    """A trunk with one linear layer per teacher, as one writes it."""

    def __init__(self, student: Network, teachers: int):
        super().__init__()
        self.trunk = build_trunk("resnet8").double()
        self.trunk.load_state_dict(student.trunk.state_dict())
        self.heads = nn.ModuleList()
        for weight, bias in zip(student.head.weight.chunk(teachers), student.head.bias.chunk(teachers), strict=True):
            head = nn.Linear(weight.shape[1], len(bias)).double()
            head.load_state_dict({"weight": weight, "bias": bias})
            self.heads.append(head)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.trunk(x)
        return [head(features) for head in self.heads]


@pytest.mark.parametrize(("teachers", "temperature"), [(1, 1.0), (2, 1.0), (3, 4.0)])
@pytest.mark.parametrize(("nesterov", "weight_decay"), [(False, 1e-4), (True, 0.05)])
def test_the_student_is_trained_as_by_a_plain_loop(
    teachers: int, temperature: float, nesterov: bool, weight_decay: float
) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(30, 1, 12, 12, generator=random, dtype=torch.float64).split(8)
    wanted = (torch.randn(30, teachers, 5, generator=random, dtype=torch.float64) * 3).split(8)
    torch.manual_seed(0)
    student = Network(build_trunk("resnet8"), teachers * 5).double()
    plain = Heads(student, teachers)
    schedule = Step("step", [2, 4], 0.1)
    changed = {"nesterov": nesterov, "weight_decay": weight_decay, "schedule": schedule, "learning_rate": 0.05}

    def batches(epoch: int, skipped: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(x, wanted, strict=True))

    objective = distillation(temperature)
    train(student, batches, 4, recipe(**changed), CPU, lambda epoch: None, objective)

    optimizer = torch.optim.SGD(plain.parameters(), 0.05, 0.9, weight_decay=weight_decay, nesterov=nesterov)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4], 0.1)
    divergence = nn.KLDivLoss(reduction="batchmean")
    plain.train()
    for epoch in range(6):
        for images, logits in batches(epoch):
            outputs = plain(images)
            parts = [
                divergence((outputs[k] / temperature).log_softmax(1), (logits[:, k] / temperature).softmax(1))
                for k in range(teachers)
            ]
            optimizer.zero_grad()
            (temperature**2 * torch.stack(parts).mean()).backward()
            optimizer.step()
        scheduler.step()
    for name, expected in plain.trunk.state_dict().items():
        torch.testing.assert_close(student.trunk.state_dict()[name], expected, atol=1e-9, rtol=0, msg=name)
    for name in ("weight", "bias"):
        expected = torch.cat([getattr(head, name) for head in plain.heads])
        torch.testing.assert_close(getattr(student.head, name), expected, atol=1e-9, rtol=0, msg=name)


def test_one_certain_teacher_is_classification(capsys: pytest.CaptureFixture[str]) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(30, 1, 12, 12, generator=random, dtype=torch.float64).split(8)
    labels = torch.randint(0, 5, (30,), generator=random)
    certain = (nn.functional.one_hot(labels, 5)[:, None] * 1e4).half()  # softmax gives 0 and 1
    networks = []
    wanted: Tensor
    for wanted, objective in ((labels, {}), (certain, {"objective": distillation(1.0)})):
        torch.manual_seed(0)
        networks.append(Network(build_trunk("resnet8"), 5).double())
        data = list(zip(x, wanted.split(8), strict=True))
        train(
            networks[-1],
            lambda epoch, skipped, data=data: iter(data),
            4,
            recipe(),
            CPU,
            lambda epoch: None,
            **objective,
        )  # type: ignore[arg-type, misc]
    for a, b in zip(*(network.state_dict().values() for network in networks), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.replace("top1", "agreement") for line in lines[:6]] == lines[6:]


def test_the_loss_of_a_student_that_can_match_goes_to_the_teachers_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    data, temperature = noise(16), 2.0
    logits = torch.randn(1, 16, 2, 3, generator=torch.Generator().manual_seed(1)) * 3
    torch.manual_seed(0)
    student = Network(build_trunk("resnet8w2"), 6)

    def batches(epoch: int, skipped: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return view_batches(data, PaddedCrop(0.5, 0.25, 0, False), [None], logits, 16, 0, epoch)

    long = recipe(epochs=150, batch_size=16, weight_decay=0.0)
    train(student, batches, 1, long, CPU, lambda epoch: None, distillation(temperature))
    curve = losses(capsys.readouterr().err, "agreement")
    least = temperature**2 * entropy(logits, temperature)
    assert curve[0][0] > least + 1 and curve[-1][1] == 1.0
    assert least - 1e-4 < curve[-1][0] < least + 0.02


# What the student sees


TRANSFORMS: list[Transform] = [
    PaddedCrop(0.3, 0.4, 2, True),
    Photographs(28, 32, [0.3, 1.0], "bilinear", True, [0.5], [0.25]),
]


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_the_student_sees_the_images_behind_the_cached_features(
    tmp_path: Path, transform: Transform, views: int
) -> None:
    """The features that extract cached, in place of teachers' logits: the trunk gives them from the student's images."""
    data = noise(40, 30)
    torch.manual_seed(0)
    trunk = build_trunk("resnet8").eval()
    draws = views_of("train", "targets/a", views)
    features_of = for_inference(trunk, "float32", CPU, compiled=False, batch_size=7)
    extract.extract_split(features_of, trunk.feature_dim, data, transform, draws, "float32", 7, tmp_path / "a.h5", CPU)
    with h5py.File(tmp_path / "a.h5") as file:
        cached = torch.from_numpy(file["features"][:])
    seen = []
    for epoch in range(2 * views):
        batches = list(
            view_batches(data, transform, views_of("train", "targets/a", views), cached[:, :, None], 16, 5, epoch)
        )
        with torch.no_grad():
            for images, wanted in batches:
                torch.testing.assert_close(trunk(images), wanted[:, 0], atol=1e-5, rtol=1e-5)
        order = torch.cat(list(shuffled(40, 16, generator("batches", 5, epoch))))
        seen.append(torch.cat([images for images, _ in batches])[order.argsort()])
    for epoch, images in enumerate(seen):
        same = [other % views == epoch % views for other in range(2 * views)]
        assert [torch.equal(images, other) for other in seen] == same


def test_logits_are_heads_on_cached_features(source: Source) -> None:
    logits = teacher_logits(source.features, source.networks, CPU)
    assert logits.shape == (VIEWS, 300, 2, 3) and logits.dtype == torch.float16
    for k, network in enumerate(source.networks):
        head = load_file(network.path.with_suffix(".safetensors"))
        with h5py.File(source.features[k].folder / "train.h5") as file:
            expected = (
                file["features"][:].astype(np.float32) @ head["head.weight"].numpy().T + head["head.bias"].numpy()
            )
        np.testing.assert_allclose(logits[:, :, k].numpy(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("plain", [True, False])
def test_logits_are_those_of_the_teachers_on_the_students_images(source: Source, plain: bool) -> None:
    features = source.plain if plain else source.features
    views = 1 if plain else VIEWS
    data = load_split(source.target, "train", CLONE / "data")
    logits = teacher_logits(features, source.networks, CPU)
    assert logits.dtype == (torch.float32 if plain else torch.float16)
    teachers = check_teachers(source.target, features, source.networks, keyed(CROP))
    draws = views_of("train", source.target.artifact, teachers)
    assert len(draws) == views
    heads = read_heads(source.networks)
    trunks = [load_trunk(network, CROP) for network in source.networks]
    tolerance = 1e-4 if plain else 1e-2
    for epoch in (0, views + 1):
        for images, wanted in view_batches(data, CROP, draws, logits, 100, 3, epoch):
            with torch.no_grad():
                found = [nn.functional.linear(trunk(images), *head) for trunk, head in zip(trunks, heads, strict=True)]
            torch.testing.assert_close(torch.stack(found, 1), wanted.float(), atol=tolerance, rtol=tolerance)


# The stage


def test_the_student_learns_from_its_teachers(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    card = source.distill("student")
    curve = losses(capsys.readouterr().err, "agreement")
    assert len(curve) == 6 and curve[-1][1] > 0.8 and curve[-1][0] < curve[0][0]  # chance: a third
    labels = torch.from_numpy(load_split(source.target, "train", CLONE / "data").labels)
    logits = teacher_logits(source.features, source.networks, CPU).float().mean(2)
    assert float((logits.argmax(2) == labels).float().mean()) > 0.8  # so the teachers were worth it
    about = {"teachers": ["erm-s0", "erm-s1"], "temperature": 2.0, "arch": "resnet8", "origin": "distill", "seed": 7}
    assert card.facts == about | {"parameters": 19_480, "feature_dim": 32}
    assert (card.stage, card.artifact) == ("distill", "networks/student")
    assert [of["artifact"] for of in card.inputs] == [
        "targets/source", "features/source/erm-s0", "features/source/erm-s1", "networks/erm-s0", "networks/erm-s1",
    ]  # fmt: skip
    weights = card.path.with_suffix(".safetensors")
    assert {key.split(".")[0] for key in load_file(weights)} == {"trunk"}
    with safe_open(weights, framework="pt") as file:
        assert json.loads(file.metadata()["rrl"]) == {
            "arch": "resnet8", "origin": "distill", "seed": 7, "key": card.key, "settings": card.settings,
        }  # fmt: skip
    assert load_trunk(card, CROP)(torch.zeros(2, 1, 28, 28)).shape == (2, 32)


def test_the_students_network_can_be_used_as_any_other(source: Source) -> None:
    student = source.distill("again", epochs=1)
    features = source.extract(student, views=1)
    assert features.facts["feature_dim"] == 32 and features.facts["seed"] == 7


def test_students_depend_on_seed_teachers_and_temperature_only(source: Source) -> None:
    one = source.distill("one", epochs=1)
    content = one.path.with_suffix(".safetensors").read_bytes()
    assert source.distill("one", epochs=1).digest == one.digest
    assert one.path.with_suffix(".safetensors").read_bytes() == content
    others = [
        source.distill("other", epochs=1, seed=8),
        source.distill("other", epochs=1, teachers=1),
        source.distill("other", epochs=1, temperature=1.0),
        source.distill("other", epochs=1, plain=True),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    trunks = [load_file(one.path.with_suffix(".safetensors"))]
    trunks.append(load_file(others[-1].path.with_suffix(".safetensors")))
    assert trunks[0].keys() == trunks[1].keys()
    assert not torch.equal(trunks[0]["trunk.stem.weight"], trunks[1]["trunk.stem.weight"])


def test_the_student_starts_as_a_pretrained_network_of_its_seed(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Network] = []

    def look(network: Network, *rest: Any, **more: Any) -> None:
        starts.append(network)

    monkeypatch.setattr("rrl.stages.distill.train", look)
    source.distill("start", seed=0)
    torch.manual_seed(stream("initialisation", 0))
    expected = build_trunk("resnet8").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in starts[0].trunk.state_dict().items())
    assert starts[0].head.weight.shape == (2 * 3, 32)
    bound = 32**-0.5  # of nn.Linear(32, 3) as well: it depends on the inputs only
    assert 0.8 * bound < float(starts[0].head.weight.detach().abs().max()) <= bound


# What is refused


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_features_must_be_those_of_the_teachers_on_the_target(source: Source) -> None:
    target, features, networks = source.target, source.features, source.networks

    def message(features: list[Card], networks: list[Card], target: Card = target, transform: Any = CROP) -> str:
        return refused(lambda: check_teachers(target, features, networks, keyed(transform)))

    assert message([], []) == "--inputs: found no network; at least one teacher is needed"
    swapped = message(features[::-1], networks)
    assert swapped == (
        "--inputs: found features of [['targets/source', 'networks/erm-s1'], ['targets/source', 'networks/erm-s0']]; "
        "needed are, in this order, those of [['targets/source', 'networks/erm-s0'], ['targets/source', 'networks/erm-s1']]"
    )
    assert message(features[:1], networks).startswith(
        "--inputs: found features of [['targets/source', 'networks/erm-s0']];"
    )
    assert "['targets/new', 'networks/erm-s0']" in message(features, networks, replace(target, artifact="targets/new"))
    path = features[1].path
    assert message(features, [networks[0], replace(networks[1], digest="other")]) == (
        f"{path}: not of the targets/source or not of the networks/erm-s1 that were given; "
        f"to rebuild it: rm -f {path}, then run the same snakemake command again"
    )
    assert f"{features[0].path}: not of the" in message(features, networks, replace(target, digest="other"))
    assert message(features, networks, transform=replace(CROP, pad=1)) == (
        f'{features[0].path}: of transform {{"flip": true, "mean": 0.286, "pad": 2, "std": 0.353}}; '
        'that of --settings is {"flip": true, "mean": 0.286, "pad": 1, "std": 0.353} and must be the same'
    )
    assert message([features[0], source.plain[1]], networks) == (
        "--inputs: found features of [3, 1] views; must be the same number for all teachers"
    )


def test_the_stage_checks_its_teachers(source: Source) -> None:
    with pytest.raises(UserError, match="of transform .*that of --settings is"):
        source.distill("refused", transform=replace(CROP, pad=1))
    assert not (source.root / "networks/refused.json").exists()


def other_head(source: Source, folder: Path, weight: Tensor) -> Card:
    """The card of a network with only a head."""
    path = folder / f"other{len(weight)}.safetensors"
    save_file({"head.weight": weight, "head.bias": torch.zeros(len(weight))}, path)
    return replace(source.networks[1], path=path.with_suffix(".json"), digest=sha256_of_file(path))


def test_teachers_must_have_heads_of_the_same_classes(source: Source, tmp_path: Path) -> None:
    assert refused(lambda: read_heads([source.networks[0], source.untrained])) == (
        f"{source.untrained.path}: a network without a head cannot teach; teachers must have one"
    )
    four = other_head(source, tmp_path, torch.zeros(4, 32))
    assert refused(lambda: read_heads([source.networks[0], four])) == (
        "--inputs: found heads of {'networks/erm-s0': 3, 'networks/erm-s1': 4} classes; "
        "must be the same number for all teachers"
    )


def test_logits_must_fit_the_type_of_the_cache(source: Source, tmp_path: Path) -> None:
    huge = other_head(source, tmp_path, torch.full((3, 32), 1e6))
    message = refused(lambda: teacher_logits(source.features, [source.networks[0], huge], CPU))
    assert re.match(
        r"logits of networks/erm-s1: image 0, feature 0: \S+ does not fit float16; set features.dtype", message
    )
    assert torch.isfinite(teacher_logits(source.plain, [source.networks[0], huge], CPU)).all()


def test_altered_files_are_refused(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "erm-s0/train.h5"
    path.parent.mkdir()
    path.write_bytes((source.features[0].folder / "train.h5").read_bytes())
    card = replace(source.features[0], path=tmp_path / "erm-s0.json")

    def read() -> Tensor:
        return teacher_logits([card], source.networks[:1], CPU)

    assert read().shape == (VIEWS, 300, 1, 3)
    rebuild = f"to rebuild it: rm -f {path}, then run the same snakemake command again"
    with h5py.File(path, "r+") as file:
        value = file["features"][2, 299, 31]
        file["features"][2, 299, 31] = value + 1
    assert refused(read) == f"{path}: altered since {card.path} was written; {rebuild}"
    with h5py.File(path, "r+") as file:
        file["features"][2, 299, 31] = value
        file["labels"][0] += 1
    assert refused(read) == f"{path}: altered since {card.path} was written; {rebuild}"
    path.write_bytes(path.read_bytes()[:1000])
    assert re.match(rf"{path}: missing or unreadable \(.*\); {rebuild}", refused(read))
    path.unlink()
    assert re.match(rf"{path}: missing or unreadable \(.*\); {rebuild}", refused(read))
    changed = replace(source.networks[0], digest="other")
    assert "altered since" in refused(lambda: teacher_logits(source.features[:1], [changed], CPU))


def test_a_loss_that_is_not_finite_stops(source: Source) -> None:
    with pytest.raises(UserError, match=r"epoch 1, step \d+: the loss is \S+; lower learning_rate"):
        source.distill("diverged", learning_rate=1e20)
