"""What a program loads from files, and what its command line gives it."""

from __future__ import annotations

import json
import os
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bnlint.facts import UNKNOWN
from bnlint.source.disk import Disk, still_says
from bnlint.source.documents import BLANK, MOST_BYTES, Mapping, Scalar, Sequence, parse
from bnlint.source.engine import analyse

TRAINING = """
import argparse
import json
import os
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader


def fit(batch_size):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    loader = DataLoader(torch.load("data.pt"), batch_size=batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()
    for images, masks in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), masks).backward()
        optimizer.step()


"""
CONFIG = "seed: 1\ntrain:\n  batch_size: 2\n  resume: null\n"
LOADED = TRAINING + 'with open("conf.yml") as file:\n    cfg = yaml.safe_load(file)\n'


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def facts(folder, files):
    """The facts of a project."""
    write(folder, files)
    analysis = analyse(sorted(folder.rglob("*.py")))
    assert not analysis.faults
    return analysis


def size(folder, program, files=None, script="train.py"):
    """The batch size that a program trains with, and the file and row in which it is written."""
    analysis = facts(folder, {**({"conf.yml": CONFIG} if files is None else files), script: program})
    (feed,) = analysis.facts.feeds
    evidence = feed.batch_size.evidence
    if not evidence:
        return feed.batch_size.value, None
    where = evidence[-1].where
    return feed.batch_size.value, (os.path.relpath(where.filename, folder), where.row)


# documents

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)


def plain(tree):
    match tree:
        case Mapping(entries=entries):
            return {key: plain(value) for key, value in entries.items()}
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Scalar(value=value):
            return value
    return tree


@given(NESTED, st.sampled_from([None, 1, 4]))
def test_json_is_read_as_python_reads_it(document, indent):
    text = json.dumps(document, indent=indent)
    assert repr(plain(parse(text.encode(), ".json"))) == repr(json.loads(text))


@given(NESTED, st.booleans(), st.booleans())
def test_yaml_is_read_as_the_safe_loader_reads_it(document, flow, allow_unicode):
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=allow_unicode)
    assert repr(plain(parse(text.encode(), ".yaml"))) == repr(yaml.safe_load(text))


@given(NESTED)
def test_each_value_of_a_document_is_where_it_says(document):
    text = json.dumps(document, indent=2)
    lines = text.split("\n")
    pending = [parse(text.encode(), ".json")]
    while pending:
        tree = pending.pop()
        span = tree.span
        if isinstance(tree, Scalar):
            assert json.loads(lines[span.row - 1][span.column : span.end_column]) == tree.value
        pending += tree.entries.values() if isinstance(tree, Mapping) else getattr(tree, "items", [])


@pytest.mark.parametrize(
    "text", ["yes", "0o17", "017", "1_000", "1e3", "1.5e+3", ".inf", "~", "0x1F", "12:30", '"2"']
)
def test_scalars_of_yaml_are_resolved_as_the_safe_loader_does(text):
    assert repr(plain(parse(text.encode(), ".yml"))) == repr(yaml.safe_load(text))


MERGED = """
base: &base {batch_size: 2, lr: 1}
fast: &fast {epochs: 4}
one: {<<: *base, lr: 2}
both:
  <<: [*base, *fast]
  seed: 1
"""


def test_yaml_merges_as_the_safe_loader_does():
    assert plain(parse(MERGED.encode(), ".yaml")) == yaml.safe_load(MERGED)
    doubtful = parse(MERGED.replace("epochs", "lr").encode(), ".yaml")
    assert plain(doubtful.entries["both"]) == {"batch_size": 2, "lr": BLANK, "seed": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\n---\na: 2",
        "a: *nobody",
        "\t- a",
        "!!int x",
        "!!bool maybe",
        "\x00",
        "a: &a [*a, ",
        "[" * 5000,
    ],
)
def test_broken_yaml_is_nothing(text):
    assert parse(text.encode(), ".yaml") is None


@pytest.mark.parametrize("text", ["", "{", '{"a": }', "[1, 2", "[" * 100_000, "{'a': 1}"])
def test_broken_json_is_nothing(text):
    assert parse(text.encode(), ".json") is None


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
def test_what_is_no_utf_8_is_nothing(suffix):
    assert parse(b"\xff\xfe\x00a", suffix) is None


