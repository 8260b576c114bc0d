"""Options of the five: presets, networks, schedules, what reaches the trainer; none is in vain."""

import ast
import dataclasses
import importlib
import math

import numpy as np
import pytest

from ci.tests.clone import ROOT
from ci.tests.specs import BY_NAME
from common import UserError
from CSNLN.src.CSNLN import Hyper as CSNLNHyper
from IRN.src.network.Invnet import Hyper as IRNHyper
from SRDiff.src.model.srdiff import PRESETS as SRDIFF
from SRDiff.src.model.srdiff import Hyper as SRDiffHyper
from SRFlow.src.model.SRFlowNet import PRESETS as SRFLOW
from SRFlow.src.model.SRFlowNet import Hyper as SRFlowHyper
from WDSR.src.model import Hyper as WDSRHyper

PROGRAMS = ("train", "eval", "infer", "export")
DF2K, CELEBA = SRDIFF["diffsr_df2k4x"], SRDIFF["diffsr_celeb"]


# ---------------------------------------------------------------------------------------------- networks and schedules


@pytest.mark.parametrize(
    ("model", "words", "hyper"),
    [
        ("WDSR", "", WDSRHyper()),
        ("WDSR", "--scale 2+3+4 --task_id 2", WDSRHyper(scale=4)),
        ("WDSR", "--model WDSR-A --n_resblocks 16", WDSRHyper("A", num_blocks=16, expand=4.0)),
        ("IRN", "", IRNHyper(4, (8, 8), 32, 1.0, "xavier")),
        ("IRN", "--scale 3", IRNHyper(3, (12,))),
        ("IRN", "--scale 8 --gc 16 --clamp 0.5 --init kaiming", IRNHyper(8, (8, 8, 8), 16, 0.5, "kaiming")),
        ("IRN", "--model irn_small --growth 7", IRNHyper(4, (5, 5), 7, 1.6)),
        ("SRFlow", "", SRFLOW["SRFlow_DF2K_4X"]),
        ("SRFlow", "--scale 8", SRFLOW["SRFlow_DF2K_8X"]),
        ("SRFlow", "--scale 2", dataclasses.replace(SRFlowHyper(), scale=2, levels=2)),
        ("SRFlow", "--model srflow_small --scale 8", SRFlowHyper(8, 24, 2, 12, (1,), 3, 8, 16, bound=16)),
        ("SRFlow", "--nf 8 --nb 2 --gc 4 --stack 0,1 --L 2 --K 3 --hidden_channels 5 --eps 0.01 --scale 2",
         SRFlowHyper(2, 8, 2, 4, (0, 1), 2, 3, 5, 0.01)),
        ("SRDiff", "", DF2K),
        ("SRDiff", "--scale 8", CELEBA),
        ("SRDiff", "--model srdiff_small --scale 8", dataclasses.replace(SRDIFF["srdiff_small"], scale=8)),
        ("SRDiff", "--sr_scale 2 --hidden_size 16 --unet_dim_mults 1,2,4 --rrdb_num_feat 8 --rrdb_num_block 5 "
         "--timesteps 50 --beta_schedule linear --beta_s 0.01 --beta_end 0.05 --res_rescale 1.5",
         SRDiffHyper(2, 16, (1, 2, 4), 8, 5, 50, "linear", 0.01, 0.05, 1.5)),
        ("CSNLN", "", CSNLNHyper(2, 128, 12)),
        ("CSNLN", "--model csnln_small --scale 3", CSNLNHyper(3, 32, 3)),
    ],
)  # fmt: skip
def test_networks_by_name_and_by_number(model, words, hyper):
    assert BY_NAME[model].parse("train", *words.split()).hyper() == hyper


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("WDSR", "--scale 7", r"--scale must be 2, 3, 4 or several as .*, not .7."),
        ("WDSR", "--scale 2+4 --task_id 2", r"--task_id 2 is beyond the 2 scale\(s\) of --scale 2\+4"),
        ("IRN", "--block_num 8", r"IRN x4 takes 2 number\(s\) of blocks"),
        ("SRFlow", "--model SRFlow_DF2K_4X --scale 8", "SRFlow_DF2K_4X upscales x4, not x8"),
        ("SRFlow", "--nb 2", "stack numbers blocks from 0 to 1"),
        ("SRDiff", "--model diffsr_celeb --scale 4", "diffsr_celeb upscales x8, not x4"),
    ],
)
def test_networks_that_cannot_be_asked_for(model, words, message):
    with pytest.raises(UserError, match=message):
        BY_NAME[model].parse("train", *words.split()).hyper()


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (IRNHyper, {"scale": 5}, "scales 2, 3, 4 and 8, not 5"),
        (IRNHyper, {"scale": 1}, "scales"),
        (IRNHyper, {"block_num": (8,)}, r"x4 takes 2 number\(s\) of blocks .* not \[8\] and 32"),
        (IRNHyper, {"block_num": (8, 0)}, "1 or more"),
        (IRNHyper, {"growth": 0}, "1 or more"),
        (IRNHyper, {"clamp": 0.0}, "above 0, not 0"),
        (IRNHyper, {"clamp": math.inf}, "not inf"),
        (IRNHyper, {"clamp": math.nan}, "not nan"),
        (IRNHyper, {"init": "orthogonal"}, "xavier or kaiming, not 'orthogonal'"),
        (SRFlowHyper, {"scale": 3}, "scales 2, 4 and 8, not 3"),
        (SRFlowHyper, {"scale": 1}, "scales 2, 4 and 8, not 1"),
        (SRFlowHyper, {"num_blocks": 0, "stack": ()}, "no SRFlow has 64 features, 0 blocks"),
        (SRFlowHyper, {"growth": 0}, "growth 0"),
        (SRFlowHyper, {"steps": 0}, "0 steps"),
        (SRFlowHyper, {"hidden_channels": 0}, "0 hidden channels"),
        (SRFlowHyper, {"num_features": -1}, "-1 features"),
        (SRFlowHyper, {"levels": 0}, "at x4 the flow has 1 to 3 levels, .* not 0"),
        (SRFlowHyper, {"levels": 4}, "at x4 the flow has 1 to 3 levels, .* not 4"),
        (SRFlowHyper, {"scale": 8, "levels": 5}, "at x8 the flow has 1 to 4 levels"),
        (SRFlowHyper, {"stack": (0, 23)}, r"blocks from 0 to 22, not \[0, 23\]"),
        (SRFlowHyper, {"stack": (-1,)}, r"blocks from 0 to 22, not \[-1\]"),
        (SRFlowHyper, {"stack": ()}, r"blocks from 0 to 22, not \[\]"),
        (SRFlowHyper, {"eps": 0.0}, r"lies in \(0, 1\), not 0"),
        (SRFlowHyper, {"eps": 1.0}, "not 1.0"),
        (SRFlowHyper, {"eps": math.nan}, "not nan"),
        (SRFlowHyper, {"bound": 0.5}, r"lies in 1 \.\.\. 1e\+06, not 0.5"),
        (SRFlowHyper, {"bound": math.inf}, "not inf"),
        (SRDiffHyper, {"scale": 3}, "scales 2, 4 and 8, not 3"),
        (SRDiffHyper, {"hidden_size": 5}, r"no U-Net has 5 channels and the multiples \[1, 2, 3, 4\]"),
        (SRDiffHyper, {"hidden_size": 2}, "no U-Net has 2 channels"),
        (SRDiffHyper, {"dim_mults": ()}, r"64 channels and the multiples \[\]"),
        (SRDiffHyper, {"dim_mults": (1, 0)}, r"the multiples \[1, 0\]"),
        (SRDiffHyper, {"rrdb_num_block": 1}, "2 blocks or more are needed, not 1"),
        (SRDiffHyper, {"rrdb_num_feat": 1}, "two channels or more, not 1"),
        (SRDiffHyper, {"timesteps": 0}, "no chain has 0 steps"),
        (SRDiffHyper, {"res_rescale": 0.0}, "res_rescale 0.0"),
        (WDSRHyper, {"variant": "C"}, "variants A and B"),
        (WDSRHyper, {"scale": 5}, "scales 1, 2, 3 and 4, not 5"),
        (WDSRHyper, {"scale": 0}, "scales"),
        (WDSRHyper, {"normalization": "imagenet"}, "ntire2018 or ychfan"),
        (WDSRHyper, {"num_blocks": 0}, "0 blocks"),
        (WDSRHyper, {"num_features": 0}, "0 features"),
        (WDSRHyper, {"num_features": 1}, "1 features"),  # int(0.8) is no channel at all
        (CSNLNHyper, {"scale": 5}, "CSNLN"),
        (CSNLNHyper, {"n_feats": 7}, "CSNLN"),
        (CSNLNHyper, {"n_feats": 0}, "CSNLN"),
        (CSNLNHyper, {"depth": 0}, "CSNLN"),
    ],
)
def test_networks_that_cannot_be(cls, settings, message):
    with pytest.raises(UserError, match=message):
        cls(**settings)


