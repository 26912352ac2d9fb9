"""The table of frameworks: what it says of each, and that the engine does as it says."""

from __future__ import annotations

import textwrap

import pytest

from bnlint.source import analyse
from bnlint.source import frameworks as table

NAMED = ("Lightning", "transformers", "accelerate", "ignite", "fastai", "mmengine", "catalyst")


@pytest.mark.parametrize("name", [*NAMED, "pytorch-pfn-extras"])
def test_each_named_framework_is_in_the_table(name):
    assert [framework.name for framework in table.FRAMEWORKS].count(name) == 1


def test_a_root_belongs_to_one_framework():
    roots = [root for framework in table.FRAMEWORKS for root in framework.roots]
    assert len(roots) == len(set(roots)) == len(table.BY_ROOT)


def test_a_method_is_called_in_one_mode():
    for framework in table.FRAMEWORKS:
        for hooks in framework.hooks:
            names = [*hooks.before, *hooks.train, *hooks.evaluate, *hooks.after]
            assert len(names) == len(set(names)), framework.name
            assert hooks.losses <= set(names)
            assert not hooks.switches & set(names)


def test_a_class_is_described_once():
    for framework in table.FRAMEWORKS:
        for rows in (framework.hooks, framework.models):
            classes = [name for row in rows for name in row.classes]
            assert len(classes) == len(set(classes)), framework.name
        makers = [name for row in (*framework.drivers, *framework.engines) for name in row.makers]
        assert len(makers) == len(set(makers)), framework.name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("pytorch_lightning.LightningModule", "Lightning"),
        ("lightning.pytorch.core.module.LightningModule", "Lightning"),
        ("lightning", "Lightning"),
        ("mmseg.models.BaseSegmentor", "mmengine"),
        ("lightning_but_not_really.LightningModule", None),
        ("torch.nn.Module", None),
        ("", None),
    ],
)
def test_a_framework_is_known_by_the_root_of_a_path(path, name):
    framework = table.framework_of(path)
    assert (framework.name if framework else None) == name


@pytest.mark.parametrize(
    ("path", "train", "evaluate", "neither"),
    [
        ("lightning.LightningModule", "training_step", "validation_step", "forward"),
        ("pytorch_lightning.LightningModule", "on_train_epoch_end", "on_predict_batch_end", "on_fit_end"),
        ("pytorch_lightning.callbacks.Callback", None, "on_test_end", "on_train_epoch_end"),
        ("transformers.Trainer", None, "prediction_step", "compute_loss"),
        ("transformers.Trainer", None, "prediction_step", "training_step"),
        ("fastai.callback.core.Callback", "after_train", "before_validate", "after_batch"),
        ("mmengine.model.BaseModel", "train_step", "test_step", "forward"),
        ("mmengine.hooks.Hook", "after_train_epoch", "after_val_epoch", "before_val_epoch"),
        ("catalyst.dl.Runner", None, "predict_batch", "handle_batch"),
        ("pytorch_pfn_extras.handler.Logic", "train_step", "eval_step", "train_epoch_begin"),
        ("composer.models.ComposerModel", "loss", "eval_forward", "forward"),
    ],
)
def test_methods_of_a_base_class(path, train, evaluate, neither):
    hooks = table.hooks_of(path)
    assert train is None or train in hooks.train
    assert evaluate in hooks.evaluate
    assert neither not in {*hooks.train, *hooks.evaluate}


@pytest.mark.parametrize(
    "path",
    [
        "accelerate.Accelerator",
        "ignite.engine.Engine",
        "pytorch_pfn_extras.handler.BaseLogic",
        "torch.nn.Module",
    ],
)
def test_who_calls_no_methods_of_a_class(path):
    assert table.hooks_of(path) is None


@pytest.mark.parametrize(
    ("path", "method", "left"),
    [
        ("pytorch_lightning.Trainer", "fit", "same"),
        ("pytorch_lightning.Trainer", "validate", "same"),
        ("pytorch_lightning.Trainer", "test", "same"),
        ("pytorch_lightning.Trainer", "predict", "unknown"),
        ("pytorch_lightning.Trainer.from_argparse_args", "fit", "same"),
        ("transformers.Trainer", "train", "unknown"),
        ("transformers.Trainer", "evaluate", "eval"),
        ("ignite.engine.create_supervised_evaluator", "run", "eval"),
        ("ignite.engine.create_supervised_trainer", "run", "train"),
        ("fastai.vision.all.Learner", "fit_one_cycle", "unknown"),
        ("fastai.vision.all.Learner", "get_preds", "eval"),
        ("mmengine.runner.Runner", "val", "eval"),
        ("catalyst.dl.SupervisedRunner", "train", "unknown"),
        ("pytorch_pfn_extras.training.extensions.Evaluator", "evaluate", "same"),
        ("accelerate.Accelerator", "prepare", None),
        ("lightning.fabric.Fabric", "setup", None),
    ],
)
def test_the_mode_that_a_method_leaves(path, method, left):
    assert table.driver_of(path).left.get(method) == left


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("accelerate.Accelerator", "prepare"),
        ("accelerate.Accelerator", "unwrap_model"),
        ("lightning.fabric.Fabric", "setup"),
        ("lightning.fabric.Fabric", "setup_dataloaders"),
    ],
)
def test_methods_that_give_back_what_they_are_given(path, method):
    assert method in table.driver_of(path).passing


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("transformers.AutoModel.from_pretrained", "eval"),
        ("diffusers.UNet2DModel.from_pretrained", "eval"),
        ("transformers.AutoModel.from_config", None),
        ("efficientnet_pytorch.EfficientNet.from_pretrained", None),
    ],
)
def test_the_mode_of_what_a_function_gives(path, mode):
    assert table.gives(path) == mode


