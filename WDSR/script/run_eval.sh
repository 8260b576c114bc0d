#!/usr/bin/env bash
# Evaluates a WDSR checkpoint on the best device there is; the log is eval.log.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "$0")")/../../common/launch.sh"

zoo_setup WDSR "DATASET_PATH CHECKPOINT_PATH DATASET_TYPE" "$@"
data=$(zoo_path DATASET_PATH "$1" folder)
checkpoint=$(zoo_path CHECKPOINT_PATH "$2" file)
zoo_device auto
zoo_evaluate eval.log "$ROOT/WDSR/eval.py" --dir_data "$data" --data_test "$3" --ckpt_path "$checkpoint" \
    "${ZOO_DEVICE[@]}" "${@:4}"
