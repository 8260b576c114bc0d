"""Time the models on this machine, beside their PyTorch peers when these are at hand; prints JSON lines and a table.

    python ci/benchmarks/run.py                                                        # the zoo alone
    python ci/benchmarks/run.py --peers .peer/bin/python --peers_folder ../shared/peers  # and PyTorch, in turn
    python ci/benchmarks/run.py --before ../zoo-of-last-week                           # and another checkout, in turn

Each case runs in a process of its own: warm-up steps, then the medians of some more. Only ratios taken in one run on a
quiet machine mean anything: the load is printed, and pause whatever trains in the background.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import common

MODELS = ("csnln", "irn", "srdiff", "srflow", "wdsr")
PEERS = {  # engine -> script and options, in the peers' folder
    "pytorch": ["bench_torch.py"],
    "pytorch (keep-memory)": ["bench_torch.py", "--keep-memory"],
    "pytorch (compiled)": [str(Path(__file__).with_name("compiled_peer.py")), "--keep-memory"],
}
COMPILED = ("wdsr",)  # peers that torch.compile takes as a whole
CASES = (("infer", "onnxruntime"), ("infer", "mindspore"), ("train", "mindspore"))
ONE_GRAPH = "mindspore (one graph)"  # training as by --memory full; SRDiff's is always so
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for ci.benchmarks.cases


def time_case(model: str, what: str, engine: str, repeat: int) -> dict:
    from common import runtime

    runtime.start("CPU")
    build = getattr(importlib.import_module("ci.benchmarks.cases"), model)
    started = time.perf_counter()
    with runtime.graph_mode(what == "train"):  # as in the programs
        step, *about = build(what, engine)
        step()
        first = time.perf_counter() - started
        step()
        wall, cpu = [], []
        for _ in range(repeat):
            w, c = time.perf_counter(), time.process_time()
            value = step()
            wall.append(time.perf_counter() - w)
            cpu.append(time.process_time() - c)
    median = statistics.median(wall)
    return {
        "model": model,
        "what": what,
        "engine": engine,
        **dict(zip(("size", "batch", "config", "parameters"), about, strict=True)),
        "wall_s": round(median, 4),
        "wall_min_s": round(min(wall), 4),
        "cpu_s": round(statistics.median(cpu), 4),
        "first_step_s": round(first, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "finite": value == value,
        "load": [round(x, 2) for x in os.getloadavg()],
    }


def run_process(command: list[str], folder: Path) -> dict:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_all(options: argparse.Namespace) -> Iterator[dict]:
    """Every case, beside it the same of another checkout and of the peers."""
    checkouts = {"": ROOT} | ({"before: ": Path(options.before).resolve()} if options.before else {})
    peers = PEERS if options.peers else {}
    for model in options.models or MODELS:
        whole = options.one_graph and model != "srdiff"
        for what, engine in (*CASES, *([("train", ONE_GRAPH)] if whole else [])):
            if options.step not in (None, what):
                continue
            alone = (what, engine) not in (CASES[0], CASES[2])  # our slower way: others stand beside the faster
            for name, folder in list(checkouts.items())[: 1 if alone else None]:
                script = [sys.executable, str(folder / "ci/benchmarks/run.py"), "--one", model, what, engine]
                row = run_process([*script, "--repeat", str(options.repeat)], folder)
                yield row | {"engine": name + row["engine"]}
            for name, script in peers.items():
                if not alone and (name != "pytorch (compiled)" or model in COMPILED):
                    peer = [options.peers, *script, "--model", model, "--what", what]
                    row = run_process([*peer, "--repeat", str(options.repeat)], Path(options.peers_folder))
                    yield row | {"engine": name}


def table(rows: list[dict]) -> str:
    """A Markdown table, a line for each step of each model; the JSON lines say more.

    "first" is the first step with all that is built and compiled for it, in the faster of our engines, whose memory is
    shown as well. The ratio is its wall time over that of PyTorch's faster way. "before" is the other checkout's faster
    engine.
    """
    ours, before = ("onnxruntime", "mindspore"), ("before: onnxruntime", "before: mindspore")
    present = {row["engine"] for row in rows}
    walls = [*ours, *(name for name in (ONE_GRAPH, *PEERS) if name in present)]
    heads = ["model", "step", *(f"{engine} s" for engine in walls), "ratio", "first s", "peak MiB", "PyTorch MiB"]
    heads += ["before s", "first s", "peak MiB"] if present & set(before) else []
    lines = [f"| {' | '.join([*heads, 'load'])} |", "|---|---|" + "---:|" * (len(heads) - 1)]
    for model, what in dict.fromkeys((row["model"], row["what"]) for row in rows):
        found = {row["engine"]: row for row in rows if (row["model"], row["what"]) == (model, what)}
        best, peer, old = (fastest(found, engines) for engines in (ours, PEERS, before))
        cells = [model, f"{what}, {best['size']}, batch {best['batch']}"]
        cells += [f"{found[engine]['wall_s']:.2f}" if engine in found else "" for engine in walls]
        cells += [f"{best['wall_s'] / peer['wall_s']:.2f}" if peer else "", *first_and_peak(best)]
        cells += [f"{peer['peak_rss_mib']:,}" if peer else ""]
        if old:
            cells += [f"{old['wall_s']:.2f}", *first_and_peak(old)]
        lines.append(f"| {' | '.join([*cells, str(max(row['load'][0] for row in found.values()))])} |")
    return "\n".join(lines)


def fastest(rows: dict[str, dict], engines: Iterable[str]) -> dict | None:
    return min((rows[name] for name in engines if name in rows), key=lambda row: row["wall_s"], default=None)


def first_and_peak(row: dict) -> tuple[str, str]:
    return f"{row['first_step_s']:.0f}", f"{row['peak_rss_mib']:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, help="default: all")
    parser.add_argument("--step", choices=("infer", "train"), help="default: both")
    parser.add_argument("--repeat", type=int, default=5, help="timed steps of each case [5]")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of an environment with PyTorch")
    parser.add_argument(
        "--peers_folder", default=str(ROOT.parent / "shared" / "peers"), help="folder of bench_torch.py"
    )
    parser.add_argument("--one_graph", action="store_true", help="time training by --memory full as well")
    parser.add_argument("--before", metavar="CHECKOUT", help="another version of the zoo, timed beside this one")
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "STEP", "ENGINE"), help="run one case in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(time_case(*options.one, options.repeat)))
        return
    rows = []
    for row in run_all(options):
        rows.append(row)
        print(json.dumps(row), flush=True)
    print("\n" + table(rows))


if __name__ == "__main__":
    _ = common  # imported first: it sets the environment
    main()
