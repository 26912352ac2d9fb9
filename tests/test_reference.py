"""The reference BatchNorm is torch's, up to rounding: outputs, gradients, statistics, states and errors.

Agreement is 1e-12 in float64 and 1e-6 in float32: of the largest number in what is compared, or of 1 where that
is smaller. Where large numbers cancel out (two values of a channel that are nearly the same, a sum of many
gradients) no float32 knows the rest better than to its rounding of the large ones: there it is of their size.
"""

from __future__ import annotations

import copy
import re

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bnlint import reference
from bnlint.reference import steps

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
PAIRS = [
    (reference.BatchNorm1d, nn.BatchNorm1d, 2),
    (reference.BatchNorm1d, nn.BatchNorm1d, 3),
    (reference.BatchNorm2d, nn.BatchNorm2d, 4),
    (reference.BatchNorm3d, nn.BatchNorm3d, 5),
]
LAYERS = pytest.mark.parametrize(
    ("ours", "theirs", "dims"), PAIRS, ids=lambda one: str(getattr(one, "__name__", one))
)


def close(found, expected, dtype=torch.float64, size=1.0):
    if found is None or expected is None:
        assert found is expected
        return
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.detach().double()
    largest = max(size, float(expected.abs().max()) if expected.numel() else 0.0)
    assert torch.allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * largest, equal_nan=True)


def filled(layer, generator):
    """A layer whose parameters and statistics are not those of the beginning."""
    with torch.no_grad():
        for name, values in [*layer.named_parameters(), *layer.named_buffers()]:
            if name != "num_batches_tracked":
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return layer


def pair(ours, theirs, generator, channels=3, dtype=torch.float64, **arguments):
    one, other = ours(channels, dtype=dtype, **arguments), theirs(channels, dtype=dtype, **arguments)
    filled(other, generator)
    one.load_state_dict(other.state_dict())
    return one, other


