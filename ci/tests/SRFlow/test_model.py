"""SRFlow's network against naive NumPy: values, inverses, log-determinants, first batch, likelihood, large numbers."""

import math
import re

import mindspore as ms
import numpy as np
import pytest
import scipy.linalg
from mindspore import Tensor, ops

from ci.tests.naive import assert_close, convolution, normal, numerical_logdet, random_image, shaken, values, weights_of
from ci.tests.SRFlow import nets
from ci.tests.SRFlow.nets import SMALL, TINY, make
from SRFlow.src.model.Flow import (
    Conv2d,
    Conv2dZeros,
    SqueezeLayer,
    folded,
    folded_zeros,
    joined,
    standard_normal_log_density,
)
from SRFlow.src.model.FlowActNorms import ActNorm2d, exact_exp, exact_log, exact_sigmoid
from SRFlow.src.model.FlowAffineCouplingsAblation import CondAffineSeparatedAndCond
from SRFlow.src.model.FlowStep import FlowStep, TransitionStep, advance, collect, go_back
from SRFlow.src.model.InvertibleConv1x1 import InvertibleConv1x1
from SRFlow.src.model.RRDBNet import ResidualDenseBlock_5C, default_conv3x3
from SRFlow.src.model.Split import Split2d
from SRFlow.src.model.SRFlow import NegativeLogLikelihood
from SRFlow.src.model.SRFlowNet import PRESETS, Hyper, SRFlowNet, draw_latents
from SRFlow.src.model_utils.graphs import Decode, fold
from SRFlow.src.scheduler.scheduler import multistep_rate

EPS = 1e-4
ONE_BLOCK = SMALL | {"num_blocks": 1, "stack": (0,)}
SCALES = (2, 4, 8)


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


def test_round_trip_of_many_steps():
    """Images to latents and back, latents of heat 1 to images and back, and those latents once more."""
    hyper = Hyper(scale=2, levels=2, **ONE_BLOCK | {"steps": 5})
    network, lr_image, hr_image = make(hyper, 0.05), random_image(4, 2, seed=1), random_image(8, 4)
    flow, per_map = network.flowUpsamplerNet, -math.log(nets.sigmoid(2))
    for parameter in network.trainable_params():  # as in training, ActNorms make up for a map and a half of 0.88
        if re.fullmatch(r"flow.*layers\.\d+\.actnorm\.logs", parameter.name):
            parameter.set_data(parameter + 1.5 * per_map)
    conditions = tuple(
        (ops.concat((own, own)), ops.concat((more, more))) for own, more in network.conditions(Tensor(lr_image))
    )
    of_image = flow.forward(Tensor(hr_image.repeat(2, 0)), conditions)[0][0].asnumpy()[:1]
    latents = np.concatenate((of_image, normal(*of_image.shape)))
    images, back = flow.inverse([Tensor(latents)], conditions)
    assert np.abs(images.asnumpy()[:1] - hr_image).max() < 1e-4
    (again,), logdet = flow.forward(images, conditions)
    assert np.abs(again.asnumpy() - latents).max() < 1e-4
    np.testing.assert_allclose(logdet.asnumpy() + back.asnumpy(), 0, atol=1e-6 * hr_image.size)


def test_steps_of_a_level_together_are_the_steps_one_by_one():
    """`advance` works out what does not depend on z for all steps at once; order and results are the same."""
    steps = [shaken(FlowStep(6, 5, 4, EPS, rng()), 0.2, seed) for seed in range(3)]
    z, condition = Tensor(normal(2, 6, 4, 2)), both(normal(2, 5, 4, 2, seed=6))
    single, total = z, 0.0
    for step in steps:
        single, logdet = step.forward(single, condition)
        total = total + logdet
    together, logdet = advance(collect(steps), z, condition, EPS)
    assert_close(together, single.asnumpy())
    assert_close(logdet, total.asnumpy())
    back, logdet = go_back(collect(steps), together, condition, EPS)
    assert_close(back, z.asnumpy(), 1e-5)
    assert_close(logdet, -total.asnumpy())


# ------------------------------------------------------------------ arithmetic that must be exact


