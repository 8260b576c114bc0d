#!/usr/bin/env bash
# Smoke tests of the model folders named (default: all): every command that a folder's README marks for running, on the
# sample images, in a scratch copy of the clone. A script that no marked command starts is an error.
#   bash ci/smoke.sh WDSR
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
# shellcheck source=ci/environment.sh
. "$(dirname "$(readlink -f "$0")")/environment.sh"

environment_ready ui,onnx
cd "$ROOT"
if (($# == 0)); then
    for program in */train.py; do set -- "$@" "$(dirname "$program")"; done
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for folder in "$@"; do
    folder=${folder%/}
    [[ -f $folder/README.md ]] || environment_fail "no model folder with a README.md: $folder"
    for script in "$folder"/script/*.sh "$folder"/scripts/*.sh; do
        [[ ! -e $script ]] || grep -q "$(basename "$script")" "$folder/README.md" ||
            environment_fail "$script is not in $folder/README.md"
    done
done
tar --exclude=.venv --exclude=.git --exclude=runs -cf - . | tar -xf - -C "$scratch"
ln -s "$ROOT/.venv" "$scratch/.venv" # the scripts look for it in their own clone
cd "$scratch"
export PATH="$ROOT/.venv/bin:$PATH" PYTHONPATH="$scratch"
for folder in "$@"; do
    "$PYTHON" ci/readme_commands.py "${folder%/}/README.md"
done
echo "smoke tests passed: $*"
