#!/usr/bin/env bash
# Trains SRFlow on the Ascend devices of a rank table (on CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRFlow/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRFlow "RANK_TABLE_FILE|DEVICE_NUM CONFIG" "$@"
zoo_rank_table "$1"
config=$(srflow_config "$2")
zoo_device Ascend
zoo_distribute "$DEVICES" train.log "$ROOT/SRFlow/train.py" --opt "$config" "${ZOO_DEVICE[@]}" "${@:3}"