@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (exact_exp, np.exp, -6, 4),
        (exact_log, np.log, EPS, 1.1),
        (exact_sigmoid, nets.sigmoid, -12, 8),
    ],
)
@pytest.mark.parametrize("compiled", [False, True], ids=["PyNative", "graph"])
def test_elementary_functions_err_to_no_side(function, exact, low, high, compiled):
    x = np.random.default_rng(1).uniform(low, high, 20_000).astype(np.float32)
    wanted = exact(x.astype(np.float64))
    found = (ms.jit(function) if compiled else function)(Tensor(x)).asnumpy()
    error = (found - wanted) / np.maximum(np.abs(wanted), np.finfo(np.float32).tiny)
    assert np.abs(error).max() < 2e-7
    assert abs(error.mean()) < 2e-9


def test_log_determinant_errs_to_no_side():
    """Over many pixels whatever errs to one side adds up: the CPU's sigmoid and logarithm would give 2e-6."""
    step, z, features = shaken(FlowStep(6, 5, 4, EPS, rng()), 0.2), normal(1, 6, 64, 64), normal(1, 5, 64, 64, seed=6)
    first = nets.mixed(nets.actnorm(z, step.actnorm), step.invconv)
    shift, logit = nets.conditioner(features, step.affine.fFeatures)
    scales = [nets.sigmoid(logit + 2) + EPS]
    z1 = ((first + shift) * scales[0])[:, :3]
    scales.append(nets.sigmoid(nets.conditioner(np.concatenate((z1, features), 1), step.affine.fAffine)[1] + 2) + EPS)
    of_maps = values(step.actnorm.logs).sum() + np.linalg.slogdet(values(step.invconv.weight))[1]
    wanted = sum(np.log(scale).sum() for scale in scales) + 64 * 64 * of_maps
    y, logdet = step.forward(Tensor(z), both(features))
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


# ------------------------------------------------------------------ the first batch


def test_actnorm_takes_the_statistics_of_its_first_batch():
    x = 3 * normal(4, 5, 6, 7) + np.arange(5, dtype=np.float32).reshape(1, 5, 1, 1) - 1
    x[:, 2] = 7  # a channel without deviation
    layer = ActNorm2d(5)
    layer.initialise(Tensor(x))
    pixels = x.transpose(1, 0, 2, 3).reshape(5, -1).astype(np.float64)
    wanted = -pixels.mean(1), -np.log(np.sqrt(((pixels.T - pixels.mean(1)) ** 2).mean(0)) + 1e-6)
    np.testing.assert_allclose(layer.bias.asnumpy().ravel(), wanted[0], rtol=1e-6)
    np.testing.assert_allclose(layer.logs.asnumpy().ravel(), wanted[1], rtol=1e-6)
    y = np.delete(layer.forward(Tensor(x))[0].asnumpy(), 2, 1).astype(np.float64)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=1e-5)
    before = layer.bias.asnumpy(), layer.logs.asnumpy()
    layer.initialise(Tensor(x + 1))
    np.testing.assert_array_equal(layer.bias.asnumpy(), before[0])
    np.testing.assert_array_equal(layer.logs.asnumpy(), before[1])


def test_first_batch_sets_every_actnorm_once():
    """Each from what comes to it after those before it have been set."""
    hyper, images = Hyper(scale=2, levels=2, **ONE_BLOCK), (random_image(4, 8, 2), random_image(2, 4, 2, seed=1))
    network = SRFlowNet(hyper)
    for number, parameter in enumerate(network.trainable_params()):  # couplings and splits that do something
        if ".4." in parameter.name:
            parameter.set_data(Tensor(0.1 * normal(*parameter.shape, seed=number)))
    preset = network.flowUpsamplerNet.layers[1].actnorm
    preset.bias.set_data(Tensor(np.full(preset.bias.shape, 0.5, np.float32)))
    network.initialise(*map(Tensor, images))
    assert np.all(preset.bias.asnumpy() == 0.5)
    assert not preset.logs.asnumpy().any()
    wanted = nets.set_actnorms(network, images[0], nets.encode(network, images[1])[0])
    found = weights_of(network)
    del wanted["flowUpsamplerNet.layers.1.actnorm.bias"], wanted["flowUpsamplerNet.layers.1.actnorm.logs"]
    assert len(wanted) == 2 * (2 * 3 - 1)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
    unset = [name for name, value in found.items() if name.endswith("actnorm.bias") and not value.any()]
    assert not unset  # those inside the couplings, too
    network.initialise(*(Tensor(values + 1) for values in images))
    for name, value in weights_of(network).items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


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


