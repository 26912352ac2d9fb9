"""What is recorded of a forward: which operations are before a BatchNorm, its mode and its statistics."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from bnlint.trace.nodes import Node, Provenance
from bnlint.trace.record import FEW, Application, Recorder


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def recorded(model: nn.Module, *batches, statistics: bool = True, call=None) -> list[Application]:
    """The applications of BatchNorm in forwards of a model."""
    recorder = Recorder(model, lambda _: None, statistics=statistics)
    for batch in batches:
        recorder.begin(batch)
        with recorder:
            output = (call or model)(batch)
        recorder.end(output)
    return recorder.seen.applications


def chain(one: Application) -> list[str]:
    """The kinds of what is before a BatchNorm, nearest first, up to where several tensors meet."""
    found, node = [], one.node
    while len(node.inputs) == 1:
        node = node.inputs[0]
        found.append(node.kind)
    return found if not node.inputs else [*found, [each.kind for each in node.inputs]]


class Between(nn.Module):
    """A convolution, some operations, and a BatchNorm."""

    def __init__(self, *steps) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.steps = steps
        self.parts = nn.ModuleList([one for one in steps if isinstance(one, nn.Module)])

    def forward(self, x):
        x = self.conv(x)
        for step in self.steps:
            x = step(x)
        return self.bn(x)


# any number of operations


def in_place(x):
    x += 1
    return x


OPERATIONS = {
    "relu": (F.relu, ["activation"]),
    "torch.relu": (torch.relu, ["activation"]),
    "x.relu()": (torch.Tensor.relu, ["activation"]),
    "relu_": (torch.relu_, ["activation"]),
    "x.relu_()": (torch.Tensor.relu_, ["activation"]),
    "F.relu inplace": (lambda x: F.relu(x, inplace=True), ["activation"]),
    "ReLU": (nn.ReLU(), ["activation"]),
    "ReLU inplace": (nn.ReLU(inplace=True), ["activation"]),
    "ReLU6": (nn.ReLU6(), ["activation"]),
    "LeakyReLU": (nn.LeakyReLU(0.1), ["activation"]),
    "PReLU": (nn.PReLU(), ["activation"]),
    "ELU": (nn.ELU(), ["activation"]),
    "SELU": (nn.SELU(), ["activation"]),
    "GELU": (nn.GELU(), ["activation"]),
    "SiLU": (nn.SiLU(), ["activation"]),
    "Mish": (nn.Mish(), ["activation"]),
    "Hardswish": (nn.Hardswish(), ["activation"]),
    "Softplus": (nn.Softplus(), ["activation"]),
    "tanh": (torch.tanh, ["activation"]),
    "sigmoid": (lambda x: x.sigmoid(), ["activation"]),
    "clamp": (lambda x: x.clamp(min=0), ["activation"]),
    "clip": (lambda x: torch.clip(x, 0.0, 6.0), ["activation"]),
    "clamp below": (lambda x: x.clamp(-1, 1), ["other"]),
    "swish": (lambda x: x * torch.sigmoid(x), ["activation"]),
    "swish the other way": (lambda x: x.sigmoid() * x, ["activation"]),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), ["activation"]),
    "dropout": (lambda x: F.dropout(x, 0.5), ["dropout"]),
    "Dropout2d": (nn.Dropout2d(0.1), ["dropout"]),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[1:]), ["norm"]),
    "GroupNorm": (nn.GroupNorm(2, 4), ["norm"]),
    "Conv2d": (nn.Conv2d(4, 4, 1), ["conv"]),
    "Conv2d without bias": (nn.Conv2d(4, 4, 3, padding=1, bias=False), ["conv"]),
    "conv2d": (lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1)), ["conv"]),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 4, 1), ["conv"]),
    "linear": (lambda x: F.linear(x, torch.eye(x.shape[-1])), ["linear"]),
    "max pool": (lambda x: F.max_pool2d(x, 1), ["pool"]),
    "AvgPool2d": (nn.AvgPool2d(3, 1, 1), ["pool"]),
    "mean": (lambda x: x.mean((2, 3), keepdim=True) , ["pool"]),
    "amax": (lambda x: torch.amax(x, dim=(-1,), keepdim=True), ["pool"]),
    "mean of channels": (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1), ["other", "reshape"]),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), ["resample"]),
    "flatten and back": (lambda x: x.flatten(1).view_as(x), ["reshape", "reshape"]),
    "permute": (lambda x: x.permute(0, 1, 3, 2), ["reshape"]),
    "transpose": (lambda x: x.transpose(2, 3), ["reshape"]),
    "contiguous": (lambda x: x.contiguous(), ["reshape"]),
    "clone": (torch.clone, ["reshape"]),
    "detach": (lambda x: x.detach(), ["reshape"]),
    "data": (lambda x: x.data, ["reshape"]),
    "float": (lambda x: x.double().float(), ["reshape", "reshape"]),
    "slice": (lambda x: x[:, :], ["reshape"]),
    "flip": (lambda x: x.flip(1), ["reshape"]),
    "pad": (lambda x: F.pad(x, (1, 1)), ["reshape"]),
    "squeeze": (lambda x: x.unsqueeze(0).squeeze(0), ["reshape", "reshape"]),
    "split": (lambda x: x.split(4, 1)[0], ["reshape"]),
    "chunk": (lambda x: x.chunk(1, dim=1)[0], ["reshape"]),
    "unbind": (lambda x: x.unsqueeze(0).unbind(0)[0], ["reshape", "reshape"]),
    "Identity": (nn.Identity(), []),
    "noise": (lambda x: x + torch.randn_like(x), ["add"]),
    "noise of its type": (lambda x: x * x.new_ones(4, 1, 1), ["multiply"]),
    "add a number": (lambda x: x + 1, ["identity"]),
    "in place": (in_place, ["identity"]),
    "from a number": (lambda x: 1 - x, ["identity"]),
    "scale": (lambda x: x * 0.5, ["identity"]),
    "scale in place": (lambda x: x.mul_(2), ["identity"]),
    "divide": (lambda x: x / 255, ["identity"]),
    "exp": (torch.exp, ["other"]),
    "softmax": (lambda x: F.softmax(x, 1), ["softmax"]),
    "Sequential": (nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())), ["activation", "conv", "activation"]),
    "BatchNorm": (nn.BatchNorm2d(4), ["batchnorm"]),
}  # fmt: skip
"""Operations, and the kinds that they are recorded as."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_a_kind(name):
    step, kinds = OPERATIONS[name]
    applied = recorded(Between(step), torch.randn(4, 4, 4, 4))
    assert chain(applied[-1])[::-1] == ["input", "conv", *kinds]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=6))
