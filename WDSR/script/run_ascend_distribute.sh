#!/usr/bin/env bash
# Trains WDSR on the Ascend devices of a rank table (CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup WDSR "RANK_TABLE_FILE|DEVICES DATASET_PATH" "$@"
zoo_rank_table "$1"
data=$(zoo_path DATASET_PATH "$2" folder)
zoo_device Ascend
zoo_distribute "$DEVICES" train.log "$ROOT/WDSR/train.py" --dir_data "$data" "${ZOO_DEVICE[@]}" "${@:3}"
