"""Names of fine-tuning runs: by their numbers, never by a position in a list."""

from dataclasses import dataclass
from decimal import Decimal


def setting_name(learning_rate: float, weight_decay: float, epochs: int) -> str:
    """`lr0.01-wd0.0001-e100`. Numbers without an exponent, so that each has one name."""
    return f"lr{_decimal(learning_rate)}-wd{_decimal(weight_decay)}-e{epochs}"


def _decimal(number: float) -> str:
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Run:
    """One setting of fine-tuning of a representation on a target, trained and picked by one rule."""

    representation: str
    target: str
    selection: str
    setting: str

    @property
    def name(self) -> str:
        """Also the name of the network, where its weights are kept."""
        return f"{self.representation}.{self.target}.{self.selection}-{self.setting}"
