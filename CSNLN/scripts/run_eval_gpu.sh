#!/usr/bin/env bash
# Evaluates a CSNLN checkpoint on a GPU (the CPU where there is none); the log is eval.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=CSNLN/scripts/devices.sh
. "$(dirname "$(readlink -f "$0")")/devices.sh"

csnln_eval GPU "$@"
