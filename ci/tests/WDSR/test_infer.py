"""What WDSR's infer.py alone has: a network of luma leaves colour to bicubic."""

import numpy as np

from ci.tests.specs import noise, weights_of, write
from ci.tests.WDSR import nets
from common.checkpoint import Checkpoint, save
from common.images import imresize, read_image, rgb_to_ycbcr, to_float
from WDSR import infer
from WDSR.src.model import Hyper


def test_luma_network_leaves_colour_to_bicubic(tmp_path):
    network = nets.make(Hyper(scale=3, num_features=4, num_blocks=1, num_colors=1))
    about = {"model": "WDSR", "scale": 3, "hyper": vars(network.hyper)}
    save(tmp_path / "y.ckpt", Checkpoint(weights_of(network), about))
    lr = noise(7, 8) // 3 + 85  # of which neither result is clipped
    write(tmp_path, {"a": (lr.astype(np.uint16) * 257)})
    words = [tmp_path / "a.png", "--ckpt_path", tmp_path / "y.ckpt", "--output", tmp_path / "o"]
    assert infer.main([str(word) for word in words]) == 0
    sr = rgb_to_ycbcr(read_image(tmp_path / "o" / "a_x3.png").rgb / 257.0)
    bicubic = rgb_to_ycbcr(imresize(to_float(lr), 3) * 255)
    assert np.abs(sr[..., 1:] - bicubic[..., 1:]).max() < 0.02
    assert np.abs(sr[..., 0] - bicubic[..., 0]).max() > 1
