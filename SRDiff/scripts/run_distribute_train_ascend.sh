#!/usr/bin/env bash
# Trains SRDiff on the Ascend devices of a rank table (CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRDiff/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRDiff "RANK_TABLE_FILE|DEVICE_NUM CONFIG DATASET_PATH" "$@"
zoo_rank_table "$1"
config=$(srdiff_config "$2")
data=$(zoo_path DATASET_PATH "$3")
zoo_device Ascend
zoo_distribute "$DEVICES" train.log "$ROOT/SRDiff/train.py" --config "$config" --dataset_GT_path "$data" \
    "${ZOO_DEVICE[@]}" "${@:4}"