def test_what_is_large_or_of_another_kind_is_nothing():
    assert parse(b"[" + b"1," * MOST_BYTES + b"1]", ".json") is None
    assert parse(b"a = 1", ".ini") is None


def test_objects_of_yaml_are_unknown_and_never_made():
    text = b"a: !!python/object/apply:os.system [exit]\nb: !include other.yml\nc: 2020-01-01\nd: 1"
    assert plain(parse(text, ".yaml")) == {"a": BLANK, "b": BLANK, "c": BLANK, "d": 1}


def test_what_holds_itself_ends():
    tree = parse(b"a: &a\n  b: *a\n  c: 1", ".yaml")
    assert plain(tree) == {"a": {"b": BLANK, "c": 1}}


def test_what_doubles_itself_is_there_once():
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    tree = parse("\n".join(rows).encode(), ".yaml")
    assert tree.entries["a59"].items[0] is tree.entries["a59"].items[1]


def test_toml_is_read_with_the_rows_of_keys_that_are_there_once():
    text = b'lr = 0.1\n[train]\nbatch_size = 2\nname = "x"\n[test]\nname = "y"\nwhen = 2020-01-01\n'
    tree = parse(text, ".toml")
    train = tree.entries["train"].entries
    assert train["batch_size"].span.row == 3
    assert train["name"] == Scalar("x", None)
    assert tree.entries["test"].entries["when"] is BLANK
    assert parse(b"a = ", ".toml") is None


# files


@pytest.mark.parametrize(
    "load",
    [
        'yaml.safe_load(open("conf.yml"))',
        'yaml.load(open("conf.yml", "r").read(), Loader=yaml.FullLoader)',
        'yaml.safe_load((Path(__file__).parent / "conf.yml").read_text())',
        'yaml.safe_load(Path(__file__).resolve().parent.joinpath("conf").with_suffix(".yml").open())',
        'yaml.safe_load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "conf.yml")))',
        'yaml.safe_load(open(str(Path("conf.yml"))))',
        'yaml.safe_load(open(f"{Path(__file__).parent}/conf.yml"))',
        'yaml.safe_load(open(os.path.join(os.getcwd(), "conf.yml")))',
    ],
)
def test_a_file_is_found_by_its_name(tmp_path, load):
    program = f'{TRAINING}cfg = {load}\nfit(cfg["train"]["batch_size"])\n'
    assert size(tmp_path, program) == (2, ("conf.yml", 3))


@pytest.mark.parametrize(
    "use",
    [
        'cfg["train"]["batch_size"]',
        'cfg.get("train").get("batch_size", 64)',
        'int(cfg["train"]["batch_size"])',
        'argparse.Namespace(**cfg["train"]).batch_size',
        'getattr(argparse.Namespace(**cfg["train"]), "batch_size")',
        'vars(argparse.Namespace(**cfg["train"]))["batch_size"]',
        '{**{"batch_size": 64}, **cfg["train"]}["batch_size"]',
    ],
)
def test_an_entry_is_followed_to_its_line(tmp_path, use):
    assert size(tmp_path, f"{LOADED}fit({use})\n") == (2, ("conf.yml", 3))


@pytest.mark.parametrize(
    "change",
    [
        'cfg["train"]["batch_size"] = int(input())',
        'cfg["train"].update(json.loads(input()))',
        'cfg["train"][input()] = 64',
        'cfg["train"] = json.loads(input())',
        'cfg = {"train": {**cfg["train"], **json.loads(input())}}',
        'if input():\n    cfg["train"]["batch_size"] = 64',
    ],
)
def test_what_is_changed_later_is_unknown(tmp_path, change):
    assert size(tmp_path, f'{LOADED}{change}\nfit(cfg["train"]["batch_size"])\n')[0] is UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        "train: [",
        "train: {}",
        "",
        "train: {batch_size: !ENV BATCH}",
        "debug: {batch_size: 2}\ntrain: {size: 2}",
        "train: {batch_size: null}",
    ],
)
def test_what_a_file_does_not_say_is_unknown(tmp_path, text):
    found, _ = size(tmp_path, f'{LOADED}fit(cfg["train"]["batch_size"])\n', {"conf.yml": text})
    assert found in {UNKNOWN, None}


