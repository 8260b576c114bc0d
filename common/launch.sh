# shellcheck shell=bash
# Sourced by every script: finds the clone, the interpreter and the device; starts one process or several.
# How a script uses it: WDSR/script/run_gpu_distribute.sh.
#
# The user's environment: PYTHON, DEVICE_TARGET, BACKGROUND=1, EVAL_WORKERS (1); for several workers also
# WATCHDOG_SECONDS (1800) and STOP_SECONDS (60); for several machines MS_WORKER_NUM (workers of all), NODE_RANK,
# MASTER_ADDR, MASTER_PORT (8118).
# Python sees ZOO_PREFERRED_DEVICE and, as one of several workers, ZOO_JOB: the folder with the workers' logs.

set +o posix # bash started as `sh` has no process substitution before 5.1
set -euo pipefail

zoo_fail() {
    echo "error: $*" >&2
    exit 1
}

# zoo_setup MODEL USAGE ARGUMENTS...: checks the number of arguments; sets MODEL, ROOT and PYTHON.
zoo_setup() {
    MODEL=$1 ZOO_ARGUMENTS=("${@:3}")
    ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
    local word words needed=0
    read -r -a words <<<"$2"
    for word in "${words[@]}"; do [[ $word == \[* ]] || needed=$((needed + 1)); done
    if [[ ${3:-} == -h || ${3:-} == --help ]]; then zoo_usage "$2" 0; fi
    if (($# - 2 < needed)); then zoo_usage "$2" 1 >&2; fi
    if [[ -n ${PYTHON:-} ]]; then
        command -v "$PYTHON" >/dev/null || zoo_fail "PYTHON is not a program: $PYTHON"
    elif [[ -e $ROOT/.venv/unfinished ]]; then
        zoo_fail "the installation in $ROOT/.venv was interrupted: type bash ci/quickstart.sh"
    elif [[ -x $ROOT/.venv/bin/python ]]; then
        PYTHON=$ROOT/.venv/bin/python
    else
        PYTHON=$(command -v python3 || command -v python) || zoo_fail "no python: type bash ci/quickstart.sh"
    fi
    export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 # unbuffered: the log is live
}

zoo_usage() {
    echo "usage: bash $0 $1 [options of the python program]"
    echo "       DEVICE_TARGET=CPU chooses the device, BACKGROUND=1 returns at once, PYTHON=... names the interpreter"
    exit "$2"
}

# zoo_path NAME VALUE [file|folder]: prints the absolute path; what is relative starts at the caller's folder.
zoo_path() {
    local path=$2
    [[ $path == /* ]] || path=$PWD/$path
    case ${3:-} in
        file) [[ -f $path ]] || zoo_fail "$1 is not a file: $2" ;;
        folder) [[ -d $path ]] || zoo_fail "$1 is not a folder: $2" ;;
        *) [[ -e $path ]] || zoo_fail "$1 is not a file or folder: $2" ;;
    esac
    echo "$path"
}

# zoo_count NAME VALUE [LEAST]: prints the number, LEAST (1) or more.
zoo_count() {
    [[ $2 =~ ^(0|[1-9][0-9]{0,5})$ && $2 -ge ${3:-1} ]] || zoo_fail "$1 is not a number of ${3:-1} or more: $2"
    echo "$2"
}

# zoo_device Ascend|GPU|auto: sets ZOO_DEVICE, the options for python. Python says so when there is no such device.
zoo_device() {
    # shellcheck disable=SC2034 # for the scripts
    ZOO_DEVICE=(--device_target "${DEVICE_TARGET:-auto}")
    export ZOO_PREFERRED_DEVICE=$1
}

# zoo_run LOG PROGRAM ARGUMENTS...: becomes python, so that signals, Ctrl-Z and the exit code need no help.
zoo_run() {
    zoo_background "$1"
    zoo_log_to "$@"
    exec "$PYTHON" "${@:2}"
}

# zoo_evaluate LOG PROGRAM ARGUMENTS...: zoo_run, or zoo_distribute with EVAL_WORKERS workers that share the images.
zoo_evaluate() {
    local workers
    workers=$(zoo_count EVAL_WORKERS "${EVAL_WORKERS:-1}")
    if ((workers > 1)); then zoo_distribute "$workers" "$@"; else zoo_run "$@"; fi
}

zoo_background() {
    [[ ${BACKGROUND:-} == 1 ]] || return 0
    set -m # a process group of its own: Ctrl-C in this terminal is not for it
    BACKGROUND=child nohup bash "$0" "${ZOO_ARGUMENTS[@]}" >>"$1" 2>&1 </dev/null &
    echo "started, pid $!, log $PWD/$1"
    exit 0
}

# zoo_log_to LOG COMMAND...: from here on all output goes to the terminal and to the end of LOG, which is never emptied.
zoo_log_to() {
    { printf '\n=== %s\n%s\n' "$(date '+%F %T')" "$(printf '%q ' "$PYTHON" "${@:2}")" >>"$1"; } 2>/dev/null ||
        zoo_fail "cannot write $PWD/$1"
    if [[ ${BACKGROUND:-} == child ]]; then
        exec >>"$1" 2>&1
    else # tee outlives the signals that end python, whose last words must arrive
        exec > >(trap '' INT TERM HUP && exec tee -a "$1") 2>&1
        ZOO_TEE=$!
    fi
}

# zoo_rank_table FILE|NUMBER: sets DEVICES, the number of devices here. When NODE_RANK is set and the table has several
# servers, it says how many this one has. (server_list: HCCL 1.0; group_list: the form before it.)
zoo_rank_table() {
    if [[ $1 =~ ^[0-9]+$ && ! -e $1 ]]; then
        DEVICES=$(zoo_count RANK_TABLE_FILE "$1")
        return
    fi
    RANK_TABLE=$(zoo_path RANK_TABLE_FILE "$1" file)
    local counts servers
    counts=$("$PYTHON" -c '
import collections, json, sys
table = json.load(open(sys.argv[1], encoding="utf-8-sig"))
counts = collections.Counter()
for number, server in enumerate(table.get("server_list", [])):
    counts[number] += len(server["device"])
for group in table.get("group_list", []):
    for instance in group["instance_list"]:
        counts[instance.get("server_id")] += len(instance["devices"])
assert counts and min(counts.values()) > 0
print(*counts.values())' "$RANK_TABLE" 2>/dev/null) ||
        zoo_fail "RANK_TABLE_FILE is not a rank table (JSON with server_list or group_list and their devices, in UTF-8): $1"
    read -r -a servers <<<"$counts"
    DEVICES=$((${counts// /+}))
    if [[ -n ${NODE_RANK:-} ]] && ((${#servers[@]} > 1)); then
        zoo_count NODE_RANK "$NODE_RANK" 0 >/dev/null
        ((NODE_RANK < ${#servers[@]})) || zoo_fail "NODE_RANK is $NODE_RANK, but $1 has ${#servers[@]} servers"
        export MS_WORKER_NUM=${MS_WORKER_NUM:-$DEVICES}
        DEVICES=${servers[NODE_RANK]}
    fi
}

# zoo_distribute COUNT LOG PROGRAM ARGUMENTS...: COUNT workers on this machine, joined by msrun.
zoo_distribute() {
    zoo_background "$2"
    zoo_plan_cluster "$1"
    zoo_log_to "${@:2}"
    mkdir -p "$PWD/runs/$MODEL"
    JOB=$(mktemp -d "$PWD/runs/$MODEL/workers-$(date +%Y%m%d-%H%M%S)-XXXX")
    mkdir "$JOB/bin"
    # msrun starts whatever `python` PATH has; a symbolic link would lose the virtual environment.
    # shellcheck disable=SC2016
    printf '#!/bin/sh\nexec "$ZOO_PYTHON" "$@"\n' >"$JOB/bin/python"
    chmod +x "$JOB/bin/python"
    SHOWN_LOG=$JOB/worker_$FIRST_RANK.log
    : >"$SHOWN_LOG"
    echo "starting $WORKERS of $TOTAL workers, their logs are in $JOB"
    set -m # process groups of their own: zoo_stop passes a Ctrl-C on, once, to the one worker that saves
    ZOO_JOB=$JOB ZOO_PYTHON=$PYTHON PATH=$JOB/bin:$PATH "$PYTHON" -c "$MSRUN" "${CLUSTER[@]}" --log_dir="$JOB" \
        --join=True "${@:3}" --run_distribute True >"$JOB/msrun.log" 2>&1 </dev/null &
    MSRUN_PID=$!
    (trap '' INT TERM HUP && zoo_guard) &
    GUARD_PID=$!
    (trap '' INT TERM HUP && exec tail -n +1 -f --pid="$MSRUN_PID" "$SHOWN_LOG") &
    TAIL_PID=$!
    set +m
    trap 'zoo_stop INT 130' INT
    trap 'zoo_stop TERM 143' TERM HUP
    exec 2>/dev/null # or bash reports the kills of zoo_kill
    wait "$MSRUN_PID" || zoo_finish $?
    zoo_finish 0
}

# Several "machines" on one: each would start a scheduler, since a loopback address is everybody's own.
MSRUN='
import os, sys
from mindspore.parallel.cluster import run
from mindspore.parallel.cluster.process_entity import _api
if os.environ.get("NODE_RANK", "0") != "0" and os.environ["MASTER_ADDR"].startswith(("127.", "localhost")):
    _api._is_local_ip = lambda address: False
sys.argv[0] = "msrun"
run.main()'

# zoo_plan_cluster COUNT: sets WORKERS (here), TOTAL, FIRST_RANK (of those here) and CLUSTER, the options of msrun.
zoo_plan_cluster() {
    local kind=${DEVICE_TARGET:-$ZOO_PREFERRED_DEVICE} node=${NODE_RANK:-0} port=${MASTER_PORT:-0} present
    case $kind in Ascend) present=davinci ;; GPU) present=nvidia ;; *) present=none ;; esac
    present=$(find /dev -maxdepth 1 -name "${present}[0-9]*" | wc -l)
    ((present > 0)) || { present=$(unset OMP_NUM_THREADS OMP_THREAD_LIMIT && nproc) && kind="CPU core"; }
    WORKERS=$((present < $1 ? present : $1))
    ((WORKERS == $1)) || echo "this machine has $present $kind(s): $WORKERS workers, not $1"
    TOTAL=$(zoo_count MS_WORKER_NUM "${MS_WORKER_NUM:-$WORKERS}")
    zoo_count NODE_RANK "$node" 0 >/dev/null
    zoo_count MASTER_PORT "$port" 0 >/dev/null
    zoo_count WATCHDOG_SECONDS "${WATCHDOG_SECONDS:=1800}" >/dev/null
    zoo_count STOP_SECONDS "${STOP_SECONDS:=60}" 0 >/dev/null
    zoo_check_machines "$node"
    export MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
    ((TOTAL == WORKERS || port > 0)) || port=8118 # msrun's own; the other machines must know it
    if ((node == 0)); then
        local bind='import socket, sys; print(socket.create_server(("", int(sys.argv[1]))).getsockname()[1])'
        port=$("$PYTHON" -c "$bind" "$port" 2>/dev/null) ||
            zoo_fail "cannot listen on port ${MASTER_PORT:-8118}: set MASTER_PORT to a free one"
    fi
    FIRST_RANK=0
    printf -v CONNECTED ':%04X 01 ' "$port" # how /proc/net/tcp shows a connection that stands
    CLUSTER=(--worker_num="$TOTAL" --local_worker_num="$WORKERS" --master_addr="$MASTER_ADDR" --master_port="$port"
        --tail_worker_log="$TOTAL") # this number is nobody's: zoo_distribute shows the log itself
    ((TOTAL == WORKERS)) || { FIRST_RANK=$((node * WORKERS)) && CLUSTER+=(--node_rank="$node"); }
    [[ $kind != Ascend || -z ${RANK_TABLE:-} || $WORKERS != "$1" ]] || CLUSTER+=(--rank_table_file="$RANK_TABLE")
}

# zoo_check_machines NODE: what cannot become one job is refused, or every machine would wait for the others in vain.
zoo_check_machines() {
    ((TOTAL >= WORKERS)) || zoo_fail "MS_WORKER_NUM is $TOTAL, fewer than the $WORKERS workers of this machine"
    ((TOTAL % WORKERS == 0)) || zoo_fail "MS_WORKER_NUM is $TOTAL, but each machine must have as many workers as this" \
        "one: $WORKERS"
    (($1 * WORKERS < TOTAL)) || zoo_fail "NODE_RANK is $1, but the $TOTAL workers of MS_WORKER_NUM are those" \
        "of $((TOTAL / WORKERS)) machine(s)"
    if ((TOTAL > WORKERS)); then
        [[ -n ${MASTER_ADDR:-} ]] || zoo_fail "MASTER_ADDR is not set: the address of the machine whose NODE_RANK is 0"
        [[ -n ${NODE_RANK:-} ]] || zoo_fail "NODE_RANK is not set: 0 on the machine of MASTER_ADDR, 1 on the next one"
    fi
}

# Prints the pid of every process of the job, whatever session or parent msrun and MindSpore gave it.
zoo_processes() { grep -lszxF "ZOO_JOB=$JOB" /proc/[0-9]*/environ | tr -cd '0-9\n' || true; }

# zoo_is_child PID PARENT: orphans have another parent at once, while `kill -0` still finds the zombie of the old one.
zoo_is_child() { grep -qsx "PPid:[[:space:]]*$2" "/proc/$1/status"; }

zoo_kill() {
    local pid
    for pid in $(zoo_processes) $(zoo_processes); do kill -KILL "$pid" 2>/dev/null || true; done
}

# Runs aside: ends the job when its script is gone, a worker failed here, rank 0 writes neither log nor file in JOB, the
# scheduler has missed a worker for 30 seconds (MS_NODE_TIMEOUT), or another machine the scheduler for as long.
# MindSpore does not: its workers wait for each other for hours, and heed no signal meanwhile.
zoo_guard() {
    local state='' now reason moved=$SECONDS met=''
    while kill -0 "$MSRUN_PID" 2>/dev/null; do
        sleep 2
        reason=''
        if ! zoo_is_child $BASHPID $$ || grep -qs 'exit with exception' "$JOB/msrun.log"; then zoo_kill && return; fi
        now=$(find "$JOB" ! -name 'worker_[1-9]*' ! -name scheduler.log -printf '%p %T@ %s\n' || true)
        [[ $now == "$state" ]] || { state=$now && moved=$SECONDS; }
        ! grep -qs "$CONNECTED" /proc/net/tcp /proc/net/tcp6 || met=$SECONDS
        if grep -qs 'is timed out' "$JOB/scheduler.log"; then
            reason="a worker, perhaps of another machine, no longer answers"
        elif [[ -n $met ]] && ((FIRST_RANK > 0 && SECONDS - met >= 30)); then
            reason="machine 0 ($MASTER_ADDR) has left or no longer answers"
        elif ((FIRST_RANK == 0 && SECONDS - moved >= WATCHDOG_SECONDS)); then
            reason="rank 0 wrote nothing for $WATCHDOG_SECONDS seconds (WATCHDOG_SECONDS)"
        fi
        [[ -z $reason ]] || { echo "error: $reason: the job is ended" && zoo_kill && return; }
    done
}

# zoo_stop SIGNAL CODE: rank 0 gets the signal (the workers agree among themselves) and STOP_SECONDS to save. msrun is
# halted meanwhile, because it kills all workers as soon as one of them has left.
zoo_stop() {
    trap zoo_kill INT TERM HUP
    local pid main='' end=$((SECONDS + STOP_SECONDS))
    for pid in $(zoo_processes); do
        if grep -qszxF MS_ROLE=MS_WORKER "/proc/$pid/environ" && grep -qszxF RANK_ID=0 "/proc/$pid/environ" &&
            zoo_is_child "$pid" "$MSRUN_PID"; then main=$pid; fi
    done
    if [[ -n $main ]] && kill -STOP "$MSRUN_PID" && kill -s "$1" "$main"; then
        while grep -qs '^State:.[^ZX]' "/proc/$main/status" && ((SECONDS < end)); do sleep 0.2; done
    fi
    zoo_finish "$2"
}

# zoo_finish CODE: leaves with the code of the worker that failed, when msrun's log names it.
zoo_finish() {
    trap '' INT TERM HUP
    local code=$1 failed log
    ((code != 137)) || code=1 # from zoo_kill
    zoo_kill
    wait "$MSRUN_PID" "$TAIL_PID" "$GUARD_PID" || true
    failed=$(sed -n 's/.*exit with exception. Error code: \(-\{0,1\}[0-9]*\)\..*/\1/p' "$JOB/msrun.log" | head -n 1)
    if [[ -n $failed && $code != 130 && $code != 143 ]]; then code=$((failed < 0 ? 128 - failed : failed)); fi
    if ((code != 0)); then
        log=$(grep -lsE 'Traceback|[Ee]rror:' "$SHOWN_LOG" "$JOB"/worker_*.log | head -n 1) || true
        [[ -z $log || $log == "$SHOWN_LOG" ]] || { echo "--- end of $log" && tail -n 20 "$log"; }
        echo "the distributed job ended with code $code; the workers' logs are in $JOB"
    fi
    exec 1>&- 2>&-
    [[ -z ${ZOO_TEE:-} ]] || wait "$ZOO_TEE" || true
    exit "$code"
}
