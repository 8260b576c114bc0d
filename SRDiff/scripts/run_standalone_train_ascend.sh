#!/usr/bin/env bash
# Trains SRDiff on one Ascend device (on the CPU where there is none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRDiff/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRDiff "CONFIG DATASET_PATH" "$@"
config=$(srdiff_config "$1")
data=$(zoo_path DATASET_PATH "$2")
zoo_device Ascend
zoo_run train.log "$ROOT/SRDiff/train.py" --config "$config" --dataset_GT_path "$data" "${ZOO_DEVICE[@]}" "${@:3}"
