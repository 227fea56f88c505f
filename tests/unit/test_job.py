"""Settings as JSON and in keys, and what a stage refuses at its start. tests/workflow/test_arguments.py has shells."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rrl.config.settings import Added, dump, keyed, parse, settings
from rrl.job import Job, begin, read_card, run
from rrl.jobs import Planned
from rrl.jobs.records import Represent
from rrl.jobs.tables import Table
from tests.helpers.clones import CLONE
from tests.helpers.jobs import words

# A field that is added later


@settings
class Before:
    rate: float


@settings
class After:
    rate: float
    new: Annotated[bool, Added(False)] = False


@settings
class OtherDefault:
    rate: float
    new: Annotated[bool, Added(False)] = True


@settings
class Around:
    parts: list[Before | After | OtherDefault]


def key(value: Any) -> str:
    return Planned("merge", "records/a/b/finetune", value).key


@pytest.mark.parametrize("around", [lambda value: value, lambda value: Around([value])], ids=["itself", "in a list"])
def test_a_field_that_is_added_leaves_keys_as_they_were(around: Callable[[Any], Any]) -> None:
    old = around(Before(0.1))
    assert key(around(After(0.1))) == key(around(After(0.1, False))) == key(old)
    assert keyed(around(After(0.1))) == keyed(old)
    assert key(around(After(0.1, True))) != key(old)


@pytest.mark.parametrize("around", [lambda value: value, lambda value: Around([value])], ids=["itself", "in a list"])
def test_another_default_of_it_changes_the_keys_that_it_must(around: Callable[[Any], Any]) -> None:
    """What it means that a key lacks the field is a matter of `Added`, not of the default."""
    assert key(around(OtherDefault(0.1))) == key(around(After(0.1, True))) != key(around(Before(0.1)))
    assert key(around(OtherDefault(0.1, False))) == key(around(Before(0.1)))


def test_settings_of_before_it_was_added_are_read() -> None:
    assert parse(After, dump(Before(0.1))) == After(0.1, False)


# JSON


LETTERS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LETTERS
CONTENT = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=4))
HOSTILE = 'it\'s "$(touch pwned)" `x` \\ \\n \n\r\t {x} {{y}} %s @ --key \x00\x1b\u2028 é 漢字 🎲'


@given(st.dictionaries(LETTERS, CONTENT, max_size=4))
@example({"caption": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: 1e300}]})
@example({"caption": "é" * 50_000})
@example({"numbers": [0.1, 1e-7, 5e-324, -0.0, 1, 1.0, 2**80]})
def test_settings_are_read_as_they_were_written(layout: dict[str, Any]) -> None:
    text = dump(Table(layout))
    read = parse(Table, text)
    assert text.isascii() and text.isprintable()
    assert read == Table(layout) and dump(read) == text and key(read) == key(Table(layout))


# The command line


@dataclass
class Shown:
    """What a stage that reads these cards says, and that it ends with exit status 1."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> str:
        self.monkeypatch.setattr(sys, "argv", ["represent", *arguments])
        with pytest.raises(SystemExit) as caught:
            run(lambda argv: print(begin("represent", argv)))
        output = self.capsys.readouterr()
        assert caught.value.code == 1 and output.out == ""
        assert output.err.startswith("Error: ") and output.err.count("\n") == 1
        return output.err.removeprefix("Error: ").removesuffix("\n")


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(tmp_path, monkeypatch, capsys)


def command(folder: Path, members: list[str] | None = None) -> list[str]:
    """Of a job that reads one card."""
    card = folder / "features/a/b-s0.json"
    if not card.exists():
        card.parent.mkdir(parents=True)
        Job("represent", Represent(["made up"]), (), card).write_card("digest", {})
    output = folder / "representations/a/b.json"
    return words("represent", {"members": members or ["b-s0"]}, [read_card(card)], output)