def test_what_is_there_to_try_things_is_unknown(tmp_path):
    program = LOADED.replace("conf.yml", "debug.yml") + 'fit(cfg["train"]["batch_size"])\n'
    assert size(tmp_path, program, {"debug.yml": CONFIG})[0] is UNKNOWN
    program = LOADED + 'fit(cfg["debug"]["batch_size"])\n'
    assert size(tmp_path, program, {"conf.yml": "debug: {batch_size: 2}"})[0] is UNKNOWN


@pytest.mark.parametrize("name", ["../conf.yml", "/conf.yml", "other.yml", "", "."])
def test_only_files_of_the_project_are_read(tmp_path, name):
    (tmp_path / "conf.yml").write_text(CONFIG)
    program = LOADED.replace('"conf.yml"', repr(name)) + 'fit(cfg["train"]["batch_size"])\n'
    assert size(tmp_path / "inner", program, {})[0] is UNKNOWN


def test_links_that_leave_the_project_are_not_followed(tmp_path):
    (tmp_path / "conf.yml").write_text(CONFIG)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "conf.yml").symlink_to("../conf.yml")
    assert size(inner, f'{LOADED}fit(cfg["train"]["batch_size"])\n', {})[0] is UNKNOWN


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all"
)
def test_what_may_not_be_read_is_unknown(tmp_path):
    (tmp_path / "conf.yml").write_text(CONFIG)
    (tmp_path / "conf.yml").chmod(0)
    assert size(tmp_path, f'{LOADED}fit(cfg["train"]["batch_size"])\n', {})[0] is UNKNOWN


def test_a_large_file_is_unknown(tmp_path):
    text = CONFIG + "# " + "x" * MOST_BYTES
    assert size(tmp_path, f'{LOADED}fit(cfg["train"]["batch_size"])\n', {"conf.yml": text})[0] is UNKNOWN


INSIDE = {"pyproject.toml": "", "tools/other.py": ""}


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"conf.yml": CONFIG}, 2),
        ({"tools/conf.yml": CONFIG}, 2),
        ({"conf.yml": CONFIG, "tools/conf.yml": CONFIG}, 2),
        ({"conf.yml": CONFIG, "tools/conf.yml": CONFIG.replace("2", "4")}, UNKNOWN),
    ],
)
def test_a_relative_name_counts_from_all_folders_that_a_program_may_run_in(tmp_path, files, value):
    program = f'{LOADED}fit(cfg["train"]["batch_size"])\n'
    assert size(tmp_path, program, {**INSIDE, **files}, "tools/train.py")[0] == value


def test_a_switch_of_a_file_decides_no_branch(tmp_path):
    program = f'{LOADED}if cfg["train"]["resume"]:\n    fit(4)\nelse:\n    fit(8)\n'
    analysis = facts(tmp_path, {"conf.yml": CONFIG, "train.py": program})
    assert {feed.batch_size.value for feed in analysis.facts.feeds} == {4, 8} or len(
        analysis.facts.feeds
    ) == 1


def test_a_changed_file_is_noticed(tmp_path):
    analysis = facts(tmp_path, {"conf.yml": CONFIG, "train.py": f'{LOADED}fit(cfg["train"]["batch_size"])\n'})
    asked = analysis.asked
    assert still_says(asked)
    (tmp_path / "conf.yml").write_text(CONFIG.replace("2", "4"))
    assert not still_says(asked)
    (tmp_path / "conf.yml").unlink()
    assert not still_says(asked)


def test_a_file_that_was_not_there_is_noticed(tmp_path):
    analysis = facts(tmp_path, {"train.py": f'{LOADED}fit(cfg["train"]["batch_size"])\n'})
    assert still_says(analysis.asked)
    (tmp_path / "conf.yml").write_text(CONFIG)
    assert not still_says(analysis.asked)


def test_the_start_of_a_large_file_is_what_counts(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 100)
    disk = Disk()
    assert disk.read_start(str(path), 10) == b"x" * 10
    assert still_says(disk.asked)
    path.write_bytes(b"x" * 9)
    assert not still_says(disk.asked)
    path.write_bytes(b"x" * 90)
    assert still_says(disk.asked)


