"""The keys of a RegNet in VISSL and torchvision, renamed to timm's."""

import re
from collections.abc import Callable

RENAMED: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^(conv1\.)?stem\.0\.", "stem.conv."),
    (r"^(conv1\.)?stem\.1\.", "stem.bn."),
    (r"^(res\d|trunk_output\.block\d)\.block(\d)-(\d+)\.", lambda m: f"s{m[2]}.b{int(m[3]) + 1}."),
    (r"\.f\.a\.0\.", ".conv1.conv."),
    (r"\.f\.a\.1\.", ".conv1.bn."),
    (r"\.f\.b\.0\.", ".conv2.conv."),
    (r"\.f\.b\.1\.", ".conv2.bn."),
    (r"\.f\.se\.excitation\.0\.|\.f\.se\.fc1\.", ".se.fc1."),
    (r"\.f\.se\.excitation\.2\.|\.f\.se\.fc2\.", ".se.fc2."),
    (r"\.f\.c\.0\.", ".conv3.conv."),
    (r"\.f\.final_bn\.|\.f\.c\.1\.", ".conv3.bn."),
    (r"\.f\.c\.", ".conv3.conv."),
    (r"\.proj\.0\.|\.proj\.(?=weight)", ".downsample.conv."),
    (r"\.proj\.1\.|(?<=b\d)\.bn\.|(?<=b\d\d)\.bn\.", ".downsample.bn."),
]


def regnet_key(key: str) -> str:
    """timm's key for one of VISSL's (without _feature_blocks.) or torchvision's."""
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key
