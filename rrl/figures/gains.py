"""Figures of kind `gains`: what each added network gains, on the same test images.

A marker is the accuracy of one representation less that of the same without its last networks (seeds 0, 1 and 2 less
seeds 0 and 1). Its bar is the 95 % interval of the difference on the same test images (Tango's), as `rrl
compare-records` has it: for these very networks. A line joins the means over seeds or windows of seeds. Where windows
overlap, how far the markers lie apart is not a standard error.
"""

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.differences import compare_records
from rrl.figures.drawing import COLOURS, MARKERS, of_spread, panels
from rrl.job import Card

NOTE = (
    "Each marker: one set of networks less the same without the last; bars: 95 % intervals of the difference on the "
    "same test images (Tango), for these very networks. Lines: means. "
)
WIDTH = 0.7  # that the markers of one step take


class Gains:
    """Differences of records, each pair compared once."""

    def __init__(self, records: Sequence[Card]):
        self.records = {record.artifact: record for record in records}
        self.known: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def gain(self, after: str, before: str, shots: int | str, selection: str) -> dict[str, Any]:
        """Of two records by artifact: gain, interval in percentage points, and the number of test images."""
        if (after, before) not in self.known:
            self.known[after, before] = compare_records(self.records[after], [self.records[before]])
        (entry,) = (
            entry
            for entry in self.known[after, before]
            if (entry["shots"], entry["selection"]) == (str(shots), selection)
        )
        interval = [100 * bound for bound in entry["difference_interval"]]
        return {"gain": 100 * entry["difference"], "interval": interval, "n_test": entry["n_test"]}


def steps(series: dict[str, Any], panel: dict[str, Any], selection: str, gains: Gains) -> list[list[dict[str, Any]]]:
    """Of each step from a group to the next: the gain of each pair of representations."""
    result = []
    pairs = itertools.pairwise(zip(series["transfers"], series["networks"], strict=True))
    for ((transfer_before, few), (transfer, many)), names in zip(pairs, series["pairs"], strict=True):
        every = []
        for before, after in names:
            where = f"records/{panel['target']}"
            step = gains.gain(
                f"{where}/{after}/{transfer}", f"{where}/{before}/{transfer_before}", panel["shots"], selection
            )
            every.append({"from": few, "to": many, "before": before, "after": after, **step})
        result.append(every)
    return result


def draw(layout: dict[str, Any], records: Sequence[Card]) -> tuple[Figure, list[dict[str, Any]]]:
    """The picture, and its points."""
    gains = Gains(records)
    drawn: list[dict[str, Any]] = []

    def draw_panel(axes: Axes, row: dict[str, Any], panel: dict[str, Any]) -> None:
        every = [steps(series, panel, layout["selection"], gains) for series in row["series"]]
        names = list(dict.fromkeys((step[0]["from"], step[0]["to"]) for shown in every for step in shown))
        most = [max(len(step) for step in shown) for shown in every]  # markers side by side, of each series
        axes.axhline(0, color="0.4", linewidth=0.8)
        for number, (series, shown) in enumerate(zip(row["series"], every, strict=True)):
            first = (sum(most[:number]) + 0.5 * number) / (sum(most) + 0.5 * len(most)) * WIDTH - WIDTH / 2
            apart = WIDTH / (sum(most) + 0.5 * len(most))
            places = [names.index((step[0]["from"], step[0]["to"])) + first for step in shown]
            draw_series(axes, number, series, shown, places, apart)
            labels = {"title": row["title"], **panel, "series": series["label"]}
            drawn.extend({**labels, **point} for step in shown for point in step)
        axes.set_xticks(range(len(names)), [f"{few} → {many}" for few, many in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
        for border in range(1, len(names)):
            axes.axvline(border - 0.5, color="0.8", linewidth=0.6)

    y_label = "gain in top-1 accuracy\n(percentage points)"
    note = NOTE + of_spread(layout, "Sets")
    return panels(layout, draw_panel, "number of networks, before → after", y_label, note, numbers=False), drawn


def draw_series(
    axes: Axes,
    number: int,
    series: dict[str, Any],
    shown: list[list[dict[str, Any]]],
    places: list[float],
    apart: float,
) -> None:
    """places : where the first marker of each step is; the others are `apart`."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    fill = "white" if series["ensemble"] else colour
    middles = [place + apart * (len(step) - 1) / 2 for place, step in zip(places, shown, strict=True)]
    means = [statistics.fmean(point["gain"] for point in step) for step in shown]
    axes.plot(middles, means, color=colour, linewidth=1.0, linestyle="--" if series["ensemble"] else "-", alpha=0.6)
    points = [
        (place + apart * k, step) for place, all_of in zip(places, shown, strict=True) for k, step in enumerate(all_of)
    ]
    axes.errorbar(
        [at for at, _ in points],
        [step["gain"] for _, step in points],
        yerr=[
            [step["gain"] - step["interval"][0] for _, step in points],
            [step["interval"][1] - step["gain"] for _, step in points],
        ],
        label=series["label"],
        color=colour,
        marker=marker,
        markersize=4,
        markerfacecolor=fill,
        linestyle="none",
        elinewidth=0.9,
    )
