"""What the settings of all stages have in common, and the stages by name."""

from collections.abc import Callable
from typing import ClassVar, Literal, TypeVar, dataclass_transform

from rrl.config.settings import settings

STAGES: dict[str, type["Stage"]] = {}


@settings
class Stage:
    """needs : roots and numbers of the command line besides the settings, which decide no result.
    depth : parts of the artifact's name, the folder below the results root included.
    transfers : names of the records that it makes.
    gpu : whether a job takes a GPU, of the stages that make records.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    depth: ClassVar[int] = 2
    transfers: ClassVar[tuple[str, ...]] = ()
    gpu: ClassVar[bool] = False


@settings
class Computing(Stage):
    """Stages whose results depend on how products and sums are rounded. The others select, copy, or add float64 numbers
    one by one in a given order."""

    arithmetic: Literal["portable", "native"]
    """portable: the same bytes on every processor with AVX2; or native."""


Settings = TypeVar("Settings", bound=Stage)


@dataclass_transform(frozen_default=True)
def stage(name: str) -> Callable[[type[Settings]], type[Settings]]:
    """Makes a class the settings of the stage of this name, the module rrl.stages.NAME."""

    def named(kind: type[Settings]) -> type[Settings]:
        STAGES[name] = settings(kind)
        return STAGES[name]  # type: ignore[return-value]

    return named
