"""WDSR: Wide Activation for Efficient and Accurate Image Super-Resolution (Yu et al., arXiv:1808.08718).

The network of the paper's figure 1: a head convolution, residual blocks with wide activation, a tail convolution and
a 5x5 skip from the input, added before one pixel shuffle. Every convolution carries weight normalisation, which the
older MindSpore port left out. Two conventions of the authors are kept, told apart by `normalization`:

    ntire2018   x -> (x - mean * 255) / 127.5, DIV2K's mean colour (the challenge code, WDSR-A and WDSR-B)
    ychfan      x -> x / 255 - 0.5 (the later re-implementation, WDSR-A), with its own initial filter lengths
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError
from common.checkpoint import Checkpoint, CheckpointError

from .common import BlockA, BlockB, InferenceBlock, WeightNormConv2d, depth_to_space_order, fold

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's training pictures, in [0, 1]
EXPANSION = {"A": 4.0, "B": 6.0}
SCALES = (1, 2, 3, 4)


@dataclass(frozen=True)
class Hyper:
    """What is needed to build the network again; saved in every checkpoint.

    Attributes:
        variant: "A" (two 3x3 per block) or "B" (1x1, 1x1, 3x3 with a linear low rank).
        scale: 1 to 4.
        num_features: channels between the blocks (n_feats in the seed).
        num_blocks: residual blocks (n_resblocks).
        expand: width of the activation over num_features.
        linear: rank of WDSR-B's bottleneck over num_features.
        res_scale: factor on each residual branch; 0.1 steadies very deep nets.
        normalization: "ntire2018" or "ychfan".
        rgb_range: value of white in the input and the output.
        rgb_mean: mean colour subtracted, in [0, 1] (ntire2018 only).
        num_colors: 3 for RGB, 1 for luma.
    """

    variant: str = "B"
    scale: int = 2
    num_features: int = 64
    num_blocks: int = 32
    expand: float = 6.0
    linear: float = 0.8
    res_scale: float = 1.0
    normalization: str = "ntire2018"
    rgb_range: float = 255.0
    rgb_mean: tuple[float, float, float] = RGB_MEAN
    num_colors: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "rgb_mean", tuple(self.rgb_mean))  # JSON gives a list
        if self.variant not in EXPANSION:
            raise UserError(f"WDSR has the variants A and B, not {self.variant!r}")
        if self.scale not in SCALES:
            raise UserError(f"WDSR is built for the scales 1, 2, 3 and 4, not {self.scale}")
        if self.normalization not in ("ntire2018", "ychfan"):
            raise UserError(f"normalization is ntire2018 or ychfan, not {self.normalization!r}")
        if self.num_colors not in (1, 3) or len(self.rgb_mean) != 3:
            raise UserError(f"WDSR takes 1 or 3 colours with 3 means, not {self.num_colors} with {self.rgb_mean}")
        widths = self.num_features, self.num_blocks, self.num_features * self.expand, self.num_features * self.linear
        if not min(widths) >= 1:
            raise UserError(f"no WDSR has {self.num_blocks} blocks, {self.num_features} features, expand {self.expand}")
        numbers = self.res_scale, self.rgb_range, *self.rgb_mean
        if not (self.rgb_range > 0 and np.isfinite(numbers).all()):
            raise UserError(f"res_scale, rgb_range and rgb_mean must be finite, rgb_range above 0, not {numbers}")

    @property
    def shift_and_width(self) -> tuple[np.ndarray, float]:
        """The network sees (x - shift) / width; shift has the shape (1, colors, 1, 1)."""
        mean = np.array(self.rgb_mean if self.normalization == "ntire2018" else (0.5, 0.5, 0.5), np.float32)
        if self.num_colors == 1:
            mean = mean.mean(keepdims=True)
        width = self.rgb_range / 2 if self.normalization == "ntire2018" else self.rgb_range
        return mean.reshape(1, -1, 1, 1) * np.float32(self.rgb_range), width

    @property
    def receptive_radius(self) -> int:
        """LR pixels on each side that can change one output pixel; an overlap of this size tiles exactly."""
        per_block = 2 if self.variant == "A" else 1
        return max(2, 2 + per_block * self.num_blocks)


class WDSR(nn.Cell):
    """The training form, with weight normalisation.

    Input (N, colors, H, W) and output (N, colors, scale*H, scale*W), float32 in 0..rgb_range, not clipped.
    """

    def __init__(self, hyper: Hyper, seed: int = 0) -> None:
        super().__init__()
        self.hyper = hyper
        rng = np.random.default_rng(seed)
        colors, features, sub_pixels = hyper.num_colors, hyper.num_features, hyper.num_colors * hyper.scale**2
        gain = 1.0 if hyper.normalization == "ychfan" else None
        self.head = nn.SequentialCell(WeightNormConv2d(colors, features, 3, rng, gain))
        self.body = nn.SequentialCell(*(build_block(hyper, rng) for _ in range(hyper.num_blocks)))
        self.tail = nn.SequentialCell(WeightNormConv2d(features, sub_pixels, 3, rng, gain))
        self.skip = nn.SequentialCell(WeightNormConv2d(colors, sub_pixels, 5, rng, gain))
        shift, self.width = hyper.shift_and_width
        self.shift = Tensor(shift)

    def construct(self, lr_image: Tensor) -> Tensor:
        x = (lr_image - self.shift) / self.width
        sub_pixels = self.tail(self.body(self.head(x))) + self.skip(x)
        return ops.pixel_shuffle(sub_pixels, self.hyper.scale) * self.width + self.shift

    def inference_form(self) -> "WDSRInference":
        """The same function with plain convolutions: weight normalisation folded into the filters."""
        return WDSRInference(self)


def build_block(hyper: Hyper, rng: np.random.Generator) -> nn.Cell:
    """One residual block of the given variant."""
    if hyper.variant == "B":
        return BlockB(hyper.num_features, hyper.expand, hyper.linear, hyper.res_scale, rng)
    gains = (2.0, hyper.num_blocks**-0.5) if hyper.normalization == "ychfan" else (None, None)
    return BlockA(hyper.num_features, hyper.expand, hyper.res_scale, rng, gains)


class WDSRInference(nn.Cell):
    """WDSR with folded weights, for eval, infer and export. Same input and output as `WDSR`.

    `ops.DepthToSpace` is used because it keeps height and width free in ONNX. It counts channels block first where the
    pixel shuffle of the training form counts colour first, so the last filters are stored in its order.
    """

    def __init__(self, network: WDSR) -> None:
        super().__init__()
        hyper = network.hyper
        self.head = fold(network.head[0])
        self.blocks = nn.CellList([InferenceBlock(block) for block in network.body])
        order = depth_to_space_order(hyper.num_colors, hyper.scale)
        self.tail, self.skip = fold(network.tail[0], order), fold(network.skip[0], order)
        shift, self.width = hyper.shift_and_width
        self.shift = Tensor(shift)
        self.shuffle = ops.DepthToSpace(hyper.scale) if hyper.scale > 1 else ops.Identity()

    def construct(self, lr_image: Tensor) -> Tensor:
        x = (lr_image - self.shift) / self.width
        features = self.head(x)
        for block in self.blocks:
            features = block(features)
        return self.shuffle(self.tail(features) + self.skip(x)) * self.width + self.shift


def count_parameters(network: nn.Cell) -> int:
    """Number of trained values."""
    return sum(int(np.prod(parameter.shape)) for parameter in network.trainable_params())


PRESETS = {
    "wdsr_b_small": replace(Hyper(), num_features=32, num_blocks=16),
    "wdsr_b": Hyper(),
    "wdsr_a": replace(Hyper(), variant="A", num_features=32, num_blocks=16, expand=EXPANSION["A"]),
}
"""Named sizes; the scale is given apart."""


# ---------------------------------------------------------------------------------------------- other programs' files
# ntire2018 (the challenge code, EDSR style) has our names: `head.0`, `body.<i>.body.<j>`, `tail.0`, `skip.0`. Ports of
# it (yjn870, delldu) say `body.<i>.module.<j>`. ychfan has one `body`: its first entry is the head, its last the tail.

ROOTS = ("head", "body", "tail", "skip")
PARAMETRIZED = {"original0": "weight_g", "original1": "weight_v"}  # torch.nn.utils.parametrizations.weight_norm's names


def to_ours(weights: Mapping[str, np.ndarray]) -> Checkpoint:
    """Return the weights of another program's file by our names; filters without weight normalisation are given it.

    The metadata say the `normalization` where the names tell it: ychfan's.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        name = re.sub(r"^(body\.\d+)\.[a-z_]+\.(?=\d)", r"\1.body.", name)
        name = re.sub(r"^(head|tail|skip)\.(?!\d)", r"\1.0.", name)
        name = re.sub(r"parametrizations\.weight\.(original[01])$", lambda match: PARAMETRIZED[match[1]], name)
        if name.endswith(".weight") and array.ndim == 4:
            length = np.sqrt((array * array).sum((1, 2, 3), keepdims=True))
            found[name + "_g"], found[name + "_v"] = length, np.where(length, array, 1)  # a filter of zeros: 0 * v
        else:
            found[name] = array
    heads = [int(match[1]) for name in found if (match := re.fullmatch(r"body\.(\d+)\.weight_v", name))]
    if 0 not in heads:
        return Checkpoint(found)
    last = max(heads)

    def translate(name: str) -> str:
        match = re.fullmatch(r"body\.(\d+)\.(.+)", name)
        if not match:
            return name
        place, rest = int(match[1]), match[2]
        if place == 0:
            return f"head.0.{rest}"
        return f"tail.0.{rest}" if place == last else f"body.{place - 1}.{rest}"

    return Checkpoint({translate(name): array for name, array in found.items()}, {"normalization": "ychfan"})


