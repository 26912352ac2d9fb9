"""A run leaves no mark: a fingerprint of everything is the same before and after, whatever the model does."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import io
import random
import threading
import types
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from hypothesis import given, settings
from hypothesis import strategies as st
from marks import Fingerprint
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from bnlint.trace.guard import unmarked
from bnlint.trace.tensors import Storages

FIXTURES = Path(__file__).parent.parent / "fixtures"


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def x(*shape) -> torch.Tensor:
    return torch.randn(*(shape or (2, 3, 5, 5)))


class Nasty(nn.Module):
    """One of each thing that a model can hold, in attributes."""

    def __init__(self):
        super().__init__()
        self.body, self.hidden = block(), [block()]
        self.frozen = block().eval().requires_grad_(requires_grad=False)
        self.shared = self.body[1]
        self.lists, self.dicts = (
            [1, [2, [3]]],
            {"a": {"b": {"c": 1, "d": {"t": torch.ones(3)}}}, "t": torch.zeros(3)},
        )
        self.counts, self.order, self.defaults = Counter(a=1), OrderedDict(a=1, b=2), defaultdict(list, k=[1])
        self.queue, self.names, self.pair = deque([1, 2], maxlen=3), {"a"}, ([1], torch.ones(2))
        self.plain, self.last = torch.arange(4.0), None
        self.array, self.drawn = numpy.zeros(3), numpy.random.default_rng(0)
        self.generator, self.numbers = torch.Generator(), random.Random(0)
        self.legacy, self.later = numpy.random.RandomState(0), functools.partial(print, [1], sep={"a": 1})
        self.average = Average(self.body)
        self.register_buffer("center", torch.full((4,), float("nan")))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_buffer("nothing", None)
        self.tied = nn.Parameter(self.body[0].weight.data)
        self.view, self.slow = self.plain[1:3], nn.Parameter(torch.ones(3))
        self.slow.register_hook(nothing)

    def forward(self, x):
        return self.body(x)


class Average:
    __slots__ = ("__dict__", "missing", "step")

    def __init__(self, model):
        self.step, self.shadow = 0, {name: value.detach().clone() for name, value in model.named_parameters()}
        self.seen = [{"history": [0]}]


class Recorder:
    def __init__(self):
        self.outputs = []

    def __call__(self, module, args, output):
        self.outputs.append(output)

    def save(self, module, args, output):
        self.outputs.append(output.detach())


def nothing(*args):
    """A hook that changes nothing."""


def keeps(module, x):
    return x


def act(change):
    """A change to make to a nasty model; its name is that of the mark it leaves."""
    ACTS[change.__name__] = change
    return change


ACTS = {}


@act
def trains(model):
    model.train()(x())


@act
def evaluates(model):
    model.eval()(x())


@act
def thaws_by_hand(model):
    model.frozen[1].training = True
    model.frozen(x())


@act
def runs_a_listed_block(model):
    model.hidden[0](x())
    model.hidden[0].eval()


@act
def sets_and_deletes_attributes(model):
    model.last, model.new = x(), 3
    del model.plain
    del model.body


@act
def changes_attributes_of_objects(model):
    model.average.step += 1
    model.average.missing = 1
    model.average.new = 2
    model.average.seen[0]["history"].append(1)
    model.average.shadow["0.weight"].mul_(0.5)
    model.average.shadow["1.weight"] = x()


@act
def changes_lists(model):
    model.lists[1][1].append(4)
    model.lists.insert(0, 0)
    model.hidden.pop()


@act
def replaces_containers(model):
    model.lists, model.dicts = [], {}


@act
def changes_dicts(model):
    model.dicts["a"]["b"]["c"] = 2
    model.dicts["a"]["b"]["d"]["t"] *= 2
    model.dicts["t"] += 1
    model.dicts["new"] = 1
    model.counts["a"] += 1
    model.order.move_to_end("a")
    model.defaults["other"].append(1)
    model.defaults["k"].clear()


@act
def changes_sets_and_deques(model):
    model.queue.append(3)
    model.queue.append(4)
    model.names.add("b")
    model.pair[0].append(2)
    model.later.args[0].append(2)
    model.later.keywords["sep"]["b"] = 2
    model.pair[1].zero_()


@act
def draws_from_its_own_generators(model):
    torch.rand(1, generator=model.generator)
    model.numbers.random()
    model.drawn.random()
    model.legacy.rand()
    model.array += 1


@act
def writes_values(model):
    with torch.no_grad():
        model.body[0].weight.mul_(2)
    model.body[1].weight.data.add_(1)
    model.center.copy_(torch.zeros(4))
    model.scratch[0] = 5
    model.view.mul_(3)
    model.frozen[1].running_var.data.zero_()


@act
def rebinds_data(model):
    for parameter in model.body.parameters():
        parameter.data = parameter.data * 0.9
    model.slow.data = torch.zeros(7)
    model.center.data = torch.zeros(2, dtype=torch.int32)


@act
def rebinds_buffers_and_parameters(model):
    model.center = torch.zeros(4)
    model.nothing = torch.zeros(1)
    model.slow = nn.Parameter(torch.zeros(1))
    model.register_buffer("fresh", torch.zeros(1))
    model.body[1].running_mean = None
    del model.scratch


@act
def replaces_modules(model):
    model.body[1] = nn.Identity()
    model.add_module("extra", block())
    model.frozen = None


@act
def changes_requires_grad(model):
    model.requires_grad_(requires_grad=False)
    model.frozen.requires_grad_()


@act
@torch.enable_grad()
def makes_gradients(model):
    model(x()).sum().backward()
    model.slow.grad = torch.ones(3)


@act
@torch.enable_grad()
def changes_gradients_that_are_there(model):
    for parameter in model.body.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = Fingerprint(model)
    with unmarked(model):
        model(x()).sum().backward()
        model.body[0].weight.grad.data = torch.zeros(1).expand_as(model.body[0].weight).clone()
        model.zero_grad()
    assert before.differences(Fingerprint(model)) == []


@act
@torch.enable_grad()
def joins_a_buffer_to_a_graph(model):
    model.center.add_(model.slow.sum())


@act
def hooks_modules(model):
    model.body[0].register_forward_hook(Recorder())
    model.register_forward_pre_hook(nothing)
    model.register_full_backward_hook(nothing)
    model.register_state_dict_pre_hook(nothing)
    model._forward_hooks.clear()


@act
def hooks_tensors(model):
    model.slow.register_hook(lambda grad: grad)
    model.body[0].weight.register_post_accumulate_grad_hook(nothing)
    model.slow.note = "hooked"


@act
def replaces_forward(model):
    model.forward = lambda x: x
    model.body[1].forward = types.MethodType(keeps, model.body[1])


@act
def empties_storage(model):
    model.slow.untyped_storage().resize_(0)


@act
def resizes(model):
    model.plain.resize_(100)
    model.center.set_(torch.zeros(9))


@act
def draws_random_numbers(model):
    torch.rand(1)
    random.random()
    numpy.random.rand()
    torch.manual_seed(3)


@act
def changes_modes_of_torch(model):
    torch.set_grad_enabled(not torch.is_grad_enabled())
    torch.set_autocast_enabled("cpu", enabled=True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_cache_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_float32_matmul_precision("medium")


@act
def changes_kernels(model):
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.enabled = False
    torch.set_num_threads(torch.get_num_threads() + 1)


@act
def hooks_all_modules(model):
    nn.modules.module.register_module_forward_hook(nothing)
    nn.modules.module.register_module_forward_pre_hook(nothing)
    nn.modules.module.register_module_full_backward_hook(nothing)


@act
def changes_filters_of_warnings(model):
    warnings.simplefilter("ignore")


@act
def runs_in_inference_mode(model):
    with torch.inference_mode():
        model.last = model.train()(x())
        model.center = torch.zeros(4)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", ACTS)
def test_each_change_is_undone(name: str, *, grad: bool) -> None:
    model = Nasty()
    with torch.set_grad_enabled(grad):
        before = Fingerprint(model)
        with unmarked(model):
            ACTS[name](model)
        assert before.differences(Fingerprint(model)) == []


UNSEEN = {"changes_gradients_that_are_there"}
"""What it does is undone already."""


@pytest.mark.parametrize("name", sorted(ACTS.keys() - UNSEEN))
def test_each_change_is_a_mark_without_the_guard(name: str) -> None:
    """The fingerprint sees what it is there for; the process is put back by a guard of no model."""
    model = Nasty()
    before = Fingerprint(model)
    with unmarked(nn.Identity()):
        ACTS[name](model)
        assert before.differences(Fingerprint(model)) != []


class RaisesHalfway(Nasty):
    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        self.last = self.body(x)
        self.train()
        self.frozen(x)
        raise self.problem


@pytest.mark.parametrize(
    "problem",
    [
        ValueError("x"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(),
        RuntimeError("y"),
    ],
)
def test_what_the_users_code_raises_comes_out_after_all_was_put_back(problem: BaseException) -> None:
    model = RaisesHalfway(problem)
    before = Fingerprint(model)
    with pytest.raises(type(problem)) as raised, unmarked(model):
        model(x())
    assert raised.value is problem
    problem.__traceback__ = None
    assert before.differences(Fingerprint(model)) == []


def test_one_value_per_channel_counts_no_batch() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"), unmarked(model):
        model(x(1, 3))
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_that_the_user_holds_still_runs_backward(*, training: bool) -> None:
    model = block().train(training)
    twin = block()
    twin.load_state_dict(model.state_dict())
    twin.train(training)
    batch = x()
    loss, expected = model(batch).square().sum(), twin(batch).square().sum()
    with unmarked(model):
        model.train()(x()).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        model.eval()(x())
    loss.backward()
    expected.backward()
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad)


def test_without_the_guard_such_a_graph_is_refused() -> None:
    model = block()
    loss = model(x()).square().sum()
    with torch.no_grad():
        model[1].weight.mul_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class Momentum(nn.Module):
    """MoCo's way: forward rebinds the data of the key encoder, and writes a queue."""

    def __init__(self):
        super().__init__()
        self.query, self.key = block(), block().requires_grad_(requires_grad=False)
        self.register_buffer("queue", torch.zeros(4, 8))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    def forward(self, x):
        for query, key in zip(self.query.parameters(), self.key.parameters(), strict=True):
            key.data = key.data * 0.9 + query.data * 0.1
        keys = self.key(x).mean((2, 3))
        self.queue[:, int(self.pointer) : int(self.pointer) + len(x)] = keys.T.detach()
        self.pointer[0] = (self.pointer + len(x)) % 8
        return self.query(x)


