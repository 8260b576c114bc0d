#!/usr/bin/env bash
# Trains IRN on several GPUs of this machine (CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup IRN "DEVICE_NUM SCALE DATASET_GT_PATH" "$@"
devices=$(zoo_count DEVICE_NUM "$1")
[[ $2 == [2348] ]] || zoo_fail "SCALE is not 2, 3, 4 or 8: $2"
data=$(zoo_path DATASET_GT_PATH "$3" folder)
zoo_device GPU
zoo_distribute "$devices" train.log "$ROOT/IRN/train.py" --scale "$2" --dataset_GT_path "$data" \
    "${ZOO_DEVICE[@]}" "${@:4}"
