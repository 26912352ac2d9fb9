"""Checkpoints: real files of every kind, what is found in them, and that nothing of them is executed."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import enum
import json
import math
import os
import pathlib
import pickle
import resource
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
import numpy as np
import safetensors.torch
from torch import nn

import bnlint
from bnlint.checkpoint import CheckpointError, facts_of, read
from bnlint.checkpoint.tensors import decoded


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.bn1(self.conv1(x)).relu()


class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.layers = nn.Sequential(Block(channels), Block(channels))
        self.fc = nn.Linear(channels, 2)

    def forward(self, x):
        return self.fc(self.layers(self.bn(self.stem(x)).relu()).mean((2, 3)))


NORMS = ["bn", "layers.0.bn1", "layers.1.bn1"]


def trained(channels=4):
    torch.manual_seed(0)
    net = Net(channels)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        net(1 + torch.randn(16, 3, 6, 6)).square().mean().backward()
        optimizer.step()
    return net


NET = trained()
STATE = {name: value.clone() for name, value in NET.state_dict().items()}
BARE = {name: value for name, value in STATE.items() if "running" not in name and "num_batches" not in name}


def without(state, *words):
    return {name: value for name, value in state.items() if not any(word in name for word in words)}


def codes(report):
    return [(finding.code, finding.where.module) for finding in report]


def judged(state, model=None):
    return codes(bnlint.check_state_dict(model, state))


def save(folder, value, name="best.pt", **options):
    path = folder / name
    torch.save(value, path, **options)
    return path


LAYOUTS = {
    "plain": (STATE, ""),
    "nested": ({"epoch": 3, "model_state_dict": STATE}, "model_state_dict"),
    "deep": ({"runs": [{"ema": {"model": STATE}}]}, "runs.0.ema.model"),
    "module": (NET, ""),
    "module inside": ({"net": NET}, "net"),
    "parameters as such": (dict(NET.named_parameters()) | dict(NET.named_buffers()), ""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_names_shapes_and_numbers_are_those_that_were_saved(layout, zipped, protocol, tmp_path):
    value, path = LAYOUTS[layout]
    file = save(tmp_path, value, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    (state,) = read(file).states
    assert state.path == path
    assert {name: tensor.shape for name, tensor in state.tensors.items()} == {
        name: tuple(value.shape) for name, value in STATE.items()
    }
    for name, tensor in state.tensors.items():
        assert tensor.dtype == str(STATE[name].dtype).removeprefix("torch.")
        if len(tensor.shape) < 2:
            assert list(tensor.numbers()) == STATE[name].flatten().double().tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_types(dtype, kind, tmp_path):
    value = torch.tensor([0.0, 1.0, -2.5, 3e4]).to(dtype)
    path = tmp_path / "x"
    if kind == "safetensors":
        safetensors.torch.save_file({"a": value, "b": value.clone()}, path)
    else:
        torch.save({"a": value, "b": value}, path, _use_new_zipfile_serialization=kind == "zip")
    (state,) = read(path).states
    assert state.tensors["b"].numbers() == tuple(value.double().tolist())


@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
def test_bfloat16_is_what_torch_makes_of_it(numbers):
    value = torch.tensor(numbers).bfloat16()
    data = value.view(torch.uint8).numpy().tobytes()
    mine = torch.tensor(decoded(data, "bfloat16")).bfloat16()
    assert torch.equal(mine.nan_to_num(1.25), value.nan_to_num(1.25))
    assert torch.equal(mine.isnan(), value.isnan())


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_views_of_a_storage(tmp_path, data):
    base = torch.arange(60.0)
    begin = data.draw(st.integers(0, 40))
    step = data.draw(st.integers(1, 5))
    view = base[begin::step]
    zipped = data.draw(st.booleans())
    torch.save({"base": base, "view": view}, tmp_path / "view.pt", _use_new_zipfile_serialization=zipped)
    (state,) = read(tmp_path / "view.pt").states
    assert list(state.tensors["view"].numbers()) == view.tolist()


def test_a_big_endian_record(tmp_path):
    path, other = save(tmp_path, {"a": torch.zeros(2), "b": torch.ones(2)}), tmp_path / "big.pt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as written:
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename.endswith("byteorder"):
                content = b"big"
            elif "/data/" in info.filename:
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            written.writestr(info.filename, content)
    assert read(other).states[0].tensors["b"].numbers() == (1.0, 1.0)


def test_an_archive_that_was_packed_again(tmp_path):
    path, other = save(tmp_path, STATE), tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as written:
        for info in archive.infolist():
            written.writestr(info.filename, archive.read(info))
    assert read(other).states[0].tensors["bn.running_var"].numbers() == tuple(
        STATE["bn.running_var"].tolist()
    )


class Color(enum.Enum):
    RED = 1


class Config:
    def __init__(self):
        self.rate = 0.1


HARMLESS = {
    "Namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
    "numpy scalar": np.float64(0.5),
    "numpy array": np.zeros((2, 3), dtype="int16"),
    "numpy dtype": np.dtype("float32"),
    "path": pathlib.Path("a/b"),
    "Counter": collections.Counter("abba"),
    "deque": collections.deque([1], maxlen=3),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "time": dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc),
    "set": {1, 2},
    "frozenset": frozenset("ab"),
    "complex": 1j,
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size([2, 3]),
    "generator state": torch.get_rng_state(),
    "layer": nn.Conv2d(1, 1, 1),
    "subclass of Tensor": torch.zeros(2).as_subclass(nn.parameter.Buffer),
    "exponential average": nn.Parameter(torch.zeros(2), requires_grad=False),
    "random state": np.random.RandomState(0),
}


@pytest.mark.parametrize("what", HARMLESS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_harmless_objects_are_passed_over(what, zipped, tmp_path):
    path = save(tmp_path, {"state_dict": STATE, "x": HARMLESS[what]}, _use_new_zipfile_serialization=zipped)
    contents = read(path)
    assert contents.skipped == ()
    assert contents.states[0].path == "state_dict"
    assert contents.states[0].tensors.keys() == STATE.keys()


@pytest.mark.parametrize("value", [Config(), Color.RED])
def test_classes_of_somebodys_own_are_named(value, tmp_path):
    contents = read(save(tmp_path, {"state_dict": STATE, "config": value}))
    (line,) = contents.skipped
    assert line.endswith("would be imported and called when this file is unpickled")
    assert f".{type(value).__name__}`" in line
    assert contents.states[0].tensors.keys() == STATE.keys()


def test_many_classes_are_counted(tmp_path):
    made = [type(f"Config{number}", (), {"__module__": __name__}) for number in range(5)]
    for cls in made:
        setattr(sys.modules[__name__], cls.__name__, cls)
    (line,) = read(save(tmp_path, {"state_dict": STATE, "more": [cls() for cls in made]})).skipped
    assert "Config2` and 2 more would be imported" in line


class Evil:
    """Does something when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def mark(tmp_path):
    return f"touch {tmp_path / 'executed'}"


