"""`bnlint.check` as a program calls it: what it takes, what it gives, what comes out of it, what is left as it was."""

from __future__ import annotations

import functools
import json
import socket
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from marks import Fingerprint
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import bnlint
from bnlint.checkpoint import CheckpointError
from bnlint.config import ConfigError


@pytest.fixture(autouse=True)
def _as_always(tmp_path, monkeypatch):
    """The same numbers each time, in a folder without settings, and on one thread."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LOG.clear()
        yield
    torch.set_num_threads(threads)


class Net(nn.Module):
    """Nothing is wrong with it."""

    def __init__(self, channels: int = 8, **options) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels, **options)
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).relu().mean((2, 3)))


LOG: list = []
"""What models note here is not put back, as it would be in a list that they hold."""


def note_mode(module, _) -> None:
    LOG.append(module.training)


class Calling(Net):
    """Calls a function in each forward."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        answer = super().forward(x)
        self.function()
        return answer


def images(count: int = 64, batch: int = 16, **options) -> DataLoader:
    data = TensorDataset(torch.randn(count, 3, 6, 6), torch.arange(count) % 3)
    return DataLoader(data, batch_size=batch, **options)


def trained(net: nn.Module) -> nn.Module:
    """With running statistics that fit the images."""
    for _ in range(60):
        net(torch.randn(16, 3, 6, 6))
    return net


def codes(report: bnlint.Report) -> list[str]:
    return [one.code for one in report]


# what the caller is about to do


@pytest.mark.parametrize("stage", ["train", "eval"])
def test_a_healthy_model_is_clear(stage):
    report = bnlint.check(trained(Net()).train(stage == "train"), images(), stage=stage)
    assert (report.findings, report.skipped, report.checked) == ((), (), 1)
    assert str(report) == "All clear: 1 BatchNorm layer checked."


def test_a_model_in_train_mode_is_evaluated():
    net = trained(Net())
    assert codes(bnlint.check(net, images(), stage="eval")) == ["BN101"]
    assert codes(bnlint.check(net, images())) == codes(bnlint.check(net, images(), stage="train")) == []


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_caller_is_about_to_evaluate(mode):
    net = trained(Net())
    calling = Calling(lambda: LOG.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())))
    with mode():
        assert (
            codes(bnlint.check(net, images()))
            == codes(bnlint.check(net, images(), stage="eval"))
            == ["BN101"]
        )
        bnlint.check(calling, images())
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert set(LOG) == {(False, mode is torch.inference_mode)}


@pytest.mark.parametrize(("stage", "expected"), [("train", True), ("eval", False)])
def test_a_model_in_eval_mode_is_trained_as_its_loop_would(stage, expected):
    net = trained(Net()).eval()
    net.bn.register_forward_pre_hook(note_mode)
    bnlint.check(net, images(), stage=stage, max_batches=1)
    assert LOG[0] is expected
    assert [module.training for module in net.modules()] == [False] * 4


def test_its_own_train_is_called():
    class Frozen(Net):
        def train(self, mode: bool = True):  # noqa: FBT001, FBT002
            super().train(mode)
            self.bn.eval()
            return self

    net = trained(Frozen()).eval()
    net.bn.register_forward_pre_hook(note_mode)
    bnlint.check(net, images(), max_batches=1)
    assert LOG[0] is False


def test_a_model_of_which_nothing_is_trained_stays_in_eval_mode():
    net = trained(Net()).eval().requires_grad_(requires_grad=False)
    net.bn.register_forward_pre_hook(note_mode)
    assert codes(bnlint.check(net, images())) == []
    assert set(LOG) == {False}