def test_chains_of_operations(names):
    steps = [OPERATIONS[name][0] for name in names]
    expected = [kind for name in names for kind in OPERATIONS[name][1]]
    net, x, answers = Between(*steps), torch.randn(4, 4, 4, 4), []
    torch.manual_seed(len(names))
    try:
        plain = net(x.clone())
    except RuntimeError:
        assume(False)  # noqa: FBT003  # torch does not change every view in place
    torch.manual_seed(len(names))
    applied = recorded(net, x, call=lambda batch: answers.append(net(batch)))
    assert torch.equal(answers[0], plain)
    assert chain(applied[-1])[::-1] == ["input", "conv", *expected]
    assert len(applied) == 1 + names.count("BatchNorm")


# where tensors meet, and where nothing is seen


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@pytest.fixture(scope="module")
def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def shifted(x):
            return torch.relu(x) + 1

        return torch.jit.script(shifted)


class Awkward(nn.Module):
    """`run(self, x)` between a convolution and a BatchNorm, with more layers at hand."""

    def __init__(self, run, scripted=None) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.more, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1)
        self.run, self.scripted = run, scripted
        self.register_buffer("offset", torch.ones(4, 1, 1))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return self.bn(self.run(self, self.conv(x)))


KEPT = torch.zeros(4, 4, 4, 4)


