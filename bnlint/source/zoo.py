"""Which models of known libraries contain BatchNorm, in which mode they come, and whether they have Dropout.

`zoo.json` says so for the models of the versions that it names (`tests/zoo.py` makes it from their
sources). Names that are newer than the table are settled by their family, where every member of it that
the table knows agrees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bnlint.facts import UNKNOWN, Answer3, Unknown

Given = Mapping[int | str | Unknown, object]
"""The arguments of a call, by position and by name: constants, the names of classes, UNKNOWN. An entry for
UNKNOWN says that there may be more."""


class Known(NamedTuple):
    """What is known of a model that a constructor makes; `mode` is the one that it comes in."""

    batchnorm: Answer3
    dropout: Answer3 = "unknown"
    mode: Literal["train", "unknown"] = "train"


NOTHING: Final = Known("unknown")
ANSWERS: Final[Mapping[str, Known]] = {
    "batchnorm": Known("yes"),
    "dropout": Known("no", "yes"),
    "neither": Known("no", "no"),
    "no batchnorm": Known("no"),
}
"""What the table's headings say."""

HOMES: Final = (
    "torchvision.models.",
    "timm.",
    "segmentation_models_pytorch.",
    "pretrainedmodels.",
    "efficientnet_pytorch.",
    "transformers.",
    "torch.hub.load",
)
FACTORIES: Final = frozenset({"create_model", "get_model"})
"""Functions that are given the name of an architecture."""
LOADING: Final = frozenset({"from_pretrained", "from_config", "from_name", "_from_config"})
REPOSITORIES: Final[Mapping[str, str]] = {
    "pytorch/vision": "torchvision",
    "huggingface/pytorch-image-models": "timm",
    "rwightman/pytorch-image-models": "timm",
    "rwightman/gen-efficientnet-pytorch": "timm",
    "facebookresearch/deit": "timm",
    "facebookresearch/swav": "torchvision",
    "facebookresearch/dino": "torchvision",
    "facebookresearch/dinov2": "timm",
    "facebookresearch/WSL-Images": "torchvision",
    "facebookresearch/semi-supervised-ImageNet1K-models": "torchvision",
}
"""Repositories of torch.hub whose entries give models in train mode, and the library whose names they use."""
HUB_PREFIX: Final = re.compile(r"dino_(?=resnet|vit|xcit)")
ALONE: Final[Mapping[tuple[str, str], Known]] = {
    ("mateuszbuda/brain-segmentation-pytorch", "unet"): Known("yes"),
    ("milesial/Pytorch-UNet", "unet_carvana"): Known("yes"),
}
"""Entries of torch.hub that no library has."""

WITH: Final = re.compile(
    r"(wide_|tf_|seresnet|se_?|sk|legacy_se|eca_?|gc|gluon_|quantized_)?"
    r"(res(net\d|next|nest|net_?rs|net(v2|aa|blur))|densenet|mobilenet|mnasnet|googlenet|inception|shufflenet"
    r"|efficientnet|regnet[xy]|xception|dpn|nasnet|pnasnet|senet|hrnet|ghostnet|dla\d|vovnet|repvgg|fbnet"
    r"|mixnet|rexnet|darknet|cspdarknet|bninception|cafferesnet|fcn_res|deeplabv3|lraspp|xcit|levit|lcnet)",
    re.IGNORECASE,
)
WITHOUT: Final = re.compile(
    r"(alexnet|squeezenet|vgg\d+$|vit_(?!.*_r\d)|vit[stblg]\d|swin|convnext|deit|beit|mixer|eva|dinov[23]|samvit|hiera|flexivit)",
    re.IGNORECASE,
)
"""Families of which every member has BatchNorm, and those of which none has."""
FROZEN: Final = re.compile(r"(fasterrcnn|maskrcnn|keypointrcnn|retinanet|fcos)_\w+_fpn$")
"""Detectors whose pretrained backbone has its BatchNorm frozen."""
OTHERWISE: Final = re.compile(
    r"_(s?gn|evo[sb]\w*|frn|bit|ln|rms)(_|$)|mobilenetv5|vit_\w*(resnet|mci)", re.IGNORECASE
)
"""What a name says of a member that differs from its family."""


