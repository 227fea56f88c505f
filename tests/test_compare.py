"""`rrl compare`: words to networks, configs, messages; small comparisons from end to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from conftest import CLONE
from PIL import Image
from safetensors.torch import save_file
from test_resume import until

from rrl.compare import experiment, name_of, understand
from rrl.errors import UserError
from rrl.experiment.config import load_config
from rrl.networks import build


def network(path: Path, seed: int, arch: str = "resnet8") -> Path:
    """An untrained network in a file."""
    torch.manual_seed(seed)
    save_file(build(arch).state_dict(), path)
    return path


def pictures(folder: Path, per_class: int = 10, size: int = 28) -> Path:
    """PNG files of three classes: dark, grey and bright."""
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("grey", 130), ("bright", 200)):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.normal(level, 30, (size, size)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def rrl(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, as a user calls it, in `folder`."""
    command = [sys.executable, "-m", "rrl.cli", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(CLONE)}
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("resnet50.a1_in1k", "resnet50_a1_in1k"), ("checkpoint_run0", "checkpoint_run0"), ("2x net (old)", "n2x_net__old"),
        ("a--b-", "a-b"), ("Größe", "gr__e"), ("", "n"), ("-s0", "s0"),
    ],
)  # fmt: skip
def test_any_text_becomes_a_name_that_a_config_allows(text: str, name: str) -> None:
    assert name_of(text) == name


def test_words_are_networks(tmp_path: Path) -> None:
    a, b = network(tmp_path / "run 0.safetensors", 0), network(tmp_path / "run.pth.tar.safetensors", 1)
    of = understand([str(a), f"resnet8={b}", "timm/resnet18.a1_in1k", "torchvision/resnet18"], [])
    assert [(n.label, n.name, n.arch) for n in of] == [
        ("run 0", "run_0", "resnet8"), ("run.pth.tar", "run_pth_tar", "resnet8"),
        ("resnet18.a1_in1k", "resnet18_a1_in1k", "timm/resnet18.a1_in1k"), ("resnet18", "resnet18", "torchvision/resnet18"),
    ]  # fmt: skip
    assert [n.transform["size"] for n in of] == [28, 28, 224, 224]
    assert [n.transform["mean"] for n in of[:1]] == [[0.286]]
    assert [n.transform["interpolation"] for n in of[2:]] == ["bicubic", "bilinear"]
    (first, second) = understand([str(a), str(b)], [(str(b), "size=32,resize=40,mean=0.5,interpolation=bicubic")])
    assert first.transform["size"] == 28
    assert second.transform | {"size": 32, "resize": 40, "mean": [0.5], "interpolation": "bicubic"} == second.transform


