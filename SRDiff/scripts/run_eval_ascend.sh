#!/usr/bin/env bash
# Evaluates an SRDiff checkpoint on an Ascend device (the CPU where there is none); the log is eval.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=SRDiff/scripts/configured.sh
. "$(dirname "$(readlink -f "$0")")/configured.sh"

zoo_setup SRDiff "DATASET_PATH CHECKPOINT_PATH" "$@"
data=$(zoo_path DATASET_PATH "$1")
checkpoint=$(zoo_path CHECKPOINT_PATH "$2" file)
zoo_device Ascend
zoo_evaluate eval.log "$ROOT/SRDiff/eval.py" --dataset_GT_path "$data" --ckpt_path "$checkpoint" "${ZOO_DEVICE[@]}" "${@:3}"