def test_contents_in_place_of_the_disk_are_read(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(f'{LOADED}fit(cfg["train"]["batch_size"])\n')
    found = analyse([script], {str(tmp_path / "conf.yml"): CONFIG.encode()})
    assert [feed.batch_size.value for feed in found.facts.feeds] == [2]


def test_the_default_of_an_option_names_a_file(tmp_path):
    program = f"""{TRAINING}
parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path, default=Path("conf.yml"))
args = parser.parse_args()
cfg = yaml.safe_load(args.config.read_text())
fit(cfg["train"]["batch_size"])
"""
    assert size(tmp_path, program) == (2, ("conf.yml", 3))


@pytest.mark.parametrize(("arch", "value"), [("wide", 2), ("plain", UNKNOWN)])
@pytest.mark.parametrize(
    "choice", ["{'wide': wide, 'plain': plain}[cfg['arch']]", "wide if cfg['arch'] == 'wide' else plain"]
)
def test_a_file_chooses_the_model_that_its_numbers_are_for(tmp_path, choice, arch, value):
    program = f"""{TRAINING.partition("def fit")[0]}
parser = argparse.ArgumentParser()
parser.add_argument("--config", default="conf.yml")
cfg = yaml.safe_load(open(parser.parse_args().config))
wide = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
plain = nn.Conv2d(3, 8, 3)
net = {choice}
loader = DataLoader(torch.load("data.pt"), batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
net.train()
for images, masks in loader:
    nn.functional.cross_entropy(net(images), masks).backward()
    optimizer.step()
"""
    assert size(tmp_path, program, {"conf.yml": f"arch: {arch}\nbatch_size: 2"})[0] == value


def test_defaults_of_a_parser_may_come_from_a_file(tmp_path):
    program = f"""{LOADED}
parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int, default=64)
parser.set_defaults(**cfg["train"])
fit(parser.parse_args().batch_size)
"""
    assert size(tmp_path, program) == (2, ("conf.yml", 3))
    program = program.replace('cfg["train"]', "json.loads(input())")
    assert size(tmp_path, program)[0] is UNKNOWN


OPTIONS = f"""{LOADED}
parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int, default=64)
args = parser.parse_args()
"""


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("", 64),
        ('vars(args).update(cfg["train"])', 2),
        ('args.__dict__.update(cfg["train"])', 2),
        ('for key, value in cfg["train"].items():\n    setattr(args, key, value)', 2),
        ('for key in cfg["train"]:\n    args.__dict__[key] = cfg["train"][key]', 2),
        ("vars(args).update(json.loads(input()))", UNKNOWN),
        ("vars(args)[input()] = 2", UNKNOWN),
        ('vars(args)["batch_size"] = int(input())', UNKNOWN),
    ],
)
def test_options_that_a_file_replaces(tmp_path, change, value):
    assert size(tmp_path, f"{OPTIONS}{change}\nfit(args.batch_size)\n")[0] == value


DEEP = "".join(f"a{n}: {n}\n" for n in range(20)) + CONFIG + "".join(f"z{n}: {n}\n" for n in range(20))


@pytest.mark.parametrize(
    "helper",
    [
        """
def made(held):
    space = argparse.Namespace()
    for key, value in held.items():
        setattr(space, key, made(value) if isinstance(value, dict) else value)
    return space
""",
        """
class made:
    def __init__(self, held):
        for key, value in held.items():
            setattr(self, key, made(value) if isinstance(value, dict) else value)
""",
    ],
)
def test_functions_that_go_through_all_of_a_file(tmp_path, helper):
    found = size(tmp_path, f"{LOADED}{helper}\nfit(made(cfg).train.batch_size)\n", {"conf.yml": DEEP})
    assert found == (2, ("conf.yml", 23))


def test_a_function_that_goes_round_with_a_file_ends(tmp_path):
    helper = "def again(held):\n    again(held)\n    again(held)\n    return held\n"
    assert size(tmp_path, f'{LOADED}{helper}\nfit(again(cfg)["train"]["batch_size"])\n')[0] == 2


