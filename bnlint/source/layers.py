"""What torch's layers and functions are: their kinds, their arguments, and how tensors pass through them."""

from __future__ import annotations

from typing import Final

from bnlint.facts import Kind

NO_DEFAULT: Final = object()

Arguments = dict[str, object]

NORM: Arguments = {
    "num_features": NO_DEFAULT,
    "eps": 1e-5,
    "momentum": 0.1,
    "affine": True,
    "track_running_stats": True,
}
LAZY_NORM: Arguments = {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
SYNC_NORM: Arguments = {**NORM, "process_group": None}
CONV: Arguments = {
    "in_channels": NO_DEFAULT,
    "out_channels": NO_DEFAULT,
    "kernel_size": NO_DEFAULT,
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "bias": True,
    "padding_mode": "zeros",
}
CONV_TRANSPOSE: Arguments = {
    "in_channels": NO_DEFAULT,
    "out_channels": NO_DEFAULT,
    "kernel_size": NO_DEFAULT,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "groups": 1,
    "bias": True,
    "dilation": 1,
    "padding_mode": "zeros",
}
LAZY_CONV = {name: default for name, default in CONV.items() if name != "in_channels"}
LAZY_CONV_TRANSPOSE = {name: default for name, default in CONV_TRANSPOSE.items() if name != "in_channels"}
LINEAR: Arguments = {"in_features": NO_DEFAULT, "out_features": NO_DEFAULT, "bias": True}
LAZY_LINEAR: Arguments = {"out_features": NO_DEFAULT, "bias": True}
DROPOUT: Arguments = {"p": 0.5, "inplace": False}

LAYERS: Final[dict[str, tuple[Kind, Arguments]]] = {
    **{f"BatchNorm{n}d": ("batchnorm", NORM) for n in (1, 2, 3)},
    **{f"LazyBatchNorm{n}d": ("batchnorm", LAZY_NORM) for n in (1, 2, 3)},
    "SyncBatchNorm": ("batchnorm", SYNC_NORM),
    **{f"Conv{n}d": ("conv", CONV) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("conv", CONV_TRANSPOSE) for n in (1, 2, 3)},
    **{f"LazyConv{n}d": ("conv", LAZY_CONV) for n in (1, 2, 3)},
    **{f"LazyConvTranspose{n}d": ("conv", LAZY_CONV_TRANSPOSE) for n in (1, 2, 3)},
    "Linear": ("linear", LINEAR),
    "LazyLinear": ("linear", LAZY_LINEAR),
    "Bilinear": ("linear", {}),
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"), ("dropout", DROPOUT)),
    "FeatureAlphaDropout": ("dropout", DROPOUT),
    **{f"InstanceNorm{n}d": ("norm", {}) for n in (1, 2, 3)},
    **{
        name: ("norm", {})
        for name in ("LayerNorm", "GroupNorm", "LocalResponseNorm", "RMSNorm", "CrossMapLRN2d")
    },
    **{
        f"{kind}Pool{n}d": ("pool", {})
        for kind in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax", "LP", "FractionalMax")
        for n in (1, 2, 3)
    },
    **{f"MaxUnpool{n}d": ("resample", {}) for n in (1, 2, 3)},
    **{
        f"{kind}Pad{n}d": ("reshape", {})
        for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    **{name: ("reshape", {}) for name in ("Flatten", "Unflatten", "Fold", "Unfold", "ChannelShuffle")},
    **{
        name: ("resample", {})
        for name in (
            "Upsample",
            "UpsamplingNearest2d",
            "UpsamplingBilinear2d",
            "PixelShuffle",
            "PixelUnshuffle",
        )
    },
    "Identity": ("identity", {}),
    **{name: ("softmax", {}) for name in ("Softmax", "LogSoftmax", "Softmax2d", "Softmin")},
    **{
        name: ("activation", {})
        for name in (
            *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish"),
            *(
                "Hardswish",
                "Hardsigmoid",
                "Hardtanh",
                "Sigmoid",
                "Tanh",
                "LogSigmoid",
                "Softplus",
                "Softsign",
            ),
            *("Tanhshrink", "Softshrink", "Hardshrink", "Threshold", "GLU"),
        )
    },
    **{name: ("recurrent", {}) for name in ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")},
    **{name: ("embedding", {}) for name in ("Embedding", "EmbeddingBag")},
    **{
        name: ("other", {})
        for name in (
            *("Transformer", "TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder"),
            *("TransformerDecoderLayer", "MultiheadAttention", "CosineSimilarity", "PairwiseDistance"),
        )
    },
}
"""torch.nn's layers: what each is, and its arguments in order with their defaults."""

NEAR: Final[frozenset[Kind]] = frozenset(
    {"reshape", "dropout", "identity", "resample", "softmax", "activation"}
)
"""What may stand between the layer that makes an answer and the answer."""

CONTINUING: Final[frozenset[Kind]] = frozenset(
    {"conv", "linear", "batchnorm", "norm", "recurrent", "add", "multiply", "concat", "other"}
)
"""What computes something else of a tensor."""

HOME_MADE: Final = frozenset(
    {
        *(name.lower() for name, (kind, _) in LAYERS.items() if kind == "activation" and name != "GLU"),
        *(
            "swish",
            "memoryefficientswish",
            "hswish",
            "hsigmoid",
            "hardmish",
            "quickgelu",
            "newgelu",
            "ftswish",
        ),
    }
)
"""Names of classes that people write for one of the known activations, in lower case without underscores."""

CONTAINERS: Final = {"Sequential", "ModuleList", "ModuleDict"}

FUNCTIONS: Final[dict[str, Kind]] = {
    **dict.fromkeys(
        (
            *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish"),
            *(
                "hardswish",
                "hardsigmoid",
                "hardtanh",
                "sigmoid",
                "tanh",
                "logsigmoid",
                "softplus",
                "softsign",
            ),
            *("tanhshrink", "softshrink", "hardshrink", "threshold", "glu"),
        ),
        "activation",
    ),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), "dropout"),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"), "conv"),
    "conv_transpose3d": "conv",
    **dict.fromkeys(("linear", "bilinear", "matmul", "mm", "bmm", "einsum", "addmm", "baddbmm"), "linear"),
    **dict.fromkeys(
        ("layer_norm", "group_norm", "instance_norm", "normalize", "local_response_norm"), "norm"
    ),
    "batch_norm": "batchnorm",
    **{
        f"{kind}_pool{n}d": "pool"
        for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp", "fractional_max")
        for n in (1, 2, 3)
    },
    **dict.fromkeys(
        ("interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle", "grid_sample"), "resample"
    ),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "gumbel_softmax"), "softmax"),
    **dict.fromkeys(
        (
            *(
                "view",
                "reshape",
                "flatten",
                "permute",
                "transpose",
                "squeeze",
                "unsqueeze",
                "contiguous",
                "clone",
            ),
            *(
                "detach",
                "to",
                "type",
                "type_as",
                "float",
                "half",
                "double",
                "cpu",
                "cuda",
                "pad",
                "chunk",
                "split",
            ),
            *(
                "view_as",
                "reshape_as",
                "expand",
                "expand_as",
                "repeat",
                "swapaxes",
                "movedim",
                "moveaxis",
                "t",
            ),
            *("unflatten", "narrow", "flip", "roll", "select", "index_select", "unbind", "ravel", "bfloat16"),
            *("requires_grad_", "retain_grad", "numpy", "swapdims", "tensor_split", "detach_", "squeeze_"),
        ),
        "reshape",
    ),
    **dict.fromkeys(("add", "sub", "add_"), "add"),
    **dict.fromkeys(("mul", "div", "mul_", "div_"), "multiply"),
    **dict.fromkeys(("cat", "concat", "stack", "hstack", "vstack", "concatenate"), "concat"),
}
"""Functions of torch, torch.nn.functional and tensors that take a tensor and give one."""

