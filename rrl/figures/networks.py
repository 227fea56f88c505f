"""Figures of kind `networks`: accuracy over the number of networks.

A marker is the mean over the seeds, or windows of seeds, of a group, a small dot each of them. Bars are the 95 %
interval of the mean from the number of test images alone (Wilson), as in the tables. Where windows overlap, how far
their dots lie apart is not a standard error, so no bar is made of it. A series of one group is a line across.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.cells import top1_of
from rrl.figures.drawing import COLOURS, MARKERS, of_paper, of_spread, panels
from rrl.job import Card
from rrl.statistics import interval

NOTE = (
    "Markers: the mean; bars: its 95 % interval from the number of test images alone (Wilson), which says nothing of "
    "other seeds. Dots: each seed or window of seeds. "
)
APART = 0.07  # between series at the same number of networks


def points(
    series: dict[str, Any], panel: dict[str, Any], selection: str, records: Sequence[Card]
) -> list[dict[str, Any]]:
    """Of each group: networks, top1 of each representation by name, their mean, and its interval; percent."""
    accuracies = top1_of(records)
    where = panel["target"], str(panel["shots"])
    result = []
    for names, transfer, count in zip(series["groups"], series["transfers"], series["networks"], strict=True):
        top1 = {name: 100 * accuracies[*where, name, transfer, selection][0] for name in names}
        images = accuracies[*where, names[0], transfer, selection][1]
        mean = statistics.fmean(top1.values())
        low, high = interval(mean / 100, images)
        result.append(
            {"networks": count, "top1": top1, "mean": mean, "interval": [100 * low, 100 * high], "n_test": images}
        )
    return result


def draw(layout: dict[str, Any], records: Sequence[Card]) -> tuple[Figure, list[dict[str, Any]]]:
    """The picture, and its points."""
    drawn: list[dict[str, Any]] = []

    def draw_panel(axes: Axes, row: dict[str, Any], panel: dict[str, Any]) -> None:
        curves = [series for series in row["series"] if len(series["groups"]) > 1]
        ticks = sorted({count for series in curves for count in series["networks"]})
        for number, series in enumerate(row["series"]):
            shown = points(series, panel, layout["selection"], records)
            colour = COLOURS[number % len(COLOURS)]
            if series in curves:
                shift = APART * (curves.index(series) - (len(curves) - 1) / 2)
                draw_curve(axes, number, series, shown, shift)
                draw_paper(axes, series, shown, series["paper"][row["panels"].index(panel)], colour)
            else:
                axes.axhline(shown[0]["mean"], label=series["label"], color=colour, linewidth=1.2, linestyle="-.")
            labels = {"title": row["title"], **panel, "series": series["label"]}
            drawn.extend({**labels, **point} for point in shown)
        axes.set_xticks(ticks)

    note = NOTE + of_spread(layout, "Windows")
    return panels(layout, draw_panel, "number of networks", "top-1 accuracy (%)", note), drawn


def draw_curve(axes: Axes, number: int, series: dict[str, Any], shown: list[dict[str, Any]], shift: float) -> None:
    colour = COLOURS[number % len(COLOURS)]
    x = [point["networks"] + shift for point in shown]
    mean = [point["mean"] for point in shown]
    error = [
        [point["mean"] - point["interval"][0] for point in shown],
        [point["interval"][1] - point["mean"] for point in shown],
    ]
    axes.errorbar(
        x,
        mean,
        yerr=error,
        label=series["label"],
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        markersize=5,
        markerfacecolor="white" if series["ensemble"] else None,
        linestyle="--" if series["ensemble"] else "-",
        linewidth=1.4,
        capsize=2.5,
        elinewidth=0.9,
    )
    dots = [(at + APART / 2, top1) for at, point in zip(x, shown, strict=True) for top1 in point["top1"].values()]
    axes.plot(*zip(*dots, strict=True), linestyle="none", marker=".", markersize=4, color=colour, alpha=0.5)


def draw_paper(
    axes: Axes, series: dict[str, Any], shown: list[dict[str, Any]], values: list[float | None], colour: str
) -> None:
    """The paper's values; nothing where it has none."""
    known = [(point["networks"], value) for point, value in zip(shown, values, strict=True) if value is not None]
    if known:
        x, y = zip(*known, strict=True)
        axes.plot(x, y, label=of_paper(series), color=colour, marker="_", markersize=9, linestyle=":")
