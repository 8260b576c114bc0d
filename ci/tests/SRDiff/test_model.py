"""SRDiff's networks, samplers and objectives against naive NumPy and what is known exactly.

test_goldens.py has the authors' schedules, formulas, chain and gradients.
"""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ci.tests.naive import assert_close, assert_drawn, normal
from ci.tests.SRDiff import nets
from ci.tests.SRDiff.nets import TINY, make, random_image
from common import runtime
from SRDiff.src.model.layers import Mish, conv, conv_transpose, dense
from SRDiff.src.model.objective import EncoderLoss, NoiseLoss
from SRDiff.src.model.sampling import sample
from SRDiff.src.model.schedule import Schedule, make_schedule
from SRDiff.src.model.srdiff import SRDiffNet, read_features

SCALES = tuple(TINY)
AUTHORS = make_schedule("cosine", 100)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def inputs(scale: int, count: int = 2) -> tuple[np.ndarray, ...]:
    """HR, LR and upscaled LR images, steps and noise: 4 x 8 LR pixels, at x2 and x4; 2 x 4 at x8."""
    height, width = (2, 4) if scale == 8 else (4, 8)
    sides = scale * height, scale * width
    hr_image, lr_up = random_image(*sides, count), 0.3 * random_image(*sides, count, seed=2)
    return hr_image, random_image(height, width, count, seed=1), lr_up, np.arange(count) * 7, normal(count, 3, *sides)


def tensors(batch: tuple[np.ndarray, ...]) -> list[Tensor]:
    return [Tensor(np.int32(array) if array.ndim == 1 else array) for array in batch]


@pytest.fixture(scope="module")
def tiny() -> dict[int, SRDiffNet]:
    """scale -> a tiny network, not to be changed."""
    return {scale: make(hyper) for scale, hyper in TINY.items()}


# ------------------------------------------------------------------ layers

RANGES = [(-1e3, -20), (-20, -3), (-3, 0), (0, 3), (3, 8), (8, 20), (20, 1e3)]


def slope_of(cell: nn.Cell, x: Tensor) -> Tensor:
    def total(x: Tensor) -> Tensor:
        return cell(x).sum()

    return ms.grad(total)(x)


@pytest.mark.parametrize("compiled", [False, True], ids=["PyNative", "graph"])
def test_mish(compiled):
    """Values and slopes at all sizes; MindSpore's own has slopes 9e-4 off between 3 and 8, and NaN above 44."""
    x = np.concatenate([rng().uniform(low, high, 20_000) for low, high in RANGES]).astype(np.float32)
    with runtime.graph_mode(compiled):
        values = Mish()(Tensor(x)).asnumpy()
        slopes = slope_of(Mish(), Tensor(x)).asnumpy()
    exact = x.astype(np.float64)
    assert np.all(np.abs(values - nets.mish(exact)) < 1e-6 * np.maximum(1, np.abs(x) / 8))
    assert np.abs(slopes - nets.mish_slope(exact)).max() < 1.2e-6
    for low, high in RANGES:
        inside = (low <= x) & (x < high)
        assert abs((slopes - nets.mish_slope(exact))[inside].mean()) < 1e-7  # it errs to no side


@pytest.mark.parametrize("scale", SCALES)
def test_encoder_against_naive_arithmetic(scale):
    """Every feature, those that the U-Net reads, and the head's image."""
    network, lr_image = make(TINY[scale]), inputs(scale)[1]
    network.rrdb.conv_last.bias.set_data(Tensor(np.float32([-0.3, 0.5, 1.3])))  # clipped below, not, and above
    wanted, head = nets.encode(nets.exact(network), network.hyper, lr_image)
    found = network.rrdb.features(Tensor(lr_image))
    assert len(found) == len(wanted) == network.hyper.rrdb_num_block + 1
    for features, want in zip(found, wanted, strict=True):
        assert_close(features, want)
    assert_close(read_features(found), nets.read(wanted))
    assert network.features(Tensor(lr_image)).shape[1] == network.hyper.condition
    assert_close(network.rrdb(Tensor(lr_image)), head)
    assert min((head == -1).mean(), (np.abs(head) < 1).mean(), (head == 1).mean()) > 0.1


@pytest.mark.parametrize("scale", SCALES)
def test_noise_predictor_against_naive_arithmetic(tiny, scale):
    """Each image at its own step; and the step and the features tell it something."""
    network = tiny[scale]
    _, lr_image, _, t, x = inputs(scale)
    weights = nets.exact(network)
    features = nets.read(nets.encode(weights, network.hyper, lr_image)[0])
    wanted = nets.predict(weights, network.hyper, x, t, features)
    found = network(*tensors((x, t, lr_image)))
    assert_close(found, wanted, 4e-6)
    for other in (
        nets.predict(weights, network.hyper, x, t + 1, features),
        nets.predict(weights, network.hyper, x, t, 0 * features),
    ):
        assert np.abs(other - wanted).max() > 1e-3 * np.abs(wanted).max()


