"""Writes the irn_* files of this folder; run by hand (pip install torch==2.13.0 numpy): python make_irn.py PEERS

PEERS is the folder of torch_nets.py, which has IRN in PyTorch under the authors' names. The files are saved in the ways
of the authors' trainer over the years: as it is now, by the stream of before PyTorch 1.6, and under DataParallel.
"""

import sys
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent
NETWORKS = {"irn_x4": (4, [1, 2]), "irn_x2_legacy": (2, [2]), "irn_x2_parallel": (2, [1])}


def main() -> None:
    """Random weights, a picture, and what PyTorch makes of it."""
    sys.path.insert(0, sys.argv[1])
    from torch_nets import IRN

    expected = {}
    for number, (name, (scale, blocks)) in enumerate(NETWORKS.items()):
        generator = torch.Generator().manual_seed(number)
        network = IRN(scale, blocks, growth=1)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.07
        hr_image = torch.rand(1, 3, 2 * scale, 3 * scale, generator=generator)
        z = torch.randn(1, 3 * scale**2 - 3, 2, 3, generator=generator)
        with torch.no_grad():
            lr_and_z = network(hr_image)
            lr_image = network.downscale(hr_image)
            restored = network.upscale(lr_image, z)
        arrays = {"hr_image": hr_image, "z": z, "lr_and_z": lr_and_z, "lr_image": lr_image, "restored": restored}
        expected |= {f"{name}/{key}": array.numpy() for key, array in arrays.items()}
        whole = torch.nn.DataParallel(network) if name.endswith("parallel") else network
        zipped = not name.endswith("legacy")
        torch.save(whole.state_dict(), FOLDER / f"{name}.pth", _use_new_zipfile_serialization=zipped)
    np.savez_compressed(FOLDER / "irn_expected.npz", **expected)


if __name__ == "__main__":
    main()