def test_a_class_may_give_entries(tmp_path):
    helper = "class Config:\n    def __init__(self, held):\n        self.held = held\n\n"
    helper += "    def __getitem__(self, name):\n        return self.held[name]\n"
    assert size(tmp_path, f'{LOADED}{helper}\nfit(Config(cfg)["train"]["batch_size"])\n')[0] == 2


# objects that hold configuration


@pytest.mark.parametrize(
    ("imports", "made"),
    [
        ("from easydict import EasyDict as edict", "edict(cfg)"),
        ("from munch import munchify", "munchify(cfg)"),
        ("from box import Box", "Box(cfg)"),
        ("from omegaconf import OmegaConf", "OmegaConf.create(cfg)"),
        ("from omegaconf import OmegaConf", 'OmegaConf.load("conf.yml")'),
        ("from omegaconf import OmegaConf", "OmegaConf.merge(OmegaConf.create(cfg), OmegaConf.from_cli())"),
        (
            "class Bag(dict):\n    __getattr__ = dict.__getitem__\n    __setattr__ = dict.__setitem__",
            "Bag(cfg)",
        ),
        ("class Bag:\n    def __init__(self, held):\n        self.__dict__.update(held)", "Bag(cfg)"),
        ("from ruamel.yaml import YAML", 'YAML(typ="safe").load(Path("conf.yml"))'),
    ],
)
def test_entries_may_be_attributes(tmp_path, imports, made):
    program = f"{LOADED}{imports}\nfit({made}.train.batch_size)\n"
    assert size(tmp_path, program) == (2, ("conf.yml", 3))


def test_a_copy_is_one_of_its_own(tmp_path):
    program = (
        f'{LOADED}import copy\nother = copy.deepcopy(cfg)\nother["train"]["batch_size"] = 64\nfit({{}})\n'
    )
    assert size(tmp_path, program.format('cfg["train"]["batch_size"]'))[0] == 2
    assert size(tmp_path, program.format('other["train"]["batch_size"]'))[0] == 64


YACS = f"""{TRAINING}
from yacs.config import CfgNode as CN

_C = CN()
_C.TRAIN = CN()
_C.TRAIN.BATCH = 2


cfg = _C.clone()
{{}}
cfg.freeze()
fit(cfg.TRAIN.BATCH)
"""


@pytest.mark.parametrize(
    ("merge", "value"),
    [
        ("", 2),
        ('cfg.merge_from_file("four.yml")', 4),
        ("cfg.merge_from_file(input())", UNKNOWN),
        ("name = input()\nif name:\n    cfg.merge_from_file(name)", 2),
        ("name = input()\nif input():\n    cfg.merge_from_file(name)", UNKNOWN),
        ("cfg.merge_from_list(input())", 2),
        ("cfg.TRAIN.BATCH = 8", 8),
        ("_C.TRAIN.BATCH = 8", 2),
    ],
)
def test_yacs(tmp_path, merge, value):
    assert size(tmp_path, YACS.format(merge), {"four.yml": "TRAIN: {BATCH: 4}"})[0] == value


def test_what_is_merged_later_wins(tmp_path):
    program = f"""{TRAINING}
from omegaconf import OmegaConf
cfg = OmegaConf.merge(OmegaConf.load("conf.yml"), OmegaConf.create({{"train": {{"batch_size": 4}}}}), LAST)
fit(cfg.train.batch_size)
"""
    assert size(tmp_path, program.replace("LAST", "OmegaConf.from_cli()"))[0] == 4
    assert size(tmp_path, program.replace("LAST", "OmegaConf.load(input())"))[0] is UNKNOWN


