"""How a batch reaches a model: a table of forwards, batches and the arguments that arrive."""

from __future__ import annotations

import inspect
from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from bnlint.trace.batches import batch
from bnlint.trace.calling import CannotCallError, _moved, caller

X, X2, M, Y = torch.zeros(4, 3), torch.ones(4, 3), torch.full((4, 3), 2.0), torch.arange(4)
IMAGES = [torch.rand(3, 8, 8), torch.rand(3, 6, 6)]
BOXES = [{"boxes": torch.zeros(5, 4)}, {"boxes": torch.zeros(2, 4)}]


@dataclass
class Sample:
    image: Tensor
    label: Tensor


@dataclass
class Inputs:
    a: Tensor
    b: Tensor


class Pair(NamedTuple):
    image: Tensor
    label: Tensor


class Numbered(NamedTuple):
    first: Tensor
    second: Tensor
    third: Tensor


class Model(nn.Module):
    """A model that answers with what it was called with, by the names of its parameters."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class One(Model):
    def forward(self, x):
        return {"x": x}


class Hinted(Model):
    def forward(self, batch: Tensor):
        return {"batch": batch}


class Optional(Model):
    def forward(self, x, mask=None):
        return {"x": x, "mask": mask}


class OptionalAnswer(Model):
    def forward(self, x, y=None):
        return {"x": x, "y": y}


class Two(Model):
    def forward(self, a, b):
        return {"a": a, "b": b}


class Three(Model):
    def forward(self, a, b, c):
        return {"a": a, "b": b, "c": c}


class Listed(Model):
    def forward(self, features, scale=1):
        return {"features": features, "scale": scale}


class HintedList(Model):
    def forward(self, f: list[Tensor], scale=1):
        return {"f": f, "scale": scale}


class Many(Model):
    def forward(self, *inputs):
        return {"inputs": inputs}


class Anything(Model):
    def forward(self, **inputs):
        return inputs


class Named(Model):
    def forward(self, image, mask=None):
        return {"image": image, "mask": mask}


class WithLabels(Model):
    def forward(self, image=None, labels=None):
        return {"image": image, "labels": labels}


class NeedsLabels(Model):
    def forward(self, image, *, labels):
        return {"image": image, "labels": labels}


class More(Model):
    def forward(self, x, **more):
        return {"x": x, **more}


class Whole(Model):
    def forward(self, batch):
        return {"batch": batch}


class Reads(Model):
    def forward(self, inputs):
        return self.look(inputs)

    def look(self, inputs):
        return {"inputs": inputs, "same": inputs["image"]}


class ReadsBelow(Model):
    def __init__(self):
        super().__init__()
        self.body = Reads()

    def forward(self, data):
        return self.body(data)


class Plain(Model):
    def forward(self, inputs):
        return {"inputs": inputs}


class HintedDict(Model):
    def forward(self, x: dict[str, Tensor]):
        return {"x": x}


class ReadsRecord(Model):
    def forward(self, x):
        return {"x": x, "same": x.image}


class HintedRecord(Model):
    def forward(self, thing: Sample):
        return {"thing": thing}


class TakesRecord(Model):
    def forward(self, thing):
        return {"thing": thing}


class Detector(Model):
    def forward(self, images, targets=None):
        return {"images": images, "targets": targets}


class StrictDetector(Model):
    def forward(self, images, targets):
        return {"images": images, "targets": targets}


class OnlyNames(Model):
    def forward(self, *, image, mask):
        return {"image": image, "mask": mask}


@pytest.mark.parametrize(
    ("model", "value", "expected"),
    [
        # tensors, and the first of a pair
        (One, X, {"x": X}),
        (One, (X, Y), {"x": X}),
        (One, [X, Y], {"x": X}),
        (One, (X,), {"x": X}),
        (One, (X, X2, Y), {"x": X}),
        (One, numpy.zeros((4, 3), "float32"), {"x": X}),
        (Hinted, (X, Y), {"batch": X}),
        (OptionalAnswer, (X, Y), {"x": X, "y": None}),
        # several inputs
        (Two, (X, Y), {"a": X, "b": Y}),
        (Two, (X, X2, Y), {"a": X, "b": X2}),
        (Two, ((X, X2), Y), {"a": X, "b": X2}),
        (Two, ([X, X2], Y), {"a": X, "b": X2}),
        (Two, [X, [X2]], {"a": X, "b": [X2]}),
        (Two, ({"k": X}, Y), {"a": {"k": X}, "b": Y}),
        (Three, (X, X2, M, Y), {"a": X, "b": X2, "c": M}),
        (Three, ((X, X2, M), Y), {"a": X, "b": X2, "c": M}),
        (Optional, ((X, M), Y), {"x": X, "mask": M}),
        (Many, ((X, M), Y), {"inputs": (X, M)}),
        (Many, (X, M, Y), {"inputs": (X, M)}),
        (Many, (X, Y), {"inputs": (X,)}),
        # one input that is a list
        (One, ([X, X2], Y), {"x": [X, X2]}),
        (Listed, ([X, X2], Y), {"features": [X, X2], "scale": 1}),
        (HintedList, ([X, X2], Y), {"f": [X, X2], "scale": 1}),
        # dicts by names
        (Named, {"image": X, "label": Y}, {"image": X, "mask": None}),
        (Named, {"mask": M, "image": X, "id": 3}, {"image": X, "mask": M}),
        (Named, ({"image": X, "mask": M}, Y), {"image": X, "mask": M}),
        (Named, OrderedDict(image=X), {"image": X, "mask": None}),
        (Named, UserDict(image=X, label=Y), {"image": X, "mask": None}),
        (WithLabels, {"image": X, "labels": Y}, {"image": X, "labels": Y}),
        (NeedsLabels, {"image": X, "target": Y}, {"image": X, "labels": Y}),
        (NeedsLabels, (X, Y), {"image": X, "labels": Y}),
        (Anything, {"p": X, "q": X2, "labels": Y}, {"p": X, "q": X2}),
        (More, {"x": X, "extra": X2, "y": Y}, {"x": X, "extra": X2}),
        (OnlyNames, {"image": X, "mask": M, "y": Y}, {"image": X, "mask": M}),
        (Two, {"a": X, "b": X2, "y": Y}, {"a": X, "b": X2}),
        # the one entry that is the input
        (One, {"image": X, "label": Y}, {"x": X}),
        (One, {"pixel_values": X, "weights": X2, "labels": Y}, {"x": X}),
        (One, {"strange": X, "label": Y, "path": ["a"]}, {"x": X}),
        (Hinted, {"image": X, "label": Y}, {"batch": X}),
        (Plain, {"image": X, "label": Y}, {"inputs": X}),
        (OptionalAnswer, {"image": X, "y": Y}, {"x": X, "y": Y}),
        (Optional, {"image": X, "mask": M}, {"x": X, "mask": M}),
        (More, {"image": X, "y": Y}, {"x": X}),
        # the whole dict
        (Whole, {"image": X, "label": Y}, {"batch": {"image": X, "label": Y}}),
        (Reads, {"image": X, "label": Y}, {"inputs": {"image": X, "label": Y}, "same": X}),
        (ReadsBelow, {"image": X, "label": Y}, {"inputs": {"image": X, "label": Y}, "same": X}),
        (HintedDict, {"image": X, "label": Y}, {"x": {"image": X, "label": Y}}),
        # records
        (Named, Sample(X, Y), {"image": X, "mask": None}),
        (Two, Inputs(X, X2), {"a": X, "b": X2}),
        (One, Sample(X, Y), {"x": X}),
        (One, Pair(X, Y), {"x": X}),
        (Whole, Sample(X, Y), {"batch": Sample(X, Y)}),
        (ReadsRecord, Sample(X, Y), {"x": Sample(X, Y), "same": X}),
        (HintedRecord, Sample(X, Y), {"thing": Sample(X, Y)}),
        (TakesRecord, Inputs(X, X2), {"thing": Inputs(X, X2)}),
        (One, Numbered(X, X2, Y), {"x": X}),
        # detectors
        (One, IMAGES, {"x": IMAGES}),
        (Detector, (IMAGES, BOXES), {"images": IMAGES, "targets": BOXES}),
        (Detector, (tuple(IMAGES), tuple(BOXES)), {"images": tuple(IMAGES), "targets": tuple(BOXES)}),
        (StrictDetector, (IMAGES, BOXES), {"images": IMAGES, "targets": BOXES}),
        (StrictDetector, ([IMAGES[0]] * 2, BOXES), {"images": [IMAGES[0]] * 2, "targets": BOXES}),
        (One, ([IMAGES[0]], BOXES[:1]), {"x": [IMAGES[0]]}),
        (Detector, IMAGES, {"images": IMAGES, "targets": None}),
        (One, [{"image": IMAGES[0]}] * 2, {"x": [{"image": IMAGES[0]}] * 2}),
        (One, [(IMAGES[0], 1)], {"x": [(IMAGES[0], 1)]}),
        (One, [IMAGES[0]], {"x": IMAGES[0]}),
        (One, [IMAGES[0], IMAGES[0]], {"x": IMAGES[0]}),
        (Two, ([IMAGES[0], IMAGES[0]], Y[:3]), {"a": IMAGES[0], "b": IMAGES[0]}),
    ],
)  # fmt: skip
def test_what_arrives(model: type[Model], value: Any, expected: dict[str, Any]) -> None:
    assert_same(caller(model())(batch(value)), expected)


def assert_same(found: Any, expected: Any) -> None:
    """Equal in structure, and the same tensors."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected)
    elif hasattr(expected, "__dict__"):
        assert_same(vars(found), vars(expected))
    else:
        assert found == expected


