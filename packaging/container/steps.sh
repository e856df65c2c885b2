#!/bin/sh
# The steps of the image, for Containerfile and for tests/deploying/image.py.
#   steps.sh build SOURCE   makes /opt/rover of a checkout, compiled; this stage is thrown away
#   steps.sh final          installs what runs it
set -eu

install_packages() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
}

case $1 in
build)
    install_packages gcc libc6-dev python3-dev python3-venv
    python3 -m venv /opt/rover
    cd "$2"
    /opt/rover/bin/pip install -q --disable-pip-version-check --no-cache-dir ./core ./bpf ./plugins/* .
    # Nothing is installed later, and what is removed needs no updates.
    /opt/rover/bin/pip uninstall -qq -y setuptools pip
    ;;
final)
    # python3-bpfcc brings LLVM, which compiles the programs for the kernel they meet.
    install_packages ca-certificates python3 python3-bpfcc
    mkdir -p /etc/rover /var/lib/rover /var/cache/rover
    ;;
*)
    echo "steps.sh: build SOURCE, or final" >&2
    exit 2
    ;;
esac
