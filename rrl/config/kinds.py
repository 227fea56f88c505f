"""What a value of a config may be: types with constraints, which the schema and the settings of stages share."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PlainValidator, Strict, Tag

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
# Names and numbers become parts of names of files, which may have 255 bytes.
MOST_CHARACTERS = 50  # of a name
MOST_TEXT = 2000  # characters of a caption; a command line has an end too
LARGEST = 1_000_000_000
LARGEST_SEED = 2**63 - 1


def number(value: Any) -> Any:
    """`1e-4` is a string to YAML 1.1; it means the number all the same."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def magnitude(value: float) -> float:
    if value and not 1e-20 <= abs(value) <= 1e20:
        raise ValueError("must be 0, or from 1e-20 to 1e20 in size")
    return value


DIFFER = "entries must differ"


def distinct(values: list[Any]) -> list[Any]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError(DIFFER)
    return values


def channels(values: list[float]) -> list[float]:
    if len(values) == 2:
        raise ValueError("must be one number for grey images, three for RGB")
    return values


def shots(value: Any) -> int | str:
    if value == "all" or (type(value) is int and 1 <= value <= LARGEST):
        shots: int | str = value
        return shots
    raise ValueError("must be a whole number from 1, or all")


def place(value: str) -> str:
    """Paths reach shells, of this machine and of a cluster, and Snakemake's patterns."""
    refused = sorted({letter for letter in value if letter in '"\\$`{}*?[]' or not letter.isprintable()})
    if refused:
        raise ValueError(f"must be a path without {' '.join(map(repr, refused))}")
    if value != value.strip() or not value or value.startswith(("-", "~")):
        raise ValueError("must be a path that begins with neither -, ~ nor a space, and does not end with a space")
    if len(value) > MOST_TEXT or any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError(f"must be a path of at most {MOST_TEXT} characters, 255 bytes for each folder")
    return value


def text(value: str) -> str:
    """Text for people, in one line: in a table or a picture the end of a line is a space."""
    text = " ".join(value.split())
    if refused := sorted({letter for letter in text if not letter.isprintable()}):
        raise ValueError(f"must be a text without {' '.join(map(repr, refused))}")
    if not text or len(text) > MOST_TEXT:
        raise ValueError(f"must be a text of 1 to {MOST_TEXT} characters")
    return text


def solver(value: str) -> str:
    if value != "lbfgs":
        raise ValueError("must be lbfgs; a probe by SGD has no key solver")
    return value


def boolean_or(word: str) -> Any:
    """true, false, or one word."""

    def check(value: Any) -> bool | str:
        if value is True or value is False or value == word:
            checked: bool | str = value
            return checked
        raise ValueError(f"must be true, false or {word}")

    return PlainValidator(check, json_schema_input_type=bool | Literal[word])


def name_or_families(value: Any) -> str:
    return "families" if isinstance(value, dict) else "name"


def label(value: str) -> str:
    if value.startswith("_"):
        raise ValueError("must be a text that does not begin with _, which would hide it from the legend")
    return value


Entry = TypeVar("Entry")


def said(allowed: str) -> Any:
    """What docs/config.md says is allowed, where JSON's schema has no words for it."""
    return Field(json_schema_extra={"allowed": allowed})


Place = Annotated[str, Strict(), said("path"), AfterValidator(place)]
Text = Annotated[str, Strict(), said(f"text of up to {MOST_TEXT:,} characters"), AfterValidator(text)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False), BeforeValidator(number), AfterValidator(magnitude)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[int, Strict(), Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
BatchSize = Annotated[int, Strict(), Field(ge=2, le=LARGEST)]
Seed = Annotated[int, Strict(), Field(ge=0, le=LARGEST_SEED)]
Distinct = Annotated[list[Entry], Strict(), Field(min_length=1), AfterValidator(distinct)]  # one entry or more
Channels = Annotated[list[Number], Strict(), Field(min_length=1, max_length=3), AfterValidator(channels)]
Deviations = Annotated[list[Positive], Strict(), Field(min_length=1, max_length=3), AfterValidator(channels)]
Sha256 = Annotated[str, Strict(), Field(pattern=r"^[0-9a-f]{64}$"), said("64 hex digits")]
Fingerprint = Annotated[
    str,
    Strict(),
    Field(pattern=r"^([0-9a-f]{16}|torchvision/[A-Za-z0-9_]+)$"),
    said("16 hex digits, or torchvision/NAME"),
]
Name = Annotated[str, Strict(), Field(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$", max_length=MOST_CHARACTERS)]
Architecture = Annotated[str, Strict(), said("architecture")]  # rrl.networks.architectures knows them
Reference = Annotated[str, Strict(), said("name")]  # that is declared elsewhere; rrl.config.references looks for it
Shots = Annotated[int | str, PlainValidator(shots, json_schema_input_type=Count | Literal["all"])]
ProbeOf = Annotated[
    Annotated[Reference, Tag("name")] | Annotated[dict[Reference, Reference], Tag("families")],
    Discriminator(name_or_families),
]
DecayNorm = Annotated[bool | str, boolean_or("published")]
Selection = Literal["heldout", "paper"]
Selections = Distinct[Selection]
Flag = Annotated[bool, Strict()]
Word = Annotated[str, Strict()]