def is_home(path: str) -> bool:
    """Whether a dotted path leads into a library of models."""
    return path.startswith(HOMES)


def find(path: str, given: Given) -> Known | None:
    """What is known of the model that a call makes; None where the call is no known constructor."""
    if not path.startswith(HOMES):
        return None
    library, _, rest = path.partition(".")
    names = rest.split(".")
    if library == "torch":
        return from_hub(given)
    if library == "transformers":
        return from_transformers(names, given)
    if library == "segmentation_models_pytorch":
        return from_segmentation(names[-1], given)
    if library == "efficientnet_pytorch":
        return named(library, "EfficientNet", given) if "EfficientNet" in names else None
    if names[-1] in FACTORIES:
        name = given.get(0, given.get("model_name", given.get("name")))
        return (named(library, name, given) if isinstance(name, str) else None) or NOTHING
    if "detection" in names:
        return detector(names[-1], given)
    return named(library, names[-1], given, known_to_build="models" in names or library == "torchvision")


def has_batchnorm(path: str, architecture: str | None = None) -> Answer3 | None:
    """Whether the model that a constructor makes has BatchNorm; None where it is no known constructor.

    `architecture` is the name passed to a factory such as `timm.create_model`.
    """
    known = find(path, {} if architecture is None else {0: architecture})
    return None if known is None else known.batchnorm


# the table


@cache
def table() -> Mapping[str, Mapping[str, Known]]:
    """What the table says of each library's names. It is read when the first such library is met."""
    text = (Path(__file__).parent / "zoo.json").read_text(encoding="utf-8")
    models: dict[str, dict[str, list[str]]] = json.loads(text)["models"]
    return {
        library: {name: ANSWERS[answer] for answer, names in answers.items() for name in names}
        for library, answers in models.items()
    }


def named(library: str, name: str, given: Given, *, known_to_build: bool = True) -> Known | None:
    """What is known of an architecture by its name."""
    plain = re.sub(r"^(hf[-_]hub:)?(timm/)?", "", name).partition(".")[0]
    found = table()[library].get(plain)
    if found is None:
        found = by_family(plain) if known_to_build else None
    return None if found is None else adapted(found, given)


def by_family(name: str) -> Known | None:
    """What the family of a name says; None where it has none or differs from it."""
    if OTHERWISE.search(name):
        return None
    if WITHOUT.match(name):
        return Known("no")
    return Known("yes") if WITH.match(name) or re.match(r"vgg\d+_bn", name, re.IGNORECASE) else None


def adapted(known: Known, given: Given) -> Known:
    """What the arguments of a call change: the table holds for the default ones."""
    batchnorm, dropout = known.batchnorm, known.dropout
    for name, value in given.items():
        if not isinstance(name, str):
            continue
        if re.search(r"norm_layer$|^norm$|use_(batch)?norm|batch_?norm$|^bn$", name):
            batchnorm = by_norm(value, batchnorm)
        if re.search(r"drop(out)?(_rate|_prob)?$|^p$", name) and "path" not in name:
            dropout = by_rate(value)
    return Known(batchnorm, dropout, known.mode)


def by_norm(value: object, default: Answer3) -> Answer3:
    """What is known of a model that is given its normalisation."""
    match value:
        case str() if re.search(r"batch_?norm", value, re.IGNORECASE):
            return "yes"
        case str() if re.search(r"(layer|group|instance|rms)_?norm|identity", value, re.IGNORECASE):
            return "no"
        case None | True:
            return default
    return "unknown"


def by_rate(value: object) -> Answer3:
    """Whether something is dropped at this rate."""
    if isinstance(value, int | float):
        return "yes" if value > 0 else "no"
    return "unknown"


# the libraries


