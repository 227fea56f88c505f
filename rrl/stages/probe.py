"""Stage `probe`: linear heads on a representation; every weight decay, learning rate, number of shots
and both selection rules in one job. Pixels and trunks are never touched.

paper   : trains on train and val (with shots: on the shots), picks setting and epoch on test, as published.
heldout : trains on train (with shots: on the shots), picks setting and epoch on val, then reads test.
With shots both rules train on the same images, so one training serves both.
"""

from collections.abc import Sequence
from dataclasses import asdict

from rrl.command import build, run
from rrl.heads.cached import Data
from rrl.heads.probes import Picked, probe_command, write_probes
from rrl.heads.sgd import HEAD_TRAINING_FLAGS, HeadTraining, Setting, grid_rows, initial_head, train_heads


def main(argv: Sequence[str] | None = None) -> None:
    command = probe_command("probe", __doc__)
    command.setting("--learning-rates", float, "base learning rates of the grid", many=True)
    command.fields(HeadTraining, HEAD_TRAINING_FLAGS)
    arguments, job = command.parse(argv)

    training, facts = build(HeadTraining, arguments), arguments.representation.facts
    settings = [Setting(rate, decay) for rate in arguments.learning_rates for decay in arguments.weight_decays]
    head = initial_head(facts["classes"], facts["feature_dim"], training.seed)

    def fit(images: Data, rules: list[str], data: dict[str, Data]) -> dict[str, Picked]:
        selections, curves = train_heads(head, images, data, rules, settings, training, arguments.batch_norm)
        picked = {}
        for rule, selection in selections.items():
            selected = asdict(settings[selection.setting]) | {"epoch": selection.epoch + 1}
            grid = grid_rows(settings, curves[selection.split], len(data[selection.split].labels))
            picked[rule] = Picked(selection, selected, grid)
        return picked

    write_probes(arguments, job, fit)


if __name__ == "__main__":
    run(main)
