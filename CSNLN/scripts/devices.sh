# shellcheck shell=bash
# Sourced by the scripts beside it: common/launch.sh, and what CSNLN's arguments mean.

# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../common/launch.sh"

# csnln_train GPU|Ascend VARIABLE ARGUMENTS...: trains on the devices that the arguments number; where they are several,
# the environment variable tells the workers which.
csnln_train() {
    local device=$1 variable=$2 numbers count
    shift 2
    zoo_setup CSNLN "DEVICE_NUM DEVICES" "$@"
    count=$(zoo_count DEVICE_NUM "$1")
    [[ $2 =~ ^[0-9]+(,[0-9]+)*$ ]] || zoo_fail "DEVICES is not a list of numbers as 0,1,2: $2"
    IFS=, read -r -a numbers <<<"$2"
    ((${#numbers[@]} == count)) || zoo_fail "DEVICES names ${#numbers[@]} device(s), but DEVICE_NUM is $count: $2"
    zoo_device "$device"
    if ((count == 1)); then
        export DEVICE_ID=$2
        zoo_run train.log "$ROOT/CSNLN/train.py" "${ZOO_DEVICE[@]}" "${@:3}"
    fi
    export "$variable=$2"
    zoo_distribute "$count" train.log "$ROOT/CSNLN/train.py" "${ZOO_DEVICE[@]}" "${@:3}"
}

# csnln_eval GPU|Ascend ARGUMENTS...: evaluates a checkpoint on a data set, Set5 if none is named.
csnln_eval() {
    local device=$1 checkpoint set=Set5
    shift
    zoo_setup CSNLN "CHECKPOINT_PATH [DATASET]" "$@"
    checkpoint=$(zoo_path CHECKPOINT_PATH "$1" file)
    shift
    if [[ -n ${1:-} && $1 != -* ]]; then set=$1 && shift; fi
    zoo_device "$device"
    zoo_evaluate eval.log "$ROOT/CSNLN/eval.py" --ckpt_file "$checkpoint" --data_test "$set" "${ZOO_DEVICE[@]}" "$@"
}
