#!/usr/bin/env bash
# Trains IRN on the Ascend devices of a rank table, or on a number of GPUs (on CPU workers where there are none); the
# log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup IRN "RANK_TABLE_FILE|DEVICE_NUM SCALE DATASET_GT_PATH" "$@"
zoo_rank_table "$1"
[[ $2 == [2348] ]] || zoo_fail "SCALE is not 2, 3, 4 or 8: $2"
data=$(zoo_path DATASET_GT_PATH "$3" folder)
if [[ -f $1 ]]; then zoo_device Ascend; else zoo_device GPU; fi
zoo_distribute "$DEVICES" train.log "$ROOT/IRN/train.py" --scale "$2" --dataset_GT_path "$data" \
    "${ZOO_DEVICE[@]}" "${@:4}"
