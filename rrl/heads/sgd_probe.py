"""Linear probes by SGD, the protocol of the paper: every weight decay and learning rate trained together."""

from dataclasses import asdict

from rrl.heads.cached import Data
from rrl.heads.probes import Picked, write_probes
from rrl.heads.sgd import Setting, grid_rows, initial_head, train_heads
from rrl.job import Job


def probe(job: Job, started: float) -> None:
    training, facts = job.settings.probe, job.inputs[0].facts
    settings = [Setting(rate, decay) for rate in training.learning_rates for decay in training.weight_decays]
    head = initial_head(facts["classes"], facts["feature_dim"], training.seed)

    def fit(images: Data, rules: list[str], data: dict[str, Data]) -> dict[str, Picked]:
        selections, curves = train_heads(head, images, data, rules, settings, training, training.batch_norm)
        picked = {}
        for rule, selection in selections.items():
            selected = asdict(settings[selection.setting]) | {"epoch": selection.epoch + 1}
            grid = grid_rows(settings, curves[selection.split], len(data[selection.split].labels))
            picked[rule] = Picked(selection, selected, grid)
        return picked

    write_probes(job, fit, started)
