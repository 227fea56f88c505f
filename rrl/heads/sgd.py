"""Linear heads by SGD, the protocol of the paper: every weight decay and learning rate trained together."""

from rrl.config.settings import Probe
from rrl.heads.cached import Data
from rrl.heads.picking import Picked
from rrl.heads.training import grid_of, grid_rows, initial_head, selected, train_heads
from rrl.job import Card
from rrl.selection import SELECTED_ON

RULES = tuple(SELECTED_ON)


def fit(images: Data, rules: list[str], data: dict[str, Data], representation: Card, probe: Probe) -> dict[str, Picked]:
    """Train heads on `images`, for rules that pick among them on a split of `data`; what each picked."""
    settings = grid_of(probe.learning_rates, probe.weight_decays)
    head = initial_head(representation.facts["classes"], images.features.shape[2], probe.seed)
    selections, curves = train_heads(head, images, data, rules, settings, probe, probe.batch_norm)
    picked = {}
    for rule, selection in selections.items():
        grid = grid_rows(settings, curves[selection.split], len(data[selection.split].labels))
        picked[rule] = Picked(selection.head, selected(selection, settings), grid)
    return picked
