"""Time a PyTorch peer as its bench_torch.py does, by torch.compile with weights channels-last."""

import bench_torch  # in the folder that run.py starts this script from
import torch

eager = bench_torch.build


def compiled(args):
    network, step = eager(args)
    network.to(memory_format=torch.channels_last).compile()
    return network, step


bench_torch.build = compiled
bench_torch.main()
