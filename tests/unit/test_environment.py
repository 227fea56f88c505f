"""pyproject.toml, the lock and environment.yml name the same versions."""

import re
import tomllib

import yaml

from tests.helpers.clones import CLONE

PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
LOCK_TEXT = (CLONE / "requirements.lock").read_text()
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK_TEXT, flags=re.MULTILINE))


def test_every_direct_dependency_is_pinned_and_locked() -> None:
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        name, version = requirement.split("==")
        assert LOCK[name] == version, requirement


def test_every_locked_file_has_its_sha256() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK_TEXT)[1:]
    assert len(entries) >= len(LOCK)  # some have an entry for each version of Python
    assert [entry.split()[0] for entry in entries if " --hash=sha256:" not in entry] == []
    script = (CLONE / "workflow/setup.sh").read_text()
    assert script.count("--require-hashes --requirement") == script.count("--requirement") == 2


def test_the_conda_environment_has_the_same_pins() -> None:
    environment = yaml.safe_load((CLONE / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert sorted(pip) == sorted(PROJECT["dependencies"])
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert PROJECT["requires-python"] == ">=" + python.removeprefix("python=")


def test_snakemake_and_its_slurm_plugin_are_pinned_exactly() -> None:
    assert LOCK["snakemake"] == "9.27.1" and LOCK["snakemake-executor-plugin-slurm"] == "2.8.0"


def test_the_project_files_say_the_same() -> None:
    """Version, licence and title, where people and archives look for them."""
    citation = yaml.safe_load((CLONE / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    licence = (CLONE / "LICENSE").read_text()
    assert licence.startswith(f"{PROJECT['license']} License\n")
    assert f"(c) 2026 {citation['authors'][0]['name']}\n" in licence
    assert citation["preferred-citation"]["title"] in re.sub(r"\s+", " ", (CLONE / "README.md").read_text())
    assert re.search(
        rf"^## \[Unreleased\]\n+To be version {re.escape(PROJECT['version'])},|^## \[{re.escape(PROJECT['version'])}\]",
        (CLONE / "CHANGELOG.md").read_text(),
        re.M,
    )


def test_hooks_are_checks_of_make_test() -> None:
    (local,) = yaml.safe_load((CLONE / ".pre-commit-config.yaml").read_text())["repos"]
    recipe = (CLONE / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    assert len(local["hooks"]) == 4
    for hook in local["hooks"]:
        assert f"\t@{hook['entry']}\n" in recipe and hook["language"] == "system"