def detector(name: str, given: Given) -> Known | None:
    """A detector of torchvision: a pretrained backbone is frozen, except in second versions."""
    known = table()["torchvision"].get(name) or (Known("no") if FROZEN.match(name) else None)
    if known is None or known.batchnorm == "yes" or not name.endswith("_fpn"):
        return known
    old = "pretrained" in given or "pretrained_backbone" in given
    weights, backbone = ("pretrained", "pretrained_backbone") if old else ("weights", "weights_backbone")
    trained = [given.get(weights), given.get(backbone, UNKNOWN if UNKNOWN in given else True)]
    if any(value is UNKNOWN for value in trained) and not any(v is not UNKNOWN and v for v in trained):
        return NOTHING
    return known if any(trained) else Known("yes")


def from_hub(given: Given) -> Known | None:
    """`torch.hub.load("pytorch/vision:v0.10.0", "resnet18")`"""
    repository, name = given.get(0, given.get("repo_or_dir")), given.get(1, given.get("model"))
    if not isinstance(repository, str) or given.get("source", "github") != "github":
        return None
    repository = repository.partition(":")[0]
    library = REPOSITORIES.get(repository)
    if library is None:
        return ALONE.get((repository, name)) if isinstance(name, str) else None
    return (named(library, HUB_PREFIX.sub("", name), given) if isinstance(name, str) else None) or NOTHING


def from_segmentation(name: str, given: Given) -> Known | None:
    """`smp.Unet("resnet34", decoder_use_batchnorm=False)`, `smp.create_model("unet", encoder_name=…)`"""
    heads = table()["segmentation_models_pytorch"]
    shift = 0
    if name == "create_model":
        wanted = given.get(0, given.get("arch"))
        if not isinstance(wanted, str):
            return NOTHING
        name, shift = next((head for head in heads if head.lower() == wanted.lower()), wanted), 1
    head = heads.get(name)
    if head is None:
        return None
    head_answer = without_norm(head, given)
    encoder = given.get(shift, given.get("encoder_name", UNKNOWN if UNKNOWN in given else "resnet34"))
    inner = encoder_named(encoder) if isinstance(encoder, str) else NOTHING
    dropout: Answer3 = "no" if inner.dropout == "no" else "unknown"  # an encoder gives up its classifier
    return Known(together(head_answer, inner.batchnorm), together(head.dropout, dropout))


def without_norm(head: Known, given: Given) -> Answer3:
    """Whether a decoder has BatchNorm, which two arguments decide."""
    for name in ("decoder_use_batchnorm", "decoder_use_norm", "psp_use_batchnorm"):
        match given.get(name, True):
            case True:
                continue
            case False | None:
                return "no"
            case str() as norm:
                return "yes" if norm in {"batchnorm", "inplace"} else "no"
            case _:
                return "unknown"
    return head.batchnorm


def encoder_named(name: str) -> Known:
    """An encoder of segmentation_models_pytorch; those that begin with `tu-` are timm's."""
    known = table()["segmentation_models_pytorch.encoders"].get(name)
    if known is None:
        known = named("timm", re.sub(r"^(tu|timm)-", "", name).replace("-", "_"), {})
    return known or NOTHING


def together(one: Answer3, other: Answer3) -> Answer3:
    """Whether two parts have something."""
    if "yes" in {one, other}:
        return "yes"
    return "no" if one == other == "no" else "unknown"


def from_transformers(names: list[str], given: Given) -> Known | None:
    """`ViTModel(config)`; `from_pretrained` gives a model in eval mode, which nobody here has set."""
    last = names[-1]
    if last not in LOADING:
        known = table()["transformers"].get(last)
        return None if known is None else Known(known.batchnorm, "unknown")
    if len(names) < 2:
        return None
    mode: Literal["train", "unknown"] = "unknown" if last == "from_pretrained" else "train"
    known = table()["transformers"].get(names[-2])
    if known is None and names[-2].startswith("AutoModel") and isinstance(given.get(0), str):
        known = checkpoint(str(given[0]))
    return None if known is None else Known(known.batchnorm, known.dropout, mode)


def checkpoint(name: str) -> Known | None:
    """`microsoft/resnet-50`: the type of a model whose name begins its own."""
    owner, _, base = name.rpartition("/")
    if owner == "timm":
        return named("timm", base, {})
    words = re.split(r"[-_.]", base.lower())
    for length in range(len(words), 0, -1):
        found = table()["transformers.types"].get("_".join(words[:length]))
        if found is not None:
            return found
    return None
