"""Load an experiment's config: one line for each mistake, all at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rrl.errors import UserError
from rrl.references import allowed, dangling
from rrl.schema import Config


def load_config(content: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """The config that Snakemake merged from `files` and its command line.

    Raises UserError with one line for each mistake: where, what was found, what is allowed.
    """
    mistakes = [mistake for file in files for mistake in duplicate_keys(file)]
    plain = _plain(content)
    config = None
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        mistakes += [_line(detail, plain) for detail in error.errors()]
    mistakes += [mistake for mistake in dangling(plain) if mistake not in mistakes]
    if mistakes or config is None:
        where = ", ".join(str(file) for file in files)
        raise UserError("\n".join([f"{where}: {len(mistakes)} mistakes", *(f"  {line}" for line in mistakes)]))
    return config


def duplicate_keys(file: Path) -> Iterator[str]:
    """A line for each key that a YAML file gives twice: of the two, YAML would silently take the last."""
    try:
        waiting: list[tuple[str, yaml.Node | None]] = [("", yaml.compose(file.read_text(encoding="utf-8")))]
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in lines:
                    yield f"{place}{key.value}: given twice, in lines {lines[key.value]} and {line}; allowed is once"
                lines[key.value] = line
                waiting.append((f"{place}{key.value}.", value))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{place.removesuffix('.')}[{number}].", item) for number, item in enumerate(node.value)]


def _plain(value: Any) -> Any:
    """Snakemake's ordered dictionaries as plain ones."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _line(detail: Any, content: Any) -> str:
    """One validation error of pydantic as: where, found, allowed."""
    place, value, model = "", content, Config
    for number, step in enumerate(detail["loc"]):
        last = number == len(detail["loc"]) - 1
        if isinstance(step, int):
            place += f"[{step}]"
        elif step in value if isinstance(value, dict) else False:
            place += f".{step}" if place else step
        elif last and step != "[key]":  # a missing key
            place += f".{step}" if place else step
            break
        else:  # the branch of a union, or the mark of a key
            model = _inside(model, step)
            continue
        value = value[step] if isinstance(value, dict | list) else None
        model = model if last else _inside(model, step)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key; " + allowed(str(detail["loc"][-1]), list(model.model_fields))
    if detail["type"].startswith("union_tag"):
        key = detail["ctx"]["discriminator"].strip("'")
        if detail["type"] == "union_tag_not_found":
            return f"{place}.{key}: missing; this key is required"
        names = [name.strip(" '") for name in detail["ctx"]["expected_tags"].split(",")]
        return f"{place}.{key}: found {detail['ctx']['tag']!r}; {allowed(detail['ctx']['tag'], names)}"
    if detail["type"] == "missing":
        return f"{place}: missing; this key is required"
    if detail["loc"][-1] == "[key]":
        return f"{place}: found name {detail['input']!r}; allowed are a-z, 0-9, _ and single -, a letter first"
    return f"{place}: found {detail['input']!r}; {message[0].lower() + message[1:]}"


def _inside(kind: Any, step: Any) -> Any:
    """The type of what lies at `step` (a key, a position, or the branch of a union) of a value of type `kind`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(step)
        return kind if field is None else _bare(field.annotation)
    if get_origin(kind) is dict:
        return _bare(get_args(kind)[1])
    if get_origin(kind) is list:
        return _bare(get_args(kind)[0])
    for branch in get_args(kind):
        fields = branch.model_fields
        tags = [get_args(fields[key].annotation) for key in ("origin", "name", "dataset") if key in fields]
        if any(step in tag for tag in tags) or branch.__name__ == step:
            return branch
    return kind


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind
