"""On a GPU: the same verdicts by its kernels, and nothing is left there. Run it with `pytest -m gpu` where there is one."""

from __future__ import annotations

import gc
import socket
import warnings
from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from marks import Fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import bnlint
from bnlint.trace.record import Recorder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


@pytest.fixture(autouse=True)
def _as_always(tmp_path, monkeypatch):
    """The same numbers each time, in a folder without settings."""
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Net(nn.Module):
    """Nothing is wrong with it."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).relu().mean((2, 3)))


class Sick(Net):
    """A bias before BatchNorm (BN203), behind an activation (BN202), a foreign momentum (BN404)."""

    def __init__(self) -> None:
        super().__init__(momentum=0.99)
        self.more, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.last, self.after = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.norm(self.more(self.bn(self.conv(x)).relu()))
        return self.head(self.after(self.last(x).relu()).mean((2, 3)))


TRAINED, EVALUATED = ["BN202", "BN203", "BN404"], ["BN101", "BN202", "BN203", "BN404"]
"""What there is to be found in a sick model."""


def images(count: int = 64, batch: int = 16, **options) -> DataLoader:
    data = TensorDataset(torch.randn(count, 3, 12, 12), torch.arange(count) % 3)
    return DataLoader(data, batch_size=batch, **options)


def trained(net: nn.Module) -> nn.Module:
    """With running statistics that fit the images."""
    device = next(net.parameters()).device
    for _ in range(60):
        net(torch.randn(16, 3, 12, 12, device=device))
    return net


def codes(report: bnlint.Report) -> list[str]:
    return sorted(one.code for one in report)


def places(report: bnlint.Report) -> list:
    return sorted((one.code, one.where) for one in report)


@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.parametrize("make", [Net, Sick])
@pytest.mark.parametrize("cudnn", [True, False])
@pytest.mark.parametrize("last", [False, True])
def test_the_verdict_is_that_of_the_cpu(stage, make, cudnn, last):
    net, loader = trained(make()), images()
    by_cpu = bnlint.check(net, loader, stage=stage)
    net.cuda()
    if last:
        net.to(memory_format=torch.channels_last)
    with torch.backends.cudnn.flags(enabled=cudnn):
        before = Fingerprint(net, loader)
        by_gpu = bnlint.check(net, loader, stage=stage)
        assert before.differences(Fingerprint(net, loader)) == []
    assert places(by_gpu) == places(by_cpu)
    assert (by_gpu.skipped, by_gpu.checked) == (by_cpu.skipped, by_cpu.checked)
    found = EVALUATED if stage == "eval" else TRAINED
    assert sorted(set(codes(by_gpu))) == [code for code in found if make is Sick or code == "BN101"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.parametrize("inside", [True, False])
def test_under_autocast(dtype, stage, inside):
    if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bfloat16")

    def forward(model, batch):
        with torch.autocast("cuda", dtype=dtype):
            return model(batch[0].cuda())

    net, loader = trained(Sick().cuda()), images()
    plain = bnlint.check(net, loader, stage=stage)
    before = Fingerprint(net, loader)
    with nullcontext() if inside else torch.autocast("cuda", dtype=dtype):
        report = bnlint.check(net, loader, stage=stage, forward=forward if inside else None)
        assert torch.is_autocast_enabled("cuda") is not inside
    assert before.differences(Fingerprint(net, loader)) == []
    assert codes(report) == codes(plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half(dtype):
    if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bfloat16")
    net, loader = Sick().cuda().to(dtype), [torch.randn(16, 3, 12, 12).to(dtype)] * 3
    before = Fingerprint(net)
    assert codes(bnlint.check(net, loader)) == TRAINED
    assert before.differences(Fingerprint(net)) == []


@pytest.mark.parametrize("shape", [(16, 3), (16, 3, 7), (16, 3, 9, 5), (4, 3, 4, 5, 6)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [False, True])
def test_statistics_are_those_of_the_batch(shape, training, last):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    norm, x = kind(3).cuda().train(training), torch.randn(shape, device="cuda") * 3 + 5
    if last and len(shape) > 3:
        x = x.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    running = (None, None) if training else (torch.zeros(3, device="cuda"), torch.ones(3, device="cuda"))
    expected, answers = nn.functional.batch_norm(x, *running, training=training), []
    recorder = Recorder(norm, lambda _: None)
    recorder.begin(x)
    with recorder:
        answers.append(norm(x))
    (one,) = recorder.seen.applications
    over = [dim for dim in range(len(shape)) if dim != 1]
    torch.testing.assert_close(answers[0], expected)
    torch.testing.assert_close(one.mean, x.mean(over), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.var, x.var(over), rtol=1e-4, atol=1e-4)
    assert torch.equal(norm.running_mean, torch.zeros(3, device="cuda"))
    assert torch.equal(norm.running_var, torch.ones(3, device="cuda"))


@pytest.mark.parametrize(
    "options", [{"pin_memory": True}, {"pin_memory": True, "num_workers": 1}, {"num_workers": 1}]
)
def test_batches_of_the_cpu_go_to_the_device(options):
    net = Net().cuda()
    assert codes(bnlint.check(net, images(**options))) == []
    assert codes(bnlint.check(net, images(64, 2, **options), max_batches=3)) == ["BN301"]


class Drawing(Net):
    """Draws random numbers on the device in both modes."""

    def forward(self, x):
        return super().forward(x + torch.randn_like(x) * 0.01)


@pytest.mark.parametrize("stage", ["train", "eval"])
@pytest.mark.parametrize("raises", [False, True])
def test_random_numbers_of_the_device_are_as_before(stage, raises):
    net, loader, calls = Drawing().cuda(), images(), []

    def forward(model, batch):
        calls.append(1)
        answer = model(batch[0].cuda())
        if raises:
            raise KeyboardInterrupt
        return answer

    states = torch.cuda.get_rng_state_all()
    if raises:
        with pytest.raises(KeyboardInterrupt):
            bnlint.check(net, loader, stage=stage, forward=forward)
    else:
        bnlint.check(net, loader, stage=stage, forward=forward)
    for one, other in zip(states, torch.cuda.get_rng_state_all(), strict=True):
        assert torch.equal(one, other)


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("stage", ["train", "eval"])
def test_no_memory_of_the_device_is_kept(stage):
    net, loader = trained(Sick().cuda()), images()
    bnlint.check(net, loader, stage=stage)  # libraries make themselves at home
    before = allocated()
    report = bnlint.check(net, loader, stage=stage)
    assert allocated() == before
    assert len(report) > 0
    with pytest.raises(KeyboardInterrupt):
        bnlint.check(net, loader, stage=stage, forward=interrupted)
    assert allocated() == before


def interrupted(model, batch):
    model(batch[0].cuda())
    raise KeyboardInterrupt


def test_a_check_between_forward_and_backward():
    def gradients(*, check: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        net, x = Net().cuda(), torch.randn(16, 3, 12, 12).cuda()
        loss = net(x).square().sum()
        if check:
            assert codes(bnlint.check(net, images())) == []
        loss.backward()
        return [one.grad for one in net.parameters()]

    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        for one, other in zip(gradients(check=False), gradients(check=True), strict=True):
            torch.testing.assert_close(one, other)


@pytest.fixture
def _one_process():
    """A group of this process alone."""
    if not torch.distributed.is_available() or not torch.distributed.is_nccl_available():
        pytest.skip("torch has no nccl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.cuda.set_device(0)
    torch.distributed.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("stage", ["train", "eval"])
def test_a_synchronised_model(stage, wrapped):
    net = nn.SyncBatchNorm.convert_sync_batchnorm(Sick()).cuda()
    trained(net)
    model = nn.parallel.DistributedDataParallel(net, device_ids=[0]) if wrapped else net
    loader = images()
    before = Fingerprint(net, loader)
    for forward in (None, lambda model, batch: model(batch[0].cuda())):
        report = bnlint.check(model, loader, stage=stage, forward=forward)
        found = sorted(set(codes(report)))
        assert (found, report.checked, report.skipped) == (EVALUATED if stage == "eval" else TRAINED, 3, ())
    assert before.differences(Fingerprint(net, loader)) == []
    model(torch.randn(16, 3, 12, 12, device="cuda")).sum().backward()
    assert all(one.grad is not None for one in net.parameters())


@pytest.mark.parametrize("forward", [None, lambda model, batch: model(batch[0])])
def test_data_parallel_on_one_device(forward):
    net, loader = Net().cuda(), images()
    model = nn.DataParallel(net, device_ids=[0])
    before = Fingerprint(model, loader)
    report = bnlint.check(model, loader, forward=forward)
    assert (codes(report), report.checked, report.skipped) == ([], 1, ())
    assert before.differences(Fingerprint(model, loader)) == []


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU")
@pytest.mark.parametrize("forward", [None, lambda model, batch: model(batch[0])])
@pytest.mark.parametrize(("batch", "expected"), [(16, ["BN303"]), (32, [])])
def test_data_parallel_on_two_devices(forward, batch, expected):
    net, loader = Net().cuda(), images(64, batch)
    model = nn.DataParallel(net, device_ids=[0, 1])
    before = Fingerprint(model, loader)
    assert codes(bnlint.check(model, loader, forward=forward)) == expected
    assert before.differences(Fingerprint(model, loader)) == []
    assert model(torch.randn(16, 3, 12, 12).cuda()).shape == (16, 3)


def test_a_compiled_model():
    net, loader = Net().cuda(), images()
    compiled = torch.compile(net)
    before = Fingerprint(net, loader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codes(bnlint.check(compiled, loader)) == []
    assert before.differences(Fingerprint(net, loader)) == []
