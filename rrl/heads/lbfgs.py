"""Linear heads by L-BFGS in place of SGD. Not the protocol of the paper: that is rrl.heads.sgd.

For each weight decay d it minimises, over weight W (C, D) and bias c (C,) of a linear layer,

    mean cross-entropy over the training images, in all their views, + d / 2 (|W|^2 + |c|^2),

which is what SGD with that weight decay goes towards. It is convex: there is one optimum, and no learning rate, batch,
seed or epoch to pick; what is picked is the weight decay alone. With batch_norm the features are standardised first by
mean and variance of the training images, in all views. The affine part of a batch norm is left out: no decay is on it,
so it could take over the size of the weights, and their decay would mean nothing.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rrl.bars import Bar
from rrl.config.settings import LbfgsProbe
from rrl.errors import UserError
from rrl.heads.cached import Data
from rrl.heads.picking import Picked, Selection
from rrl.heads.sweep import EPSILON, Heads, evaluate
from rrl.job import Card
from rrl.selection import SELECTED_ON

RULES = tuple(SELECTED_ON)
# Images of a slice. On a CPU a slice of 2048 features stays in its cache; on a GPU larger ones keep it busy.
ROWS = {"cpu": 256, "cuda": 8192}
HISTORY = 10  # steps that L-BFGS remembers; each takes the memory of two heads
SLOW = 5  # iterations that must be slow together: a single one may lower the objective by little, the next by much


@dataclass(frozen=True)
class Minimum:
    """Where the head of one weight decay ended. iterations : of L-BFGS; objective : on the training images."""

    weight_decay: float
    iterations: int
    objective: float


def slices(data: Data, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Features (B, D) in float32 and labels (B,) of `rows` images at a time, in all views.

    All slices share one place in memory: a slice is overwritten by the next.
    """
    place = torch.empty(min(rows, len(data.labels)), data.features.shape[2], device=data.device)
    for view in range(data.features.shape[0]):
        for part, labels in data.slices(rows, view):
            yield place[: len(part)].copy_(part), labels


