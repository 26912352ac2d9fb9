"""What `bnlint.check` says of known architectures with random weights, which are healthy.

    python tests/architectures.py [PART OF A NAME]...

needs timm, torchvision, segmentation-models-pytorch and transformers beside torch; the architectures of one
that is not there are left out, and the last line says so. Only the Python of torchvision is used: it need not
fit the installed torch. Each architecture is built at a small input size and checked in both stages, on
batches of 16; before "eval" it has seen some batches in train mode, so that its statistics are real. Shown
are the codes with their counts, and each message once; exit status 1 if anything raised or is an error.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from livemodels.case import settled
from torch import nn

import bnlint

BATCH, BATCHES, CLASSES = 16, 2, 10

TORCHVISION = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3@96",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "vgg11_bn",
    "wide_resnet50_2",
    "fcn_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
    "mc3_18",
    "r3d_18",
    "r2plus1d_18",
]
TIMM = [
    "convmixer_768_32@32",
    "cspresnet50",
    "darknet53",
    "dla34",
    "dpn68",
    "ecaresnet26t",
    "edgenext_xx_small",
    "efficientformer_l1@224",
    "efficientvit_b0",
    "ese_vovnet19b_dw",
    "fastvit_t8",
    "fbnetc_100",
    "gernet_s",
    "ghostnet_100",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hrnet_w18_small",
    "inception_next_atto",
    "inception_v4@96",
    "lcnet_050",
    "levit_128s@224",
    "mixnet_s",
    "mobilenetv4_conv_small",
    "mobileone_s0",
    "mobilevit_xxs",
    "nf_resnet26",
    "poolformer_s12",
    "regnetz_b16",
    "repghostnet_050",
    "repvgg_a0",
    "repvit_m0_9",
    "res2net50_26w_4s",
    "resnest14d",
    "resnet18d",
    "resnetv2_50",
    "rexnet_100",
    "selecsls42",
    "seresnet18",
    "shvit_s1",
    "skresnet18",
    "starnet_s1",
    "tf_efficientnet_lite0",
    "tiny_vit_5m_224@224",
    "tinynet_a",
    "tresnet_m",
    "visformer_tiny@224",
    "vgg11_bn",
    "xception41",
]
SEGMENTATION = [
    "Unet",
    "UnetPlusPlus",
    "FPN",
    "Linknet",
    "PSPNet",
    "DeepLabV3Plus",
    "MAnet",
    "PAN@128",
    "UPerNet",
]
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("ForImageClassification", {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 2]}),
    "RegNet": (
        "ForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 2], "groups_width": 8},
    ),
    "MobileNetV1": ("ForImageClassification", {}),
    "MobileNetV2": ("ForImageClassification", {}),
    "EfficientNet": (
        "ForImageClassification",
        {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    ),
    "MobileViT": ("ForImageClassification", {}),
    "Levit": ("ForImageClassification", {"image_size": 64}),
    "PatchTST": ("ForPrediction", {"context_length": 64, "prediction_length": 8, "num_input_channels": 3}),
    "Wav2Vec2Conformer": (
        "Model",
        {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 64},
    ),
}
"""Models of transformers, and how they are made small."""

Batches = list[Any]
Made = tuple[nn.Module, Batches]


def images(size: int, *, target: Callable[[], torch.Tensor] | None = None) -> Batches:
    """Batches of (images, targets); the targets are classes where nothing else is said."""
    target = target or (lambda: torch.randint(CLASSES, (BATCH,)))
    return [(torch.randn(BATCH, 3, size, size), target()) for _ in range(BATCHES)]


def from_torchvision(name: str) -> Made:
    """One of torchvision's."""
    # Its C++ part does not fit; two operators have to have a name for its Python to import.
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    models = importlib.import_module("torchvision.models")
    name, _, size = name.partition("@")
    rest = {"weights_backbone": None} if name.startswith(("fcn", "deeplab", "lraspp")) else {}
    rest |= {"init_weights": True} if name in {"googlenet", "inception_v3"} else {}
    rest |= {"aux_logits": False} if name == "inception_v3" else {}  # which need larger images
    model = models.get_model(name, weights=None, num_classes=CLASSES, **rest)
    if rest and "weights_backbone" in rest:
        return model, images(64, target=lambda: torch.randint(CLASSES, (BATCH, 64, 64)))
    if name in {"mc3_18", "r3d_18", "r2plus1d_18"}:
        shape = (BATCH, 3, 16, 32, 32)
        return model, [(torch.randn(shape), torch.randint(CLASSES, (BATCH,))) for _ in range(BATCHES)]
    return model, images(int(size or 64))


