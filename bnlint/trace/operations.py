"""What kind of operation a function of torch is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from bnlint.facts import Kind

_WORDS: Final[dict[Kind, str]] = {
    "activation": """
        relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid
        hardtanh softplus softsign tanh sigmoid logsigmoid threshold tanhshrink hardshrink
        softshrink glu softmin expit log_sigmoid erf
    """,
    "batchnorm": "batch_norm native_batch_norm _native_batch_norm_legit cudnn_batch_norm",
    "norm": """
        layer_norm group_norm instance_norm rms_norm local_response_norm normalize
        native_layer_norm
    """,
    "conv": """
        conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc
        convolution _convolution
    """,
    "linear": "linear",
    "dropout": """
        dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout
        feature_alpha_dropout native_dropout
    """,
    "pool": """
        max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
        lp_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d fractional_max_pool2d
        fractional_max_pool3d max_unpool1d max_unpool2d max_unpool3d max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices
    """,
    "reshape": """
        view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims
        movedim moveaxis t T mT H mH adjoint squeeze unsqueeze contiguous clone detach data to
        type type_as float half bfloat16 double cpu cuda expand expand_as repeat tile pad
        constant_pad_nd chunk split split_with_sizes tensor_split unbind __getitem__ select
        narrow index_select unfold roll flip rot90 ravel alias requires_grad_ channel_shuffle
        diagonal real as_strided take masked_select gather tensor atleast_1d atleast_2d
        atleast_3d rename positive dequantize _to_copy
    """,
    "resample": """
        interpolate upsample upsample_nearest upsample_bilinear pixel_shuffle pixel_unshuffle
        grid_sample
    """,
    "softmax": "softmax log_softmax gumbel_softmax",
    "add": """
        add sub rsub subtract __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ addcmul
        addcdiv lerp
    """,
    "multiply": """
        mul multiply div divide true_divide __mul__ __rmul__ __imul__ __truediv__ __rtruediv__
        __itruediv__ __div__
    """,
    "concat": """
        cat concat concatenate stack hstack vstack dstack column_stack __setitem__ where
    """,
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    "embedding": "embedding embedding_bag",
}
"""What functions and methods are called, without the underscore of those in place."""
KINDS: Final[dict[str, Kind]] = {word: kind for kind, words in _WORDS.items() for word in words.split()}

AS_POOLING: Final = frozenset({"mean", "amax", "max", "nanmean", "adaptive_avg_pool"})
"""What pools where it goes over positions and leaves the samples apart."""
SLICES: Final = frozenset(
    {"__getitem__", "select", "unbind", "chunk", "split", "narrow", "index_select", "tensor_split"}
)
"""What takes a part of a tensor, such as one step of a sequence."""

FORMED: Final = frozenset({"view_as", "reshape_as", "expand_as", "type_as"})
"""What takes the form of another tensor, and none of its values."""
FRESH: Final = frozenset({"new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"})
"""What takes nothing else, beside the functions that end in `_like`."""
FOREIGN: Final = frozenset({"from_numpy", "frombuffer", "from_dlpack"})
"""What makes tensors of what others have computed."""


def valued(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Those arguments, by position and by name, of which the values count."""
    if name in FRESH or name.endswith("_like"):
        return (), {}
    given = {key: value for key, value in kwargs.items() if key != "out"} if "out" in kwargs else kwargs
    return (args[:1] if name in FORMED else args), given


def named(func: Callable[..., Any]) -> str:
    """The name of a function: `relu` for `F.relu`, `relu_` for `Tensor.relu_`, `data` for `Tensor.data`."""
    name: str = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name


def kind_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Kind:
    """The kind of a call of a function by this name."""
    bare = name if name.endswith("__") else name.strip("_")
    found = KINDS.get(name) or KINDS.get(bare)
    if found is not None:
        return found
    if name in FOREIGN:
        return "unknown"
    if bare in {"clamp", "clip", "clamp_min"}:
        return "activation" if _rectifies(args, kwargs) else "other"
    if bare in AS_POOLING and _pools(args, kwargs):
        return "pool"
    return "other"


def _rectifies(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a clamp is a ReLU: it cuts at 0 from below, and at a positive number from above if at all."""
    lower = args[1] if len(args) > 1 else kwargs.get("min")
    upper = args[2] if len(args) > 2 else kwargs.get("max")
    return type(lower) in {int, float} and lower == 0 and not isinstance(upper, Tensor)


def _pools(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a reduction goes over positions: not over the samples, nor over the channels of an image."""
    if not args or not isinstance(args[0], Tensor):
        return False
    dims = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
    several = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    many = args[0].dim()
    if many < 3 or not several or not all(type(dim) is int for dim in several):
        return False
    kept = {0, 1} if many > 3 else {0}
    return not kept & {dim % many for dim in several}
