"""Python 2 in Python 3's words: the statements that changed, each in its row."""

from __future__ import annotations

import ast

import pytest

import bnlint
from bnlint.source.python2 import modernised

OLD = 'print "x"\n'
"""What shows that the text around it is old."""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("print 'a', b", "_   = 'a', b"),
        ("print'a'", "_   ='a'"),
        ("print a,", "_   = a,"),
        ("print 'loss: %f' % loss", "_   = 'loss: %f' % loss"),
        ("if a: print b", "if a: _   = b"),
        ("a = 1; print b", "a = 1; _   = b"),
        ("print >>f, a", "print >>f, a"),
        ("print", "print"),
        ("print (a), b", "_   = (a), b"),
        ("exec code in names", "_  = code in names"),
        ("raise ValueError, 'no'", "raise ValueError; 'no'"),
        ("a = 0777", "a =  777"),
        ("a = 10L", "a = 10 "),
        ("a = b <> c", "a = b != c"),
        ("a = ur'x'", "a =  r'x'"),
        ("a = `b`", "a = (b)"),
    ],
)
def test_a_statement_keeps_its_columns(old, new):
    assert modernised(OLD + old + "\n").splitlines()[1] == new
    assert len(new) == len(old)
    ast.parse(new)


def test_an_exception_gets_its_name():
    text = "try:\n    pass\nexcept (IOError, OSError), error:\n    print error\n"
    assert modernised(text) == "try:\n    pass\nexcept (IOError, OSError) as error:\n    _   = error\n"


@pytest.mark.parametrize(
    "text",
    [
        "print('a', b)\n",
        "print ('a')\n",
        "x = print\n",
        "except_, raise_ = 1, 2\n",
        "def f(:\n    pass\n",
        "# print it\nx = 'print me'\n",
        "print.x = 1\n",
    ],
)
def test_what_is_no_python_2_is_left_alone(text):
    assert modernised(text) is None


SCRIPT = """\
import torch
from torch import nn

net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.Linear(16, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(10):
    for x, y in train_loader:
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        print 'loss', loss.data[0]
    for x, y in test_loader:
        print net(x).argmax(1) == y
"""


def test_a_script_of_python_2_is_broken_and_followed_all_the_same(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    found = [(f.code, f.where.row, f.where.column) for f in bnlint.lint([path], isolated=True)]
    assert found == [("BN000", 11, 9), ("BN101", 13, 15)]


def test_an_import_leads_to_a_file_of_python_2(tmp_path):
    (tmp_path / "model.py").write_text(
        "from torch import nn\n\n\ndef build():\n    print 'building'\n"
        "    return nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16))\n",
        encoding="utf-8",
    )
    script = tmp_path / "predict.py"
    script.write_text(
        "import torch\nfrom model import build\n\nnet = build()\nnet.load_state_dict(torch.load('net.pt'))\n"
        "with torch.no_grad():\n    for x in test_loader:\n        net(x)\n",
        encoding="utf-8",
    )
    assert [(f.code, f.where.row) for f in bnlint.lint([script], isolated=True)] == [("BN101", 8)]


def test_a_text_that_is_broken_otherwise_stays_broken(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("import torch\nprint 'a'\ndef f(:\n", encoding="utf-8")
    assert [f.code for f in bnlint.lint([path], isolated=True)] == ["BN000"]