class Penalised(nn.Module):
    """Hooks remember in closures, in methods' objects and in what they are themselves."""

    def __init__(self):
        super().__init__()
        self.body = block()
        features, count, recorder = {}, 0, Recorder()

        def remember(module, args, output):
            nonlocal count
            count += 1
            features["last"] = output

        self.body[0].register_forward_hook(remember)
        self.body[1].register_forward_hook(recorder.save)
        self.body[2].register_forward_hook(Recorder())

    def forward(self, x):
        return self.body(x)


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.old = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))
            self.weight = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
        self.new = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.old(x) + self.new(x) + self.weight(x))


class Wrapped(torch.Tensor):
    """A tensor without values of its own, which knows no operation."""

    @staticmethod
    def __new__(cls, inside):
        return torch.Tensor._make_wrapper_subclass(cls, inside.shape, dtype=inside.dtype)

    def __init__(self, inside):
        self.inside = inside

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError(func)


class Odd(nn.Module):
    """Tensors without ordinary storage."""

    def __init__(self):
        super().__init__()
        self.sparse = nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)
        self.rows = torch.eye(3).to_sparse_csr()
        self.quantised = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)
        self.opaque = torch.randn(3).to_mkldnn() if torch.backends.mkldnn.is_available() else None
        self.meta, self.none = torch.empty(3, device="meta"), torch.empty(0, 5)
        self.complex, self.bit = torch.randn(3, dtype=torch.complex64), torch.tensor([True, False])
        self.odd = torch.arange(11, dtype=torch.uint8)
        self.half, self.scalar = torch.randn(3, dtype=torch.bfloat16), torch.tensor(1.0)
        self.wide, self.turned = torch.zeros(1).expand(1000), torch.randn(3, 4).T[1:]
        self.wrapped = Wrapped(torch.ones(3))
        self.ragged = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
        self.nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        with torch.inference_mode():
            self.inferred = torch.ones(3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        self.sparse.data._values().mul_(2)
        self.rows.values().mul_(3)
        self.sparse.data = (torch.eye(3) * 5).to_sparse()
        self.complex.mul_(1j)
        self.bit.logical_not_()
        self.odd[10] += 1
        self.half.mul_(2)
        self.scalar.add_(1)
        self.turned[1, 1] = 7
        with torch.inference_mode():
            self.inferred.mul_(2)
        self.wrapped.inside.mul_(2)
        self.ragged.mul_(2)
        self.none = torch.empty(0, 6)
        self.meta.mul_(2)
        return self.norm(x)


class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))


