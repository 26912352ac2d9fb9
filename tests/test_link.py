"""Link: names lead from file to file, as Python would find them."""

from __future__ import annotations

import pytest
from programs import Program

from bnlint.source import extract, link
from bnlint.source.disk import Disk


@pytest.fixture
def run(tmp_path):
    return lambda **files: Program(
        tmp_path, {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
    )


@pytest.fixture
def project(tmp_path):
    return lambda files: Program(tmp_path, files)


LAYOUTS = {
    "beside": ({"sizes.py": "n = 4", "main.py": "from sizes import n as x"}, 4),
    "module": ({"sizes.py": "n = 4", "main.py": "import sizes\nx = sizes.n"}, 4),
    "alias": ({"sizes.py": "n = 4", "main.py": "import sizes as s\nx = s.n"}, 4),
    "star": ({"sizes.py": "n = 4", "main.py": "from sizes import *\nx = n"}, 4),
    "star of star": ({"a.py": "n = 4", "b.py": "from a import *", "main.py": "from b import *\nx = n"}, 4),
    "last star wins": (
        {"a.py": "n = 1", "b.py": "n = 2", "main.py": "from a import *\nfrom b import *\nx = n"},
        2,
    ),
    "own name before star": ({"a.py": "n = 1", "main.py": "n = 3\nfrom b import *\nx = n"}, 3),
    "package": ({"p/__init__.py": "", "p/sizes.py": "n = 4", "main.py": "from p.sizes import n as x"}, 4),
    "package attribute": ({"p/__init__.py": "n = 4", "main.py": "import p\nx = p.n"}, 4),
    "submodule": (
        {"p/__init__.py": "", "p/sizes.py": "n = 4", "main.py": "import p.sizes\nx = p.sizes.n"},
        4,
    ),
    "submodule as name": ({"p/__init__.py": "", "p/s.py": "n = 4", "main.py": "import p.s as s\nx = s.n"}, 4),
    "from package": ({"p/__init__.py": "", "p/s.py": "n = 4", "main.py": "from p import s\nx = s.n"}, 4),
    "re-exported": (
        {"p/__init__.py": "from .s import n", "p/s.py": "n = 4", "main.py": "from p import n as x"},
        4,
    ),
    "re-exported by star": (
        {"p/__init__.py": "from .s import *", "p/s.py": "n = 4", "main.py": "from p import n as x"},
        4,
    ),
    "relative": (
        {
            "p/__init__.py": "",
            "p/s.py": "n = 4",
            "p/m.py": "from .s import n",
            "main.py": "from p.m import n as x",
        },
        4,
    ),
    "relative module": (
        {
            "p/__init__.py": "",
            "p/s.py": "n = 4",
            "p/m.py": "from . import s\nn = s.n",
            "main.py": "from p.m import n as x",
        },
        4,
    ),
    "two dots": (
        {
            "p/__init__.py": "n = 4",
            "p/q/__init__.py": "",
            "p/q/m.py": "from .. import n",
            "main.py": "from p.q.m import n as x",
        },
        4,
    ),
    "two dots to a file": (
        {
            "p/__init__.py": "",
            "p/s.py": "n = 4",
            "p/q/__init__.py": "",
            "p/q/m.py": "from ..s import n",
            "main.py": "import p.q.m\nx = p.q.m.n",
        },
        4,
    ),
    "namespace package": ({"p/s.py": "n = 4", "main.py": "from p.s import n as x"}, 4),
    "folder of scripts": (
        {"lib/s.py": "n = 4", "lib/t.py": "import s\nn = s.n", "main.py": "from lib.t import n as x"},
        4,
    ),
    "root seen from below": (
        {"s.py": "n = 4", "lib/t.py": "from s import n", "main.py": "from lib.t import n as x"},
        4,
    ),
    "file before package": (
        {"p.py": "n = 4", "p/__init__.py": "n = 5", "main.py": "from p import n as x"},
        4,
    ),
    "inside a function": (
        {"s.py": "n = 4", "main.py": "def f():\n    from s import n\n    return n\nx = f()"},
        4,
    ),
    "unknown library": ({"main.py": "from library import n as x"}, "<library.n>"),
    "dotted library": ({"main.py": "import a.b.c\nx = a.b.c.d"}, "<a.b.c.d>"),
    "lost relative import": ({"main.py": "from .gone import x"}, "<unknown>"),
    "above the root": ({"main.py": "from ....gone import x"}, "<unknown>"),
    "name that is not there": ({"s.py": "n = 4", "main.py": "from s import m as x"}, "<unknown>"),
}


@pytest.mark.parametrize(("files", "x"), LAYOUTS.values(), ids=LAYOUTS)
def test_names_lead_across_files(project, files, x):
    assert project(files)["x"] == x


class TestCircles:
    def test_two_files_that_import_each_other(self, project):
        program = project(
            {
                "a.py": "import b\nn = 1\n",
                "b.py": "import a\nm = 2\n",
                "main.py": "import a, b\nx = [a.b.m, b.a.n]",
            }
        )
        assert program["x"] == [2, 1]

    def test_functions_that_need_each_other(self, project):
        files = {
            "a.py": "from b import g\ndef f():\n    return g() + 1\ndef h():\n    return 3\n",
            "b.py": "def g():\n    from a import h\n    return h() * 10\n",
            "main.py": "from a import f\nx = f()",
        }
        assert project(files)["x"] == 31

    def test_stars_that_go_round(self, project):
        files = {
            "a.py": "from b import *\nn = 1",
            "b.py": "from a import *\nm = 2",
            "main.py": "from a import *\nx = [n, m, k]",
        }
        assert project(files)["x"] == [1, 2, "<unknown>"]

    def test_a_file_that_imports_itself(self, project):
        assert project({"main.py": "import main\nn = 4\ndef f():\n    return main.n\nx = f()"})["x"] == 4


class TestTorch:
    @pytest.mark.parametrize(
        "text",
        [
            "import torch\nx = torch.nn.BatchNorm2d",
            "import torch.nn as nn\nx = nn.BatchNorm2d",
            "from torch import nn\nx = nn.BatchNorm2d",
            "from torch.nn import BatchNorm2d as x",
            "from torch.nn import *\nx = BatchNorm2d",
            "from layers import *\nx = nn.BatchNorm2d",
            "from layers import BN as x",
        ],
    )
    def test_however_it_is_spelled(self, project, text):
        layers = "from torch import nn\nBN = nn.BatchNorm2d\n"
        assert project({"main.py": text, "layers.py": layers})["x"] == "<torch.nn.BatchNorm2d>"

    def test_a_file_that_shadows_torch(self, project):
        program = project(
            {
                "torch.py": "class nn:\n    BatchNorm2d = 7",
                "main.py": "import torch\nx = torch.nn.BatchNorm2d",
            }
        )
        assert program["x"] == 7

    def test_a_folder_deeper_down_does_not(self, project):
        program = project({"lib/torch.py": "nn = 7", "main.py": "from torch import nn\nx = nn.ReLU"})
        assert program["x"] == "<torch.nn.ReLU>"

    def test_a_star_of_torch_brings_no_names_that_it_lacks(self, project):
        assert project({"main.py": "from torch.nn import *\nx = Surprise"})["x"] == "<unknown>"


class TestWhatIsRead:
    def test_a_file_beside_the_linted_ones_is_read_when_an_import_leads_there(self, tmp_path, project):
        (tmp_path / "beside.py").write_text("n = 4")
        (tmp_path / "other.py").write_text("n = 5")
        program = project({"main.py": "from beside import n as x"})
        assert program["x"] == 4
        assert str(tmp_path / "other.py") not in program.project.summaries

    def test_nothing_outside_of_the_project_is(self, tmp_path):
        (tmp_path / "outside.py").write_text("n = 4")
        inside = tmp_path / "inside"
        assert Program(inside, {"main.py": "from outside import n as x"})["x"] == "<outside.n>"

    def test_from_inside_a_package_its_root_is_the_project(self, tmp_path):
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "__init__.py").write_text("")
        (tmp_path / "p" / "sizes.py").write_text("n = 4")
        assert (
            Program(tmp_path / "p" / "q", {"__init__.py": "", "main.py": "from p.sizes import n as x"})["x"]
            == 4
        )

    def test_a_neighbour_that_is_no_python_is_unknown(self, tmp_path, project):
        (tmp_path / "beside.py").write_text("n = = 4")
        assert project({"main.py": "from beside import n as x"})["x"] in ("<unknown>", "<beside.n>")


def summary(text):
    return extract.extract(text.encode(), "a.py")


class TestWhatMatters:
    def names(self, text):
        program = link.Project({"a.py": summary(text)}, Disk())
        return {f.name for f in link.functions_of([summary(text)]) if program.matters(f)}

    def test_functions_that_switch_and_their_callers(self):
        text = "def a(net): net.eval()\ndef b(net): a(net)\ndef c(net): b(net)\ndef d(n): return n\n"
        assert self.names(text) == {"a", "b", "c"}

    def test_a_function_that_only_computes_does_not(self):
        assert self.names("def size(n):\n    return n * 2\ndef other(n):\n    return size(n)\n") == set()

    def test_every_function_is_found(self):
        text = """
def a():
    def b(): pass
class C:
    def d(self): pass
if x:
    def e(): pass
else:
    def f(): pass
try:
    def g(): pass
except E:
    def h(): pass
finally:
    for i in j:
        with k:
            while l:
                def m(): pass
"""
        assert {f.name for f in link.functions_of([summary(text)])} == set("abdefghm")