def from_timm(name: str) -> Made:
    """One of timm's."""
    timm = importlib.import_module("timm")
    name, _, size = name.partition("@")
    return timm.create_model(name, num_classes=CLASSES), images(int(size or 64))


def from_segmentation_models(name: str) -> Made:
    """One of segmentation-models-pytorch's, on a small ResNet."""
    library = importlib.import_module("segmentation_models_pytorch")
    name, _, size = name.partition("@")
    side = int(size or 64)
    model = getattr(library, name)("resnet18", encoder_weights=None, classes=4)
    return model, images(side, target=lambda: torch.randint(4, (BATCH, side, side)))


def from_transformers(name: str) -> Made:
    """One of transformers', which takes its inputs by name."""
    library = importlib.import_module("transformers")
    head, settings = SMALL[name]
    config = getattr(library, f"{name}Config")(**settings)
    model = getattr(library, name + head)(config)
    if name == "PatchTST":
        inputs = {"past_values": (BATCH, 64, 3), "future_values": (BATCH, 8, 3)}
    elif name == "Wav2Vec2Conformer":
        inputs = {"input_values": (BATCH, 4000)}
    else:
        inputs = {"pixel_values": (BATCH, 3, 64, 64)}
    return model, [{key: torch.randn(shape) for key, shape in inputs.items()} for _ in range(BATCHES)]


LIBRARIES: dict[str, tuple[Callable[[str], Made], Iterable[str]]] = {
    "torchvision": (from_torchvision, TORCHVISION),
    "timm": (from_timm, TIMM),
    "segmentation_models_pytorch": (from_segmentation_models, SEGMENTATION),
    "transformers": (from_transformers, SMALL),
}


def said(model: nn.Module, loader: Batches, stage: str) -> tuple[Counter[str], list[str]]:
    """The codes of what is found, and each message with a place and how often it came."""
    report = bnlint.check(model, loader, stage=stage)
    codes = Counter(f"{finding.code} {finding.severity}" for finding in report)
    messages: dict[tuple[str, str], list[str]] = {}
    for finding in report:
        places = messages.setdefault((finding.code, finding.message), [])
        places.append(finding.where.module or f"{finding.where.filename}:{finding.where.row}")
    lines = [
        f"{code} {message} [{places[0]}, {len(places)} in all]"
        for (code, message), places in messages.items()
    ]
    return codes, [*lines, *(f"skipped: {line}" for line in report.skipped)]


def show(library: str, name: str) -> bool:
    """Check one architecture in both stages, and print; whether nothing is an error."""
    start = time.perf_counter()
    torch.manual_seed(0)
    model, loader = LIBRARIES[library][0](name)
    results = {"train": said(model, loader, "train")}
    results["eval"] = said(settled(model, loader), loader, "eval")
    print(f"    {library}/{name}  {time.perf_counter() - start:.1f} s")
    for stage, (codes, lines) in results.items():
        print(f"        {stage}: " + (", ".join(f"{n} × {code}" for code, n in codes.items()) or "clear"))
        for line in lines:
            print(f"            {line}")
    return not any(code.endswith("error") for codes, _ in results.values() for code in codes)


def main() -> int:
    """Check the architectures whose names hold one of the arguments, or all."""
    wanted, absent, bad, checked = sys.argv[1:] or [""], set(), 0, 0
    warnings.simplefilter("ignore")
    for library, name in ((library, name) for library, (_, names) in LIBRARIES.items() for name in names):
        if not any(part in f"{library}/{name}" for part in wanted):
            continue
        try:
            bad += not show(library, name)
            checked += 1
        except ModuleNotFoundError as problem:
            absent.add(str(problem))
        except Exception:
            bad += 1
            print(f"BAD {library}/{name}: " + traceback.format_exc(limit=-6))
        sys.stdout.flush()
    print(f"\n{checked} architectures checked, {bad} bad" + "".join(f"; {line}" for line in sorted(absent)))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
