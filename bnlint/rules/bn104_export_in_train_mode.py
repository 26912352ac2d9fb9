"""A model is traced, exported, fused or saved as a program while in train mode.

What it finds
-------------
`torch.jit.trace`, `torch.export.export`, the dynamo exporter of ONNX, `fuse_modules`, `fuse_fx`,
`prepare_fx` or `torch.jit.freeze` on a model that certainly is in train mode, and a scripted model that is
saved with its train flag.

Why it is wrong
---------------
Tracing and exporting write down the operations that run. In train mode BatchNorm's are those that normalise
with the batch at hand: the exported program answers for one sample by its batch mates (with other ones the
predicted class changes for most samples at batch size 2), fails on a single vector, and no later `eval()`
changes it. Fusing needs the running statistics as constants and raises "Fusion only for eval!";
freezing raises as well. A scripted model keeps its flag in the file: whoever loads it gets train mode.

Bad
---
    import torch
    from torch import nn


    def export(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        net.load_state_dict(torch.load("net.pt"))
        torch.jit.trace(net, torch.rand(1, 3, 32, 32)).save(path)

Good
----
    import torch
    from torch import nn


    def export(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        net.load_state_dict(torch.load("net.pt"))
        net.eval()
        torch.jit.trace(net, torch.rand(1, 3, 32, 32)).save(path)

How to fix it
-------------
Call `eval()` on the model before the export; on the model and not on what comes back, which is another one.
`requires_grad_(False)` and `torch.no_grad()` switch nothing.

When it is fine
---------------
Programs that are trained themselves, and quantisation-aware training (`fuse_modules_qat`, `prepare_qat`).
`torch.onnx.export` with the TorchScript exporter, Lightning's `to_torchscript` and
`optimize_for_inference` switch to eval by themselves.

References
----------
- PyTorch, `torch.jit.trace`: https://pytorch.org/docs/stable/generated/torch.jit.trace.html
- PyTorch, `torch.export`: https://pytorch.org/docs/stable/export.html
- PyTorch, `fuse_modules`:
  https://pytorch.org/docs/stable/generated/torch.ao.quantization.fuse_modules.fuse_modules.html
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Effect, Export, Facts, assumption
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "S"

HARM: Final[dict[Effect, str]] = {
    "recorded": "the program uses each batch's own statistics for good, whatever `eval()` comes later",
    "refused": "it folds BatchNorm's running statistics into constants, and raises while they move",
}


def check(facts: Facts) -> Iterator[Claim]:
    """A model that certainly is in train mode when it is exported."""
    for export in facts.exports:
        if export.modes == {"train"}:
            yield from _judge(export)


def _judge(export: Export) -> Iterator[Claim]:
    """What the train mode does to the layers that this model is known, or assumed, to have."""
    cure = f"call `{export.model}.eval()` first"
    match export:
        case Export(effect="recorded" | "refused" as effect, batchnorm="yes" | "unknown"):
            message = f"`{export.call}` gets `{export.model}` in train mode: {HARM[effect]}; {cure}."
            yield Claim(export.where, message, export.path).assuming(assumption(export))
        case Export(effect="recorded", batchnorm="no", dropout="yes"):
            message = (
                f"`{export.call}` gets `{export.model}` in train mode: the program drops values at random "
                f"for good; {cure}."
            )
            yield Claim(export.where, message, export.path, severity="warning")
        case Export(effect="kept", batchnorm="yes", assumed=None):
            message = (
                f"`{export.model}` is scripted and saved in train mode, and the file keeps the flag: "
                f"BatchNorm normalises with each batch's own statistics; {cure}."
            )
            claim = Claim(export.where, message, export.path, severity="warning")
            yield claim.assuming("whoever loads it does not call `eval()`")


def demonstrate(lab: Laboratory) -> Demonstration:
    """Programs that were traced in either mode are told `eval()`, and asked among other batch mates."""
    torch = lab.torch
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    net = lab.classifier(classes=10)
    lab.train(net, inputs[:300], targets[:300])
    test, mates = inputs[300:], inputs[torch.randperm(300)]
    expected = deepcopy(net).eval()(test).detach()
    shown = []
    for mode in (True, False):
        program = torch.jit.trace(deepcopy(net).train(mode), inputs[:2]).eval()
        alone, other = (
            torch.cat([program(torch.stack(pair))[:1] for pair in zip(test, some, strict=True)]).detach()
            for some in (test.flip(0), mates)
        )
        changed = (alone.argmax(1) != other.argmax(1)).double().mean()
        shown.append((float(changed), float((alone - expected).abs().max()), alone[:, 0].tolist()))
    wrong, right = shown
    points = expected[:, 0].tolist()
    return Demonstration(
        setting=(
            "A trained classifier (Linear, BatchNorm, ReLU, Linear) is traced, and eval() is called on the "
            "program. 300 samples go through it in pairs, twice, each time with another partner, and are "
            "compared with what the model answers in eval mode."
        ),
        columns=("wrong: traced in train mode", "right: traced in eval mode"),
        rows=(
            Row("predictions that the partner changes", percent(wrong[0]), percent(right[0])),
            Row("largest difference from the model's logits", f"{wrong[1]:.2f}", f"{right[1]:.2f}"),
        ),
        claim=(
            f"The program that was traced in train mode predicts another class for {percent(wrong[0])} of "
            "the samples when their partner in a batch of 2 changes, in spite of eval(); that of eval mode "
            "for none."
        ),
        holds=wrong[0] > 0.3 and wrong[1] > 0.5 and right[0] == 0 and right[1] < 1e-9,
        picture=Picture(
            kind="scatter",
            title="First logit of each sample: the program's and the model's",
            x="logit of the model in eval mode",
            y="logit of the program",
            series=(
                Series("wrong", wrong[2][:100], x=points[:100], name="traced in train mode"),
                Series("right", right[2][:100], x=points[:100], name="traced in eval mode"),
            ),
        ),
    )
