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

HCCL_1 = {"version": "1.0", "server_list": [{"server_id": "a", "device": [{"device_id": str(i)} for i in range(3)]}]}
TWO_SERVERS = {"server_list": [{"device": [{}, {}]}, {"device": [{}, {}, {}]}]}
BEFORE_1 = {
    "group_list": [
        {
            "instance_list": [
                {"server_id": "a", "devices": [{"device_id": "0"}]},
                {"server_id": "a", "devices": [{"device_id": "1"}]},
            ]
        }
    ]
}


def bash(root: Path, code: str, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `code` after sourcing launch.sh, as a script of WDSR would."""
    return run("bash", "-c", f'. "{root}/common/launch.sh"; zoo_setup WDSR ""; {code}', cwd=cwd, **changes)


@pytest.mark.parametrize(
    ("table", "node", "expected"),
    [
        (HCCL_1, None, "3 of none"),
        (BEFORE_1, None, "2 of none"),
        (TWO_SERVERS, None, "5 of none"),
        (TWO_SERVERS, "0", "2 of 5"),
        (TWO_SERVERS, "1", "3 of 5"),
    ],
    ids=["HCCL 1.0", "before 1.0", "two servers here", "first server", "second server"],
)
def test_rank_table(root, tmp_path, table, node, expected):
    (tmp_path / "rank table.json").write_text(json.dumps(table), encoding="utf-8-sig")  # as Notepad saves it
    code = 'zoo_rank_table "rank table.json"; echo "$DEVICES of ${MS_WORKER_NUM:-none}"'
    done = bash(root, code, tmp_path, **({"NODE_RANK": node} if node else {}))
    assert (done.stdout, done.stderr) == (expected + "\n", "")


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"server_list": [{"device": []}]}', '{"group_list": [{}]}'])
def test_rank_table_that_is_none(root, tmp_path, content):
    (tmp_path / "table").write_text(content)
    done = bash(root, "zoo_rank_table table; echo never", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: RANK_TABLE_FILE is not a rank table (JSON with ")
    assert done.stderr.endswith(": table\n")


def test_interpreter(root, tmp_path):
    done = bash(root, "", tmp_path, PYTHON="/nope/python")
    assert (done.returncode, done.stderr) == (1, "error: PYTHON is not a program: /nope/python\n")
    make_clone(tmp_path / "clone", "WDSR", "script")
    show = 'echo "$PYTHON"; echo "${PYTHONPATH%%:*}"'
    found = bash(tmp_path / "clone", show, tmp_path, PYTHON="").stdout.splitlines()
    assert found[0].rsplit("/", 1)[1] in ("python3", "python"), "no .venv: the one in PATH"
    assert found[1] == str(tmp_path / "clone"), "the clone comes first"
    own = tmp_path / "clone/.venv/bin/python"
    own.parent.mkdir(parents=True)
    own.symlink_to("/bin/true")
    assert bash(tmp_path / "clone", show, tmp_path, PYTHON="").stdout.splitlines()[0] == str(own)
    (tmp_path / "clone/.venv/unfinished").touch()
    done = bash(tmp_path / "clone", show, tmp_path, PYTHON="")
    sentence = f"error: the installation in {tmp_path}/clone/.venv was interrupted: type bash ci/quickstart.sh\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_no_more_workers_than_cores(root, tmp_path):
    code = 'zoo_device GPU; zoo_plan_cluster 99999; echo "$WORKERS $TOTAL"'
    line, counts = bash(root, code, tmp_path, DEVICE_TARGET="CPU").stdout.splitlines()
    cores = len(os.sched_getaffinity(0))
    assert line == f"this machine has {cores} CPU core(s): {cores} workers, not 99999"
    assert counts == f"{cores} {cores}"


def test_port_that_is_taken(root, tmp_path):
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
        done = bash(root, "zoo_device auto; zoo_plan_cluster 1", tmp_path, MASTER_PORT=port)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: cannot listen on port {port}: set MASTER_PORT to a free one\n",
    )


def test_workers_of_several_machines(root, tmp_path):
    code = 'zoo_device auto; zoo_plan_cluster 1; echo "$FIRST_RANK ${CLUSTER[*]}"'
    cluster = {"MS_WORKER_NUM": "4", "NODE_RANK": "2", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "9000"}
    done = bash(root, code, tmp_path, **cluster)
    assert done.stdout.startswith("2 --worker_num=4 --local_worker_num=1 --master_addr=10.0.0.7 --master_port=9000 ")
    assert "--node_rank=2" in done.stdout


TWO = {"MS_WORKER_NUM": "4", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.7"}  # of two machines with two workers each


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MS_WORKER_NUM": "x1"}, "MS_WORKER_NUM is not a number of 1 or more: x1"),
        ({"MS_WORKER_NUM": "1"}, "MS_WORKER_NUM is 1, fewer than the 2 workers of this machine"),
        (TWO | {"MS_WORKER_NUM": "5"}, "MS_WORKER_NUM is 5, but each machine must have as many workers as this one: 2"),
        (TWO | {"MASTER_ADDR": ""}, "MASTER_ADDR is not set: the address of the machine whose NODE_RANK is 0"),
        (TWO | {"NODE_RANK": ""}, "NODE_RANK is not set: 0 on the machine of MASTER_ADDR, 1 on the next one"),
        (
            TWO | {"NODE_RANK": "2"},
            "NODE_RANK is 2, but the 4 workers of MS_WORKER_NUM are those of 2 machine(s)",
        ),
        (
            {"NODE_RANK": "1"},
            "NODE_RANK is 1, but the 2 workers of MS_WORKER_NUM are those of 1 machine(s)",
        ),
        ({"NODE_RANK": "-1"}, "NODE_RANK is not a number of 0 or more: -1"),
        (TWO | {"MASTER_PORT": "http"}, "MASTER_PORT is not a number of 0 or more: http"),
        ({"WATCHDOG_SECONDS": "0"}, "WATCHDOG_SECONDS is not a number of 1 or more: 0"),
        ({"STOP_SECONDS": "1.5"}, "STOP_SECONDS is not a number of 0 or more: 1.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_machines_that_would_wait_in_vain(root, tmp_path, changes, message):
    done = bash(
        root, "nproc() { echo 2; }; zoo_device auto; zoo_plan_cluster 2", tmp_path, DEVICE_TARGET="CPU", **changes
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")


@pytest.mark.parametrize("name", ["README.md", "README_CN.md"])
def test_readmes_know_every_variable(root, name):
    """All that launch.sh says of itself that it takes from the user's environment."""
    head = (root / "common" / "launch.sh").read_text(encoding="utf-8").split("\n\n")[0]
    variables = set(re.findall(r"\b[A-Z]{2,}[A-Z_]+\b", head)) - {"MODEL", "WDSR"}
    variables -= {variable for variable in variables if variable.startswith("ZOO_")}
    assert len(variables) >= 9
    text = (root / name).read_text(encoding="utf-8")
    assert not {variable for variable in variables if f"`{variable}" not in text}


# ------------------------------------------------------------------------------------- jobs of two workers under msrun


def processes(job: Path) -> list[int]:
    """Every living process that was started with this ZOO_JOB."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"ZOO_JOB={job}".encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


class Job:
    """`run_gpu_distribute.sh data 2` with stand-in workers, started at once and waited for by the test that asks."""

    def __init__(self, clone: Path, here: Path, **changes: str) -> None:
        (here / "data").mkdir(parents=True)
        self.here, script = here, clone / "WDSR/script/run_gpu_distribute.sh"
        self.process = start("bash", script, "data", "2", "--epochs", "1", cwd=here, **changes)

    @property
    def folder(self) -> Path:
        return next((self.here / "runs/WDSR").glob("workers-*"))

    def both_are_up(self) -> None:
        wait_for("their logs are in", self.here / "train.log")
        for rank in (0, 1):
            wait_for("prefers", self.folder / f"worker_{rank}.log")

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=240)
        return self.process.returncode, output


# What zoo_distribute does on the second of two machines, with a process that is connected to the first for msrun.
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
def left_alone(root, tmp_path_factory):
    """The second machine of a job whose first has gone, and its folder."""
    here = tmp_path_factory.mktemp("second machine")
    code = f'. "{root}/common/launch.sh"; zoo_setup WDSR ""; {ON_THE_SECOND_MACHINE}'
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        process = start("bash", "-c", code, cwd=here, MS_WORKER_NUM="2", NODE_RANK="1", **cluster)
        line, _ = server.accept()
        time.sleep(5)  # the guard looks every two seconds
        assert process.poll() is None, process.communicate()[0]
        line.close()
    yield process, here / "job"
    process.kill()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, left_alone):
    """All at once, and beside the machine that is left alone, since each waits more than it works."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    top = tmp_path_factory.mktemp("jobs")
    clone = make_clone(top / "a clone", "WDSR", "script")
    plans = {
        "good": {},
        "mistake": {"TEST_PROGRAM": "exit 2"},
        "worker dies": {"TEST_PROGRAM": "rank 1 fails"},
        "Ctrl-C": {"TEST_PROGRAM": "wait"},
        "script is killed": {"TEST_PROGRAM": "wait"},
        "hangs": {"TEST_PROGRAM": "wait", "WATCHDOG_SECONDS": "6"},
    }
    started = {name: Job(clone, top / name, DEVICE_TARGET="CPU", **changes) for name, changes in plans.items()}
    yield started
    for job in started.values():
        if job.process.poll() is None:
            job.process.terminate()


def test_job(jobs):
    code, output = jobs["good"].end()
    assert code == 0
    shown = re.findall(r"^\[.*--epochs', '1', '--run_distribute', 'True'\] prefers GPU$", output, re.MULTILINE)
    assert len(shown) == 1, "rank 0 alone is shown"
    log = (jobs["good"].here / "train.log").read_text()
    assert shown[0] in log
    assert shown[0] in (jobs["good"].folder / "worker_1.log").read_text()
    assert processes(jobs["good"].folder) == []


def test_job_whose_workers_refuse(jobs):
    code, output = jobs["mistake"].end()
    assert code == 2, "the code is python's"
    assert "the distributed job ended with code 2" in output


def test_job_one_of_whose_workers_dies(jobs):
    code, output = jobs["worker dies"].end()
    assert code == 1
    assert "RuntimeError: worker 1 has had enough" in output, "the reason is shown although rank 0 is healthy"
    assert processes(jobs["worker dies"].folder) == []


def test_job_that_is_interrupted(jobs):
    job = jobs["Ctrl-C"]
    job.both_are_up()
    os.killpg(job.process.pid, signal.SIGINT)
    code, output = job.end()
    assert code == 130
    assert "\nsaved\n" in output, "rank 0 had the time to save"
    assert processes(job.folder) == []


def test_job_whose_script_is_killed(jobs):
    job = jobs["script is killed"]
    job.both_are_up()
    assert len(processes(job.folder)) >= 3  # msrun and two workers
    job.process.kill()
    job.end()
    end = time.monotonic() + 120
    while processes(job.folder):
        assert time.monotonic() < end, "orphans are left"
        time.sleep(0.2)


def test_machine_that_is_left_alone(left_alone):
    process, job = left_alone
    output, _ = process.communicate(timeout=120)
    assert output == "error: machine 0 (127.0.0.1) has left or no longer answers: the job is ended\n"
    assert processes(job) == []
