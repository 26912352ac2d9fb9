"""The vocabulary that both engines speak and every rule listens to.

A fact is a positive statement about a program. What could not be determined is `UNKNOWN` (or `None`
where a field says so) and never equal to anything a rule asks for: unknown is silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from bnlint.finding import Step, Where


class Unknown(Enum):
    """The value of what could not be determined."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN

Answer3 = Literal["yes", "no", "unknown"]
"""A question with three answers."""

Mode = Literal["train", "eval", "unknown"]
"""The mode of a module. Branches that disagree hold both."""

Kind = Literal[
    "activation",
    "batchnorm",
    "norm",  # any other normalisation
    "conv",
    "linear",
    "dropout",
    "pool",
    "reshape",  # view, flatten, permute, contiguous, to, clone, pad, chunk, …: values are only moved
    "resample",  # interpolate, Upsample, PixelShuffle
    "softmax",  # softmax, log_softmax, sigmoid and tanh that stand after an answer are activations
    "identity",
    "add",
    "multiply",
    "concat",
    "input",
    "recurrent",
    "embedding",
    "other",  # an operation that is known and none of these
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One argument of a layer, a loader or a call.

    `value` is the constant, or UNKNOWN. `given` says that the source passes it; `position` is its
    index when it was passed by position. `evidence` tells where an indirect value comes from: a
    constant, the default of a command-line option, an entry of a configuration.
    """

    value: object
    where: Where
    given: bool = True
    position: int | None = None
    evidence: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that the source builds: torch's class name, its arguments, and where it is built.

    `arguments` has an entry for each argument that was given, and for each default that torch
    documents. An argument whose presence is not known (`**kwargs`) is UNKNOWN.
    """

    cls: str
    kind: Kind
    where: Where
    arguments: Mapping[str, Setting] = field(default_factory=dict)

    def value(self, name: str) -> object:
        """The value of an argument, UNKNOWN where it is not known."""
        setting = self.arguments.get(name)
        return UNKNOWN if setting is None else setting.value

    @property
    def title(self) -> str:
        """Its class, and its path in the model where it has one: "BatchNorm2d `layer1.0.bn1`"."""
        return self.cls if self.where.module is None else f"{self.cls} `{self.where.module}`"


@dataclass(frozen=True, slots=True)
class Op:
    """One application of a layer or a function to a tensor."""

    kind: Kind
    name: str
    where: Where
    layer: Layer | None = None


Chain = tuple[Op, ...]
"""Operations on one path of the dataflow, nearest first; the path ends where several tensors meet."""


@dataclass(frozen=True, slots=True)
class Use:
    """A BatchNorm that is applied to a tensor.

    `where` is the place that writes the order: the element of a container or the call in `forward`.
    `before` holds a chain for each way in which the tensor can have been computed; chains of
    branches that exclude each other are separate. `scope` is the class or function that writes it.
    `frozen` says whether it is kept in eval mode for good: there a bias before it counts. `certain`
    is false when it stands under a condition that could not be decided and that what feeds it does
    not share: without it the layer before needs its bias.
    """

    norm: Layer
    where: Where
    scope: str
    before: tuple[Chain, ...] = ()
    frozen: Answer3 = "no"
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Shared:
    """One BatchNorm object that is applied in several places of one forward.

    "applied": the code applies it at `where` to what `feeders[1]` gives, and on the same path to what
    `feeders[0]` gives, another layer. "repeated": a container holds it, or a module with it, more than
    once; `where` writes the element, `container` names what holds it. "inputs": it is applied to several
    inputs, whose means are `distance` deviations apart. `frozen` is as in `Use`.
    """

    norm: Layer
    where: Where
    how: Literal["applied", "repeated", "inputs"]
    feeders: tuple[Op, ...] = ()
    container: str = ""
    frozen: Answer3 = "no"
    assumed: str | None = None
    evidence: tuple[Step, ...] = ()
    distance: float = 0.0


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A BatchNorm that lies on the way from a hidden state to the next one.

    `how` tells what recurs: "cell" is a module that is given the state and returns the next one, "loop"
    goes over the steps of a sequence. `over` is the cell or the loop. `frozen` is as in `Use`.
    """

    norm: Layer
    where: Where
    how: Literal["cell", "loop"]
    over: Step
    frozen: Answer3 = "no"


@dataclass(frozen=True, slots=True)
class Arrived:
    """The shape of a tensor on one way to a BatchNorm, as far as it is certain.

    `dimensions` is how many it has, `channels` the size of the second one: a number, or how the source
    writes it. `fits` says whether that is the `num_features`. `made` made the channels, `shaped` the
    dimensions.
    """

    dimensions: int | Unknown = UNKNOWN
    channels: int | str | Unknown = UNKNOWN
    fits: Answer3 = "unknown"
    made: Step | None = None
    shaped: Step | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tensor that arrives at a BatchNorm: whatever the program decides, on one of these ways.

    `features` is the `num_features`, a number or how the source writes it, and `takes` the numbers of
    dimensions that the layer takes, empty where it takes any. `path` leads here, where an instance had
    to be looked at.
    """

    norm: Layer
    where: Where
    features: int | str | Unknown
    takes: tuple[int, ...]
    ways: tuple[Arrived, ...]
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a top-level model returns as its answer.

    `chain` leads back from the returned value. `where` is the place that writes the last layer: the
    layer itself, or the construction of the head where a block of another class ends the model.
    `answers` says why the value is the model's answer (class count, loss, returned name), empty
    where nothing says so. `certain` is false when the last layer stands under a condition that could
    not be decided.
    """

    model: str
    where: Where
    chain: Chain
    answers: tuple[Step, ...] = ()
    certain: bool = True
    evidence: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Override:
    """A `train` or `eval` method of an nn.Module that replaces torch's.

    `returns` is what comes back on the path that says least: "self", "nothing", "unknown".
    `reaches` says whether some path reaches `super()` (or sets the mode of every child itself).
    `honours` says whether the parameter `mode` decides anything.
    `always_eval` marks the idiom that keeps a model in eval whatever is asked.
    """

    cls: str
    method: Literal["train", "eval"]
    where: Where
    returns: Literal["self", "nothing", "unknown"]
    reaches: Answer3
    honours: Answer3
    batchnorm: Answer3 = "unknown"
    always_eval: bool = False


@dataclass(frozen=True, slots=True)
class Computed:
    """A batch normalisation that a module computes itself: by `F.batch_norm`, or written out.

    `training` is the flag that it runs with on every path, whatever the mode of the module: with True
    the batch's own mean and variance normalise, with False the running ones; UNKNOWN where the mode, or
    anything else, decides. `statistics` says whether the module keeps running statistics for it,
    `updated` whether anything moves them, `trained` whether it learns a scale and a shift. `meant` says
    whether a name tells that the flag is fixed on purpose (frozen, adapted at test time, few-shot).
    `measured` is how much a sample's answer depends on its batch in eval mode, where that was tried.
    """

    cls: str
    how: Literal["functional", "handwritten"]
    where: Where
    training: Setting
    statistics: Answer3
    updated: Answer3 = "unknown"
    trained: Answer3 = "unknown"
    meant: Answer3 = "unknown"
    assumed: str | None = None
    evidence: tuple[Step, ...] = ()
    measured: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A BatchNorm that its module does not know: absent from `state_dict()`, `.to()` and `eval()`.

    `holder` is where the list or dict that holds it is written.
    """

    layer: Layer
    owner: str
    held: Literal["list", "dict", "tuple", "object", "closure", "forward"]
    holder: Where | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """A call of a model in a script, reached by one path through the program.

    `purpose` is what the caller is about, `why` what shows it. `modes` holds the modes in which the
    model can be here; exactly {"train"} means that it certainly is in train mode on this path.
    `path` leads here: where the model was built, who last set its mode, who called.
    `stuck` is the `eval()` of an earlier pass of the training loop that is still in force, if any.
    Where a live model was looked at, `layer` is the BatchNorm that is in that mode, `measured` what its mode
    does to the answer, and `answers` are those for a sample in its batch and alone.
    """

    model: str
    where: Where
    purpose: Literal["training", "evaluation", "unknown"]
    modes: frozenset[Mode]
    batchnorm: Answer3
    dropout: Answer3 = "unknown"
    why: tuple[Step, ...] = ()
    path: tuple[Step, ...] = ()
    stuck: Step | None = None
    loop: Where | None = None
    assumed: str | None = None
    layer: Layer | None = None
    measured: Mapping[str, float] | None = None
    answers: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


Effect = Literal["recorded", "refused", "kept", "unknown"]
"""What an exporter makes of the mode: written into the program for good, refused with an exception, kept
as a flag that the program still has."""


@dataclass(frozen=True, slots=True)
class Export:
    """A model that becomes a program of its own: traced, exported, fused, or scripted and saved.

    `call` does it. `modes` holds the modes in which the model can be there; exactly {"train"} means
    that it certainly is in train mode on this path.
    """

    model: str
    where: Where
    call: str
    effect: Effect
    modes: frozenset[Mode]
    batchnorm: Answer3
    dropout: Answer3 = "unknown"
    path: tuple[Step, ...] = ()
    assumed: str | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """A DataLoader that feeds the training of a model.

    `batch_size` counts the samples per step; `model` is in train mode there. `values` is how many
    values per channel the BatchNorm sees that sees fewest, and `single` that BatchNorm if it sees one
    of each sample. `length` is the number of samples, `drop_last` the argument, None where it is not
    known whether there is one; `guarded` says whether anything takes care of a batch of one sample, and
    `synced` whether BatchNorm sees the samples of other devices as well. `steps` is how many batches
    gradients are accumulated over, None where that is not known. `assumed` names the one assumption that
    was needed, if any. `sizes` are those of the batches that were seen, where a loader was run,
    and `lone` is the number of one among them that has a single sample.
    """

    loader: Where
    batch_size: Setting
    model: str
    batchnorm: Answer3
    frozen: Answer3 = "no"
    values: int | Unknown = UNKNOWN
    single: Step | None = None
    length: int | Unknown = UNKNOWN
    drop_last: Setting | None = None
    shuffled: Answer3 = "unknown"
    guarded: Answer3 = "unknown"
    synced: Answer3 = "no"
    steps: Setting | None = None
    path: tuple[Step, ...] = ()
    assumed: str | None = None
    sizes: tuple[int, ...] = ()
    lone: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """A model that is copied to several devices, each of which is given its share of a batch.

    `wrapper` does it. `whole` samples are divided, and none of the `devices` sees more than `share`;
    `loaded` is how many samples the loader gives at once, where that is known. `synced` says whether
    BatchNorm sees the samples of all devices.
    """

    where: Where
    wrapper: str
    model: str
    batchnorm: Answer3
    frozen: Answer3 = "no"
    whole: int | Unknown = UNKNOWN
    share: int | Unknown = UNKNOWN
    devices: int | Unknown = UNKNOWN
    loaded: int | Unknown = UNKNOWN
    synced: Answer3 = "unknown"
    path: tuple[Step, ...] = ()
    assumed: str | None = None


@dataclass(frozen=True, slots=True)
class Save:
    """State of a model that leaves it: written to a file, sent, or copied into another model.

    `what` is what was taken: "parameters" (also `named_parameters`), "trainable" (a filter on
    `requires_grad`), "nothing" (that filter on detached tensors), "filtered" (a key filter that drops the
    statistics), "state_dict".
    """

    where: Where
    model: str
    what: Literal["parameters", "trainable", "nothing", "filtered", "state_dict", "unknown"]
    how: Literal["saved", "exchanged", "unknown"]
    batchnorm: Answer3
    buffers_beside: Answer3 = "no"
    path: tuple[Step, ...] = ()
    assumed: str | None = None


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Running statistics that a normalisation of the project keeps where `state_dict()` does not see them.

    `names` are the attributes. `how` says that they are plain "attributes", or buffers that are "not
    persistent". `used` says whether anything besides the constructor works with them.
    """

    where: Where
    cls: str
    names: tuple[str, str]
    how: Literal["attributes", "not persistent"]
    used: Answer3


@dataclass(frozen=True, slots=True)
class Load:
    """A `load_state_dict`.

    `strict` is its argument. `inspected` says whether anybody looks at the missing keys.
    `filtered` names a filter that drops the statistics before they are loaded, if any.
    """

    where: Where
    model: str
    strict: Setting
    inspected: Answer3
    batchnorm: Answer3
    filtered: Step | None = None
    path: tuple[Step, ...] = ()
    assumed: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a model that is kept without a copy, and used after the model has moved on.

    `name` is what it is kept as, empty where it has no name of its own. `of` says whether `state_dict()`
    is kept or the model itself. `moved` says what the model has done since: it was "trained", or another
    state was "loaded" into it. `path` leads on to the use.
    """

    where: Where
    model: str
    name: str
    of: Literal["state", "model"]
    moved: Literal["trained", "loaded"]
    batchnorm: Answer3
    path: tuple[Step, ...] = ()
    assumed: str | None = None


@dataclass(frozen=True, slots=True)
class Untracked:
    """A BatchNorm without statistics of its own in a model that is evaluated in eval mode.

    `how` says how that came: it was "built" so, or the flag was "flipped" on the finished layer. The latter
    keeps the buffers as they are, and eval goes on using them: `trained` says whether the model trains after
    that. `meant` says whether a name tells that this is on purpose (style transfer, few-shot learning,
    adaptation at test time). `path` leads to the evaluation.
    """

    where: Where
    model: str
    how: Literal["built", "flipped"]
    trained: Answer3
    meant: Answer3
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Thaw:
    """A model that trains in train mode though its BatchNorm was frozen.

    `where` puts it into train mode, or trains it. `frozen` says how BatchNorm was meant to be kept as it
    is: "eval" (put into eval mode once), "parameters" (they get no gradients), "hidden" (a method that
    would do it cannot be called); `since` is the place.
    """

    where: Where
    model: str
    frozen: Literal["eval", "parameters", "hidden"]
    since: Step
    batchnorm: Answer3
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class StochasticPass:
    """A model that certainly is in train mode where it predicts one input several times: Monte-Carlo dropout.

    `why` shows that the passes are meant to differ; `path` leads here: where the model was built, who
    last set its mode, who called.
    """

    where: Where
    model: str
    batchnorm: Answer3
    dropout: Answer3
    why: Step
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Average:
    """A model whose parameters are averages over time of another one's.

    `how` is "parameters" (a loop over them) or "AveragedModel" (torch's, which averages nothing else unless
    `use_buffers` is set). `buffers` says whether its buffers come from anywhere. `modes` holds the modes
    in which it is called; exactly {"eval"} means that it keeps no statistics of its own. `moving` says
    whether the statistics of the model that is averaged move: where they are frozen, both have the same.
    """

    where: Where
    model: str
    how: Literal["parameters", "AveragedModel"]
    modes: frozenset[Mode]
    buffers: Answer3
    batchnorm: Answer3
    moving: Answer3
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A part of a model that an activation checkpoint runs a second time in the backward pass.

    `call` is the function that does it. `momentum` is that of the BatchNorm layers in the part where one is
    given. `certain` is false where the checkpoint depends on a condition that may not hold in training.
    """

    where: Where
    call: str
    batchnorm: Answer3
    frozen: Answer3 = "no"
    momentum: Setting | None = None
    certain: bool = False
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """The running statistics of one BatchNorm of a live model, or of a file.

    `norm` is the layer: its `where` names the file and the path in the model, and settings that a file does
    not hold are UNKNOWN. `held` says where they are ("`net`", "`best.pt`"). `mean` and `var` have one number
    per channel, and are empty where they are not known. `count` is `num_batches_tracked`. `trained` says
    whether the layer's scale or shift has moved from (1, 0), `evaluated` whether the statistics normalise as
    they are: in eval mode, or in whatever model the file is loaded into.

    `seen_mean` and `seen_var` are what `batches` batches of the loader gave at this layer, per channel, and
    empty where nothing was measured; `poisoned` tells which batch would put a NaN or an infinity into the
    statistics, if one would.
    """

    norm: Layer
    held: str
    mean: tuple[float, ...] = ()
    var: tuple[float, ...] = ()
    count: int | Unknown = UNKNOWN
    trained: Answer3 = "unknown"
    evaluated: Answer3 = "unknown"
    dtype: str = ""
    seen_mean: tuple[float, ...] = ()
    seen_var: tuple[float, ...] = ()
    batches: int = 0
    poisoned: str = ""


@dataclass(frozen=True, slots=True)
class Lacking:
    """A BatchNorm whose running statistics are not in a state: a file, or what `state_dict()` gives.

    `norm` is the layer, as in `Statistics`. `held` names the state, `names` the entries that are not in it.
    `against` names the live model into which the state is to be loaded; it is empty where the state is
    judged by itself.
    """

    norm: Layer
    held: str
    names: tuple[str, ...]
    against: str = ""
    path: tuple[Step, ...] = ()
    assumed: str | None = None


AGREEMENT: Final = 1e-4
"""The relative difference up to which a home-made layer does what the reference does: mistakes are larger."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a home-made layer is from the reference in one respect.

    `largest` is the largest difference, relative to the largest number of the reference or to 1; infinite
    where only one of both is a number, UNKNOWN where it could not be compared. Differences that follow from
    those in another respect are not in it. `cause` is the mistake that explains it up to rounding, empty if
    no known one does. `shown` holds the smallest input that shows it.
    """

    largest: float | Unknown = UNKNOWN
    cause: str = ""
    shown: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A tensor of a home-made layer, and how it is held; `trained` says whether it takes gradients."""

    name: str
    how: Literal["parameter", "buffer", "not persistent", "attribute", "unknown"]
    trained: Answer3 = "unknown"


@dataclass(frozen=True, slots=True)
class Homemade:
    """A home-made BatchNorm, measured against the reference.

    `output` and `gradients` are about train mode, `averages` about the running statistics, `evaluation` about
    eval mode. `statistics` and `affine` tell how what was found as such is held. `single` says what train
    mode makes of one value per channel. `changed` names what a forward in eval mode changes, `modeless`
    whether the layer does the same in both modes.
    """

    where: Where
    cls: str
    output: Deviation = Deviation()
    gradients: Deviation = Deviation()
    averages: Deviation = Deviation()
    evaluation: Deviation = Deviation()
    statistics: tuple[Kept, ...] = ()
    affine: tuple[Kept, ...] = ()
    single: Literal["refused", "accepted", "not a number", "unknown"] = "unknown"
    changed: tuple[str, ...] = ()
    modeless: Answer3 = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything an engine has to say about one project or one live model."""

    norms: tuple[Layer, ...] = ()
    uses: tuple[Use, ...] = ()
    shared: tuple[Shared, ...] = ()
    recurrent: tuple[Recurrent, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    answers: tuple[Answer, ...] = ()
    overrides: tuple[Override, ...] = ()
    computed: tuple[Computed, ...] = ()
    unregistered: tuple[Unregistered, ...] = ()
    forwards: tuple[Forward, ...] = ()
    exports: tuple[Export, ...] = ()
    feeds: tuple[Feed, ...] = ()
    saves: tuple[Save, ...] = ()
    loads: tuple[Load, ...] = ()
    thaws: tuple[Thaw, ...] = ()
    passes: tuple[StochasticPass, ...] = ()
    averages: tuple[Average, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    untracked: tuple[Untracked, ...] = ()
    unsaved: tuple[Unsaved, ...] = ()
    recomputed: tuple[Recomputed, ...] = ()
    splits: tuple[Split, ...] = ()
    homemade: tuple[Homemade, ...] = ()
    statistics: tuple[Statistics, ...] = ()
    lacking: tuple[Lacking, ...] = ()


MOVES: Final[frozenset[Kind]] = frozenset({"reshape", "dropout", "pool", "identity"})
"""What an order of layers looks through: values are moved, dropped or pooled, not computed."""


def source_of(chain: Chain, through: frozenset[Kind] = MOVES) -> Iterator[Op]:
    """The operation at the near end of a chain, past what `through` names; nothing if there is none."""
    for op in chain:
        if op.kind not in through:
            yield op
            return


def assumption(fact: Forward | Export | Feed | Split | Save | Load | Snapshot) -> str | None:
    """What a claim about BatchNorm takes for granted, to stand behind "assuming that"; None if nothing."""
    if fact.assumed is None and fact.batchnorm == "unknown":
        return f"`{fact.model}` contains BatchNorm"
    return fact.assumed
