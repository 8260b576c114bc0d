"""A network of 15 weights, its loss, and batches for both."""

import numpy as np
from mindspore import Parameter, Tensor, nn, ops


class Net(nn.Cell):
    """tanh(x W) + b."""

    def __init__(self, seed=0):
        super().__init__()
        weight = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
        self.weight = Parameter(Tensor(weight), name="weight")
        self.bias = Parameter(Tensor(np.zeros(3, np.float32)), name="bias")

    def construct(self, x):
        return ops.tanh(ops.matmul(x, self.weight)) + self.bias


class Loss(nn.Cell):
    """(mean squared error, mean error)."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x, y):
        error = self.network(x) - y
        return (error * error).mean(), error.mean()


class Stream:
    """Batches that depend on the step alone; `at[step]` is called while the step before has yet to be done."""

    global_batch_size, images = 5, range(10)

    def __init__(self, at=None, bad=()):
        self.at, self.bad = at or {}, bad

    def prefetched(self, first, last):
        for step in range(first, last):
            self.at.get(step, lambda: None)()
            rng = np.random.default_rng(step)
            x, y = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
            yield x, y * np.float32(np.nan if step in self.bad else 1)