# command lines


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ('@click.command()\n@click.option("--batch-size", "-b", default=2)\ndef main(batch_size):\n    fit(batch_size)\nmain()', 2),
        ('@click.command()\n@click.option("-b", "--bs", "batch_size", default=2)\ndef main(batch_size):\n    fit(batch_size)\nmain()', 2),
        ('@click.command()\n@click.option("--batch-size", default=2)\ndef main(**kw):\n    fit(kw["batch_size"])\nmain()', 2),
        ('@click.command()\n@click.option("--batch-size", required=True)\ndef main(batch_size):\n    fit(batch_size)\nmain()', UNKNOWN),
        ("def main(batch_size: int = typer.Option(2)):\n    fit(batch_size)\ntyper.run(main)", 2),
        ("def main(batch_size: int = typer.Option(...)):\n    fit(batch_size)\ntyper.run(main)", UNKNOWN),
        ("def main(batch_size=2):\n    fit(batch_size)\nfire.Fire(main)", 2),
        ("def main(batch_size):\n    fit(batch_size)\nfire.Fire(main)", UNKNOWN),
        ('flags.DEFINE_integer("batch_size", 2, "")\ndef main(argv):\n    fit(flags.FLAGS.batch_size)\napp.run(main)', 2),
        ('size = flags.DEFINE_integer("batch_size", 2, "")\ndef main(argv):\n    fit(size.value)\napp.run(main)', 2),
        ("def main(argv):\n    fit(flags.FLAGS.batch_size)\napp.run(main)", UNKNOWN),
        ("@dataclass\nclass Config:\n    batch_size: int = 2\nfit(tyro.cli(Config).batch_size)", 2),
        ("@dataclass\nclass Inner:\n    batch_size: int = 2\n@dataclass\nclass Config:\n    train: Inner = field(default_factory=Inner)\nfit(tyro.cli(Config).train.batch_size)", 2),
        ("@dataclass\nclass Config:\n    batch_size: int = 2\n(cfg,) = HfArgumentParser((Config,)).parse_args_into_dataclasses()\nfit(cfg.batch_size)", 2),
        ('@dataclass\nclass Config:\n    batch_size: int = 2\nparser = simple_parsing.ArgumentParser()\nparser.add_arguments(Config, dest="cfg")\nfit(parser.parse_args().cfg.batch_size)', 2),
    ],
)  # fmt: skip
def test_command_lines(tmp_path, program, value):
    imports = (
        "import click, fire, simple_parsing, typer, tyro\nfrom absl import app, flags\n"
        "from dataclasses import dataclass, field\nfrom transformers import HfArgumentParser\n"
    )
    assert size(tmp_path, f"{TRAINING}{imports}{program}\n", {})[0] == value


def test_flags_of_one_name_belong_to_their_files(tmp_path):
    program = f"""{TRAINING}
from absl import app, flags
flags.DEFINE_integer("batch_size", {{}}, "")


def main(argv):
    fit(flags.FLAGS.batch_size)


app.run(main)
"""
    analysis = facts(tmp_path, {"a.py": program.format(2), "b.py": program.format(4)})
    assert {(os.path.basename(f.loader.filename), f.batch_size.value) for f in analysis.facts.feeds} == {
        ("a.py", 2),
        ("b.py", 4),
    }


def test_hyperparameters_of_lightning(tmp_path):
    program = f"""{TRAINING.partition("def fit")[0]}
import pytorch_lightning as pl


class Lit(pl.LightningModule):
    def __init__(self, batch_size=2, **more):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))

    def training_step(self, batch, index):
        return self.net(batch).sum()

    def train_dataloader(self):
        return DataLoader(torch.load("data.pt"), batch_size=self.hparams.{{}}, shuffle=True)


pl.Trainer().fit(Lit(size=4))
"""
    assert size(tmp_path, program.format("batch_size"))[0] == 2
    assert size(tmp_path, program.format("size"))[0] == 4
    assert size(tmp_path, program.format("other"))[0] is UNKNOWN


# hydra

HYDRA = f"""{TRAINING}
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    fit({{}})


if __name__ == "__main__":
    main()
"""
DEFAULTS = "defaults:\n  - _self_\n  - data: small\n"
SMALL = "batch_size: 2\n"