def step(layer, x, weights):
    """The output, and the gradients of a weighted sum of it."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    (y * weights).sum().backward()
    return y.detach(), x.grad, *(values.grad for values in layer.parameters())


def sizes_of_terms(layer, x, weights):
    """How large the numbers are that the output, and the gradients of x, gamma and beta are differences of."""
    own = layer.training or layer.running_mean is None
    dims = [0, *range(2, x.dim())]
    variance = x.double().var(dims, unbiased=False) if own else layer.running_var.double()
    deviation = float((variance + layer.eps).sqrt().min())
    output = max(1.0, float(x.abs().max()) / deviation)
    total = max(1.0, float(weights.double().abs().sum(dims).max()))
    return output, output * total / deviation, output * total, total


@st.composite
def cases(draw):
    ours, theirs, dims = draw(st.sampled_from(PAIRS))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    shape = (
        draw(st.integers(1, 9)),
        draw(st.integers(1, 5)),
        *(draw(st.integers(1, 4)) for _ in range(dims - 2)),
    )
    arguments = {
        "eps": draw(st.sampled_from([1e-5, 1e-3, 1e-8, 0.5])),
        "momentum": draw(st.one_of(st.sampled_from([None, 0, 1, 0.1, 0.0, 1.0]), st.floats(0, 1))),
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    modes = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    scale = draw(st.sampled_from([1.0, 1e-3, 30.0]))
    shift = draw(st.sampled_from([0.0, 1.0, -3.0]))
    return ours, theirs, dtype, shape, arguments, modes, scale, shift, draw(st.integers(0, 2**16))


@settings(deadline=None, max_examples=150)
@given(cases())
def test_it_computes_what_torch_computes(case):
    ours, theirs, dtype, shape, arguments, modes, scale, shift, seed = case
    generator = torch.Generator().manual_seed(seed)
    one, other = pair(ours, theirs, generator, shape[1], dtype, **arguments)
    for training in modes:
        x = ((torch.randn(shape, generator=generator, dtype=dtype) + shift) * scale).to(dtype)
        weights = torch.randn(shape, generator=generator, dtype=dtype)
        one.train(training)
        other.train(training)
        try:
            expected = step(other, x, weights)
        except ValueError as problem:
            with pytest.raises(ValueError, match=re.escape(str(problem))):
                step(one, x, weights)
        else:
            sizes = sizes_of_terms(other, x, weights)
            for found, wanted, size in zip(step(one, x, weights), expected, sizes, strict=False):
                close(found, wanted, dtype, size)
        for found, wanted in zip(one.buffers(), other.buffers(), strict=True):
            close(found, wanted, dtype)
        assert one.state_dict().keys() == other.state_dict().keys()


@LAYERS
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_gradients_are_those_of_the_output(ours, theirs, dims, training, affine):
    generator = torch.Generator().manual_seed(0)
    layer, _ = pair(ours, theirs, generator, 2, affine=affine, track_running_stats=not training)
    layer.train(training)
    x = torch.randn(4, 2, *[2] * (dims - 2), generator=generator, dtype=torch.float64, requires_grad=True)
    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), inputs)
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), inputs)


@LAYERS
def test_second_gradients_are_those_of_torch(ours, theirs, dims):
    generator = torch.Generator().manual_seed(0)
    found = []
    x = torch.randn(5, 3, *[2] * (dims - 2), generator=generator, dtype=torch.float64, requires_grad=True)
    for layer in pair(ours, theirs, generator):
        (first,) = torch.autograd.grad((layer(x) ** 3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad((first**2).sum(), (x, layer.weight)))
    for one, other in zip(*found, strict=True):
        close(one, other)


@LAYERS
@pytest.mark.parametrize("momentum", [0.1, None, 0, 1, 0.7])
def test_statistics_after_many_batches(ours, theirs, dims, momentum):
    generator = torch.Generator().manual_seed(1)
    one, other = pair(ours, theirs, generator, momentum=momentum)
    for number in range(30):
        x = (
            torch.randn(2 + number % 5, 3, *[2] * (dims - 2), generator=generator, dtype=torch.float64)
            + number
        )
        one(x)
        other(x)
    for found, expected in zip(one.buffers(), other.buffers(), strict=True):
        close(found, expected)
    close(one.eval()(x), other.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("parameters", [torch.float32, None])
@pytest.mark.parametrize("training", [True, False])
def test_narrow_inputs(dtype, parameters, training):
    generator = torch.Generator().manual_seed(2)
    one, other = pair(reference.BatchNorm2d, nn.BatchNorm2d, generator, dtype=parameters or dtype)
    x = torch.randn(6, 3, 4, 4, generator=generator).to(dtype)
    weights = torch.randn(x.shape, generator=generator).to(dtype)
    for found, expected in zip(
        step(one.train(training), x, weights), step(other.train(training), x, weights), strict=True
    ):
        close(found, expected, dtype)
    for found, expected in zip(one.buffers(), other.buffers(), strict=True):
        close(found, expected, torch.float32 if parameters else dtype)


@LAYERS
def test_values_far_from_zero_cost_torch_digits_and_the_reference_none(ours, theirs, dims):
    """The mean is a thousand deviations away: float32 holds seven digits, three of which are lost."""
    generator = torch.Generator().manual_seed(3)
    x = 1000 + torch.randn(64, 3, *[4] * (dims - 2), generator=generator)
    exact = theirs(3, dtype=torch.float64)(x.double())
    assert (ours(3)(x) - exact).abs().max() <= 1e-6
    assert (theirs(3)(x) - exact).abs().max() <= 1e-3


ARGUMENTS = [
    {},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"momentum": None, "eps": 1e-3},
    {"affine": False, "track_running_stats": False},
]


@LAYERS
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
class TestItIsBuiltAsTorchs:
    def test_it_is_printed_the_same(self, ours, theirs, dims, arguments):
        assert repr(ours(3, **arguments)) == repr(theirs(3, **arguments))

    def test_it_has_the_same_attributes(self, ours, theirs, dims, arguments):
        one, other = ours(3, **arguments), theirs(3, **arguments)
        for name in ("num_features", "eps", "momentum", "affine", "track_running_stats"):
            assert getattr(one, name) == getattr(other, name)
        assert list(one._parameters) == list(other._parameters)
        assert list(one._buffers) == list(other._buffers)
        for name, values in other.state_dict().items():
            close(one.state_dict()[name], values, torch.float32)

    def test_states_go_both_ways(self, ours, theirs, dims, arguments):
        generator = torch.Generator().manual_seed(4)
        one, other = pair(ours, theirs, generator, **arguments)
        x = torch.randn(5, 3, *[2] * (dims - 2), generator=generator, dtype=torch.float64)
        one(x)
        back = theirs(3, dtype=torch.float64, **arguments)
        assert str(back.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
        for found, expected in zip(back.state_dict().values(), one.state_dict().values(), strict=True):
            assert torch.equal(found, expected)
        assert one.state_dict()._metadata == other.state_dict()._metadata
        close(back.eval()(x), one.eval()(x))

    def test_it_can_be_reset(self, ours, theirs, dims, arguments):
        layers = pair(ours, theirs, torch.Generator().manual_seed(5), **arguments)
        for layer in layers:
            layer.reset_running_stats()
        assert all(map(torch.equal, layers[0].state_dict().values(), layers[1].state_dict().values()))
        for layer in layers:
            layer.reset_parameters()
        fresh = theirs(3, dtype=torch.float64, **arguments).state_dict()
        assert all(map(torch.equal, layers[0].state_dict().values(), fresh.values()))

    def test_an_old_state_loads_without_a_count(self, ours, theirs, dims, arguments):
        layers = pair(ours, theirs, torch.Generator().manual_seed(6), **arguments)
        for layer in layers:
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.fill_(7)
            old = {key: values for key, values in layer.state_dict().items() if key != "num_batches_tracked"}
            layer.load_state_dict(copy.copy(old))
        assert layers[0].num_batches_tracked == layers[1].num_batches_tracked


def test_a_new_state_without_a_count_is_refused_as_by_torch():
    for cls in (reference.BatchNorm1d, nn.BatchNorm1d):
        state = cls(3).state_dict()
        del state["num_batches_tracked"]
        with pytest.raises(RuntimeError, match=r'Missing key.*"num_batches_tracked"'):
            cls(3).load_state_dict(state)


def test_it_can_be_built_on_another_device():
    one, other = (
        cls(3, device="meta", dtype=torch.float16) for cls in (reference.BatchNorm2d, nn.BatchNorm2d)
    )
    for name, values in other.state_dict().items():
        assert one.state_dict()[name].dtype == values.dtype
        assert one.state_dict()[name].device == values.device
    state = {name: torch.ones(3) for name in ("weight", "bias", "running_mean", "running_var")}
    one.load_state_dict(state, assign=True)
    assert one.num_batches_tracked == 0


def raised(layer, x):
    try:
        layer(x)
    except Exception as problem:
        return type(problem), re.sub(r"'?(torch\.)?[Ll]ong'?|int64|(?<=mixed dtype).*", "", str(problem))[:28]
    return None


WRONG = [
    *(
        {"shape": shape}
        for shape in [(3,), (4, 3), (4, 3, 2), (4, 3, 2, 2), (4, 3, 2, 2, 2), (4, 3, 2, 2, 2, 2)]
    ),
    *({"shape": (1, 3, *[1] * more)} for more in range(4)),
    *({"shape": (1, 3, *[1] * more), "training": False, "track_running_stats": False} for more in range(4)),
    *({"shape": (4, 5, *[2] * more)} for more in range(4)),
    *({"shape": (4, 5, *[2] * more), "track_running_stats": False} for more in range(4)),
    *(
        {"shape": (4, 3, *[2] * more), "eps": eps, "training": t}
        for more in range(4)
        for eps in (0, -1)
        for t in (1, 0)
    ),
    *({"shape": (4, 3, *[2] * more), "dtype": torch.float64} for more in range(4)),
    *({"shape": (4, 3, *[2] * more), "dtype": torch.long} for more in range(4)),
    *({"shape": (0, 3, *[2] * more)} for more in range(4)),
]


@LAYERS
@pytest.mark.parametrize("case", WRONG, ids=str)
def test_it_refuses_what_torch_refuses(ours, theirs, dims, case):
    shape, training = case["shape"], bool(case.get("training", True))
    arguments = {key: case[key] for key in ("eps", "track_running_stats") if key in case}
    x = torch.ones(shape).to(case.get("dtype", torch.float32))
    one, other = ours(3, **arguments).train(training), theirs(3, **arguments).train(training)
    assert raised(one, x) == raised(other, x)
    for found, expected in zip(one.buffers(), other.buffers(), strict=True):
        assert torch.equal(found, expected)


@LAYERS
def test_no_samples_leave_no_trace(ours, theirs, dims):
    for layer in pair(ours, theirs, torch.Generator().manual_seed(7)):
        before = copy.deepcopy(layer.state_dict())
        x = torch.zeros(0, 3, *[2] * (dims - 2), dtype=torch.float64, requires_grad=True)
        layer(x).sum().backward()
        assert torch.equal(layer.weight.grad, torch.zeros(3, dtype=torch.float64))
        assert torch.equal(layer.running_var, before["running_var"])
        assert layer.num_batches_tracked == 1


@LAYERS
@pytest.mark.parametrize("training", [True, False])
def test_the_flag_that_is_flipped_stops_the_statistics_only_in_train_mode(ours, theirs, dims, training):
    generator = torch.Generator().manual_seed(8)
    one, other = pair(ours, theirs, generator)
    x = torch.randn(5, 3, *[2] * (dims - 2), generator=generator, dtype=torch.float64)
    for layer in (one, other):
        layer.train(training).track_running_stats = False
    close(one(x), other(x))
    for found, expected in zip(one.buffers(), other.buffers(), strict=True):
        assert torch.equal(found, expected)


def test_statistics_know_of_no_gradient():
    layer = reference.BatchNorm1d(3)
    layer(torch.randn(4, 3, requires_grad=True))
    assert not any(values.requires_grad for values in layer.buffers())


def test_the_example_of_the_texts():
    """Means 125, 0.0025, 52.5 and biased variances 3125, 1.25e-6, 331.25, as anybody can work out by hand."""
    x = torch.tensor(
        [[100, 0.001, 50], [200, 0.002, 75], [50, 0.003, 25], [150, 0.004, 60]], dtype=torch.float64
    )
    mean = steps.mini_batch_mean(x)
    variance = steps.mini_batch_variance(x, mean)
    close(mean, torch.tensor([125, 0.0025, 52.5], dtype=torch.float64))
    close(variance, torch.tensor([3125, 1.25e-6, 331.25], dtype=torch.float64))
    deviation = steps.normalize(x, mean, variance, 1e-5).std(0, unbiased=False)
    close(deviation, (variance / (variance + 1e-5)).sqrt())
    assert round(float(deviation[1]), 3) == 0.333


def test_an_average_that_moves():
    assert steps.moving_average(torch.tensor(2.0), torch.tensor(6.0), 0.25) == 3
    assert steps.unbiased(torch.tensor(3.0), 2) == 6
    assert steps.values_per_channel(torch.zeros(4, 3, 2, 5)) == 40
    assert steps.values_per_channel(torch.zeros(0, 3)) == 0
