"""Batches of any loader: what is said of it beforehand, what is taken from it, and the first sample alone."""

from __future__ import annotations

import threading
from collections import OrderedDict, UserDict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bnlint.trace.alone import alone
from bnlint.trace.batches import LoaderError, Source, batch, describe, take
from bnlint.trace.structure import CannotSplitError, structure


@dataclass
class Sample:
    image: torch.Tensor
    label: torch.Tensor
    name: str = "a"
    note: str = field(init=False, default="b")


class Pair(NamedTuple):
    image: torch.Tensor
    label: torch.Tensor


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(10.0))


class SizedStream(Stream):
    def __len__(self):
        return 10


class Own:
    """A loader of one's own."""

    batch_size, drop_last = 4, True

    def __iter__(self):
        yield torch.zeros(4, 2)

    def __len__(self):
        return 7


class Every(BatchSampler):
    """A batch sampler that says nothing of itself."""

    def __init__(self):
        pass

    def __iter__(self):
        yield [0, 1, 2]

    def __len__(self):
        return 1


class Lookup(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.full((2, 1), float(index))  # which raises for no index


DATA = TensorDataset(torch.arange(10.0))


def load(**arguments):
    return DataLoader(DATA, **arguments)


def named(**values):
    return Source("DataLoader", **values)


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (load(batch_size=4), named(samples=4, length=10, shuffled="no", batches=3)),
        (load(batch_size=4, drop_last=True), named(samples=4, length=10, drop_last=True, shuffled="no", batches=2)),
        (load(batch_size=4, shuffle=True), named(samples=4, length=10, shuffled="yes", batches=3)),
        (load(batch_size=3, sampler=SubsetRandomSampler([1, 2, 3, 4])), named(samples=3, length=4, shuffled="yes", batches=2)),
        (load(batch_size=3, sampler=WeightedRandomSampler([1.0] * 10, 6)), named(samples=3, length=6, shuffled="yes", batches=2)),
        (load(batch_size=3, sampler=[3, 1, 2]), named(samples=3, length=3, shuffled="no", batches=1)),
        (load(batch_size=3, sampler=DistributedSampler(DATA, 2, 0, shuffle=True)), named(samples=3, length=5, shuffled="yes", batches=2)),
        (load(batch_size=3, sampler=DistributedSampler(DATA, 2, 0, shuffle=False)), named(samples=3, length=5, shuffled="no", batches=2)),
        (load(batch_sampler=BatchSampler(RandomSampler(DATA), 3, drop_last=True)), named(samples=3, length=10, drop_last=True, shuffled="yes", batches=3)),
        (load(batch_sampler=BatchSampler(SequentialSampler(DATA), 3, drop_last=False)), named(samples=3, length=10, shuffled="no", batches=4)),
        (load(batch_sampler=Every()), named(batches=1)),
        (load(batch_sampler=[[0, 1], [2, 3]]), named(batches=2)),
        (load(batch_size=None), named(shuffled="no", batches=10)),
        (DataLoader(Stream(), batch_size=4), named(samples=4)),
        (DataLoader(SizedStream(), batch_size=4), named(samples=4, length=10, batches=3)),
        (DataLoader(SizedStream(), batch_size=4, drop_last=True), named(samples=4, length=10, drop_last=True, batches=2)),
        (DataLoader(SizedStream(), batch_size=None), named(batches=10)),
        ([torch.zeros(4, 2), torch.zeros(3, 2)], Source("list", length=7, shuffled="no", batches=2, sizes=(4, 3))),
        ([(torch.zeros(4, 2), torch.zeros(4))], Source("list", length=4, shuffled="no", batches=1, sizes=(4,))),
        ([{"x": torch.zeros(4, 2)}, {"y": "?"}], Source("list", shuffled="no", batches=2, sizes=(4, None))),
        ([], Source("list", length=0, shuffled="no", batches=0)),
        (torch.zeros(5, 2), Source("Tensor", length=5, shuffled="no", batches=1, sizes=(5,))),
        ((torch.zeros(5, 2), torch.zeros(5)), Source("tuple", length=5, shuffled="no", batches=1, sizes=(5,))),
        ([torch.zeros(5, 2), torch.zeros(5, 2).long()], Source("list", length=5, shuffled="no", batches=1, sizes=(5,))),
        ((torch.zeros(2, 2), ["a", "b"]), Source("tuple", length=2, shuffled="no", batches=1, sizes=(2,))),
        ({"x": torch.zeros(5, 2)}, Source("dict", length=5, shuffled="no", batches=1, sizes=(5,))),
        (Sample(torch.zeros(5, 2), torch.zeros(5)), Source("Sample", length=5, shuffled="no", batches=1, sizes=(5,))),
        (Own(), Source("Own", samples=4, drop_last=True, batches=7)),
        (Lookup(), Source("Lookup", batches=3)),
        ((torch.zeros(2) for _ in range(3)), Source("generator", consumes=True)),
        (iter([torch.zeros(2)]), Source("list_iterator", consumes=True)),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_loader_says_of_itself(loader, expected: Source) -> None:
    before = dict(vars(loader)) if isinstance(loader, DataLoader) else {}
    assert describe(loader) == expected
    assert not isinstance(loader, DataLoader) or vars(loader) == before


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (load(batch_size=4), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (load(batch_size=4, num_workers=1), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ([torch.tensor([1]), torch.tensor([2]), torch.tensor([3])], [[1], [2]]),
        ([torch.tensor([1])], [[1]]),
        (torch.tensor([1, 2]), [[1, 2]]),
        ((torch.tensor([n]) for n in range(9)), [[0], [1]]),
        (Lookup(), [[[0], [0]], [[1], [1]]]),
    ],
)
def test_the_first_two_batches(loader, expected) -> None:
    taken = [value.inputs.tolist() for value in take(loader, 2)]
    assert taken == expected


def test_no_more_is_taken_than_was_asked_for() -> None:
    source = iter(range(9))
    assert [value.value for value in take(source, 2)] == [0, 1]
    assert next(source) == 2


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (None, "None"),
        (3, "an int"),
        ("data", "a str"),
        (b"data", "a bytes"),
        (object(), "an object"),
        (nn.Sequential(), "a Sequential"),
        (Lookup, "a type"),
        ({}, "a dict"),
        ({"train": load(batch_size=2)}, "a dict"),
    ],
)
def test_what_is_no_loader_is_refused_at_once(loader, name: str) -> None:
    for ask in (describe, lambda loader: take(loader, 1)):
        with pytest.raises(LoaderError) as raised:
            ask(loader)
        assert str(raised.value) == (
            f"{name} gives no batches: pass a DataLoader, an iterable of batches, or one batch"
        )


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        ([], "a list"),
        ((), "a tuple"),
        (iter(()), "a tuple_iterator"),
        (DataLoader(TensorDataset(torch.zeros(0))), "a DataLoader"),
    ],
)
def test_an_empty_loader_is_refused_at_the_first_batch(loader, name: str) -> None:
    batches = take(loader, 1)
    with pytest.raises(LoaderError) as raised:
        next(batches)
    assert str(raised.value) == f"the loader, {name}, is empty"


