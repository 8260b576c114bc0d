# shellcheck shell=bash
# Sourced by the scripts beside it: common/launch.sh, and what CONFIG means to SRDiff.

# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../common/launch.sh"

# srdiff_config FILE: prints the path of the configuration; a bare name is searched here, then in SRDiff/configs.
srdiff_config() {
    if [[ ! -f $1 && $1 != */* && -f $ROOT/SRDiff/configs/$1 ]]; then
        echo "$ROOT/SRDiff/configs/$1"
    else
        zoo_path CONFIG "$1" file
    fi
}
