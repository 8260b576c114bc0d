"""common/launch.sh: its functions one by one, and msrun jobs that succeed, fail, hang or are stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ci.tests.clone import make_clone, run, start, wait_for
from ci.tests.distribution import processes, processes_left

pytestmark = pytest.mark.usefixtures("all_cores")

HCCL_1 = {"version": "1.0", "server_list": [{"server_id": "a", "device": [{"device_id": str(i)} for i in range(3)]}]}
TWO_SERVERS = {"server_list": [{"device": [{}, {}]}, {"device": [{}, {}, {}]}]}
BEFORE_1 = {"group_list": [{"instance_list": [{"devices": [{"device_id": "0"}]}, {"devices": [{"device_id": "1"}]}]}]}


def bash(root: Path, code: str, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `code` after sourcing launch.sh, as a script of WDSR would."""
    return run("bash", "-c", f'. "{root}/common/launch.sh"; zoo_setup WDSR ""; {code}', cwd=cwd, **changes)


@pytest.mark.parametrize(
    ("table", "node", "expected"),
    [
        (HCCL_1, None, "3 of none"),
        (BEFORE_1, None, "2 of none"),
        (TWO_SERVERS, None, "5 of none"),
        (TWO_SERVERS, "1", "3 of 5"),
        (TWO_SERVERS, "2", "error: NODE_RANK is 2, but rank table has 2 servers"),
        ({}, None, "error: RANK_TABLE_FILE is not a rank table (JSON with "),
        ({"server_list": [{"device": []}]}, None, "error: RANK_TABLE_FILE is not a rank table (JSON with "),
    ],
)
def test_rank_table(root, tmp_path, table, node, expected):
    (tmp_path / "rank table").write_text(json.dumps(table), encoding="utf-8-sig")  # as Notepad saves it
    code = 'zoo_rank_table "rank table"; echo "$DEVICES of ${MS_WORKER_NUM:-none}"'
    done = bash(root, code, tmp_path, **({"NODE_RANK": node} if node else {}))
    assert (done.stdout + done.stderr).startswith(expected)
    assert done.returncode == expected.startswith("error")


def test_interpreter(root, tmp_path):
    done = bash(root, "", tmp_path, PYTHON="/nope/python")
    assert (done.returncode, done.stderr) == (1, "error: PYTHON is not a program: /nope/python\n")
    clone = make_clone(tmp_path / "clone", "WDSR", "script")
    own, show = clone / ".venv/bin/python", 'echo "$PYTHON"; echo "${PYTHONPATH%%:*}"'
    found = bash(clone, show, tmp_path, PYTHON="").stdout.splitlines()
    assert found[0].rsplit("/", 1)[1] in ("python3", "python"), "no .venv: the one in PATH"
    assert found[1] == str(clone), "the clone comes first"
    own.parent.mkdir(parents=True)
    own.symlink_to("/bin/true")
    assert bash(clone, show, tmp_path, PYTHON="").stdout.splitlines()[0] == str(own)
    (clone / ".venv/unfinished").touch()
    done = bash(clone, show, tmp_path, PYTHON="")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the installation in {clone}/.venv was interrupted" in done.stderr


@pytest.mark.parametrize("threads", ["1", "64"])
def test_no_more_workers_than_cores(root, tmp_path, threads):
    """Whatever OpenMP is told."""
    settings = {"DEVICE_TARGET": "CPU", "OMP_NUM_THREADS": threads, "OMP_THREAD_LIMIT": threads}
    done = bash(root, 'zoo_device GPU; zoo_plan_cluster 99999; echo "$WORKERS $TOTAL"', tmp_path, **settings)
    cores = len(os.sched_getaffinity(0))
    said = f"this machine has {cores} CPU core(s): {cores} workers, not 99999"
    assert done.stdout.splitlines() == [said, f"{cores} {cores}"]


def test_port_that_is_taken(root, tmp_path):
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
        done = bash(root, "zoo_device auto; zoo_plan_cluster 1", tmp_path, MASTER_PORT=port)
    sentence = f"error: cannot listen on port {port}: set MASTER_PORT to a free one\n"
    assert (done.returncode, done.stderr) == (1, sentence)