def assigned_part(net, x):
    x = x.clone()
    x[:, :2] = net.more(x)[:, :2]
    return x


def assigned_number(net, x):
    x[:, :2] = 0.0
    return x


def given_out(net, x):
    with torch.no_grad():
        torch.exp(x, out=KEPT)
    return KEPT


def through_numpy(net, x):
    return torch.from_numpy(x.detach().numpy() * 2)


def glu(net, x):
    value, gate = net.wide(x).chunk(2, dim=1)
    return value * gate.sigmoid()


def cast(net, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.more(x).relu()


def called_functionally(net, x):
    parameters = {name: one.detach().clone() for name, one in net.more.named_parameters()}
    return torch.func.functional_call(net.more, parameters, (x,))


AWKWARD = {
    "residual": (lambda net, x: x + net.more(x), ["add", ["conv", "conv"]]),
    "residual in place": (lambda net, x: net.more(x).add_(x), ["add", ["conv", "conv"]]),
    "concatenated": (lambda net, x: torch.cat([x[:, :2], net.more(x)[:, 2:]], 1), ["concat", ["reshape", "reshape"]]),
    "stacked": (lambda _, x: torch.stack([x, x.relu()]).sum(0), ["other", "concat", ["conv", "activation"]]),
    "assigned part": (assigned_part, ["concat", ["reshape", "reshape"]]),
    "assigned number": (assigned_number, ["concat", "conv", "input"]),
    "halves": (lambda net, x: net.wide(x).chunk(2, dim=1)[0], ["reshape", "conv", "conv", "input"]),
    "second half": (lambda net, x: net.wide(x).split([4, 4], 1)[1], ["reshape", "conv", "conv", "input"]),
    "gated linear unit": (glu, ["activation", "reshape", "conv", "conv", "input"]),  # as F.glu is one
    "gate of another": (lambda net, x: x * net.more(x).sigmoid(), ["multiply", ["conv", "activation"]]),
    "a parameter": (lambda net, x: x * net.scale + net.offset, ["add", "multiply", "conv", "input"]),
    "a constant": (lambda _, x: torch.full((4, 1, 1), 2.0) * x, ["multiply", "conv", "input"]),
    "output given": (given_out, ["other", "conv", "input"]),
    "where": (lambda net, x: torch.where(x > 0, x, net.more(x)), ["concat", ["other", "conv", "conv"]]),
    "custom function": (lambda _, x: Square.apply(x), ["other", "conv", "input"]),
    "behind a custom function": (lambda net, x: net.more(Square.apply(x)), ["conv", "other", "conv", "input"]),
    "behind a scripted function": (lambda net, x: net.more(net.scripted(x)), ["conv", "unknown"]),
    "through numpy": (through_numpy, ["unknown"]),
    "behind numpy": (lambda net, x: net.more(through_numpy(net, x)), ["conv", "unknown"]),
    "scripted function": (lambda net, x: net.scripted(x), ["unknown"]),
    "checkpoint": (lambda net, x: checkpoint(net.more, x, use_reentrant=False), ["conv", "conv", "input"]),
    "older checkpoint": (lambda net, x: checkpoint(net.more, x, use_reentrant=True), ["conv", "conv", "input"]),
    "autocast": (cast, ["activation", "conv", "conv", "input"]),
    "functional call": (called_functionally, ["conv", "conv", "input"]),
    "vmap": (lambda _, x: torch.vmap(torch.relu)(x), ["unknown"]),
    "einsum": (lambda _, x: torch.einsum("nchw,dc->ndhw", x, torch.eye(4)), ["other", "conv", "input"]),
    "no gradients": (lambda net, x: torch.no_grad()(net.more)(x), ["conv", "conv", "input"]),
}  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_awkward_operations(name, grad, scripted):
    run, expected = AWKWARD[name]
    with torch.set_grad_enabled(grad):
        (one,) = recorded(Awkward(run, scripted), torch.randn(4, 4, 4, 4))
    assert chain(one) == expected
    assert one.of_data
    assert one.grad is grad


def test_what_makes_a_tensor_is_forgotten_with_the_batch():
    recorder = Recorder(nn.Identity(), lambda _: None)
    x, other = torch.randn(4, 4), torch.randn(4, 4)
    recorder.begin(x)
    with recorder:
        made = x.relu()
    assert recorder._provenance.of(made).name == "relu"
    recorder.begin(other)
    assert recorder._provenance.of(made) is recorder._provenance.of(x) is None
    assert recorder._provenance.of(other).kind == "input"


def test_an_identity_that_is_used_again_is_another_tensor():
    provenance = Provenance()
    tensor = torch.randn(4)
    provenance.note(tensor, Node("input", "input"))
    gone = provenance._made[id(tensor)]
    other = torch.randn(4)
    provenance._made[id(other)] = gone
    assert provenance.of(tensor) is gone[1]
    assert provenance.of(other) is None


class Standardised(nn.Conv2d):
    """Normalises its weights by F.batch_norm."""

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, padding=1)