ATTACKS = {
    "system": (lambda m: Evil(os.system, (m,)), f"{os.system.__module__}.system"),
    "eval": (lambda m: Evil(eval, (f"__import__('os').system({m!r})",)), "builtins.eval"),
    "exec": (lambda m: Evil(exec, (f"import os; os.system({m!r})",)), "builtins.exec"),
    "run": (lambda m: Evil(subprocess.run, (m.split(),)), "subprocess.run"),
    "popen": (lambda m: Evil(subprocess.Popen, (m.split(),)), "subprocess.Popen"),
    "hub": (lambda _: Evil(torch.hub.load, ("owner/repo", "model")), "torch.hub.load"),
    "load": (lambda m: Evil(torch.load, (m,)), "torch.serialization.load"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["beside", "in the state", "a key's value", "an argument"])
def test_nothing_is_executed(attack, zipped, place, tmp_path):
    make, name = ATTACKS[attack]
    evil = make(mark(tmp_path))
    value = {
        "beside": {"state_dict": STATE, "x": evil},
        "in the state": {"state_dict": dict(STATE) | {"extra": evil}},
        "a key's value": {"state_dict": STATE, "x": [{"y": (evil,)}]},
        "an argument": {"state_dict": STATE, "x": Evil(list, ([evil],))},
    }[place]
    path = save(tmp_path, value, _use_new_zipfile_serialization=zipped)
    report = bnlint.check_state_dict(None, path)
    assert not (tmp_path / "executed").exists()
    assert report.skipped == (f"{path}: `{name}` is called when this file is unpickled: do not load it",)
    assert report.checked == 1
    (state,) = read(path).states
    assert state.tensors.keys() == STATE.keys()
    assert state.tensors["bn.running_mean"].numbers() == tuple(STATE["bn.running_mean"].tolist())


def hand_written(tmp_path, pickled):
    """A zip file of torch around a pickle that no Python would write."""
    path = tmp_path / "hand.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hand/data.pkl", pickled)
        archive.writestr("hand/data/0", b"\0" * 16)
    return path


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
    b"I0\n(I4\nt(I1\ntI00\nccollections\nOrderedDict\n)RtR"
)
"""The instructions that leave a tensor of four zeros on the stack."""
HAND_WRITTEN = {
    "INST": b"(S'touch MARK'\niposix\nsystem\n",
    "OBJ": b"(cposix\nsystem\nS'touch MARK'\no",
    "NEWOBJ": b"cposix\nsystem\n(S'touch MARK'\nt\x81",
    "STACK_GLOBAL": b"\x8c\x05posix\x8c\x06system\x93(S'touch MARK'\ntR",
    "what a call gives is called": b"cbuiltins\ngetattr\n(cposix\nerror\nS'system'\ntR(S'touch MARK'\ntR",
    "a state": TENSOR + b"cposix\nsystem\n(S'touch MARK'\ntRb",
    "setstate": b"cposix\nsystem\n)\x81}S'__setstate__'\ncposix\nsystem\nsb",
    "what a subclass of Tensor is made by": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nctorch\nTensor\n(S'touch MARK'\ntNtR"
    ),
    "what an object builds on": (
        b"ccopy_reg\n_reconstructor\n(csubprocess\nPopen\ncsubprocess\nPopen\n(lS'touch MARK'\natR"
    ),
    "what copyreg makes": (b"ccopyreg\n__newobj_ex__\n(csubprocess\nPopen\n(S'touch MARK'\nt(dtR"),
    "an old name": b"c__builtin__\neval\n(S'1'\ntR",
    "an extension": b"\x82\x05(S'x'\ntR",
}


