"""BN204 against torch itself: random nets are built, really run, and judged from their source."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bnlint

torch = pytest.importorskip("torch")

NORM = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
CHANNELS = st.sampled_from([2, 3, 4, 6, 8, 12])


@dataclass
class Net:
    """A net that is being written: the lines of its class, and the tensor that it makes of a batch.

    `counted` says whether the channels follow from the layers alone, `wrong` holds the row of the
    BatchNorm that raises.
    """

    draw: st.DrawFn
    sequential: bool
    x: torch.Tensor
    built: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    counted: bool = False
    wrong: str | None = None

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def size(self, number: int) -> str:
        """One of the ways in which a number of channels is written, in terms of `width = 4`."""
        ways = [str(number), f"{number * 3} // 3", f"{number - 1} + 1"]
        if number % 4 == 0:
            ways += [f"width * {number // 4}", f"{number // 4} * width"]
        if number % 2 == 0:
            ways += [f"width // 2 * {number // 2}", f"width * self.expansion * {number // 2} // 4"]
        return self.one_of(*ways)

    def layer(self, text: str) -> torch.nn.Module:
        """A layer is built and called."""
        name = f"layer{len(self.built)}"
        self.built.append(text)
        self.called.append(f"x = self.{name}(x)")
        width, self_ = 4, type("Block", (), {"expansion": 2})
        return eval(text, {"nn": torch.nn, "width": width, "self": self_})

    def apply(self, text: str) -> None:
        self.x = self.layer(text)(self.x)

    def compute(self, text: str) -> None:
        """A line of `forward` changes the tensor; a Sequential has no such lines."""
        scope = {"x": self.x, "torch": torch}
        exec(text, scope)
        self.x = scope["x"]
        self.called.append(text)

    # steps

    def convolve(self) -> None:
        n = self.x.dim() - 2
        made = self.draw(CHANNELS)
        kind = self.one_of(f"Conv{n}d", f"ConvTranspose{n}d")
        self.apply(f"nn.{kind}({self.x.size(1)}, {self.size(made)}, 1)")
        self.counted = True

    def connect(self) -> None:
        made = self.draw(CHANNELS)
        self.apply(f"nn.Linear({self.x.size(-1)}, {self.size(made)})")
        self.counted |= self.x.dim() == 2

    def keep(self) -> None:
        self.apply(self.one_of("nn.ReLU()", "nn.Dropout(0.5)", "nn.Identity()", "nn.Softplus()"))

    def pool(self) -> None:
        n = self.x.dim() - 2
        self.apply(
            self.one_of(f"nn.AdaptiveAvgPool{n}d(1)", f"nn.MaxPool{n}d(1)", f"nn.AdaptiveMaxPool{n}d(2)")
        )

    def flatten(self) -> None:
        certain = self.x[0, 0].numel() == 1 and self.is_one()
        if self.sequential:
            self.apply("nn.Flatten()")
        else:
            self.compute(
                self.one_of("x = x.flatten(1)", "x = torch.flatten(x, 1)", "x = x.reshape(x.size(0), -1)")
            )
        self.counted &= certain

    def is_one(self) -> bool:
        """Whether a layer says that nothing is left behind the channels."""
        kept = ("ReLU", "Dropout", "Identity", "Softplus", "BatchNorm")
        made = [text for text in self.built if not any(name in text for name in kept)]
        adaptive = bool(made) and "Adaptive" in made[-1] and made[-1].endswith("(1)")
        return adaptive and all(" = self." in line for line in self.called[-1:])

    def join(self) -> None:
        self.compute(
            self.one_of(
                "x = torch.cat([x, x * 2], 1)",
                "x = torch.cat((x, torch.relu(x), x), dim=1)",
                "x = x + torch.relu(x)",
                "x += 1",
                "x = x * x.sigmoid()",
            )
        )

    def turn(self) -> None:
        self.compute("x = x.transpose(1, 2)" if self.x.dim() == 3 else "x = x.permute(0, 2, 3, 1)")
        self.counted = False

    def reduce(self) -> None:
        self.compute(
            "x = x.mean(2)"
            if self.x.dim() == 3
            else self.one_of("x = x.mean((2, 3))", "x = x.mean(dim=[2, 3])")
        )

    def stretch(self) -> None:
        at = self.one_of(1, 2)
        self.compute(f"x = x.unsqueeze({at})")
        self.counted |= at == 1

    def normalise(self, *, rightly: bool) -> None:
        """A BatchNorm that fits, or one that raises; what comes out of one has the channels that it asks for."""
        channels = self.x.size(1)
        if rightly:
            self.apply(f"nn.{NORM[self.x.dim()]}({self.size(channels)})")
            self.counted = True
            return
        cls = self.one_of(NORM[self.x.dim()], *sorted(set(NORM.values())))
        if cls == NORM[self.x.dim()]:
            if not self.counted:
                return
            channels = self.draw(CHANNELS.filter(lambda other: other != channels))
        text = f"nn.{cls}({self.size(channels)})"
        module = self.layer(text)
        with pytest.raises((ValueError, RuntimeError)):
            module(self.x)
        self.wrong = text

    def step(self) -> None:
        rank = self.x.dim()
        steps = [self.keep]
        steps += [self.convolve, self.pool, self.flatten] if rank > 2 else [self.connect]
        if not self.sequential:
            steps += [self.join]
            steps += [self.turn, self.reduce] if rank > 2 else [self.stretch]
        if rank == 3:
            steps += [self.connect]
        self.one_of(*steps)()

    def source(self) -> str:
        return (sequential if self.sequential else forward)(self)


def sequential(net: Net) -> str:
    layers = "".join(f"                {text},\n" for text in net.built)
    return head(f"            self.body = nn.Sequential(\n{layers}            )\n", ["return self.body(x)"])


def forward(net: Net) -> str:
    built = "".join(f"            self.layer{at} = {text}\n" for at, text in enumerate(net.built))
    return head(built, [*net.called, "return x"])


def head(built: str, called: list[str]) -> str:
    lines = "".join(f"            {line}\n" for line in called)
    return (
        textwrap.dedent(
            """\
        import torch
        from torch import nn


        class Net(nn.Module):
            expansion = 2

            def __init__(self, width=4):
                super().__init__()
        BUILT
            def forward(self, x):
        CALLED"""
        )
        .replace("BUILT\n", textwrap.indent(textwrap.dedent(built), " " * 8))
        .replace("CALLED", textwrap.indent(textwrap.dedent(lines), " " * 8))
    )


@st.composite
def nets(draw) -> Net:
    """A net that begins with a convolution, and perhaps one BatchNorm at its end that does not fit."""
    rank = draw(st.sampled_from([3, 4]))
    net = Net(draw, draw(st.booleans()), torch.rand(3, 3, *[4] * (rank - 2)))
    net.convolve()
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.integers(0, 3)) == 0:
            net.normalise(rightly=True)
        else:
            net.step()
    if draw(st.booleans()):
        net.normalise(rightly=False)
    return net


def really_raises(text: str, x: torch.Tensor) -> bool:
    scope: dict = {}
    exec(compile(text, "net", "exec"), scope)
    try:
        scope["Net"]()(x)
    except (ValueError, RuntimeError):
        return True
    return False


@given(nets())
@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
def test_what_is_said_of_a_net_is_what_torch_does(tmp_path_factory, net):
    text = net.source()
    folder = tmp_path_factory.mktemp("net")
    path = folder / "net.py"
    path.write_text(text, encoding="utf-8")
    first = torch.rand(3, 3, *[4] * (int(net.built[0].partition("d(")[0][-1])))
    assert really_raises(text, first) == (net.wrong is not None)
    rows = [row for row, line in enumerate(text.splitlines(), 1) if net.wrong and net.wrong in line][-1:]
    found = bnlint.lint([path], isolated=True, select=["BN204"]).findings
    assert [f.where.row for f in found] == rows, text