# ------------------------------------------------------------------ samplers


def asked(x: np.ndarray, t: int) -> np.ndarray:
    """A noise predictor that is never right, so that x_0 is clipped here and there."""
    return np.float32(0.8 * np.tanh(x + 0.1 * t) + 0.1)


def test_chain_of_the_paper_without_a_step():
    """Every other step: the noise between two that are left out is added at once."""
    made, x, draws = make_schedule("cosine", 9), normal(1, 3, 4, 4), [normal(1, 3, 4, 4, seed=s) for s in range(5)]
    left = iter(draws)
    found = sample(asked, made, x, lambda: next(left), steps=5)
    x = x.astype(np.float64)
    for t, noise in zip((8, 6, 4, 2, 0), draws, strict=True):
        now, before = (made.alphas_cumprod[at] if at >= 0 else 1.0 for at in (t, t - 2))
        start = ((x - math.sqrt(1 - now) * asked(x, t)) / math.sqrt(now)).clip(-1, 1)
        alpha = now / before
        x = (math.sqrt(before) * (1 - alpha) * start + math.sqrt(alpha) * (1 - before) * x) / (1 - now)
        x += math.sqrt((1 - before) / (1 - now) * (1 - alpha)) * noise if t else 0
    np.testing.assert_allclose(found, x, atol=2e-5)


@pytest.mark.parametrize(("steps", "times"), [(0, range(9, -1, -1)), (4, [9, 6, 3, 0]), (1, [9])])
def test_ddim(steps, times):
    """x_{t-1} = sqrt(left) x_0 + sqrt(1 - left) eps (arXiv:2010.02502, eq. 12, sigma 0); eps as the clip leaves it."""
    made, x = make_schedule("cosine", 10), normal(1, 3, 4, 4)
    found = sample(asked, made, x, unused, sampler="ddim", steps=steps)
    x = x.astype(np.float64)
    for t, following in zip(times, [*times[1:], None], strict=True):
        now, before = made.alphas_cumprod[t], 1.0 if following is None else made.alphas_cumprod[following]
        start = ((x - math.sqrt(1 - now) * asked(x, t)) / math.sqrt(now)).clip(-1, 1)
        eps = (x - math.sqrt(now) * start) / math.sqrt(1 - now)
        x = math.sqrt(before) * start + math.sqrt(1 - before) * eps
    np.testing.assert_allclose(found, x, atol=2e-5)


def unused() -> np.ndarray:
    raise AssertionError("this sampler draws no noise")


@pytest.mark.parametrize("sampler", ["ddim", "dpm"])
@pytest.mark.parametrize("steps", [1, 2, 5, 100])
def test_known_beginning_is_found(sampler, steps):
    """A predictor that knows x_0 leads there, with any number of steps."""
    start = random_image(4, 4).astype(np.float64)

    def knowing(x: np.ndarray, t: int) -> np.ndarray:
        return AUTHORS.predict_noise(x, t, start)

    found = sample(knowing, AUTHORS, normal(1, 3, 4, 4).astype(np.float64), unused, sampler=sampler, steps=steps)
    np.testing.assert_allclose(found, start, atol=1e-9)


SPREAD, MIDDLE = 0.15, 0.1  # of normally distributed x_0, for which the noise is known: far from the clip
EVEN = np.linspace(5, -4, 1281)  # half log signal-to-noise ratio at each step, by which both solvers go


def even_chain() -> Schedule:
    left = 1 / (1 + np.exp(-2 * EVEN))
    return Schedule(1 - left / np.append(1.0, left[:-1]))


