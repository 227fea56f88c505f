"""Figures of kind `parameters`: accuracy over the parameters of the trunks, in the manner of the paper's figures.

A row of panels is one kind of transfer, a panel one target. Groups of a series are joined by a line, dashed
for members trained separately; bars are the standard deviation (ddof 1) over seeds or windows of seeds.
Every series has a marker of its own, so that the figure reads without colours.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from rrl.cells import top1_of
from rrl.figures.drawing import COLOURS, MARKERS, of_paper, panels
from rrl.job import Card


def points(
    series: dict[str, Any], panel: dict[str, Any], selection: str, records: Sequence[Card]
) -> list[tuple[int, float, float]]:
    """(parameters, mean, std) of each group in percent; std is 0 where there is one representation."""
    accuracies = top1_of(records)
    parameters = {record.facts["representation"]: record.facts["parameters"] for record in records}
    where = panel["target"], str(panel["shots"])
    result = []
    for names, transfer in zip(series["groups"], series["transfers"], strict=True):
        top1 = [100 * accuracies[*where, name, transfer, selection][0] for name in names]
        spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
        result.append((parameters[names[0]], statistics.fmean(top1), spread))
    return result


def draw_paper(
    axes: Axes,
    number: int,
    series: dict[str, Any],
    shown: Sequence[tuple[int, float, float]],
    values: list[float | None],
) -> None:
    """The paper's values, at the parameters of ours; nothing where it has none."""
    known = [(parameters, value) for (parameters, _, _), value in zip(shown, values, strict=True) if value is not None]
    if known:
        x, y = zip(*known, strict=True)
        style: dict[str, Any] = {"marker": "_", "markersize": 9, "linestyle": ":", "linewidth": 1.2}
        axes.plot(x, y, label=of_paper(series), color=COLOURS[number % len(COLOURS)], **style)


def draw(layout: dict[str, Any], records: Sequence[Card]) -> tuple[Figure, list[dict[str, Any]]]:
    """The picture, and its points."""
    drawn: list[dict[str, Any]] = []

    def draw_panel(axes: Axes, row: dict[str, Any], panel: dict[str, Any]) -> None:
        for number, series in enumerate(row["series"]):
            shown = points(series, panel, layout["selection"], records)
            x, y, error = zip(*shown, strict=True)
            draw_paper(axes, number, series, shown, series["paper"][row["panels"].index(panel)])
            axes.errorbar(
                x,
                y,
                yerr=error,
                label=series["label"],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                markerfacecolor="white" if series["ensemble"] else None,
                linestyle="none" if len(x) == 1 else "--" if series["ensemble"] else "-",
                linewidth=1.4,
                capsize=2.5,
                elinewidth=0.9,
            )
            labels = {"title": row["title"], **panel, "series": series["label"]}
            drawn.extend({**labels, "parameters": at, "top1": mean, "std": std} for at, mean, std in shown)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())

    note = "Bars: standard deviation over seeds or windows of seeds; none where there is one."
    return panels(layout, draw_panel, "parameters of the trunks", "top-1 accuracy (%)", note), drawn
