#!/bin/sh
# Installs what carrel's tests and demo need and this machine does not have.
# It is quick when nothing is missing. It starts no service, and needs none to
# run: tests and demo start servers of their own.
set -eu

missing=""
need() { # PACKAGE PROGRAM...: the package is missing when no program is there
	package=$1
	shift
	for program in "$@"; do
		if command -v "$program" >/dev/null 2>&1; then return; fi
	done
	missing="$missing $package"
}

# What an editor runs to check specs, pinned in tools/editor.
editor() {
	cd "$(dirname "$0")/editor"
	[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund --ignore-scripts
}

PATH=$PATH:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')

need containerd containerd
need runc runc
# By their paths: iproute2 has another program that is called bridge.
need containernetworking-plugins /usr/lib/cni/bridge /opt/cni/bin/bridge /usr/libexec/cni/bridge
need iptables iptables
need postgresql initdb
need gcc gcc cc
need iproute2 ip
need git git
need curl curl
need chromium chromium chromium-browser google-chrome
need nodejs node
need npm npm
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || missing="$missing ca-certificates"

# What only a person can do is said first, and all of it at once.
code=0
if ! command -v go >/dev/null 2>&1; then
	echo "setup: Go 1.26 is needed and is not in PATH: install it from https://go.dev/dl" >&2
	code=1
fi
if [ -z "$missing" ]; then
	editor
	exit "$code"
fi

if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: install these (by their names in Debian) with your system's package manager:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "setup: run this as root: apt-get update && apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing
editor
exit "$code"
