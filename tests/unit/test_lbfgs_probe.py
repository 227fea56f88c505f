"""Linear probes by L-BFGS: the optimum by other means, the images that are trained and picked on, and the whole stage."""

import copy
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from rrl.arithmetic import NATIVE, PORTABLE
from rrl.cli.plan import HOUR, SPEED, job_cost
from rrl.cli.show import card_of, describe, lines
from rrl.config.load import load_config
from rrl.config.settings import Constant, LbfgsProbe, Probe
from rrl.differences import compare_records
from rrl.errors import UserError
from rrl.heads.cached import Data
from rrl.heads.lbfgs import Minimum, TrainingImages, cubic_minimum, fit_heads, minimise, select
from rrl.heads.sweep import EPSILON, Heads, logits
from rrl.job import Card, read_card
from rrl.plan import Plan
from rrl.store.logits import read_logits
from tests.helpers import jobs
from tests.helpers.clones import CLONE
from tests.helpers.made_up import LABELS, NETWORKS, network, represented

torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
N, D, C, VIEWS = 120, 12, 4, 2
DECAYS = [1e-3, 0.1, 1e-5, 1.0]  # in no order


def made_up(count: int = N, views: int = VIEWS, seed: int = 0, dtype: torch.dtype = torch.float16) -> Data:
    """Features of several sizes, far from zero, that no line separates."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % C
    centres = torch.randn(C, D, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + torch.randn(views, count, D, generator=random) * 1.5
    return Data((features * torch.linspace(0.5, 2, D) + 2).to(dtype), labels)


def objective(data: Data, weight: Tensor, bias: Tensor, decay: float, batch_norm: bool) -> Tensor:
    """By the definition, in float64, of all images at once."""
    x = data.features.double().reshape(-1, data.features.shape[2])
    if batch_norm:
        x = (x - x.mean(0)) / (x.var(0, correction=0) + EPSILON).sqrt()
    loss = nn.functional.cross_entropy(x @ weight.T + bias, data.labels.repeat(len(data.features)))
    return loss + decay / 2 * (weight.square().sum() + bias.square().sum())


def optimum(data: Data, decay: float, batch_norm: bool) -> float:
    """By Newton's method on gradients of autograd. Of a convex objective with decay d, no other is lower by more than
    the square of the gradient's length over 2 d."""
    depth = data.features.shape[2]
    head = torch.zeros(C * (depth + 1), dtype=torch.float64)

    def of(head: Tensor) -> Tensor:
        return objective(data, head[: C * depth].view(C, depth), head[C * depth :], decay, batch_norm)

    for _ in range(200):
        gradient = torch.func.grad(of)(head)
        if float(gradient.square().sum()) / (2 * decay) < 1e-10:
            return float(of(head))
        direction = -torch.linalg.solve(torch.func.hessian(of)(head), gradient)
        step = 1.0
        while of(head + step * direction) > of(head) + 0.1 * step * (gradient @ direction):
            step /= 2
        head = head + step * direction
    raise AssertionError("not at the optimum")


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_optimum_is_that_of_newtons_method(batch_norm: bool) -> None:
    data = made_up()
    heads, fits = fit_heads(data, C, DECAYS, 500, 1e-6, batch_norm)
    for number, decay in enumerate(DECAYS):
        expected = optimum(data, decay, batch_norm)
        found = objective(data, heads.weight[number].double(), heads.bias[number].double(), decay, batch_norm)
        assert expected - 1e-6 < float(found) < expected * (1 + 1e-4)
        assert fits[number].objective == pytest.approx(float(found), rel=1e-5)
        assert (fits[number].weight_decay, 0 < fits[number].iterations < 500) == (decay, True)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients_are_those_of_autograd(batch_norm: bool) -> None:
    data, random = made_up(), torch.Generator().manual_seed(1)
    weight, bias = torch.randn(C, D, generator=random).requires_grad_(), torch.randn(C, generator=random)
    bias.requires_grad_()
    expected = objective(data, weight.double(), bias.double(), 0.0, batch_norm)
    expected.backward()  # type: ignore[no-untyped-call]
    ours = TrainingImages.prepare(data, batch_norm).cross_entropy(weight.detach(), bias.detach())
    for value, other in zip(ours, (expected.detach(), weight.grad, bias.grad), strict=True):
        torch.testing.assert_close(value, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_slices_do_not_matter(rows: int) -> None:
    data = made_up()
    sliced, whole = (TrainingImages.prepare(data, True, rows=count) for count in (rows, 10_000))
    torch.testing.assert_close(sliced.mean, whole.mean)
    torch.testing.assert_close(sliced.variance, whole.variance)
    head = torch.randn(C, D, generator=torch.Generator().manual_seed(1)), torch.zeros(C)
    for value, other in zip(sliced.cross_entropy(*head), whole.cross_entropy(*head), strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-5)
    fits = [minimise(images, torch.zeros(C, D), torch.zeros(C), 1e-3, 100, 1e-6) for images in (sliced, whole)]
    assert fits[0].objective == pytest.approx(fits[1].objective, rel=1e-5)


def test_features_are_standardised_by_the_training_images_in_all_views() -> None:
    data = made_up()
    heads, _ = fit_heads(data, C, [0.1], 100, 1e-6, batch_norm=True)
    flat = data.features.double().reshape(-1, D)
    torch.testing.assert_close(heads.mean, flat.mean(0).float())
    torch.testing.assert_close(heads.variance, flat.var(0, correction=0).float())
    other = made_up(seed=5).features[0].float()
    standardised = (other - heads.mean) / (heads.variance + EPSILON).sqrt()
    expected = standardised @ heads.weight[0].T + heads.bias[0]
    torch.testing.assert_close(logits(heads, other)[:, 0], expected, atol=1e-4, rtol=1e-4)
    plain, _ = fit_heads(data, C, [0.1], 100, 1e-6, batch_norm=False)
    torch.testing.assert_close(logits(plain, other)[:, 0], other @ plain.weight[0].T + plain.bias[0])


def test_scales_and_places_of_features_do_not_matter_where_they_are_standardised() -> None:
    data, held = made_up(dtype=torch.float32), made_up(seed=5, dtype=torch.float32).features[0]
    scale, place = torch.logspace(-1, 2, D), torch.linspace(-3, 30, D)
    moved = Data(data.features * scale + place, data.labels)
    found, expected = (
        logits(fit_heads(of, C, [0.01], 300, 1e-7, batch_norm=True)[0], x)
        for of, x in ((moved, held * scale + place), (data, held))
    )
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=1e-2)