def test_what_models_have_from_their_base_class():
    lightning = table.model_of("lightning.LightningModule")
    assert lightning.given == {"load_from_checkpoint": "train"}
    assert lightning.left == {"freeze": "eval", "unfreeze": "train"}
    assert table.model_of("huggingface_hub.PyTorchModelHubMixin").given["from_pretrained"] == "eval"
    assert table.is_model("transformers.PreTrainedModel")
    assert not table.is_model("huggingface_hub.PyTorchModelHubMixin")
    assert not table.is_model("transformers.Trainer")


def test_which_methods_run_models():
    assert {"fit", "validate", "evaluate", "run", "launch"} <= table.DRIVING
    assert not {"prepare", "log", "forward"} & table.DRIVING


HEADER = """\
import torch
from torch import nn
def build():
    return nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.Linear(16, 3))
"""


def forwards(folder, text):
    """The evaluations in train mode and the trainings in eval mode that the engine sees, by their rows."""
    path = folder / "program.py"
    path.write_text(HEADER + textwrap.dedent(text), encoding="utf-8")
    analysis = analyse([path])
    assert not analysis.faults
    rows = path.read_text(encoding="utf-8").splitlines()
    return [(f.purpose, rows[f.where.row - 1].strip()) for f in analysis.facts.forwards]


EVALUATES = """
    with torch.no_grad():
        for x in val_loader:
            model(x)
"""


@pytest.mark.parametrize(
    ("lines", "is_train"),
    [
        ("pl.Trainer().fit(model)", True),
        ("pl.Trainer().fit([model])", True),
        ("pl.Trainer.from_argparse_args(options).validate(model, val_loader)", True),
        ("pl.Trainer().predict(model, val_loader)", False),
        ("pl.Trainer().strange_fit(model)", False),
        ("Accelerator().prepare(model)", True),
        ("Accelerator().prepare(model).eval()", False),
        ("Accelerator().unwrap_model(model).eval()", False),
        ("model, opt = Accelerator().prepare(model, opt)", True),
        ("opt, model = Accelerator().prepare(opt, model)", True),
        ("Accelerator().prepare(model, device_placement=[True]).eval()", False),
        ("Accelerator().prepare(*options, model)[0].eval()", False),
        ("Accelerator().unwrap_model(model=model).eval()", False),
        ("OwnTrainer(model).evaluate()", False),
        ("OwnTrainer(model)", True),
        ("create_supervised_evaluator(model)", True),
        ("create_supervised_evaluator(model).run(val_loader)", False),
        ("create_supervised_trainer(model, opt).run(val_loader)", True),
        ("dl.SupervisedRunner().train(model=model, loaders={})", False),
        ("dl.SupervisedRunner(model=model).evaluate_loader(val_loader)", False),
        ("ppe.engine.create_trainer({'main': model}, opt, 3).run(val_loader)", False),
        ("extensions.Evaluator(val_loader, {'main': model}).evaluate()", True),
    ],
)
def test_a_loop_of_ones_own_after_a_call(tmp_path, lines, is_train):
    text = f"""\
import pytorch_lightning as pl
import pytorch_pfn_extras as ppe
from accelerate import Accelerator
from catalyst import dl
from ignite.engine import create_supervised_evaluator, create_supervised_trainer
from pytorch_pfn_extras.training import extensions
from transformers import Trainer
class OwnTrainer(Trainer):
    pass
def main(options, opt, val_loader):
    model = build()
    {lines}
{EVALUATES}"""
    assert set(forwards(tmp_path, text)) == ({("evaluation", "model(x)")} if is_train else set())


@pytest.mark.parametrize(
    ("body", "is_train"),
    [
        ("def on_fit_end(self): self.eval()", False),
        ("def on_train_end(self): self.freeze()", False),
        ("def validation_step(self, batch, at): self.eval()", True),
        ("def on_test_end(self): self.eval()", True),
        ("def __init__(self): super().__init__(); self.eval()", False),
    ],
)
def test_a_model_may_switch_itself_while_it_is_fitted(tmp_path, body, is_train):
    text = f"""\
import lightning as L
class Base(L.LightningModule):
    {body}
class Net(Base):
    def __init__(self):
        super().__init__()
        self.net = build()
    def forward(self, x):
        return self.net(x)
def main(val_loader):
    model = Net()
    L.Trainer().fit(model)
{EVALUATES}"""
    assert bool(forwards(tmp_path, text)) is is_train


