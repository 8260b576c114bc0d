#!/usr/bin/env bash
# Trains SRFlow on one Ascend device (on the CPU where there is none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRFlow/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRFlow "CONFIG DEVICE_ID" "$@"
config=$(srflow_config "$1")
srflow_device Ascend "$2"
zoo_run train.log "$ROOT/SRFlow/train.py" --opt "$config" "${ZOO_DEVICE[@]}" "${@:3}"