@dataclass(frozen=True)
class TrainingImages:
    """The images that heads are trained on, read slice by slice.

    data : features (V, N, D) in the type of the cache.
    mean, variance : (D,) float32, of the standardisation; without, what makes it the identity.
    rows : images of a slice, which alone is held in float32.
    """

    data: Data
    mean: Tensor
    variance: Tensor
    rows: int

    @staticmethod
    def prepare(data: Data, batch_norm: bool, rows: int | None = None) -> "TrainingImages":
        rows = rows or ROWS.get(data.device.type, ROWS["cuda"])
        views, count, depth = data.features.shape
        mean, variance = torch.zeros(2, depth, dtype=torch.float64, device=data.device)
        if not batch_norm:
            return TrainingImages(data, mean.float(), variance.float() + (1.0 - EPSILON), rows)
        for x, _ in slices(data, rows):
            mean += x.sum(0) / (views * count)
        near = mean.float()
        for x, _ in slices(data, rows):
            variance += x.sub_(near).square_().sum(0) / (views * count)
        return TrainingImages(data, near, variance.float(), rows)

    def cross_entropy(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean cross-entropy, float64, of a head, weight (C, D) and bias (C,); and its gradients by them."""
        loss = torch.zeros((), dtype=torch.float64, device=weight.device)
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        factor = torch.rsqrt(self.variance + EPSILON)
        for x, labels in slices(self.data, self.rows):
            x.sub_(self.mean).mul_(factor)
            at = torch.arange(len(x), device=x.device)
            scores = torch.log_softmax(torch.addmm(bias, x, weight.T), dim=1)
            loss -= scores[at, labels].sum(dtype=torch.float64)
            error = scores.exp_()  # dL/dlogits (B, C)
            error[at, labels] -= 1
            d_weight.addmm_(error.T, x)
            d_bias += error.sum(0)
        count = self.data.features.shape[0] * self.data.features.shape[1]
        return loss / count, d_weight / count, d_bias / count


def cubic_minimum(
    x1: float, f1: float, g1: Any, x2: float, f2: float, g2: Any, bounds: tuple[float, float] | None = None
) -> float:
    """Where the cubic with values f and slopes g at x1 and x2 is least between the bounds; x1 and x2 if there are none.

    Stands in for the function of torch.optim.LBFGS, whose square root of a tensor is MKL's: not correctly rounded, so
    that processors of two vendors go on to different heads. Source: Nocedal and Wright, Numerical Optimization, 3.59.
    """
    low, high = bounds or (min(x1, x2), max(x1, x2))
    slope1, slope2 = float(g1), float(g2)
    d1 = slope1 + slope2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - slope1 * slope2
    d2 = math.copysign(math.sqrt(square), x2 - x1) if square >= 0 else math.nan
    bend = slope2 - slope1 + 2 * d2
    if not bend or math.isnan(bend):
        return (low + high) / 2
    return min(max(x2 - (x2 - x1) * (slope2 + d2 - d1) / bend, low), high)


vars(sys.modules[torch.optim.LBFGS.__module__])["_cubic_interpolate"] = cubic_minimum


def minimise(
    images: TrainingImages, weight: Tensor, bias: Tensor, weight_decay: float, iterations: int, tolerance: float
) -> Minimum:
    """Move a head, weight (C, D) and bias (C,), in place, to the minimum of the objective.

    Ends once the gradient shows that what is left to the minimum is less than the fraction `tolerance` of the objective
    (with weight decay d it is at most |gradient|^2 / 2 d), or SLOW iterations lowered the objective by less than that,
    or after `iterations`. Without weight decay the objective of classes that can be told apart has no minimum, and goes
    towards 0: what is left is compared with the objective of a head of zeros. Raises UserError if the loss is not
    finite.
    """
    head = weight, bias
    evaluated: tuple[Tensor, Tensor] | None = None
    objective = math.nan

    @torch.no_grad()
    def closure() -> float:
        """Objective and gradient of the head; nothing where they are there already, as at the end of a line search."""
        nonlocal evaluated, objective
        if evaluated is None or not all(map(torch.equal, evaluated, head)):
            loss, *gradients = images.cross_entropy(*head)
            for part, gradient in zip(head, gradients, strict=True):
                part.grad = gradient.add_(part, alpha=weight_decay)
            objective = float(loss) + weight_decay / 2 * _squares(*head)
            evaluated = weight.clone(), bias.clone()
        if not math.isfinite(objective):
            raise UserError(
                f"the loss of weight_decay={weight_decay} is not finite; set batch_norm to true, or remove the weight "
                "decay from the grid"
            )
        return objective

    optimizer = torch.optim.LBFGS(
        head, max_iter=1, max_eval=100, history_size=HISTORY, tolerance_grad=0.0, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    path = [closure()]
    while len(path) <= iterations:
        assert weight.grad is not None and bias.grad is not None
        if weight_decay == 0 and path[-1] <= tolerance * math.log(len(bias)):
            break
        enough = tolerance * path[-1]
        if _squares(weight.grad, bias.grad) <= 2 * weight_decay * enough:
            break
        if len(path) > SLOW and path[-1 - SLOW] - path[-1] < enough:
            break
        # torch divides the first step by the sum of the sizes of the gradient's entries, of which there are many: it is
        # too short by far. Here its length is 1, as in scipy. From the second on the right rate is 1.
        sizes = float(weight.grad.abs().sum() + bias.grad.abs().sum())
        length = math.sqrt(_squares(weight.grad, bias.grad))
        optimizer.param_groups[0]["lr"] = max(1.0, sizes) / length if len(path) == 1 else 1.0
        optimizer.step(closure)
        path.append(closure())
    return Minimum(weight_decay, len(path) - 1, path[-1])


def _squares(*parts: Tensor) -> float:
    """Sum of the squares of all entries."""
    return sum(float(part.square().sum(dtype=torch.float64)) for part in parts)


def fit_heads(
    data: Data, classes: int, weight_decays: Sequence[float], iterations: int, tolerance: float, batch_norm: bool
) -> tuple[Heads, list[Minimum]]:
    """The heads of all weight decays on `data`, in their order, and how each was found. Raises UserError like minimise.

    From the largest weight decay, of which the optimum is nearest to the zeros that it starts from, to the smallest;
    each starts at the one before, which takes about two thirds of the iterations.
    """
    images = TrainingImages.prepare(data, batch_norm)
    weight = torch.zeros(classes, data.features.shape[2], device=data.device)
    bias = torch.zeros(classes, device=data.device)
    heads = Heads.create(weight, bias, len(weight_decays), batch_norm)
    heads.mean, heads.variance = images.mean, images.variance
    minima = [Minimum(weight_decay, 0, math.nan) for weight_decay in weight_decays]
    with Bar("probe", "weight decay", len(minima), kept=False) as bar:
        for number in sorted(range(len(minima)), key=lambda number: -weight_decays[number]):
            minima[number] = minimise(images, weight, bias, weight_decays[number], iterations, tolerance)
            heads.weight[number], heads.bias[number] = weight, bias
            bar.add()
    return heads, minima


def select(heads: Heads, minima: list[Minimum], data: dict[str, Data], rules: Sequence[str]) -> dict[str, Picked]:
    """What each rule picks. The grid: each weight decay with iterations and objective of its training, and top1 and
    loss on the images that the rule picks on. A split is evaluated only if a rule picks on it.

    Raises UserError if a loss there is not finite.
    """
    picked = {}
    for rule in rules:
        selection = Selection(rule)
        part = data[selection.split]
        correct, losses = (values.tolist() for values in evaluate(heads, part.slices(heads.rows())))
        grid = []
        for minimum, right, loss in zip(minima, correct, losses, strict=True):
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss on {selection.split} of weight_decay={minimum.weight_decay} is not finite; set "
                    "batch_norm to true, or remove the weight decay from the grid"
                )
            score = {"top1": round(right / len(part.labels), 6), "loss": round(loss, 6)}
            grid.append(asdict(minimum) | {"objective": round(minimum.objective, 6)} | score)
        selection.offer(heads, 0, correct, losses)
        minimum = minima[selection.setting]
        selected = {"weight_decay": minimum.weight_decay, "iterations": minimum.iterations}
        picked[rule] = Picked(selection.head, selected, grid)
    return picked


def fit(
    images: Data, rules: list[str], data: dict[str, Data], representation: Card, probe: LbfgsProbe
) -> dict[str, Picked]:
    """Train heads on `images`, for rules that pick among them on a split of `data`; what each picked."""
    classes, most = representation.facts["classes"], probe.iterations
    heads, minima = fit_heads(images, classes, probe.weight_decays, most, probe.tolerance, probe.batch_norm)
    if cut := ", ".join(str(minimum.weight_decay) for minimum in minima if minimum.iterations == most):
        trained_on = f"{len(images.labels)} images, {' and '.join(rules)}"
        print(f"{trained_on}: the most iterations, {most}, for weight decays {cut}", file=sys.stderr)
    return select(heads, minima, data, rules)