def hyper_of(saved: Checkpoint, source: str, asked: Hyper) -> Hyper:
    """The network that a file without hyper-parameters describes, read off its shapes.

    What shapes do not tell (res_scale, rgb_range, rgb_mean, and normalization where no names do) is taken from `asked`.

    Args:
        saved: of `to_ours`.

    Raises:
        CheckpointError: not a WDSR.
    """
    weights = saved.weights
    shapes = {name: array.shape for name, array in weights.items()}
    places = [int(match[1]) for name in shapes if (match := re.fullmatch(r"body\.(\d+)\.body\.0\.weight_v", name))]
    try:
        features, colors, *_ = shapes["head.0.weight_v"]
        sub_pixels = shapes["tail.0.weight_v"][0]
        wide, _, side, _ = shapes["body.0.body.0.weight_v"]
        variant = "B" if side == 1 else "A"
        low_rank = shapes["body.0.body.2.weight_v"][0]
        scale = round((sub_pixels / colors) ** 0.5)
    except KeyError as error:
        some = ", ".join(sorted(weights)[:4])
        raise CheckpointError(f"{source} is no WDSR: it has {some} ..., not {error}") from None
    except (IndexError, ValueError, ZeroDivisionError):
        raise CheckpointError(f"{source} is no WDSR: its filters are not (out, in, height, width)") from None
    if colors not in (1, 3):
        raise CheckpointError(f"{source} is a WDSR for {colors} channels: 1 (luma) or 3 (RGB) can be used")
    return replace(
        asked,
        variant=variant,
        scale=scale,
        num_features=features,
        num_blocks=1 + max(places),
        expand=_ratio(wide, features, EXPANSION[variant]),
        linear=_ratio(low_rank, features, asked.linear) if variant == "B" else asked.linear,
        normalization=saved.meta.get("normalization", asked.normalization),
        num_colors=colors,
    )


def _ratio(channels: int, features: int, usual: float) -> float:
    """What `int(features * ratio)` gives `channels` back for; the quotient itself may be truncated to one less."""
    candidates = (usual, channels / features, (channels + 0.5) / features)
    return next(ratio for ratio in candidates if int(features * ratio) == channels)
