"""benchmarks/views.py: the cache against on-line augmentation, and the numbers in the docs."""

import itertools
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import views
from rrl.config.settings import Cosine, HeadTraining, PaddedCrop
from rrl.data.demo import open_part
from rrl.data.images import Split
from rrl.heads.training import Setting
from rrl.networks.trunks import JointTrunk, build_trunk
from tests.helpers.clones import CLONE

EPOCHS = 4


@pytest.fixture(scope="module")
def task() -> views.Task:
    """60 digits, a CAT2 of untrained networks, in float32 throughout."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    trunk = JointTrunk([build_trunk("resnet8"), build_trunk("resnet8")]).eval()
    digits = open_part("mnist-5k", "all", CLONE / "data")
    parts = [Split(digits.images[start::50][:60], digits.labels[start::50][:60].astype("int64")) for start in range(3)]
    transform = PaddedCrop(0.286, 0.353, 2, True)
    val, test = (views.extracted(trunk, part, transform, [None], "float32") for part in parts[1:])
    training = HeadTraining(EPOCHS, 0, 20, 0.9, True, Cosine("cosine", 0.0), 0)
    settings = [Setting(0.1, decay) for decay in (0.0, 0.01, 1.0)]
    return views.Task(trunk, transform, parts[0], val, test, settings, training)


def test_a_view_for_each_epoch_is_on_line_augmentation(task: views.Task) -> None:
    """The same draws given: the same features, whatever the batch, and the same head in the end."""
    draws = [f"epoch {epoch}" for epoch in range(EPOCHS)]
    cached = views.extracted(task.trunk, task.train, task.transform, [*draws], "float32").features
    assert not torch.equal(cached[0], cached[1])
    order = torch.randperm(len(task.train.labels))
    for view, draw in zip(cached, draws, strict=True):
        for chosen in order.split(7):
            torch.testing.assert_close(view[chosen], views.online_features(task, chosen, draw), atol=1e-6, rtol=1e-6)
    from_cache, _ = views.from_cache(task, [*draws], "float32")
    online, _ = views.online(task, draws)
    torch.testing.assert_close(from_cache, online, atol=1e-3, rtol=1e-3)
    other, _ = views.online(task, draws[::-1])
    assert (from_cache - other).abs().max() > 0.01


def test_the_command_runs(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = tiny / "results/tiny/networks"
    command = f"--networks {networks} --output {tmp_path} --data-root {tiny / 'data'} --targets mnist --shots 5"
    views.main(shlex.split(f"{command} --sizes 1 2 --views 1 2 --epochs 3 --seeds 2"))
    summary = pd.read_csv(tmp_path / "views.csv", dtype={"shots": str})
    assert capsys.readouterr().out.strip() == views.table(summary)
    cells = summary[summary["target"] == "mnist"].set_index(["augmentation", "method", "views"]).sort_index()
    assert list(cells.index) == list(itertools.product(["crop 1", "crop 2, flip"], ["CAT2", "ERM"], [-1, 0, 1, 2, 3]))
    for (augmentation, method, count), row in cells.iterrows():
        online = cells.loc[(augmentation, method, 0)]
        assert row["difference"] == pytest.approx(row["top1"] - online["top1"], abs=0.002)
        assert row["low"] <= row["difference"] <= row["high"] and row["networks"] == (2 if method == "ERM" else 1)
        assert (row["time"] == row["features_time"] == 1) if count == 0 else row["time"] > 0


def numbers(svg: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", svg)]


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def test_the_figure_in_the_docs_is_that_of_the_csv(tmp_path: Path) -> None:
    views.draw(pd.read_csv(CLONE / "docs/views.csv", dtype={"shots": str}), tmp_path / "views.svg")
    ours, theirs = (CLONE / "docs/views.svg").read_text(), (tmp_path / "views.svg").read_text()
    assert words(ours) == words(theirs)
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=0.01)


def test_the_docs_have_the_numbers_of_the_csv() -> None:
    """The table as the command prints it; every other number with a decimal point is in the CSV's rows `all`."""
    summary = pd.read_csv(CLONE / "docs/views.csv", dtype={"shots": str})
    shown = [path for path in [CLONE / "README.md", *CLONE.glob("docs/*.md")] if "views.svg" in path.read_text()]
    assert shown
    pooled = summary[summary["target"] == "all"].select_dtypes("number").abs().to_numpy().ravel()
    allowed = {f"{value:.{digits}f}" for value in pooled for digits in (1, 2)}
    for path in shown:
        section = next(
            part for part in re.split(r"^(?=#)", path.read_text(), flags=re.MULTILINE) if "views.svg" in part
        )
        assert views.table(summary) in section
        prose = section.replace(views.table(summary), "")
        assert set(re.findall(r"\d+\.\d+", prose)) <= allowed
