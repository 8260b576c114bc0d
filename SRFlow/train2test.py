"""Convert a checkpoint that training wrote to the inference form, which loads and runs faster.

    python SRFlow/train2test.py --train_path DF2K_4X_train.ckpt --test_path DF2K_4X_test.ckpt

ActNorm and 1x1 convolution of each step become one affine map, with its inverse beside it; everything that nothing
reads is left out, and what only training needs. eval.py, infer.py and export.py take either form; train.py takes the
first alone. Both directions are compared with the network of training before anything is written.
"""

from collections.abc import Sequence
from pathlib import Path

from common import UserError, config, runtime
from SRFlow.src.model_utils.options import ConvertConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ConvertConfig, argv, description=__doc__)
    if not options.train_path or not options.test_path:
        raise UserError("from which file to which? type --train_path CHECKPOINT --test_path NEW.ckpt")
    if Path(options.test_path).suffix.lower() not in (".ckpt", ".safetensors"):
        raise UserError(f"--test_path must end in .ckpt or .safetensors, not {options.test_path!r}")
    if Path(options.test_path).is_dir():
        raise UserError(f"--test_path is a folder, a file name was expected: {options.test_path}")
    if Path(options.test_path).resolve() == Path(options.train_path).resolve():
        raise UserError("--test_path would overwrite --train_path: give it another name")
    runtime.start(options.device_target)

    from common.atomic import make_writable
    from SRFlow.src.model_utils import util

    make_writable(Path(options.test_path).parent)
    for line in util.convert(options.train_path, options.test_path):
        print(line)  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
