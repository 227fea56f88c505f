"""Learning rates, one per step, computed before training starts."""

import math
from typing import Literal, TypedDict


class Schedule(TypedDict, total=False):
    """constant; step (times `factor` at each of `milestones`, in epochs); cosine (to `final`, per epoch);
    warmup-cosine (linear for the fraction `warmup` of all steps, then cosine to 0, per step)."""

    name: Literal["constant", "step", "cosine", "warmup-cosine"]
    milestones: list[int]
    factor: float
    final: float
    warmup: float


def learning_rates(schedule: Schedule, base: float, epochs: int, steps_per_epoch: int) -> list[float]:
    """Learning rate of each of the epochs * steps_per_epoch steps, for the base rate `base`."""
    total = epochs * steps_per_epoch
    return [_rate(schedule, base, step, total, step // steps_per_epoch, epochs) for step in range(total)]


def _rate(schedule: Schedule, base: float, step: int, total: int, epoch: int, epochs: int) -> float:
    match schedule["name"]:
        case "constant":
            return base
        case "step":
            return base * schedule["factor"] ** sum(epoch >= milestone for milestone in schedule["milestones"])
        case "cosine":
            return schedule["final"] + (base - schedule["final"]) * (1 + math.cos(math.pi * epoch / epochs)) / 2
        case "warmup-cosine":
            warm = schedule["warmup"] * total
            if step < warm:
                return base * (step + 1) / (warm + 1)
            return base * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
