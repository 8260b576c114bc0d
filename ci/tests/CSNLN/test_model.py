"""CSNLN's network: both attentions against naive NumPy, blocks of rows, odd sizes, precision, gradients."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.CSNLN.nets import TINY, batch, cross_scale_weights, embedded, shaken, softmax
from ci.tests.naive import assert_close
from common.runtime import graph_mode
from common.training.step import GradientStep, L1Loss
from CSNLN.src.attention import CrossScaleAttention, NonLocalAttention, attend, reduced
from CSNLN.src.CSNLN import Hyper
from CSNLN.src.dataset.common import Upscaler
from CSNLN.src.inference import chopped
from CSNLN.src.recomputing import RecomputingStep

CHANNELS = 6


def features(count: int, height: int, width: int) -> np.ndarray:
    """(count, CHANNELS, height, width) float32."""
    return np.random.default_rng(3).normal(0, 1, (count, CHANNELS, height, width)).astype(np.float32)


# ------------------------------------------------------------------------------------------------- arithmetic


def naive_in_scale(x: np.ndarray, layer: NonLocalAttention) -> np.ndarray:
    """Pixel by pixel."""
    queries, keys = embedded(layer.conv_match1, x), embedded(layer.conv_match2, x)
    values, result = embedded(layer.conv_assembly, x), np.empty(x.shape)
    for row, column in np.ndindex(*x.shape[1:]):
        scores = np.array([queries[:, row, column] @ keys[:, i, j] for i, j in np.ndindex(*x.shape[1:])])
        result[:, row, column] = values.reshape(len(values), -1) @ softmax(scores)
    return result


def naive_cross_scale(x: np.ndarray, layer: CrossScaleAttention, s: int) -> np.ndarray:
    """Patch by patch: the mean of the large patches is laid at each pixel's place, and what overlaps is added."""
    h, w = x.shape[1:]
    values = np.pad(embedded(layer.conv_assembly, x), ((0, 0), (s, s), (s, s)))
    canvas = np.zeros((len(x), (h + 2) * s, (w + 2) * s))
    for i, j in np.ndindex(h, w):
        for (a, b), weight in np.ndenumerate(cross_scale_weights(x, layer, s, i, j)):
            patch = values[:, a * s : (a + 3) * s, b * s : (b + 3) * s]
            canvas[:, i * s : (i + 3) * s, j * s : (j + 3) * s] += weight * patch
    return canvas[:, s:-s, s:-s] / 6


def test_in_scale_attention_is_the_naive_one():
    layer, x = NonLocalAttention(CHANNELS, np.random.default_rng(0)), features(2, 4, 5)
    found = layer(Tensor(x)).asnumpy()
    for image, result in zip(x, found, strict=True):
        assert_close(result, naive_in_scale(image, layer), 5e-6)