def test_normalised_weights_are_no_data():
    net = nn.Sequential(Standardised(4, 4, 3), nn.BatchNorm2d(4))
    weights, data = recorded(net, torch.randn(4, 4, 4, 4))
    assert (weights.of_data, weights.module, weights.owner) == (False, None, net[0])
    assert (data.of_data, data.module) == (True, net[1])
    assert chain(data) == ["conv", "input"]


def test_layers_are_known_by_what_they_hold():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)

        def forward(self, x):
            x = F.conv2d(x, self.conv.weight)
            return F.batch_norm(x, self.bn.running_mean, self.bn.running_var, training=self.training)

    net = Net()
    (one,) = recorded(net, torch.randn(4, 4, 4, 4))
    assert (one.module, one.owner, one.tracked, one.training, one.asked) == (net.bn, net, True, True, True)
    (conv,) = one.node.inputs
    assert (conv.module, conv.bias, conv.made) == (net.conv, False, 4)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (nn.Dropout(0.3), 0.3),
        (nn.Dropout(0.3).eval(), 0.3),
        (nn.Dropout2d(0.0), 0.0),
        (lambda x: F.dropout(x, 0.2), 0.2),
        (lambda x: F.dropout(x, p=0.2, training=False), 0.0),
        (F.dropout2d, 0.5),
    ],
)
def test_how_much_is_dropped(step, rate):
    net = Between(step)
    (one,) = recorded(net, torch.randn(4, 4, 4, 4))
    assert (one.node.inputs[0].kind, one.node.inputs[0].rate) == ("dropout", rate)


# statistics


KINDS = {
    2: (nn.BatchNorm1d, (16, 3)),
    3: (nn.BatchNorm1d, (16, 3, 7)),
    4: (nn.BatchNorm2d, (16, 3, 5, 4)),
    5: (nn.BatchNorm3d, (8, 3, 2, 3, 4)),
}


