"""What portable arithmetic asks for, and what it refuses. tests/long/test_other_processors.py has what it makes."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rrl import arithmetic
from rrl.arithmetic import NATIVE, PORTABLE, VARIABLES, check, has_avx2, variables
from rrl.config.load import load_config
from rrl.config.settings import Constant, PaddedCrop, Recipe
from rrl.errors import UserError
from rrl.job import Job
from rrl.jobs import STAGES
from rrl.jobs.networks import Pretrain
from rrl.jobs.stage import Computing
from rrl.plan import Plan
from rrl.training.device import prepare
from rrl.training.processes import become_torchrun
from tests.helpers.clones import CLONE
from tests.helpers.miniature import miniature

COMPUTING = {name for name, kind in STAGES.items() if issubclass(kind, Computing)}
with_avx2 = pytest.mark.skipif(not has_avx2(), reason="no Linux on x86-64 with AVX2")


@pytest.fixture
def variables_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine says that it is another one."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    has_avx2.cache_clear()
    yield
    has_avx2.cache_clear()


def refused(threads: int = 1) -> str:
    with pytest.raises(UserError) as error:
        check("probe", PORTABLE, threads)
    assert "\n" not in str(error.value)
    return str(error.value)


@with_avx2
@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_is_missing_or_another_one_is_refused(
    variables_set: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check("probe", PORTABLE, 1)
    monkeypatch.setenv(name, "Zen")
    said = refused()
    assert said.startswith(f"rrl.stages.probe: found {name} Zen; ")
    assert f"put `env {' '.join(f'{name}={value}' for name, value in VARIABLES.items())}` in front" in said
    monkeypatch.delenv(name)
    assert refused().startswith(f"rrl.stages.probe: found {name} not set; ")
    check("probe", NATIVE, 1)


def test_threads_and_processes_are_refused(variables_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "found --threads 2; " in refused(threads=2)
    check("probe", NATIVE, 2)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert "found several processes; " in refused()
    check("probe", NATIVE, 1)


def test_a_processor_without_avx2_needs_no_variables_but_one_thread(arm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert variables(PORTABLE) == {}
    check("probe", PORTABLE, 1)
    assert "found --threads 2; " in refused(threads=2)


def test_no_gpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    threads = torch.get_num_threads()
    assert prepare(1, PORTABLE) == torch.device("cpu")
    torch.set_num_threads(threads)


def test_no_process_more_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda path, words: started.append(path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    recipe = Recipe(1, 1, 0.1, 0.9, False, 0.0, True, Constant("constant"), "float32")
    for value, count in ((PORTABLE, 0), (NATIVE, 1)):
        settings = Pretrain(value, "resnet8", 0, recipe, PaddedCrop(0.0, 1.0, 0, False))
        become_torchrun(Job("pretrain", settings, (), Path("results/networks/a.json"), gpus=2))
        assert len(started) == count


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CLONE / f"workflow/{name}.yaml").read_text())
    return content


@pytest.mark.parametrize("name", ["tiny", "smoke", "miniature"])
def test_it_is_a_setting_of_the_stages_that_compute(name: str) -> None:
    content = miniature(name) if name == "miniature" else read(f"config/{name}")
    pins = read("pins")
    other = {PORTABLE: NATIVE, NATIVE: PORTABLE}[content["arithmetic"]]
    jobs, others = (
        Plan(load_config(content | {"arithmetic": value}, []), pins).jobs for value in (content["arithmetic"], other)
    )
    for job, changed in zip(jobs, others, strict=True):
        assert getattr(job.settings, "arithmetic", None) == (content["arithmetic"] if job.stage in COMPUTING else None)
        below = any(source.key != twin.key for source, twin in zip(job.inputs, changed.inputs, strict=True))
        assert (job.key != changed.key) == (job.stage in COMPUTING or below), job
    if name == "smoke":
        assert {job.stage for job in jobs} >= COMPUTING


def test_the_variables_are_named_at_one_place() -> None:
    """In code; the docs name them for people."""
    for path in [*CLONE.glob("rrl/**/*.py"), *CLONE.glob("workflow/**/*.*"), CLONE / "Snakefile", CLONE / "Makefile"]:
        if path.suffix != ".pyc" and path != CLONE / arithmetic.__file__:
            assert not any(name in path.read_text() for name in VARIABLES), path
