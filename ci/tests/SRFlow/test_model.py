"""SRFlow's network against naive NumPy: values, inverses, log-determinants, likelihood, large numbers.

test_goldens.py has the authors' first batch, likelihoods, gradients and rates.
"""

import math

import mindspore as ms
import numpy as np
import pytest
import scipy.linalg
from mindspore import Tensor

from ci.tests.naive import (
    assert_close,
    assert_drawn,
    normal,
    numerical_logdet,
    random_image,
    shaken,
    values,
    weights_of,
)
from ci.tests.SRFlow import nets
from ci.tests.SRFlow.nets import SMALL, TINY, make
from SRFlow.src.model.Flow import (
    Conv2dZeros,
    SqueezeLayer,
    joined,
)
from SRFlow.src.model.FlowActNorms import ActNorm2d
from SRFlow.src.model.FlowAffineCouplingsAblation import CondAffineSeparatedAndCond
from SRFlow.src.model.FlowStep import FlowStep, TransitionStep
from SRFlow.src.model.InvertibleConv1x1 import InvertibleConv1x1
from SRFlow.src.model.RRDBNet import ResidualDenseBlock_5C, default_conv3x3
from SRFlow.src.model.Split import Split2d
from SRFlow.src.model.SRFlow import NegativeLogLikelihood
from SRFlow.src.model.SRFlowNet import PRESETS, Hyper, SRFlowNet, draw_latents
from SRFlow.src.model_utils.graphs import Decode, fold

EPS = 1e-4
ONE_BLOCK = SMALL | {"num_blocks": 1, "stack": (0,)}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def both(condition: np.ndarray) -> tuple[Tensor, Tensor]:
    """Features as a level gets them: its own, and the stacked ones."""
    return Tensor(condition[:, :2]), Tensor(condition[:, 2:])


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("scale", [2, 8])  # 4: with its Jacobian, below
def test_whole_network_against_naive_arithmetic(scale):
    """Every feature that the flow reads, the encoder's own image, and the latents."""
    network = make(TINY[scale])
    hr_image, lr_image = random_image(2 * scale, 4 * scale, 2), random_image(2, 4, 2, seed=1)
    wanted, head = nets.encode(network, lr_image)
    conditions = network.conditions(Tensor(lr_image))
    assert len(conditions) == len(wanted) == network.hyper.levels
    for condition, features in zip(conditions, wanted, strict=True):
        assert features.shape[1] == network.hyper.condition
        assert_close(joined(condition), features)
    assert_close(network.RRDB(Tensor(lr_image)), head)
    found = network.flowUpsamplerNet.forward(Tensor(hr_image), conditions)[0]
    latents = nets.latents(network, hr_image, wanted)
    assert [latent.shape[1:] for latent in found] == list(network.hyper.latent_shapes(2, 4))
    for latent, want in zip(found, latents, strict=True):
        assert_close(latent, want, 5e-6)
    without = nets.latents(network, hr_image, [0 * features for features in wanted])
    assert np.abs(without[-1] - latents[-1]).max() > 0.01 * np.abs(latents[-1]).max()  # the LR image tells something


# ------------------------------------------------------------------ inverses and log-determinants


