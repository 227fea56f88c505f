"""Members of a representation, as they are written in configs, flags and cards."""

from dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Member:
    """A network, or the columns start..stop of its features: `erm-s0`, `wide2-s0[0:32]`."""

    network: str
    columns: tuple[int, int] | None

    def __str__(self) -> str:
        return self.network if self.columns is None else f"{self.network}[{self.columns[0]}:{self.columns[1]}]"

    @property
    def alone(self) -> str:
        """The name of the representation of this member: `erm-s0`; `wide2-s0.0-32` for columns 0 to 31."""
        return self.network if self.columns is None else f"{self.network}.{self.columns[0]}-{self.columns[1]}"


def parse_member(text: str) -> Member:
    network, bracket, columns = text.partition("[")
    if not bracket:
        return Member(network, None)
    start, stop = columns.removesuffix("]").split(":")
    return Member(network, (int(start), int(stop)))
