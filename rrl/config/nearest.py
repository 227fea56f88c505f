"""What to say about a name that is not one of the valid ones."""

import difflib
from collections.abc import Collection, Iterator


def nearest(name: str, valid: Collection[str]) -> str:
    """The valid name that was probably meant; empty if none is close."""
    return next(iter(difflib.get_close_matches(name[:100], list(valid), n=1)), "")


def one_of(name: str, valid: Collection[str]) -> str:
    """The end of a message, after what was found: `did you mean erm? must be one of: erm, wide2`."""
    if not valid:
        return "must be declared, and nothing is"
    guess = nearest(name, valid)
    return (f"did you mean {guess}? " if guess else "") + f"must be one of: {', '.join(valid)}"


def unknown(place: str, name: str, valid: Collection[str]) -> Iterator[str]:
    """A line if a name is not valid."""
    if name not in valid:
        yield f"{place}: found {name!r}; {one_of(name, valid)}"
