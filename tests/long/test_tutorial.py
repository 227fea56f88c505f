"""docs/images.md, followed in a fresh clone by its words alone; real ImageNet weights, two of the demo's networks."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, copy_clone
from tests.helpers.documented import exact

PAGE = (CLONE / "docs/images.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The clone, and what each block of commands printed; of blocks of text, the text."""
    folder = copy_clone(tmp_path_factory.mktemp("tutorial"))
    said = []
    for kind, text in BLOCKS:
        if kind == "sh":
            script = f"source .venv/bin/activate\n{text}"
            result = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True)
            assert result.returncode == 0, (text, (result.stdout + result.stderr)[-3000:])
            text = result.stdout
        said.append(text)
    return folder, said


def answer(said: list[str]) -> str:
    (at,) = [number for number, (kind, _) in enumerate(BLOCKS) if kind == "text"]
    return said[at - 1]


def lines_of(followed: tuple[Path, list[str]]) -> tuple[list[str], list[str]]:
    """What the page shows, and what the command printed; it is that of this clone, followed in another."""
    (shown,) = [text for kind, text in BLOCKS if kind == "text"]
    printed = answer(followed[1]).replace(f" --snakefile {CLONE}/Snakefile", "")
    return shown.splitlines(), printed.splitlines()


def test_the_page_shows_what_the_command_prints(followed: tuple[Path, list[str]]) -> None:
    """The same lines, however the numbers and the widths of columns that depend on them are."""
    shown, printed = ([re.split(r": |\s{2,}|, the network", line)[0] for line in lines] for lines in lines_of(followed))
    assert shown == printed


@exact
def test_the_page_shows_the_numbers_that_the_command_prints(followed: tuple[Path, list[str]]) -> None:
    """To the last digit: the command's own arithmetic is native, but tests set the variables of the portable one."""
    shown, printed = lines_of(followed)
    assert shown == printed


def test_the_printed_numbers_are_those_of_the_records(followed: tuple[Path, list[str]]) -> None:
    folder, said = followed
    lines = answer(said).splitlines()
    networks = ["mobilenet_v2-b0353104", "erm-s0", "erm-s1"]
    names = {network: f"{network}-s0/linear_probe" for network in networks}
    names |= {"all 3": "all/linear_probe", "ensemble": "all/ensemble", "best subset": "best/linear_probe"}
    for start, record in names.items():
        (line,) = [line for line in lines if re.match(rf"{re.escape(start)}\b[^:]*(:.*)?  ", line)]
        content = json.loads((folder / f"results/clothes/records/clothes/{record}.json").read_text())
        result = content["facts"]["results"][0]
        val, test = (float(number) for number in re.findall(r"\d+\.\d", line.split("  ", 1)[1])[:2])
        assert (result["selection"], result["n_val"], result["n_test"]) == ("heldout", 40, 800)
        assert (val, test) == pytest.approx((100 * result["val_top1"], 100 * result["top1"]), abs=0.0501)
    table = (folder / "results/clothes/comparison.md").read_text()
    assert all(f"| {network} " in table for network in [*networks, "CAT3", "CAT3^sub", "best subset on val"])


def test_real_weights_help(followed: tuple[Path, list[str]]) -> None:
    """MobileNetV2's ImageNet features are good ones: wrong weights or a wrong transform would show here."""
    folder, _ = followed
    record = json.loads(
        (folder / "results/clothes/records/clothes/mobilenet_v2-b0353104-s0/linear_probe.json").read_text()
    )
    assert record["facts"]["results"][0]["top1"] > 0.9
