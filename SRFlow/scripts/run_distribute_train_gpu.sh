#!/usr/bin/env bash
# Trains SRFlow on several GPUs of this machine (CPU workers where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRFlow/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRFlow "DEVICE_NUM CONFIG" "$@"
devices=$(zoo_count DEVICE_NUM "$1")
config=$(srflow_config "$2")
zoo_device GPU
zoo_distribute "$devices" train.log "$ROOT/SRFlow/train.py" --opt "$config" "${ZOO_DEVICE[@]}" "${@:3}"
