"""Which frameworks set the mode of a model themselves, where, and what mode they leave it in.

Plain data, and look-ups by dotted path. A framework is known by what is imported from it: a base class
whose methods it calls, an object whose methods run models, a function that gives a model. What is not in
the table is unknown, and so is what differs between the versions of a framework.

Read in the sources of: pytorch-lightning 2.6.6 (of 1.x its evaluation loop), transformers 5.23.0, accelerate
1.15, ignite, fastai 2 (its callbacks), mmengine 0.11, catalyst 21.5, pytorch-pfn-extras 0.9,
pytorch-accelerated, diffusers and huggingface_hub. Not checked against sources: the learner of fastai,
the evaluation of composer and determined, LightningLite, and the base classes of mmcv, mmseg, mmpretrain and
mmdet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

Left: TypeAlias = Literal["same", "train", "eval", "unknown"]
"""The mode that a call leaves a model in: `same` is train mode if it was in train mode, else unknown."""

NOTHING: Final[Mapping[str, Left]] = MappingProxyType({})


class Hooks(NamedTuple):
    """Base classes whose methods a framework calls, and the mode in which it calls them.

    `model` is where a method finds the model: `self`, an attribute of it (`self.model`), or a parameter by
    its position (`1`, `1.model`; the receiver is 0). The methods in `before` run once ahead of those in
    `train`, which come round again with each batch or epoch, in this order; those in `after` run once
    behind them. What `losses` return goes backward. `anew` says that the framework calls `train()` again
    before it trains on; else an `eval()` in a method of `train` stays in force. Around the methods in
    `evaluate` the framework sets eval mode, and no `eval()` or `train()` in them outlasts it. A class
    that overrides one of `switches` decides over the mode itself.
    """

    classes: frozenset[str]
    model: str
    before: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    losses: frozenset[str] = frozenset()
    anew: bool = True
    switches: frozenset[str] = frozenset()

    def names(self) -> Iterator[str]:
        yield from (*self.before, *self.train, *self.evaluate, *self.after)


class Driver(NamedTuple):
    """Objects whose methods run models: those that they were made with, or are given.

    `left` is the mode that each method leaves them in; `passing` methods give back what they are given;
    `quiet` ones touch no mode, whatever they are called. `launching` ones call the function that they are
    given, with the object in front. `factories` are class methods that make such an object.
    """

    makers: frozenset[str]
    left: Mapping[str, Left] = NOTHING
    passing: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    launching: frozenset[str] = frozenset()
    factories: frozenset[str] = frozenset()


class Engine(NamedTuple):
    """Objects that call a function of the user for each batch, and leave the mode to that function.

    The function is the first argument of the maker and is given the object and a batch. `attach` are
    the decorators, and `add` the methods, that register a function to be called beside it.
    """

    makers: frozenset[str]
    run: str
    attach: str
    add: str


class Model(NamedTuple):
    """Base classes of models, and what their own methods do: `quiet` ones forward nothing.

    `given` is the mode of what their class methods make; `backward` methods are given a loss. `module` says
    whether they are modules by themselves.
    """

    classes: frozenset[str]
    given: Mapping[str, Left] = NOTHING
    left: Mapping[str, Left] = NOTHING
    quiet: frozenset[str] = frozenset()
    backward: frozenset[str] = frozenset()
    module: bool = True


class Framework(NamedTuple):
    """One framework."""

    name: str
    roots: frozenset[str]
    hooks: tuple[Hooks, ...] = ()
    drivers: tuple[Driver, ...] = ()
    engines: tuple[Engine, ...] = ()
    models: tuple[Model, ...] = ()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _left(mode: Left, text: str) -> dict[str, Left]:
    return dict.fromkeys(text.split(), mode)


MM_MODELS: Final = _names(
    "BaseModel BaseSegmentor EncoderDecoder CascadeEncoderDecoder BaseClassifier ImageClassifier BaseDetector"
    " SingleStageDetector TwoStageDetector"
)
"""Base classes of models in mmengine, mmseg, mmpretrain and mmdet."""

LIGHTNING: Final = Framework(
    "Lightning",
    _names("pytorch_lightning lightning lightning_fabric lightning_lite"),
    hooks=(
        # Since 2.2 the modes of all modules are noted before a validation, a test or a prediction and put
        # back behind it, and fit() begins with what it finds. Before, train() followed each validation.
        # Neither calls train() per epoch.
        Hooks(
            _names("LightningModule"),
            "self",
            before=("on_fit_start", "on_train_start"),
            train=(
                "on_train_epoch_start",
                "on_train_batch_start",
                "training_step",
                "training_step_end",
                "on_before_backward",
                "on_after_backward",
                "on_before_optimizer_step",
                "on_train_batch_end",
                "training_epoch_end",
                "on_train_epoch_end",
            ),
            evaluate=tuple(
                hook
                for stage in ("validation", "test", "predict")
                for hook in (
                    f"on_{stage}_start",
                    f"on_{stage}_epoch_start",
                    f"on_{stage}_batch_start",
                    f"{stage}_step",
                    f"{stage}_step_end",
                    f"on_{stage}_batch_end",
                    f"{stage}_epoch_end",
                    f"on_{stage}_epoch_end",
                    f"on_{stage}_end",
                )
            ),
            after=("on_train_end", "on_fit_end"),
            losses=_names("training_step training_step_end"),
            anew=False,
            switches=_names(
                "on_validation_model_eval on_validation_model_train on_test_model_eval on_test_model_train"
                " on_predict_model_eval on_predict_model_train"
            ),
        ),
        Hooks(
            _names("Callback"),
            "2",
            evaluate=tuple(
                f"on_{stage}_{hook}"
                for stage in ("validation", "test", "predict")
                for hook in ("start", "epoch_start", "batch_start", "batch_end", "epoch_end", "end")
            ),
        ),
    ),
    drivers=(
        # The loop of predict() puts the mode back since 2.2; before, the model stayed in eval mode.
        Driver(
            _names("Trainer"),
            {**_left("same", "fit validate test"), **_left("unknown", "predict tune")},
            factories=_names("from_argparse_args"),
        ),
        Driver(
            _names("Fabric LightningLite"),
            passing=_names("setup setup_module setup_model setup_optimizers setup_dataloaders to_device"),
            quiet=_names(
                "no_backward_sync autocast all_gather all_reduce broadcast barrier print log save load"
                " log_dict seed_everything init_module sharded_model clip_gradients"
            ),
            launching=_names("launch"),
        ),
    ),
    models=(
        Model(
            _names("LightningModule"),
            given=_left("train", "load_from_checkpoint"),
            left={"freeze": "eval", "unfreeze": "train"},
            quiet=_names(
                "log log_dict print save_hyperparameters all_gather optimizers lr_schedulers toggle_optimizer"
                " untoggle_optimizer clip_gradients lr_scheduler_step optimizer_step optimizer_zero_grad"
            ),
            backward=_names("manual_backward"),
        ),
    ),
)
TRANSFORMERS: Final = Framework(
    "transformers",
    _names("transformers"),
    # training_step() itself is what calls train(), and compute_loss() serves both modes: neither is here.
    hooks=(Hooks(_names("Trainer Seq2SeqTrainer"), "1", evaluate=("prediction_step",)),),
    drivers=(
        Driver(
            _names("Trainer Seq2SeqTrainer"),
            {**_left("unknown", "train hyperparameter_search"), **_left("eval", "evaluate predict")},
        ),
    ),
    models=(Model(_names("PreTrainedModel"), given=_left("eval", "from_pretrained")),),
)
FRAMEWORKS: Final = (
    LIGHTNING,
    TRANSFORMERS,
    Framework(
        "diffusers",
        _names("diffusers"),
        models=(
            Model(_names("ModelMixin"), given=_left("eval", "from_pretrained from_single_file")),
            Model(_names("DiffusionPipeline"), given=_left("eval", "from_pretrained"), module=False),
        ),
    ),
    Framework(
        "huggingface_hub",
        _names("huggingface_hub"),
        models=(Model(_names("PyTorchModelHubMixin"), given=_left("eval", "from_pretrained"), module=False),),
    ),
    Framework(
        "accelerate",
        _names("accelerate"),
        drivers=(
            Driver(
                _names("Accelerator"),
                passing=_names(
                    "prepare prepare_model prepare_optimizer prepare_scheduler prepare_data_loader"
                    " unwrap_model"
                ),
                quiet=_names(
                    "accumulate no_sync autocast join_uneven_inputs clip_grad_norm_ clip_grad_value_"
                    " init_trackers wait_for_everyone gather gather_for_metrics reduce pad_across_processes"
                    " save save_model save_state load_state log print end_training free_memory get_state_dict"
                    " register_for_checkpointing main_process_first local_main_process_first"
                    " split_between_processes"
                ),
            ),
        ),
    ),
    Framework(
        "ignite",
        _names("ignite"),
        drivers=(
            Driver(_names("create_supervised_evaluator"), _left("eval", "run")),
            Driver(_names("create_supervised_trainer"), _left("train", "run")),
        ),
        engines=(Engine(_names("Engine"), "run", "on", "add_event_handler"),),
    ),
    Framework(
        "fastai",
        _names("fastai fastai2"),
        hooks=(
            Hooks(
                _names("Callback"),
                "self.model",
                train=("before_train", "after_train"),
                evaluate=("before_validate", "after_validate"),
            ),
        ),
        drivers=(
            Driver(
                _names("Learner vision_learner cnn_learner unet_learner create_cnn tabular_learner"),
                {
                    **_left(
                        "unknown", "fit fit_one_cycle fit_flat_cos fit_sgdr fine_tune lr_find freeze unfreeze"
                    ),
                    **_left("eval", "validate get_preds predict tta"),
                },
            ),
        ),
    ),
    Framework(
        "mmengine",
        _names("mmengine mmcv mmseg mmdet mmpretrain mmcls mmpose mmaction mmagic mmdet3d mmocr"),
        # before_train_epoch and before_val_epoch run ahead of the switch: neither is here.
        hooks=(
            Hooks(
                MM_MODELS,
                "self",
                train=("train_step", "loss"),
                evaluate=("val_step", "test_step", "predict"),
            ),
            Hooks(
                _names("Hook"),
                "1.model",
                train=("before_train_iter", "after_train_iter", "after_train_epoch"),
                evaluate=(
                    "before_val_iter",
                    "after_val_iter",
                    "after_val_epoch",
                    "before_test_iter",
                    "after_test_iter",
                    "after_test_epoch",
                ),
            ),
        ),
        drivers=(
            Driver(
                _names("Runner FlexibleRunner"),
                {**_left("unknown", "train"), **_left("eval", "val test")},
            ),
        ),
        models=(Model(MM_MODELS),),
    ),
    Framework(
        "catalyst",
        _names("catalyst"),
        # handle_batch() serves both modes, by the key of the loader.
        hooks=(
            Hooks(
                _names("Runner SupervisedRunner SelfSupervisedRunner IRunner ConfigRunner"),
                "self.model",
                evaluate=("predict_batch",),
            ),
        ),
        drivers=(
            Driver(
                _names("Runner SupervisedRunner SelfSupervisedRunner"),
                {**_left("unknown", "train run"), **_left("eval", "evaluate_loader predict_loader")},
            ),
        ),
    ),
    Framework(
        "pytorch-pfn-extras",
        _names("pytorch_pfn_extras"),
        hooks=(
            Hooks(
                _names("Logic CodeBlockLogic"),
                "1",
                train=("train_step",),
                evaluate=("eval_step",),
                switches=_names("train_epoch_begin train_validation_begin"),
            ),
        ),
        drivers=(
            Driver(_names("create_trainer"), _left("unknown", "run")),
            Driver(_names("create_evaluator"), _left("unknown", "run")),
            Driver(
                _names("ExtensionsManager IgniteExtensionsManager"),
                quiet=_names(
                    "run_iteration extend start_extensions run_extensions finalize needs_model_state"
                ),
            ),
            Driver(_names("Evaluator DistributedEvaluator"), _left("same", "evaluate")),
        ),
    ),
    Framework(
        "pytorch-accelerated",
        _names("pytorch_accelerated"),
        hooks=(
            Hooks(
                _names("Trainer"),
                "self.model",
                train=("calculate_train_batch_loss",),
                evaluate=("calculate_eval_batch_loss",),
                switches=_names("train_epoch_start eval_epoch_start"),
            ),
        ),
        drivers=(Driver(_names("Trainer"), {**_left("unknown", "train"), **_left("eval", "evaluate")}),),
    ),
    Framework(
        "composer",
        _names("composer"),
        hooks=(Hooks(_names("ComposerModel"), "self", train=("loss",), evaluate=("eval_forward",)),),
        drivers=(Driver(_names("Trainer"), _left("unknown", "fit eval predict")),),
        models=(Model(_names("ComposerModel")),),
    ),
    Framework(
        "determined",
        _names("determined"),
        hooks=(
            Hooks(_names("PyTorchTrial"), "self.model", train=("train_batch",), evaluate=("evaluate_batch",)),
        ),
    ),
)
"""All of them."""

BY_ROOT: Final = {root: framework for framework in FRAMEWORKS for root in framework.roots}


DRIVING: Final = frozenset(
    name
    for framework in FRAMEWORKS
    for names in (
        *((*driver.left, *driver.launching) for driver in framework.drivers),
        *((engine.run,) for engine in framework.engines),
    )
    for name in names
)
"""The names of methods that run models."""


def framework_of(path: str) -> Framework | None:
    """The framework that a dotted path leads into."""
    return BY_ROOT.get(path.partition(".")[0])


def hooks_of(path: str) -> Hooks | None:
    """What a framework calls of the classes that inherit from its class at this path."""
    framework = framework_of(path)
    last = path.rpartition(".")[2]
    return next((h for h in framework.hooks if last in h.classes), None) if framework else None


def driver_of(path: str) -> Driver | None:
    """What the objects do that a class, a function or a class method of a framework makes."""
    framework = framework_of(path)
    if framework is None:
        return None
    owner, _, last = path.rpartition(".")
    for driver in framework.drivers:
        if last in driver.makers or (last in driver.factories and owner.rpartition(".")[2] in driver.makers):
            return driver
    return None


def engine_of(path: str) -> Engine | None:
    """What the objects call that a class of a framework makes."""
    framework = framework_of(path)
    last = path.rpartition(".")[2]
    return next((e for e in framework.engines if last in e.makers), None) if framework else None


def model_of(path: str) -> Model | None:
    """What the methods do that a class has from a framework's model class at this path."""
    framework = framework_of(path)
    last = path.rpartition(".")[2]
    return next((m for m in framework.models if last in m.classes), None) if framework else None


def gives(path: str) -> Left | None:
    """The mode of the model that a framework's function gives: `transformers.AutoModel.from_pretrained`."""
    framework = framework_of(path)
    last = path.rpartition(".")[2]
    return next((m.given[last] for m in framework.models if last in m.given), None) if framework else None


def is_model(path: str) -> bool:
    """Whether a class of a framework is an nn.Module."""
    model = model_of(path)
    return model is not None and model.module