@pytest.mark.parametrize("attack", HAND_WRITTEN)
def test_every_instruction_that_calls_is_seen(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = b"}(S'a'\n" + TENSOR + b"S'b'\n" + TENSOR + b"S'x'\n" + HAND_WRITTEN[attack] + b"u."
    contents = read(hand_written(tmp_path, state))
    assert list(tmp_path.iterdir()) == [tmp_path / "hand.pt"]
    assert contents.states[0].tensors["b"].numbers() == (0.0,) * 4
    assert contents.skipped
    assert all("is called when this file is unpickled: do not load it" in line for line in contents.skipped)


def made(module, name, *, entries=b"", state=b""):
    """An object of a class that is not installed here: what `object.__reduce_ex__` writes for it."""
    return f"c{module}\n{name}\n)\x81".encode("latin-1") + entries + state


@pytest.mark.parametrize(
    "value",
    [
        made("pytorch_lightning.utilities.parsing", "AttributeDict", entries=b"(S'lr'\nF0.1\nu"),
        made("lightning.fabric.utilities.data", "AttributeDict", entries=b"S'lr'\nF0.1\ns"),
        made("omegaconf.dictconfig", "DictConfig", state=b"}(S'_content'\n}S'_parent'\nNub"),
        made("omegaconf.listconfig", "ListConfig", entries=b"(I1\nI2\ne"),
        made("numpy.dtypes", "Float32DType"),
        b"cpathlib\nPosixPath\n(S'a'\ntR",
        b"ctypes\nSimpleNamespace\n)R}S'a'\nI1\nsb",
    ],
)
def test_classes_that_are_known_to_be_data(value, tmp_path):
    state = b"}(S'a'\n" + TENSOR + b"S'b'\n" + TENSOR + b"S'x'\n" + value + b"u."
    contents = read(hand_written(tmp_path, state))
    assert contents.skipped == ()
    assert contents.states[0].tensors.keys() == {"a", "b"}


def test_tensors_inside_of_foreign_objects_are_found(tmp_path):
    inner = b"}(S'a'\n" + TENSOR + b"S'b'\n" + TENSOR + b"u"
    value = made("mine", "Trainer", state=b"}S'net'\n" + inner + b"sb")
    contents = read(hand_written(tmp_path, b"}S'trainer'\n" + value + b"s."))
    assert [state.path for state in contents.states] == ["trainer.net"]
    assert "`mine.Trainer` would be imported" in contents.skipped[0]


@pytest.mark.parametrize(
    "pickled",
    [
        b"(" * 100_000 + b"t" * 100_000 + b".",
        b"]" * 50_000 + b"a" * 49_999 + b".",
        b"}S'a'\n}S'a'\n}ss.",
        b"]\x94h\x00a.",  # a list that holds itself
        b"}\x94S'a'\nh\x00s.",
        b"cposix\nsystem\n" + b"\x85" * 100_000 + b".",
    ],
)
def test_deep_and_endless_values(pickled, tmp_path):
    assert read(hand_written(tmp_path, pickled)).states == ()


RETYPED = b"ctorch._tensor\n_rebuild_from_type_v2\n\x94"


@pytest.mark.parametrize(
    ("pickled", "position"),
    [
        (b"}S'a", 1),
        (b"\x80\x02}q\x00(X\xff\xff\x00\x00abc", 6),
        (b"R.", 0),
        (b"h\x05.", 0),
        (b"}\xff", 1),
        (b"t.", 0),
        (b"", 0),
        (b"}", 1),
        (RETYPED + 2000 * b"h\x00N" + b")" + 2000 * b"\x87" + b"R.", len(RETYPED) + 8001),
    ],
)
def test_a_damaged_pickle(pickled, position, tmp_path):
    path = hand_written(tmp_path, pickled)
    with pytest.raises(CheckpointError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: damaged: its `data.pkl` makes no sense from byte ")
    assert f" {position} on" in str(raised.value)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["zip", "legacy", "safetensors"]))
