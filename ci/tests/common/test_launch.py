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
    (tmp_path / "rank table.json").write_text(json.dumps(table))
    code = 'zoo_rank_table "rank table.json"; echo "$DEVICES of ${MS_WORKER_NUM:-none}"'
    done = bash(root, code, tmp_path, **({"NODE_RANK": node} if node else {}))
    assert (done.stdout, done.stderr) == (expected + "\n", "")


def test_number_instead_of_a_rank_table(root, tmp_path):
    assert bash(root, 'zoo_rank_table 8; echo "$DEVICES"', tmp_path).stdout == "8\n"
    (tmp_path / "8").write_text(json.dumps(HCCL_1))
    assert bash(root, 'zoo_rank_table 8; echo "$DEVICES"', tmp_path).stdout == "3\n", "a file of that name comes first"


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"server_list": [{"device": []}]}', '{"group_list": [{}]}'])
def test_rank_table_that_is_none(root, tmp_path, content):
    (tmp_path / "table").write_text(content)
    done = bash(root, "zoo_rank_table table; echo never", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: RANK_TABLE_FILE is not a rank table (JSON with ")
    assert done.stderr.endswith(": table\n")


def test_server_that_the_table_lacks(root, tmp_path):
    (tmp_path / "table").write_text(json.dumps(TWO_SERVERS))
    done = bash(root, "zoo_rank_table table", tmp_path, NODE_RANK="2")
    assert (done.returncode, done.stderr) == (1, "error: NODE_RANK is 2, but table has 2 servers\n")


def test_paths_start_at_the_callers_folder(root, tmp_path):
    (tmp_path / "two words").mkdir()
    done = bash(root, 'zoo_path X "two words"; zoo_path X /; zoo_path DATASET_PATH nope', tmp_path)
    assert done.stdout == f"{tmp_path}/two words\n/\n"
    assert (done.returncode, done.stderr) == (1, "error: DATASET_PATH is not a file or folder: nope\n")


def test_words_in_brackets_may_be_left_out(root, tmp_path):
    (tmp_path / "D").touch()  # [DEVICE_ID] is also a pattern that this name matches
    command = f'. "{root}/common/launch.sh"; zoo_setup WDSR "CONFIG [DEVICE_ID]" "$@"; echo ready'
    assert run("bash", "-c", command, "x.sh", "cfg", cwd=tmp_path).stdout == "ready\n"
    done = run("bash", "-c", command, "x.sh", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "usage: bash x.sh CONFIG [DEVICE_ID] [python options such as --epochs 1]",
    )


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
    done = bash(root, "zoo_device auto; zoo_plan_cluster 1", tmp_path, MS_WORKER_NUM="x1")
    assert done.returncode != 0


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


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """All at once, since each waits more than it works."""
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


def test_job_that_hangs(jobs):
    code, output = jobs["hangs"].end()
    assert code == 1
    assert "error: rank 0 wrote nothing for 6 seconds (WATCHDOG_SECONDS): the job is ended" in output
    assert processes(jobs["hangs"].folder) == []
