"""Learning rates, one per step, computed before training starts."""

import math

from rrl.config.settings import Constant, Cosine, Step, WarmupCosine

Schedule = Constant | Step | Cosine | WarmupCosine


def learning_rates(schedule: Schedule, base: float, epochs: int, steps_per_epoch: int) -> list[float]:
    """Learning rate of each of the epochs * steps_per_epoch steps, for the base rate `base`."""
    total = epochs * steps_per_epoch
    return [_rate(schedule, base, step, total, step // steps_per_epoch, epochs) for step in range(total)]


def _rate(schedule: Schedule, base: float, step: int, total: int, epoch: int, epochs: int) -> float:
    match schedule:
        case Constant():
            return base
        case Step():
            return base * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
        case Cosine():
            return schedule.final + (base - schedule.final) * (1 + math.cos(math.pi * epoch / epochs)) / 2
        case WarmupCosine():
            warm = schedule.warmup * total
            if step < warm:
                return base * (step + 1) / (warm + 1)
            return base * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
