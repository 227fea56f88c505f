"""Models of timm and torchvision as trunks. Each library is imported when one of its models is built."""

from typing import Any, cast

from torch import Tensor, nn

from rrl.errors import UserError
from rrl.networks.architectures import Architecture
from rrl.networks.trunks import Trunk


class LibraryTrunk(Trunk):
    """A model that gives features (B, D) when called; its keys begin with `model.`."""

    def __init__(self, model: nn.Module, feature_dim: int):
        super().__init__()
        self.model = model
        self.feature_dim = feature_dim

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model(x))


def timm_trunk(architecture: Architecture, image_size: int | None, pretrained: bool = False) -> LibraryTrunk:
    """Any model of timm without its classifier, with its published weights if `pretrained`.

    Raises UserError for a name that timm does not have.
    """
    import timm

    name = architecture.model
    if not timm.is_model(name):
        raise UserError(f"timm/{name}: timm {timm.__version__} has no such model; timm.list_models() lists them")
    published = timm.get_pretrained_cfg(name)
    native = published.input_size[-1] if published is not None and published.fixed_input_size else image_size
    size: dict[str, Any] = {} if image_size in (None, native) else {"img_size": image_size}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **size)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"timm/{name}: not for images of {image_size} pixels: {error}") from None
    width: Any = getattr(model, "head_hidden_size", None) or model.num_features
    return LibraryTrunk(model, int(width))


def vision_transformer(architecture: Architecture, image_size: int | None) -> LibraryTrunk:
    """timm's, for images that its patches of 16 pixels cover; raises UserError for others."""
    if image_size is not None and image_size % 16:
        raise UserError(
            f"{architecture.family}: not for images of {image_size} pixels; their size must be a multiple of 16"
        )
    return timm_trunk(architecture, image_size)


def torchvision_trunk(architecture: Architecture, image_size: int | None, pretrained: bool = False) -> LibraryTrunk:
    """Any classifier of torchvision without its last linear layer, with its published weights if `pretrained`.

    Raises UserError for other names.
    """
    from torchvision.models import get_model, list_models

    name = architecture.model
    if name not in list_models():
        raise UserError(
            f"torchvision/{name}: torchvision has no such model; torchvision.models.list_models() lists them"
        )
    model = get_model(name, weights="DEFAULT" if pretrained else None)
    for part in ("fc", "classifier", "heads", "head"):
        last = getattr(model, part, None)
        if isinstance(last, nn.Sequential):
            part, last = f"{part}.{list(last._modules)[-1]}", last[-1]
        if isinstance(last, nn.Linear):
            model.set_submodule(part, nn.Identity())
            return LibraryTrunk(model, last.in_features)
    raise UserError(f"torchvision/{name}: does not end in a linear layer; it must be an image classifier that does")