ENCODER = {"SRFlow": {"stage": "rrdb"}}  # which has the same schedule, and is made faster


@pytest.mark.parametrize(
    ("model", "changes", "steps", "falls"),
    [  # the numbers of the steps, from 0, before which the rate falls
        ("WDSR", {"decay": 2, "epochs": 6, "test_every": 10}, 60, {20: 0.5, 40: 0.25}),
        ("WDSR", {"decay": "1-3", "gamma": 0.1, "epochs": 4, "test_every": 10}, 40, {10: 0.1, 30: 0.01}),
        ("CSNLN", {"decay": 2, "epochs": 6, "test_every": 10}, 60, {20: 0.5}),
        ("CSNLN", {"decay": "1-3", "epochs": 4, "test_every": 10}, 40, {10: 0.5, 30: 0.25}),
        ("IRN", {"niter": 80, "lr_steps": "20,40"}, 80, {20: 0.5, 40: 0.25}),
        ("IRN", {"niter": 80, "lr_steps": "20,40", "schedule_batch": 8}, 160, {40: 0.5, 80: 0.25}),
        ("IRN", {"epochs": 5, "lr_steps": "2"}, 5, {2: 0.5}),
        ("SRFlow", {"niter": 80, "lr_steps_rel": "0.5,0.75"}, 80, {39: 0.5, 59: 0.25}),
        ("SRFlow", {"niter": 80, "lr_steps": "10,20"}, 80, {9: 0.5, 19: 0.25}),
        ("SRFlow", {"niter": 80, "lr_steps_rel": "0.5", "lr_steps_inverse_rel": "0.75"}, 80, {39: 0.5, 59: 1}),
        ("SRFlow", {"epochs": 3, "lr_steps": "100"}, 6, {}),
        ("SRDiff", {"max_updates": 80}, 80, {30: 0.5, 60: 0.25}),
        ("SRDiff", {"epochs": 7, "decay_steps": 0}, 7, {}),
    ],
)  # fmt: skip
def test_steps_and_rates(model, changes, steps, falls, begun):
    """Of one worker; several, where a recipe counts steps of a batch, share its images."""
    changes = changes | ENCODER.get(model, {})
    plan = begun(model, **changes).plan
    assert plan.steps == steps
    wanted = 1.0
    for step in range(steps):
        wanted = falls.get(step, wanted)
        assert plan.learning_rate(step) == pytest.approx(wanted * BY_NAME[model].train["lr"]), step
    if BY_NAME[model].inside and "epochs" not in changes:
        four = begun(model, workers=4, **changes).plan
        assert (four.steps, four.validate_every) == (steps // 4, max(1, plan.validate_every // 4))
        assert four.learning_rate(0) == plan.learning_rate(0)
        assert four.learning_rate(steps // 4 - 1) == pytest.approx(plan.learning_rate(steps - 1))


@pytest.mark.parametrize("model", ["WDSR", "CSNLN"])
def test_decay_by_a_cosine(model, begun):
    rate = begun(model, decay="cosine", lr=0.5).plan.learning_rate
    np.testing.assert_allclose([rate(step) for step in (0, 20, 40)], [0.5, 0.25, 0], atol=1e-12)
    for wrong in ("0", "2-", "2.5", "linear"):
        with pytest.raises(UserError, match="--decay must be "):
            begun(model, decay=wrong)


def test_settings_that_reach_the_trainer(spec, begun):
    settings = {"gclip": 0.5, "ema": 0.9, "log_every": 7, "save_every": 8, "ckpt_save_max": 6}
    trainer = begun(spec.name, beta1=0.5, beta2=0.8, **settings, **ENCODER.get(spec.name, {}))
    plan = trainer.plan
    found = plan.gradient_clip, plan.ema_decay, plan.log_every, plan.save_every, plan.keep_at_most
    assert (*found, trainer.optimizer.betas) == (*settings.values(), (0.5, 0.8))


# ------------------------------------------------------------------------------------------------------ none is in vain


def attributes(path, holders):
    """Names that are read of what is called one of `holders`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = getattr(node.value, "id", getattr(node.value, "attr", None))  # options.x, self.options.x
            yield from [node.attr] if holder in holders else []


def test_every_option_is_used(spec):
    """Something reads it as an attribute of `options` or `config`, or of `self` where the class stands.

    Those that give a hyper-parameter are read all together: a name that the network does not have would be refused.
    """
    found = (vars(importlib.import_module(f"{spec.name}.{program}")) for program in PROGRAMS)
    classes = {cls for names in found for key, cls in names.items() if key.endswith("Config")}
    modules = {cls.__module__ for cls in classes} | {"common.config.shared"}
    assert len(classes) >= 4
    used = set()
    for path in [*(ROOT / spec.name).rglob("*.py"), *(ROOT / "common").rglob("*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        used |= set(attributes(path, {"options", "config", *(["self"] if module in modules else [])}))
    fields = {field.name for cls in classes for field in dataclasses.fields(cls) if not field.metadata.get("hyper")}
    assert fields - used == set()