class Loop(nn.Module):
    """Things that refer to each other, and a module that knows its parent."""

    def __init__(self):
        super().__init__()
        self.body, self.parent, self.log = block(), [self], []
        self.log.append(self.log)
        self.lock = threading.Lock()

    def forward(self, x):
        self.log.append(x)
        return self.body(x)


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.LSTM(3, 4, batch_first=True)
        self.norm, self.state = nn.BatchNorm1d(4), None

    def forward(self, x):
        y, self.state = self.body(x, self.state)
        return self.norm(y.transpose(1, 2))


def averaged() -> nn.Module:
    model = torch.optim.swa_utils.AveragedModel(block(), use_buffers=True)
    model.update_parameters(block())
    return model


def loaded() -> nn.Module:
    """A scripted model from a file, which learns its methods as they are called."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(block()), file)
    file.seek(0)
    return torch.jit.load(file)


class Rebinding(nn.Module):
    """A scripted forward that rebinds its buffer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("center", torch.zeros(1))

    def forward(self, x):
        self.center = self.center * 0.9 + 1.0
        return self.norm(x) - self.center


MODELS = {
    "loaded": (loaded, x),
    "scripted rebinding": (lambda: torch.jit.script(Rebinding()), x),
    "MoCo": (Momentum, x),
    "hooks": (Penalised, x),
    "reparametrised": (Spectral, x),
    "odd tensors": (Odd, lambda: x(4, 3)),
    "lazy": (Lazy, x),
    "loop": (Loop, x),
    "recurrent": (Slow, lambda: x(2, 5, 3)),
    "data parallel": (lambda: nn.DataParallel(block()), x),
    "averaged": (averaged, x),
    "scripted": (lambda: torch.jit.script(block()), x),
    "traced": (lambda: torch.jit.trace(block().train(), x(), check_trace=False), x),
    "scripted part": (lambda: nn.Sequential(torch.jit.script(block()), nn.BatchNorm2d(4)), x),
    "synchronised": (lambda: nn.SyncBatchNorm.convert_sync_batchnorm(block()), x),
    "symbolically traced": (lambda: torch.fx.symbolic_trace(block()), x),
    "compiled": (lambda: torch.compile(block(), backend="eager"), x),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_awkward_models_are_put_back(name: str, *, training: bool, grad: bool) -> None:
    build, data = MODELS[name]
    model = build().train(training)
    before, batch = Fingerprint(model), data()
    state = torch.get_rng_state()
    with unmarked(model), torch.set_grad_enabled(grad):
        model(batch)
        model.train(not training)
        model(batch)
    assert torch.equal(state, torch.get_rng_state())
    torch.set_rng_state(state)
    after = Fingerprint(model)
    assert [path for path in before.differences(after) if path != "random"] == []


def test_a_lazy_model_can_still_be_given_its_first_batch() -> None:
    model = Lazy()
    with unmarked(model):
        model(x(2, 3, 5, 5))
    model(x(2, 1, 9, 9))
    assert model[0].weight.shape == (4, 1, 3, 3)
    assert model[1].num_batches_tracked == 1


def test_a_module_that_is_registered_nowhere_is_adopted() -> None:
    teacher = nn.Sequential(block().eval(), nn.BatchNorm2d(4))
    student = block()
    before = Fingerprint(student, teacher)
    with unmarked(student) as guard:
        for _ in range(3):
            guard.adopt(teacher)
            teacher.train()
            teacher(x())
    assert before.differences(Fingerprint(student, teacher)) == []


def test_what_was_kept_first_has_the_last_word() -> None:
    whole, model, other = torch.zeros(8), nn.Identity(), nn.Identity()
    model.part, other.whole = whole[2:4], whole
    with unmarked(model) as guard:
        model.part.fill_(5)
        guard.adopt(other)
        whole.fill_(6)
    assert whole.tolist() == [0] * 8


def test_to_adopt_is_seen_by_no_function_mode() -> None:
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, kinds, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    model = Nasty()
    with unmarked(block()) as guard, Mode():
        guard.adopt(model)
    assert seen == []


def test_inside_inference_mode_the_block_is_outside_of_it() -> None:
    model = block()
    with torch.inference_mode():
        before = Fingerprint(model)
        with unmarked(model):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            model(x())
        assert before.differences(Fingerprint(model)) == []


def test_inside_autocast_and_a_default_device() -> None:
    model = block()
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        before = Fingerprint(model)
        with unmarked(model):
            model(torch.zeros(2, 3, 5, 5, device="cpu"))
            torch.set_autocast_enabled("cpu", enabled=False)
        assert before.differences(Fingerprint(model)) == []


def test_what_cannot_be_put_back_is_said() -> None:
    model = nn.Linear(1, 1)
    model.numbers = Stubborn()
    with pytest.raises(RuntimeError, match="could not put everything back"), unmarked(model):
        model.bias.data.fill_(7)
    assert model.bias != 7  # all else is put back


class Stubborn(random.Random):
    def setstate(self, state):
        raise OSError("no")


def test_an_interruption_while_things_are_put_back_waits_until_all_are() -> None:
    model = nn.Linear(1, 1)
    model.numbers = Impatient()
    before = Fingerprint(model)
    with pytest.raises(KeyboardInterrupt), unmarked(model):
        nn.Linear(2, 2)(model.bias.data.fill_(7))  # which does not fit
    assert before.differences(Fingerprint(model)) == []


class Impatient(random.Random):
    def setstate(self, state):
        raise KeyboardInterrupt


def test_bytes_that_are_shared_are_copied_once() -> None:
    storages, whole = Storages(), torch.zeros(100)
    assert len(storages.keep(whole[10:90])) == 1
    assert storages.keep(whole[20:30]) == []
    assert storages.keep(whole[10:90].view(8, 10).T) == []
    assert len(storages.keep(whole)) == 1
    assert len(storages.keep(torch.zeros(100))) == 1
    assert storages.keep(torch.zeros(0)) == []


def test_the_copies_are_gone_afterwards_though_an_exception_is_held() -> None:
    model, odd = nn.Linear(1, 1), 24_690
    model.data = torch.zeros(odd)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="1 copies") as held, unmarked(model):
            raise_(ValueError(f"{copies(odd)} copies"))
        assert held.traceback
        assert copies(odd) == 0
    finally:
        gc.enable()