def test_a_feature_that_is_always_the_same_has_no_weight() -> None:
    data = made_up()
    data.features[:, :, 3] = 7
    heads, _ = fit_heads(data, C, [0.0, 0.1], 100, 1e-6, batch_norm=True)
    assert not heads.weight[:, :, 3].any() and heads.weight[:, :, 2].all()


def test_a_start_at_the_neighbour_ends_where_a_start_at_zero_does() -> None:
    data = made_up()
    _, together = fit_heads(data, C, DECAYS, 500, 1e-6, True)
    for fit in together:
        (alone,) = fit_heads(data, C, [fit.weight_decay], 500, 1e-6, True)[1]
        assert alone.objective == pytest.approx(fit.objective, rel=1e-4)


def test_iterations_are_the_most() -> None:
    data = made_up()
    _, (few,) = fit_heads(data, C, [1e-5], 7, 1e-9, True)
    _, (many,) = fit_heads(data, C, [1e-5], 300, 1e-9, True)
    assert few.iterations == 7 < many.iterations and many.objective < few.objective


def test_an_iteration_is_hardly_more_than_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a line search is not evaluated once more, and the first step is no search."""
    evaluate, seen = TrainingImages.cross_entropy, []

    def counted(*of: Any) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(of[1].clone())
        return evaluate(*of)

    monkeypatch.setattr(TrainingImages, "cross_entropy", counted)
    _, (fit,) = fit_heads(made_up(), C, [0.01], 300, 1e-6, True)
    assert fit.iterations > 10 and len(seen) <= 1 + fit.iterations + 4
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(seen))


def test_without_decay_what_can_be_separated_ends_all_the_same() -> None:
    data = Data(torch.eye(C).repeat(5, 1)[None], torch.arange(5 * C) % C)
    _, (fit,) = fit_heads(data, C, [0.0], 200, 1e-6, False)
    assert fit.iterations < 30 and fit.objective <= 1e-6 * math.log(C)


@pytest.mark.parametrize("count", [1, 3])
def test_a_loss_that_is_not_finite_is_one_line_with_the_weight_decay(count: int) -> None:
    data = made_up(dtype=torch.float32)
    data.features[:, :, :count] *= 1e38
    with pytest.raises(
        UserError, match=r"^the loss of weight_decay=0.25 is not finite; set batch_norm to true, or rem"
    ):
        fit_heads(data, C, [0.25], 100, 1e-6, batch_norm=False)


# Selection


def heads_of(*signs: float) -> Heads:
    """Of two classes and one feature; with sign 1 images above zero are of class 1."""
    heads = Heads.create(torch.zeros(2, 1), torch.zeros(2), len(signs), batch_norm=False)
    heads.weight[:, 1, 0] = torch.tensor(signs)
    return heads


def test_each_rule_picks_on_its_own_split_and_looks_at_no_other() -> None:
    x = torch.linspace(-1, 1, 10)[None, :, None]
    right = Data(x, (x[0, :, 0] > 0).long())
    wrong = Data(x, 1 - right.labels)
    fits = [Minimum(0.1, 5, 0.5), Minimum(0.01, 6, 0.25)]
    heads = heads_of(1, -1)
    for rule, split in (("heldout", "val"), ("paper", "test")):
        for data, best in ((right, 0), (wrong, 1)):
            (picked,) = select(heads, fits, {split: data}, [rule]).values()  # else a KeyError
            assert (
                picked.selected["weight_decay"] == fits[best].weight_decay
                and picked.head.weight[0, 1, 0] == (1, -1)[best]
            )
            assert [row["top1"] for row in picked.grid] == ([1.0, 0.0] if best == 0 else [0.0, 1.0])
            assert [(row["weight_decay"], row["iterations"], row["objective"]) for row in picked.grid] == [
                (0.1, 5, 0.5),
                (0.01, 6, 0.25),
            ]
    both = select(heads, fits, {"val": right, "test": wrong}, ["heldout", "paper"])
    assert [both[rule].selected["weight_decay"] for rule in ("heldout", "paper")] == [0.1, 0.01]


def test_of_equals_the_lower_loss_is_taken_then_the_first() -> None:
    x = torch.linspace(-1, 1, 10)[None, :, None]
    data = {"val": Data(x, (x[0, :, 0] > 0).long())}
    fits = [Minimum(decay, 5, 0.5) for decay in (0.3, 0.2, 0.1)]
    assert select(heads_of(1, 2, 2), fits, data, ["heldout"])["heldout"].selected["weight_decay"] == 0.2


def test_a_loss_that_is_not_finite_on_the_images_to_pick_on_is_one_line() -> None:
    data = {"val": Data(torch.full((1, 3, 1), 1e38), torch.zeros(3, dtype=torch.int64))}
    with pytest.raises(UserError, match=r"^the loss on val of weight_decay=0.1 is not finite; set batch_norm to true"):
        select(heads_of(1e3), [Minimum(0.1, 5, 0.5)], data, ["heldout"])


# The stage

SETTINGS: dict[str, Any] = {
    "iterations": 200,
    "tolerance": 1e-5,
    "weight_decays": [0.001, 0.1, 0.01],
    "batch_norm": True,
}


def probed(root: Path, representation: Path, shots: list[int | str], **changed: Any) -> Card:
    probe = LbfgsProbe(**{"solver": "lbfgs", **SETTINGS, **changed})
    output = root / f"records/made-up/{representation.stem}/linear_probe.json"
    return jobs.run("probe", {"solver": "lbfgs", "shots": shots, "probe": probe}, [read_card(representation)], output)


def entry_of(record: Card, rule: str, shots: int | str) -> dict[str, Any]:
    (found,) = [of for of in record.facts["results"] if (of["selection"], of["shots"]) == (rule, shots)]
    return dict(found)


VIEWED = {f"net{seed}-s0": network(30 + seed, 4, 0.8 * seed, 1.0, views=2) for seed in range(1, 3)}


def arrays(split: str) -> Tensor:
    """The representation of these networks."""
    return torch.from_numpy(np.concatenate([of[split] for of in VIEWED.values()], axis=2))


def test_the_stage_trains_picks_and_reads_as_said(tmp_path: Path) -> None:
    record = probed(tmp_path, represented(tmp_path, VIEWED), ["all", 5])
    labels = {split: torch.from_numpy(of) for split, of in LABELS.items()}
    train, val = arrays("train"), arrays("val")
    chosen = torch.cat([(labels["train"] == label).nonzero()[:5, 0] for label in range(4)]).sort().values
    few = Data(train[:, chosen], labels["train"][chosen])
    both = Data(torch.cat([train, val[1:]], dim=1), torch.cat([labels["train"], labels["val"]]))
    trained = {
        ("heldout", "all"): Data(train, labels["train"]),
        ("paper", "all"): both,
        ("heldout", 5): few,
        ("paper", 5): few,
    }
    scores, truth = read_logits(tmp_path / "logits/made-up/all/linear_probe.h5", record)
    assert len(record.facts["results"]) == len(scores) == 4
    for (rule, shots), data in trained.items():
        found = entry_of(record, rule, shots)
        split = "val" if rule == "heldout" else "test"
        assert (found["selected_on"], found["n_train"]) == (split, len(data.labels))
        assert [row["weight_decay"] for row in found["grid"]] == SETTINGS["weight_decays"]
        for row in found["grid"]:
            assert row["objective"] == pytest.approx(optimum(data, row["weight_decay"], True), rel=1e-4)
        best = max(found["grid"], key=lambda row: (row["top1"], -row["loss"]))
        assert found["selected"] == {"weight_decay": best["weight_decay"], "iterations": best["iterations"]}
        picked = scores[f"{shots}/{rule}"]
        assert float((picked["test"].argmax(1) == truth["test"]).mean()) == found["top1"]
        assert float((picked[split].argmax(1) == truth[split]).mean()) == pytest.approx(best["top1"], abs=1e-6)
    assert entry_of(record, "paper", "all")["val_top1"] is None and entry_of(record, "heldout", "all")["val_top1"] > 0.5
    facts = record.facts
    assert (record.stage, facts["transfer"], facts["feature_dim"]) == ("probe", "linear_probe", 8)
    probe = {"solver": "lbfgs", **SETTINGS}
    assert record.settings == {"solver": "lbfgs", "shots": ["all", 5], "probe": probe, "arithmetic": NATIVE}


def test_the_features_of_test_have_no_say_in_what_heldout_picks(tmp_path: Path) -> None:
    changed = {name: of | {"test": of["test"] * 0} for name, of in VIEWED.items()}
    found, blind = (
        entry_of(probed(tmp_path / name, represented(tmp_path / name, of), ["all"]), "heldout", "all")
        for name, of in (("a", VIEWED), ("b", changed))
    )
    assert (found["selected"], found["grid"], found["val_top1"]) == (
        blind["selected"],
        blind["grid"],
        blind["val_top1"],
    )
    assert found["top1"] > blind["top1"]


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    content = []
    for folder in ("a", "b"):
        probed(tmp_path / folder, represented(tmp_path / folder, VIEWED), ["all", 5])
        content.append((tmp_path / folder / "records/made-up/all/linear_probe.json").read_bytes())
    assert content[0] == content[1]


def test_the_record_is_read_as_others_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By rrl show, by rrl compare-records against SGD, and by the ensemble of its members."""
    representation = represented(tmp_path, NETWORKS)
    record = probed(tmp_path, representation, ["all"], iterations=5)
    assert "images, heldout: the most iterations, 5, for weight decays 0.001, 0.1, 0.01" in capsys.readouterr().err
    shown = "\n".join(lines(describe(card_of(tmp_path / "logits/made-up/all/linear_probe.h5"))))
    selected = entry_of(record, "heldout", "all")["selected"]
    assert "made by rrl.stages.probe" in shown
    assert f"picked on val: {{iterations 5, weight_decay {selected['weight_decay']}}}" in shown
    by_sgd = Probe(
        epochs=5, steps_per_epoch=0, batch_size=32, momentum=0.9, nesterov=True, schedule=Constant(name="constant"),
        seed=0, learning_rates=[0.1], weight_decays=[0.01], batch_norm=True,
    )  # fmt: skip
    settings = {"solver": "sgd", "shots": ["all"], "probe": by_sgd}
    sgd = jobs.run("probe", settings, [read_card(representation)], tmp_path / "records/made-up/all/sgd.json")
    for compared in compare_records(record, [sgd]):
        assert abs(compared["difference"]) < 0.1
    (mean, _) = jobs.run("ensemble", {}, [record] * 2, tmp_path / "records/made-up/twice/ensemble.json").facts[
        "results"
    ]
    assert (mean["top1"], mean["selected"]) == (entry_of(record, "heldout", "all")["top1"], [selected] * 2)