@contextmanager
def default_type():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.parametrize(
    "around",
    [
        lambda: torch.device("cpu"),
        default_type,
        lambda: torch.autograd.set_detect_anomaly(mode=True),
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        torch.overrides.BaseTorchFunctionMode,
        torch.enable_grad,
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_what_is_set_around_it_changes_nothing(stage, around):
    net, loader = trained(sick()).train(stage == "train"), images(8, 2)
    plain = bnlint.check(net, loader, stage=stage)
    with around():
        before = Fingerprint(net, loader)
        report = bnlint.check(net, loader, stage=stage)
        assert before.differences(Fingerprint(net, loader)) == []
    assert [(one.code, one.where.module) for one in report] == [(one.code, one.where.module) for one in plain]
    assert report.skipped == plain.skipped == ()


# how it is run


def test_a_batch_goes_its_own_way():
    net, given = Net(), []

    def forward(model, batch):
        given.append((model, sorted(batch)))
        return model(batch["pixels"] * 2)

    loader = [{"pixels": torch.randn(16, 3, 6, 6), "mask": None} for _ in range(3)]
    report = bnlint.check(net, loader, forward=forward)
    assert (codes(report), report.checked) == ([], 1)
    assert given[0] == (net, ["mask", "pixels"])
    assert len(given) >= 4  # all batches, and the first one in eval mode


@pytest.mark.parametrize(("most", "taken"), [(1, 1), (3, 3), (8, 5)])
def test_so_many_batches_are_taken(most, taken):
    drawn = []
    loader = (drawn.append(number) or torch.randn(16, 3, 6, 6) for number in range(5))
    report = bnlint.check(Net(), loader, max_batches=most)
    assert drawn == list(range(taken))
    many = "1 batch was" if taken == 1 else f"{taken} batches were"
    assert report.skipped == (f"the loader is an iterator: {many} taken from it and cannot be put back",)


def test_the_default_is_eight_batches():
    loader = iter([torch.randn(16, 3, 6, 6)] * 12)
    bnlint.check(Net(), loader)
    assert len(list(loader)) == 4


def test_other_wrong_words():
    with pytest.raises(ValueError, match="max_batches is 1 at least"):
        bnlint.check(Net(), images(), max_batches=0)
    with pytest.raises(ValueError, match='stage is "train" or "eval", not \'test\''):
        bnlint.check(Net(), images(), stage="test")


# which rules


def sick() -> nn.Module:
    """BN203 (a bias), BN404 (momentum) and, on batches of two, BN301."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.99), nn.ReLU(), nn.Flatten())


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["BN203", "BN301", "BN404"]),
        ({"select": ["BN301"]}, ["BN301"]),
        ({"select": ["BN2", "momentum-convention"]}, ["BN203", "BN404"]),
        ({"select": ["ALL"], "ignore": ["BN3"]}, ["BN203", "BN404"]),
        ({"ignore": ["bias-before-batchnorm", "BN404"]}, ["BN301"]),
        ({"select": []}, []),
    ],
)
def test_rules_are_chosen(chosen, expected):
    assert sorted(codes(bnlint.check(sick(), images(8, 2), **chosen))) == expected


@pytest.mark.parametrize("key", ["select", "ignore"])
def test_a_wrong_selector_is_refused_before_anything_runs(key):
    def never():
        raise AssertionError

    with pytest.raises(ConfigError, match="BN999"):
        bnlint.check(Calling(never), images(), **{key: ["BN999"]})


def test_settings_of_the_folder_hold():
    Path("pyproject.toml").write_text('[tool.bnlint]\nignore = ["BN203"]\n')
    assert sorted(codes(bnlint.check(sick(), images(8, 2)))) == ["BN301", "BN404"]
    Path("pyproject.toml").write_text('[tool.bnlint]\nselect = ["BN3"]\ntiny-batch = 4\n')
    report = bnlint.check(sick(), images(8, 2))
    assert [(one.code, one.measured["threshold"]) for one in report] == [("BN301", 4)]
    assert codes(bnlint.check(sick(), images(8, 4))) == []
    assert codes(bnlint.check(sick(), images(8, 4), select=["BN404"])) == ["BN404"]


# a state dict beside it


def lacking(net: nn.Module) -> dict:
    return {
        key: value for key, value in net.state_dict().items() if "running" not in key and "num" not in key
    }


@pytest.mark.parametrize("stored", [False, True])
def test_what_a_state_dict_lacks_is_a_finding(stored):
    net = Net()
    for state, expected in ((lacking(net), ["BN402"]), (net.state_dict(), [])):
        if stored:
            torch.save({"model": state}, "net.pt")
        report = bnlint.check(net, images(), state_dict="net.pt" if stored else state)
        assert (codes(report), report.skipped) == (expected, ())
    assert codes(bnlint.check(net, images(), state_dict=Path("net.pt")) if stored else report) == []


def test_a_file_that_is_no_checkpoint_is_refused():
    Path("net.pt").write_bytes(b"no checkpoint at all")
    with pytest.raises(CheckpointError):
        bnlint.check(Net(), images(), state_dict="net.pt")
    with pytest.raises(CheckpointError):
        bnlint.check(Net(), images(), state_dict="missing.pt")
    with pytest.raises(TypeError, match="a state dict or a path was expected, not int"):
        bnlint.check(Net(), images(), state_dict=3)


def test_a_state_dict_is_read_before_anything_runs():
    def never():
        raise AssertionError

    with pytest.raises(CheckpointError):
        bnlint.check(Calling(never), images(), state_dict="missing.pt")


def test_what_holds_no_state_dict_is_said():
    report = bnlint.check(Net(), images(), state_dict={"epoch": 3})
    assert (codes(report), report.skipped) == ([], ("state dict: holds no state dict of a model",))


# how far it has come


@pytest.mark.parametrize(("stage", "many"), [("train", 2), ("eval", 2), ("train", 10)])
def test_a_function_is_told_how_far_it_has_come(stage, many):
    told = []
    bnlint.check(
        Net(),
        images(16 * many),
        stage=stage,
        progress=lambda share, doing: told.append((share, doing)),
    )
    shares = [share for share, _ in told]
    assert all(isinstance(doing, str) and doing for _, doing in told)
    assert [doing for _, doing in told][: min(many, 8)] == [f"batch {n + 1}" for n in range(min(many, 8))]
    assert shares[0] == 0
    assert shares[-1] < 1
    assert all(one < other for one, other in pairwise(shares))


def test_a_bar_is_drawn_and_wiped_or_not_at_all(capsys):
    bnlint.check(Net(), images(), progress=False)
    assert capsys.readouterr() == ("", "")
    bnlint.check(Net(), images(), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "batch 1" in err
    assert err.endswith("\r\x1b[K")
    with pytest.raises(TypeError, match="progress is True, False, None or a function, not str"):
        bnlint.check(Net(), images(), progress="yes")


# what cannot be checked


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(4)

    def forward(self, left, right):
        return self.bn(left + right)


@pytest.mark.parametrize(
    ("model", "loader", "message"),
    [
        (Net, images, "check takes an nn.Module, not type"),
        (dict, images, "check takes an nn.Module, not type"),
        (None, images, "check takes an nn.Module, not NoneType"),
        (Net(), 3, "an int gives no batches"),
        (Net(), "data", "a str gives no batches"),
        (Net(), Net(), "a Net gives no batches"),
        (Net(), [], "is empty"),
        (Net(), iter(()), "is empty"),
        (Strange(), [torch.randn(16, 4)], "bnlint cannot tell how"),
        (Strange(), [{"a": torch.randn(16, 4)}], "bnlint cannot tell how"),
    ],
)
def test_what_cannot_be_checked_is_a_type_error(model, loader, message):
    before = Fingerprint(model, loader) if isinstance(model, nn.Module) else None
    with pytest.raises(TypeError, match=message):
        bnlint.check(model, loader() if loader is images else loader)
    assert before is None or before.differences(Fingerprint(model, loader)) == []


# what the user's code raises


class OursError(Exception):
    pass


@pytest.mark.parametrize(
    "kind",
    [OursError, ValueError, RuntimeError, TypeError, KeyboardInterrupt, SystemExit, StopIteration],
)
@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.parametrize("when", [1, 2])
def test_what_the_model_raises_comes_out_as_it_is(kind, stage, when):
    problem, calls = kind("from inside"), []

    def raises():
        calls.append(1)
        if len(calls) == when:
            raise problem

    net, loader = Calling(raises), images()
    before = Fingerprint(net, loader)
    with pytest.raises(kind) as caught:
        bnlint.check(net, loader, stage=stage)
    assert caught.value is problem
    del calls[:]
    assert before.differences(Fingerprint(net, loader)) == []


@pytest.mark.parametrize("kind", [OursError, KeyboardInterrupt])
def test_what_the_loader_or_the_function_raises_comes_out_as_it_is(kind):
    problem, net, loader = kind(), Net(), images()
    before = Fingerprint(net, loader)

    def batches():
        yield torch.ones(16, 3, 6, 6)
        raise problem

    def forward(*_):
        raise problem

    def told(share, _):
        if share > 0:
            raise problem

    for ask in (
        functools.partial(bnlint.check, net, batches()),
        functools.partial(bnlint.check, net, loader, forward=forward),
        functools.partial(bnlint.check, net, loader, progress=told),
    ):
        with pytest.raises(kind) as caught:
            ask()
        assert caught.value is problem
    assert before.differences(Fingerprint(net, loader)) == []


def test_an_interruption_in_the_later_passes_comes_out_and_an_error_does_not():
    class Only(Net):
        """Trains, but does not evaluate."""

        def forward(self, x):
            if not self.training:
                raise self.problem
            return super().forward(x)

    net, loader = Only(), images()
    net.problem = OursError("not for this")
    before = Fingerprint(net)
    report = bnlint.check(net, loader)
    assert report.skipped == ("eval mode: forward raised OursError for the first batch: not for this",)
    assert codes(report) == []
    assert before.differences(Fingerprint(net)) == []
    net.problem = KeyboardInterrupt()
    before = Fingerprint(net)
    with pytest.raises(KeyboardInterrupt) as caught:
        bnlint.check(net, loader)
    assert caught.value is net.problem
    assert before.differences(Fingerprint(net)) == []


# what BatchNorm itself refuses


def heads() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 8, bias=False),
        nn.BatchNorm1d(8, eps=0.1),
        nn.Linear(8, 2),
    )


def test_one_value_per_channel_is_a_finding_and_what_comes_behind_is_looked_at():
    report = bnlint.check(heads(), [torch.randn(16, 4), torch.randn(1, 4)])
    assert codes(report) == ["BN302", "BN405"]
    assert report.skipped == ()
    assert report.findings[1].where.module == "4"


@pytest.mark.parametrize(
    ("norm", "seen"),
    [(nn.BatchNorm1d(6), "gets 8 channels"), (nn.BatchNorm2d(8), "2 dimensions")],
)
def test_another_shape_is_a_finding_and_other_layers_are_looked_at(norm, seen):
    net = nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8, momentum=0.99),
        nn.Linear(8, 8),
        norm,
        nn.Linear(8, 2),
    )
    batch = torch.randn(16, 4)
    before = Fingerprint(net, batch)
    report = bnlint.check(net, [batch])
    assert sorted(codes(report)) == ["BN203", "BN204", "BN404"]
    found = next(one for one in report if one.code == "BN204")
    assert seen in found.message
    assert found.where.module == "3"
    assert len(report.skipped) == 1
    assert report.skipped[0].startswith("what comes behind `3`, which raises: ")
    assert before.differences(Fingerprint(net, batch)) == []


def test_what_it_raises_for_another_reason_comes_out():
    norm = nn.BatchNorm1d(4).double()
    with pytest.raises(RuntimeError) as caught:
        bnlint.check(nn.Sequential(norm), [torch.randn(16, 4)])
    assert "dtype" in str(caught.value) or "type" in str(caught.value)


# what was not looked at


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen, self.idle, self.other = nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.fast = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))

    def forward(self, x):
        return self.fast(self.seen(x)).exp()


@pytest.mark.filterwarnings("ignore")
def test_what_was_not_looked_at_is_said():
    report = bnlint.check(Parts(), iter([torch.randn(16, 4)] * 2))
    assert report.checked == 4
    assert sorted(report.skipped) == [
        "`fast` is scripted: the order of its layers, and what they get, is not seen",
        "`idle` and 1 more: never called in 2 batches",
        "the loader is an iterator: 2 batches were taken from it and cannot be put back",
    ]


def test_a_lazy_model_is_checked_in_a_copy():
    net = nn.Sequential(
        nn.LazyConv2d(8, 3, bias=False),
        nn.LazyBatchNorm2d(momentum=0.99),
        nn.ReLU(),
        nn.Flatten(),
    )
    loader = images()
    before = Fingerprint(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = bnlint.check(net, loader)
    assert (codes(report), report.checked, report.skipped) == (["BN404"], 1, ())
    assert before.differences(Fingerprint(net)) == []


@pytest.mark.parametrize("stage", ["train", "eval"])
def test_a_model_without_values_is_judged_by_its_order(stage):
    with torch.device("meta"):
        net = sick().train(stage == "train")
    report = bnlint.check(net, [torch.randn(16, 3, 6, 6, device="meta")], stage=stage)
    assert sorted(codes(report)) == ["BN203", "BN404"]
    assert report.skipped == ()


class Applied(nn.Module):
    """Its BatchNorm is not called, but applied in another way."""

    def __init__(self, apply) -> None:
        super().__init__()
        self.bn, self.apply_it = nn.BatchNorm1d(4, momentum=0.99), apply

    def forward(self, x):
        return self.apply_it(self.bn, x)


def native(bn, x):
    state = bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.training, 0.1, 1e-5
    return torch.native_batch_norm(x, *state)[0]


def operator(bn, x):
    state = bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.training, 0.1, 1e-5, False
    return torch.ops.aten.batch_norm(x, *state)


@pytest.mark.parametrize(
    ("apply", "batch", "stages"),
    [
        (native, (16, 4), "train eval"),
        (operator, (16, 4), "train eval"),
        (lambda bn, x: torch.vmap(bn)(x), (3, 16, 4), "eval"),
        (lambda bn, x: torch.func.grad(lambda one: bn(one).square().sum())(x), (16, 4), "eval"),
        (lambda bn, x: torch.func.jvp(bn, (x,), (x,))[1], (16, 4), "eval"),
        (
            lambda bn, x: torch.func.functional_call(bn, dict(bn.named_parameters()), (x,)),
            (16, 4),
            "train eval",
        ),
        (lambda bn, x: bn(input=x), (16, 4), "train eval"),
    ],
)
def test_ways_to_apply_a_layer(apply, batch, stages):
    for stage in stages.split():
        net, loader = Applied(apply).train(stage == "train"), [torch.randn(batch)]
        before = Fingerprint(net, loader)
        report = bnlint.check(net, loader, stage=stage, ignore=["BN406"])
        assert (codes(report), report.checked, report.skipped) == (["BN404"], 1, ())
        assert before.differences(Fingerprint(net, loader)) == []


def test_a_model_without_batchnorm_has_nothing_to_be_checked():
    report = bnlint.check(nn.Linear(4, 2), [torch.randn(16, 4)])
    assert (report.findings, report.checked) == ((), 0)
    assert str(report) == "There is no BatchNorm layer to check."


def test_the_report_says_where_and_how_much():
    report = bnlint.check(sick(), images(8, 2))
    found = {one["code"]: one for one in json.loads(report.to_json())}
    bias, tiny = found["BN203"], found["BN301"]
    assert bias["module"] == "0"
    assert bias["filename"] == __file__
    row = (
        1
        + next(n for n, text in enumerate(Path(__file__).read_text().splitlines()) if "sick() -> nn" in text)
        + 2
    )
    column = Path(__file__).read_text().splitlines()[row - 1].index("nn.Conv2d") + 1
    assert bias["location"] == {"row": row, "column": column}
    assert bias["end_location"] == {"row": row, "column": column + len("nn.Conv2d(3, 8, 3)")}
    assert tiny["measured"] == {"samples": 2, "values per channel": 32, "threshold": 16}
    assert tiny["module"] is None


# wrapped, nested, repeated


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, lambda net: torch.compile(nn.DataParallel(net))],
)
@pytest.mark.parametrize("forward", [None, lambda model, batch: model(batch[0])])
def test_a_wrapped_model_is_looked_at_inside(wrap, forward):
    net = Net(momentum=0.99)
    wrapped, loader = wrap(net), images()
    before = Fingerprint(net, loader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = bnlint.check(wrapped, loader, forward=forward)
    assert [(one.code, one.where.module) for one in report] == [("BN404", "bn")]
    assert (report.checked, report.skipped) == (1, ())
    assert before.differences(Fingerprint(net, loader)) == []


class Parallel(nn.DataParallel):
    """As if there were two devices, which only matters where replicas are made."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.device_ids = [0, 1]

    def forward(self, *inputs):
        LOG.append(list(self.device_ids))
        return self.module(*inputs)


@pytest.mark.parametrize("wrap", [Parallel, lambda net: torch.compile(Parallel(net))])
@pytest.mark.parametrize("forward", [None, lambda model, batch: model(batch[0])])
def test_a_share_of_each_batch_for_each_device(wrap, forward):
    for batch, expected in ((16, ["BN303"]), (32, [])):
        wrapped, loader = wrap(Net()), images(64, batch)
        before = Fingerprint(getattr(wrapped, "_orig_mod", wrapped), loader)
        report = bnlint.check(wrapped, loader, forward=forward)
        assert codes(report) == expected
        assert before.differences(Fingerprint(getattr(wrapped, "_orig_mod", wrapped), loader)) == []
    assert all(devices == [0] for devices in LOG)
    assert bool(LOG) is (forward is not None)


@pytest.fixture
def _one_process():
    """A group of this process alone."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch has no gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.filterwarnings("ignore")
def test_a_distributed_model_is_looked_at_inside_and_trains_on(stage):
    net = trained(Net())
    wrapped, loader = nn.parallel.DistributedDataParallel(net), images()
    before = Fingerprint(net)
    for forward in (None, lambda model, batch: model(batch[0])):
        report = bnlint.check(wrapped, loader, stage=stage, forward=forward)
        assert (codes(report), report.skipped) == (["BN101"] if stage == "eval" else [], ())
    assert before.differences(Fingerprint(net)) == []
    wrapped(torch.randn(16, 3, 6, 6)).sum().backward()
    assert all(one.grad is not None for one in net.parameters())
    wrapped(torch.randn(16, 3, 6, 6)).sum().backward()


def test_a_check_inside_a_check():
    def again():
        LOG.append(sorted(codes(bnlint.check(sick(), images(8, 2)))))

    net, loader = Calling(again), images()
    before = Fingerprint(net, loader)
    report = bnlint.check(net, loader, max_batches=2)
    assert (codes(report), report.checked, report.skipped) == ([], 1, ())
    training, evaluating = ["BN203", "BN301", "BN404"], ["BN101", "BN203", "BN404"]
    assert [training, training, evaluating, evaluating] == LOG
    assert before.differences(Fingerprint(net, loader)) == []


def test_two_checks_say_the_same():
    net, loader = sick(), images(9, 2, shuffle=True)
    one, other = bnlint.check(net, loader), bnlint.check(net, loader)
    assert one.findings == other.findings != ()
    assert (one.skipped, one.checked, one.to_json()) == (other.skipped, other.checked, other.to_json())
    assert [found.picture for found in one] == [found.picture for found in other]


def test_a_check_between_forward_and_backward():
    def gradients(*, check: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        net, x = Net(), torch.randn(16, 3, 6, 6)
        loss = net(x).square().sum()
        if check:
            assert codes(bnlint.check(net, images())) == []
        loss.backward()
        return [one.grad for one in net.parameters()] + [one.clone() for one in net.buffers()]

    for one, other in zip(gradients(check=False), gradients(check=True), strict=True):
        assert torch.equal(one, other)


def test_a_loop_goes_on_as_if_there_had_been_no_check():
    def weights(*, check: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        net, loader = Net(), images(shuffle=True)
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        for _ in range(2):
            for x, target in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), target).backward()
                if check:
                    bnlint.check(net, loader, max_batches=2)
                optimizer.step()
        return list(net.state_dict().values())

    for one, other in zip(weights(check=False), weights(check=True), strict=True):
        assert torch.equal(one, other)


# loaders


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.randn(40, 3, 6, 6))


class Items:
    """A sequence of batches as Python knew them first."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int):
        return torch.randn(16, 3, 6, 6)


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (images, []),
        (lambda: images(33), ["BN302"]),
        (lambda: images(34, 8), ["BN301"]),
        (lambda: images(num_workers=2), []),
        (lambda: images(num_workers=1, persistent_workers=True), []),
        (lambda: DataLoader(Stream(), batch_size=16), []),
        (lambda: DataLoader(Stream(), batch_size=4), ["BN301"]),
        (Items, []),
        (lambda: [torch.randn(16, 3, 6, 6)], []),
        (lambda: torch.randn(16, 3, 6, 6), []),
        (lambda: (torch.randn(2, 3, 6, 6), torch.tensor([0, 1])), ["BN301"]),
        (lambda: (torch.randn(2, 3, 6, 6) for _ in range(2)), ["BN301"]),
    ],
)
def test_loaders_of_all_kinds(loader, expected):
    made = loader()
    again = made if not hasattr(made, "__next__") else loader()
    for one in (made, again):
        assert codes(bnlint.check(Net(), one, max_batches=3)) == expected


def test_names_of_parts_in_ordered_dicts_are_paths():
    net = nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(
                OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8, momentum=0.99), act=nn.ReLU()),
            ),
            head=nn.Conv2d(8, 3, 1),
        ),
    )
    report = bnlint.check(net, images())
    assert {(one.code, one.where.module) for one in report} == {
        ("BN203", "stem.conv"),
        ("BN404", "stem.norm"),
    }
