"""Networks: architectures, the formats that others keep them in, and how they are kept here.

From Python: `from rrl.networks import build, convert, load`. These are imported, with torch, when
they are asked for, as the workflow reads names and sizes of networks without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rrl.networks.api import build, convert, load

__all__ = ["build", "convert", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rrl.networks import api

    return getattr(api, name)