LAYERS = {  # name -> (what makes the layer, channels); those that read features get 5 of them
    "squeeze": (SqueezeLayer, 3),
    "ActNorm": (lambda: shaken(ActNorm2d(6), 0.3), 6),
    "1x1 convolution": (lambda: shaken(InvertibleConv1x1(6, rng()), 0.2), 6),
    "transition step": (lambda: shaken(TransitionStep(6, rng())), 6),
    "flow step": (lambda: shaken(FlowStep(6, 5, 4, EPS, rng()), 0.2), 6),
    "flow step of large eps": (lambda: shaken(FlowStep(6, 5, 4, 0.5, rng()), 0.2), 6),
    "split": (lambda: shaken(Split2d(6), 0.2), 6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_keep_the_contract(name):
    """(y, logdet) both ways: naive values, the Jacobian's determinant, each image of a batch for itself."""
    make_layer, channels = LAYERS[name]
    layer, z, features = make_layer(), normal(2, channels, 4, 2), normal(2, 5, 4, 2, seed=6)
    condition = (both(features),) if isinstance(layer, FlowStep) else ()
    y, logdet = layer.forward(Tensor(z), *condition)
    value = np.concatenate([part.asnumpy() for part in y], 1) if name == "split" else y.asnumpy()
    assert_close(value, nets.forward(layer, z.astype(np.float64), features))
    wanted = [
        numerical_logdet(
            lambda x, at=at: nets.forward(layer, x, features[at : at + 1].repeat(len(x), 0)), z[at : at + 1]
        )
        for at in (0, 1)
    ]
    np.testing.assert_allclose(logdet.asnumpy(), wanted, rtol=2e-6, atol=2e-7 * z[0].size)
    x, back = layer.inverse(*(y if name == "split" else (y,)), *condition)
    assert_close(x, z, 1e-5)
    np.testing.assert_allclose(back.asnumpy(), np.negative(wanted), rtol=2e-6, atol=2e-6 * z[0].size)
    if "flow step" in name or name == "split":
        assert abs(wanted[0] - wanted[1]) > 0.1  # it depends on the image


def test_logdet_and_likelihood_of_the_whole_network():
    """x4 on 8x8 pixels: 192 numbers in, 192 out; and the names of the parameters, whatever has been called, stay."""
    network = make(Hyper(scale=4, levels=3, **ONE_BLOCK | {"steps": 2}))
    names = [parameter.name for parameter in network.get_parameters()]
    hr_image, lr_image = random_image(8, 8), random_image(2, 2, seed=1)
    conditions = nets.encode(network, lr_image)[0]

    def naive(x: np.ndarray) -> np.ndarray:
        found = nets.latents(network, x, [features.repeat(len(x), 0) for features in conditions])
        return np.concatenate([latent.reshape(len(x), -1) for latent in found], 1)

    wanted = numerical_logdet(naive, hr_image)
    found, logdet = network.forward(Tensor(hr_image), Tensor(lr_image))
    assert_close(np.concatenate([latent.asnumpy().reshape(1, -1) for latent in found], 1), naive(hr_image), 5e-6)
    np.testing.assert_allclose(logdet.asnumpy(), [wanted], rtol=2e-6)
    restored, back = network.inverse(found, Tensor(lr_image))
    np.testing.assert_allclose(back.asnumpy(), [-wanted], rtol=4e-6)
    assert_close(restored, hr_image, 1e-5)
    # log p(image) = log p(latents) + log |det|, in bits for each pixel of three colours
    log_density = -0.5 * (naive(hr_image) ** 2 + np.log(2 * np.pi)).sum() + wanted
    (nll,) = NegativeLogLikelihood(network)(Tensor(hr_image), Tensor(lr_image))
    assert float(nll) == pytest.approx(-log_density / np.log(2) / 64, rel=2e-6)
    assert [parameter.name for parameter in network.get_parameters()] == names


# ------------------------------------------------------------------ arithmetic that must be exact


@pytest.mark.parametrize("compiled", [False, True], ids=["PyNative", "graph"])
def test_log_determinant_errs_to_no_side(compiled):
    """Over many pixels whatever errs to one side adds up: the CPU's sigmoid and logarithm would give 2e-6."""
    step, z, features = shaken(FlowStep(6, 5, 4, EPS, rng()), 0.2), normal(1, 6, 64, 64), normal(1, 5, 64, 64, seed=6)
    first = nets.mixed(nets.actnorm(z, step.actnorm), step.invconv)
    shift, logit = nets.conditioner(features, step.affine.fFeatures)
    scales = [nets.sigmoid(logit + 2) + EPS]
    z1 = ((first + shift) * scales[0])[:, :3]
    scales.append(nets.sigmoid(nets.conditioner(np.concatenate((z1, features), 1), step.affine.fAffine)[1] + 2) + EPS)
    of_maps = values(step.actnorm.logs).sum() + np.linalg.slogdet(values(step.invconv.weight))[1]
    wanted = sum(np.log(scale).sum() for scale in scales) + 64 * 64 * of_maps
    y, logdet = (ms.jit(step.forward) if compiled else step.forward)(Tensor(z), both(features))
    assert float(logdet[0]) == pytest.approx(wanted, rel=2e-7)
    assert_close(y, nets.forward(step, z.astype(np.float64), features), 5e-7)


def ill_conditioned(channels: int) -> np.ndarray:
    """(C, C) with singular values from 1 to 1e-5."""
    left, right = (
        np.linalg.qr(np.random.default_rng(seed).standard_normal((channels, channels)))[0] for seed in (1, 2)
    )
    return (left * np.logspace(0, -5, channels) @ right).astype(np.float32)


def test_inverse_is_worked_out_in_float64():
    """Of a matrix whose float32 inverse is wrong in the fourth digit."""
    matrix, y = ill_conditioned(12), normal(1, 12, 3, 2)
    wanted = np.einsum("oc,nchw->nohw", np.linalg.inv(matrix.astype(np.float64)), y.astype(np.float64))
    crude = np.einsum("oc,nchw->nohw", scipy.linalg.inv(matrix), y)  # NumPy works in float64
    assert np.abs(crude - wanted).max() > 1e-4 * np.abs(wanted).max()
    layer = InvertibleConv1x1(12, rng())
    step = FlowStep(12, 5, 4, EPS, rng())  # whose couplings begin as z * sigmoid(2) + eps, and second half once more
    for weight in (layer.weight, step.invconv.weight):
        weight.set_data(Tensor(matrix))
    assert_close(layer.inverse(Tensor(y))[0], wanted, 1e-6)
    scale = nets.sigmoid(2) + EPS
    after = np.concatenate((y[:, :6] * scale, y[:, 6:] * scale**2), 1).astype(np.float32)
    assert_close(step.inverse(Tensor(after), both(normal(1, 5, 3, 2)))[0], wanted, 2e-5)


@pytest.mark.parametrize("turned", [False, True], ids=["determinant", "negative determinant"])
def test_gradient_of_the_log_determinant_is_the_transposed_inverse(turned):
    layer, step = (shaken(cell, 0.2) for cell in (InvertibleConv1x1(12, rng()), FlowStep(12, 5, 4, EPS, rng())))
    matrix = layer.weight.asnumpy()
    matrix[0] *= np.sign(np.linalg.det(matrix)) * (-1 if turned else 1)
    assert (np.linalg.det(matrix.astype(np.float64)) < 0) == turned
    wanted = np.linalg.inv(matrix.astype(np.float64)).T * 6  # pixels
    condition = both(normal(1, 5, 3, 2))
    for parameter in step.affine.trainable_params():  # else the scales depend on the matrix, too, and add their share
        parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))
    for cell, owner, more in ((layer, layer, ()), (step, step.invconv, (condition,))):
        owner.weight.set_data(Tensor(matrix))

        def logdet(x: Tensor, cell=cell, more=more) -> Tensor:
            return cell.forward(x, *more)[1].sum()

        gradient = ms.grad(logdet, None, owner.weight)(Tensor(normal(1, 12, 3, 2)))
        assert_close(gradient, wanted, 1e-6)


