"""Figures of kind `similarity`: linear CKA between networks, a panel for each target, with the values in it."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.figures.drawing import write_caption
from rrl.job import Card

CELL = 0.31  # inches
LETTER = 0.085  # inches, of the names of the networks
VALUE = 8.5  # points
NARROWEST = 6.0  # inches: the caption has to be read too
COLOUR_MAP = "cividis"  # made for colour-blind readers, and lighter all the way
DARK = 0.5  # below, a value is written in white
NOTE = (
    "Debiased linear CKA of the features of all test images. 1: the same but for a rotation and a scale; 0: no more in "
    "common than by chance. The number after a name: its seed. Fine-tuned networks were fine-tuned on the target of "
    "the panel."
)


def draw(layout: dict[str, Any], similarities: Sequence[Card]) -> tuple[Figure, list[dict[str, Any]]]:
    """The picture. Its values are in the cards."""
    cards = {card.artifact.split("/")[1]: card for card in similarities}
    columns = min(2, len(layout["panels"]))
    rows = -(-len(layout["panels"]) // columns)
    longest = max(len(name) for panel in layout["panels"] for name in panel["networks"])
    most = max(len(panel["networks"]) for panel in layout["panels"])
    side = CELL * most + LETTER * longest + 0.2
    size = (max(columns * side, NARROWEST), rows * (side + 0.2) + 0.6)
    picture, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axes in grid.flat[len(layout["panels"]) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, layout["panels"], strict=False):
        draw_panel(axes, panel, cards[panel["target"]], most)
    write_caption(picture, f"{layout['caption']} {NOTE}")
    return picture, []


def draw_panel(axes: Axes, panel: dict[str, Any], card: Card, most: int) -> None:
    """most : cells that there is room for, in every panel the same, so that all have one size."""
    values = np.array(card.facts["cka"])
    count = len(values)
    axes.pcolormesh(values, cmap=COLOUR_MAP, vmin=0, vmax=1)
    for row, column in np.ndindex(values.shape):
        colour = "white" if values[row, column] < DARK else "black"
        place = column + 0.5, row + 0.5
        axes.text(
            *place, shown(float(values[row, column])), color=colour, fontsize=VALUE, ha="center", va="center_baseline"
        )
    for end in np.cumsum(panel["groups"])[:-1]:
        axes.plot([0, count], [end, end], [end, end], [0, count], color="white", linewidth=2)
    axes.set_xticks(np.arange(count) + 0.5, panel["networks"], rotation=90)
    axes.set_yticks(np.arange(count) + 0.5, panel["networks"])
    axes.tick_params(length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xlim(0, most)
    axes.set_ylim(most, 0)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.set_title(f"{panel['target']}, {card.facts['images']:,} test images", fontsize=10, pad=10)


def shown(value: float) -> str:
    """.97, −.02, 1: two digits, as so many have room."""
    text = f"{abs(value):.2f}".removeprefix("0")
    sign = "−" if value < 0 and text != ".00" else ""
    return "1" if text == "1.00" else f"{sign}{text}"