def raise_(problem):
    raise problem


def copies(size: int) -> int:
    """Copies of the values of a tensor of so many floats, in words."""
    tensors = [one for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum(
        one.dtype is torch.int64 and one.numel() == size // 2 and not one._is_view() for one in tensors
    )


def test_a_large_container_keeps_its_items_and_not_theirs() -> None:
    model = nn.Identity()
    model.samples, model.few = [{"n": n} for n in range(10_001)], [{"n": n} for n in range(10_000)]
    with unmarked(model):
        model.samples.append(0)
        model.samples[0]["n"] = model.few[0]["n"] = "changed"
    assert (len(model.samples), model.samples[0]["n"], model.few[0]["n"]) == (10_001, "changed", 0)


LOADERS = {
    "shuffled": lambda data: DataLoader(data, 2, shuffle=True, generator=torch.Generator()),
    "sampler": lambda data: DataLoader(data, 2, sampler=RandomSampler(data, generator=torch.Generator())),
    "batch sampler": lambda data: DataLoader(
        data, batch_sampler=BatchSampler(RandomSampler(data, generator=torch.Generator()), 2, drop_last=False)
    ),
    "home-made": lambda _: Epochs(),
}


class Epochs:
    def __init__(self):
        self.epoch, self.drawn = 0, numpy.random.default_rng(0)

    def __iter__(self):
        self.epoch += 1
        yield from self.drawn.random((9, 3))


def test_an_iterator_is_left_alone() -> None:
    source = iter(Cursor())
    with unmarked(nn.Identity(), source):
        next(source)
    assert source.position == 1


class Cursor:
    def __init__(self):
        self.position = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        return self.position


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_gives_the_same_batches_afterwards(name: str) -> None:
    model, loader = block(), LOADERS[name](TensorDataset(torch.arange(10.0)))
    before = Fingerprint(loader)
    with unmarked(model, loader):
        first = [str(batch) for batch, _ in zip(loader, range(5), strict=False)]
        assert before.differences(Fingerprint(loader)) != []
    assert before.differences(Fingerprint(loader)) == []
    assert [str(batch) for batch, _ in zip(loader, range(5), strict=False)] == first


KEPT = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
SHAPES = [
    *((2, 3, 32, 32), (2, 16), (2, 1, 28, 28), (2, 3), (2, 8, 16), (2, 64)),
    *((2, 784), (2, 32), (2, 10), (2, 3, 64, 64), (2, 16, 8, 8)),
]
ARGUMENTS = ((), (3,), (3, 4))


def definitions(path: Path) -> list[type[nn.Module]]:
    """The modules that a file defines; what it does besides importing and defining is not done."""
    module = types.ModuleType(path.stem)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        constant = isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        if isinstance(statement, KEPT) or constant:
            with contextlib.suppress(Exception):
                exec(compile(ast.Module([statement], []), str(path), "exec"), vars(module))
    return [
        one
        for one in vars(module).values()
        if isinstance(one, type) and one.__module__ == path.stem and issubclass(one, nn.Module)
    ]


def runs(cls: type[nn.Module]) -> tuple[nn.Module, torch.Tensor] | None:
    """An instance and a batch that it takes, if one of those that are tried fits."""
    for arguments in ARGUMENTS:
        try:
            model = cls(*arguments)
        except Exception:
            continue
        for shape in SHAPES:
            batch = torch.randn(shape)
            with contextlib.suppress(Exception):
                model(batch)
                return model, batch
    return None


@pytest.mark.filterwarnings("ignore")
def test_the_models_of_all_fixtures_are_put_back() -> None:
    covered, chance = set(), random.Random(0)
    for path in sorted(FIXTURES.rglob("*.py")):
        with contextlib.suppress(SyntaxError):
            for cls in definitions(path):
                with torch.random.fork_rng():
                    found = runs(cls)
                if found is not None:
                    assert leaves_no_mark(*found, chance), (path, cls)
                    covered.add((path, cls.__name__))
    assert len(covered) >= 200


def leaves_no_mark(model: nn.Module, batch: torch.Tensor, chance: random.Random) -> bool:
    """Run it in both modes, and until a random module of it raises; it begins in random modes."""
    modules = list(model.modules())
    for module in modules:
        module.training = chance.random() < 0.5
    before = Fingerprint(model)
    for mode, stop in ((True, False), (False, False), (True, True)):
        with contextlib.suppress(Exception), unmarked(model):  # some run in one mode only
            if stop:
                chance.choice(modules).register_forward_pre_hook(interrupt)
            model.train(mode)(batch)
    return before.differences(Fingerprint(model)) == []


class InterruptionError(Exception):
    pass


def interrupt(module, args):
    raise InterruptionError


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Listed(nn.Module):
    """BatchNorm in a list, which nobody registers."""

    def __init__(self):
        super().__init__()
        self.norms, self.calls = [nn.BatchNorm2d(4)], 0

    def forward(self, x):
        self.calls += 1
        return self.norms[0](x)


LAYERS = st.sampled_from(
    [
        lambda: nn.Conv2d(4, 4, 3, padding=1),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.BatchNorm2d(4, momentum=None, affine=False),
        lambda: nn.InstanceNorm2d(4, track_running_stats=True),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.Dropout(0.5),
        Listed,
    ]
).map(lambda build: build())
BODIES = st.recursive(
    LAYERS,
    lambda layers: st.lists(layers, min_size=1, max_size=4).flatmap(
        lambda found: st.sampled_from([nn.Sequential(*found), Residual(nn.Sequential(*found))])
    ),
    max_leaves=8,
)
DEEDS = st.sampled_from(
    [
        "train",
        "eval",
        "forward",
        "no_grad",
        "step",
        "scale",
        "reset",
        "freeze",
        "drop",
        "hook",
        "half",
        "attribute",
        "seed",
        "raise",
    ]
)


def do(deed: str, model: nn.Module, batch: torch.Tensor, chance: random.Random) -> None:
    some = chance.choice(list(model.modules()))
    if deed in {"train", "eval"}:
        getattr(some, deed)()
    elif deed == "forward":
        model(batch.clone())
    elif deed == "no_grad":
        with torch.no_grad():
            model(batch.clone())
    elif deed == "step":
        answer = model(batch.clone())
        if answer.requires_grad:
            answer.sum().backward()
            torch.optim.SGD([*model.parameters(), torch.ones(1, requires_grad=True)], 0.1).step()
    elif deed == "scale":
        for tensor in (*some.parameters(), *some.buffers()):
            tensor.data = tensor.data * 2
    elif deed == "reset":
        for module in some.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    elif deed == "freeze":
        some.requires_grad_(requires_grad=chance.random() < 0.5)
    elif deed == "drop":
        some._buffers.clear()
    elif deed == "hook":
        some.register_forward_hook(nothing)
    elif deed == "half":
        some.to(torch.float64)
    elif deed == "attribute":
        some.note = chance.random()
    elif deed == "seed":
        torch.manual_seed(chance.randrange(99))
    elif deed == "raise":
        raise InterruptionError


@settings(max_examples=120, deadline=None)
@given(BODIES, st.lists(DEEDS, max_size=8), st.randoms(use_true_random=False))
def test_random_models_are_put_back_whatever_is_done_to_them(body, deeds, chance) -> None:
    model = nn.Sequential(body)
    for module in model.modules():
        module.training = chance.random() < 0.5
    for parameter in model.parameters():
        parameter.requires_grad = chance.random() < 0.7
    batch, numbers = x(2, 4, 3, 3), random.Random(chance.randrange(1000))
    before = Fingerprint(model)
    with contextlib.suppress(InterruptionError, RuntimeError, TypeError, AttributeError), unmarked(model):
        for deed in deeds:
            do(deed, model, batch, numbers)
    assert before.differences(Fingerprint(model)) == []
