"""SRDiff's options of training: the networks and recipes that they describe, the shipped files, what a run comes to."""

import dataclasses

import pytest

from ci.tests.options import unused_options
from common import UserError
from common.config import options as config
from SRDiff.src.dataset.div2k_preprocess import PreprocessOptions
from SRDiff.src.model.srdiff import PRESETS, Hyper
from SRDiff.src.model_utils import recipe
from SRDiff.src.model_utils.options import TrainConfig

CELEBA = Hyper(8, 64, (1, 2, 2, 4), 32, 8, 100, "cosine", 0.008, 0.02, 2.0)
DF2K = dataclasses.replace(CELEBA, scale=4, dim_mults=(1, 2, 3, 4))
SHIPPED = {  # network, data, stage, batch, steps or passes, steps to the rate's half: the spec's table
    "df2k_x4": (DF2K, "DF2K", "diffusion", 64, 400_000, 0, 200_000),
    "df2k_x4_rrdb": (DF2K, "DF2K", "rrdb", 64, 100_000, 0, 200_000),
    "celeba_x8": (CELEBA, "CelebA", "diffusion", 32, 300_000, 0, 100_000),
    "celeba_x8_rrdb": (CELEBA, "CelebA", "rrdb", 64, 100_000, 0, 100_000),
    "div2k_x4": (DF2K, "DIV2K", "diffusion", 64, 0, 60, 200_000),
    "div2k_x4_rrdb": (DF2K, "DIV2K", "rrdb", 128, 0, 220, 200_000),
}


def parsed(*words: str) -> TrainConfig:
    return config.parse(TrainConfig, words, description="")


# ------------------------------------------------------------------------------------------------------------ networks


def test_networks_by_name_and_by_scale():
    assert parsed().hyper() == parsed("--scale", "4").hyper() == parsed("--model", "diffsr_df2k4x").hyper() == DF2K
    assert parsed("--scale", "8").hyper() == parsed("--model", "diffsr_celeb").hyper() == CELEBA
    assert parsed("--scale", "2").hyper() == dataclasses.replace(DF2K, scale=2)
    small = PRESETS["srdiff_small"]
    assert parsed("--model", "srdiff_small").hyper() == small
    assert parsed("--model", "srdiff_small", "--scale", "8").hyper() == dataclasses.replace(small, scale=8)
    with pytest.raises(UserError, match="diffsr_celeb enlarges x8, not x4"):
        parsed("--model", "diffsr_celeb", "--scale", "4").hyper()


def test_authors_names_change_the_network():
    changes = {
        "sr_scale": "2", "hidden_size": "16", "unet_dim_mults": "1,2,4", "rrdb_num_feat": "8", "rrdb_num_block": "5",
        "timesteps": "50", "beta_schedule": "linear", "beta_s": "0.01", "beta_end": "0.05", "res_rescale": "1.5",
    }  # fmt: skip
    words = [word for key, value in changes.items() for word in (f"--{key}", value)]
    wanted = Hyper(2, 16, (1, 2, 4), 8, 5, 50, "linear", 0.01, 0.05, 1.5)
    assert parsed(*words).hyper() == wanted
    assert parsed("--dim_mults", "1 2").hyper().dim_mults == (1, 2)
    with pytest.raises(UserError, match="beta_schedule must be one of cosine, linear, not 'cosin'; did you mean"):
        parsed("--beta_schedule", "cosin")


def test_patch_must_fit_the_network():
    assert parsed("--patch_size", "160").lr_patch(DF2K) == 40
    assert parsed("--patch_size", "160").lr_patch(CELEBA) == 20
    deep = dataclasses.replace(DF2K, dim_mults=(1, 2, 2, 2, 2))
    for hyper, size, multiple in ((DF2K, 100, 8), (deep, 168, 16), (CELEBA, 164, 8)):
        with pytest.raises(UserError, match=rf"--patch_size {size} \(HR pixels\) must be a multiple of {multiple}"):
            parsed("--patch_size", str(size)).lr_patch(hyper)


# ------------------------------------------------------------------------------------------------------------- recipes


def test_shipped_files(root):
    """Every one loads, and says what the authors or the seed say."""
    files = {path.stem: path for path in (root / "SRDiff" / "configs").iterdir()}
    assert sorted(files) == sorted(SHIPPED)
    for name, (hyper, data, stage, batch, steps, epochs, half) in SHIPPED.items():
        options = parsed("--config", str(files[name]))
        assert options.hyper() == hyper, name
        found = options.data_name, options.stage, options.batch_size, options.max_updates, options.epochs
        assert found == (data, stage, batch, steps, epochs), name
        assert (options.patch_size, options.lr, options.decay_steps, options.gclip) == (160, 2e-4, half, 0), name
        assert (options.fix_rrdb, options.loss_type) == (True, "l1")
        assert options.use_flip == options.use_rot == (data == "DIV2K")
        text = files[name].read_text(encoding="utf-8")
        assert all(f"# {word}: " in text for word in ("Cost", "Expect", "Command")), name
        assert f"SRDiff/configs/{name}.yaml" in text


def test_defaults_are_the_authors():
    """Steps by the stage; a rate that halves every 200,000 steps."""
    for words, steps in (((), 400_000), (("--stage", "rrdb"), 100_000), (("--max_updates", "7"), 7)):
        plan = recipe.plan(parsed(*words), 1, 100)
        assert plan.steps == steps
    rate = recipe.plan(parsed(), 1, 100).learning_rate
    found = [rate(step) / 2e-4 for step in (0, 199_999, 200_000, 399_999, 400_000)]
    assert found == [1, 1, 0.5, 0.5, 0.25]
    assert recipe.plan(parsed("--decay_steps", "0"), 1, 100).learning_rate(399_999) == 2e-4


def test_steps_of_several_workers_and_of_passes():
    def plan(workers, *words):
        return recipe.plan(parsed("--batch_size", "2", "--decay_steps", "40", *words), workers, 100)

    eight = plan(8, "--max_updates", "80", "--test_every", "16")
    assert (plan(1, "--max_updates", "80").steps, eight.steps, eight.validate_every) == (80, 10, 2)
    assert [eight.learning_rate(step) for step in (4, 5)] == [2e-4, 1e-4]
    assert plan(8, "--max_updates", "80", "--schedule_batch", "16").steps == 80
    assert (plan(1, "--epochs", "3").steps, plan(8, "--epochs", "3").steps) == (150, 19)
    assert plan(8, "--epochs", "3").learning_rate(5) == 1e-4


def test_every_option_is_used_and_has_a_word_of_help(root):
    assert unused_options(root / "SRDiff", {TrainConfig, PreprocessOptions}) == set()
    for cls in (TrainConfig, PreprocessOptions):
        for field in dataclasses.fields(cls):
            assert len(field.metadata["help"]) > 8, field.name