def test_the_iterator_of_persistent_workers_is_left_alone_and_ours_are_stopped() -> None:
    loader = DataLoader(DATA, batch_size=2, num_workers=1, persistent_workers=True)
    mine = iter(loader)
    assert next(mine)[0].tolist() == [0, 1]
    held, processes = dict(vars(loader)), [worker.pid for worker in mine._workers]
    batches = take(loader, 3)
    assert next(batches).inputs.tolist() == [0, 1]
    workers = ours(batches)
    batches.close()
    assert not any(worker.is_alive() for worker in workers)
    assert vars(loader) == held
    assert next(mine)[0].tolist() == [2, 3]
    assert [worker.pid for worker in mine._workers] == processes
    assert all(worker.is_alive() for worker in mine._workers)
    mine._shutdown_workers()


def ours(batches) -> list:
    """The workers behind the batches, found in the frame of the generator."""
    return list(batches.gi_frame.f_locals["source"]._workers)


X, Y = torch.zeros(4, 3), torch.arange(4)
IMAGES = [torch.rand(3, 8, 8), torch.rand(3, 6, 6)]
BOXES = [{"boxes": torch.zeros(5, 4)}, {"boxes": torch.zeros(2, 4)}]


@pytest.mark.parametrize(
    ("value", "inputs", "targets", "size"),
    [
        (X, X, None, 4),
        ((X, Y), X, Y, 4),
        ([X, Y], X, Y, 4),
        ((X,), X, None, 4),
        ((X, X, Y), X, None, 4),
        (({"a": X}, Y), {"a": X}, Y, 4),
        (([X, X], Y), [X, X], Y, 4),
        ({"image": X, "label": Y}, "all", Y, 4),
        ({"weight": torch.tensor(1.0), "x": X, "targets": Y}, "all", Y, 4),
        ({"y": Y}, "all", Y, 4),
        ({1: X}, "all", None, 4),
        (Sample(X, Y), "all", Y, 4),
        (Pair(X, Y), "all", Y, 4),
        (UserDict(x=X, y=Y), "all", Y, 4),
        (IMAGES, IMAGES, None, 2),
        ((IMAGES, BOXES), IMAGES, BOXES, 2),
        (([IMAGES[0]] * 2, BOXES), [IMAGES[0]] * 2, BOXES, 2),
        ([IMAGES[0]] * 3, [IMAGES[0]] * 3, None, 3),
        ([IMAGES[0]], IMAGES[0], None, 3),  # three samples of a sequence
        ([IMAGES[0], IMAGES[0]], IMAGES[0], IMAGES[0], 3),
        (([torch.rand(1, 5, 5), torch.rand(1, 6, 6)], BOXES), "first", BOXES, 2),
        ([(IMAGES[0], {"boxes": Y})] * 5, "all", None, 5),
        ([(IMAGES[0], 3)], "all", None, 1),
        ([{"image": IMAGES[0]}, {"image": IMAGES[1]}], "all", None, 2),
        (numpy.zeros((6, 2)), "all", None, 6),
        (pack_sequence([torch.zeros(3, 1), torch.zeros(2, 1)]), "all", None, 2),
        (torch.tensor(1.0), "all", None, None),
        ("text", "text", None, None),
        ([], [], None, None),
    ],
    ids=lambda value: structure(value)[:40],
)
def test_the_parts_of_a_batch(value, inputs, targets, size) -> None:
    found = batch(value)
    assert found.value is value
    if isinstance(inputs, str) and inputs in {"all", "first"}:
        assert found.inputs is (value if inputs == "all" else value[0])
    else:
        assert str(found.inputs) == str(inputs)
    assert found.targets is targets
    assert found.size == size


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        (X, 4, X[:1]),
        (X, 3, X),
        ((X, Y), 4, (X[:1], Y[:1])),
        ([X[:2], Y[:2]], 2, [X[:1], Y[:1]]),
        ({"x": X, "n": 4, "who": ["a", "b", "c", "d"]}, 4, {"x": X[:1], "n": 4, "who": ["a"]}),
        ({"x": X, "many": {"y": Y}}, 4, {"x": X[:1], "many": {"y": Y[:1]}}),
        (OrderedDict(x=X), 4, OrderedDict(x=X[:1])),
        (UserDict(x=X), 4, UserDict(x=X[:1])),
        (Pair(X, Y), 4, Pair(X[:1], Y[:1])),
        (Sample(X, Y, "c"), 4, Sample(X[:1], Y[:1], "c")),
        (IMAGES, 2, IMAGES[:1]),
        ([*IMAGES, IMAGES[0]], 3, IMAGES[:1]),
        ((IMAGES, BOXES), 2, (IMAGES[:1], BOXES[:1])),
        ([(IMAGES[0], 1), (IMAGES[1], 2)], 2, [(IMAGES[0], 1)]),
        ([{"image": IMAGES[0]}, {"image": IMAGES[1]}], 2, [{"image": IMAGES[0]}]),
        (({"x": X}, {"y": Y}), 4, ({"x": X[:1]}, {"y": Y[:1]})),
        ((tuple(IMAGES), tuple(BOXES)), 2, (tuple(IMAGES[:1]), tuple(BOXES[:1]))),
        (([X, X], Y), 4, ([X[:1], X[:1]], Y[:1])),
        ([["a", "b"], X[:2]], 2, [["a"], X[:1]]),
        (numpy.zeros((4, 2)), 4, numpy.zeros((1, 2))),
        (torch.tensor(2.0), 4, torch.tensor(2.0)),
        ("abcd", 4, "abcd"),
        (["a", "b"], 2, ["a"]),
        (None, 1, None),
    ],
    ids=lambda value: structure(value)[:40],
)
def test_the_first_sample_alone(value, size, expected) -> None:
    found = alone(value, size)
    assert type(found) is type(expected)
    assert written(found) == written(expected)


