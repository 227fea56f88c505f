"""What the docs have from elsewhere: `python -m docs.reference` writes docs/config.md, commands.md and checkpoints.md
from the code, and into pages that quote claims what docs/claims.json says of them.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from docs.published import checkpoints_page
from rrl.cli.main import main as rrl
from rrl.config import schema, settings
from rrl.config.kinds import MOST_CHARACTERS
from rrl.config.schema import Config

DOCS = Path(__file__).parent
CLONE = DOCS.parent
SCHEMA = Config.model_json_schema()
MODELS: dict[str, dict[str, Any]] = SCHEMA["$defs"]


def _describe_inherited() -> None:
    """Descriptions of inherited fields, which pydantic leaves out: it reads the docstrings of a class's own fields."""
    for name, model in MODELS.items():
        kind = vars(schema).get(name) or vars(settings)[name]
        for base in [base for base in kind.__mro__[1:] if hasattr(base, "__dataclass_fields__")]:
            for key, field in TypeAdapter[Any](base).json_schema()["properties"].items():
                if "description" in field:
                    model["properties"][key].setdefault("description", field["description"])


_describe_inherited()
CONFIG = f"""\
# Keys of a config

This page is made from `rrl/config/schema.py` by `python -m docs.reference`; do not edit it.

A config is one YAML file with all the keys below. There are no defaults, but for `gpus`, and a key that is not here
is refused before anything runs, with a line for each mistake: where, what was found, what is valid. Names of other
entries are looked up once all keys and values are right. `1e-4` and `0.0001` are the same number. NAME is a name of
your own: small letters, digits, `_` and `-`, a letter first, at most {MOST_CHARACTERS} characters. Networks, seeds,
numbers and settings in a list must differ.

[experiment.md](experiment.md) goes through writing one; [reruns.md](reruns.md) says what a change of a key makes again.
"""

COMMANDS = """\
# Commands

This page is made from the commands themselves by `python -m docs.reference`; do not edit it.

`rrl` and `python -m rrl.cli` are the same. Errors go to standard error as `Error: ...`, with exit status 1, or 2 for a
wrong option. With `--json` a command prints JSON, whose keys stay what they are.
"""

STAGES = """
## Stages

The jobs of the workflow are modules of `rrl.stages`, one per rule. All have one command line, which Snakemake prints
with `--printshellcmds` and which can be pasted:

```text
python -m rrl.stages.NAME --settings JSON --inputs CARD... --key KEY --output CARD --threads N
    [--data-root FOLDER] [--checkpoints FOLDER] [--gpus N]
```

A *card* is the small `.json` file beside an artifact. Settings come from the config and are part of the key; paths and
numbers of threads or GPUs are not. A stage stops if its settings, code and inputs do not give the key.
"""


