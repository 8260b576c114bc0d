# shellcheck shell=bash
# Sourced by quickstart.sh and run_tests.sh: makes .venv when there is none, and installs the zoo in it (again only when
# pyproject.toml has changed). PYTHON names the interpreter that .venv is made from.

set -euo pipefail

environment_fail() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

# environment_ready EXTRAS: sets ROOT and PYTHON, the interpreter of .venv, with the zoo and EXTRAS ("ui,onnx") installed.
environment_ready() {
    ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
    local venv=$ROOT/.venv base wanted
    if [[ ! -e $venv ]]; then
        base=$(environment_find_python "${PYTHON:-}") ||
            environment_fail "MindSpore needs Python 3.10, 3.11 or 3.12, found ${PYTHON:-none}: install one or set PYTHON to it"
        echo "making $venv with $base"
        "$base" -m venv "$venv" ||
            environment_fail "$base cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
    fi
    PYTHON=$venv/bin/python
    "$PYTHON" -c '' 2>/dev/null || environment_fail "$PYTHON does not start (was the clone moved?): remove $venv and try again"

    wanted=$(sha256sum <"$ROOT/pyproject.toml")
    if ! environment_has "$1" "$wanted"; then
        echo "installing the zoo and its packages ($1) in $venv; the first time MindSpore alone is 800 MB"
        (cd "$ROOT" && "$PYTHON" -m pip install --quiet --disable-pip-version-check -e ".[$1]" --config-settings editable_mode=compat) ||
            environment_fail "pip could not install what pyproject.toml lists (see above); is a package index reachable?"
        environment_check_imports
        echo "$wanted" >"$venv/installed-${1//,/-}"
    fi
}

# environment_has EXTRAS WANTED: whether a stamp of this pyproject.toml names all of EXTRAS (run_tests.sh installs more).
environment_has() {
    local stamp extra
    for stamp in "$ROOT"/.venv/installed-*; do
        [[ -e $stamp && $(<"$stamp") == "$2" ]] || continue
        for extra in ${1//,/ }; do [[ ${stamp##*/}- == *-$extra-* ]] || continue 2; done
        return 0
    done
    return 1
}

# environment_find_python [PYTHON]: prints the first interpreter that MindSpore has wheels for; a named one is the only
# candidate. Each is tried, since a pyenv shim may lead nowhere.
environment_find_python() {
    local candidate candidates=(python3.11 python3.12 python3.10 python3 python
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-2].*/bin/python)
    [[ -z $1 ]] || candidates=("$1")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# What pip cannot install: the system's libraries.
environment_check_imports() {
    local said
    said=$("$PYTHON" -c 'import cv2' 2>&1) ||
        environment_fail "opencv-python does not load: ${said##*$'\n'}" \
            "it needs libGL and GLib; Debian and Ubuntu: apt-get install libgl1 libglib2.0-0, openEuler: dnf install mesa-libGL glib2"
    said=$(GLOG_v=3 "$PYTHON" -c 'import mindspore' 2>&1) ||
        environment_fail "MindSpore does not load: ${said##*$'\n'}" \
            "when it names libgomp: apt-get install libgomp1 (Debian and Ubuntu) or dnf install libgomp (openEuler)"
}
