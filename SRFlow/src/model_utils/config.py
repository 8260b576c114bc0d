"""Configuration files: where they are found, and what each key of the authors' yml files means to each program."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from common.config import Meaning, Only, Refused, Translated, read_sections

MODEL_FOLDER = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)


class By(NamedTuple):
    """A key that means one option to train.py and another to the programs that use a trained network."""

    train: str = ""
    trained: str = ""


_COLORS = Only("3", "images are RGB")
_RATE = Refused("the rate is lr_G and falls by lr_gamma at lr_steps_rel")
_ENCODER = By(train="rrdb_path")
_STEPS = "lr_steps", "lr_steps_rel", "lr_steps_inverse_rel"
_DATA = {
    "mode": Only("LRHR_PKL", "there is one kind of data, HR images or patches with or without LR ones"),
    "color": Only("RGB", "images are read as RGB"),
    "quant": By(train="quant"),
}
KEYS: dict[str, Meaning | By] = {
    "name": By(train="name"),
    "model": Only("SRFlow", "there is no other model here"),
    "distortion": Only("sr", "SRFlow upscales images"),
    "scale": "scale",
    "use_tb_logger": Only("true", "TensorBoard's events are always written where tensorboardX is installed"),
    "gpu_ids": Refused("DEVICE_ID=0 chooses a device, scripts/run_distribute_train_gpu.sh takes several"),
    "dataroot_GT": By(trained="dataset_GT_path"),
    "dataroot_LR": By(trained="dataset_LQ_path"),
    "model_path": By(trained="ckpt_path"),
    "test_pretrained_model_path": By(trained="ckpt_path"),
    "heat": By(trained="heat"),
    **{f"datasets.{split}.{key}": meaning for split in ("train", "val") for key, meaning in _DATA.items()},
    "datasets.train.name": By(train="data_name"),
    "datasets.train.dataroot": By(train="dataset_GT_path"),
    "datasets.train.dataroot_GT": By(train="dataset_GT_path"),
    "datasets.train.dataroot_LQ": By(train="dataset_LQ_path"),
    "datasets.train.use_shuffle": Only("true", "the order is always shuffled"),
    "datasets.train.n_workers": Refused("images are read by one thread, which is enough"),
    "datasets.train.epoch": By(train="epochs"),
    "datasets.train.batch_size": By(train="batch_size"),
    "datasets.train.GT_size": By(train="patch_size"),
    "datasets.train.HR_size": By(train="patch_size"),
    "datasets.train.use_flip": By(train="use_flip"),
    "datasets.train.use_rot": Only("false", "patches are mirrored, never turned"),
    "datasets.val.name": Refused("validation images have no name of their own: dataroot gives it"),
    "datasets.val.dataroot": "val_GT_path",
    "datasets.val.dataroot_GT": "val_GT_path",
    "datasets.val.dataroot_LQ": "val_LQ_path",
    "datasets.val.n_max": By(train="test_pictures"),  # of validations while training; evaluation takes all
    "network_G.which_model_G": Only("SRFlowNet", "there is no other network here"),
    "network_G.in_nc": _COLORS,
    "network_G.out_nc": _COLORS,
    "network_G.nf": "num_features",
    "network_G.nb": "num_blocks",
    "network_G.gc": "growth",
    "network_G.upscale": "scale",
    "network_G.scale": "scale",
    "network_G.train_RRDB": By(train="train_RRDB"),
    "network_G.train_RRDB_delay": By(train="train_RRDB_delay"),
    "network_G.flow.K": "flow_steps",
    "network_G.flow.L": "flow_levels",
    "network_G.flow.noInitialInj": Only("true", "the features enter by the couplings alone"),
    "network_G.flow.coupling": Only("CondAffineSeparatedAndCond", "there is no other coupling here"),
    "network_G.flow.additionalFlowNoAffine": Only("2", "two transition steps follow on each squeeze"),
    "network_G.flow.split.enable": Only("true", "half of the channels leave in all but the last two levels"),
    "network_G.flow.split.consume_ratio": Only("0.5", "half of the channels leave"),
    "network_G.flow.split.correct_splits": Only(
        "false", "the authors' weights have no split in the last but one level"
    ),
    "network_G.flow.fea_up0": Only("true", "the last level reads features at half the LR size"),
    "network_G.flow.stackRRDB.blocks": "stack",
    "network_G.flow.stackRRDB.concat": Only("true", "the blocks' results stand beside the features"),
    "network_G.flow.CondAffineSeparatedAndCond.hidden_channels": "hidden_channels",
    "network_G.flow.CondAffineSeparatedAndCond.eps": "eps",
    "path.pretrain_model_G": _ENCODER,
    "path.train_pretrain_model_G": _ENCODER,
    "path.load_submodule": Only("true", "the file gives the encoder; ckpt_path gives a whole network"),
    "path.strict_load": Only("true", "weights that do not fit are always an error"),
    "path.resume_state": By(train="resume"),
    **{f"train.{key}": By(train=key) for key in ("niter", "beta1", "beta2", "lr_gamma", *_STEPS)},
    **{f"train.{key}": _RATE for key in ("lr_decay", "lr_init", "lr_max", "lr_end")},
    "train.lr_G": By(train="lr"),
    "train.lr_RRDB": Refused("the encoder learns at the flow's rate"),
    "train.lr_scheme": Only("MultiStepLR", "there is no other schedule here"),
    "train.warmup_iter": Only("-1", "there is no warm-up here"),
    "train.manual_seed": By(train="seed"),
    "train.val_freq": By(train="test_every"),
    "train.weight_decay_G": By(train="weight_decay"),
    "train.weight_fl": Only("1", "the likelihood is the only term"),
    "train.weight_l1": Only("0", "the likelihood is the only term; --stage rrdb trains the encoder by L1"),
    "val.heats": By(train="val_heats"),
    "val.n_sample": By(train="val_samples"),
    "test.heats": By(trained="heats"),
    "logger.print_freq": By(train="log_every"),
    "logger.save_checkpoint_freq": By(train="save_checkpoint_freq"),
}
INSTEAD = (("heats", "heat"), ("dataset_GT_path", "val_GT_path"))  # of which the authors' files have both
SECTIONS = ("datasets", "network_G", "path", "train", "val", "test", "logger")
PATHS = ("dataset_GT_path", "dataset_LQ_path", "val_GT_path", "val_LQ_path", "ckpt_path", "rrdb_path", "resume")


def read(path: str, program: type) -> dict[str, Any]:
    """Return the options of `program` that a file gives. Relative paths are the current folder's, else the file's."""
    given, ours = Path(path), MODEL_FOLDER / path  # SRFlow_DF2K_4X.yml alone does from everywhere
    file = ours if not given.exists() and ours.is_file() else given
    options = read_sections(file, {key: of_program(meaning, program) for key, meaning in KEYS.items()}, SECTIONS)
    if not isinstance(options, Translated):
        return options
    if options.get("beta2") == "0.99":
        log.warning(
            "beta2 is 0.999 as in the authors' runs: their code overlooks the 0.99 of their files (--beta2 sets it)"
        )
        del options["beta2"]
    for name in options.keys() & set(PATHS):
        beside = file.parent / str(options[name])
        if not Path(str(options[name])).exists() and beside.exists():
            options[name] = str(beside)
    for name, other in INSTEAD if program.CONFIG_PART == "trained" else ():
        if name in options:
            options.pop(other, None)
    return options


def of_program(meaning: Meaning | By, program: type) -> Meaning:
    meaning = getattr(meaning, program.CONFIG_PART) if isinstance(meaning, By) else meaning
    return None if isinstance(meaning, str) and meaning not in program.__dataclass_fields__ else meaning