class TestHooks:
    def lit(self, folder, methods):
        text = """\
import lightning as L
class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = build()
    def forward(self, x):
        return self.net(x)
"""
        return set(forwards(folder, text + textwrap.indent(textwrap.dedent(methods), "    ")))

    def test_an_evaluating_method_is_called_in_eval_mode(self, tmp_path):
        methods = """
        @torch.no_grad()
        def validation_step(self, batch, at):
            return self(batch)
        """
        assert self.lit(tmp_path, methods) == set()

    def test_what_it_switches_to_train_mode_evaluates_in_train_mode(self, tmp_path):
        methods = """
        def test_step(self, batch, at):
            self.net.train()
            return self.net(batch)
        """
        assert self.lit(tmp_path, methods) == {("evaluation", "return self.net(batch)")}

    def test_one_method_does_not_switch_for_the_next(self, tmp_path):
        methods = """
        def validation_step(self, batch, at):
            self.train()
        def test_step(self, batch, at):
            return self(batch)
        """
        assert self.lit(tmp_path, methods) == set()

    def test_who_overrides_the_switch_is_not_judged(self, tmp_path):
        methods = """
        def on_test_model_eval(self):
            pass
        def test_step(self, batch, at):
            self.net.train()
            return self.net(batch)
        """
        assert self.lit(tmp_path, methods) == set()

    @pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end", "training_epoch_end"])
    def test_a_training_method_that_leaves_eval_mode(self, tmp_path, hook):
        methods = f"""
        def training_step(self, batch, at):
            return self(batch).mean()
        def {hook}(self, *given):
            self.eval()
            with torch.no_grad():
                self(self.probe)
        """
        assert self.lit(tmp_path, methods) == {("training", "return self(batch).mean()")}

    @pytest.mark.parametrize("hook", ["on_validation_epoch_end", "on_fit_start", "on_train_end", "whatever"])
    def test_others_that_leave_eval_mode(self, tmp_path, hook):
        methods = f"""
        def training_step(self, batch, at):
            return self(batch).mean()
        def {hook}(self, *given):
            self.eval()
            with torch.no_grad():
                self(self.probe)
        """
        assert self.lit(tmp_path, methods) == set()

    def test_a_loop_over_held_out_data_within_training(self, tmp_path):
        methods = """
        def on_train_epoch_end(self):
            with torch.no_grad():
                for x in self.val_loader:
                    self(x)
        def on_train_batch_end(self, *given):
            with torch.no_grad():
                for y in self.train_loader:
                    self(y)
        """
        assert self.lit(tmp_path, methods) == {("evaluation", "self(x)")}


ENGINE = """
from ignite.engine import Engine, Events
def main(train_loader, val_loader, opt):
    model = build()
    def train_step(engine, batch):
        model.train()
        model(batch).mean().backward()
    def eval_step(engine, batch):
        {switch}
        with torch.no_grad():
            return model(batch)
    trainer, evaluator = Engine(train_step), Engine(eval_step)
    {attach}
    trainer.run(train_loader, max_epochs=2)
"""
ATTACHED = {
    "decorator": "@trainer.on(Events.EPOCH_COMPLETED)\n    def check(engine):\n        evaluator.run(val_loader)",
    "no engine": "@trainer.on(Events.EPOCH_COMPLETED)\n    def check():\n        evaluator.run(val_loader)",
    "argument": "@trainer.on(Events.STARTED, val_loader)\n    def check(engine, data):\n        evaluator.run(data)",
    "lambda": "trainer.add_event_handler(Events.STARTED, lambda engine: evaluator.run(val_loader))",
}


@pytest.mark.parametrize("attach", ATTACHED.values(), ids=ATTACHED)
def test_an_engine_calls_its_function_and_what_is_registered(tmp_path, attach):
    train = forwards(tmp_path, ENGINE.format(switch="pass", attach=attach))
    assert set(train) == {("evaluation", "return model(batch)")}
    assert not forwards(tmp_path, ENGINE.format(switch="model.eval()", attach=attach))


@pytest.mark.parametrize(("event", "stuck"), [("ITERATION_STARTED", False), ("ITERATION_COMPLETED", True)])
def test_what_is_registered_for_a_beginning_comes_before_the_batch(tmp_path, event, stuck):
    attach = f"""trainer.add_event_handler(Events.{event}(every=1), lambda engine: model.train())
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: evaluator.run(val_loader))"""
    text = ENGINE.format(switch="model.eval()", attach=attach).replace("        model.train()\n", "", 1)
    assert bool(forwards(tmp_path, text)) is stuck


def test_an_engine_that_nobody_runs_calls_nothing(tmp_path):
    assert not forwards(tmp_path, ENGINE.format(switch="pass", attach="pass"))
