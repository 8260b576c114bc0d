"""Writes the srflow_* files of this folder; run by hand (pip install torch==2.13.0 numpy): python make_srflow.py PEERS

PEERS is the folder of torch_nets.py, which has SRFlow in PyTorch under the authors' names. The files are those of the
authors' code, only smaller: a whole network with the layer that nothing reads, one without it saved under DataParallel
by the stream of before PyTorch 1.6, and the encoder alone, as a training starts from it.
"""

import sys
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent
SIZES = {"features": 3, "blocks": 2, "growth": 1, "stack": (1,), "levels": 2, "steps": 1, "hidden": 4}


def main() -> None:
    """Random weights, pictures, and what PyTorch makes of them."""
    sys.path.insert(0, sys.argv[1])
    from torch_nets import SRFlow

    class TwoLevels(SRFlow):
        """The third level, which would make the files three times as large, reads features of its own."""

        def conditions(self, lr):
            return super().conditions(lr)[:2]

    expected = {}
    for number, name in enumerate(("srflow_x4", "srflow_x4_parallel_legacy")):
        generator = torch.Generator().manual_seed(number)
        network = TwoLevels(**SIZES)
        for parameter in network.parameters():
            size = 0.3 / parameter.shape[0] if parameter.ndim == 2 else 0.1
            parameter.data += torch.randn(parameter.shape, generator=generator) * size
        hr_image = torch.rand(1, 3, 8, 8, generator=generator)
        lr_image = torch.rand(1, 3, 2, 2, generator=generator)
        z = torch.randn(1, 48, 2, 2, generator=generator)
        with torch.no_grad():
            latent, _, logdet = network.encode(hr_image, lr_image)
            blocks = network.RRDB.trunk(lr_image)[1]
            enlarged = network.RRDB.rgb(blocks[-1] + network.RRDB.trunk_conv(blocks[-1]))
            sr_image = network.sample(lr_image, z=z)
        arrays = {"hr_image": hr_image, "lr_image": lr_image, "z": z, "latent": latent, "logdet": logdet}
        arrays |= {"sr_image": sr_image, "enlarged": enlarged}
        expected |= {f"{name}/{key}": array.numpy() for key, array in arrays.items()}
        if name.endswith("legacy"):
            weights = torch.nn.DataParallel(network).state_dict()
            torch.save(weights, FOLDER / f"{name}.pth", _use_new_zipfile_serialization=False)
        else:
            network.flowUpsamplerNet.f = torch.nn.Sequential(torch.nn.Conv2d(6, 96, 3, padding=1))
            torch.save(network.state_dict(), FOLDER / f"{name}.pth")
            torch.save(network.RRDB.state_dict(), FOLDER / "srflow_rrdb_x4.pth")
    np.savez_compressed(FOLDER / "srflow_expected.npz", **expected)


if __name__ == "__main__":
    main()
