"""The authors' yml files: what each key is here."""

from typing import Any

from common import UserError
from common.config import Meaning, Only, Refused, leaves, read_sections, read_yaml

CONV_DOWN = "network_G.which_model_G.use_ConvDownsampling"
_ONE_LOADER = Only("LQGT", "there is one kind of data set, HR images with or without LR images")
_COLORS = Only("3", "images are RGB")
_DATA = {
    "name": "data_name",
    "mode": _ONE_LOADER,
    "dataroot_GT": "dataset_GT_path",
    "dataroot_LQ": "dataset_LQ_path",
    "color": Only("RGB", "images are read as RGB"),
}
KEYS: dict[str, Meaning] = {
    "name": "name",
    "model": Only("IRN", "IRN+ and the other models of that repository are not here"),
    "distortion": Only("sr", "colour rescaling and compression are not here"),
    "scale": "scale",
    "suffix": "suffix",
    "crop_border": "crop",
    "use_tb_logger": Only("true", "TensorBoard's events are always written where tensorboardX is installed"),
    "gpu_ids": Refused("DEVICE_ID=0 chooses a device, scripts/run_distribute_train.sh takes several"),
    **{f"datasets.train.{key}": value for key, value in _DATA.items()},
    "datasets.train.use_shuffle": Only("true", "the order is always shuffled"),
    "datasets.train.n_workers": Refused("images are read by one thread, which is enough"),
    "datasets.train.batch_size": "batch_size",
    "datasets.train.GT_size": "patch_size",
    "datasets.train.use_flip": "use_flip",
    "datasets.train.use_rot": "use_rot",
    "datasets.val.name": Refused("validation images have no name of their own: val_GT_path gives it"),
    "datasets.val.mode": _ONE_LOADER,
    "datasets.val.dataroot_GT": "val_GT_path",
    "datasets.val.dataroot_LQ": "val_LQ_path",
    **{f"datasets.test.{key}": value for key, value in _DATA.items()},
    "datasets.test.batch_size": Only("1", "images are evaluated one by one, since their sizes differ"),
    "network_G.which_model_G.subnet_type": Only("DBNet", "the couplings use dense blocks"),
    CONV_DOWN: Only("true", "leave it out where the scale is not 3"),
    "network_G.in_nc": _COLORS,
    "network_G.out_nc": _COLORS,
    "network_G.block_num": "block_num",
    "network_G.gc": "growth",
    "network_G.scale": "scale",
    "network_G.init": "init",
    "path.pretrain_model_G": "ckpt_path",
    "path.strict_load": Only("true", "weights that do not fit are always an error"),
    "path.resume_state": "resume",
    **{f"train.{key}": key for key in ("beta1", "beta2", "niter", "epochs", "warmup_iter")},
    **{f"train.{key}": key for key in ("lr_scheme", "lr_steps", "lr_gamma", "T_period", "eta_min")},
    **{f"train.{key}": key for key in ("restarts", "restart_weights", "pixel_criterion_forw", "pixel_criterion_back")},
    **{f"train.{key}": key for key in ("lambda_fit_forw", "lambda_rec_back", "lambda_ce_forw", "gaussian_scale")},
    "train.lr_G": "lr",
    "train.manual_seed": "seed",
    "train.val_freq": "test_every",
    "train.weight_decay_G": "weight_decay",
    "train.gradient_clipping": "gclip",
    "logger.print_freq": "log_every",
    "logger.save_checkpoint_freq": "save_checkpoint_freq",
    "test.suffix": "suffix",
    "test.crop_border": "crop",
    "test.gaussian_scale": "gaussian_scale",
}
SECTIONS = ("datasets", "network_G", "path", "train", "logger", "test")


def read(path: str) -> dict[str, Any]:
    options = read_sections(path, KEYS, SECTIONS)
    learned = dict(leaves(read_yaml(path))).get(CONV_DOWN)
    if learned and str(options.get("scale", 3)) != "3":
        raise UserError(f"{path}: {CONV_DOWN}: the down-sampling is learned at x3, and only there")
    return options