@pytest.mark.parametrize(
    ("words", "preprocess", "message"),
    [
        (["A"], [], "one network: name two or more"),
        (["A", "nothing.pth"], [], "nothing.pth: missing; allowed are timm/<name>"),
        (["A", "resnet51=B.safetensors"], [], "found 'resnet51'; allowed are resnet8"),
        (["A", "A"], [], "A.safetensors: named twice"),
        (["A", "timm/no_such"], [], "timm/no_such: timm .* has no such model"),
        (["A", "torchvision/no_such"], [], "no_such"),
        (["A", "B"], [("C", "size=3")], "--preprocess: found 'C'; .*allowed: "),
        (["A", "B"], [("B", "width=3")], "--preprocess .*: found 'width'; .*allowed: size, resize"),
        (["A", "B"], [("B", "size=big")], "size: found 'big'; needed are numbers"),
        (["A", "B"], [("B", "size=32")], "resize: found 28, the crop has size 32"),
        (["A", "B"], [("B", "mean=0.1/0.2/0.3")], "std: found 1 numbers for 3 of mean"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], preprocess: list[tuple[str, str]], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("AB"):
        network(tmp_path / f"{name}.safetensors", seed)
    names = {"A": "A.safetensors", "B": "B.safetensors"}
    with pytest.raises(UserError, match=message):
        understand([names.get(word, word) for word in words], [(names.get(of, of), how) for of, how in preprocess])


def test_the_config_is_a_config(tmp_path: Path) -> None:
    """As strict as any, and the same each time."""
    networks = [str(network(tmp_path / f"{name}.safetensors", 0)) for name in "ab"]
    data = pictures(tmp_path / "my pictures")
    first, second = (
        experiment(understand(networks, []), str(data), Path("data"), Path("results/x"), leave_out=False)
        for _ in range(2)
    )
    assert first == second
    config = load_config(first, [])
    assert list(config.targets) == ["my_pictures"] and config.data == str(tmp_path)
    assert [row.method for row in config.tables["comparison"].rows] == ["a", "b", "CAT2", "CAT2", "best subset on val"]


def test_a_network_more_runs_its_own_jobs_only(tmp_path: Path) -> None:
    files = [network(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("abc")]
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (random.normal(0, 20, (60, 28, 28)) + 60 + 50 * labels[:, None, None]).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "levels.npz", images=images, labels=labels)
    first = rrl(tmp_path, "compare", *files[:2], "--data", "levels.npz", "--output", "out")
    assert first.returncode == 0, first.stderr
    assert "60 images in 3 classes: 36 to train on, 12 to pick" in first.stdout
    assert "CAT2 minus " in first.stdout and "Report: out/comparison.md" in first.stdout
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/features").rglob("*.h5")}
    assert len(before) == 6
    second = rrl(tmp_path, "compare", *files, "--data", "levels.npz", "--output", "out")
    assert second.returncode == 0, second.stderr
    assert "all 3 concatenated (CAT3)" in second.stdout
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/features").rglob("*.h5")}
    assert len(after) == 9 and {path: after[path] for path in before} == before
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert list(config["networks"]) == ["a", "b", "c"]


def test_images_that_cannot_be_used_stop_it_by_name_before_any_training_or_are_left_out(tmp_path: Path) -> None:
    files = [network(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    data = pictures(tmp_path / "pets")
    (data / "dark/empty.png").touch()
    (data / "grey/text.jpg").write_text("no image")
    (data / "bright/notes.txt").write_text("no image by its name")
    stopped = rrl(tmp_path, "compare", *files, "--data", data, "--output", "out")
    assert stopped.returncode == 1 and "Traceback" not in stopped.stderr
    assert "2 of 32 images cannot be used: dark/empty.png: zero bytes; grey/text.jpg: not an image" in stopped.stderr
    assert "--leave-out for rrl compare" in stopped.stderr
    assert not (tmp_path / "out/features").exists()
    left_out = rrl(tmp_path, "compare", *files, "--data", data, "--output", "out", "--leave-out")
    assert left_out.returncode == 0, left_out.stderr
    for line in ("  left out: dark/empty.png: zero bytes", "  not images by their names: 1 (bright/notes.txt)"):
        assert line in left_out.stdout.splitlines()
    (data / "dark/another.png").write_bytes((data / "dark/0.png").read_bytes())
    again = rrl(tmp_path, "compare", *files, "--data", data, "--output", "out", "--leave-out")
    assert again.returncode == 0 and "31 images in 3 classes" in again.stdout


def test_it_goes_on_after_a_kill_and_never_replaces_a_config_that_was_edited(tmp_path: Path) -> None:
    files = [network(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    pictures(tmp_path / "pets", per_class=200)
    command = [sys.executable, "-m", "rrl.cli", "compare", *map(str, files), "--data", "pets", "--cores", "1"]
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(CLONE)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda process=process: "rrl.extract" in str([job.cmdline() for job in below(process)]))
        os.killpg(process.pid, number)
        message = process.communicate()[1]
        assert "Traceback" not in message
    assert message.endswith(
        "Error: interrupted. To go on: the same command; what is done is kept (results/pets/config.yaml)\n"
    )
    done = rrl(tmp_path, *command[3:])
    assert done.returncode == 0 and "CAT2 minus " in done.stdout, done.stderr

    config = tmp_path / "results/pets/config.yaml"
    written = config.read_text()
    config.write_text(written.replace("weight_decays: [0.0,", "weight_decays: [0.0, 0.00001,"))
    assert config.read_text() != written
    edited = rrl(tmp_path, *command[3:])
    assert edited.returncode == 1 and config.read_text() != written
    assert (
        "results/pets/config.yaml: edited since rrl compare wrote it; to run it: snakemake --cores all" in edited.stderr
    )
    config.write_text(written)
    assert rrl(tmp_path, *command[3:]).stdout == done.stdout


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [job for job in psutil.Process(process.pid).children(recursive=True) if job.status() != psutil.STATUS_ZOMBIE]


def test_a_data_set_of_torchvision(tmp_path: Path) -> None:
    files = [network(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    raw = tmp_path / "data/torchvision/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for path in (CLONE / "data/fashion-mnist").glob("*-ubyte"):
        content = bytearray(path.read_bytes())
        count = 600 if path.name.startswith("train") else 200
        content[4:8] = count.to_bytes(4, "big")
        size = 28 * 28 if "idx3" in path.name else 1
        (raw / path.name).write_bytes(content[: (16 if size > 1 else 8) + count * size])
    result = rrl(tmp_path, "compare", *files, "--data", "torchvision/FashionMNIST", "--output", "out")
    assert result.returncode == 0, result.stderr
    assert "800 images in 10 classes: 480 to train on, 120 to pick" in result.stdout


def test_fingerprints_are_what_configs_hold(tmp_path: Path) -> None:
    file, data = network(tmp_path / "a.safetensors", 0), pictures(tmp_path / "pets")
    content = experiment(
        understand([str(file), str(network(tmp_path / "b.safetensors", 1))], []),
        str(data),
        Path("data"),
        Path("out"),
        False,
    )
    found = rrl(tmp_path, "fingerprint", file).stdout, rrl(tmp_path, "fingerprint", "pets").stdout
    assert found == (
        f"sha256: {content['networks']['a']['files'][0]['sha256']}\n",
        f"fingerprint: {content['targets']['pets']['fingerprint']}\n",
    )
    assert "missing; allowed is a folder" in rrl(tmp_path, "fingerprint", "nothing").stderr
