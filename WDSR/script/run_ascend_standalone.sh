#!/usr/bin/env bash
# Trains WDSR on one Ascend device (on the CPU where there is none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup WDSR "DATASET_PATH" "$@"
data=$(zoo_path DATASET_PATH "$1" folder)
zoo_device Ascend
zoo_run train.log "$ROOT/WDSR/train.py" --dir_data "$data" "${ZOO_DEVICE[@]}" "${@:2}"
