"""Which models of known libraries contain BatchNorm.

Only what a name settles: families whose every member has BatchNorm, and families of which none has.
"""

from __future__ import annotations

import re
from typing import Final

from bnlint.facts import Answer3

WITH: Final = re.compile(
    r"(wide_)?(se_?|sk|i?bn|legacy_se)?(res(net|next|nest|net_?rs|netv2)|densenet|mobilenet|mnasnet|googlenet|inception"
    r"|shufflenet|efficientnet|regnet|xception|dpn|nasnet|pnasnet|senet|se_?res|hrnet|ghostnet|dla|vovnet|repvgg"
    r"|fbnet|mixnet|rexnet|cspnet|csp|darknet|polynet|bninception|cafferesnet|fcn_res|deeplabv3|lraspp|fcresnet)",
    re.IGNORECASE,
)
WITHOUT: Final = re.compile(
    r"(alexnet|squeezenet|vit_|swin|convnext|deit|beit|mixer|maxvit_not|bert|gpt|clip)", re.IGNORECASE
)
FROZEN: Final = re.compile(r"(fasterrcnn|maskrcnn|keypointrcnn|retinanet|fcos)_\w+_fpn$")
SEGMENTATION: Final = frozenset(
    {
        "Unet",
        "UnetPlusPlus",
        "MAnet",
        "Linknet",
        "FPN",
        "PSPNet",
        "PAN",
        "DeepLabV3",
        "DeepLabV3Plus",
        "UPerNet",
    }
)
HOMES: Final = (
    "torchvision.models",
    "timm",
    "segmentation_models_pytorch",
    "pretrainedmodels",
    "efficientnet_pytorch",
)


def is_home(path: str) -> bool:
    """Whether a dotted path leads into a library of models."""
    return path.startswith(HOMES)


def has_batchnorm(path: str, architecture: str | None = None) -> Answer3 | None:
    """Whether the model that a constructor makes has BatchNorm; None where it is no known constructor.

    `architecture` is the name passed to a factory such as `timm.create_model`.
    """
    if not is_home(path):
        return None
    last = path.rpartition(".")[2]
    if path.startswith("torchvision.models.detection."):
        return detector_has_batchnorm(last)
    if last in {"create_model", "get_model"}:
        return "unknown" if architecture is None else by_name(architecture)
    if path.startswith("segmentation_models_pytorch"):
        return "yes" if last in SEGMENTATION else None
    if last in {"from_name", "from_pretrained"}:
        return "yes" if "EfficientNet" in path else None
    return by_name(last) if by_name(last) != "unknown" else None


def detector_has_batchnorm(name: str) -> Answer3 | None:
    """Detectors of torchvision freeze the BatchNorm of a pretrained backbone; second versions do not."""
    if name.endswith("_v2") or name.startswith("ssdlite"):
        return "yes"
    return "no" if FROZEN.match(name) else None


def by_name(name: str) -> Answer3:
    """What the name of an architecture says."""
    if re.match(r"vgg\d+", name, re.IGNORECASE):
        return "yes" if name.lower().endswith("_bn") else "no"
    if WITHOUT.match(name):
        return "no"
    return "yes" if WITH.match(name) else "unknown"
