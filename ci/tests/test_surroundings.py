"""The programs where names or the console are not UTF-8, streams are closed, or there is no room for files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.tests.clone import environment
from ci.tests.specs import SPECS, noise, write
from common import runtime
from common.config import options as config

ROOT = Path(__file__).resolve().parents[2]
SET, IMAGE = os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xe9\xf0\x9f\x90\xb1")
UPSCALE = "one.png", "--ckpt_path", "WDSR.ckpt", "--output"
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0,
    reason="mounts need root",
)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a checkpoint of a tiny network for each model, and a set of one image."""
    folder = tmp_path_factory.mktemp("surroundings")
    write(folder, {f"{SET}/{IMAGE}.png": noise(48, 48), "one": noise(48, 48)})
    for spec in SPECS:
        spec.save(folder / f"{spec.name}.ckpt")
    return folder


def run(here, program, *words, before=(), python=sys.executable, **changes):
    """Start a program in `here`, after the words `before` of another one."""
    return subprocess.run(
        [*before, str(python), str(ROOT / program), *map(str, words)],
        cwd=here, env=environment(PYTHONPATH=str(ROOT), **changes), capture_output=True, timeout=240, check=False,
    )  # fmt: skip


def infer(here, *words, **settings):
    """`run` of WDSR's infer.py."""
    return run(here, "WDSR/infer.py", *words, **settings)


def shell(line):
    """What starts its arguments with redirections, such as "2>&-"."""
    return "bash", "-c", f'"$@" {line}', "bash"


def mounted(line):
    """What starts its arguments after mounts that only they see."""
    return "unshare", "-m", "bash", "-c", f'{line} && exec "$@"', "bash"


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda spec: spec.name)  # sets by their names, a folder by its path
def test_names_that_are_not_utf8_on_a_console_of_ascii(spec, here, python, tmp_path):
    data = f"--{spec.data}", here, "--data_test", SET
    words = *data, "--ckpt_path", f"{spec.name}.ckpt", "--engine", "mindspore", "--report", "--output", tmp_path
    done = run(here, f"{spec.name}/eval.py", *words, python=python, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
    (table,) = tmp_path.glob("*.csv")
    assert "\n\\udce9\N{CAT FACE}," in table.read_text(encoding="utf-8")
    assert "\\udce9\N{CAT FACE}" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list(tmp_path.glob(f"*/SR*/{IMAGE}*.png"))
    assert b"\\udce9\\U0001f431" in done.stdout


def test_training_on_a_folder_that_is_not_utf8(here, python, tmp_path):
    words = "--dir_data", here, "--data_train", SET, "--data_test", SET, "--save_dir", tmp_path, "--epochs", 1
    small = "--n_resblocks", 1, "--n_feats", 4, "--patch_size", 16, "--batch_size", 2, "--test_every", 2
    done = run(here, "WDSR/train.py", *words, *small, python=python)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
    (run_folder,) = tmp_path.iterdir()
    assert config.read_yaml(run_folder / "config.yaml")["data_train"] == SET, "a run can be resumed"


@pytest.mark.parametrize("line", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams(here, tmp_path, line):
    done = infer(here, *UPSCALE, tmp_path, before=shell(line))
    assert (done.returncode, done.stdout) == (0, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["one_x2.png"]


def test_output_that_is_a_loop_of_links(spec, here, tmp_path, capfd):
    (tmp_path / "loop").symlink_to("loop")
    words = *spec.infer, here / "one.png", "--ckpt_path", here / f"{spec.name}.ckpt", "--output", tmp_path / "loop"
    with pytest.raises(SystemExit) as ended:
        runtime.run_main(lambda: spec.main("infer", *words))
    assert (ended.value.code, capfd.readouterr().err.count("error: ")) == (2, 1)


def test_onnxruntime_keeps_no_telemetry(here, tmp_path):
    pytest.importorskip("onnxruntime")
    home = tmp_path / "home"
    home.mkdir()
    done = infer(here, *UPSCALE, tmp_path / "out", HOME=str(home), XDG_CACHE_HOME=str(home))
    assert b"ONNX Runtime" in done.stderr
    files = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert [(path.parts[0], path.suffix) for path in files] == [("mindspore-sr-zoo", ".onnx")]


@AS_ROOT
def test_no_libgl(here, tmp_path):
    """As `pip install` leaves it on a bare system: OpenCV says so when it is imported."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import WDSR.infer"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: OpenCV does not find libGL: apt-get install libgl1 ")
    assert done.stderr.count("\n") == 1


def test_no_temporary_folder(here, tmp_path):
    """None can be written: the network runs in MindSpore, since no export can be made."""
    pytest.importorskip("onnxruntime")
    shutil.copy(here / "WDSR.ckpt", tmp_path / "new.ckpt")  # of which there is no export
    shutil.copy(here / "one.png", tmp_path)
    mounts = f"mount --bind '{tmp_path}' /mnt && for d in /tmp /var/tmp /usr/tmp; do "
    mounts += "[ ! -d $d ] || { mount --bind $d $d && mount -o remount,bind,ro $d; }; done && cd /proc"
    words = "/mnt/one.png", "--ckpt_path", "/mnt/new.ckpt", "--output", "/mnt/out"
    done = infer(here, *words, before=mounted(mounts))
    assert done.returncode == 0, done.stderr.decode()
    assert b"the export cannot be written to the temporary folder (Read-only file system)" in done.stderr
    assert (tmp_path / "out" / "one_x2.png").exists()


@AS_ROOT
def test_full_disk_while_a_table_is_written(here, tmp_path):
    words = "--dir_data", here, "--data_test", SET, "--ckpt_path", "WDSR.ckpt", "--save_results", "no"
    mounts = f"mount -t tmpfs -o size=4k none '{tmp_path}'"
    done = run(here, "WDSR/eval.py", *words, "--output", tmp_path / "out", before=mounted(mounts))
    *_, last = done.stderr.decode(errors="replace").splitlines()
    assert done.returncode == 2
    assert last.startswith(f"error: No space left on device: {tmp_path}/out/")


def test_clone_that_converts_line_ends(tmp_path):
    """What is committed is checked out byte for byte, whatever the user's git is told."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    for name in (".gitattributes", "common/launch.sh"):
        shutil.copy(ROOT / name, source)
    identity = "-c", "user.name=n", "-c", "user.email=e@x"
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", str(source), *words], check=True)
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", str(source), str(clone)], check=True)
    assert (clone / "launch.sh").read_bytes() == (ROOT / "common/launch.sh").read_bytes()
