"""Stage `figure`: accuracy over the parameters of the trunks, as SVG and PNG, in the manner of the paper's figures.

A row of panels is one kind of transfer, a panel one target. Groups of a series are joined by a line, dashed
for members trained separately; bars are the standard deviation (ddof 1) over seeds or windows of seeds.
Every series has a marker of its own, so that the figure reads without colours.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from rrl.cells import SELECTION_TEXT, top1_of
from rrl.command import Command, run
from rrl.files import complete, sha256_of_file
from rrl.provenance import Card
from rrl.transfers import SEPARATE

# Okabe and Ito, "Color universal design" (2008): distinct for colour-blind readers; grey in place of their yellow,
# which is too pale for lines.
COLOURS = ["#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]


def points(
    series: dict[str, Any], panel: dict[str, Any], selection: str, records: Sequence[Card]
) -> list[tuple[int, float, float]]:
    """(parameters, mean, std) of each group in percent; std is 0 where there is one representation."""
    found = top1_of(records)
    parameters = {record.facts["representation"]: record.facts["parameters"] for record in records}
    where = panel["target"], str(panel["shots"])
    result = []
    for names in series["groups"]:
        top1 = [100 * found[*where, name, series["transfer"], selection][0] for name in names]
        spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
        result.append((parameters[names[0]], statistics.fmean(top1), spread))
    return result


def draw_paper(
    axes: Axes, number: int, label: str, shown: list[tuple[int, float, float]], values: list[float | None]
) -> None:
    """The paper's values, at the parameters of ours; nothing where it has none."""
    known = [(parameters, value) for (parameters, _, _), value in zip(shown, values, strict=True) if value is not None]
    if known:
        x, y = zip(*known, strict=True)
        style: dict[str, Any] = {"marker": "_", "markersize": 9, "linestyle": ":", "linewidth": 1.2}
        axes.plot(x, y, label=f"the paper: {label}", color=COLOURS[number % len(COLOURS)], **style)


def draw(axes: Axes, row: dict[str, Any], panel: dict[str, Any], selection: str, records: Sequence[Card]) -> None:
    for number, series in enumerate(row["series"]):
        shown = points(series, panel, selection, records)
        x, y, error = zip(*shown, strict=True)
        draw_paper(axes, number, series["label"], shown, series["paper"][row["panels"].index(panel)])
        axes.errorbar(
            x,
            y,
            yerr=error,
            label=series["label"],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            markerfacecolor="white" if series["transfer"] in SEPARATE.values() else None,
            linestyle="none" if len(x) == 1 else "--" if series["transfer"] in SEPARATE.values() else "-",
            linewidth=1.4,
            capsize=2.5,
            elinewidth=0.9,
        )
    shots = "" if panel["shots"] == "all" else f", {panel['shots']} images per class"
    axes.set_title(f"{row['title']}: {panel['target']}{shots}", fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("figure", __doc__)
    command.card("--records", "the records of all points", many=True)
    command.setting("--layout", json.loads, "JSON: caption, selection and rows of panels with their series")
    command.place("--svg", Path, "picture to write; a PNG is written beside it")
    command.place("--output", Path, "card to write")
    arguments, job = command.parse(argv)

    layout, records = arguments.layout, arguments.records
    # Text as text, no formulas in it, and nothing random or of today in the file: the same bytes each time.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rrl", "font.size": 8, "text.parse_math": False})
    columns = max(len(row["panels"]) for row in layout["rows"])
    size = (4.0 * columns + 1.9, 2.9 * len(layout["rows"]) + 0.5)
    picture, grid = plt.subplots(len(layout["rows"]), columns, figsize=size, squeeze=False, layout="constrained")
    for axes_of_row, row in zip(grid, layout["rows"], strict=True):
        for number, axes in enumerate(axes_of_row):
            if number < len(row["panels"]):
                draw(axes, row, row["panels"][number], layout["selection"], records)
            else:
                axes.set_axis_off()
        axes_of_row[0].set_ylabel("top-1 accuracy (%)")
        axes_of_row[len(row["panels"]) - 1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    for axes in grid[-1]:
        axes.set_xlabel("parameters of the trunks")
    rule = f"Selection {layout['selection']}: {SELECTION_TEXT[layout['selection']]}. Bars: standard deviation."
    picture.suptitle(f"{layout['caption']} {rule}", fontsize=9)
    with complete(arguments.svg) as partial:
        picture.savefig(partial, format="svg", metadata={"Date": None})
    with complete(arguments.svg.with_suffix(".png")) as partial:
        picture.savefig(partial, format="png", dpi=160)
    facts = {"records": {record.artifact: sha256_of_file(record.path) for record in records}}
    job.write_card(arguments.output, f"figures/{arguments.svg.stem}", sha256_of_file(arguments.svg), facts)


if __name__ == "__main__":
    run(main)