IN_PLACE: Final = frozenset(
    {"relu", "leaky_relu", "elu", "selu", "celu", "sigmoid", "tanh", "rrelu", "threshold"}
)
"""Functions that also exist with an underscore and then change their tensor."""

SATURATING: Final = frozenset({"Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh", "sigmoid", "tanh", "hardtanh"})


LOSSES: Final = frozenset(
    {
        f"torch.nn.{name}Loss"
        for name in ("CrossEntropy", "NLL", "BCE", "BCEWithLogits", "MSE", "L1", "SmoothL1", "Huber")
    }
    | {
        f"torch.nn.functional.{name}"
        for name in (
            *("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
            *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
        )
    }
)
"""Losses that compare what a model answers with what it should."""


def torch_name(path: str) -> str | None:
    """The name of a torch.nn class by its dotted path; None for anything else."""
    head, _, name = path.rpartition(".")
    if head == "torch.nn" or head.startswith("torch.nn.modules"):
        return name
    if head in {"torch.nn.parallel", "torch.nn.utils"}:
        return name
    return None


def function_name(path: str) -> str | None:
    """The name of a function of torch or torch.nn.functional; None for anything else."""
    head, _, name = path.rpartition(".")
    if head in {"torch", "torch.nn.functional", "torch.Tensor", "torch.nn.functional.functional"}:
        return name[:-1] if name.endswith("_") and name[:-1] in IN_PLACE else name
    return None


def layer_kind(path: str) -> Kind | None:
    """What the torch.nn layer at a dotted path is; None where it is no layer that we know."""
    name = torch_name(path)
    found = LAYERS.get(name) if name else None
    return None if found is None else found[0]
