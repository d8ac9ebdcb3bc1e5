#!/bin/sh
# Installs what carrel's tests and demo need and this machine does not have.
# It is quick when nothing is missing. It starts no service.
set -eu

missing=""
need() { # PACKAGE COMMAND...: the package is missing when no command is there
	package=$1
	shift
	for command in "$@"; do
		if command -v "$command" >/dev/null 2>&1; then return; fi
	done
	missing="$missing $package"
}

PATH=$PATH:/usr/sbin:/sbin:/usr/lib/cni:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')

need containerd containerd
need runc runc
need containernetworking-plugins bridge /opt/cni/bin/bridge
need iptables iptables
need postgresql initdb
need gcc gcc cc
need git git
if command -v dpkg >/dev/null 2>&1 && ! [ -e /usr/include/stdlib.h ]; then missing="$missing libc6-dev"; fi

if ! command -v go >/dev/null 2>&1; then
	echo "setup: Go 1.26 is needed: install it from go.dev/dl" >&2
	exit 1
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: install these with your system's package manager:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "setup: run as root:  apt-get update && apt-get install -y$missing" >&2
	exit 1
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing
