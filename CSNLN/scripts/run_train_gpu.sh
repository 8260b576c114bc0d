#!/usr/bin/env bash
# Trains CSNLN on one GPU or several of this machine (on the CPU where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=CSNLN/scripts/devices.sh
. "$(dirname "$(readlink -f "$0")")/devices.sh"

csnln_train GPU CUDA_VISIBLE_DEVICES "$@"