def test_tensors_themselves_arrive_and_containers_are_new() -> None:
    given = {"image": X, "label": Y}
    arrived = caller(Whole())(batch(given))["batch"]
    assert arrived is not given
    assert arrived["image"] is X


class Scales(Model):
    """It changes its input in place, as data that come as bytes are often scaled."""

    def forward(self, x):
        return x.div_(2).sub_(self.scale).clone()


@pytest.mark.parametrize("grad", [True, False])
def test_a_batch_can_be_given_again(*, grad: bool) -> None:
    data, call = torch.ones(2, 3), caller(Scales())
    version = data._version
    with torch.set_grad_enabled(grad):
        first, second = call(batch((data, Y))), call(batch((data, Y)))
    assert torch.equal(first, second)
    assert (data.tolist(), data.requires_grad, data._version) == ([[1.0] * 3] * 2, False, version)


def test_what_the_users_own_way_does_to_a_batch_is_undone_though_it_raises() -> None:
    value = {"x": torch.ones(2), "y": Y}

    def forward(model, batch):
        batch.pop("y")
        batch["x"].zero_()
        raise KeyError(batch.pop("x").sum().item())

    with pytest.raises(KeyError, match="0"):
        caller(One(), forward)(batch(value))
    assert (list(value), value["x"].tolist()) == (["x", "y"], [1, 1])