@pytest.mark.parametrize(
    ("files", "use", "value", "row"),
    [
        ({"config": "batch_size: 2"}, "cfg.batch_size", 2, ("config", 1)),
        ({"config": "defaults: [base, _self_]", "base": "batch_size: 2"}, "cfg.batch_size", 2, ("base", 1)),
        ({"config": DEFAULTS, "data/small": SMALL}, "cfg.data.batch_size", 2, ("data/small", 1)),
        ({"config": DEFAULTS, "data/small": SMALL}, 'cfg["data"]["batch_size"]', 2, ("data/small", 1)),
        ({"config": DEFAULTS + "bs: ${data.batch_size}", "data/small": SMALL}, "cfg.bs", 2, ("data/small", 1)),
        ({"config": DEFAULTS, "data/small": "# @package _global_\n" + SMALL}, "cfg.batch_size", 2, ("data/small", 2)),
        ({"config": "defaults: [{data@train: small}]", "data/small": SMALL}, "cfg.train.batch_size", 2, ("data/small", 1)),
        ({"config": DEFAULTS + "data:\n  batch_size: 8\n", "data/small": SMALL}, "cfg.data.batch_size", 2, ("data/small", 1)),
        ({"config": "defaults: [{data: small}, _self_]\ndata:\n  batch_size: 8\n", "data/small": SMALL}, "cfg.data.batch_size", 8, ("config", 3)),
        (
            {
                "config": "defaults: [_self_, {data: small}, {experiment: big}]",
                "data/small": SMALL,
                "data/large": "batch_size: 64",
                "experiment/big": "# @package _global_\ndefaults:\n  - override /data: large\n",
            },
            "cfg.data.batch_size",
            64,
            ("data/large", 1),
        ),
        ({"config": "defaults: [{data: small}]", "data/small": "defaults: [base]\n", "data/base": SMALL}, "cfg.data.batch_size", 2, ("data/base", 1)),
        ({"config": DEFAULTS + "  - optional more: null\n  - override hydra/x: y\n", "data/small": SMALL}, "cfg.data.batch_size", 2, ("data/small", 1)),
        # what nobody knows
        ({"config": "defaults: [{data: small}]\ndata:\n  batch_size: 8\n", "data/small": SMALL}, "cfg.data.batch_size", UNKNOWN, None),
        ({"config": "defaults: [base, _self_]\nlr: 1"}, "cfg.batch_size", UNKNOWN, None),
        ({"config": DEFAULTS}, "cfg.data.batch_size", UNKNOWN, None),
        ({"config": "defaults: [{data: debug}]", "data/debug": SMALL}, "cfg.data.batch_size", UNKNOWN, None),
        ({"config": "batch_size: ???"}, "cfg.batch_size", UNKNOWN, None),
        ({"config": "batch_size: ${oc.env:BATCH,2}"}, "cfg.batch_size", UNKNOWN, None),
        ({"config": "batch_size: ${half:4}"}, "cfg.batch_size", UNKNOWN, None),
        ({"config": "a: ${b}\nb: ${a}"}, "cfg.a", UNKNOWN, None),
        ({"other": "batch_size: 2"}, "cfg.batch_size", UNKNOWN, None),
    ],
)  # fmt: skip
def test_hydra_composes(tmp_path, files, use, value, row):
    written = {f"conf/{name}.yaml": text for name, text in files.items()}
    found, where = size(tmp_path, HYDRA.format(use), written)
    assert found == value
    if row is not None:
        assert where == (f"conf/{row[0]}.yaml", row[1])


def test_hydra_knows_registered_classes(tmp_path):
    program = f"""{TRAINING}
from dataclasses import dataclass
import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    batch_size: int = 2


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(config_path=None, config_name="config")
def main(cfg):
    fit(cfg.batch_size)


main()
"""
    assert size(tmp_path, program, {})[0] == 2


BUILT = """
import hydra
import torch
from torch import nn


@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    net = hydra.utils.instantiate(cfg.model)
    loader = hydra.utils.instantiate(cfg.loader, torch.load("data.pt"))
    optimizer = hydra.utils.instantiate(cfg.optimizer)(net.parameters())
    net.train()
    for images, masks in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), masks).backward()
        optimizer.step()


main()
"""
TARGETS = """
model:
  _target_: models.Net
  depth: 8
loader:
  _target_: torch.utils.data.DataLoader
  batch_size: 2
  drop_last: true
optimizer:
  _target_: torch.optim.SGD
  _partial_: true
  lr: 0.1
"""


def test_hydra_builds(tmp_path):
    net = "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, depth):\n        super().__init__()\n"
    net += "        self.body = nn.Sequential(nn.Conv2d(3, depth, 3), nn.BatchNorm2d(depth))\n\n"
    net += "    def forward(self, x):\n        return self.body(x)\n"
    found = size(tmp_path, BUILT, {"conf/config.yaml": TARGETS, "models.py": net})
    assert found == (2, ("conf/config.yaml", 7))
