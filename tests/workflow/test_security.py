"""Names and texts of a config, and files from outside, are data: no shell runs them, and nothing leaves its folder."""

import copy
import json
import re
import resource
import shlex
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from rrl.config.load import load_config
from rrl.config.settings import dump, parse
from rrl.data.image_sources import open_source
from rrl.data.pictures import Unreadable, read_picture
from rrl.errors import UserError
from rrl.networks import build
from rrl.plan import Plan
from rrl.store.files import sha256_of_file
from tests.helpers.clones import CLONE, copy_clone, run_snakemake

HOSTILE = [
    "$(touch pwned)", "`touch pwned`", "; touch pwned #", "' ; touch pwned ; '", '"; touch pwned; "', "../../pwned", "-rf",
    "a\ntouch pwned", "{wildcards.x}", '{os.system("touch pwned")}', "%s", "~", "*", "$x$ \\frac{$", "<script>x</script> | & _",
    "| touch pwned", "& touch pwned", "\x00", "\x1b[31m", "\ud800", "{", "}}", "\\", "# touch pwned", "![x](http://x)",
]  # fmt: skip
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
TINY = yaml.safe_load((CLONE / "workflow/config/tiny.yaml").read_text())
TRANSFORM = {
    "size": 28,
    "resize": 28,
    "scale": [0.9, 1.0],
    "interpolation": "bilinear",
    "flip": False,
    "mean": [0.5],
    "std": [0.5],
}
# Everything that tiny lacks: images and networks of the user, of libraries and of downloads, and a student.
OTHER: dict[str, Any] = {
    "results": "results/other",
    "data": "data",
    "checkpoints": "checkpoints",
    "arithmetic": "native",
    "targets": {
        name: {
            "dataset": "images",
            "source": name,
            "fingerprint": "0123456789abcdef",
            "unreadable": "stop",
            "val_fraction": 0.2,
            "test_fraction": 0.2,
            "split_seed": 0,
            "shots": ["all"],
            "transform": transform,
            "probe": "tiny",
        }
        for name, transform in (("pets", "network"), ("source", TRANSFORM))
    },
    "recipes": TINY["recipes"],
    "networks": {
        "mine": {
            "origin": "user",
            "arch": "resnet8",
            "format": "auto",
            "files": [{"path": "mine.safetensors", "sha256": "0" * 64}],
            "transform": TRANSFORM,
        },
        "library": {"origin": "library", "models": ["timm/resnet18.a1_in1k"], "transform": TRANSFORM},
        "published": {"origin": "download", "checkpoint": "supervised-resnet50", "seeds": [0]},
        "random": {"origin": "random", "arch": "resnet8", "target": "source", "batch_size": 8, "seeds": [0, 1]},
        "student": {
            "origin": "distill",
            "arch": "resnet8",
            "target": "source",
            "recipe": "erm",
            "teachers": ["random-s0", "random-s1"],
            "temperature": 2.0,
            "seeds": [0],
        },
    },
    "features": {"views": 1, "dtype": "float16", "precision": "float32", "batch_size": 50},
    "representations": {
        "both": {"members": ["mine-s0", "library-s0"]},
        "best": {"best_subset_of": ["mine-s0", "library-s0"]},
    },
    "probes": TINY["probes"],
    "grid": "own",
    "finetunings": {},
    "tables": {
        "own": {
            "caption": "A caption",
            "selections": ["heldout"],
            "windows": "all",
            "paper": None,
            "columns": [{"transfer": "linear_probe", "target": "pets", "shots": "all"}],
            "rows": [
                {"method": "MINE", "group": "mine", "ensemble": False},
                {"method": "BOTH", "group": "both", "ensemble": False},
                {"method": "BEST", "group": "best", "ensemble": False},
            ],
        },
        "others": {
            "caption": "A caption",
            "selections": ["heldout"],
            "windows": "all",
            "paper": None,
            "columns": [{"transfer": "linear_probe", "target": "source", "shots": "all"}],
            "rows": [
                {"method": "STUDENT", "group": "student", "ensemble": False},
                {"method": "PUBLISHED", "group": "published", "ensemble": False},
            ],
        },
    },
    "figures": {},
    "claims": {},
}
CONTENTS = {"tiny": TINY, "other": OTHER}
DECLARED = ("targets", "recipes", "networks", "representations", "probes", "finetunings", "tables", "figures", "claims")