class Wrapper(Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        Wrapper,
        lambda model: nn.DataParallel(Wrapper(model)),
        torch.optim.swa_utils.AveragedModel,
    ],
)
def test_wrappers_are_looked_through(wrap) -> None:
    with torch.compiler.set_stance("force_eager"):
        assert_same(caller(wrap(Named()))(batch({"image": X, "label": Y})), {"image": X, "mask": None})
        assert_same(caller(wrap(Two()))(batch((X, Y))), {"a": X, "b": Y})


class Scriptable(nn.Module):
    def forward(self, image, scale: int = 2):
        return image * scale


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_model_says_what_it_takes() -> None:
    model = torch.jit.script(Scriptable())
    assert torch.equal(caller(model)(batch({"image": X2, "label": Y})), X2 * 2)
    assert torch.equal(caller(model)(batch((X2, Y))), X2 * 2)
    with pytest.raises(CannotCallError, match=r"forward\(image, scale=2\)"):
        caller(model)(batch({"a": X2, "b": X2}))


def test_a_sequential_takes_a_tensor_and_a_packed_sequence_stays_packed() -> None:
    assert caller(nn.Sequential(nn.Linear(3, 2)))(batch((X, Y))).shape == (4, 2)
    packed = pack_sequence([torch.zeros(3, 3), torch.zeros(2, 3)])
    assert caller(nn.LSTM(3, 2, batch_first=True))(batch((packed, Y)))[0].data.shape == (5, 2)


def test_the_users_own_way_is_taken() -> None:
    model, value = One(), {"strange": X}
    found = caller(model, lambda model, batch: (model, batch))(batch(value))
    assert found[0] is model
    assert found[1] is value