@pytest.mark.parametrize(("scale", "height", "width"), [(2, 4, 8), (3, 9, 6)])
def test_cross_scale_attention_is_the_naive_one(scale, height, width):
    layer, x = CrossScaleAttention(CHANNELS, scale, np.random.default_rng(0)), features(2, height, width)
    found = layer(Tensor(x)).asnumpy()
    for image, result in zip(x, found, strict=True):
        assert_close(result, naive_cross_scale(image, layer, scale), 5e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_the_smaller_image_is_bilinear_at_half_pixels(scale):
    """Output pixel i lies at (i + 1/2) s - 1/2, between its two neighbours; the older port took pixel i s."""
    x = features(1, 2 * scale, 3 * scale)[0]

    def along(x: np.ndarray, axis: int) -> np.ndarray:
        places = (np.arange(x.shape[axis] // scale) + 0.5) * scale - 0.5
        low, share = np.floor(places).astype(int), places - np.floor(places)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        shape = [-1 if one == axis else 1 for one in range(3)]
        return x.take(low, axis) * (1 - share).reshape(shape) + x.take(high, axis) * share.reshape(shape)

    assert_close(reduced(Tensor(x[None]), scale).asnumpy()[0], along(along(x.astype(np.float64), 1), 2), 1e-6)


@pytest.mark.parametrize("rows", [1, 4])
def test_blocks_of_rows_change_nothing(rows):
    """Also where they do not divide the height."""
    x = Tensor(batch(2, 6, 12))
    for scale in (2, 3):
        hyper = replace(TINY, scale=scale, depth=1)
        np.testing.assert_array_equal(shaken(hyper, rows)(x).asnumpy(), shaken(hyper)(x).asnumpy())


# ------------------------------------------------------------------------------------------------- images of any size


@pytest.mark.parametrize(("scale", "height", "width"), [(2, 7, 9), (3, 7, 8), (4, 5, 6)])
def test_odd_sizes_are_continued_and_cut_back(scale, height, width):
    hyper = replace(TINY, scale=scale, depth=1)
    network, image = shaken(hyper), batch(1, height, width)[0].transpose(1, 2, 0)
    multiple = 3 if scale == 3 else 2
    padded = np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="reflect")
    whole = network(Tensor(padded.transpose(2, 0, 1)[None])).asnumpy()[0].transpose(1, 2, 0)
    found = Upscaler(lambda x: network(Tensor(x)).asnumpy(), hyper)(image)
    np.testing.assert_array_equal(found, whole[: height * scale, : width * scale])


def nearest(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(23, 40), (61, 64), (9, 30), (130, 71)])
def test_pieces_are_joined_without_a_gap(height, width, scale):
    """With a function that looks at one pixel only; pieces are small, of sides that the scale divides."""
    image, seen = np.random.default_rng(0).random((height, width, 3), np.float32), []

    def upscale(piece: np.ndarray) -> np.ndarray:
        seen.append(piece.shape[:2])
        return nearest(piece, scale)

    np.testing.assert_array_equal(chopped(upscale, scale, 3, 900)(image), nearest(image, scale))
    assert len(seen) > 1 or height < 10
    assert all(h * w < 900 and not h % scale and not w % scale for h, w in seen) or len(seen) == 1


# ------------------------------------------------------------------------------------------------- gradients, precision


@pytest.mark.parametrize("scale", [2, 4])
def test_gradients_reach_every_weight(scale):
    network = shaken(Hyper(scale, n_feats=8, depth=2))  # of fewer features, a PReLU's may all be positive
    loss, weights = L1Loss(network), ms.ParameterTuple(network.trainable_params())
    pair = Tensor(batch(1, 4, 6)), Tensor(batch(1, 4 * scale, 6 * scale, 1))
    gradients = ms.value_and_grad(lambda *pair: loss(*pair)[0], None, weights)(*pair)[1]
    still = [w.name for w, g in zip(weights, gradients, strict=True) if not np.abs(g.asnumpy()).max() > 0]
    assert not still


def test_recomputing_gives_the_same_gradients(monkeypatch):
    """Of two images after two others, under a loss scale and a clip: those of all four in PyNative mode."""
    network, pair = shaken(TINY), (Tensor(batch(4, 4, 6)), Tensor(batch(4, 8, 12, 1)))
    with monkeypatch.context() as patch:
        patch.setenv("MS_JIT", "0")
        whole = GradientStep(L1Loss(network), ms.ParameterTuple(network.trainable_params()), clip=0.1)
        wanted = whole(Tensor((1.0, 0.0), ms.float32), *pair)
    with graph_mode():
        found = RecomputingStep(network, 2, clip=0.1)(Tensor((64.0, 0.0), ms.float32), *pair)
    assert float(wanted[2]) > 0.1, "the clip has an effect"
    for one, other in ((found[0][0], wanted[0][0]), (found[2], wanted[2])):
        assert float(one) == pytest.approx(float(other), rel=1e-5)
    for one, other in zip(found[1], wanted[1], strict=True):
        if np.abs(other.asnumpy()).max() < 1e-9:  # of a norm of 0.1: rounding errors alone
            assert np.abs(one.asnumpy()).max() < 1e-9
        else:
            assert_close(one.asnumpy(), other.asnumpy(), 2e-5)


def test_softmax_is_in_float32():
    """Of half precision scores: the sum of 5,000 small weights would be off by percents in float16."""
    scores = np.random.default_rng(0).normal(0, 0.1, (1, 5000)).astype(np.float16)
    found = attend(Tensor(scores), 10.0)
    assert found.dtype == ms.float16
    wanted = softmax(10 * scores[0].astype(np.float64))
    np.testing.assert_allclose(found.asnumpy()[0], wanted, rtol=1e-3, atol=6e-8)