def test_whatever_is_damaged_is_said(tmp_path, data, kind):
    path = tmp_path / f"{kind}.bin"
    small = {name: value for name, value in STATE.items() if name.startswith("bn.")}
    if kind == "safetensors":
        safetensors.torch.save_file(small, path)
    else:
        torch.save({"m": small, "x": Config()}, path, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, 2 * len(content))) :]
    path.write_bytes(bytes(content))
    try:
        report = bnlint.check_state_dict(NET, path)
    except CheckpointError as problem:
        assert str(problem).startswith(str(path))
    else:
        assert report.checked in {0, 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty: nothing was saved"),
        (b"PK\x03\x04" + b"\0" * 100, "cut off: a zip file without its end, which is missing after byte 104"),
        (b"\x80\x02\x8a\nl\xfc", "cut off at byte 6"),
        (b"<!DOCTYPE html><html>404</html>", "a web page, not a checkpoint"),
        (b"\n <html><body>Sign in</body>", "a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of git-lfs"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 60, "an HDF5 file"),
        (b"\x08\x08\x12\x07pytorch\x1a\x05" + b"\0" * 60, "an ONNX model"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x1f\x8b\x08\0", "compressed with gzip"),
        (b"\0" * 257 + b"ustar\0" + b"\0" * 200, "a tar archive"),
        (pickle.dumps({"a": 1}), "a plain pickle, not written by `torch.save`"),
        (pickle.dumps({"a": 1}, 0), "a plain pickle, not written by `torch.save`"),
        (b"\x93NUMPY\x01\0", "an array of numpy"),
        (b"\xff\xfe garbage of some kind", "no checkpoint that bnlint knows"),
        ((60).to_bytes(8, "little") + b'{"a":', "cut off at byte 13, in its table"),
    ],
)
def test_files_that_are_no_checkpoints(content, says, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        bnlint.check_state_dict(None, path)
    assert str(raised.value).startswith(f"{path}: {says}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "says"), [("m.onnx", "an ONNX model"), ("m.pb", "a TensorFlow graph")])
def test_names_help_where_the_content_says_nothing(name, says, tmp_path):
    (tmp_path / name).write_bytes(b"\x01\x02\x03\x04\x05\x06\x07\x08\x09")
    with pytest.raises(CheckpointError, match=says):
        read(tmp_path / name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_torchscript(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(path)
    with pytest.raises(CheckpointError, match="a TorchScript program, not a state dict"):
        read(path)


def test_an_archive_of_numpy(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros(3))
    with pytest.raises(CheckpointError, match="an archive of numpy, not a checkpoint of torch"):
        read(tmp_path / "a.npz")


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(CheckpointError, match="a folder: name a file in it"):
        read(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file or directory"):
        read(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="neither a file nor a folder"):
        read(tmp_path / "pipe.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = save(tmp_path, STATE)
    path.chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        read(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(zipped, share, tmp_path):
    path = save(tmp_path, STATE, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"cut off.*byte \d+.*copy or download it again"):
        bnlint.check_state_dict(None, path)


def test_a_table_that_was_cut_off(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(STATE, path)
    whole = path.read_bytes()
    for size, where in ((20, "in its table"), (len(whole) - 1, "in its tensors")):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=f"cut off at byte {size}, {where}"):
            read(path)


SIZE = 3 << 30


def big(kind, path):
    """A file of 3 GiB, most of which is a hole."""
    small = {name: value for name, value in STATE.items() if name.startswith("bn.")}
    if kind == "safetensors":
        table, at = {"fc.weight": {"dtype": "U8", "shape": [SIZE // 4, 4], "data_offsets": [0, SIZE]}}, SIZE
        for name, value in small.items():
            dtype = "I64" if value.dtype == torch.int64 else "F32"
            end = at + value.numel() * value.element_size()
            table[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [at, end]}
            at = end
        text = json.dumps(table).encode()
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.seek(SIZE, 1)
            file.writelines(value.numpy().tobytes() for value in small.values())
        return
    weight = torch.empty(SIZE // 4, 4, dtype=torch.uint8)  # nobody touches it: it takes no memory
    with torch.serialization.skip_data():
        torch.save({"fc.weight": weight, **small}, path)


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
def test_a_file_that_is_larger_than_memory_is_not_read(kind, tmp_path):
    path = tmp_path / "big.bin"
    big(kind, path)
    assert path.stat().st_size > SIZE
    limit = 512 << 20
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", "checkpoint", str(path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert (done.returncode, done.stdout) == (0, "All clear: 1 checkpoint checked.\n"), done.stderr


def test_safetensors_with_metadata(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors", metadata={"format": "pt"})
    (state,) = read(tmp_path / "a.safetensors").states
    assert state.tensors.keys() == STATE.keys()
    assert judged(tmp_path / "a.safetensors", NET) == []


def sharded(folder, state, kind):
    names = list(state)
    parts = {f"model-0000{n + 1}-of-00002.{kind}": names[n::2] for n in range(2)}
    for part, own in parts.items():
        some = {name: state[name] for name in own}
        if kind == "bin":
            torch.save(some, folder / part)
        else:
            safetensors.torch.save_file(some, folder / part)
    index = folder / f"model.{kind}.index.json"
    weight_map = {name: part for part, own in parts.items() for name in own}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
class TestSharded:
    def test_the_parts_are_one_state(self, kind, tmp_path):
        index = sharded(tmp_path, STATE, kind)
        assert read(index).states[0].tensors.keys() == STATE.keys()
        assert judged(index) == judged(index, NET) == []
        assert judged(sharded(tmp_path, BARE, kind), NET) == [("BN402", name) for name in NORMS]

    def test_one_part_proves_nothing_missing(self, kind, tmp_path):
        index = sharded(tmp_path, STATE, kind)
        for part in set(json.loads(index.read_text())["weight_map"].values()):
            report = bnlint.check_state_dict(NET, tmp_path / part)
            assert codes(report) == []
            assert report.skipped == (
                f"{tmp_path / part}: one of several files: name their index to compare all",
            )

    def test_a_missing_part(self, kind, tmp_path):
        index = sharded(tmp_path, STATE, kind)
        (tmp_path / f"model-00002-of-00002.{kind}").unlink()
        with pytest.raises(CheckpointError, match=f"its part model-00002-of-00002.{kind} is missing"):
            read(index)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1}', "no index of a checkpoint"),
        ("{", "no index of a checkpoint"),
        ('{"weight_map": [1]}', "no index of a checkpoint"),
        ('{"weight_map": {"a": "../x"}}', "names ../x, which does not lie beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "names /etc/passwd, which does not lie beside it"),
    ],
)
def test_an_index_that_is_none(text, says, tmp_path):
    (tmp_path / "m.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=says):
        read(tmp_path / "m.index.json")


class TestAFileByItself:
    def test_a_healthy_one(self):
        assert judged(STATE) == []

    @pytest.mark.parametrize("layout", ["{}", "module.{}", "model.{}", "_orig_mod.module.{}"])
    def test_parameters_alone(self, layout):
        state = {layout.format(name): value for name, value in BARE.items()}
        report = bnlint.check_state_dict(None, state)
        assert codes(report) == [("BN401", layout.format(name)) for name in NORMS]
        assert {finding.confidence for finding in report} == {"medium"}

    def test_in_the_order_of_safetensors(self, tmp_path):
        safetensors.torch.save_file(BARE, tmp_path / "a.safetensors")
        assert judged(tmp_path / "a.safetensors") == [("BN401", name) for name in NORMS]

    def test_a_count_without_statistics_proves_it(self):
        report = bnlint.check_state_dict(None, without(STATE, "running"))
        assert codes(report) == [("BN401", name) for name in NORMS]
        assert {finding.confidence for finding in report} == {"high"}

    @pytest.mark.parametrize("half", ["running_mean", "running_var"])
    def test_one_of_both(self, half):
        report = bnlint.check_state_dict(None, without(STATE, f"layers.0.bn1.{half}"))
        assert codes(report) == [("BN401", "layers.0.bn1")]
        assert report.findings[0].message.startswith(f"`{half}` of BatchNorm `layers.0.bn1` is not in ")

    def test_some_layers_have_none(self):
        some = without(STATE, "layers.1.bn1.running", "layers.1.bn1.num")
        assert judged(some) == [("BN401", "layers.1.bn1")]

    def test_a_state_beside_may_have_them(self):
        assert judged({"params": BARE, "ema": STATE}) == []
        wrapped = {f"module._orig_mod.{name}": value for name, value in STATE.items()}
        assert judged({"params": BARE, "ema": wrapped}) == []
        buffers = {name: value for name, value in STATE.items() if name not in BARE}
        assert judged({"params": BARE, "buffers": buffers}) == []

    def test_several_states_are_told_apart(self):
        broken = {name: value.clone() for name, value in STATE.items()}
        broken["bn.running_var"][1] = -1
        report = bnlint.check_state_dict(None, {"model": STATE, "ema": broken})
        assert codes(report) == [("BN407", "ema.bn")]
        assert "of `ema` of the state dict are negative" in report.findings[0].message

    def test_an_optimizer_is_no_model(self, tmp_path):
        net = Net()
        optimizer = torch.optim.Adam(net.parameters())
        net(torch.randn(4, 3, 6, 6)).mean().backward()
        optimizer.step()
        path = save(tmp_path, {"state_dict": STATE, "optimizer_states": [optimizer.state_dict()]})
        assert [state.path for state in read(path).states] == ["state_dict"]
        path = save(tmp_path, {"state_dict": STATE, "opt_g": optimizer.state_dict()})
        assert [state.path for state in read(path).states] == ["state_dict"]

    @pytest.mark.parametrize(
        "made",
        [
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 3)),
            lambda: nn.TransformerEncoderLayer(8, 2, 16),
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False)),
            lambda: nn.Sequential(
                collections.OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.GroupNorm(2, 8), ln=nn.LayerNorm(8))
            ),
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)),
            lambda: nn.Sequential(
                collections.OrderedDict(emb=nn.Linear(3, 4), bn_scale=nn.Linear(4, 5), subnet=nn.LayerNorm(5))
            ),
        ],
    )
    def test_models_without_tracked_batchnorm(self, made):
        model = made()
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean += 0.5
        assert [code for code, _ in judged(model.state_dict()) if code == "BN401"] == []

    def test_frozen_batchnorm_is_complete(self):
        assert judged(without(STATE, "num_batches")) == []

    def test_adapters_are_saved_without_their_base(self):
        state = {**BARE, "stem.lora_A.weight": torch.zeros(2, 2)}
        assert judged(state) == []

    def test_a_list_of_averages(self, tmp_path):
        shadow = {"shadow_params": list(BARE.values()), "decay": 0.9}
        assert judged(save(tmp_path, shadow)) == []
        assert bnlint.check_state_dict(None, shadow).skipped == (
            "state dict: holds no state dict of a model",
        )

    def test_untrained_statistics(self):
        new = Net()
        assert judged(new.state_dict()) == [("BN406", name) for name in NORMS]
        with torch.no_grad():
            for mine, learned in zip(new.parameters(), NET.parameters(), strict=True):
                mine.copy_(learned)
        report = bnlint.check_state_dict(None, without(new.state_dict(), "num_batches"))
        assert codes(report) == [("BN406", name) for name in NORMS]
        assert {finding.confidence for finding in report} == {"medium"}

    def test_a_shift_of_zero_proves_no_training(self):
        new = without(Net().state_dict(), "num_batches")
        assert judged(new) == []
        assert (
            judged(
                {
                    name: value + 0.5 if "bn" in name and "weight" in name else value
                    for name, value in new.items()
                }
            )
            == []
        )

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("running_mean", math.nan, "NaN in 1 of 4 channels"),
            ("running_var", math.inf, "infinite in 1 of 4 channels"),
            ("running_var", -1e-9, "negative (a variance) in 1 of 4 channels"),
        ],
    )
    def test_poisoned_statistics(self, name, value, says, tmp_path):
        broken = {key: tensor.clone() for key, tensor in STATE.items()}
        broken[f"layers.1.bn1.{name}"][2] = value
        report = bnlint.check_state_dict(None, save(tmp_path, broken))
        assert codes(report) == [("BN407", "layers.1.bn1")]
        assert says in report.findings[0].message
        assert report.findings[0].measured == {"channels": 1, "of": 4}
        assert report.findings[0].where.filename == str(tmp_path / "best.pt")

    def test_an_overflow_of_fp16_is_explained(self, tmp_path):
        wide = {name: value.clone() for name, value in STATE.items()}
        wide["bn.running_var"][0] = 90000
        half = {name: value.half() for name, value in wide.items()}
        (finding,) = bnlint.check_state_dict(None, save(tmp_path, half))
        assert "for fp16 ends at 65504" in finding.message
        assert judged(save(tmp_path, {name: value.bfloat16() for name, value in wide.items()})) == []

    def test_a_layer_alone(self):
        assert judged(nn.BatchNorm1d(3).state_dict()) == [("BN406", None)]


class TestBesideAModel:
    @pytest.mark.parametrize(
        "prefix", ["", "module.", "model.", "_orig_mod.", "_forward_module.module.", "student.net."]
    )
    def test_prefixes(self, prefix):
        assert judged({prefix + name: value for name, value in STATE.items()}, NET) == []
        bare = {prefix + name: value for name, value in BARE.items()}
        assert judged(bare, NET) == [("BN402", name) for name in NORMS]

    def test_a_model_in_a_wrapper(self):
        wrapped = nn.ModuleDict({"module": NET})
        assert judged(STATE, wrapped) == []
        assert judged(BARE, wrapped) == [("BN402", f"module.{name}") for name in NORMS]
        compiled = torch.compile(Net())
        assert judged(BARE, compiled) == [("BN402", f"_orig_mod.{name}") for name in NORMS]

    def test_names_do_not_matter_beside_a_model(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        assert judged(dict(net.named_parameters()), net) == [("BN402", "1")]
        assert judged(dict(net.named_parameters())) == []

    def test_a_missing_count_is_nothing(self):
        assert judged(without(STATE, "num_batches"), NET) == []

    def test_a_layer_that_the_file_does_not_know(self):
        assert judged(without(STATE, "layers.0.bn1"), NET) == [("BN402", "layers.0.bn1")]

    def test_a_new_head_is_new(self):
        net = nn.ModuleDict({"body": NET, "head": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))})
        assert judged({f"body.{name}": value for name, value in STATE.items()}, net) == []

    def test_layers_without_scale_and_shift(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))
        assert judged(dict(net.named_parameters()), net) == [("BN402", "1")]

    def test_layers_that_track_nothing(self):
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=False),
            nn.InstanceNorm2d(4, affine=True),
        )
        assert judged(net.state_dict(), net) == []

    def test_another_model(self):
        report = bnlint.check_state_dict(
            nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(30))), {"bn": STATE["bn.bias"], **STATE}
        )
        assert codes(report) == []
        assert report.skipped == ("state dict: holds 0% of the parameters of `Sequential`: not its state",)

    def test_another_width(self):
        report = bnlint.check_state_dict(Net(8), STATE)
        assert codes(report) == []
        assert report.skipped[0] == (
            "state dict: `bn` has 4 channels in it, and 8 in `Net`: it cannot be loaded there"
        )
        assert len(report.skipped) == 3

    def test_a_lazy_layer(self):
        net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d())
        assert judged({"0.weight": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4)}, net) == [
            ("BN402", "1")
        ]

    def test_the_state_that_is_its_own_is_compared(self):
        other = {f"block.{n}.weight": torch.zeros(2, 2) for n in range(9)}
        assert judged({"discriminator": other, "generator": BARE}, NET) == [("BN402", name) for name in NORMS]

    def test_the_model_is_as_it_was(self):
        before = {name: value.clone() for name, value in NET.state_dict().items()}
        bnlint.check_state_dict(NET, BARE)
        assert all(torch.equal(value, before[name]) for name, value in NET.state_dict().items())
        assert NET.training


def test_what_is_neither_is_refused():
    with pytest.raises(TypeError, match="a state dict or a path was expected, not int"):
        bnlint.check_state_dict(None, 3)
    with pytest.raises(TypeError, match=r"the model is no torch\.nn\.Module, but of type str"):
        bnlint.check_state_dict("net", STATE)


def test_tensors_without_data():
    with torch.device("meta"):
        state = Net().state_dict()
    assert judged(state) == []


def test_facts_of_a_file(tmp_path):
    facts, skipped = facts_of(read(save(tmp_path, {"state_dict": STATE})))
    assert skipped == ()
    assert [one.norm.where.module for one in facts.statistics] == NORMS
    first = facts.statistics[0]
    assert (first.held, first.count, first.trained, first.evaluated) == ("`best.pt`", 3, "yes", "yes")
    assert first.mean == tuple(STATE["bn.running_mean"].tolist())
    assert first.dtype == "float32"
    assert facts.lacking == ()
