#!/usr/bin/env bash
# Evaluates an IRN checkpoint on an Ascend device (the CPU where there is none); the log is eval.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup IRN "SCALE DATASET_PATH CHECKPOINT_PATH" "$@"
[[ $1 == [2348] ]] || zoo_fail "SCALE is not 2, 3, 4 or 8: $1"
data=$(zoo_path DATASET_PATH "$2" folder)
checkpoint=$(zoo_path CHECKPOINT_PATH "$3" file)
zoo_device Ascend
zoo_evaluate eval.log "$ROOT/IRN/eval.py" --scale "$1" --dataset_GT_path "$data" --ckpt_path "$checkpoint" \
    "${ZOO_DEVICE[@]}" "${@:4}"