TWO = {"MS_WORKER_NUM": "4", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.7"}  # of two machines with two workers each


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MS_WORKER_NUM": "x1"}, "MS_WORKER_NUM is not a number of 1 or more: x1"),
        ({"MS_WORKER_NUM": "1"}, "MS_WORKER_NUM is 1, fewer than the 2 workers of this machine"),
        (TWO | {"MS_WORKER_NUM": "5"}, "MS_WORKER_NUM is 5, but each machine must have as many workers as this one: 2"),
        (TWO | {"MASTER_ADDR": ""}, "MASTER_ADDR is not set: the address of the machine whose NODE_RANK is 0"),
        (TWO | {"NODE_RANK": ""}, "NODE_RANK is not set: 0 on the machine of MASTER_ADDR, 1 on the next one"),
        ({"NODE_RANK": "1"}, "NODE_RANK is 1, but the 2 workers of MS_WORKER_NUM are those of 1 machine(s)"),
        (TWO | {"MASTER_PORT": "http"}, "MASTER_PORT is not a number of 0 or more: http"),
        ({"WATCHDOG_SECONDS": "0"}, "WATCHDOG_SECONDS is not a number of 1 or more: 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_machines_that_would_wait_in_vain(root, tmp_path, changes, message):
    code = "nproc() { echo 2; }; zoo_device auto; zoo_plan_cluster 2"
    done = bash(root, code, tmp_path, DEVICE_TARGET="CPU", **changes)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")


# ------------------------------------------------------------------------------------- jobs of two workers under msrun


class Job:
    """`run_gpu_distribute.sh data 2` with stand-in workers, started at once and waited for by the test that asks."""

    def __init__(self, clone: Path, here: Path, **changes: str) -> None:
        (here / "data").mkdir(parents=True)
        self.here, script = here, clone / "WDSR/script/run_gpu_distribute.sh"
        words = script, "data", "2", "--epochs", "1"
        self.process = start("bash", *words, cwd=here, DEVICE_TARGET="CPU", **changes)

    def both_are_up(self) -> None:
        wait_for("their logs are in", self.here / "train.log")
        for rank in (0, 1):
            wait_for("prefers", next(self.here.glob("runs/WDSR/workers-*")) / f"worker_{rank}.log")

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=240)
        assert processes_left(self.here, 0) == []
        return self.process.returncode, output


ON_THE_SECOND_MACHINE = """
zoo_device auto; zoo_plan_cluster 1
JOB=$PWD/job; mkdir job
connect='import socket, sys, time; line = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); time.sleep(600)'
ZOO_JOB=$JOB "$PYTHON" -c "$connect" "$MASTER_PORT" &
MSRUN_PID=$!
exec 2>/dev/null # or bash reports the kill
(zoo_guard) & wait $!
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """All at once, since each waits more than it works."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    top = tmp_path_factory.mktemp("jobs")
    clone = make_clone(top / "a clone", "WDSR", "script")
    plans = {"good": "", "mistake": "exit 2", "dies": "rank 1 fails", "Ctrl-C": "wait", "killed": "wait"}
    started = {name: Job(clone, top / name, TEST_PROGRAM=plan) for name, plan in plans.items()}
    started["hangs"] = Job(clone, top / "hangs", TEST_PROGRAM="wait", WATCHDOG_SECONDS="5")
    yield started
    for job in started.values():
        if job.process.poll() is None:
            job.process.terminate()


def test_job(jobs):
    job = jobs["good"]
    code, output = job.end()
    assert code == 0
    shown = re.findall(r"^\[.*--epochs', '1', '--run_distribute', 'True'\] prefers GPU$", output, re.MULTILINE)
    assert len(shown) == 1, "rank 0 alone is shown"
    (other,) = job.here.glob("runs/WDSR/workers-*/worker_1.log")
    for log in (job.here / "train.log", other):
        assert shown[0] in log.read_text()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("mistake", 2, "the distributed job ended with code 2"),
        ("dies", 1, "RuntimeError: worker 1 has had enough"),
        ("hangs", 1, "error: rank 0 wrote nothing for 5 seconds (WATCHDOG_SECONDS): the job is ended"),
    ],
)
def test_job_whose_workers_end_or_hang(jobs, name, code, said):
    """The code is python's, and the reason is shown although rank 0 is healthy."""
    found, output = jobs[name].end()
    assert (found, said in output) == (code, True)


def test_job_that_is_interrupted(jobs):
    job = jobs["Ctrl-C"]
    job.both_are_up()
    os.killpg(job.process.pid, signal.SIGINT)
    code, output = job.end()
    assert code == 130
    assert "\nsaved\n" in output, "rank 0 had the time to save"


def test_job_whose_script_is_killed(jobs):
    job = jobs["killed"]
    job.both_are_up()
    assert len(list(processes(job.here))) >= 3  # msrun and two workers
    job.process.kill()
    job.process.communicate()
    assert processes_left(job.here, 120) == [], "orphans"


def test_machine_that_is_left_alone(root, tmp_path):
    """The second one of a job whose first has gone."""
    code = f'. "{root}/common/launch.sh"; zoo_setup WDSR ""; {ON_THE_SECOND_MACHINE}'
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        process = start("bash", "-c", code, cwd=tmp_path, MS_WORKER_NUM="2", NODE_RANK="1", **cluster)
        line, _ = server.accept()
        time.sleep(4)  # the guard looks every two seconds
        assert process.poll() is None, process.communicate()[0]
        line.close()
    output, _ = process.communicate(timeout=120)
    assert output == "error: machine 0 (127.0.0.1) has left or no longer answers: the job is ended\n"
    assert processes_left(tmp_path, 0) == []