@pytest.mark.parametrize("dimensions", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [False, True])
def test_statistics_are_those_of_the_batch(dimensions, dtype, training, last):
    kind, shape = KINDS[dimensions]
    norm = kind(3).to(dtype).train(training)
    x = torch.randn(shape, dtype=dtype) * torch.arange(1, 4).reshape(3, *[1] * (len(shape) - 2)) + 5
    if last and dimensions > 3:
        x = x.to(memory_format=torch.channels_last if dimensions == 4 else torch.channels_last_3d)
    kept = norm.running_mean.clone(), norm.running_var.clone()
    expected = norm(x)
    norm.load_state_dict(kind(3).to(dtype).state_dict())
    answers = []
    (one,) = recorded(norm, x, call=lambda batch: answers.append(norm(batch)))
    assert torch.equal(answers[0], expected)
    assert (one.samples, one.channels, one.values, one.dimensions) == (
        shape[0],
        3,
        x.numel() // 3,
        dimensions,
    )
    over = [dim for dim in range(dimensions) if dim != 1]
    # a double is looked at as a float in eval mode
    tolerance = 1e-12 if dtype == torch.float64 and training else 1e-5
    torch.testing.assert_close(one.mean.double(), x.double().mean(over), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(one.var.double(), x.double().var(over), rtol=tolerance, atol=tolerance)
    assert torch.equal(norm.running_mean, kept[0])
    assert torch.equal(norm.running_var, kept[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("whole", [True, False])
def test_statistics_in_half(dtype, whole):
    norm = nn.BatchNorm2d(3)
    norm = norm.to(dtype) if whole else norm
    x = torch.randn(16, 3, 5, 5).to(dtype) * 3 + 1
    try:
        norm(x)
    except RuntimeError:
        pytest.skip("this device has no such BatchNorm")
    (one,) = recorded(norm, x)
    tolerance = 0.05 if whole else 1e-2
    torch.testing.assert_close(one.mean.float(), x.float().mean((0, 2, 3)), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(one.var.float(), x.float().var((0, 2, 3)), rtol=tolerance, atol=tolerance)


def test_statistics_of_each_batch_and_call():
    norm = nn.BatchNorm1d(3)
    batches = [torch.randn(8, 3) + shift for shift in range(3)]
    found = recorded(norm, *batches, call=lambda x: norm(norm(x)))
    assert [one.batch for one in found] == [1, 1, 2, 2, 3, 3]
    for one, batch in zip(found[::2], batches, strict=True):
        torch.testing.assert_close(one.mean, batch.mean(0))
    for one in found[1::2]:
        torch.testing.assert_close(one.mean, torch.zeros(3), atol=1e-5, rtol=0)


def test_in_eval_mode_statistics_are_looked_at_where_asked_and_in_few_batches():
    norm = nn.BatchNorm1d(3).eval()
    batches = [torch.randn(8, 3)] * 6
    assert [one.mean is not None for one in recorded(norm, *batches)] == [True] * FEW + [False] * (6 - FEW)
    assert [one.mean is not None for one in recorded(norm, *batches, statistics=False)] == [False] * 6


def test_many_values_are_sampled_evenly():
    norm = nn.BatchNorm2d(2).eval()
    x = torch.randn(4, 2, 128, 128) * 2 + 3
    (one,) = recorded(norm, x)
    torch.testing.assert_close(one.mean, x.mean((0, 2, 3)), atol=0.2, rtol=0)
    torch.testing.assert_close(one.var.sqrt(), x.std((0, 2, 3)), atol=0.2, rtol=0)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.1, 1.0])
def test_running_statistics_stay_in_train_mode(momentum):
    norm = nn.BatchNorm1d(3, momentum=momentum)
    recorded(norm, torch.randn(8, 3) + 4)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))


def test_one_value_per_channel_is_noted_and_does_not_raise():
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than 1 value"):
        norm(torch.randn(1, 3))
    answers = []
    (one,) = recorded(norm, torch.randn(1, 3), call=lambda x: answers.append(norm(x)))
    assert (one.raises, one.values, one.mean) == (True, 1, None)
    assert torch.equal(answers[0], torch.zeros(1, 3))


# modes


class Custom(nn.BatchNorm2d):
    """Derived, with a forward of its own."""

    def forward(self, x):
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


class OfTorch(nn.BatchNorm2d):
    """Calls torch's lower functions."""

    def forward(self, x):
        return torch.batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            0.1,
            1e-5,
            True,  # noqa: FBT003
        )


