"""What tests of distributed training put into its processes: Python imports this by itself when PYTHONPATH names us.

In a worker it halts or slows the training at a step, and tells at the end what was computed and which files were
written. In msrun, when SPY_FORKS is set, it has the scheduler and the workers forked, with MindSpore imported, instead
of started: nine seconds of a processor less for each job. They are children of msrun with a session, an output file and
variables of their own all the same; only /proc/PID/environ shows msrun's.

Environment:
    SPY: folder where each worker tells: halted (the process id), RANK.json.
    SPY_HALT: the worker of rank 1 goes on no further than this step.
    SPY_SLOW: from this step on each waits PAUSE seconds.
"""

import json
import os
import sys
import time

PAUSE = 2.0  # seconds, of a slow step


def watch_worker() -> None:
    """Patch the trainer of this process."""
    sys.modules["matplotlib"] = None  # no curve: drawing it takes longer than the training
    from common.checkpoint import files as checkpoint
    from common.training import loop as training

    rank, folder, written = os.environ["RANK_ID"], os.environ["SPY"], []
    halt, slow = (int(os.environ.get(f"SPY_{name}", sys.maxsize)) for name in ("HALT", "SLOW"))
    fit, train_step = training.Trainer.fit, training.Trainer.train_step

    def listen(event, arguments):
        changes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (changes or event in ("os.mkdir", "os.rename", "os.symlink")) and isinstance(arguments[0], str):
            written.append(os.path.abspath(arguments[0]))

    def tell(name, content):
        path = os.path.join(folder, name)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(content)
        os.rename(path + ".part", path)

    def train_step_or_halt(self, batch):
        if rank == "1" and self.step >= halt:
            tell("halted", str(os.getpid()))
            time.sleep(3600)
        if self.step >= slow:
            time.sleep(PAUSE)
        return train_step(self, batch)

    def fit_and_tell(self):
        code, files = fit(self), list(written)
        arrays = {p.name: p.asnumpy() for p in self.network.get_parameters()} | self.optimizer.state()
        said = {"code": code, "step": self.step, "world": self.here.world_size, "written": files}
        said |= {"digest": checkpoint.digest(arrays), "patience": os.environ["MS_CPU_COMM_OP_TIMEOUT"]}
        tell(f"{rank}.json", json.dumps(said))
        return code

    training.Trainer.fit, training.Trainer.train_step = fit_and_tell, train_step_or_halt
    sys.addaudithook(listen)


def fork_workers() -> None:
    """Have msrun fork where it starts `python PROGRAM`."""
    import subprocess
    import types

    from mindspore.parallel.cluster.process_entity import _api

    class Forked:
        """The part of Popen that msrun uses."""

        def __init__(self, words, stdout, preexec_fn):
            sys.stdout.flush()
            sys.stderr.flush()
            self.pid, self.returncode = os.fork(), None
            if not self.pid:
                live(words, stdout.fileno(), preexec_fn)

        def poll(self, wait=False):
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

        def wait(self):
            return self.poll(wait=True)

    def start(words, *, stdout=None, stderr=None, preexec_fn=None):
        assert words[0] == "python"
        return Forked(words, stdout, preexec_fn)

    _api.subprocess = types.SimpleNamespace(**vars(subprocess) | {"Popen": start})


def live(words: list, output: int, before) -> None:
    """All that a forked process does: what `python PROGRAM WORDS` would."""
    from ci.tests import forks

    def work():
        if before:
            before()
        os.dup2(output, 1)
        os.dup2(output, 2)
        if os.environ["MS_ROLE"] == "MS_WORKER":
            watch_worker()
        forks.run(words[1:])

    os._exit(forks.ended(work))


if os.environ.get("MS_ROLE") == "MS_WORKER":
    watch_worker()
elif os.environ.get("SPY_FORKS") and os.environ.get("ZOO_JOB") and not os.environ.get("MS_ROLE"):
    import common  # noqa: F401  (sets the environment before mindspore is imported, as a program does)

    fork_workers()
