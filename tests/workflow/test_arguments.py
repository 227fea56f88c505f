"""Settings reach a stage byte for byte through Snakemake and a shell, however long they are."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from rrl.job import read_card
from tests.helpers.clones import copy_clone, snakemake
from tests.helpers.jobs import HOSTILE, Printed, printed

ROOT = "results/tiny"
CONFIG = "workflow/config/tiny.yaml"
COMMON = "workflow/rules/common.smk"


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The config, with another entry of table2."""
    path = folder / CONFIG
    content = yaml.safe_load(path.read_text())
    change(content["tables"]["table2"])
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def table2(folder: Path, *options: str) -> Printed:
    """The one job that runs."""
    output = snakemake(folder, f"{ROOT}/table2.csv", options=("--printshellcmds", *options), quiet=False)
    (job,) = printed(output)
    assert job.stage == "table" and job.made[-1] == Path(ROOT, "table2.json")
    return job


def test_a_hostile_text_reaches_the_card(tiny_copy: Path) -> None:
    changed(tiny_copy, lambda table: table.update(caption=HOSTILE))
    job = table2(tiny_copy)
    card = read_card(tiny_copy / ROOT / "table2.json")
    assert card.settings["layout"]["caption"] == " ".join(HOSTILE.split())
    (settings,) = job.values("--settings")
    assert settings.isascii() and not list(tiny_copy.rglob("pwned*"))
    # Its words are the same however the line is read: by bash, which ran it, and by Python.
    assert shlex.split(shlex.join(job.words)) == list(job.words)


def test_settings_that_are_too_long_for_a_command_line_go_through_a_file(tiny_copy: Path) -> None:
    rows = [{"method": f"{number} {HOSTILE}", "group": "random", "ensemble": False} for number in range(200)]
    changed(tiny_copy, lambda table: table["rows"].extend(rows))
    job = table2(tiny_copy)
    card = read_card(tiny_copy / ROOT / "table2.json")
    methods = [row["method"] for row in card.settings["layout"]["rows"]]
    assert methods[-len(rows) :] == [" ".join(row["method"].split()) for row in rows]
    (settings,) = job.values("--settings")
    assert settings == f"@{ROOT}/work/arguments/{card.key}.settings.json"
    assert max(map(len, job.words)) < 200 and len((tiny_copy / settings[1:]).read_text()) > 30_000


def test_inputs_that_are_too_long_for_a_command_line_go_through_a_file(tiny_copy: Path) -> None:
    """The results are the same, and the key."""
    made = [tiny_copy / ROOT / f"table2.{suffix}" for suffix in ("csv", "md", "tex", "json")]
    before = [path.read_bytes() for path in made]
    path = tiny_copy / COMMON
    text = path.read_text()
    path.write_text(re.sub(r"^LONGEST = [\d_]+", "LONGEST = 100", text, flags=re.MULTILINE))
    assert path.read_text() != text
    for file in made:
        file.unlink()
    job = table2(tiny_copy, "--rerun-triggers", "mtime")  # other jobs have other words now, too
    key = read_card(tiny_copy / ROOT / "table2.json").key
    assert job.values("--inputs") == [f"@{ROOT}/work/arguments/{key}.inputs.json"]
    assert [file.read_bytes() for file in made] == before


def test_a_path_that_begins_like_the_name_of_a_file_of_arguments(tmp_path: Path) -> None:
    clone = copy_clone(tmp_path / "clone")
    path = clone / CONFIG
    path.write_text(path.read_text().replace(f"results: {ROOT}", "results: '@x'"))
    snakemake(clone, "@x/networks/random-s0.json")
    assert [source["artifact"] for source in read_card(clone / "@x/networks/random-s0.json").inputs] == [
        "targets/fashion-source"
    ]
