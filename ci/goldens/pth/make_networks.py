"""Writes the irn_* and srflow_* files of this folder; run by hand (pip install torch==2.13.0 numpy):

    python make_networks.py PEERS

PEERS is the folder of torch_nets.py, which has the networks in PyTorch under the authors' names. The files are saved in
the ways of the authors' trainers over the years: as it is now, by the stream of before PyTorch 1.6, under DataParallel;
of SRFlow also the layer that nothing reads, and the encoder alone, as a training starts from it.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
from torch_nets import IRN, SRFlow

FOLDER = Path(__file__).resolve().parent
IRNS = {"irn_x4": (4, [1, 2]), "irn_x2_legacy": (2, [2]), "irn_x2_parallel": (2, [1])}
SIZES = {"features": 3, "blocks": 2, "growth": 1, "stack": (1,), "levels": 2, "steps": 1, "hidden": 4}


class TwoLevels(SRFlow):
    """The third level, which would make the files three times as large, reads features of its own."""

    def conditions(self, lr):
        return super().conditions(lr)[:2]


def save(name: str, network: torch.nn.Module) -> None:
    whole = torch.nn.DataParallel(network) if "parallel" in name else network
    zipped = not name.endswith("legacy")
    torch.save(whole.state_dict(), FOLDER / f"{name}.pth", _use_new_zipfile_serialization=zipped)


def irn(name: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
    scale, blocks = IRNS[name]
    network = IRN(scale, blocks, growth=1)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.07
    hr_image = torch.rand(1, 3, 2 * scale, 3 * scale, generator=generator)
    z = torch.randn(1, 3 * scale**2 - 3, 2, 3, generator=generator)
    lr_and_z, lr_image = network(hr_image), network.downscale(hr_image)
    save(name, network)
    found = {"hr_image": hr_image, "z": z, "lr_and_z": lr_and_z, "lr_image": lr_image}
    return found | {"restored": network.upscale(lr_image, z)}


def srflow(name: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
    network = TwoLevels(**SIZES)
    for parameter in network.parameters():
        size = 0.3 / parameter.shape[0] if parameter.ndim == 2 else 0.1
        parameter.data += torch.randn(parameter.shape, generator=generator) * size
    hr_image, lr_image = (torch.rand(1, 3, side, side, generator=generator) for side in (8, 2))
    z = torch.randn(1, 48, 2, 2, generator=generator)
    latent, _, logdet = network.encode(hr_image, lr_image)
    blocks = network.RRDB.trunk(lr_image)[1]
    enlarged = network.RRDB.rgb(blocks[-1] + network.RRDB.trunk_conv(blocks[-1]))
    found = {"hr_image": hr_image, "lr_image": lr_image, "z": z, "latent": latent, "logdet": logdet}
    found |= {"sr_image": network.sample(lr_image, z=z), "enlarged": enlarged}
    if not name.endswith("legacy"):
        network.flowUpsamplerNet.f = torch.nn.Sequential(torch.nn.Conv2d(6, 96, 3, padding=1))
        save("srflow_rrdb_x4", network.RRDB)
    save(name, network)
    return found


with torch.no_grad():
    for kind, make, names in (("irn", irn, IRNS), ("srflow", srflow, ("srflow_x4", "srflow_x4_parallel_legacy"))):
        made = {name: make(name, torch.Generator().manual_seed(number)) for number, name in enumerate(names)}
        arrays = {f"{name}/{key}": array.numpy() for name, found in made.items() for key, array in found.items()}
        np.savez_compressed(FOLDER / f"{kind}_expected.npz", **arrays)
