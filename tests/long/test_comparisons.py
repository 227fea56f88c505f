"""`rrl compare` from end to end: small networks, small images."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from tests.helpers.clones import CLONE
from tests.helpers.comparisons import network, pictures, rrl
from tests.helpers.processes import until


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
    command += ["--output", "it's mine"]
    for signals in ([signal.SIGKILL], [signal.SIGINT, signal.SIGINT]):  # Ctrl-C is often pressed again
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(CLONE)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell that starts tests in the background has them ignore SIGINT, and so would this process.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        until(lambda process=process: "rrl.stages.extract" in str([job.cmdline() for job in below(process)]))
        for number in signals:
            os.killpg(process.pid, number)
            time.sleep(0.3)
        message = process.communicate()[1]
        assert "Traceback" not in message
    assert message.endswith(
        "Error: interrupted. To go on: the same command; what is done is kept (it's mine/config.yaml)\n"
    )
    done = rrl(tmp_path, *command[3:])
    assert done.returncode == 0 and "CAT2 minus " in done.stdout, done.stderr

    again = re.findall(r"^To change something, edit the config and run: (.*)$", done.stdout, re.MULTILINE)[0]
    script = f"source '{CLONE}/.venv/bin/activate'; {again}"
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and "Nothing to be done" in result.stderr, result.stderr

    config = tmp_path / "it's mine/config.yaml"
    written = config.read_text()
    config.write_text(written.replace("weight_decays: [0.0,", "weight_decays: [0.0, 0.00001,"))
    assert config.read_text() != written
    edited = rrl(tmp_path, *command[3:])
    assert edited.returncode == 1 and config.read_text() != written
    assert f"it's mine/config.yaml: edited since rrl compare wrote it; to run it: {again}; " in edited.stderr
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
