#!/usr/bin/env bash
# Trains WDSR on several GPUs of this machine (CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup WDSR "DATASET_PATH DEVICES" "$@"
data=$(zoo_path DATASET_PATH "$1" folder)
devices=$(zoo_count DEVICES "$2")
zoo_device GPU
zoo_distribute "$devices" train.log "$ROOT/WDSR/train.py" --dir_data "$data" "${ZOO_DEVICE[@]}" "${@:3}"
