"""Writes the three files of this folder; run by hand where `pip install torch==2.13.0 numpy` was done."""

import collections
from pathlib import Path

import numpy as np
import torch

torch.manual_seed(3)
base, tied = torch.randn(3, 4, 5), torch.randn(2, 3)
state = collections.OrderedDict(
    plain=base.clone(),
    transposed=base.clone().transpose(0, 2),
    sliced=base[1:, ::2, 1:4],
    tied_a=tied,
    tied_b=tied,
    tied_row=tied[1],
    half=torch.randn(4).half(),
    double=torch.randn(2, 2).double(),
    bool=torch.tensor([True, False, True]),
    scalar=torch.tensor(2.5),
    empty=torch.empty(0, 3),
    parameter=torch.nn.Parameter(torch.randn(2)),
    bfloat16=torch.randn(5).bfloat16(),
    bfloat16_scalar=torch.tensor(-1.5).bfloat16(),
    bool_scalar=torch.tensor(True),
    long=torch.arange(-2, 3),
    int8=torch.tensor([-7, 7], dtype=torch.int8),
    uint8=torch.tensor([0, 255], dtype=torch.uint8),
    uint16=torch.tensor([1, 65535], dtype=torch.uint16),
    expanded=torch.randn(1).expand(3),
    channels_last=torch.randn(1, 2, 3, 3).to(memory_format=torch.channels_last),
)
state._metadata = {"": {"version": 1}}
whole = {
    "state_dict": state,
    "epoch": 7,
    "best": np.float64(31.25),
    "name": "x2 é",
    "lr": 1e-4,
    "shape": torch.Size([1, 2]),
    "milestones": collections.Counter({200: 1}),
    "flags": [True, None, (1, 2)],
}
folder = Path(__file__).parent
torch.save(whole, folder / "zip.pth")
torch.save(whole, folder / "legacy.pth", _use_new_zipfile_serialization=False)
widened = {name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in state.items()}
np.savez_compressed(folder / "expected.npz", **{name: t.detach().contiguous().numpy() for name, t in widened.items()})
