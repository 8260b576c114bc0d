#!/usr/bin/env bash
# Evaluates SRFlow on an Ascend device (the CPU where there is none); the log is eval.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRFlow/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRFlow "CONFIG DEVICE_ID" "$@"
config=$(srflow_config "$1")
srflow_device Ascend "$2"
zoo_evaluate eval.log "$ROOT/SRFlow/eval.py" --opt "$config" "${ZOO_DEVICE[@]}" "${@:3}"