MODES = {
    "train": (lambda: nn.BatchNorm2d(4), True, True),
    "eval": (lambda: nn.BatchNorm2d(4).eval(), False, True),
    "without statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), True, False),
    "without statistics in eval mode": (lambda: nn.BatchNorm2d(4, track_running_stats=False).eval(), True, False),
    "without scale": (lambda: nn.BatchNorm2d(4, affine=False), True, True),
    "synchronised": (lambda: nn.SyncBatchNorm(4).eval(), False, True),
    "derived": (lambda: Custom(4), True, True),
    "derived in eval mode": (lambda: Custom(4).eval(), False, True),
    "torch.batch_norm": (lambda: OfTorch(4), True, True),
    "torch.batch_norm in eval mode": (lambda: OfTorch(4).eval(), False, True),
}  # fmt: skip


@pytest.mark.parametrize("name", MODES)
def test_in_which_mode_it_runs(name):
    make, training, tracked = MODES[name]
    norm = make()
    (one,) = recorded(nn.Sequential(norm), torch.randn(4, 4, 3, 3))
    assert (one.module, one.training, one.tracked, one.asked) == (norm, training, tracked, norm.training)


def test_statistics_that_are_switched_off_afterwards_do_not_count():
    norm = nn.BatchNorm2d(4)
    norm.track_running_stats = False
    (one,) = recorded(norm, torch.randn(4, 4, 3, 3))
    assert (one.training, one.mean is not None) == (True, True)
    (one,) = recorded(norm.eval(), torch.randn(4, 4, 3, 3))
    assert (one.training, one.asked) == (False, False)


def test_a_layer_that_is_not_registered_is_adopted():
    hidden, adopted = [nn.BatchNorm1d(3)], []
    net = nn.Linear(3, 3)
    recorder = Recorder(net, adopted.append)
    recorder.begin(x := torch.randn(4, 3))
    with recorder:
        hidden[0](net(x))
    assert adopted == hidden
    (one,) = recorder.seen.applications
    assert (one.module, chain(one)) == (hidden[0], ["linear", "input"])


# afterwards


def surroundings() -> tuple:
    found = [
        list(value)
        for name, value in vars(hooks).items()
        if name.startswith("_global_") and isinstance(value, dict)
    ]
    return found, len(_get_current_function_mode_stack())


@pytest.mark.parametrize("raised", [None, ValueError, KeyboardInterrupt])
def test_hooks_and_modes_are_gone(raised):
    def stop(x):
        if raised is not None:
            raise raised
        return x

    before, net = surroundings(), Between(stop)
    recorder = Recorder(net, lambda _: None)
    recorder.begin(x := torch.randn(4, 4, 4, 4))
    problem = None
    try:
        with recorder:
            assert surroundings() != before
            net(x)
    except BaseException as caught:
        problem = caught
    assert type(problem) is (raised or type(None))
    assert surroundings() == before
    assert recorder.seen.called == {id(net), id(net.conv)} | (set() if raised else {id(net.bn)})
    with recorder:  # it can go on
        recorder.begin(x)
        nn.Sequential(net.conv, net.bn)(x)
    assert chain(recorder.seen.applications[-1]) == ["conv", "input"]
    assert surroundings() == before


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.BatchNorm2d(4), (4, 4)), (nn.BatchNorm1d(5), (4, 4)), (nn.BatchNorm3d(4), (4, 4, 4, 4))],
)
def test_a_layer_that_does_not_take_what_arrives(norm, shape):
    linear = nn.Linear(4, 4)
    net = nn.Sequential(linear, norm)
    recorder = Recorder(net, lambda _: None)
    recorder.begin(x := torch.randn(shape))
    with pytest.raises((ValueError, RuntimeError)) as caught, recorder:
        net(x)
    refused = recorder.seen.refused
    assert (refused.module, refused.shape, refused.error) == (norm, shape, caught.value)
    assert refused.node.module is linear
    with pytest.raises(type(caught.value)) as plain:
        net(x)
    assert str(caught.value) == str(plain.value)
