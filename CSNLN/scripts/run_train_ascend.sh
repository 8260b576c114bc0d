#!/usr/bin/env bash
# Trains CSNLN on one Ascend device or several of this machine (on the CPU where there are none); the log is train.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=CSNLN/scripts/devices.sh
. "$(dirname "$(readlink -f "$0")")/devices.sh"

csnln_train Ascend ASCEND_RT_VISIBLE_DEVICES "$@"