def texts(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every text in a config."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in steps:
        if isinstance(item, str):
            yield (*place, step)
        yield from texts(item, (*place, step))


def put(content: Any, place: tuple[Any, ...], value: Any) -> None:
    for step in place[:-1]:
        content = content[step]
    content[place[-1]] = value


@cache
def accepted(name: str, place: tuple[Any, ...], value: str) -> bool:
    """Whether the config takes a text. Fails the test unless it does, or refuses it in printable lines."""
    content = copy.deepcopy(CONTENTS[name])
    put(content, place, value)
    try:
        load_config(content, [])
    except UserError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))
        return False
    return True


@pytest.mark.parametrize("name", CONTENTS)
def test_only_texts_for_people_and_paths_are_free(name: str) -> None:
    """Of hostile texts; every other text is a name of something or one of a few."""
    free = {place for place in texts(CONTENTS[name]) for value in HOSTILE if accepted(name, place, value)}
    kinds = {next(step for step in reversed(place) if isinstance(step, str)) for place in free}
    allowed = {"results", "data", "checkpoints", "caption", "method"}
    assert kinds == allowed | ({"title", "label"} if name == "tiny" else {"source", "path"})


@pytest.mark.parametrize("name", CONTENTS)
def test_no_entry_has_a_hostile_name(name: str) -> None:
    for section in DECLARED:
        for key, value in [(key, value) for key in CONTENTS[name][section] for value in HOSTILE]:
            content = copy.deepcopy(CONTENTS[name])
            content[section][value] = content[section].pop(key)
            with pytest.raises(UserError, match=r"found name .*; must be a letter, then a-z, 0-9"):
                load_config(content, [])


def hostile(name: str, first: int = 0) -> tuple[dict[str, Any], list[str]]:
    """A config with another hostile text in each place that takes one, and these texts as commands hold them."""
    content, words = copy.deepcopy(CONTENTS[name]), []
    count = first
    for place in texts(CONTENTS[name]):
        values = [value for value in HOSTILE if accepted(name, place, value)]
        if values:
            value = values[count % len(values)]
            count += 1
            put(content, place, value)
            words.append(" ".join(value.split()))
    return content, words


def words_of(commands: list[str], folder: Path) -> list[list[str]]:
    """The words of each command as the shell itself parts them; `2>` becomes a word."""
    folder.mkdir()
    lines = [f"printf '%s\\0' {' '.join(command.rpartition(' 2> ')[::2])}; printf '\\1\\0'" for command in commands]
    output = subprocess.run(["bash"], input="\n".join(lines), cwd=folder, capture_output=True, text=True, check=True)
    assert output.stderr == "" and list(folder.iterdir()) == []
    return [line.split("\0")[:-1] for line in output.stdout.split("\1\0")[:-1]]