def written(value) -> str:
    """A structure and its numbers."""
    arrays = [value.tolist() if hasattr(value, "tolist") else repr(value)]
    return f"{structure(value)} {arrays}"


def test_the_batch_itself_is_not_changed() -> None:
    value = {"x": X, "rest": [X, {"y": Y}]}
    alone(value, 4)
    assert value["rest"][1]["y"] is Y
    assert value["x"] is X


@pytest.mark.parametrize(
    "value",
    [
        pack_sequence([torch.zeros(3, 1), torch.zeros(2, 1)]),
        (pack_sequence([torch.zeros(3, 1)]), torch.zeros(1)),
        SimpleNamespace(x=torch.zeros(7, 3), edge_index=torch.zeros(2, 9), batch=torch.zeros(7)),
        {"graph": SimpleNamespace(store={"x": torch.zeros(7, 3)})},
        torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
    ],
    ids=structure,
)
def test_what_holds_its_samples_in_its_own_way_is_not_split(value) -> None:
    with pytest.raises(CannotSplitError):
        alone(value, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X, "a Tensor (4, 3)"),
        (numpy.zeros(2), "a ndarray (2,)"),
        (3, "an int"),
        (None, "None"),
        ((X, Y), "a tuple of Tensor (4, 3), Tensor (4,)"),
        ([X] * 9, "a list of 9 × Tensor (4, 3)"),
        ([X, None, 1, "a", Y, 2.0, 3], "a list of Tensor (4, 3), None, int, str, Tensor (4,), float, …"),
        ([], "a list of nothing"),
        ({"image": X, "more": {"label": Y}}, "a dict with image: Tensor (4, 3), more: dict {label: Tensor (4,)}"),
        ({}, "a dict with nothing"),
        (({"a": X}, [Y, Y]), "a tuple of dict {a: Tensor (4, 3)}, list [Tensor (4,), Tensor (4,)]"),
        (Sample(X, Y), "a Sample with image: Tensor (4, 3), label: Tensor (4,), name: str, note: str"),
        (Pair(X, Y), "a Pair with image: Tensor (4, 3), label: Tensor (4,)"),
        ([[[[[X]]]]], "a list of list [list [list [list]]]"),
        (threading.Event(), "an Event"),
    ],
)  # fmt: skip
def test_how_a_batch_is_described(value, expected: str) -> None:
    assert structure(value) == expected
