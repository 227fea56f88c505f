"""What timm and torchvision know of their models: published weights, and how images become inputs."""

from typing import Any

from rrl.architecture_names import parse_architecture
from rrl.architectures import TIMM, Trunk, timm_trunk, torchvision_trunk
from rrl.errors import UserError

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
AUGMENTATION = {"scale": [0.08, 1.0], "flip": True}  # of training; not used where views is 1
STANDARD = {"size": 224, "resize": 256, "interpolation": "bilinear", **IMAGENET}
OURS = {
    "resnet8": {"size": 28, "resize": 28, "interpolation": "bilinear", "mean": [0.286], "std": [0.353]},
    "cifar_resnet18": {
        "size": 32, "resize": 32, "interpolation": "bilinear",
        "mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010],
    },
}  # fmt: skip


def pretrained_trunk(arch: str) -> Trunk:
    """timm/<name> or torchvision/<name> with its published weights, downloaded if they are not in the library's cache.

    Raises UserError if the library has no such model, or its weights cannot be had.
    """
    library, _, name = arch.partition("/")
    try:
        if library == "timm":
            return timm_trunk(name, None, pretrained=True)
        return torchvision_trunk(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{arch}: its published weights cannot be had ({reason}). Where there is no internet: download the file "
            f"elsewhere and name it as {arch}=FILE"
        ) from None


def preprocessing(arch: str, file: str | None = None) -> dict[str, Any]:
    """The transform that a network of this architecture wants, by its library's own data config, as in a config.

    file : name of the checkpoint; if torchvision publishes weights by this name, those weights' transform.
    Raises UserError for networks that do not take RGB images.
    """
    family = parse_architecture(arch).family
    library, _, name = family.rpartition("/")
    if library == "torchvision":
        return _of_torchvision(name, file) | AUGMENTATION
    if library == "timm" or family.startswith("vit_"):
        return _of_timm(name if library else TIMM[family]) | AUGMENTATION
    return OURS.get(family, STANDARD) | AUGMENTATION


def _of_torchvision(name: str, file: str | None) -> dict[str, Any]:
    from torchvision.models import get_model_weights

    every = list(get_model_weights(name))
    if not every:
        return STANDARD
    named = [weights for weights in every if file and weights.url.endswith(f"/{file}")]
    chosen = named[0] if named else every[0] if file else get_model_weights(name).DEFAULT
    preset = chosen.transforms()
    return {
        "size": preset.crop_size[0],
        "resize": preset.resize_size[0],
        "interpolation": preset.interpolation.value,
        "mean": list(preset.mean),
        "std": list(preset.std),
    }


def _of_timm(name: str) -> dict[str, Any]:
    import timm
    from timm.data.config import resolve_data_config

    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UserError(f"timm/{name}: timm {timm.__version__} has no such model; timm.list_models() lists them")
    wanted = resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = wanted["input_size"]
    if channels != 3 or height != width:
        raise UserError(f"timm/{name}: takes inputs {wanted['input_size']}; allowed are square RGB images")
    return {
        "size": height,
        "resize": int(height / wanted["crop_pct"]),
        "interpolation": wanted["interpolation"],
        "mean": list(wanted["mean"]),
        "std": list(wanted["std"]),
    }
