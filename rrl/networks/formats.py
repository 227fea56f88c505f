"""The formats of checkpoints of other projects, one entry each, without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """How a checkpoint holds a network.

    reader : `module:function` from the file's tensors, an architecture and the file's path to the trunk's tensors, by
        this project's keys, and the head if there is one; imported when it is used.
    mark : how keys begin that only such files have.
    """

    name: str
    reader: str
    mark: str = ""

    @property
    def modules(self) -> list[str]:
        """The modules that only formats like this one use."""
        return [self.reader.partition(":")[0]]


FORMATS = {
    entry.name: entry
    for entry in (
        Format("auto", "rrl.networks.read_prefix:read_any"),
        Format("rrl", "rrl.networks.read_rrl:read_rrl", "module.model0."),
        Format("swav", "rrl.networks.read_swav:read_swav", "module.projection_head."),
        Format("vissl", "rrl.networks.read_vissl:read_vissl", "trunk._feature_blocks."),
        Format("vit-npz", "rrl.networks.read_vit:read_vit", "Transformer/"),
        Format("torchvision", "rrl.networks.read_prefix:read_bare"),
    )
}
DECLARED = tuple(name for name in FORMATS if name != "auto")


def parts(name: str) -> list[Format]:
    """The entries that reading a file of this format may use: for `auto`, all."""
    return list(FORMATS.values()) if name == "auto" else [FORMATS[name]]