def test_more_shots_than_images_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class 0: found 40 training images, shots needs 41"):
        probed(tmp_path, represented(tmp_path, NETWORKS), [41])


# The plan

TINY = json.loads(json.dumps(yaml.safe_load((CLONE / "workflow/config/tiny.yaml").read_text())))
CONVEX = {"solver": "lbfgs", **SETTINGS}


def changed_config() -> dict[str, Any]:
    """The tiny experiment, with digits probed by L-BFGS."""
    content: dict[str, Any] = copy.deepcopy(TINY)
    content["probes"]["convex"] = CONVEX
    content["targets"]["mnist"]["probe"] = "convex"
    return content


def test_the_line_search_interpolates_as_a_polynomial_does() -> None:
    """Of a cubic the minimum is found; where there is none between the bounds, the nearest bound or their middle. And
    torch's line search calls it."""
    line_search = vars(sys.modules[torch.optim.LBFGS.__module__])["_strong_wolfe"]
    assert "_cubic_interpolate" in line_search.__code__.co_names
    assert line_search.__globals__["_cubic_interpolate"] is cubic_minimum
    for low, high in ((0.3, 2.5), (2.5, 0.3)):  # (x - 2)^2 (x + 4) has its minimum at 2
        sides = [argument for x in (low, high) for argument in (x, (x - 2) ** 2 * (x + 4), torch.tensor(3 * x**2 - 12))]
        assert cubic_minimum(*sides) == pytest.approx(2, abs=1e-6)
        assert cubic_minimum(*sides, (0.5, 1.5)) == 1.5
    assert cubic_minimum(0.0, 0.0, 1.0, 1.0, 3.0, 1.0, (0.0, 4.0)) == 0.0
    assert cubic_minimum(0.0, 0.0, 1.0, 1.0, 1.0, 1.0, (0.0, 4.0)) == 2.0  # a line