def dry_run(clone: Path, content: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The commands and the outputs of all jobs."""
    (clone / "workflow/config/hostile.yaml").write_text(yaml.safe_dump(content))
    options = ("--dry-run", "--printshellcmds")
    result = run_snakemake(clone, options=options, config="hostile", quiet=False)
    output = result.stdout + result.stderr
    assert result.returncode == 0 and "Traceback" not in output, output[-2000:]
    commands = re.findall(r"^Shell command: (.*)$", output, flags=re.MULTILINE)
    (total,) = re.findall(r"^total +(\d+)$", output.partition("\n[")[0], flags=re.MULTILINE)
    assert len(commands) == int(total) and commands.pop() == "None"  # of `all`
    return commands, re.findall(r"^    output: (.*)$", output, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In folders of its own, so that a file above it would be found."""
    top = tmp_path_factory.mktemp("security")
    (top / "above/clone").mkdir(parents=True)
    yield copy_clone(top / "above/clone")
    assert not [path for path in top.rglob("*") if path.name.startswith("pwned")]


@pytest.mark.parametrize("name", CONTENTS)
def test_hostile_texts_are_single_words_to_every_shell(clone: Path, tmp_path: Path, name: str) -> None:
    content, placed = hostile(name)
    for network in content["networks"].values():
        for file in network.get("files", []):
            (clone / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            (clone / file["path"]).touch()
    commands, outputs = dry_run(clone, content)
    found = words_of(commands, tmp_path / "shell")
    assert found == [shlex.split(" ".join(command.rpartition(" 2> ")[::2])) for command in commands]
    starts = [words[: words.index("-m")] for words in found]  # Python, after the variables of portable arithmetic
    assert len({tuple(start) for start in starts}) == 1 and starts[0][-1] == sys.executable
    assert all(words[len(starts[0]) + 1].startswith("rrl.") for words in found)
    every = [word for line in found for word in line]
    assert not {"touch", "pwned", ";", "&", "|", "#"} & set(every)
    for text in placed:
        assert any(text in word or json.dumps(text)[1:-1] in word for word in every), text
    root = (clone / content["results"]).resolve()
    checkpoints = (clone / content["checkpoints"]).resolve()
    for paths in outputs:
        for path in re.split(f", (?={re.escape(content['results'])}/)", paths):
            place = (clone / path).resolve()
            assert place.is_relative_to(root) or place.is_relative_to(checkpoints), path


@pytest.mark.parametrize("name", CONTENTS)
def test_settings_of_every_job_are_words_whatever_the_text(name: str) -> None:
    """Every free text with every hostile value, in the plan alone."""
    checked: set[tuple[str, str]] = set()
    for first in range(len(HOSTILE)):
        content, _ = hostile(name, first)
        for job in Plan(load_config(content, []), PINS).jobs:
            text = dump(job.settings)
            if (job.stage, text) in checked:
                continue
            checked.add((job.stage, text))
            assert text.startswith("{") and text.isascii() and text.isprintable()
            assert shlex.split(f"--settings {shlex.quote(text)}") == ["--settings", text]
            assert parse(type(job.settings), text) == job.settings


def small_experiment(clone: Path) -> dict[str, Any]:
    """Images and a network of the user, an untrained one, both concatenated: hostile names wherever they can be."""
    content = copy.deepcopy(OTHER)
    data, source, file = "my 'data'; touch pwned #", "pets & touch pwned", "my 'network'; touch pwned.safetensors"
    random = np.random.default_rng(0)
    for level, label in enumerate(("$(touch pwned)", "; touch pwned #", "'; touch pwned; '")):
        (clone / data / source / label).mkdir(parents=True)
        for number in range(8):
            pixels = random.normal(60 + 70 * level, 30, (28, 28)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(clone / data / source / label / f"`touch pwned` {number}.png")
    torch.manual_seed(0)
    save_file(build("resnet8").state_dict(), clone / file)
    pets = content["targets"].pop("source") | {"source": source, "probe": "tiny"}
    pets["fingerprint"] = open_source(source, clone / data).fingerprint
    mine = content["networks"]["mine"] | {"files": [{"path": file, "sha256": sha256_of_file(clone / file)}]}
    random_network = content["networks"]["random"] | {"target": "pets", "seeds": [0]}
    content |= {"results": "results/it's; touch pwned & #", "data": data, "targets": {"pets": pets}}
    content |= {"networks": {"mine": mine, "random": random_network}}
    content["representations"] = {"both": {"members": ["mine-s0", "random-s0"]}}
    table = content["tables"]["own"] | {"caption": CAPTION}
    table["rows"] = [
        {"method": METHOD, "group": "mine", "ensemble": False},
        {"method": "$(touch pwned)", "group": "random", "ensemble": False},
        {"method": "[x] \\", "group": "both", "ensemble": False},
        {"method": "[x] \\", "group": "both", "ensemble": True},
    ]
    series = [{"label": LABEL, "transfer": "linear_probe", "groups": ["mine", "both"], "ensemble": False}]
    row = {"title": LABEL, "table": "own", "panels": [{"target": "pets", "shots": "all"}], "series": series}
    figure = {"kind": "parameters", "caption": CAPTION, "selection": "heldout", "rows": [row]}
    return content | {"tables": {"own": table}, "figures": {"own": figure}}


CAPTION = 'It\'s $(touch pwned) "`touch pwned`"; <script>alert(1)</script> ![x](http://x/y.png) {os.system("touch pwned")} %s \\input{x} 1 & 2 ~ ^'
METHOD = "a | b <img src=x> `touch pwned` \\| _c_ # $x$"
LABEL = "$\\frac{$ <script>alert(1)</script> ]]> -- & %s `touch pwned`"  # broken TeX, were it TeX


def test_a_hostile_experiment_runs_and_makes_nothing_but_its_results(clone: Path) -> None:
    content = small_experiment(clone)
    (clone / "workflow/config/hostile.yaml").write_text(yaml.safe_dump(content))
    before = set(clone.parents[1].rglob("*"))
    result = run_snakemake(clone, config="hostile")
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    results = clone / content["results"]
    made = {path for path in clone.parents[1].rglob("*") if path not in before and "__pycache__" not in path.parts}
    elsewhere = [path for path in made if not path.is_relative_to(results) and ".snakemake" not in path.parts]
    assert [path for path in elsewhere if path not in results.parents] == []

    lines = (results / "own.md").read_text().splitlines()
    cells = [re.split(r"(?<!\\)(?:\\\\)*\|", line) for line in lines if line.startswith("|")]
    assert len(cells) == 6 and {len(row) for row in cells} == {len(cells[0])}
    assert not re.search(r"(?<!\\)<|(?<!\\)\[x\]", "\n".join(lines))
    tex = (results / "own.tex").read_text()
    assert (
        r"a \textbar{} b \textless{}img src=x\textgreater{} `touch pwned` \textbackslash{}\textbar{} \_c\_ \# \$x\$ &"
        in tex
    )
    assert r"\textbackslash{}input\{x\} 1 \& 2 \textasciitilde{} \textasciicircum{}" in tex and r"\input" not in tex
    picture = ElementTree.parse(results / "figures/own.svg")
    assert not [
        tag for tag in picture.iter() if tag.tag.rpartition("}")[2] in ("script", "image", "a", "foreignObject")
    ]
    assert LABEL in [tag.text for tag in picture.iter()] and Image.open(results / "figures/own.png").width > 100


@pytest.mark.parametrize("text", ["a\nb", "  a   b\n"])
def test_a_text_of_several_lines_is_one_line(text: str) -> None:
    content = copy.deepcopy(TINY)
    content["tables"]["table1"]["caption"] = text
    assert load_config(content, []).tables["table1"].caption == "a b"


# Files from outside


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


@pytest.mark.parametrize("kind", ["external link", "link behind a link", "external storage", "virtual"])
def test_arrays_that_lie_in_another_file_are_refused(tmp_path: Path, kind: str) -> None:
    images, labels = np.full((4, 3, 3), 7, np.uint8), np.array([0, 0, 1, 1])
    (tmp_path / "outside").mkdir()
    secret = hdf5(tmp_path / "outside/secret.h5", images=images)
    images.tofile(tmp_path / "outside/secret.raw")
    path = hdf5(tmp_path / "own.h5", labels=labels)
    with h5py.File(path, "r+") as file:
        if kind == "external link":
            file["images"] = h5py.ExternalLink("outside/secret.h5", "/images")
        elif kind == "link behind a link":
            file["folder"] = h5py.ExternalLink("outside/secret.h5", "/")
            file["images"] = h5py.SoftLink("/folder/images")
        elif kind == "external storage":
            storage = [(str(tmp_path / "outside/secret.raw"), 0, images.nbytes)]
            file.create_dataset("images", images.shape, np.uint8, external=storage)
        else:
            layout = h5py.VirtualLayout(images.shape, np.uint8)
            layout[:] = h5py.VirtualSource(str(secret), "images", images.shape)
            file.create_virtual_dataset("images", layout)
        assert file["images"][0, 0, 0] == 7  # it would have been read
    with pytest.raises(UserError, match="images lies in another file; copy its values into this one"):
        open_source("own.h5", tmp_path)


def test_links_inside_a_file_of_arrays_are_followed(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "own.h5", pixels=np.zeros((2, 3, 3), np.uint8), labels=[0, 1])
    with h5py.File(path, "r+") as file:
        file["images"] = h5py.SoftLink("/pixels")
    assert len(open_source("own.h5", tmp_path).parts["all"]) == 2


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """14,000 x 14,000 grey pixels, which zlib packs into 200 kB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(14_001)) for _ in range(14_000)]
    header = struct.pack(">IIBBBBB", 14_000, 14_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join([*rows, packer.flush()]))
    (tmp_path / "bomb.png").write_bytes(content + chunk(b"IEND", b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    with pytest.raises(Unreadable, match="more than 178,956,970 pixels"):
        read_picture(tmp_path / "bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000


@pytest.mark.parametrize("name", ["../1.png", "../../etc/passwd", "images/../../1.png", ".."])
def test_a_list_of_images_does_not_leave_its_folder_by_relative_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/list.csv").write_text(f"path,label\nimages/../1.png,a\n..1.png,a\n{name},b\n")
    with pytest.raises(UserError) as caught:
        open_source("lists/list.csv", tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path}/lists/list.csv, line 4: found path {name!r}, which leaves the folder"
    )