def replaced(arguments: list[str], flag: str, value: str) -> list[str]:
    at = arguments.index(flag) + 1
    return [*arguments[:at], value, *arguments[at + 1 :]]


def test_a_job_is_what_its_command_line_says(tmp_path: Path) -> None:
    job = begin("represent", command(tmp_path, [HOSTILE]))
    assert (job.settings, job.artifact, job.root) == (Represent([HOSTILE]), "representations/a/b", tmp_path)
    assert [card.artifact for card in job.inputs] == ["features/a/b-s0"] and job.threads == 1


def test_arguments_in_files_are_the_same_job(tmp_path: Path) -> None:
    arguments = command(tmp_path, [HOSTILE])
    for flag, text in (("--settings", dump(Represent([HOSTILE]))), ("--inputs", json.dumps([arguments[3]]))):
        (tmp_path / flag).write_text(text, encoding="utf-8")
        arguments = replaced(arguments, flag, f"@{tmp_path / flag}")
    found, expected = begin("represent", arguments), begin("represent", command(tmp_path, [HOSTILE]))
    assert found.argv == arguments and (found.settings, found.inputs) == (expected.settings, expected.inputs)


def test_another_key_than_the_planned_one_is_refused(shown: Shown) -> None:
    arguments = command(shown.folder)
    planned = arguments[arguments.index("--key") + 1]
    assert shown(*replaced(arguments, "--key", "0" * 16)).startswith(
        f"rrl.stages.represent: the key of this job is {planned}, planned was {'0' * 16}: its code, its settings or a card "
        "that it reads changed since it was planned. Run the same snakemake command again; "
    )
    assert "the key of this job is" in shown(*replaced(arguments, "--settings", dump(Represent(["other"]))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"members": ["a"], "seed": 0}', "--settings: seed: Unexpected keyword argument"),
        ("{}", "--settings: members: Field required"),
        ('{"members": [1]}', "--settings: members.0: Input should be a valid string"),
        ('{"member": []}', "--settings: members: Field required; member: Unexpected keyword argument"),
        ("members", "--settings: JSON: Invalid JSON: expected value at line 1 column 1"),
        ("", "--settings: JSON: Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "--settings: JSON: Input should be an object"),
    ],
)
def test_other_settings_are_refused(shown: Shown, text: str, message: str) -> None:
    assert shown(*replaced(command(shown.folder), "--settings", text)) == message


@pytest.mark.parametrize("flag", ["--settings", "--inputs"])
def test_a_file_of_arguments_that_cannot_be_used_is_refused(shown: Shown, flag: str) -> None:
    arguments = replaced(command(shown.folder), flag, f"@{shown.folder}/arguments.json")
    missing = "cannot be read (No such file or directory); run the snakemake command again"
    assert shown(*arguments) == f"{shown.folder}/arguments.json: {missing}"
    for content in (b"", b'["cut', b"\xff\xfe", b"7", b'"text"', b"{}" if flag == "--inputs" else b"[]"):
        (shown.folder / "arguments.json").write_bytes(content)
        assert str(shown.folder / "arguments.json") in shown(*arguments) or flag in shown(*arguments)


def test_a_card_that_is_missing_or_altered_is_refused(shown: Shown) -> None:
    arguments = command(shown.folder)
    card = shown.folder / "features/a/b-s0.json"
    text = card.read_text()
    rebuild = f"to rebuild it: rm -f {card}, then run the same snakemake command again"
    card.write_text(text.replace("digest", "other digest", 1))
    assert shown(*arguments).endswith(rebuild)
    card.unlink()
    assert shown(*arguments).startswith(f"{card}: ") and shown(*arguments).endswith(rebuild)


def test_a_stage_ends_with_exit_status_1_and_one_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "rrl.stages.represent", *replaced(command(tmp_path), "--key", "other")]
    result = subprocess.run(arguments, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("Error: rrl.stages.represent: the key of this job is ")
    assert result.stderr.count("\n") == 1