def test_arrays_become_tensors_of_their_type() -> None:
    arrived = caller(Plain())(batch(([X, numpy.zeros(2), numpy.array(["a"]), "a"], Y)))["inputs"]
    assert [type(part) for part in arrived] == [Tensor, Tensor, numpy.ndarray, str]
    assert (arrived[0] is X, arrived[1].dtype) == (True, torch.float64)


def test_inputs_go_to_another_device_with_their_type() -> None:
    value = {"x": X.double(), "rest": [Y, Sample(X, Y), "a"], "packed": pack_sequence([X])}
    moved = _moved(value, torch.device("meta"))
    sample = moved["rest"][1]
    tensors = [moved["x"], moved["rest"][0], sample.image, sample.label, moved["packed"].data]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved["x"].dtype, moved["rest"][0].dtype) == (torch.float64, torch.int64)
    assert (value["x"].device.type, value["packed"].data.device.type) == ("cpu", "cpu")


def test_nothing_is_moved_to_where_no_values_are() -> None:
    assert caller(OnMeta())(batch((X, Y))) is X


class OnMeta(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, device="meta"))

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "value", "forward", "seen", "example"),
    [
        (Two, X, "Two.forward(a, b)", "a Tensor (4, 3)", "batch"),
        (Three, (X, Y), "Three.forward(a, b, c)", "a tuple of Tensor (4, 3), Tensor (4,)", "batch[0]"),
        (Two, {"a": X, "c": X2}, "Two.forward(a, b)", "a dict with a: Tensor (4, 3), c: Tensor (4, 3)", 'batch["a"]'),
        (One, {"l": X, "r": X2}, "One.forward(x)", "a dict with l: Tensor (4, 3), r: Tensor (4, 3)", 'batch["l"]'),
        (Three, Pair(X, Y), "Three.forward(a, b, c)", "a Pair with image: Tensor (4, 3), label: Tensor (4,)", "batch.image"),
        (OnlyNames, X, "OnlyNames.forward(*, image, mask)", "a Tensor (4, 3)", "batch"),
        (HintedList, (), "HintedList.forward(f, scale=1)", "a tuple of nothing", "batch[0]"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_made_says_what_to_do(model, value, forward, seen, example) -> None:
    with pytest.raises(CannotCallError) as raised:
        caller(model())(batch(value))
    assert str(raised.value) == (
        f"bnlint cannot tell how {forward} takes {seen}.\n"
        f"Pass a function that calls it, for example forward=lambda model, batch: model({example})."
    )


NAMES = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in "xy"]


def test_a_call_that_does_not_reach_forward_says_so_as_well() -> None:
    model, one = One(), lambda x: x
    one.__signature__ = inspect.Signature(NAMES)
    model.forward = one
    with pytest.raises(CannotCallError, match="Pass a function that calls it") as raised:
        caller(model)(batch((X, Y)))
    assert isinstance(raised.value.__cause__, TypeError)


def test_a_model_without_a_forward_is_not_called() -> None:
    with pytest.raises(CannotCallError, match=r"how Model.forward\(\*input\) takes"):
        caller(Model())(batch((X, Y)))


class Raises(Model):
    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        if isinstance(self.problem, str):
            return One()(x, x, x)  # a TypeError of a call further down
        raise self.problem


@pytest.mark.parametrize("problem", [TypeError("a"), ValueError("b"), KeyboardInterrupt(), StopIteration()])
def test_what_the_model_raises_comes_out_as_it_is(problem: BaseException) -> None:
    with pytest.raises(type(problem)) as raised:
        caller(Raises(problem))(batch((X, Y)))
    assert raised.value is problem


def test_a_wrong_call_inside_the_model_is_the_models_own() -> None:
    with pytest.raises(TypeError, match="positional arguments") as raised:
        caller(Raises("inside"))(batch((X, Y)))
    assert not isinstance(raised.value, CannotCallError)


def test_a_forward_that_names_its_batch_gets_all_of_it():
    class Steps(nn.Module):
        def forward(self, batch):
            images, labels = batch
            return images.sum() + labels.sum()

    pair = torch.ones(4, 3), torch.ones(4)
    assert caller(Steps())(batch(pair)) == 16
