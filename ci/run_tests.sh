#!/usr/bin/env bash
# Every check of the repository: lint, format, shell scripts, tests. Arguments go to pytest: bash ci/run_tests.sh -k launch
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=ci/environment.sh
. "$(dirname "$(readlink -f "$0")")/environment.sh"

environment_ready ui,onnx,dev
cd "$ROOT"
summary=() code=0

# check NAME COMMAND...: runs it and remembers how it ended; the other checks run all the same.
check() {
    local name=$1 started=$SECONDS result=passed
    printf '\n=== %s\n' "$name"
    "${@:2}" || { result=FAILED && code=1; }
    summary+=("$(printf '%-14s %s (%d s)' "$name" "$result" $((SECONDS - started)))")
}

check "ruff check" "$PYTHON" -m ruff check .
check "ruff format" "$PYTHON" -m ruff format --check .
if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(find . -name '*.sh' -not -path './.venv/*' | sort)
    check shellcheck shellcheck -x "${scripts[@]}"
else
    summary+=("shellcheck     skipped: not installed (apt-get install shellcheck)")
fi
# Two files of tests at a time: most of the time is MindSpore compiling graphs, which it does on one core, and a sixth
# faster where the memory of its many small objects is in large pages.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
check pytest "$PYTHON" -m pytest ci/tests -q -rs --durations=5 -n 2 --dist loadfile --no-loadscope-reorder "$@"

printf '\n=== summary\n'
printf '%s\n' "${summary[@]}"
exit "$code"