def push(step: FlowStep, logit: float, networks: tuple[str, ...] = ("fFeatures", "fAffine")) -> FlowStep:
    """All scales of a step at their smallest (logit far below 0) or largest."""
    for name in networks:
        last = getattr(step.affine, name)[4]
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


@pytest.mark.parametrize("heat", [0.9, 1.2, 1e3])
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


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("SRFlow_DF2K_4X", ((6, 80, 40), (96, 20, 10))),
        ("SRFlow_DF2K_8X", ((6, 160, 80), (12, 80, 40), (192, 20, 10))),
        ("SRFlow_CelebA_8X", ((6, 160, 80), (12, 80, 40), (192, 20, 10))),
    ],
)
def test_shapes_of_the_latents(name, shapes):
    hyper = PRESETS[name]
    assert hyper.latent_shapes(40, 20) == shapes
    assert sum(math.prod(shape) for shape in shapes) == 3 * hyper.scale**2 * 40 * 20  # as many numbers as the image
    assert hyper.lr_multiple == 2
    assert hyper.condition == 320


def test_one_level():
    """It reads the largest features alone; LR images may then have any sides."""
    hyper = Hyper(scale=4, levels=1, **ONE_BLOCK)
    network, lr_image, hr_image = make(hyper), Tensor(random_image(1, 3)), random_image(4, 12)
    found, _ = network.forward(Tensor(hr_image), lr_image)
    assert [latent.shape[1:] for latent in found] == list(hyper.latent_shapes(1, 3))
    assert_close(network.inverse(found, lr_image)[0], hr_image, 1e-5)


# ------------------------------------------------------------------ networks that can be, and how they begin


def assert_like(values: np.ndarray, deviation: float, fourth: float) -> None:
    """Mean 0, this deviation, and the fourth moment of a normal (3) or uniform (1.8) distribution, as far as n tell."""
    n = values.size
    assert abs(values.std() / deviation - 1) < 4.5 / math.sqrt(2 * n)
    assert abs(values.mean()) < 4.5 * deviation / math.sqrt(n)
    assert abs((values.astype(np.float64) ** 4).mean() / values.var() ** 2 - fourth) < 4.5 * math.sqrt(96 / n)


def test_initial_values():
    dense, plain = ResidualDenseBlock_5C(16, 16, rng()), default_conv3x3(16, 64, rng())
    for number in range(1, 6):
        conv = getattr(dense, f"conv{number}")
        assert_like(conv.weight.asnumpy(), 0.1 * math.sqrt(2 / (9 * 16 * number)), 3)  # Kaiming, times 0.1
        assert not conv.bias.asnumpy().any()
    bound = 1 / math.sqrt(9 * 16)  # PyTorch's
    for array in (plain.weight.asnumpy(), plain.bias.asnumpy()):
        assert_like(array, bound / math.sqrt(3), 1.8)
        assert np.abs(array).max() <= bound
    step = FlowStep(24, 32, 32, EPS, rng())
    rotation = step.invconv.weight.asnumpy().astype(np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(24), atol=1e-6)
    assert not np.isclose(np.abs(rotation).max(), 1)  # no permutation
    for network in (step.affine.fFeatures, step.affine.fAffine):
        for place in (0, 2):
            assert_like(network[place].weight.asnumpy(), 0.05, 3)
        assert not any(p.asnumpy().any() for p in network[4].get_parameters())
    assert not any(p.asnumpy().any() for p in step.actnorm.get_parameters())
    assert not any(p.asnumpy().any() for p in Conv2dZeros(4, 6).get_parameters())


# ------------------------------------------------------------------ learning rates


def simulated_rates(base: float, count: int, milestones=(), gamma: float = 0.5, inverse_milestones=()) -> list[float]:
    """The rates after 0, 1 ... count - 1 turns of the authors' scheduler, each made out of the one before it."""
    rates = [base]
    for turn in range(1, count):
        rate = rates[-1] * gamma ** list(milestones).count(turn)
        rates.append(rate * gamma ** -list(inverse_milestones).count(turn))
    return rates