def config_page() -> str:
    """docs/config.md. Raises KeyError for a key without a meaning."""
    return CONFIG + "\n" + "\n".join([*_keys(SCHEMA), *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    """For each key of the config that has parts, the models that its parts are, where they first occur."""
    places: dict[str, list[str]] = {}
    for _, place, name in _models(SCHEMA, ""):
        places.setdefault(name, []).append(place)
    told: set[str] = set()
    for key, about in SCHEMA["properties"].items():
        new = dict.fromkeys(name for _, _, name in _models({"properties": {key: about}}, "") if name not in told)
        told |= set(new)
        yield from ["", f"## {key}"] if new else []
        for name in new:
            yield from ["", f"### {_title(name)}", "", _line(MODELS[name]["description"]), ""]
            yield from [f"At {', '.join(f'`{place}`' for place in dict.fromkeys(places[name]))}.", ""]
            yield from _keys(MODELS[name])


def _models(model: dict[str, Any], place: str) -> Iterator[tuple[str, str, str]]:
    """Key, place and name of each model below one, as often as it occurs."""
    for key, about in model["properties"].items():
        below = f"{place}.{key}".removeprefix(".")
        for name, inside in _references(about, below):
            yield key, inside, name
            yield from _models(MODELS[name], inside)


def _references(about: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(about, list):
        for part in about:
            yield from _references(part, place)
    elif isinstance(about, dict):
        if "$ref" in about:
            yield about["$ref"].rpartition("/")[2], place
        for key, part in about.items():
            inside = {"patternProperties": f"{place}.NAME", "items": f"{place}[]"}.get(key, place)
            if key not in ("discriminator", "properties"):
                yield from _references(list(part.values()) if key == "patternProperties" else part, inside)


def _title(name: str) -> str:
    """Words of the name of a class."""
    return " ".join(re.findall(r"[A-Z][a-z]*", name)).capitalize()


def _keys(model: dict[str, Any]) -> Iterator[str]:
    yield from ["| key | allowed | meaning |", "|---|---|---|"]
    for key, about in model["properties"].items():
        default = "" if key in model["required"] else f"; {about['default']} if left out"
        yield f"| `{key}` | {allowed(about)}{default} | {_cell(about['description'])} |"


def allowed(about: dict[str, Any]) -> str:
    """What a part of the schema allows, in words."""
    match about:
        case {"allowed": words}:
            return str(words)
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"$ref": reference}:
            title = _title(reference.rpartition("/")[2])
            return f"[{title}](#{title.lower().replace(' ', '-')})"
        case {"oneOf": parts} | {"anyOf": parts}:
            return ", or ".join(allowed(part) for part in parts)
        case {"patternProperties": parts}:
            (part,) = parts.values()
            return f"NAME: {allowed(part)}"
        case {"type": "object", "additionalProperties": part}:
            return f"name: {allowed(part)}"
        case {"type": "array"}:
            return _list(about)
        case {"type": "integer"}:
            return f"whole number from {about['minimum']}"
        case {"type": "number"}:
            limits = [f"{word} {about[key]}" for key, word in LIMITS.items() if key in about]
            return " ".join(["number", ", ".join(limits)]).strip()
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "null"}:
            return "`null`"
        case {"type": "string"}:
            return "text"
    raise ValueError(about)


LIMITS = {
    "exclusiveMinimum": "above",
    "gt": "above",
    "minimum": "from",
    "ge": "from",
    "exclusiveMaximum": "below",
    "lt": "below",
}


def _list(about: dict[str, Any]) -> str:
    least, most = about.get("minItems", 0), about.get("maxItems")
    count = (
        f"{least} " if least == most else f"{least} to {most} " if most else f"{least} or more " if least > 1 else ""
    )
    return f"list of {count}({allowed(about['items'])})"


def commands_page() -> str:
    """docs/commands.md: `rrl`, make, stages."""
    return "\n".join([COMMANDS, "## rrl", "", *_rrl(), "## make", "", *_make(), STAGES])


def _rrl() -> Iterator[str]:
    for name, command in rrl.commands.items():
        context = click.Context(command, info_name=f"rrl {name}", terminal_width=100)
        paragraphs = (command.help or "").split("\n\n")
        yield from [f"### rrl {name}", ""]
        yield from (line for text in paragraphs for line in (_line(text), ""))
        yield from ["```text", command.get_usage(context), "```", "", "| option | |", "|---|---|"]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
                yield f"| `{record[0]}` | {_cell(record[1])} |"
        yield ""


def _make() -> Iterator[str]:
    """The comment at the head of the Makefile."""
    yield from ["| command | |", "|---|---|"]
    head = (CLONE / "Makefile").read_text(encoding="utf-8").split("\n\n")[0].split("PYTHON ?=")[0]
    for name, text in re.findall(r"(make [\w=./ -]+?) {2,}(.*?)(?= {3,}make |$)", head, flags=re.MULTILINE):
        yield f"| `{name}` | {_cell(text)} |"


def _line(text: str) -> str:
    """The first paragraph."""
    return _cell(" ".join(text.split("\n\n")[0].split()))


def _cell(text: str) -> str:
    """As Markdown; pages of docs/ are links."""
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text.replace("|", "\\|").replace("<", "&lt;"))


QUOTATION = re.compile(r"(<!-- claims: ([\w -]+) -->\n).*?(<!-- end of claims -->)", flags=re.DOTALL)


def claimed() -> dict[str, str]:
    """Name of each claim -> the sentence about it, as `rrl claims --output docs` left them."""
    claims = json.loads((DOCS / "claims.json").read_text(encoding="utf-8"))["claims"]
    return {name: claim["sentence"] for name, claim in claims.items()}


def quoting(page: str, sentences: dict[str, str]) -> str:
    """A page with a list of sentences between each pair of marks. Raises KeyError for a claim that there is not.

    <!-- claims: same-size one-head -->
    <!-- end of claims -->
    """

    def quoted(found: re.Match[str]) -> str:
        items = [
            textwrap.fill(f"- {sentences[name]}", 118, subsequent_indent="  ", **AS_IT_IS) for name in found[2].split()
        ]
        return found[1] + "".join(f"{item}\n" for item in items) + found[3]

    return QUOTATION.sub(quoted, page)


AS_IT_IS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


if __name__ == "__main__":
    (DOCS / "config.md").write_text(config_page(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands_page(), encoding="utf-8")
    (DOCS / "checkpoints.md").write_text(checkpoints_page(), encoding="utf-8")
    for path in (CLONE / "README.md", *DOCS.glob("*.md")):
        if QUOTATION.search(text := path.read_text(encoding="utf-8")):
            path.write_text(quoting(text, claimed()), encoding="utf-8")
