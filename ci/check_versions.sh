#!/usr/bin/env bash
# Quick start and tests with versions of MindSpore, each in a clone and an environment of its own.
#   bash ci/check_versions.sh 2.7.0 2.10.0
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
set -euo pipefail
if (($# == 0)); then
    echo "usage: bash ci/check_versions.sh VERSION ...    (of MindSpore)" >&2
    exit 1
fi
root=$(dirname "$(dirname "$(readlink -f "$0")")")
summary=() code=0
for version in "$@"; do
    folder=$(mktemp -d)
    git clone --quiet "$root" "$folder/zoo"
    sed -i "s/^mindspore==.*/mindspore==$version/" "$folder/zoo/ci/constraints.txt"
    for script in quickstart run_tests; do
        result=passed
        bash "$folder/zoo/ci/$script.sh" >"$folder/$script.log" 2>&1 || { result=FAILED && code=1; }
        summary+=("MindSpore $version  $script  $result  $folder/$script.log")
        echo "${summary[-1]}"
    done
done
exit "$code"
