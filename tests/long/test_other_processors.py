"""Portable arithmetic on a processor of the other vendor: the same bytes.

The whole tiny experiment, where CPUID can be made to fault (tests/helpers/other_processor.c); else a job of each stage,
on an emulated processor, QEMU's, which is tens of times slower.
"""

import platform
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from rrl.arithmetic import PORTABLE, has_avx2, variables
from rrl.jobs import STAGES
from rrl.jobs.stage import Computing
from tests.helpers.clones import CLONE, clean_environment, copy_clone, duplicate, snakemake
from tests.helpers.smoke import ran

SOURCE = CLONE / "tests/helpers/other_processor.c"
LACKING = 77  # its status where CPUID cannot be made to fault
FIRST = (7, 2)  # QEMU that emulates AVX2
SEEN = re.search(r"vendor_id\s*: (\w+)", Path("/proc/cpuinfo").read_text()) if platform.system() == "Linux" else None
VENDOR = SEEN[1] if SEEN else "none"
OTHER = "GenuineIntel" if VENDOR == "AuthenticAMD" else "AuthenticAMD"
MODEL = {"GenuineIntel": "Haswell", "AuthenticAMD": "EPYC-Rome"}[OTHER]

pytestmark = pytest.mark.skipif(
    not has_avx2(), reason="no Linux on x86-64 with AVX2: portable arithmetic differs there"
)


def compiled(folder: Path, *options: str) -> Path:
    """The shim, or its parts. Skips the test without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (on Debian: apt-get install gcc libc6-dev)")
    output = folder / "other_processor"
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-O2", *options, "-o", output, SOURCE]
    subprocess.run(command, check=True)
    return output


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("shim"), "-shared", "-fPIC")


def lack(shim: Path) -> str:
    """Why CPUID cannot be made to fault here, in one line; empty if it can."""
    command = [sys.executable, "-c", "pass"]
    result = subprocess.run(command, env={"LD_PRELOAD": str(shim)}, capture_output=True, text=True)
    assert result.returncode in (0, LACKING), result
    assert (result.returncode == 0) == (result.stderr == "") and result.stderr.count("\n") <= 1
    return result.stderr.strip()


def test_the_shim_answers_as_a_processor_of_the_other_vendor(tmp_path: Path) -> None:
    """All of it but the request to the kernel, and any other fault still ends a program."""
    parts = compiled(tmp_path, "-DPARTS", "-mno-red-zone")
    result = subprocess.run([parts], capture_output=True, text=True)
    assert result.returncode == -11, result
    *answers, vendor, brand = result.stdout.splitlines()
    assert vendor == OTHER and brand.startswith({"GenuineIntel": "Intel(R) Xeon", "AuthenticAMD": "AMD EPYC"}[OTHER])
    found = {tuple(words[:2]): [int(word, 16) for word in words[2:]] for words in map(str.split, answers)}
    assert found["1", "0"][2] & 1 << 28 and found["7", "0"][1] & 1 << 5  # AVX, AVX2
    assert (found["4", "0"] == [0] * 4) == (OTHER == "AuthenticAMD")  # Intel's leaf of caches
    assert (found["8000001d", "0"] == [0] * 4) == (OTHER == "GenuineIntel")  # AMD's


def test_where_cpuid_cannot_fault_the_shim_says_so_in_one_line(shim: Path) -> None:
    said = lack(shim)
    assert said == "" or re.fullmatch("other_processor: this kernel, processor or hypervisor cannot .+", said)


def digests(results: Path) -> dict[str, str]:
    """Of all that is the same from run to run: without logs, times and hosts."""
    files = [path for path in results.rglob("*") if path.is_file() and not path.name.endswith(".run.json")]
    kept = {str(path.relative_to(results)): path for path in files}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in kept.items() if not name.startswith("logs/")}


def test_the_tiny_experiment_makes_the_same_bytes(shim: Path, tiny: Path, tmp_path: Path) -> None:
    if said := lack(shim):
        pytest.skip(said)
    clone = copy_clone(tmp_path / "clone")
    snakemake(clone, LD_PRELOAD=str(shim))
    made = digests(clone / "results/tiny")
    assert made == digests(tiny / "results/tiny") and len(made) > 100


def qemu(shim: Path) -> list[str]:
    """How a program is started on an emulated processor of the other vendor. Skips the test where there is no need, or
    no QEMU."""
    if not lack(shim):
        pytest.skip("the whole tiny experiment ran as on a processor of the other vendor")
    program = shutil.which("qemu-x86_64")
    if program is None:
        pytest.skip("CPUID cannot fault, and no QEMU (on Debian: apt-get install qemu-user)")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, re.findall(r"version (\d+)\.(\d+)", said)[0]))
    if version < FIRST:
        pytest.skip(f"CPUID cannot fault, and QEMU {'.'.join(map(str, version))} has no AVX2; needed is 7.2")
    return [program, "-cpu", MODEL]


@pytest.fixture(scope="module")
def copy(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return duplicate(smoke, tmp_path_factory.mktemp("smoke") / "clone")


@pytest.mark.parametrize("stage", [name for name, kind in STAGES.items() if issubclass(kind, Computing)])
def test_a_stage_makes_the_same_bytes_on_an_emulated_processor(shim: Path, smoke: Path, copy: Path, stage: str) -> None:
    """From the same inputs; so do all stages together."""
    command = [*qemu(shim), sys.executable, "-m", f"rrl.stages.{stage}"]
    job = min((job for job in ran(smoke) if job.stage == stage), key=lambda job: len(job.words))
    for path in job.made:
        (copy / path).unlink()
    environment = clean_environment() | variables(PORTABLE) | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *job.words], cwd=copy, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    for path in job.made:
        if not path.name.endswith(".run.json"):
            assert (copy / path).read_bytes() == (smoke / path).read_bytes(), path
