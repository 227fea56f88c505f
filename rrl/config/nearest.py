"""What to say about a name that is not one of the valid ones."""

import difflib
from collections.abc import Iterable


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name that was probably meant; empty if none is close."""
    return next(iter(difflib.get_close_matches(name[:100], list(valid), n=1)), "")


def one_of(name: str, valid: Iterable[str]) -> str:
    """`did you mean erm? must be one of erm, wide2`: the end of a message, after what was found."""
    names = list(valid)
    guess = nearest(name, names)
    return (f"did you mean {guess}? " if guess else "") + f"must be one of {', '.join(names) or '... none is declared'}"
