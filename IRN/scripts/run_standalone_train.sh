#!/usr/bin/env bash
# Trains IRN on the best device there is; the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup IRN "SCALE DATASET_GT_PATH" "$@"
[[ $1 == [2348] ]] || zoo_fail "SCALE is not 2, 3, 4 or 8: $1"
data=$(zoo_path DATASET_GT_PATH "$2" folder)
zoo_device auto
zoo_run train.log "$ROOT/IRN/train.py" --scale "$1" --dataset_GT_path "$data" "${ZOO_DEVICE[@]}" "${@:3}"
