"""What pydantic says of a config, in lines for people: the place, what was found, what is valid."""

import dataclasses
import re
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag, ValidationError

from rrl.config.kinds import MOST_CHARACTERS
from rrl.config.nearest import nearest, one_of
from rrl.config.schema import Config

TAGS = ("origin", "name", "dataset", "kind")  # keys that decide which other keys there are
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument", "invalid_key")
MAPPING_NEEDED = ("model_type", "dict_type", "model_attributes_type", "dataclass_type")


def mistakes(error: ValidationError) -> list[str]:
    """A line for each mistake. A key that is there, misspelt, is not missing too."""
    lines: list[tuple[str, str]] = []  # place of a missing key, line
    meant: set[str] = set()  # places of the keys that are misspelt
    for detail in error.errors():
        keys, kind = _keys(detail["loc"])
        lines.append((_place(keys) if detail["type"] == "missing" else "", _line(detail, keys, kind)))
        if detail["type"] in UNKNOWN_KEY and (guess := nearest(str(keys[-1]), fields_of(kind))):
            meant.add(_place([*keys[:-1], guess]))
    return list(dict.fromkeys(line for missing, line in lines if missing not in meant))


def fields_of(kind: Any) -> dict[str, Any]:
    """Name of each field of a model or a dataclass -> its type; none of other types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if not dataclasses.is_dataclass(kind):
        return {}
    types = get_type_hints(kind, include_extras=True)
    return {field.name: types[field.name] for field in dataclasses.fields(kind)}


def shown(value: Any) -> str:
    """A value as it is printed, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _line(detail: Any, keys: list[Any], kind: Any) -> str:
    """kind : the type of what holds the last key."""
    place, value, error = _place(keys), detail["input"], detail["type"]
    if not keys:  # pydantic does not say where a key is that is not text
        return f"a key: found {shown(value)}; must be text that UTF-8 can encode"
    if error in UNKNOWN_KEY:
        return f"{place}: unknown key; {one_of(str(keys[-1]), fields_of(kind))}"
    if error == "missing":
        return f"{place}: missing; this key is required"
    if error in MAPPING_NEEDED:
        return f"{place}: found {shown(value)}; must be a mapping of keys to values"
    if error.startswith("union_tag"):
        return _tag_line(detail, place)
    if detail["loc"][-1] == "[key]":
        valid = f"a letter, then a-z, 0-9, _ and single -, at most {MOST_CHARACTERS} characters in all"
        return f"{place}: found name {shown(value)}; must be {valid}"
    words = re.findall(r"'(\w+)'", detail["ctx"]["expected"]) if error == "literal_error" else []
    if words and isinstance(value, str):
        return f"{place}: found {shown(value)}; {one_of(value, words)}"
    message = re.sub(r"^\w+ should", "must", detail["msg"].removeprefix("Value error, "))
    return f"{place}: found {shown(value)}; {message[0].lower() + message[1:]}"


def _tag_line(detail: Any, place: str) -> str:
    """A mistake in the key that decides which other keys there are."""
    tag, value = detail["ctx"]["discriminator"].strip("'"), detail["input"]
    if detail["type"] == "union_tag_invalid":
        names = [name.strip(" '") for name in detail["ctx"]["expected_tags"].split(",")]
        return f"{place}.{tag}: found {shown(value[tag])}; {one_of(str(value[tag]), names)}"
    for key in value:
        if nearest(str(key), [tag]):
            return f"{place}.{key}: unknown key; did you mean {tag}? it decides which other keys are valid"
    return f"{place}.{tag}: missing; this key is required"


def _keys(location: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """The keys that lead to an error, without the branches of unions and the mark of a key, which pydantic puts among
    them; and the type of what holds the last key."""
    keys: list[Any] = []
    kind: Any = Config
    holder: Any = Config
    for step in location:
        if get_origin(kind) in (Union, UnionType):
            kind = _branch(kind, step)
        elif step == "[key]" and get_origin(holder) is dict:
            break
        else:
            keys.append(step)
            holder, kind = kind, _inside(kind, step)
    return keys, holder


def _place(keys: Sequence[Any]) -> str:
    place = ""
    for key in keys:
        name = key if isinstance(key, str) and key.strip() and ":" not in key else repr(key)
        place += f"[{key}]" if isinstance(key, int) else f".{name}" if place else name
    return place


def _inside(kind: Any, step: Any) -> Any:
    """The type of what lies at `step` (a key or a position) of a value of type `kind`."""
    if get_origin(kind) in (dict, list):
        return _bare(get_args(kind)[-1])
    return _bare(fields_of(kind).get(step))


def _branch(union: Any, step: Any) -> Any:
    """The type in a union that pydantic calls `step`."""
    for member in get_args(union):
        branch = _bare(member)
        tags = [tag.tag for tag in get_args(member) if isinstance(tag, Tag)]
        fields = fields_of(branch)
        tags += [tag for key in TAGS if key in fields for tag in get_args(_bare(fields[key]))]
        if step in tags:
            return branch
    return None


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind
