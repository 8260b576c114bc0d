#!/usr/bin/env bash
# The seed's README also writes script/ for scripts/.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
exec bash "$(dirname "$(readlink -f "$0")")/../scripts/run_eval_gpu.sh" "$@"