# ------------------------------------------------------------------ likelihood


@pytest.mark.parametrize("quant", [0, 8, 32])
def test_likelihood_against_naive_arithmetic(quant):
    """Of a flow that hands on the image as two latents; noise moves it by half a step of 1/quant at the most."""
    network, seen, logdet = SRFlowNet(TINY[2]), [], np.float32([-3, 40])
    network.forward = lambda hr, lr: seen.append(hr.asnumpy()) or ((hr[:, :1], hr[:, 1:]), Tensor(logdet))
    hr_image, uniform = random_image(4, 6, 2), random_image(4, 6, 2, seed=2)
    uniform[0, 0, 0, :3] = 0, 0.5, 1
    nll = NegativeLogLikelihood(network, quant)
    batch = Tensor(hr_image), Tensor(random_image(2, 3, 2)), Tensor(uniform)
    found = nll.per_image(*batch)
    moved = (uniform.astype(np.float64) - 0.5) / quant if quant else 0.0
    np.testing.assert_allclose(seen[0], hr_image + moved, atol=1e-7)
    log_density = -0.5 * ((hr_image + moved) ** 2 + np.log(2 * np.pi)).sum((1, 2, 3)) + logdet
    bits = -log_density / np.log(2) / (4 * 6) + (
        math.log2(quant) if quant else 0
    )  # once a pixel, as the authors have it
    assert_close(found, bits)
    assert float(nll(*batch)[0]) == pytest.approx(bits.mean(), rel=2e-6)


