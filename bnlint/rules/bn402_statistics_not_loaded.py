"""Running statistics may be missing from what is loaded, and nobody looks.

What it finds
-------------
`load_state_dict(..., strict=False)` on a model with BatchNorm whose result is thrown away, and entries that
a filter removes before they are loaded, the statistics among them. A filter is an error; an ignored result
is only told, for most files do hold what is needed. A checkpoint beside a model shows whether it does: one
that lacks statistics of the model is an error.

Why it is wrong
---------------
With `strict=False` a key that the checkpoint lacks, or spells otherwise (a `module.` prefix, a renamed
block), is not an error: the layer keeps what it was built with. For BatchNorm that is mean 0 and variance
1, and nothing later shows it but worse answers: without its statistics a classifier of ten
classes is right for 28 % of the samples instead of 98 %. The call returns `missing_keys` and
`unexpected_keys`; unread, they help nobody.

Bad
---
    import torch
    from torch import nn


    def restore(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        net.load_state_dict(torch.load(path), strict=False)
        return net.eval()

Good
----
    import torch
    from torch import nn


    def restore(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        result = net.load_state_dict(torch.load(path), strict=False)
        if any("running" in key for key in result.missing_keys):
            raise RuntimeError(f"no statistics for {result.missing_keys}")
        return net.eval()

How to fix it
-------------
Leave `strict` at True. Where keys differ on purpose (another head), keep the result and check that what is
missing is what you expect, and no `running_mean` or `running_var`.

When it is fine
---------------
A filter that drops nothing but `num_batches_tracked`, which eval does not read; a result that is printed,
logged or checked.

References
----------
- PyTorch, `Module.load_state_dict`:
  https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Lacking, Load, assumption
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SRC"


def check(facts: Facts) -> Iterator[Claim]:
    """A load that can lose, or does lose, the statistics without a word.

    A filter that drops statistics proves them lost. An ignored `strict=False` takes one assumption, that
    some key does not match: it is no error yet but a guard that is off, and only told (`info`). With a
    model that may have no BatchNorm it would take two assumptions, and is silent.
    """
    for load in facts.loads:
        match load:
            case Load(inspected="no", filtered=Step() as dropped, batchnorm="yes" | "unknown"):
                yield _lost(load, dropped)
            case Load(inspected="no", batchnorm="yes", assumed=None):
                if load.strict.value is False:
                    yield _unread(load)
    for lacking in facts.lacking:
        match lacking:
            case Lacking(against=str(model), names=(_, *_)) if model:
                yield _absent(lacking)


def _absent(lacking: Lacking) -> Claim:
    names = " or ".join(f"`{name}`" for name in lacking.names)
    message = (
        f"For {lacking.norm.title} of {lacking.against} there is no {names} in {lacking.held}: it would "
        f"evaluate with what it was built with; use a checkpoint that has them, or call `update_bn`."
    )
    return Claim(lacking.norm.where, message, lacking.path).assuming(lacking.assumed)


def _lost(load: Load, dropped: Step) -> Claim:
    message = (
        f"`{load.model}` is loaded without BatchNorm's `running_mean` and `running_var`, which a filter "
        f"drops: it evaluates with the statistics that it was built with; let them through."
    )
    return Claim(load.where, message, (*load.path, dropped)).assuming(assumption(load))


def _unread(load: Load) -> Claim:
    message = (
        f"`strict=False` lets `{load.model}` keep BatchNorm statistics of (0, 1) without a word, and nobody "
        f"reads the result of the call; check its `missing_keys`."
    )
    evidence = (*load.path, *load.strict.evidence)
    claim = Claim(load.where, message, evidence, severity="info")
    return claim.assuming("some key of the checkpoint does not match")


MEAN = 2
"""That of the features: theirs is no more 0 than that of most data."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """Files that lack keys of the model, for those who ignore what the load returns and those who read it."""
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    inputs += MEAN
    net = lab.classifier(classes=10)
    lab.train(net, inputs[:300], targets[:300], steps=200)
    state = lab.reread(net.state_dict())
    files = (
        {key: value for key, value in state.items() if "running" not in key},
        {f"module.{key}": value for key, value in state.items()},
    )
    loaded = [_restore(lab, file) for file in (*files, state)]
    missing = [len(keys) for _, keys in loaded]
    correct = [lab.accuracy(one.eval(), inputs[300:], targets[300:]) for one, _ in loaded]
    told = [any("running" in key for key in keys) for _, keys in loaded]
    of = f"of {len(state)} keys"
    return Demonstration(
        setting=(
            "A classifier has learned to tell ten classes. Its state is restored with `strict=False` from a "
            'file without running statistics, and from one whose keys begin with "module.". Whoever reads '
            "`missing_keys` is warned, and mends the file."
        ),
        columns=("wrong: result ignored", "right: result read"),
        rows=(
            Row("missing without statistics", f"{missing[0]} {of}, unseen", f"{missing[0]} {of}, told"),
            Row("correct predictions then", percent(correct[0]), percent(correct[2])),
            Row('missing behind "module."', f"{missing[1]} {of}, unseen", f"{missing[1]} {of}, told"),
            Row("correct predictions of that", percent(correct[1]), percent(correct[2])),
        ),
        claim=(
            f"Without its running statistics the network is right for {percent(correct[0])} of the samples, "
            f"and where no key fits for {percent(correct[1])}, instead of {percent(correct[2])}; no load "
            f"failed, and `missing_keys` named {missing[0]} and {missing[1]} {of}."
        ),
        holds=(  # torch sets num_batches_tracked to 0 where a file does not say which version it has
            told == [True, True, False]
            and missing == [2, len(state) - 1, 0]
            and correct[2] > 0.85
            and max(correct[:2]) < correct[2] - 0.3
        ),
        picture=Picture(
            kind="bars",
            title="Correct predictions of the restored network",
            x="file",
            y="correct predictions in %",
            series=(
                Series("wrong", [100 * share for share in correct[:2]], name="result ignored"),
                Series("right", [100 * correct[2]] * 2, name="result read, file mended"),
            ),
            categories=("no statistics", "keys module.*"),
        ),
    )


def _restore(lab: Laboratory, state: Any) -> tuple[Any, list[str]]:
    """A new network with what fits of a state, and the keys that were missing there."""
    net = lab.classifier(classes=10)
    result = net.load_state_dict(state, strict=False)
    return net, result.missing_keys