def gaussian(made: Schedule):
    """eps of x_t when x_0 is N(MIDDLE, SPREAD^2), and the exact flow from T - 1 to t (arXiv:2011.13456, eq. 13)."""

    def of(t: int) -> tuple[float, float, float]:
        left = made.alphas_cumprod[t]
        return math.sqrt(left), math.sqrt(1 - left), math.sqrt(left * SPREAD**2 + 1 - left)

    def predict(x: np.ndarray, t: int) -> np.ndarray:
        signal, noise, deviation = of(t)
        return noise * (x - signal * MIDDLE) / deviation**2

    def flow(x: np.ndarray, t: int) -> np.ndarray:
        (signal, _, deviation), (first, _, wide) = of(t), of(len(made) - 1)
        return signal * MIDDLE + deviation * (x - first * MIDDLE) / wide

    return predict, flow


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpm", 2)])
def test_order_of_convergence(sampler, order):
    """Twice the steps, half or a quarter of the error, on a chain whose exact solution is known."""
    made, x = even_chain(), np.linspace(-1.5, 1.5, 9)
    predict, flow = gaussian(made)
    errors = []
    for steps in (81, 161, 321):
        seen = {}
        sample(predict, made, x, unused, sampler=sampler, steps=steps,
               seen=lambda t, x, _, seen=seen: seen.update({t: x}))  # fmt: skip
        at_zero = seen[1280 // (steps - 1)]  # what follows the step before the last one is x at step 0
        errors.append(np.abs(at_zero - flow(x, 0)).max())
    found = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.abs(found - order).max() < 0.2, (errors, found)
    assert errors[-1] < (0.02 if order == 1 else 0.002)


# ------------------------------------------------------------------ what is trained


@pytest.mark.parametrize("squared", [False, True])
def test_objectives_against_naive_arithmetic(tiny, squared):
    """The distance of the noise, and with it or alone that of the encoder's image."""
    network, batch = tiny[4], inputs(4)
    q, aux = nets.losses(nets.exact(network), network.hyper, batch, squared=squared)
    found = NoiseLoss(network, squared=squared)(*tensors(batch))
    assert [float(value) for value in found] == pytest.approx([q, q, 0], rel=2e-6)
    found = NoiseLoss(network, squared=squared, joint=True)(*tensors(batch))
    assert [float(value) for value in found] == pytest.approx([q + aux, q, aux], rel=2e-6)
    assert float(EncoderLoss(network)(*tensors(batch)[:2])[0]) == pytest.approx(aux, rel=2e-6)


def gradients(network: SRDiffNet, loss: nn.Cell, batch: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    parameters = network.trainable_params()
    found = ms.grad(lambda *batch: loss(*batch)[0], None, ms.ParameterTuple(parameters))(*tensors(batch))
    return {parameter.name: value.asnumpy() for parameter, value in zip(parameters, found, strict=True)}


def test_gradients_against_differences(tiny):
    """Of squares, along random directions of all weights, and of the encoder's alone, in float64."""
    network, batch = tiny[8], inputs(8, 1)
    found = gradients(network, NoiseLoss(network, squared=True, joint=True), batch)
    weights, random, step = nets.exact(network), rng(), 1e-6
    for part in ("", "rrdb.", "denoise_fn.mlp.", "denoise_fn.cond_proj."):
        move = {name: random.standard_normal(a.shape) for name, a in weights.items() if name.startswith(part)}
        moved = [{name: a + end * move.get(name, 0) for name, a in weights.items()} for end in (-step, step)]
        low, high = (sum(nets.losses(ends, network.hyper, batch, squared=True)) for ends in moved)
        along = sum((found[name] * direction).sum() for name, direction in move.items())
        size = math.sqrt(sum((found[name] ** 2).sum() for name in move))
        assert abs((high - low) / (2 * step) - along) < 2e-4 * size, part


# ------------------------------------------------------------------ networks that can be, and how they begin


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (lambda: conv(8, 32, 3, rng()), 8 * 9),
        (lambda: conv_transpose(16, 64, 2, rng()), 64 * 16),  # PyTorch counts the outputs here
        (lambda: dense(32, 64, rng()), 32),
    ],
)
def test_initial_values(layer, fan_in):
    """PyTorch's: uniform within 1 / sqrt(fan-in)."""
    bound = 1 / math.sqrt(fan_in)
    for parameter in layer().get_parameters():
        values = parameter.asnumpy()
        assert 0.8 * bound < np.abs(values).max() <= bound
        assert_drawn(values, bound / math.sqrt(3), 1.8)


def test_mish_of_large_numbers():
    x = Tensor(np.float32([44, 45, 88, 89, 1e4, 1e8, -88, -89, -1e4, -1e8]))
    np.testing.assert_array_equal(Mish()(x).asnumpy(), x.asnumpy().clip(0))
    np.testing.assert_array_equal(slope_of(Mish(), x).asnumpy(), np.float32(x.asnumpy() > 0))


def test_mish_in_half_precision():
    """Its e^2x would overflow above 5.5."""
    x = np.linspace(-20, 60, 801).astype(np.float16)
    values, slopes = Mish()(Tensor(x)), slope_of(Mish(), Tensor(x))
    assert values.dtype == slopes.dtype == ms.float16
    np.testing.assert_allclose(values.asnumpy(), nets.mish(x.astype(np.float64)), rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(slopes.asnumpy(), nets.mish_slope(x.astype(np.float64)), rtol=2e-3, atol=1e-6)
