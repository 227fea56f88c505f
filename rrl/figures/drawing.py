"""How all pictures are drawn: colours, markers, panels, and files that have the same bytes each time."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.cells import SELECTION_TEXT
from rrl.store.files import complete

# Okabe and Ito, "Color universal design" (2008): distinct for colour-blind readers; grey in place of their yellow,
# which is too pale for lines.
COLOURS = ["#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
# Text as text, no formulas in it, and nothing random or of today in the file: the same bytes each time.
plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rrl", "font.size": 8, "text.parse_math": False})

DrawPanel = Callable[[Axes, dict[str, Any], dict[str, Any]], None]


def panels(
    layout: dict[str, Any], draw: DrawPanel, x_label: str, y_label: str, note: str, numbers: bool = True
) -> Figure:
    """A row of panels for each row of the layout, with its legend; `draw` draws a panel of a row.

    numbers : whether x is a number, so that all panels have one scale; else it is a name.
    """
    columns = max(len(row["panels"]) for row in layout["rows"])
    size = (4.0 * columns + 1.9, 2.9 * len(layout["rows"]) + 0.5)
    picture, grid = plt.subplots(
        len(layout["rows"]), columns, figsize=size, squeeze=False, sharex=numbers, layout="constrained"
    )
    for axes_of_row, row in zip(grid, layout["rows"], strict=True):
        for number, axes in enumerate(axes_of_row):
            if number < len(row["panels"]):
                panel = row["panels"][number]
                draw(axes, row, panel)
                shots = "" if panel["shots"] == "all" else f", {panel['shots']} images per class"
                axes.set_title(f"{row['title']}: {panel['target']}{shots}", fontsize=9)
                axes.grid(visible=True, axis="both" if numbers else "y", color="0.9", linewidth=0.6)
                axes.tick_params(labelbottom=True)
                axes.set_axisbelow(True)
                axes.spines[["top", "right"]].set_visible(False)
            else:
                axes.set_axis_off()
        axes_of_row[0].set_ylabel(y_label)
        last = axes_of_row[len(row["panels"]) - 1]
        entries = dict(zip(*reversed(last.get_legend_handles_labels()), strict=True))
        labels = [
            label for series in row["series"] for label in (series["label"], of_paper(series)) if label in entries
        ]
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "frameon": False}
        last.legend([entries[label] for label in labels], labels, **place)
    for axes_of_column in grid.T:
        [axes for axes in axes_of_column if axes.axison][-1].set_xlabel(x_label)
    rule = f"Selection {layout['selection']}: {SELECTION_TEXT[layout['selection']]}."
    write_caption(picture, f"{layout['caption']} {rule} {note}")
    return picture


def of_paper(series: dict[str, Any]) -> str:
    """What the paper's values of a series are called."""
    return f"the paper: {series['label']}"


def of_spread(layout: dict[str, Any], sets: str) -> str:
    """What the spread of the marks of one group means."""
    return (
        f"{sets} share networks, so their spread is no standard error."
        if layout["overlap"]
        else (f"{sets} of one size share no network.")
    )


def write_caption(picture: Figure, text: str) -> None:
    """Above the picture, in as many lines as its width needs."""
    characters = round(14 * picture.get_figwidth())
    picture.suptitle("\n".join(textwrap.wrap(text, characters)), fontsize=9)


def save(picture: Figure, svg: Path) -> None:
    """As SVG, and as PNG beside it."""
    with complete(svg) as partial:
        picture.savefig(partial, format="svg", metadata={"Date": None})
    with complete(svg.with_suffix(".png")) as partial:
        picture.savefig(partial, format="png", dpi=160)
    plt.close(picture)
