# shellcheck shell=bash
# Sourced by the scripts beside it: common/launch.sh, and what SRFlow's arguments mean.

# shellcheck source=common/launch.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../common/launch.sh"

# srflow_config FILE: prints the path of the configuration; a bare name is searched here, then in the model folder.
srflow_config() {
    if [[ ! -f $1 && -f $ROOT/SRFlow/$1 ]]; then
        echo "$ROOT/SRFlow/$1"
    else
        zoo_path CONFIG "$1" file
    fi
}

# srflow_device GPU|Ascend DEVICE_ID: tries that device first.
srflow_device() {
    [[ $2 =~ ^[0-9]+$ ]] || zoo_fail "DEVICE_ID is not the number of a device: $2"
    export DEVICE_ID=$2
    zoo_device "$1"
}