def test_a_target_is_probed_as_it_asks_for() -> None:
    before, after = (Plan(load_config(content, []), {"data": {}}) for content in (TINY, changed_config()))
    assert isinstance(after.config.probes["convex"], LbfgsProbe) and after.by_lbfgs == ["mnist"]
    for name in ("erm-s0", "cat2", "wide2-s0.0-32"):
        job = after.record("mnist", name, "linear_probe")
        assert (job.stage, job.settings.solver, job.settings.shots) == ("probe", "lbfgs", [5, 10])
        assert (job.settings.probe, job.settings.arithmetic) == (after.config.probes["convex"], PORTABLE)
        kept = (plan.record("fashion-source", name, "linear_probe") for plan in (before, after))
        assert len({(job.stage, job.key) for job in kept}) == 1
    changed = {job.artifact for job, old in zip(after.jobs, before.jobs, strict=True) if job.key != old.key}
    own = [name for name in changed if name.startswith("records/")]
    assert own and all(
        name.startswith("records/mnist/") and name.endswith(("linear_probe", "ensemble")) for name in own
    )


def test_the_cost_is_at_most_that_of_all_iterations() -> None:
    plan = Plan(load_config(changed_config(), []), {"data": {}})
    cost = job_cost(plan.record("mnist", "cat2", "linear_probe"), plan)
    views, dim, decays, per_class = 2, 64, 3, 5 + 10
    trained = 2 * 3 * 200 * views * 10 * per_class
    assert cost.gpu_hours == pytest.approx(trained * 2 * dim * 10 * decays / SPEED / HOUR)
    assert cost.logits == 4_800 * (4 * 10 * 4 + 8)


def test_the_benchmark_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.lbfgs", "--threads", "1", "--rounds", "1", "--images", "512"]
    command += ["--depth", "8", "--classes", "3", "--weight-decays", "0.1", "0.01", "--most", "8"]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True)
    shown = result.stdout.splitlines()
    for text, found in zip(("weight decay 0.1 ", "weight decay 0.01 ", "2 weight decays "), shown, strict=True):
        assert found.startswith(f"L-BFGS / SGD to the objective, 3 classes, {text}") and found.endswith(" 8 epochs")
