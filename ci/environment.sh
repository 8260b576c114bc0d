# shellcheck shell=bash
# Sourced by quickstart.sh, run_tests.sh and smoke.sh: makes .venv when there is none or a half-made one, and installs
# the zoo in it, with the versions of constraints.txt or, by ZOO_NEWEST=1, the newest (again only when one of these has
# changed). PYTHON names the interpreter that .venv is made from.

set -euo pipefail

# What pip cannot install. Library, package of Debian and Ubuntu, package of openEuler; OpenCV needs the first two,
# MindSpore the third. ci/tests/test_environment.py compares the README's line with these.
ENVIRONMENT_LIBRARIES=(
    "libGL.so.1 libgl1 mesa-libGL"
    "libgthread-2.0.so.0 libglib2.0-0 glib2"
    "libgomp.so.1 libgomp1 libgomp"
)

environment_fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# environment_ready EXTRAS: sets ROOT and PYTHON, the interpreter of .venv, which has the zoo and EXTRAS ("ui,onnx").
environment_ready() {
    ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
    local venv=$ROOT/.venv wanted
    # Python writes bin/activate last: without it an unfinished .venv is made anew.
    if [[ ! -e $venv || -e $venv/unfinished && ! -e $venv/bin/activate ]]; then environment_make "$venv"; fi
    PYTHON=$venv/bin/python
    environment_supports "$PYTHON" ||
        environment_fail "$PYTHON does not start or is not Python 3.10, 3.11 or 3.12: remove $venv and try again"
    environment_is_at_home "$venv" ||
        environment_fail "$venv was made for another folder (a moved or copied clone?): remove it and try again"

    wanted="newest: ${ZOO_NEWEST:-} $(cd "$ROOT" && sha256sum pyproject.toml ci/constraints.txt)"
    if ! environment_has "$1" "$wanted" || ! environment_finds "$PYTHON" mindspore; then
        environment_check_libraries
        environment_install "$1"
        rm -f "$venv"/installed-* # what they name may have been replaced
        echo "$wanted" >"$venv/installed-${1//,/-}"
        rm "$venv/unfinished"
    fi
}

# environment_has EXTRAS WANTED: whether a stamp of what is WANTED names all EXTRAS (run_tests.sh installs more).
environment_has() {
    local stamp extra
    [[ ! -e $ROOT/.venv/unfinished ]] || return 1
    for stamp in "$ROOT"/.venv/installed-*; do
        [[ -e $stamp && $(<"$stamp") == "$2" ]] || continue
        for extra in ${1//,/ }; do [[ ${stamp##*/}- == *-$extra-* ]] || continue 2; done
        return 0
    done
    return 1
}

# environment_make VENV: an empty environment; MindSpore that is installed beside the interpreter is seen in it.
environment_make() {
    local base options=()
    base=$(environment_find_python "${PYTHON:-}") ||
        environment_fail "MindSpore needs Python 3.10, 3.11 or 3.12, found $(environment_describe "${PYTHON:-python3}");" \
            "on Debian and Ubuntu: apt-get install python3 python3-venv $(environment_packages 2)," \
            "on openEuler: dnf install python3 $(environment_packages 3); PYTHON=... names an interpreter of yours"
    environment_finds "$base" ensurepip ||
        environment_fail "$base cannot make virtual environments; on Debian and Ubuntu: apt-get install" \
            "$("$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    ! environment_finds "$base" mindspore || options=(--system-site-packages)
    echo "making $1 with $base${options[0]:+, whose MindSpore it uses}"
    rm -rf "$1"
    mkdir "$1"
    touch "$1/unfinished"
    "$base" -m venv "${options[@]}" "$1" || environment_fail "$base could not make $1 (see above)"
}

# environment_is_at_home VENV: its scripts and the zoo in it name the folder that it was made in, so it cannot be moved.
environment_is_at_home() (
    set +eu
    [[ -e $1/bin/activate ]] || exit 0
    # shellcheck source=/dev/null
    . "$1/bin/activate"
    [[ ${VIRTUAL_ENV:-$1} -ef $1 ]]
)

# environment_find_python [PYTHON]: prints the first interpreter that MindSpore has wheels for; a named one is the only
# candidate. Each is tried, since a pyenv shim may lead nowhere.
environment_find_python() {
    local candidate candidates=(python3.11 python3.12 python3.10 python3 python
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[0-2].*/bin/python)
    [[ -z $1 ]] || candidates=("$1")
    for candidate in "${candidates[@]}"; do
        if environment_supports "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

environment_supports() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' >/dev/null 2>&1
}

# environment_finds PYTHON MODULE: whether it could import it; nothing is imported, which takes MindSpore seconds.
environment_finds() {
    "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$2"
}

# environment_describe PYTHON: "python3, which is Python 3.9.2" or "no python3".
environment_describe() {
    local version
    if version=$("$1" --version 2>/dev/null); then echo "$1, which is $version"; else echo "no $1"; fi
}

# environment_packages COLUMN: those of ENVIRONMENT_LIBRARIES, in one line.
environment_packages() { printf '%s\n' "${ENVIRONMENT_LIBRARIES[@]}" | cut -d ' ' -f "$1" | paste -sd ' '; }

# Before the long download: all that is missing in one sentence.
environment_check_libraries() {
    local missing
    # shellcheck disable=SC2046 # a word for each library
    missing=$("$PYTHON" -c '
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)' $(environment_packages 1))
    [[ -z $missing ]] && return
    mapfile -t ENVIRONMENT_LIBRARIES < <(printf '%s\n' "${ENVIRONMENT_LIBRARIES[@]}" | grep -F "$missing")
    environment_fail "OpenCV and MindSpore need libraries that this system lacks: $(environment_packages 1);" \
        "on Debian and Ubuntu: apt-get install $(environment_packages 2)," \
        "on openEuler: dnf install $(environment_packages 3)"
}

# environment_install EXTRAS: by pip. When pip is killed the mark stays; when it fails it leaves all as it was.
environment_install() {
    local module said versions=(-c ci/constraints.txt)
    touch "$ROOT/.venv/unfinished"
    environment_finds "$PYTHON" pip || "$PYTHON" -m ensurepip >/dev/null ||
        environment_fail "$PYTHON has no pip: remove $ROOT/.venv and try again"
    echo "installing the zoo and its packages ($1) in $ROOT/.venv; the first time MindSpore alone is 800 MB"
    cd "$ROOT"
    [[ ${ZOO_NEWEST:-} != 1 ]] || versions=(--upgrade --upgrade-strategy eager)
    ! grep -qs '^include-system-site-packages = true' .venv/pyvenv.cfg || versions=() # the machine's MindSpore stays
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "${versions[@]}" -e ".[$1]" \
        --config-settings editable_mode=compat || {
        ! compgen -G "$ROOT/.venv/installed-*" >/dev/null || rm "$ROOT/.venv/unfinished"
        environment_fail "pip could not install what pyproject.toml lists (see above);" \
            "is a package index reachable, are 4 GB of the disk free?"
    }
    for module in cv2 mindspore; do
        said=$(GLOG_v=3 "$PYTHON" -c "import $module" 2>&1) ||
            environment_fail "$module does not load in $ROOT/.venv: ${said##*$'\n'}"
    done
}
