"""The file of a network, checked, without torch."""

from hashlib import sha256

from rrl.errors import UserError
from rrl.job import Card, remake


def read_network_file(card: Card) -> bytes:
    """Raises UserError if the file is missing or was altered."""
    path = card.path.with_suffix(".safetensors")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {remake(path)}") from None
    if sha256(content).hexdigest() != card.digest:
        raise UserError(f"{path}: altered since {card.path} was written; {remake(path)}")
    return content
