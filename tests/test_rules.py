"""The judgement of each rule on facts made by hand: its claims, its bounds and its silence."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from itertools import product

import pytest

from bnlint.facts import (
    AGREEMENT,
    UNKNOWN,
    Answer,
    Arrival,
    Arrived,
    Average,
    Computed,
    Deviation,
    Export,
    Facts,
    Feed,
    Forward,
    Homemade,
    Kept,
    Lacking,
    Layer,
    Load,
    Op,
    Override,
    Recomputed,
    Recurrent,
    Save,
    Setting,
    Shared,
    Snapshot,
    Split,
    Statistics,
    StochasticPass,
    Thaw,
    Unregistered,
    Unsaved,
    Untracked,
    Use,
)
from bnlint.finding import Step, Where
from bnlint.rule import Claim, all_rules, judge

RULE = {rule.code: rule for rule in all_rules()}
KINDS = {
    "ReLU": "activation",
    "torch.tanh_": "activation",
    "Sigmoid": "activation",
    "BatchNorm2d": "batchnorm",
    "LayerNorm": "norm",
    "Conv2d": "conv",
    "Linear": "linear",
    "Dropout": "dropout",
    "MaxPool2d": "pool",
    "view": "reshape",
    "F.pad": "reshape",
    "interpolate": "resample",
    "log_softmax": "softmax",
    "Identity": "identity",
    "add": "add",
    "mul": "multiply",
    "cat": "concat",
    "x": "input",
    "magic": "unknown",
    "matmul": "other",
    "LSTM": "recurrent",
    "Embedding": "embedding",
}


def at(row: int) -> Where:
    return Where("net.py", row)


def step(row: int, message: str = "so") -> Step:
    return Step(at(row), message)


def setting(value: object, row: int = 90, **more) -> Setting:
    return Setting(value, at(row), **more)


def layer(cls: str, row: int = 1, **arguments) -> Layer:
    made = {
        name: value if isinstance(value, Setting) else setting(value) for name, value in arguments.items()
    }
    return Layer(cls, KINDS.get(cls, "other"), at(row), made)


def norm(cls: str = "BatchNorm2d", row: int = 1, **arguments) -> Layer:
    defaults = {"num_features": 16, "eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
    return layer(cls, row, **{**defaults, **arguments})


def op(name: str, row: int = 1, made: Layer | None = None) -> Op:
    return Op(KINDS[name], name, at(row), made)


def chain(*names: str | Op) -> tuple[Op, ...]:
    return tuple(name if isinstance(name, Op) else op(name, row) for row, name in enumerate(names, 30))


def use(*before, where: int = 7, made: Layer | None = None, **more) -> Use:
    return Use(made or norm(), at(where), "Net", before, **more)


def claims(code: str, **facts) -> list[Claim]:
    return list(RULE[code].claims(Facts(**facts)))


def rows(found: list[Claim]) -> list[int]:
    return [claim.where.row for claim in found]


def evidence(claim: Claim) -> list[int]:
    return [one.where.row for one in claim.evidence]


FORWARD = Forward(
    "net", at(5), "evaluation", frozenset({"train"}), "yes", path=(step(1), step(2)), why=(step(3),)
)
TRAINING = Forward(
    "net", at(5), "training", frozenset({"train", "eval"}), "yes", path=(step(1),), stuck=step(9), loop=at(4)
)
EXPORT = Export(
    "net", at(5), "torch.jit.trace", "recorded", frozenset({"train"}), "yes", path=(step(1), step(2))
)
OVERRIDE = Override("Net", "train", at(5), returns="self", reaches="yes", honours="yes", batchnorm="yes")
COMPUTED = Computed(
    "Norm",
    "functional",
    at(5),
    setting(value=True),
    statistics="yes",
    updated="no",
    trained="yes",
    meant="no",
    evidence=(step(2),),
)
ANSWER = Answer(
    "Net", at(7), chain(Op("batchnorm", "bn", at(6), norm(row=3))), (step(8),), evidence=(step(2),)
)
FEED = Feed(at(5), setting(4, evidence=(step(2),)), "net", "yes", path=(step(1),))
SHORT = replace(
    FEED,
    batch_size=setting(16, evidence=(step(2),)),
    single=step(4),
    length=161,
    drop_last=setting(value=False, evidence=(step(3),)),
    shuffled="yes",
    guarded="no",
)
ACCUMULATED = replace(FEED, steps=Setting(8, at(6), evidence=(step(3),)))
SPLIT = Split(
    *(at(5), "DistributedDataParallel", "net", "yes"), whole=16, share=8, synced="no", path=(step(1), step(2))
)
RECOMPUTED = Recomputed(at(5), "checkpoint", "yes", certain=True, path=(step(1),))
SAVE = Save(at(5), "net", "parameters", "saved", "yes", path=(step(1),))
UNSAVED = Unsaved(at(5), "Norm", ("running_mean", "running_var"), "attributes", "yes")
LOAD = Load(at(5), "net", setting(value=False, evidence=(step(2),)), "no", "yes", path=(step(1),))


SHARED = Shared(
    norm(row=3), at(7), "applied", (op("Conv2d", 5), op("Linear", 6)), evidence=(step(3), step(5))
)
REPEATED = Shared(norm(row=3), at(7), "repeated", container="Sequential", evidence=(step(3),))
RECURRENT = Recurrent(norm(row=3), at(7), "loop", step(4))


class TestMissingEval:
    def test_points_at_the_forward_and_shows_the_path(self):
        (claim,) = claims("BN101", forwards=(FORWARD,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [1, 2, 3]
        assert claim.message == (
            "`net` is evaluated in train mode: BatchNorm uses this batch's statistics and updates the running ones; "
            "call `net.eval()` first."
        )

    @pytest.mark.parametrize("purpose", ["training", "unknown"])
    def test_is_about_evaluation_alone(self, purpose):
        assert not claims("BN101", forwards=(replace(FORWARD, purpose=purpose),))

    @pytest.mark.parametrize("modes", [{"eval"}, {"unknown"}, {"train", "eval"}, {"train", "unknown"}, set()])
    def test_needs_a_mode_that_is_certain(self, modes):
        assert not claims("BN101", forwards=(replace(FORWARD, modes=frozenset(modes)),))

    def test_names_the_assumption_that_there_is_batchnorm(self):
        (claim,) = claims("BN101", forwards=(replace(FORWARD, batchnorm="unknown"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")

    @pytest.mark.parametrize("batchnorm", ["yes", "unknown"])
    def test_names_the_assumption_of_the_engine(self, batchnorm):
        (claim,) = claims(
            "BN101", forwards=(replace(FORWARD, batchnorm=batchnorm, assumed="`net` is what `load` returns"),)
        )
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` is what `load` returns).")

    def test_warns_of_dropout_without_batchnorm(self):
        (claim,) = claims("BN101", forwards=(replace(FORWARD, batchnorm="no", dropout="yes"),))
        assert (claim.where, claim.severity, claim.confidence) == (at(5), "warning", "high")
        assert "Dropout" in claim.message
        assert "BatchNorm" not in claim.message
        assert evidence(claim) == [1, 2, 3]

    @pytest.mark.parametrize("dropout", ["no", "unknown"])
    def test_is_silent_without_batchnorm_and_dropout(self, dropout):
        assert not claims("BN101", forwards=(replace(FORWARD, batchnorm="no", dropout=dropout),))


class TestExportInTrainMode:
    def test_points_at_the_export_and_shows_the_path(self):
        (claim,) = claims("BN104", exports=(EXPORT,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [1, 2]
        assert claim.message == (
            "`torch.jit.trace` gets `net` in train mode: the program uses each batch's own statistics for good, "
            "whatever `eval()` comes later; call `net.eval()` first."
        )

    def test_says_that_it_raises(self):
        (claim,) = claims("BN104", exports=(replace(EXPORT, call="fuse_modules", effect="refused"),))
        assert (claim.severity, claim.confidence) == (None, "high")
        assert claim.message == (
            "`fuse_modules` gets `net` in train mode: it folds BatchNorm's running statistics into constants, "
            "and raises while they move; call `net.eval()` first."
        )

    @pytest.mark.parametrize("modes", [{"eval"}, {"unknown"}, {"train", "eval"}, {"train", "unknown"}, set()])
    @pytest.mark.parametrize("effect", ["recorded", "refused", "kept"])
    def test_needs_a_mode_that_is_certain(self, modes, effect):
        assert not claims("BN104", exports=(replace(EXPORT, modes=frozenset(modes), effect=effect),))

    @pytest.mark.parametrize("effect", ["recorded", "refused"])
    def test_names_the_assumption(self, effect):
        (claim,) = claims("BN104", exports=(replace(EXPORT, batchnorm="unknown", effect=effect),))
        assert (claim.severity, claim.confidence) == (None, "medium")
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")

    def test_warns_of_dropout_without_batchnorm(self):
        (claim,) = claims("BN104", exports=(replace(EXPORT, batchnorm="no", dropout="yes"),))
        assert (claim.where, claim.severity, claim.confidence) == (at(5), "warning", "high")
        assert "drops values" in claim.message
        assert "BatchNorm" not in claim.message
        assert evidence(claim) == [1, 2]

    @pytest.mark.parametrize("effect", ["refused", "kept", "unknown"])
    def test_dropout_alone_is_no_matter_where_the_mode_can_still_be_set(self, effect):
        assert not claims("BN104", exports=(replace(EXPORT, batchnorm="no", dropout="yes", effect=effect),))

    @pytest.mark.parametrize("dropout", ["no", "unknown"])
    def test_is_silent_without_batchnorm_and_dropout(self, dropout):
        assert not claims("BN104", exports=(replace(EXPORT, batchnorm="no", dropout=dropout),))

    def test_a_flag_in_a_file_takes_one_assumption(self):
        (claim,) = claims("BN104", exports=(replace(EXPORT, effect="kept"),))
        assert (claim.where, claim.severity, claim.confidence) == (at(5), "warning", "medium")
        assert evidence(claim) == [1, 2]
        assert claim.message == (
            "`net` is scripted and saved in train mode, and the file keeps the flag: BatchNorm normalises with "
            "each batch's own statistics; call `net.eval()` first (assuming that whoever loads it does not call "
            "`eval()`)."
        )

    @pytest.mark.parametrize("doubt", [{"batchnorm": "unknown"}, {"assumed": "this holds"}])
    def test_a_second_assumption_is_one_too_many(self, doubt):
        assert not claims("BN104", exports=(replace(EXPORT, effect="kept", **doubt),))

    def test_is_silent_where_the_effect_is_unknown(self):
        assert not claims("BN104", exports=(replace(EXPORT, effect="unknown"),))


class TestStuckInEval:
    def test_points_at_the_eval_and_shows_the_forward_and_the_loop(self):
        (claim,) = claims("BN102", forwards=(TRAINING,))
        assert (claim.where, claim.confidence, claim.severity) == (at(9), "high", None)
        assert evidence(claim) == [1, 5, 4]
        assert claim.message == (
            "`net` stays in eval mode after this: its training goes on with BatchNorm's running statistics standing still; "
            "call `net.train()` before it trains again."
        )

    def test_shows_no_loop_where_none_is_known(self):
        (claim,) = claims("BN102", forwards=(replace(TRAINING, loop=None, modes=frozenset({"eval"})),))
        assert evidence(claim) == [1, 5]

    @pytest.mark.parametrize("purpose", ["evaluation", "unknown"])
    def test_is_about_training_alone(self, purpose):
        assert not claims("BN102", forwards=(replace(TRAINING, purpose=purpose),))

    def test_needs_an_eval_that_is_still_in_force(self):
        assert not claims("BN102", forwards=(replace(TRAINING, stuck=None),))
        assert not claims("BN102", forwards=(replace(TRAINING, modes=frozenset({"train", "unknown"})),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN102", forwards=(replace(TRAINING, batchnorm="unknown"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")

    def test_warns_of_dropout_without_batchnorm(self):
        (claim,) = claims("BN102", forwards=(replace(TRAINING, batchnorm="no", dropout="yes"),))
        assert (claim.where, claim.severity) == (at(9), "warning")
        assert "Dropout" in claim.message
        assert evidence(claim) == [1, 5, 4]

    @pytest.mark.parametrize("dropout", ["no", "unknown"])
    def test_is_silent_without_batchnorm_and_dropout(self, dropout):
        assert not claims("BN102", forwards=(replace(TRAINING, batchnorm="no", dropout=dropout),))

    def test_is_one_finding_however_many_forwards_train(self):
        facts = Facts(forwards=(TRAINING, replace(TRAINING, where=at(6))))
        assert len(list(judge(facts, [RULE["BN102"]]))) == 1


class TestBrokenTrainOverride:
    @pytest.mark.parametrize(
        ("defects", "says"),
        [
            ({"reaches": "no"}, "`Net.train` never reaches `super().train()`"),
            ({"honours": "no"}, "`Net.train` ignores its mode"),
            ({"returns": "nothing"}, "`Net.train` returns nothing"),
            ({"returns": "nothing", "method": "eval"}, "`net = net.eval()` binds None"),
            ({"reaches": "no", "honours": "no", "returns": "nothing"}, "never reaches"),
            ({"honours": "no", "returns": "nothing"}, "ignores"),
            ({"honours": "no", "returns": "nothing", "method": "eval"}, "returns nothing"),
            ({"returns": "nothing", "batchnorm": "unknown"}, "returns nothing"),
        ],
    )
    def test_names_the_gravest_defect(self, defects, says):
        (claim,) = claims("BN107", overrides=(replace(OVERRIDE, **defects),))
        mild = "returns nothing" in claim.message
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", "warning" if mild else None)
        assert says in claim.message

    @pytest.mark.parametrize(
        "harmless",
        [
            {},
            {"returns": "unknown"},
            {"reaches": "unknown"},
            {"honours": "unknown"},
            {"honours": "no", "method": "eval"},
            {"honours": "no", "returns": "nothing", "always_eval": True},
            {"reaches": "no", "honours": "no", "returns": "nothing", "batchnorm": "no"},
        ],
    )
    def test_is_silent(self, harmless):
        assert not claims("BN107", overrides=(replace(OVERRIDE, **harmless),))


THAW = Thaw(at(5), "net", "parameters", step(2), "yes", (step(1), step(5)))


class TestThawedFrozenBatchNorm:
    @pytest.mark.parametrize(
        ("frozen", "says"),
        [
            ("eval", "`net.train()` undoes the `eval()` of BatchNorm that was to stay frozen"),
            ("parameters", "BatchNorm in `net` has no trainable parameters but trains in train mode"),
            ("hidden", "BatchNorm in `net` is never frozen: an attribute hides the method that does it"),
        ],
    )
    def test_says_why_it_is_not_frozen(self, frozen, says):
        (claim,) = claims("BN103", thaws=(replace(THAW, frozen=frozen),))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [2, 1, 5]
        assert claim.message.startswith(says)
        assert "so its running statistics drift" in claim.message

    @pytest.mark.parametrize("answer", ["no", "unknown"])
    def test_is_silent_where_nothing_could_drift(self, answer):
        assert not claims("BN103", thaws=(replace(THAW, batchnorm=answer),))


PASS = StochasticPass(at(5), "net", "yes", "yes", step(7), (step(1), step(2)))


class TestBatchNormInMonteCarloDropout:
    def test_says_what_alone_is_to_be_switched(self):
        (claim,) = claims("BN108", passes=(PASS,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [1, 2, 7]
        assert claim.message == (
            "Monte-Carlo dropout runs all of `net` in train mode: BatchNorm uses this batch's statistics "
            "and updates the running ones; call `net.eval()`, then `train()` on the Dropout modules only."
        )

    @pytest.mark.parametrize("layer", ["batchnorm", "dropout"])
    @pytest.mark.parametrize("answer", ["no", "unknown"])
    def test_is_silent_without_both_layers(self, layer, answer):
        assert not claims("BN108", passes=(replace(PASS, **{layer: answer}),))


AVERAGE = Average(at(5), "teacher", "parameters", frozenset({"eval"}), "no", "yes", "yes", (step(2), step(7)))


class TestParametersOnlyAverage:
    @pytest.mark.parametrize(
        ("how", "advice"),
        [
            ("parameters", "make it copy `buffers()` as well."),
            ("AveragedModel", "pass `use_buffers=True`, or call `update_bn` before it is evaluated."),
        ],
    )
    def test_points_at_the_average(self, how, advice):
        (claim,) = claims("BN105", averages=(replace(AVERAGE, how=how),))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [2, 7]
        assert claim.message.startswith(
            "Only the parameters are averaged into `teacher`, which is called in eval mode: "
        )
        assert "`running_mean` and `running_var` are buffers and do not follow" in claim.message
        assert claim.message.endswith(advice)

    @pytest.mark.parametrize("modes", [set(), {"train"}, {"unknown"}, {"eval", "train"}, {"eval", "unknown"}])
    def test_is_silent_unless_it_is_certainly_called_in_eval_mode_only(self, modes):
        assert not claims("BN105", averages=(replace(AVERAGE, modes=frozenset(modes)),))

    @pytest.mark.parametrize("answer", ["yes", "unknown"])
    def test_is_silent_where_the_buffers_may_follow(self, answer):
        assert not claims("BN105", averages=(replace(AVERAGE, buffers=answer),))

    @pytest.mark.parametrize("answer", ["no", "unknown"])
    def test_is_silent_where_nothing_may_be_left_behind(self, answer):
        assert not claims("BN105", averages=(replace(AVERAGE, batchnorm=answer),))
        assert not claims("BN105", averages=(replace(AVERAGE, moving=answer),))


class TestFixedTrainingFlag:
    LEFT_OUT = replace(COMPUTED, training=setting(value=False, given=False))
    HANDWRITTEN = replace(COMPUTED, how="handwritten", statistics="no")

    @pytest.mark.parametrize(
        ("norm", "says"),
        [
            (COMPUTED, "`Norm` normalises by the batch in eval mode too: `training` is always True here"),
            (
                LEFT_OUT,
                "`Norm` never normalises by its batch: `training` is left out here, which means False",
            ),
            (
                replace(COMPUTED, training=setting(value=False)),
                "`Norm` never normalises by its batch: `training` is always False here",
            ),
            (HANDWRITTEN, "`Norm` normalises by the mean and variance of its batch in both modes"),
        ],
    )
    def test_says_what_both_modes_do(self, norm, says):
        (claim,) = claims("BN106", computed=(norm,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [2]
        assert claim.message.startswith(says)

    def test_names_what_it_assumes(self):
        (claim,) = claims("BN106", computed=(replace(COMPUTED, assumed="nobody passes another `training`"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that nobody passes another `training`).")

    @pytest.mark.parametrize("norm", [COMPUTED, LEFT_OUT, HANDWRITTEN])
    @pytest.mark.parametrize("meant", ["yes", "unknown"])
    def test_is_silent_where_it_may_be_meant(self, norm, meant):
        assert not claims("BN106", computed=(replace(norm, meant=meant),))

    @pytest.mark.parametrize("norm", [COMPUTED, LEFT_OUT, HANDWRITTEN])
    def test_is_silent_where_the_flag_is_not_known(self, norm):
        assert not claims("BN106", computed=(replace(norm, training=setting(UNKNOWN)),))

    @pytest.mark.parametrize(
        ("norm", "silent"),
        [
            (COMPUTED, {"statistics": ("no", "unknown")}),
            (LEFT_OUT, {"statistics": ("no", "unknown")}),
            (LEFT_OUT, {"updated": ("yes", "unknown"), "trained": ("no", "unknown")}),
            (HANDWRITTEN, {"statistics": ("yes", "unknown"), "trained": ("no", "unknown")}),
            (HANDWRITTEN, {"training": (setting(value=False),)}),
        ],
    )
    def test_needs_its_evidence(self, norm, silent):
        for name, values in silent.items():
            for value in values:
                assert not claims("BN106", computed=(replace(norm, **{name: value}),))

    @pytest.mark.parametrize("change", [{"updated": "yes"}, {"updated": "unknown"}, {"trained": "no"}])
    def test_true_is_wrong_whoever_learns(self, change):
        assert claims("BN106", computed=(replace(COMPUTED, **change),))


class TestBatchNormOnOutput:
    def test_points_at_the_order_and_shows_what_makes_it_the_answer(self):
        (claim,) = claims("BN201", answers=(ANSWER,))
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert evidence(claim) == [3, 2, 8]
        assert claim.message.startswith("The answer of `Net` comes out of BatchNorm2d: ")

    def test_does_not_repeat_the_place_of_the_finding(self):
        (claim,) = claims("BN201", answers=(replace(ANSWER, where=at(3)),))
        assert evidence(claim) == [2, 8]

    @pytest.mark.parametrize(
        "name", ["view", "Dropout", "Identity", "interpolate", "log_softmax", "Sigmoid", "ReLU"]
    )
    def test_looks_through(self, name):
        assert claims("BN201", answers=(replace(ANSWER, chain=(op(name), *ANSWER.chain)),))

    @pytest.mark.parametrize(
        "name", ["MaxPool2d", "Linear", "Conv2d", "add", "mul", "cat", "magic", "matmul", "LayerNorm", "x"]
    )
    def test_does_not_look_through(self, name):
        assert not claims("BN201", answers=(replace(ANSWER, chain=(op(name), *ANSWER.chain)),))

    def test_names_what_stands_behind_batchnorm_in_its_order(self):
        between = chain("log_softmax", "view", "ReLU")
        (claim,) = claims("BN201", answers=(replace(ANSWER, chain=(*between, *ANSWER.chain, op("Sigmoid"))),))
        assert "comes out of BatchNorm2d and ReLU and log_softmax: " in claim.message

    @pytest.mark.parametrize("affine", [False, UNKNOWN, None])
    def test_needs_scale_and_shift(self, affine):
        whitening = Op("batchnorm", "bn", at(6), norm(affine=affine))
        assert not claims("BN201", answers=(replace(ANSWER, chain=(whitening,)),))

    def test_needs_a_layer_that_is_known(self):
        assert not claims("BN201", answers=(replace(ANSWER, chain=(op("BatchNorm2d"),)),))
        assert not claims("BN201", answers=(replace(ANSWER, chain=()),))

    def test_is_not_about_other_normalisations(self):
        instance = Op("norm", "norm", at(6), layer("InstanceNorm2d", affine=True))
        assert not claims("BN201", answers=(replace(ANSWER, chain=(instance,)),))

    def test_needs_certainty_and_a_proof_that_it_is_the_answer(self):
        assert not claims("BN201", answers=(replace(ANSWER, certain=False),))
        assert not claims("BN201", answers=(replace(ANSWER, answers=()),))


class TestActivationBeforeBatchNorm:
    @pytest.mark.parametrize(
        "before",
        [
            ("ReLU", "Conv2d"),
            ("ReLU",),
            ("ReLU", "x"),
            ("ReLU", "magic"),
            ("ReLU", "matmul", "BatchNorm2d"),
            ("ReLU", "LSTM"),
            ("ReLU", "Embedding"),
            ("Dropout", "MaxPool2d", "view", "Identity", "ReLU", "Dropout", "Conv2d"),
        ],
    )
    def test_points_at_the_batchnorm(self, before):
        (claim,) = claims("BN202", uses=(use(chain(*before)),))
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert claim.message.startswith("ReLU feeds this BatchNorm2d: ")
        assert "ractice is split" in claim.message
        assert evidence(claim) == [30 + before.index("ReLU")]

    @pytest.mark.parametrize(
        "before",
        [
            (),
            ("Conv2d", "ReLU"),
            ("x",),
            ("magic", "ReLU"),
            ("matmul", "ReLU"),
            ("add", "ReLU"),
            ("cat",),
            ("mul",),
            ("interpolate", "ReLU"),
            ("log_softmax",),
            ("BatchNorm2d", "ReLU"),
            ("ReLU", "BatchNorm2d"),
            ("MaxPool2d", "ReLU", "BatchNorm2d", "Conv2d"),
            ("ReLU", "Dropout", "BatchNorm2d"),
            ("ReLU", "LayerNorm"),
            ("ReLU", "add"),
            ("ReLU", "cat"),
            ("ReLU", "mul"),
        ],
    )
    def test_is_silent(self, before):
        assert not claims("BN202", uses=(use(chain(*before)),))

    def test_one_way_is_enough(self):
        assert claims("BN202", uses=(use(chain("Conv2d"), chain("ReLU", "Conv2d")),))
        assert not claims("BN202", uses=(use(),))

    @pytest.mark.parametrize(
        "name",
        ["torch.tanh_", "Sigmoid", "nn.Hardsigmoid", "Hardtanh", "F.logsigmoid", "Softsign", "sigmoid"],
    )
    def test_says_that_saturation_comes_first(self, name):
        (claim,) = claims("BN202", uses=(use((Op("activation", name, at(30)), op("Linear"))),))
        assert "saturation" in claim.message
        (claim,) = claims("BN202", uses=(use(chain("ReLU", "Linear")),))
        assert "saturation" not in claim.message

    def test_says_that_the_order_is_mixed_and_where(self):
        mixed = chain("ReLU", "Conv2d", "Sigmoid", "Dropout", "BatchNorm2d", "Conv2d", "ReLU", "BatchNorm2d")
        (claim,) = claims("BN202", uses=(use(mixed),))
        assert "keep to one" in claim.message
        assert "ractice is split" in claim.message
        assert evidence(claim) == [30, 32]
        (claim,) = claims("BN202", uses=(use(chain("ReLU", "Conv2d", "ReLU", "Conv2d", "BatchNorm2d")),))
        assert "keep to one" not in claim.message


class TestFeatureMismatch:
    FITS = Arrived(4, 16, "yes", step(4), step(5))
    MORE = Arrived(4, 32, "no", step(4), step(5))
    FLAT = Arrived(2, 16, "yes", step(4), step(5))

    def found(self, *ways, made: Layer | None = None, takes=(4,), features: object = 16, path=()):
        return claims("BN204", arrivals=(Arrival(made or norm(), at(7), features, takes, ways, path),))

    def test_points_at_the_layer_and_shows_what_makes_the_channels(self):
        (claim,) = self.found(self.MORE, path=(step(2),))
        assert (claim.where, claim.confidence, claim.severity) == (at(1), "high", None)
        assert claim.message.startswith(
            "This BatchNorm2d has `num_features` 16 but gets 32 channels, so the first forward raises: pass "
        )
        assert evidence(claim) == [2, 4]

    def test_spells_sizes_as_the_source_does(self):
        (claim,) = self.found(Arrived(UNKNOWN, "4 * planes", "no"), features="planes")
        assert "has `num_features` `planes` but gets `4 * planes` channels," in claim.message
        assert evidence(claim) == []

    def test_one_channel_is_one(self):
        (claim,) = self.found(replace(self.MORE, channels=1))
        assert "but gets 1 channel," in claim.message

    @pytest.mark.parametrize(
        ("dimensions", "takes", "expected"),
        [
            (2, (4,), "which takes 4, so the first forward raises: use BatchNorm1d here,"),
            (3, (5,), "which takes 5, so the first forward raises: use BatchNorm1d here,"),
            (4, (2, 3), "which takes 2 or 3, so the first forward raises: use BatchNorm2d here,"),
            (5, (4,), "which takes 4, so the first forward raises: use BatchNorm3d here,"),
            (1, (2, 3), "which takes 2 or 3, so the first forward raises: check how it is reshaped."),
            (6, (4,), "which takes 4, so the first forward raises: check how it is reshaped."),
        ],
    )
    def test_another_number_of_dimensions(self, dimensions, takes, expected):
        (claim,) = self.found(replace(self.FLAT, dimensions=dimensions), takes=takes)
        count = "1 dimension" if dimensions == 1 else f"{dimensions} dimensions"
        assert claim.message.startswith(f"A tensor of {count} arrives at this BatchNorm2d, {expected}")
        assert evidence(claim) == [5]

    def test_dimensions_come_before_channels(self):
        (claim,) = self.found(replace(self.MORE, dimensions=2))
        assert claim.message.startswith("A tensor of 2 dimensions")

    @pytest.mark.parametrize("wrong", [MORE, FLAT])
    def test_every_way_has_to_be_wrong(self, wrong):
        assert self.found(wrong, self.MORE)
        assert not self.found(wrong, self.FITS)
        assert not self.found(self.FITS, wrong)
        assert not self.found(wrong, replace(self.MORE, fits="unknown"))
        assert not self.found()

    def test_shows_the_first_way(self):
        (claim,) = self.found(self.FLAT, self.MORE)
        assert claim.message.startswith("A tensor of 2 dimensions")
        (claim,) = self.found(self.MORE, self.FLAT)
        assert "but gets 32 channels," in claim.message

    def test_a_layer_that_does_not_look_takes_any_number_of_dimensions(self):
        assert not self.found(self.FLAT, takes=())
        assert self.found(replace(self.FLAT, fits="no"), takes=())

    @pytest.mark.parametrize("dimensions", [UNKNOWN, 4])
    def test_dimensions_that_fit_or_are_not_known(self, dimensions):
        assert not self.found(replace(self.FITS, dimensions=dimensions))

    @pytest.mark.parametrize(
        ("affine", "tracked", "expected"),
        [
            (True, False, [1]),
            (False, True, [1]),
            (False, False, []),
            (UNKNOWN, UNKNOWN, []),
            (UNKNOWN, True, [1]),
        ],
    )
    def test_without_anything_for_each_channel_there_may_be_any_number(self, affine, tracked, expected):
        made = norm(affine=affine, track_running_stats=tracked)
        assert rows(self.found(self.MORE, made=made)) == expected
        assert self.found(self.FLAT, made=made)


class TestBiasBeforeBatchNorm:
    CONV = layer("Conv2d", 3, bias=True, out_channels=16)
    LINEAR = layer("Linear", 3, bias=True, out_features=16)

    def found(self, *before, made=CONV, **more):
        last = Op(made.kind, made.cls, at(4), made)
        return claims("BN203", uses=(use((*chain(*before), last), **more),))

    def test_points_at_the_layer_whose_bias_is_useless(self):
        (claim,) = self.found()
        assert (claim.where, claim.confidence, claim.severity) == (at(3), "high", None)
        assert (
            claim.message
            == "The bias of this Conv2d is cancelled by the BatchNorm2d behind it: pass `bias=False`."
        )
        assert evidence(claim) == [7]

    @pytest.mark.parametrize("made", [CONV, LINEAR])
    @pytest.mark.parametrize("before", [(), ("Identity",), ("view",), ("view", "Identity", "view")])
    def test_looks_through_what_moves_values(self, before, made):
        assert rows(self.found(*before, made=made)) == [3]

    @pytest.mark.parametrize(
        "name", ["ReLU", "MaxPool2d", "Dropout", "F.pad", "interpolate", "add", "magic", "LayerNorm"]
    )
    def test_does_not_look_through(self, name):
        assert not self.found(name)
        assert not self.found("view", name)

    @pytest.mark.parametrize("bias", [False, UNKNOWN, 1, None, "True"])
    def test_needs_a_bias_that_is_true(self, bias):
        assert not self.found(made=layer("Conv2d", 3, bias=bias))
        assert not self.found(made=layer("Conv2d", 3))

    @pytest.mark.parametrize(("made", "arrives"), [(32, 16), (8192, 512)])
    def test_is_silent_where_the_channels_differ(self, made, arrives):
        linear = layer("Linear", 3, bias=True, out_features=made)
        target = norm(num_features=arrives)
        last = Op("linear", "fc", at(4), linear)
        for before in ((), ("view",)):
            assert not claims("BN203", uses=(use((*chain(*before), last), made=target),))

    @pytest.mark.parametrize(("made", "arrives"), [(UNKNOWN, 16), (16, UNKNOWN), (UNKNOWN, UNKNOWN)])
    def test_channels_that_are_unknown_matter_behind_a_reshape_alone(self, made, arrives):
        last = Op("conv", "conv", at(4), layer("Conv2d", 3, bias=True, out_channels=made))
        target = norm(num_features=arrives)
        assert claims("BN203", uses=(use((last,), made=target),))
        assert claims("BN203", uses=(use((op("Identity"), last), made=target),))
        assert not claims("BN203", uses=(use((op("view"), last), made=target),))

    def test_needs_a_batchnorm_that_moves_and_shifts(self):
        last = Op("conv", "conv", at(4), self.CONV)
        for made in (norm(affine=False), norm(affine=UNKNOWN)):
            assert not claims("BN203", uses=(use((last,), made=made),))
        for more in ({"frozen": "yes"}, {"frozen": "unknown"}, {"certain": False}):
            assert not claims("BN203", uses=(use((last,), **more),))

    def test_is_not_about_other_layers_with_a_bias(self):
        recurrent = Op("recurrent", "lstm", at(4), layer("LSTM", 3, bias=True))
        assert not claims("BN203", uses=(use((recurrent,)),))

    def test_each_exclusive_way_counts(self):
        other = Op("conv", "conv", at(14), layer("ConvTranspose2d", 13, bias=True))
        other = replace(other, layer=replace(other.layer, kind="conv"))
        assert rows(claims("BN203", uses=(use((Op("conv", "conv", at(4), self.CONV),), (other,)),))) == [
            3,
            13,
        ]


class TestDropoutBeforeBatchNorm:
    def found(self, p, *before):
        made = layer("Dropout", 3, p=p)
        return claims(
            "BN206", uses=(use((*chain(*before), Op("dropout", "Dropout", at(4), made), op("Linear"))),)
        )

    def test_points_at_the_batchnorm(self):
        (claim,) = self.found(0.5)
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert claim.message.startswith("Dropout(p=0.5) feeds this BatchNorm2d: ")
        assert evidence(claim) == [4]

    @pytest.mark.parametrize("p", [1e-6, 0.5, 1, 1.0])
    def test_a_probability_above_zero(self, p):
        assert rows(self.found(p)) == [7]

    @pytest.mark.parametrize("p", [0, 0.0, False, UNKNOWN, None, "0.5", -0.5])
    def test_is_silent_about_other_values(self, p):
        assert not self.found(p)

    @pytest.mark.parametrize("name", ["view", "MaxPool2d", "Identity"])
    def test_looks_through(self, name):
        assert self.found(0.5, name)

    @pytest.mark.parametrize("name", ["Linear", "Conv2d", "ReLU", "add", "magic", "LayerNorm", "interpolate"])
    def test_does_not_look_through(self, name):
        assert not self.found(0.5, name)

    def test_needs_a_layer_that_is_known(self):
        assert not claims("BN206", uses=(use(chain("Dropout")), use()))

    def test_is_not_about_other_layers_with_a_p(self):
        distance = Op("other", "distance", at(4), layer("PairwiseDistance", 3, p=2.0))
        assert not claims("BN206", uses=(use((distance,)),))


class TestBatchNormInRecurrence:
    @pytest.mark.parametrize(
        ("how", "says"),
        [("loop", "in each turn of a loop over time: "), ("cell", "in each step of a recurrent cell: ")],
    )
    def test_points_at_the_batchnorm_and_says_what_recurs(self, how, says):
        (claim,) = claims("BN205", recurrent=(replace(RECURRENT, how=how),))
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert claim.message == (
            f"This BatchNorm2d normalises the hidden state {says}its statistics mix all steps, and in eval mode "
            "they fit no single step; use LayerNorm on the recurrent path."
        )
        assert claim.evidence == (step(3, "the BatchNorm2d is built here, one for all steps"), step(4))

    @pytest.mark.parametrize("frozen", ["yes", "unknown"])
    def test_is_silent_about_what_is_frozen(self, frozen):
        assert not claims("BN205", recurrent=(replace(RECURRENT, frozen=frozen),))

    def test_each_fact_counts(self):
        frozen, other = replace(RECURRENT, frozen="yes"), replace(RECURRENT, where=at(17))
        assert rows(claims("BN205", recurrent=(frozen, RECURRENT, other))) == [7, 17]


class TestSharedBatchNorm:
    APART = Shared(norm(row=3), at(7), "inputs", distance=2.0)

    def test_measures_how_far_the_inputs_are_apart(self):
        (claim,) = claims("BN207", shared=(replace(self.APART, distance=10.24),))
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert "to inputs whose means are 10 deviations apart" in claim.message
        assert claim.measured == {"distance of the means": 10.24, "threshold": 2.0}

    @pytest.mark.parametrize(("distance", "expected"), [(1.99, 0), (2.0, 1), (0.0, 0)])
    def test_inputs_of_one_kind_are_near_each_other(self, distance, expected):
        assert len(claims("BN207", shared=(replace(self.APART, distance=distance),))) == expected

    def test_points_at_the_second_place_and_names_both_layers(self):
        (claim,) = claims("BN207", shared=(SHARED,))
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert claim.message == (
            "One BatchNorm2d is applied after `Conv2d` and `Linear`: its running statistics mix these places and "
            "fit none in eval mode; make a BatchNorm of its own for each."
        )
        assert evidence(claim) == [3, 5]

    def test_says_that_the_layers_differ_where_their_names_do_not(self):
        (claim,) = claims("BN207", shared=(replace(SHARED, feeders=(op("Conv2d", 5), op("Conv2d", 6))),))
        assert "is applied after several different `Conv2d`: " in claim.message

    def test_names_the_container_that_repeats_it(self):
        (claim,) = claims("BN207", shared=(REPEATED,))
        assert claim.message == (
            "The same BatchNorm2d stands more than once in this Sequential: its running statistics mix these "
            "places and fit none in eval mode; make a new object for each."
        )
        assert (claim.where, claim.confidence, evidence(claim)) == (at(7), "high", [3])

    def test_names_what_was_assumed(self):
        (claim,) = claims("BN207", shared=(replace(REPEATED, assumed="`n` is 2 or more"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("for each (assuming that `n` is 2 or more).")

    @pytest.mark.parametrize("fact", [SHARED, REPEATED])
    @pytest.mark.parametrize("tracked", [False, UNKNOWN, None, 1])
    def test_needs_running_statistics(self, fact, tracked):
        assert not claims("BN207", shared=(replace(fact, norm=norm(track_running_stats=tracked)),))
        assert not claims("BN207", shared=(replace(fact, norm=layer("BatchNorm2d")),))

    @pytest.mark.parametrize("frozen", ["yes", "unknown"])
    def test_is_silent_about_what_is_frozen(self, frozen):
        assert not claims("BN207", shared=(replace(SHARED, frozen=frozen),))

    def test_each_fact_counts(self):
        frozen = replace(SHARED, frozen="yes")
        assert rows(claims("BN207", shared=(frozen, SHARED, replace(REPEATED, where=at(17))))) == [7, 17]

    def test_scale_and_shift_do_not_matter(self):
        assert claims("BN207", shared=(replace(SHARED, norm=norm(affine=False)),))


class TestDoubleNormalization:
    BN = Op("batchnorm", "BatchNorm2d", at(4), norm(row=2))

    def found(self, *before, **more):
        return claims("BN209", uses=(use(chain(*before), **more),))

    def test_points_at_the_second_batchnorm(self):
        (claim,) = self.found(self.BN, "Conv2d")
        assert (claim.where, claim.confidence, claim.severity) == (at(7), "high", None)
        assert claim.message == (
            "BatchNorm2d feeds this BatchNorm2d with no layer between: the second removes the first one's scale "
            "and shift and sets its own; keep one of the two."
        )
        assert claim.evidence == (step(4, "BatchNorm2d is applied here"),)

    @pytest.mark.parametrize(
        "name", ["LayerNorm", "GroupNorm", "InstanceNorm3d", "RMSNorm", "layer_norm", "group_norm"]
    )
    def test_says_what_happens_to_another_norm(self, name):
        (claim,) = self.found(Op("norm", name, at(4)), "Conv2d")
        assert claim.message == (
            f"{name} feeds this BatchNorm2d with no layer between: the second undoes part of the first, and ties "
            "each sample to its batch; keep one of the two."
        )

    @pytest.mark.parametrize(
        "name", ["normalize", "local_response_norm", "LocalResponseNorm", "CrossMapLRN2d"]
    )
    def test_is_not_about_norms_that_do_something_else(self, name):
        assert not self.found(Op("norm", name, at(4)), "Conv2d")

    @pytest.mark.parametrize("name", ["view", "F.pad", "Dropout", "Identity"])
    def test_looks_through(self, name):
        assert rows(self.found(name, name, self.BN)) == [7]

    @pytest.mark.parametrize(
        "name", ["ReLU", "MaxPool2d", "Conv2d", "add", "cat", "mul", "magic", "interpolate", "LSTM", "matmul"]
    )
    def test_does_not_look_through(self, name):
        assert not self.found(name, self.BN)
        assert not self.found(name, "LayerNorm")
        assert not self.found(name)

    @pytest.mark.parametrize("affine", [False, UNKNOWN, None, 1])
    def test_needs_a_first_batchnorm_with_a_scale(self, affine):
        assert not self.found(replace(self.BN, layer=norm(affine=affine)))
        assert not self.found(replace(self.BN, layer=None))

    def test_every_way_has_to_come_from_a_norm(self):
        both = (chain(self.BN), chain("view", "LayerNorm"))
        (claim,) = claims("BN209", uses=(use(*both),))
        assert evidence(claim) == [4]
        for other in (chain("Conv2d"), (), chain("view"), chain("Dropout", "Conv2d", self.BN)):
            assert not claims("BN209", uses=(use(*both, other),))
            assert not claims("BN209", uses=(use(other, *both),))
        assert not claims("BN209", uses=(use(),))

    @pytest.mark.parametrize("frozen", ["yes", "unknown"])
    def test_is_silent_about_what_is_frozen(self, frozen):
        assert not self.found(self.BN, frozen=frozen)

    def test_each_use_counts(self):
        uses = (use(chain("Conv2d")), use(chain(self.BN)), use(chain("LayerNorm"), where=17))
        assert rows(claims("BN209", uses=uses)) == [7, 17]


class TestUnregisteredBatchNorm:
    @pytest.mark.parametrize(
        ("held", "says"),
        [
            ("list", "BatchNorm2d stands in a plain list of `Net`: "),
            ("tuple", "BatchNorm2d stands in a plain tuple of `Net`: "),
            ("dict", "BatchNorm2d stands in a plain dict of `Net`: "),
            (
                "closure",
                "BatchNorm2d is held where no module sees it (a closure, a global, another object), and used by `Net`: ",
            ),
            ("forward", "BatchNorm2d is made anew at each call of `Net`: "),
        ],
    )
    def test_says_who_holds_it(self, held, says):
        (claim,) = claims("BN208", unregistered=(Unregistered(norm(), "Net", held),))
        assert (claim.where, claim.confidence, claim.severity) == (at(1), "high", None)
        assert claim.message.startswith(says)
        assert not claim.evidence

    def test_shows_the_list_where_it_is_written_elsewhere(self):
        (claim,) = claims("BN208", unregistered=(Unregistered(norm(), "Net", "tuple", at(5)),))
        assert claim.evidence == (Step(at(5), "the tuple is written here"),)
        (claim,) = claims("BN208", unregistered=(Unregistered(norm(), "Net", "list", at(1)),))
        assert not claim.evidence
        (claim,) = claims("BN208", unregistered=(Unregistered(norm(), "Net", "list", Where("other.py", 1)),))
        assert claim.evidence == (Step(Where("other.py", 1), "the list is written here"),)

    def test_is_silent_about_a_layer_without_state(self):
        for affine, tracks in product([True, False, UNKNOWN], repeat=2):
            made = norm(affine=affine, track_running_stats=tracks)
            found = claims("BN208", unregistered=(Unregistered(made, "Net", "list"),))
            assert bool(found) is not (affine is False and tracks is False)


class TestTinyBatch:
    @pytest.mark.parametrize(("size", "samples"), [(1, "one sample"), (2, "2 samples"), (15, "15 samples")])
    def test_points_at_the_loader(self, size, samples):
        (claim,) = claims("BN301", feeds=(replace(FEED, batch_size=setting(size, evidence=(step(2),))),))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert claim.message.startswith(f"`net` trains on batches of {samples}: ")
        assert "use 16 to 32" in claim.message
        assert evidence(claim) == [1, 2]

    @pytest.mark.parametrize("size", [16, 17, 256, 0, -1, True, False, 4.0, "4", None, UNKNOWN])
    def test_is_silent_about_other_sizes(self, size):
        assert not claims("BN301", feeds=(replace(FEED, batch_size=setting(size)),))

    @pytest.mark.parametrize(
        "doubt", [{"batchnorm": "no"}, {"batchnorm": "unknown"}, {"frozen": "yes"}, {"frozen": "unknown"}]
    )
    def test_needs_a_batchnorm_that_learns(self, doubt):
        assert not claims("BN301", feeds=(replace(FEED, **doubt),))

    @pytest.mark.parametrize(
        ("values", "severity"), [(1, "error"), (2, "error"), (3, None), (4096, None), (UNKNOWN, None)]
    )
    def test_is_an_error_at_two_values_per_channel(self, values, severity):
        (claim,) = claims("BN301", feeds=(replace(FEED, values=values),))
        assert claim.severity == severity
        assert ("values per channel" in claim.message) is (values is not UNKNOWN)

    def test_names_the_assumption(self):
        (claim,) = claims("BN301", feeds=(replace(FEED, assumed="`train` gets this loader"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `train` gets this loader).")


class TestBatchOfOne:
    def test_is_an_error_before_a_batchnorm_that_sees_one_value(self):
        (claim,) = claims("BN302", feeds=(SHORT,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", "error")
        assert claim.message == (
            "The last batch of 16 holds 1 of the 161 samples, for which BatchNorm in `net` raises ValueError; "
            "pass `drop_last=True`."
        )
        assert evidence(claim) == [1, 2, 3, 4]

    def test_is_a_warning_before_one_that_sees_more(self):
        (claim,) = claims("BN302", feeds=(replace(SHORT, single=None),))
        assert claim.severity == "warning"
        assert "normalises by one sample's statistics" in claim.message
        assert evidence(claim) == [1, 2, 3]

    @pytest.mark.parametrize(("size", "length"), [(2, 3), (2, 1), (16, 17), (160, 161)])
    def test_computes_what_is_left(self, size, length):
        (claim,) = claims("BN302", feeds=(replace(SHORT, batch_size=setting(size), length=length),))
        assert claim.severity == "error"

    @pytest.mark.parametrize(("size", "length"), [(16, 160), (16, 162), (1, 161), (1, 1), (2, 4), (161, 161)])
    def test_is_silent_where_more_is_left_or_nothing(self, size, length):
        assert not claims("BN302", feeds=(replace(SHORT, batch_size=setting(size), length=length),))

    @pytest.mark.parametrize("size", [2, 16, UNKNOWN, None, "16"])
    def test_says_what_may_happen_where_the_length_is_not_known(self, size):
        (claim,) = claims("BN302", feeds=(replace(SHORT, batch_size=setting(size), length=UNKNOWN),))
        assert claim.severity == "info"
        assert claim.message.startswith("The last batch can hold a single sample, ")

    def test_needs_the_size_to_compute_with_the_length(self):
        (claim,) = claims("BN302", feeds=(replace(SHORT, batch_size=setting(UNKNOWN)),))
        assert claim.severity == "info"

    @pytest.mark.parametrize(
        "doubt",
        [
            {"shuffled": "no"},
            {"shuffled": "unknown"},
            {"single": None},
            {"batch_size": setting(1)},
            {"batch_size": setting(0)},
        ],
    )
    def test_needs_a_shuffled_loader_and_one_value_then(self, doubt):
        assert not claims("BN302", feeds=(replace(SHORT, **{"length": UNKNOWN, **doubt}),))

    @pytest.mark.parametrize(
        "doubt",
        [
            {"batchnorm": "unknown"},
            {"frozen": "unknown"},
            {"guarded": "unknown"},
            {"guarded": "yes"},
            {"drop_last": None},
            {"drop_last": setting(value=True)},
            {"drop_last": setting(UNKNOWN)},
        ],
    )
    def test_needs_a_short_batch_that_nobody_takes_care_of(self, doubt):
        for length in (161, UNKNOWN):
            assert not claims("BN302", feeds=(replace(SHORT, length=length, **doubt),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN302", feeds=(replace(SHORT, assumed="`train` gets this loader"),))
        assert claim.confidence == "medium"


class TestTinyDeviceBatch:
    def test_points_at_the_wrapper(self):
        (claim,) = claims("BN303", splits=(SPLIT,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert claim.message == (
            "`DistributedDataParallel` divides batches of 16 among two processes or more: BatchNorm in `net` sees 8 "
            "samples at most; use `SyncBatchNorm.convert_sync_batchnorm` or larger batches."
        )
        assert evidence(claim) == [1, 2]

    def test_names_the_number_of_devices(self):
        (claim,) = claims("BN303", splits=(replace(SPLIT, wrapper="DataParallel", whole=32, devices=4),))
        assert claim.message.startswith("`DataParallel` divides batches of 32 among 4 devices: ")

    @pytest.mark.parametrize(("share", "found"), [(1, 1), (15, 1), (16, 0), (0, 0), (-1, 0), (UNKNOWN, 0)])
    def test_speaks_of_small_shares(self, share, found):
        assert len(claims("BN303", splits=(replace(SPLIT, share=share),))) == found

    @pytest.mark.parametrize(("loaded", "found"), [(8, 0), (15, 0), (16, 1), (32, 1), (UNKNOWN, 1)])
    def test_leaves_small_batches_to_another_rule(self, loaded, found):
        assert len(claims("BN303", splits=(replace(SPLIT, loaded=loaded),))) == found

    def test_goes_on_behind_what_it_leaves_to_others(self):
        assert len(claims("BN303", splits=(replace(SPLIT, loaded=8), SPLIT))) == 1

    @pytest.mark.parametrize(
        "doubt",
        [
            {"batchnorm": "unknown"},
            {"batchnorm": "no"},
            {"frozen": "unknown"},
            {"synced": "unknown"},
            {"synced": "yes"},
        ],
    )
    def test_needs_a_batchnorm_that_sees_one_device(self, doubt):
        assert not claims("BN303", splits=(replace(SPLIT, **doubt),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN303", splits=(replace(SPLIT, assumed="this holds"),))
        assert claim.confidence == "medium"


class TestAccumulatedMicroBatches:
    def test_points_at_what_accumulates(self):
        (claim,) = claims("BN304", feeds=(ACCUMULATED,))
        assert (claim.where, claim.confidence, claim.severity) == (at(6), "high", None)
        assert claim.message == (
            "`net` accumulates the gradients of 8 batches, but its BatchNorm sees 4 samples at a time and not 32; "
            "use GroupNorm, or keep BatchNorm frozen."
        )
        assert evidence(claim) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("size", "steps", "found"),
        [
            (1, 16, 1),
            (4, 4, 1),
            (15, 2, 1),
            (4, 3, 0),
            (16, 2, 0),
            (0, 99, 0),
            (UNKNOWN, 8, 0),
            (4, UNKNOWN, 0),
        ],
    )
    def test_speaks_where_together_they_are_enough(self, size, steps, found):
        feed = replace(ACCUMULATED, batch_size=setting(size), steps=setting(steps))
        assert len(claims("BN304", feeds=(feed,))) == found

    @pytest.mark.parametrize(
        "doubt",
        [{"batchnorm": "unknown"}, {"frozen": "unknown"}, {"synced": "unknown"}, {"steps": None}],
    )
    def test_needs_a_batchnorm_that_sees_one_batch(self, doubt):
        assert not claims("BN304", feeds=(replace(ACCUMULATED, **doubt),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN304", feeds=(replace(ACCUMULATED, assumed="this holds"),))
        assert claim.confidence == "medium"


class TestRecomputedStatistics:
    def test_points_at_the_checkpoint(self):
        (claim,) = claims("BN305", recomputed=(RECOMPUTED,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert claim.message == (
            "`checkpoint` runs BatchNorm again in the backward pass, and its statistics move twice a step, momentum "
            "0.1 acts as 0.19; make the momentum 0.051, or leave BatchNorm outside."
        )
        assert evidence(claim) == [1]

    @pytest.mark.parametrize(("momentum", "acts"), [(0.2, "0.36"), (0.053, "0.1"), (0.99, "1")])
    def test_computes_what_a_momentum_acts_as(self, momentum, acts):
        (claim,) = claims("BN305", recomputed=(replace(RECOMPUTED, momentum=setting(momentum)),))
        assert f"momentum {momentum:g} acts as {acts};" in claim.message

    @pytest.mark.parametrize("momentum", [0.052, 0.05, 0.01, 0, 1, 1.0, None, UNKNOWN, "0.1"])
    def test_is_silent_about_a_momentum_that_is_halved_or_means_something_else(self, momentum):
        assert not claims("BN305", recomputed=(replace(RECOMPUTED, momentum=setting(momentum)),))

    @pytest.mark.parametrize(
        "doubt", [{"batchnorm": "unknown"}, {"batchnorm": "no"}, {"frozen": "unknown"}, {"certain": False}]
    )
    def test_needs_a_batchnorm_that_is_always_recomputed(self, doubt):
        assert not claims("BN305", recomputed=(replace(RECOMPUTED, **doubt),))


class TestStatisticsNotSaved:
    @pytest.mark.parametrize(
        ("what", "how", "says"),
        [
            ("parameters", "saved", "only the parameters are saved"),
            ("trainable", "saved", "only the values that require a gradient are saved"),
            ("filtered", "exchanged", "only the entries that the filter lets through are passed on"),
        ],
    )
    def test_says_what_is_taken(self, what, how, says):
        (claim,) = claims("BN401", saves=(replace(SAVE, what=what, how=how),))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert claim.message.startswith(f"Of `net` {says}: ")
        assert evidence(claim) == [1]

    def test_a_detached_state_needs_no_gradient(self):
        (claim,) = claims("BN401", saves=(replace(SAVE, what="nothing"),))
        assert claim.message.startswith(
            "Nothing of `net` is saved: the tensors of `state_dict()` are detached"
        )
        assert (claim.where, claim.confidence, evidence(claim)) == (at(5), "high", [1])

    @pytest.mark.parametrize(
        "harmless",
        [
            {"what": "state_dict"},
            {"what": "unknown"},
            {"how": "unknown"},
            {"buffers_beside": "yes"},
            {"buffers_beside": "unknown"},
            {"batchnorm": "no"},
        ],
    )
    def test_is_silent(self, harmless):
        assert not claims("BN401", saves=(replace(SAVE, **harmless),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN401", saves=(replace(SAVE, batchnorm="unknown"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")

    @pytest.mark.parametrize(
        ("how", "why"),
        [("attributes", "plain attributes"), ("not persistent", "buffers with `persistent=False`")],
    )
    def test_a_layer_may_hide_its_own(self, how, why):
        (claim,) = claims("BN401", unsaved=(replace(UNSAVED, how=how),))
        assert claim.message.startswith(f"`running_mean` and `running_var` of `Norm` are {why}, so ")
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)

    @pytest.mark.parametrize("used", ["no", "unknown"])
    def test_is_silent_where_nobody_uses_them(self, used):
        assert not claims("BN401", unsaved=(replace(UNSAVED, used=used),))


class TestStatisticsNotLoaded:
    def test_an_ignored_strict_takes_one_assumption(self):
        (claim,) = claims("BN402", loads=(LOAD,))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "medium", "info")
        assert claim.message.endswith("(assuming that some key of the checkpoint does not match).")
        assert evidence(claim) == [1, 2]

    @pytest.mark.parametrize("strict", [True, UNKNOWN, None, 0])
    def test_needs_strict_to_be_false(self, strict):
        assert not claims("BN402", loads=(replace(LOAD, strict=setting(strict)),))

    @pytest.mark.parametrize(
        "doubt",
        [
            {"inspected": "yes"},
            {"inspected": "unknown"},
            {"batchnorm": "no"},
            {"batchnorm": "unknown"},
            {"assumed": "so"},
        ],
    )
    def test_a_second_assumption_is_one_too_many(self, doubt):
        assert not claims("BN402", loads=(replace(LOAD, **doubt),))

    @pytest.mark.parametrize("strict", [True, False, UNKNOWN])
    def test_a_filter_proves_the_loss(self, strict):
        (claim,) = claims("BN402", loads=(replace(LOAD, strict=setting(strict), filtered=step(3)),))
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert "which a filter drops" in claim.message
        assert evidence(claim) == [1, 3]

    @pytest.mark.parametrize("doubt", [{"inspected": "yes"}, {"inspected": "unknown"}, {"batchnorm": "no"}])
    def test_a_filter_is_fine_where_somebody_looks(self, doubt):
        assert not claims("BN402", loads=(replace(LOAD, filtered=step(3), **doubt),))

    def test_a_filter_with_an_assumption(self):
        (claim,) = claims("BN402", loads=(replace(LOAD, filtered=step(3), batchnorm="unknown"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")


class TestMomentumConvention:
    @pytest.mark.parametrize(
        ("momentum", "here"), [(0.5, "0.5"), (0.9, "0.1"), (0.99, "0.01"), (0.999999, "1e-06")]
    )
    def test_points_at_the_argument_and_converts_it(self, momentum, here):
        given = setting(momentum, 44, evidence=(step(2),))
        (claim,) = claims("BN404", norms=(norm(momentum=given),))
        assert (claim.where, claim.confidence, claim.severity) == (at(44), "high", None)
        assert claim.message.startswith(f"`momentum={momentum:g}` of BatchNorm2d ")
        assert claim.message.endswith(f"call {momentum:g} is {here} here.")
        assert evidence(claim) == [2]

    @pytest.mark.parametrize("momentum", [0.1, 0.49, 1 - 0.99, 1.0, 1, 2, 0, None, True, UNKNOWN, "0.9"])
    def test_is_silent_about_other_values(self, momentum):
        assert not claims("BN404", norms=(norm(momentum=momentum),))

    @pytest.mark.parametrize("tracks", [False, UNKNOWN, None])
    def test_needs_running_statistics(self, tracks):
        assert not claims("BN404", norms=(norm(momentum=0.9, track_running_stats=tracks),))

    def test_needs_arguments(self):
        assert not claims("BN404", norms=(layer("BatchNorm2d"),))


class TestEpsilonOutOfRange:
    @pytest.mark.parametrize("eps", [0.01, 0.8, 1, 1e5, 0, 0.0, -1e-5, -1])
    def test_points_at_the_argument(self, eps):
        (claim,) = claims("BN405", norms=(norm(eps=setting(eps, 44, evidence=(step(2),))),))
        assert (claim.where, claim.confidence, claim.severity) == (at(44), "high", None)
        assert claim.message.startswith(f"`eps={eps:g}` of BatchNorm2d ")
        assert ("divides by zero" in claim.message) is (eps <= 0)
        assert evidence(claim) == [2]

    @pytest.mark.parametrize(
        "eps", [1e-12, 1e-5, 1e-3, 0.0099, True, False, None, UNKNOWN, "0.8", float("nan")]
    )
    def test_is_silent_about_other_values(self, eps):
        assert not claims("BN405", norms=(norm(eps=eps),))

    def test_suspects_a_momentum_in_second_place(self):
        (claim,) = claims("BN405", norms=(norm(eps=setting(0.8, position=1)),))
        assert "0.8 looks like a momentum" in claim.message
        (claim,) = claims("BN405", norms=(norm(eps=setting(0, position=1)),))
        assert "momentum" not in claim.message
        (claim,) = claims("BN405", norms=(norm(eps=setting(0.8, position=2)),))
        assert "momentum" not in claim.message

    def test_needs_arguments(self):
        assert not claims("BN405", norms=(layer("BatchNorm2d"),))


SILENT = setting(UNKNOWN)
BLANK = Layer("BatchNorm2d", "batchnorm", at(1), {})
OPAQUE = layer(
    "BatchNorm2d",
    num_features=UNKNOWN,
    eps=UNKNOWN,
    momentum=UNKNOWN,
    affine=UNKNOWN,
    track_running_stats=UNKNOWN,
)
SNAPSHOT = Snapshot(at(5), "net", "best", "state", "trained", "yes", (step(1), step(2)))


class TestAliasedBestState:
    def test_says_what_is_kept_and_what_moves_it(self):
        (claim,) = claims("BN409", snapshots=(SNAPSHOT,))
        assert claim.message == (
            "`best` holds the tensors of `net` itself, which trains on: weights and BatchNorm statistics move "
            "with it; keep a `copy.deepcopy` of the state."
        )
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [1, 2]

    def test_what_has_no_name_is_a_state(self):
        (claim,) = claims("BN409", snapshots=(replace(SNAPSHOT, name=""),))
        assert claim.message.startswith("This state holds the tensors of `net` itself, which trains on: ")

    def test_another_state_may_have_been_loaded(self):
        (claim,) = claims("BN409", snapshots=(replace(SNAPSHOT, moved="loaded"),))
        assert "of `net` itself, which gets another state: weights" in claim.message

    def test_a_model_may_have_two_names(self):
        (claim,) = claims("BN409", snapshots=(replace(SNAPSHOT, of="model"),))
        assert claim.message.startswith("`best` is only another name of `net`, which trains on: ")

    def test_is_silent_without_batchnorm(self):
        assert not claims("BN409", snapshots=(replace(SNAPSHOT, batchnorm="no"),))

    def test_names_the_assumption(self):
        (claim,) = claims("BN409", snapshots=(replace(SNAPSHOT, batchnorm="unknown"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `net` contains BatchNorm).")


UNTRACKED = Untracked(at(5), "net", "built", "unknown", "no", (step(1), step(2)))
FLIPPED = replace(UNTRACKED, how="flipped", trained="yes")


HOMEMADE = Homemade(
    at(5),
    "Norm",
    *[Deviation(0.0)] * 4,
    statistics=(Kept("running_mean", "buffer", "no"), Kept("running_var", "buffer", "no")),
    affine=(Kept("weight", "parameter", "yes"), Kept("bias", "parameter", "yes")),
    single="refused",
    modeless="no",
)
RESPECTS = {"BN501": "output", "BN502": "gradients", "BN503": "averages", "BN504": "evaluation"}


def homemade(code: str, **changes) -> list[Claim]:
    return claims(code, homemade=(HOMEMADE, replace(HOMEMADE, where=at(7), cls="Mine", **changes), HOMEMADE))


class TestHomemadeLayers:
    @pytest.mark.parametrize("code", ["BN501", "BN502", "BN503", "BN504", "BN505", "BN506", "BN507", "BN508"])
    def test_one_that_agrees_is_right(self, code):
        assert homemade(code) == []

    @pytest.mark.parametrize(("code", "respect"), RESPECTS.items())
    def test_what_differs_is_said_with_its_cause(self, code, respect):
        found = Deviation(0.25, "it does something else", (step(8),))
        (claim,) = homemade(code, **{respect: found})
        assert claim.where == at(7)
        assert re.search(r"`Mine`.*: it does something else\.$", claim.message)
        assert evidence(claim) == [8]
        assert claim.measured == {"difference": 0.25}
        assert claim.severity is None

    @pytest.mark.parametrize(("code", "respect"), RESPECTS.items())
    def test_a_cause_that_is_not_known_is_not_made_up(self, code, respect):
        (claim,) = homemade(code, **{respect: Deviation(float("inf"))})
        assert ": no known mistake explains it; " in claim.message
        assert evidence(claim) == []

    @pytest.mark.parametrize(("code", "respect"), RESPECTS.items())
    @pytest.mark.parametrize(("largest", "expected"), [(AGREEMENT, 0), (AGREEMENT * 1.01, 1), (UNKNOWN, 0)])
    def test_rounding_is_no_difference(self, code, respect, largest, expected):
        assert len(homemade(code, **{respect: Deviation(largest, "so")})) == expected

    @pytest.mark.parametrize(
        ("kept", "said"),
        [
            (Kept("mean", "attribute", "no"), "a plain attribute"),
            (Kept("mean", "attribute", "yes"), "a plain attribute"),
            (Kept("mean", "not persistent", "no"), "`persistent=False`"),
            (Kept("mean", "parameter", "yes"), "a parameter that takes gradients"),
        ],
    )
    def test_statistics_belong_into_buffers(self, kept, said):
        (claim,) = homemade("BN505", statistics=(kept, Kept("var", "buffer", "no")))
        assert claim.where == at(7)
        assert claim.message.startswith("`Mine` keeps `mean` as ")
        assert said in claim.message
        (claim,) = homemade("BN505", statistics=(kept, replace(kept, name="var")))
        assert claim.message.startswith("`Mine` keeps `mean` and `var` as ")

    @pytest.mark.parametrize("how", ["buffer", "parameter", "unknown"])
    def test_statistics_that_are_saved_and_not_trained_are_right(self, how):
        assert homemade("BN505", statistics=(Kept("mean", how, "no"), Kept("var", how, "unknown"))) == []

    @pytest.mark.parametrize(
        ("kept", "said"),
        [
            (Kept("gamma", "attribute", "yes"), "a plain tensor"),
            (Kept("gamma", "buffer", "no"), "a buffer"),
            (Kept("gamma", "not persistent", "no"), "a buffer"),
            (Kept("gamma", "parameter", "no"), "`requires_grad=False`"),
        ],
    )
    def test_scale_and_shift_are_to_be_trained(self, kept, said):
        (claim,) = homemade("BN506", affine=(Kept("beta", "parameter", "yes"), kept))
        assert claim.where == at(7)
        assert claim.message.startswith("`Mine` holds `gamma` as ")
        assert said in claim.message
        (claim,) = homemade("BN506", affine=(kept, replace(kept, name="beta")))
        assert claim.message.startswith("`Mine` holds `gamma` and `beta` as ")

    @pytest.mark.parametrize("affine", [(), (Kept("gamma", "unknown", "no"), Kept("beta", "parameter"))])
    def test_no_scale_and_one_that_is_not_known_are_no_fault(self, affine):
        assert homemade("BN506", affine=affine) == []

    def test_one_value_is_to_be_refused(self):
        (claim,) = homemade("BN507", single="accepted")
        assert (claim.where, claim.severity) == (at(7), None)
        assert "its variance is 0" in claim.message
        (claim,) = homemade("BN507", single="not a number")
        assert (claim.where, claim.severity) == (at(7), "error")
        assert "NaN" in claim.message
        assert homemade("BN507", single="unknown") == []

    def test_eval_is_to_change_nothing(self):
        (claim,) = homemade("BN508", changed=("running_mean", "running_var"))
        assert claim.where == at(7)
        assert "`Mine` in eval mode changes `running_mean` and `running_var`: " in claim.message

    @pytest.mark.parametrize("modeless", ["yes", "unknown"])
    def test_one_that_knows_no_eval_mode_has_that_fault_only(self, modeless):
        assert homemade("BN508", changed=("running_mean",), modeless=modeless) == []


class TestUntrackedStatistics:
    def test_says_that_the_batch_decides(self):
        (claim,) = claims("BN403", untracked=(UNTRACKED,))
        assert claim.message.startswith(
            "`track_running_stats=False` makes BatchNorm normalise by the batch in "
        )
        assert "what `net` answers" in claim.message
        assert (claim.where, claim.confidence, claim.severity) == (at(5), "high", None)
        assert evidence(claim) == [1, 2]

    def test_a_flipped_flag_leaves_the_buffers(self):
        (claim,) = claims("BN403", untracked=(FLIPPED,))
        assert claim.message.startswith("`track_running_stats = False` on a finished layer only ends the ")
        assert "normalises `net` by the old `running_mean`" in claim.message
        assert (claim.where, evidence(claim)) == (at(5), [1, 2])

    @pytest.mark.parametrize("trained", ["no", "unknown"])
    def test_a_flipped_flag_is_harmless_where_nothing_trains(self, trained):
        assert not claims("BN403", untracked=(replace(FLIPPED, trained=trained),))

    @pytest.mark.parametrize("fact", [UNTRACKED, FLIPPED])
    @pytest.mark.parametrize("meant", ["yes", "unknown"])
    def test_is_silent_where_it_may_be_meant(self, fact, meant):
        assert not claims("BN403", untracked=(replace(fact, meant=meant),))


IN_FILE = Layer("BatchNorm", "batchnorm", Where("best.pt", module="features.bn"))
BUILT = Statistics(IN_FILE, "`best.pt`", (0.0, 0.0), (1.0, 1.0), 0, evaluated="yes", dtype="float32")
POISONED = replace(BUILT, mean=(0.5, -0.5), var=(math.nan, 2.0), count=7)
LACKING = Lacking(IN_FILE, "`best.pt`", ("running_mean", "running_var"), path=(step(2),))


class TestUntrainedStatistics:
    @pytest.mark.parametrize("trained", ["yes", "no", "unknown"])
    def test_a_count_of_0_proves_it(self, trained):
        (claim,) = claims("BN406", statistics=(replace(BUILT, trained=trained),))
        assert claim.where == IN_FILE.where
        assert (claim.confidence, claim.severity, claim.measured) == ("high", None, {"channels": 2})
        assert claim.message.startswith("BatchNorm `features.bn` of `best.pt` still has the mean 0 ")
        assert "and has seen no batch" in claim.message

    def test_a_trained_shift_proves_it(self):
        (claim,) = claims("BN406", statistics=(replace(BUILT, count=9, trained="yes"),))
        assert claim.confidence == "high"
        assert "though it was trained" in claim.message

    def test_without_a_count_it_may_be_a_frozen_layer(self):
        (claim,) = claims("BN406", statistics=(replace(BUILT, count=UNKNOWN, trained="yes"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that it is no FrozenBatchNorm).")

    @pytest.mark.parametrize(
        "harmless",
        [
            {"count": 9, "trained": "unknown"},
            {"count": UNKNOWN, "trained": "no"},
            {"evaluated": "no"},
            {"mean": (0.0, 0.1)},
            {"var": (1.0, 1.1)},
            {"mean": ()},
            {"var": ()},
        ],
    )
    def test_is_silent(self, harmless):
        assert not claims("BN406", statistics=(replace(BUILT, **harmless),))

    @pytest.mark.parametrize(
        ("mean", "var", "expected"),
        [
            ((0.0, 1.0, 0.3), (1.0, 1.0, 1.0), 1),
            ((0.0, 0.2, 0.3), (1.0, 1.2, 1.0), 0),
            ((0.0,) * 3, (4.0,) * 3, 1),
        ],
    )
    def test_without_a_count_the_batches_say_it(self, mean, var, expected):
        seen = replace(BUILT, mean=(0.0,) * 3, var=(1.0,) * 3, count=UNKNOWN, seen_mean=mean, seen_var=var)
        found = claims("BN406", statistics=(seen,))
        assert len(found) == expected
        assert all("and what it gets has others: " in claim.message for claim in found)


class TestPoisonedStatistics:
    @pytest.mark.parametrize(
        ("change", "channels", "says"),
        [
            ({}, 1, "are NaN in 1 of 2 channels, and"),
            ({"mean": (math.nan, math.nan)}, 2, "are NaN in 2 of 2 channels"),
            ({"mean": (0.0, -math.inf)}, 2, "are NaN or infinite in 2 of 2 channels"),
            ({"var": (-0.1, 1.0)}, 1, "are negative (a variance) in 1 of 2 channels"),
            ({"var": (1.0, math.inf)}, 1, "are infinite in 1 of 2 channels, and"),
            (
                {"var": (1.0, math.inf), "dtype": "float16"},
                1,
                "in 1 of 2 channels, for fp16 ends at 65504, and",
            ),
            ({"dtype": "float16"}, 1, "are NaN in 1 of 2 channels, and"),
        ],
    )
    def test_counts_the_channels(self, change, channels, says):
        (claim,) = claims("BN407", statistics=(replace(POISONED, **change),))
        assert claim.message.startswith("Running statistics of BatchNorm `features.bn` of `best.pt` are ")
        assert says in claim.message
        assert claim.measured == {"channels": channels, "of": 2}
        assert (claim.where, claim.confidence, claim.severity) == (IN_FILE.where, "high", None)

    def test_a_batch_that_would_do_it(self):
        threatened = replace(BUILT, poisoned="batch 3 of the loader gives NaN")
        (claim,) = claims("BN407", statistics=(threatened,))
        assert claim.message.startswith("Batch 3 of the loader gives NaN: in train mode ")
        assert claim.measured is None

    def test_what_is_poisoned_already_is_said_once(self):
        threatened = replace(POISONED, poisoned="batch 3 of the loader gives NaN")
        (claim,) = claims("BN407", statistics=(threatened,))
        assert claim.message.startswith("Running statistics ")

    @pytest.mark.parametrize("var", [(0.0, 1.0), (65504.0, 1e-30), (3e38, 1.0)])
    def test_is_silent_about_numbers(self, var):
        assert not claims("BN407", statistics=(replace(POISONED, var=var),))


LIVE = norm(row=3)
DRIFTED = Statistics(
    LIVE,
    "`Net`",
    (0.0, 1.0, 2.0),
    (1.0, 4.0, 1.0),
    count=200,
    trained="yes",
    evaluated="yes",
    seen_mean=(3.0, 7.0, 2.0),
    seen_var=(1.0, 4.0, 1.0),
    batches=2,
)
"""Normalised, the channels have sizes of the root of 10, the root of 10 and 1."""


class TestDriftedStatistics:
    def test_measures_the_channel_in_the_middle(self):
        (claim,) = claims("BN408", statistics=(DRIFTED,))
        assert (claim.where, claim.severity, claim.confidence) == (at(3), None, "high")
        assert claim.measured == {
            "size of normalised values": pytest.approx(10**0.5, rel=1e-4),
            "threshold": 2.0,
            "layers": 1,
            "of": 1,
        }
        assert "has a size of 3.16, not 1; check" in claim.message
        assert claim.picture.points(claim.picture.series[1]) == [(0, 3), (1, 7), (2, 2)]

    def test_many_layers_are_one_finding_at_the_first(self):
        right = replace(DRIFTED, norm=norm(row=2), seen_mean=DRIFTED.mean)
        (claim,) = claims("BN408", statistics=(right, DRIFTED, replace(DRIFTED, norm=norm(row=4))))
        assert claim.where == at(3)
        assert (claim.measured["layers"], claim.measured["of"]) == (2, 3)
        assert "(so it is in 2 of 3 layers)" in claim.message

    def test_errors_that_add_up_are_no_step(self):
        def grown(row, factor):
            seen = tuple(factor**2 * variance for variance in DRIFTED.var)
            return replace(DRIFTED, norm=norm(row=row), seen_mean=DRIFTED.mean, seen_var=seen)

        assert not claims("BN408", statistics=(grown(1, 1.5), grown(2, 2.0), grown(3, 2.7)))
        (claim,) = claims("BN408", statistics=(grown(1, 1.5), grown(2, 2.0), grown(3, 2.9)))
        assert claim.where == at(3)

    @pytest.mark.parametrize(("factor", "expected"), [(1.99, 0), (2.01, 1)])
    def test_needs_twice_the_size(self, factor, expected):
        seen = replace(DRIFTED, seen_mean=DRIFTED.mean, seen_var=tuple(factor**2 * v for v in DRIFTED.var))
        assert len(claims("BN408", statistics=(seen,))) == expected

    @pytest.mark.parametrize("count", [1, 5, 20])
    def test_what_is_left_of_the_beginning_is_no_fault(self, count):
        left = 0.9**count
        young = replace(DRIFTED, count=count, mean=(0.0,) * 3, var=(left + 0.01 * (1 - left),) * 3)
        young = replace(young, seen_mean=(0.0,) * 3, seen_var=(0.01,) * 3)
        assert not claims("BN408", statistics=(young,))
        assert len(claims("BN408", statistics=(replace(young, var=(1.0,) * 3),))) == (count > 6)

    def test_a_momentum_near_zero_is_no_excuse_after_many_batches(self):
        still = replace(DRIFTED, norm=norm(momentum=1e-6), mean=(0.0,) * 3, var=(1.0,) * 3)
        still = replace(still, seen_mean=(0.0,) * 3, seen_var=(0.01,) * 3)
        assert not claims("BN408", statistics=(replace(still, count=99),))
        assert len(claims("BN408", statistics=(replace(still, count=100),))) == 1

    @pytest.mark.parametrize(("variance", "expected"), [(1.0, 0), (4.1, 1)])
    def test_without_a_count_only_a_variance_that_has_grown_can_be_too_large(self, variance, expected):
        seen = replace(DRIFTED, count=UNKNOWN, mean=(0.0,) * 3, var=(variance,) * 3)
        seen = replace(seen, seen_mean=(0.0,) * 3, seen_var=(0.01,) * 3)
        assert len(claims("BN408", statistics=(seen,))) == expected

    @pytest.mark.parametrize(("count", "size", "expected"), [(49, 2.9, 0), (49, 3.1, 1), (50, 2.1, 1)])
    def test_young_statistics_may_lag_behind_the_weights(self, count, size, expected):
        seen = tuple(size**2 * variance for variance in DRIFTED.var)
        young = replace(DRIFTED, count=count, seen_mean=DRIFTED.mean, seen_var=seen)
        right = replace(DRIFTED, seen_mean=DRIFTED.mean)
        assert len(claims("BN408", statistics=(right, young))) == expected
        assert len(claims("BN408", statistics=(young, right))) == 1

    def test_an_eps_above_the_variances_is_no_drift(self):
        small = replace(DRIFTED, mean=(0.0,) * 3, var=(1e-8,) * 3, seen_mean=(0.0,) * 3, seen_var=(1e-8,) * 3)
        assert not claims("BN408", statistics=(small,))

    @pytest.mark.parametrize(("deviation", "expected"), [(0.09, 1), (0.11, 0)])
    def test_values_that_have_lost_their_spread_are_small(self, deviation, expected):
        seen = replace(
            DRIFTED, seen_mean=(1.0, 3.0, 3.0), seen_var=tuple(deviation**2 * v for v in DRIFTED.var)
        )
        found = claims("BN408", statistics=(seen,))
        assert len(found) == expected
        assert all("has a deviation of 0.09" in claim.message for claim in found)

    @pytest.mark.parametrize(("deviation", "first", "behind"), [(0.1, 1, 0), (0.015, 1, 1), (0.6, 0, 0)])
    def test_behind_the_first_layer_a_part_of_the_data_may_be_small(self, deviation, first, behind):
        spread = tuple(deviation**2 * variance for variance in DRIFTED.var)
        small = replace(DRIFTED, seen_mean=DRIFTED.mean, seen_var=spread)
        right = replace(DRIFTED, seen_mean=DRIFTED.mean)
        assert len(claims("BN408", statistics=(small, right))) == first
        assert len(claims("BN408", statistics=(right, small))) == behind

    @pytest.mark.parametrize(
        "silent",
        [
            {"evaluated": "no"},
            {"var": (1.0, -1.0, 1.0)},
            {"mean": (math.nan, math.nan, math.nan)},
            {"seen_mean": (3.0,)},
            {"seen_mean": (3.0, 1.0, 2.0)},
        ],
    )
    def test_is_silent(self, silent):
        assert not claims("BN408", statistics=(replace(DRIFTED, **silent),))


SWAMPED = replace(DRIFTED, seen_mean=(), seen_var=(), var=(1e-6, 1e-6, 0.0), count=9, trained="yes")


class TestEpsilonAboveVariances:
    """BN405, where the variances are known."""

    def test_measures_the_median(self):
        (claim,) = claims("BN405", statistics=(SWAMPED,))
        assert (claim.where, claim.severity) == (at(3), "warning")
        assert claim.measured == {"median variance": 1e-6, "threshold": 1.25e-6, "layers": 1}
        assert "(median 1e-06)" in claim.message
        assert "a deviation of 0.3, not 1" in claim.message

    def test_in_train_mode_the_batches_count(self):
        training = replace(
            SWAMPED,
            evaluated="no",
            var=(1.0, 1.0, 1.0),
            seen_mean=(0.0, 0.0, 0.0),
            seen_var=(1e-6, 1e-6, 0.0),
        )
        (claim,) = claims("BN405", statistics=(training,))
        assert claim.measured == {"median variance": 1e-6, "threshold": 1.25e-6, "layers": 1}

    @pytest.mark.parametrize("trained", ["no", "unknown"])
    def test_a_new_network_may_begin_so_behind_the_first_layer(self, trained):
        new = replace(SWAMPED, trained=trained)
        assert len(claims("BN405", statistics=(new,))) == 1
        assert not claims("BN405", statistics=(DRIFTED, replace(new, var=(1e-9, 1e-9, 1e-9))))

    def test_what_follows_from_the_first_is_counted(self):
        others = [replace(SWAMPED, norm=norm(row=row), var=(1e-9,) * 3) for row in (4, 5)]
        (claim,) = claims("BN405", statistics=(SWAMPED, *others))
        assert (claim.where, claim.measured["layers"]) == (at(3), 3)

    @pytest.mark.parametrize(("variance", "expected"), [(3.9e-7, 1), (4.1e-7, 0)])
    def test_behind_it_the_variances_have_to_be_smaller(self, variance, expected):
        behind = replace(SWAMPED, var=(variance,) * 3)
        assert len(claims("BN405", statistics=(DRIFTED, behind))) == expected

    @pytest.mark.parametrize(
        "var", [(1e-6, 1.0, 1.0), (0.0, 0.0, 1e-6), (0.0, 0.0, 0.0), (1e-6,), (), (1.26e-6, 1.26e-6, 1.26e-6)]
    )
    def test_is_silent_about_few_small_and_about_dead_channels(self, var):
        assert not claims("BN405", statistics=(replace(SWAMPED, var=var),))

    def test_an_eps_that_is_not_known_is_not_judged(self):
        assert not claims("BN405", statistics=(replace(SWAMPED, norm=IN_FILE),))


class TestLackingStatistics:
    def test_a_file_by_itself(self):
        (claim,) = claims("BN401", lacking=(LACKING,))
        assert (claim.where, claim.confidence, evidence(claim)) == (IN_FILE.where, "high", [2])
        assert claim.message.startswith(
            "`running_mean` and `running_var` of BatchNorm `features.bn` are not in `best.pt`: "
        )
        assert not claims("BN402", lacking=(LACKING,))

    def test_one_of_both(self):
        (claim,) = claims("BN401", lacking=(replace(LACKING, names=("running_var",)),))
        assert claim.message.startswith("`running_var` of BatchNorm `features.bn` is not in `best.pt`: ")

    def test_names_the_assumption(self):
        (claim,) = claims("BN401", lacking=(replace(LACKING, assumed="`bn` is a BatchNorm"),))
        assert claim.confidence == "medium"
        assert claim.message.endswith("(assuming that `bn` is a BatchNorm).")

    def test_a_file_beside_a_model(self):
        beside = replace(LACKING, against="`Net`")
        (claim,) = claims("BN402", lacking=(beside,))
        assert (claim.where, claim.confidence, claim.severity) == (IN_FILE.where, "high", None)
        assert claim.message.startswith(
            "For BatchNorm `features.bn` of `Net` there is no `running_mean` or `running_var` in `best.pt`: "
        )
        assert not claims("BN401", lacking=(beside,))


NOTHING_KNOWN = Facts(
    homemade=(
        Homemade(at(5), "Norm"),
        Homemade(
            at(5), "Norm", statistics=(Kept("a", "unknown"),), affine=(Kept("b", "unknown"),), changed=("a",)
        ),
    ),
    norms=(BLANK, OPAQUE),
    uses=tuple(
        Use(
            made,
            at(1),
            "Net",
            (chain("magic", "ReLU"), (), tuple(Op(kind, "?", at(2)) for kind in ("conv", "dropout"))),
        )
        for made in (BLANK, OPAQUE)
    )
    + tuple(
        Use(norm(), at(1), "Net", ((Op(kind, "?", at(2), made),),))
        for kind in ("batchnorm", "norm")
        for made in (BLANK, OPAQUE, None)
    ),
    shared=(
        *(replace(fact, norm=made) for fact in (SHARED, REPEATED) for made in (BLANK, OPAQUE)),
        replace(SHARED, frozen="unknown"),
    ),
    recurrent=(replace(RECURRENT, frozen="unknown"),),
    arrivals=tuple(
        Arrival(made, at(1), UNKNOWN, takes, ways)
        for made in (BLANK, OPAQUE)
        for takes in ((), (4,))
        for ways in ((), (Arrived(),), (Arrived(), Arrived(2, 3, "no")))
    ),
    answers=tuple(
        Answer("Net", at(1), (Op("batchnorm", "bn", at(1), made),), (step(1),))
        for made in (BLANK, OPAQUE, None)
    ),
    overrides=tuple(
        Override("Net", method, at(1), "unknown", "unknown", "unknown") for method in ("train", "eval")
    ),
    computed=tuple(
        Computed("Net", how, at(1), training, "unknown", meant=meant)
        for how in ("functional", "handwritten")
        for training in (SILENT, setting(value=True), setting(value=False))
        for meant in ("no", "unknown")
    ),
    forwards=tuple(
        Forward("net", at(1), purpose, frozenset(modes), "unknown", stuck=stuck)
        for purpose in ("training", "evaluation", "unknown")
        for modes in ({"unknown"}, {"train", "unknown"}, set())
        for stuck in (None, step(1))
    ),
    exports=(
        Export("net", at(1), "torch.jit.trace", "unknown", frozenset({"train"}), "yes", "yes"),
        Export("net", at(1), "torch.jit.trace", "recorded", frozenset({"unknown"}), "yes", "yes"),
        Export("net", at(1), "torch.jit.trace", "kept", frozenset({"train"}), "unknown"),
    ),
    feeds=(
        Feed(at(1), SILENT, "net", "unknown"),
        Feed(at(1), SILENT, "net", "yes"),
        Feed(at(1), setting(1), "net", "unknown"),
        replace(ACCUMULATED, batch_size=SILENT),
        replace(ACCUMULATED, batch_size=setting(16), steps=SILENT),
        replace(SHORT, drop_last=None, batch_size=SILENT),
        replace(SHORT, guarded="unknown", batch_size=SILENT),
        replace(SHORT, length=UNKNOWN, shuffled="unknown", batch_size=SILENT),
    ),
    splits=(
        replace(SPLIT, share=UNKNOWN),
        replace(SPLIT, synced="unknown"),
        replace(SPLIT, batchnorm="unknown"),
    ),
    recomputed=(replace(RECOMPUTED, batchnorm="unknown"), replace(RECOMPUTED, momentum=SILENT)),
    saves=(
        Save(at(1), "net", "unknown", "unknown", "unknown", "unknown"),
        Save(at(1), "net", "parameters", "unknown", "yes"),
        Save(at(1), "net", "unknown", "saved", "yes"),
        Save(at(1), "net", "parameters", "saved", "yes", "unknown"),
    ),
    loads=(
        Load(at(1), "net", SILENT, "no", "yes"),
        Load(at(1), "net", setting(value=False), "unknown", "yes", step(1)),
    ),
    thaws=(replace(THAW, batchnorm="unknown"),),
    passes=(replace(PASS, batchnorm="unknown"), replace(PASS, dropout="unknown")),
    unsaved=(replace(UNSAVED, used="unknown"),),
    untracked=(replace(UNTRACKED, meant="unknown"), replace(FLIPPED, trained="unknown")),
    statistics=(
        Statistics(IN_FILE, "`best.pt`", evaluated="yes"),
        replace(BUILT, count=UNKNOWN),
        replace(BUILT, evaluated="unknown"),
        replace(BUILT, mean=()),
        *(replace(DRIFTED, evaluated=answer) for answer in ("unknown", "no")),
        replace(DRIFTED, seen_mean=(), seen_var=()),
        replace(DRIFTED, norm=IN_FILE),
    ),
    lacking=(Lacking(IN_FILE, "`best.pt`", ()), Lacking(IN_FILE, "`best.pt`", (), "`Net`")),
    averages=tuple(
        replace(AVERAGE, **{name: value})
        for name, value in (
            ("modes", frozenset({"unknown"})),
            ("modes", frozenset()),
            ("buffers", "unknown"),
            ("batchnorm", "unknown"),
            ("moving", "unknown"),
        )
    ),
)

EVERYTHING = Facts(
    homemade=tuple(
        Homemade(
            at(5),
            "Norm",
            *[Deviation(1.0, cause)] * 4,
            statistics=(Kept("mean", how, "yes"),),
            affine=(Kept("gamma", other, "no"),),
            single=single,
            changed=("mean",),
            modeless="no",
        )
        for cause, how, other, single in (
            ("", "attribute", "attribute", "accepted"),
            ("its update is left out: make it one", "not persistent", "buffer", "not a number"),
            ("eps is missing: add it", "parameter", "parameter", "accepted"),
        )
    ),
    norms=(norm(momentum=0.9, eps=0.8), norm(eps=setting(0.8, position=1)), norm(eps=0)),
    uses=(
        use(chain("ReLU", "Conv2d")),
        use(chain("Sigmoid", "Conv2d", "ReLU", "BatchNorm2d")),
        use((Op("conv", "conv", at(4), TestBiasBeforeBatchNorm.CONV),)),
        use((Op("dropout", "Dropout", at(4), layer("Dropout", p=0.5)),)),
        use((TestDoubleNormalization.BN,)),
        use(chain("LayerNorm")),
    ),
    shared=(
        SHARED,
        replace(SHARED, feeders=(op("Conv2d"), op("Conv2d"))),
        REPEATED,
        TestSharedBatchNorm.APART,
    ),
    recurrent=tuple(replace(RECURRENT, how=how) for how in ("loop", "cell")),
    arrivals=(
        Arrival(norm(), at(7), 16, (4,), (TestFeatureMismatch.MORE,)),
        Arrival(norm(), at(7), 16, (2, 3), (TestFeatureMismatch.FITS,)),
        Arrival(norm(), at(7), 16, (4,), (replace(TestFeatureMismatch.FITS, dimensions=6),)),
    ),
    answers=(ANSWER,),
    overrides=tuple(
        replace(OVERRIDE, **{name: value})
        for name, value in {"reaches": "no", "honours": "no", "returns": "nothing"}.items()
    ),
    computed=(
        COMPUTED,
        replace(COMPUTED, assumed="this holds"),
        TestFixedTrainingFlag.LEFT_OUT,
        TestFixedTrainingFlag.HANDWRITTEN,
    ),
    unregistered=tuple(
        Unregistered(norm(), "Net", held, at(5))
        for held in ("list", "tuple", "dict", "object", "closure", "forward")
    ),
    forwards=tuple(
        replace(forward, batchnorm=batchnorm, dropout="yes")
        for forward in (FORWARD, TRAINING)
        for batchnorm in ("yes", "no", "unknown")
    ),
    exports=tuple(
        replace(EXPORT, call="torch.onnx.dynamo_export", effect=effect, batchnorm=batchnorm, dropout="yes")
        for effect in ("recorded", "refused", "kept")
        for batchnorm in ("yes", "no", "unknown")
    ),
    feeds=(
        *(FEED, replace(FEED, values=1, assumed="this holds"), SHORT, replace(SHORT, single=None)),
        *(replace(SHORT, length=UNKNOWN, assumed="this holds"), ACCUMULATED),
    ),
    splits=(SPLIT, replace(SPLIT, wrapper="DataParallel", devices=4, assumed="this holds")),
    recomputed=(RECOMPUTED, replace(RECOMPUTED, call="checkpoint_sequential")),
    saves=(SAVE, replace(SAVE, batchnorm="unknown"), replace(SAVE, what="nothing")),
    loads=(LOAD, replace(LOAD, filtered=step(3), batchnorm="unknown")),
    thaws=tuple(replace(THAW, frozen=frozen) for frozen in ("eval", "parameters", "hidden")),
    passes=(PASS,),
    averages=tuple(replace(AVERAGE, how=how) for how in ("parameters", "AveragedModel")),
    unsaved=(UNSAVED, replace(UNSAVED, how="not persistent")),
    untracked=(UNTRACKED, FLIPPED),
    statistics=(
        BUILT,
        replace(BUILT, count=7, trained="yes"),
        replace(BUILT, count=UNKNOWN, trained="yes"),
        POISONED,
        replace(POISONED, dtype="float16", var=(math.inf, -1.0)),
        replace(POISONED, var=(1.0, 1.0), poisoned="batch 3 of the loader gives NaN"),
        DRIFTED,
        SWAMPED,
    ),
    lacking=(LACKING, replace(LACKING, assumed="`bn` is a BatchNorm"), replace(LACKING, against="`Net`")),
    snapshots=tuple(
        replace(SNAPSHOT, of=of, batchnorm=batchnorm)
        for of in ("state", "model")
        for batchnorm in ("yes", "unknown")
    ),
)


@pytest.mark.parametrize("code", RULE)
class TestEachRule:
    def test_is_silent_about_what_is_unknown(self, code):
        assert not list(RULE[code].claims(NOTHING_KNOWN))

    def test_is_silent_where_there_is_nothing(self, code):
        assert not list(RULE[code].claims(Facts()))

    def test_speaks_in_one_sentence_or_two(self, code):
        found = list(RULE[code].claims(EVERYTHING))
        assert found
        for claim in found:
            assert re.match(r"[A-Z`]", claim.message)
            assert claim.message.endswith(".")
            assert 1 <= len(re.findall(r"\.(?=\s|$)", claim.message)) <= 2
            assert len(claim.message) <= 260
            assert "  " not in claim.message
            assert "UNKNOWN" not in claim.message

    def test_each_step_of_the_evidence_says_something(self, code):
        for step in (s for claim in RULE[code].claims(EVERYTHING) for s in claim.evidence):
            assert isinstance(step.message, str)

    def test_tells_the_reader_what_to_do(self, code):
        verbs = re.compile(
            r"\b(call|pass|use|make|wrap|move|swap|keep|leave|end|check|let|add|is \S+ here)\b"
        )
        assert all(verbs.search(claim.message) for claim in RULE[code].claims(EVERYTHING))


def test_everything_is_unknown_in_each_kind_of_fact():
    filled = {field.name for field in fields(Facts) if getattr(NOTHING_KNOWN, field.name)}
    assert filled == {field.name for field in fields(Facts)} - {"unregistered", "snapshots"}  # no question
