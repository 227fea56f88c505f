"""Networks on disk: one safetensors file with canonical keys `trunk.*` and `head.*`, and its card."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from rrl.architectures import Trunk, build_trunk, parameter_count
from rrl.errors import UserError
from rrl.files import canonical_json, complete
from rrl.network_file import read_network_file
from rrl.provenance import Card, Job


def save_network(
    job: Job, card: Path, name: str, modules: dict[str, Any], arch: str, origin: str, seed: int, facts: dict[str, Any]
) -> None:
    """Write {name}.safetensors and its card.

    modules : {"trunk": module} or {"trunk": module, "head": module}; parameters and buffers are saved.
    """
    tensors = {
        f"{part}.{key}": value.detach().cpu().contiguous()
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    about = {"arch": arch, "origin": origin, "seed": seed, "key": job.key, "settings": job.settings}
    content = save(tensors, metadata={"rrl": canonical_json(about)})
    with complete(card.with_suffix(".safetensors")) as partial:
        partial.write_bytes(content)
    trunk = modules["trunk"]
    about_trunk = {"parameters": parameter_count(trunk), "feature_dim": trunk.feature_dim}
    facts = {**facts, **about_trunk, "arch": arch, "origin": origin, "seed": seed}
    job.write_card(card, f"networks/{name}", sha256(content).hexdigest(), facts)


def load_trunk(card: Card) -> Trunk:
    """The trunk of a network, in evaluation mode, strictly: every key and shape must match.

    Raises UserError if the file is missing, was altered, or is not of the card's architecture.
    """
    content = read_network_file(card)
    trunk = build_trunk(card.facts["arch"])
    try:
        tensors = load(content)
        trunk.load_state_dict({k.removeprefix("trunk."): v for k, v in tensors.items() if k.startswith("trunk.")})
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{card.path.with_suffix('.safetensors')}: not a {card.facts['arch']}: {' '.join(str(error).split())}"
        ) from None
    return trunk.eval()
