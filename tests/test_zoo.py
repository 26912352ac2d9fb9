"""The table of models of known libraries, and what is asked of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bnlint.facts import UNKNOWN
from bnlint.source import zoo
from bnlint.source.zoo import Known

TABLE = Path(zoo.__file__).parent / "zoo.json"
TEXT = TABLE.read_text(encoding="utf-8")
DATA = json.loads(TEXT)
YES, NO = Known("yes"), Known("no", "no")
DROPS = Known("no", "yes")


class TestTheFile:
    def test_it_is_written_as_its_generator_writes_it(self):
        assert json.dumps(DATA, indent=0, sort_keys=True) + "\n" == TEXT

    def test_it_names_the_version_of_each_library(self):
        assert {name.partition(".")[0] for name in DATA["models"]} == set(DATA["sources"])
        assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in DATA["sources"].values())

    def test_each_name_stands_in_one_list_and_in_order(self):
        for answers in DATA["models"].values():
            assert set(answers) <= set(zoo.ANSWERS)
            names = [name for listed in answers.values() for name in listed]
            assert len(names) == len(set(names))
            assert all(listed == sorted(listed) for listed in answers.values())

    def test_it_knows_most_of_what_each_library_offers(self):
        known = {library: sum(map(len, answers.values())) for library, answers in DATA["models"].items()}
        assert known["torchvision"] > 100
        assert known["timm"] > 1100
        assert known["transformers"] > 150

    def test_it_is_read_when_it_is_needed(self):
        zoo.table.cache_clear()
        assert zoo.find("torch.nn.Conv2d", {}) is None
        assert not zoo.table.cache_info().currsize
        assert zoo.find("timm.create_model", {0: "resnet50"}) == YES
        assert zoo.table.cache_info().currsize


def test_families_agree_with_all_that_the_table_knows():
    known = {**zoo.table()["timm"], **zoo.table()["torchvision"]}
    said = {name: family.batchnorm for name in known if (family := zoo.by_family(name)) is not None}
    assert {name for name, answer in said.items() if answer != known[name].batchnorm} == set()
    assert len(said) > 700


CALLS = {
    # torchvision
    "a builder": ("torchvision.models.resnet50", {}, YES),
    "below its file": ("torchvision.models.resnet.resnet50", {"weights": UNKNOWN}, YES),
    "dropout alone": ("torchvision.models.vgg16", {}, DROPS),
    "vgg with batchnorm": ("torchvision.models.vgg16_bn", {}, YES),
    "efficientnet": ("torchvision.models.efficientnet_b0", {}, YES),
    "swin": ("torchvision.models.swin_t", {}, NO),
    "convnext": ("torchvision.models.convnext_tiny", {}, NO),
    "vit": ("torchvision.models.vit_b_16", {}, "no"),
    "segmentation": ("torchvision.models.segmentation.deeplabv3_resnet50", {}, YES),
    "video": ("torchvision.models.video.r3d_18", {}, YES),
    "by name": ("torchvision.models.get_model", {0: "vgg16"}, DROPS),
    "by an unknown name": ("torchvision.models.get_model", {0: UNKNOWN}, zoo.NOTHING),
    "another norm": ("torchvision.models.resnet50", {"norm_layer": "torch.nn.GroupNorm"}, Known("no")),
    "an unknown norm": ("torchvision.models.resnet50", {"norm_layer": UNKNOWN}, zoo.NOTHING),
    "the same norm": ("torchvision.models.resnet50", {"norm_layer": "torch.nn.BatchNorm2d"}, YES),
    "no builder": ("torchvision.models.list_models", {}, None),
    "transforms": ("torchvision.transforms.Normalize", {}, None),
    # detectors
    "a frozen detector": (
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        {"weights": "DEFAULT"},
        "no",
    ),
    "one by default": ("torchvision.models.detection.maskrcnn_resnet50_fpn", {}, "no"),
    "the second version": ("torchvision.models.detection.fasterrcnn_resnet50_fpn_v2", {}, "yes"),
    "from scratch": (
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        {"weights": None, "weights_backbone": None},
        "yes",
    ),
    "from scratch, formerly": (
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        {"pretrained": False, "pretrained_backbone": False},
        "yes",
    ),
    "perhaps from scratch": (
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        {"weights": UNKNOWN, "weights_backbone": None},
        "unknown",
    ),
    # timm
    "timm": ("timm.create_model", {0: "resnet50"}, YES),
    "a tag": ("timm.create_model", {"model_name": "resnet50.a1_in1k"}, YES),
    "an address": ("timm.models.create_model", {0: "hf_hub:timm/vit_base_patch16_224.augreg_in1k"}, NO),
    "an entrypoint": ("timm.models.swin_tiny_patch4_window7_224", {}, NO),
    "dropout asked for": ("timm.create_model", {0: "vit_base_patch16_224", "drop_rate": 0.1}, DROPS),
    "dropout of unknown rate": (
        "timm.create_model",
        {0: "vit_base_patch16_224", "drop_rate": UNKNOWN},
        Known("no"),
    ),
    "another dropout": ("timm.create_model", {0: "vit_base_patch16_224", "drop_path_rate": 0.1}, NO),
    "a newer name": ("timm.create_model", {0: "resnet50_of_tomorrow"}, "yes"),
    "a newer one without": ("timm.create_model", {0: "convnext_of_tomorrow"}, "no"),
    "one unlike its family": ("timm.create_model", {0: "resnet50_of_tomorrow_gn"}, zoo.NOTHING),
    "of no family": ("timm.create_model", {0: "tomorrow"}, zoo.NOTHING),
    "a newer entrypoint": ("timm.models.tomorrow", {}, None),
    "another function": ("timm.data.create_dataset", {0: "resnet50"}, None),
    # segmentation_models_pytorch
    "smp": ("segmentation_models_pytorch.Unet", {0: "resnet34"}, YES),
    "its default encoder": ("segmentation_models_pytorch.Unet", {"decoder_use_batchnorm": False}, "yes"),
    "the encoder without": ("segmentation_models_pytorch.Unet", {0: "mit_b0"}, "yes"),
    "both without": ("segmentation_models_pytorch.Unet", {0: "mit_b0", "decoder_use_norm": False}, "no"),
    "an encoder without its classifier": (
        "segmentation_models_pytorch.Unet",
        {0: "vgg11", "decoder_use_norm": False},
        Known("no"),
    ),
    "layernorm": ("segmentation_models_pytorch.Unet", {0: "mit_b0", "decoder_use_norm": "layernorm"}, "no"),
    "an unknown flag": (
        "segmentation_models_pytorch.Unet",
        {0: "mit_b0", "decoder_use_norm": UNKNOWN},
        "unknown",
    ),
    "timm's encoder": (
        "segmentation_models_pytorch.Unet",
        {0: "tu-convnext_tiny", "decoder_use_norm": False},
        "no",
    ),
    "an unknown encoder": (
        "segmentation_models_pytorch.Unet",
        {0: UNKNOWN, "decoder_use_norm": False},
        "unknown",
    ),
    "by an architecture's name": (
        "segmentation_models_pytorch.create_model",
        {0: "unet", "encoder_name": "mit_b0", "decoder_use_norm": False},
        "no",
    ),
    "a loss": ("segmentation_models_pytorch.losses.DiceLoss", {}, None),
    # torch.hub
    "the hub": ("torch.hub.load", {0: "pytorch/vision:v0.10.0", 1: "resnet18"}, YES),
    "timm's hub": ("torch.hub.load", {0: "rwightman/pytorch-image-models", 1: "vit_base_patch16_224"}, NO),
    "dino": ("torch.hub.load", {0: "facebookresearch/dino:main", 1: "dino_vits16"}, "no"),
    "dino's resnet": ("torch.hub.load", {0: "facebookresearch/dino:main", 1: "dino_resnet50"}, "yes"),
    "dinov2": ("torch.hub.load", {0: "facebookresearch/dinov2", 1: "dinov2_vits14"}, "no"),
    "weakly supervised": (
        "torch.hub.load",
        {0: "facebookresearch/WSL-Images", 1: "resnext101_32x8d_wsl"},
        "yes",
    ),
    "a segmentation": ("torch.hub.load", {0: "mateuszbuda/brain-segmentation-pytorch", 1: "unet"}, "yes"),
    "somebody's": ("torch.hub.load", {0: "somebody/models", 1: "resnet18"}, None),
    "a folder": ("torch.hub.load", {0: "pytorch/vision", 1: "resnet18", "source": "local"}, None),
    # others
    "pretrainedmodels": ("pretrainedmodels.se_resnet50", {}, YES),
    "efficientnet-pytorch": ("efficientnet_pytorch.EfficientNet.from_name", {0: "efficientnet-b0"}, YES),
    "transformers": ("transformers.ResNetModel", {0: UNKNOWN}, YES),
    "transformers without": ("transformers.ViTModel", {0: UNKNOWN}, Known("no")),
    "pretrained": ("transformers.ResNetModel.from_pretrained", {0: UNKNOWN}, YES._replace(mode="unknown")),
    "by checkpoint": (
        "transformers.AutoModelForImageClassification.from_pretrained",
        {0: "microsoft/resnet-50"},
        YES._replace(mode="unknown"),
    ),
    "by its type": ("transformers.AutoModel.from_pretrained", {0: "google/vit-base-patch16-224"}, "no"),
    "timm's checkpoint": ("transformers.AutoModel.from_pretrained", {0: "timm/resnet50.a1_in1k"}, "yes"),
    "an unknown checkpoint": ("transformers.AutoModel.from_pretrained", {0: UNKNOWN}, None),
    "a tokenizer": ("transformers.AutoTokenizer.from_pretrained", {0: "microsoft/resnet-50"}, None),
    "another library": ("mylib.models.resnet50", {}, None),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call(case):
    path, given, expected = CALLS[case]
    found = zoo.find(path, given)
    assert (found.batchnorm if isinstance(expected, str) and found is not None else found) == expected