# ------------------------------------------------------------------ large numbers


def push(step: FlowStep, logit: float) -> FlowStep:
    """All scales of a step at their smallest (logit far below 0) or largest."""
    for last in (step.affine.fFeatures[4], step.affine.fAffine[4]):
        last.bias.set_data(Tensor(np.tile(np.float32([0, logit]), last.bias.size // 2)))
    return step


@pytest.mark.parametrize(("eps", "logit"), [(EPS, -50.0), (EPS, 1e30), (0.01, -1e30), (0.01, 50.0)])
def test_eps_bounds_what_a_coupling_does(eps, logit):
    """Its two maps multiply by eps to 1 + eps, whatever the weights: back by 1/eps at the most, each."""
    step = push(FlowStep(6, 5, 4, eps, rng()), logit)
    step.invconv.weight.set_data(Tensor(np.eye(6, dtype=np.float32)))
    z, condition = normal(1, 6, 2, 2), both(normal(1, 5, 2, 2))
    scale = eps + (logit > 0)
    y, logdet = step.forward(Tensor(z), condition)
    wanted = np.concatenate((z[:, :3] * scale, z[:, 3:] * scale**2), 1)
    np.testing.assert_allclose(y.asnumpy(), wanted, rtol=1e-5)
    np.testing.assert_allclose(logdet.asnumpy(), math.log(scale) * (6 + 3) * 4, rtol=1e-6, atol=1e-5)
    x, back = step.inverse(Tensor(z), condition)
    np.testing.assert_allclose(x.asnumpy(), np.concatenate((z[:, :3] / scale, z[:, 3:] / scale**2), 1), rtol=1e-5)
    np.testing.assert_allclose(back.asnumpy(), -logdet.asnumpy(), rtol=1e-5)


def test_samples_are_kept_within_the_bound():
    """What comes out of a coupling is limited, and the rest of the way back is the inverse's."""
    hyper = Hyper(scale=2, levels=1, bound=4, **ONE_BLOCK)
    network, lr_image = make(hyper, 0.3), random_image(2, 3)
    latent = draw_latents(hyper, (1, 2, 3), 1.2, rng())[-1]
    x = network.sample([Tensor(latent)], Tensor(lr_image)).asnumpy().astype(np.float64)
    *plain, step = network.flowUpsamplerNet.layers
    for layer in plain:
        x = nets.forward(layer, x)
    after_coupling = nets.mixed(nets.actnorm(x, step.actnorm), step.invconv)
    wanted = uncoupled(latent, step.affine, nets.encode(network, lr_image)[0][0])
    assert 0 < np.mean(np.abs(wanted) > 4) < 1
    assert_close(after_coupling, wanted.clip(-4, 4), 1e-5)


def uncoupled(z: np.ndarray, cell: CondAffineSeparatedAndCond, condition: np.ndarray) -> np.ndarray:
    """The inverse of `nets.coupled`."""
    half = z.shape[1] // 2
    shift, logit = nets.conditioner(np.concatenate((z[:, :half], condition), 1), cell.fAffine)
    z = np.concatenate((z[:, :half], z[:, half:] / (nets.sigmoid(logit + 2) + cell.eps) - shift), 1)
    shift, logit = nets.conditioner(condition, cell.fFeatures)
    return z / (nets.sigmoid(logit + 2) + cell.eps) - shift


@pytest.mark.parametrize("heat", [0.9, 1e3])
def test_samples_do_not_run_away(heat):
    """Twelve couplings that all answer with their smallest scale: the inverse is no number, samples are bounded."""
    hyper = Hyper(scale=4, levels=3, **ONE_BLOCK | {"steps": 4})
    network, lr_image = make(hyper), Tensor(random_image(2, 2))
    for layer in network.flowUpsamplerNet.layers:
        if isinstance(layer, FlowStep):
            push(layer, -1e4)
    latents = [Tensor(values) for values in draw_latents(hyper, (1, 2, 2), heat, rng())]
    assert not np.isfinite(network.inverse(latents, lr_image)[0].asnumpy()).all()
    found = network.sample(latents, lr_image).asnumpy()
    assert np.abs(found).max() < 1e3 * hyper.bound
    decode = Decode(fold(weights_of(network), hyper), hyper)
    assert_close(decode(lr_image, *latents), found, 1e-5)


# ------------------------------------------------------------------ latents


def test_drawn_latents():
    hyper, lr_shape = PRESETS["SRFlow_DF2K_4X"], (2, 20, 30)
    latents = draw_latents(hyper, lr_shape, 0.9, rng())
    assert [latent.shape for latent in latents] == [(2, 6, 40, 60), (2, 96, 10, 15)]
    for latent in latents:
        assert latent.dtype == np.float32
        assert abs(latent.std() - 0.9) < 0.01
        assert abs(latent.mean()) < 4 * 0.9 / math.sqrt(latent.size)
    for latent, same, other in zip(
        latents, draw_latents(hyper, lr_shape, 0.9, rng()), draw_latents(hyper, lr_shape, 1.2, rng()), strict=True
    ):
        np.testing.assert_array_equal(latent, same)
        np.testing.assert_allclose(latent * (1.2 / 0.9), other, rtol=1e-6)  # heat alone
    assert not any(latent.any() for latent in draw_latents(hyper, lr_shape, 0.0, rng()))
    assert not np.isclose(latents[0][0], latents[0][1]).any()  # each image its own


# ------------------------------------------------------------------ networks that can be, and how they begin


def test_initial_values():
    dense, plain = ResidualDenseBlock_5C(16, 16, rng()), default_conv3x3(16, 64, rng())
    for number in range(1, 6):
        conv = getattr(dense, f"conv{number}")
        assert_drawn(conv.weight.asnumpy(), 0.1 * math.sqrt(2 / (9 * 16 * number)))  # Kaiming, times 0.1
        assert not conv.bias.asnumpy().any()
    bound = 1 / math.sqrt(9 * 16)  # PyTorch's
    for array in (plain.weight.asnumpy(), plain.bias.asnumpy()):
        assert_drawn(array, bound / math.sqrt(3), 1.8)
        assert np.abs(array).max() <= bound
    step = FlowStep(24, 32, 32, EPS, rng())
    rotation = step.invconv.weight.asnumpy().astype(np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(24), atol=1e-6)
    assert not np.isclose(np.abs(rotation).max(), 1)  # no permutation
    for network in (step.affine.fFeatures, step.affine.fAffine):
        for place in (0, 2):
            assert_drawn(network[place].weight.asnumpy(), 0.05)
        assert not any(p.asnumpy().any() for p in network[4].get_parameters())
    assert not any(p.asnumpy().any() for p in step.actnorm.get_parameters())
    assert not any(p.asnumpy().any() for p in Conv2dZeros(4, 6).get_parameters())


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_saturated_scales_give_finite_gradients(logit):
    step, condition = push(shaken(FlowStep(6, 5, 4, EPS, rng())), logit), both(normal(1, 5, 2, 2))
    parameters = ms.ParameterTuple(step.trainable_params())

    def objective(z: Tensor) -> Tensor:
        y, logdet = step.forward(z, condition)
        return logdet.sum() + (y * y).sum()

    gradients = ms.grad(objective, None, parameters)(Tensor(1e3 * normal(1, 6, 2, 2)))
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in gradients)