@pytest.mark.parametrize(
    "settings",
    [
        {"milestones": (5, 10, 17)},
        {"milestones": (17, 5, 10), "gamma": 0.3},
        {"milestones": (5, 5, 9), "inverse_milestones": (12, 20, 12)},
        {"milestones": (), "inverse_milestones": (3,)},
        {"milestones": (1,)},
        {"milestones": ()},
    ],
)
def test_rates_are_those_of_the_authors_recursion(settings):
    """They turn the schedule before the optimizer: the first step runs with the rate after one turn."""
    wanted = simulated_rates(2.5e-4, 31, **settings)[1:]
    rate = multistep_rate(
        2.5e-4, settings["milestones"], settings.get("gamma", 0.5), settings.get("inverse_milestones", ())
    )
    np.testing.assert_allclose([rate(step) for step in range(30)], wanted, rtol=1e-12)


def test_actnorms_are_folded_in_exactly():
    """Into filters and biases, to float32's last bits for any scale that training may find."""
    hidden, last = Conv2d(3, 40, 3, rng()), Conv2dZeros(3, 40)
    for layer, logs in ((hidden, hidden.actnorm.logs), (last, last.logs)):
        shaken(layer)
        logs.set_data(Tensor(2 * normal(*logs.shape)))
    filters, biases = folded(((hidden.weight,), (hidden.actnorm.logs,), (hidden.actnorm.bias,)))
    scale = np.exp(values(hidden.actnorm.logs).reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(filters.asnumpy(), values(hidden.weight) * scale, rtol=2e-7)
    np.testing.assert_allclose(biases.asnumpy(), values(hidden.actnorm.bias).ravel() * scale.ravel(), rtol=2e-7)
    filters, biases = folded_zeros(((last.weight,), (last.logs,), (last.bias,)))
    scale = np.exp(np.float32(3) * last.logs.asnumpy().astype(np.float64)).reshape(-1, 1, 1, 1)
    in_turn = [*range(0, 40, 2), *range(1, 40, 2)]
    np.testing.assert_allclose(filters.asnumpy(), (values(last.weight) * scale)[in_turn], rtol=6e-7)  # logs are 6
    np.testing.assert_allclose(biases.asnumpy(), (values(last.bias) * scale.ravel())[in_turn], rtol=6e-7)


def test_first_batch_of_a_coupling():
    """Its two networks one after the other: the second reads what the first has made of z."""
    coupling = CondAffineSeparatedAndCond(6, 5, 4, EPS, rng())
    for network in (coupling.fFeatures, coupling.fAffine):
        shaken(network[4], 0.2)
    z, features = normal(3, 6, 4, 4), normal(3, 5, 4, 4, seed=6)
    coupling.initialise(Tensor(z), both(features))
    shift, logit = nets.conditioner(features, coupling.fFeatures)
    z1 = ((z + shift) * (nets.sigmoid(logit + 2) + EPS))[:, :3]
    for network, x in ((coupling.fFeatures, features), (coupling.fAffine, np.concatenate((z1, features), 1))):
        for place in (0, 2):
            y = nets.actnorm(convolution(x, values(network[place].weight)), network[place].actnorm)
            np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=2e-6)
            np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=1e-4)
            x = np.maximum(y, 0)


def test_density_of_the_latents():
    x = 2 * normal(3, 4, 5, 6)
    density = np.exp(-0.5 * x.astype(np.float64) ** 2) / np.sqrt(2 * np.pi)
    assert_close(standard_normal_log_density(Tensor(x)), np.log(density).sum((1, 2, 3)), 5e-7)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_saturated_scales_give_finite_gradients(logit):
    step, condition = push(shaken(FlowStep(6, 5, 4, EPS, rng())), logit), both(normal(1, 5, 2, 2))
    parameters = ms.ParameterTuple(step.trainable_params())

    def objective(z: Tensor) -> Tensor:
        y, logdet = step.forward(z, condition)
        return logdet.sum() + (y * y).sum()

    gradients = ms.grad(objective, None, parameters)(Tensor(1e3 * normal(1, 6, 2, 2)))
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in gradients)
