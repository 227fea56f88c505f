"""Settings reach a stage byte for byte through Snakemake and a shell, however long they are."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rrl.job import read_card
from tests.helpers.clones import snakemake
from tests.helpers.jobs import Printed, printed

ROOT = "results/tiny"
CONFIG = "workflow/config/tiny.yaml"
COMMON = "workflow/rules/common.smk"
TEXT = "It's \"$(touch pwned)\" `touch pwned` $HOME \\n \\\\ {wildcards} {{x}} %s ~ * ? ! & | ; <x> # é ß 漢字 🎲 \u00a0 -- @x"


def captioned(folder: Path, caption: str) -> None:
    path = folder / CONFIG
    content = yaml.safe_load(path.read_text())
    content["tables"]["table2"]["caption"] = caption
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def table2(folder: Path, *options: str) -> Printed:
    """The one job that runs."""
    output = snakemake(folder, f"{ROOT}/table2.csv", options=("--printshellcmds", *options), quiet=False)
    (job,) = printed(output)
    assert job.stage == "table" and job.made[-1] == Path(ROOT, "table2.json")
    return job


def test_a_hostile_text_reaches_the_card(tiny_copy: Path) -> None:
    captioned(tiny_copy, TEXT)
    job = table2(tiny_copy)
    card = read_card(tiny_copy / ROOT / "table2.json")
    assert card.settings["layout"]["caption"] == " ".join(TEXT.split())
    (settings,) = job.values("--settings")
    assert settings.isascii() and not list(tiny_copy.rglob("pwned*"))
    # Its words are the same however the line is read: by bash, which ran it, and by Python.
    assert shlex.split(shlex.join(job.words)) == list(job.words)


def test_settings_that_are_too_long_for_a_command_line_go_through_a_file(tiny_copy: Path) -> None:
    (longest,) = re.findall(r"^LONGEST = ([\d_]+)", (tiny_copy / COMMON).read_text(), re.MULTILINE)
    caption = " ".join([TEXT, "é" * (int(longest) // 6 + 1)])  # \u00e9 is six letters of JSON
    captioned(tiny_copy, caption)
    job = table2(tiny_copy)
    card = read_card(tiny_copy / ROOT / "table2.json")
    assert card.settings["layout"]["caption"] == " ".join(caption.split())
    assert job.values("--settings") == [f"@{ROOT}/work/arguments/{card.key}.settings.json"]
    assert max(map(len, job.words)) < 200 and (tiny_copy / job.values("--settings")[0][1:]).exists()


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


@pytest.mark.parametrize("name", ["-x", "@x"])
def test_paths_are_not_taken_for_flags_or_files(tiny_copy: Path, name: str) -> None:
    """Of a results root, or in a name of the user's."""
    path = tiny_copy / CONFIG
    path.write_text(path.read_text().replace(f"results: {ROOT}", f"results: '{name}'"))
    snakemake(tiny_copy, f"{name}/targets/mnist.json" if name != "-x" else f"./{name}/targets/mnist.json")
    assert read_card(tiny_copy / name / "targets/mnist.json").artifact == "targets/mnist"
