#!/bin/sh
# Shows carrel on real containers: plan, apply, an upgrade that keeps the data,
# a deletion that preserves the data, and a creation that restores it.
#
#   examples/demo.sh          run the demo (make demo builds the programs first)
#   examples/demo.sh clean    remove everything that the demo created
#
# The demo uses the containerd at CARREL_ADDRESS, or the one of this host, or else
# a private one. It uses a containerd namespace of its own. STORE=postgres keeps
# the records in a private Postgres instead of SQLite. All files are below demo/,
# except sockets and Postgres: they are in a folder with a short path that other
# users may enter.
set -eu

cd "$(dirname "$0")/.."
demo=$PWD/demo
namespace=carrel-demo
PATH=$PWD/bin:$PATH:/usr/sbin:/sbin

title() { printf '\n\n== %s\n' "$*"; }

# run prints a command as a user types it, and runs it.
run() {
	printf '\n$ %s\n' "$*"
	"$@"
}

fail() {
	echo "demo: $*" >&2
	exit 1
}

# wait_for NAME COMMAND...: wait until the command succeeds, at most 30 seconds.
wait_for() {
	name=$1 tries=0
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || fail "$name does not respond (see $demo/$name.log)"
		sleep 0.1
	done
}

# quietly runs a command and prints its output only when it fails.
quietly() {
	output=$("$@" 2>&1) || fail "$*: $output"
}

answers() { ctr --address "$1" --connect-timeout 2s version >/dev/null 2>&1; }

# background NAME COMMAND...: start a server that outlives this script and its
# terminal.
background() {
	name=$1
	shift
	setsid "$@" >>"$demo/$name.log" 2>&1 </dev/null &
	echo $! >"$demo/$name.pid"
}

# alive PID: the process exists and is not a zombie.
alive() { [ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; }
dead() { ! alive "$1"; }

# stop NAME SIGNAL: stop a server of the demo. After a reboot another process may
# have its id, so the command line must name a folder of the demo.
stop() {
	[ -f "$demo/$1.pid" ] || return 0
	pid=$(cat "$demo/$1.pid")
	if alive "$pid" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -e "$demo/" -e "$short/"; then
		kill -s "$2" "$pid"
		wait_for "$1" dead "$pid"
	fi
	rm "$demo/$1.pid"
}

# short_folder creates the folder of the sockets: the path of a socket has at most
# 107 bytes, and Postgres, which does not run as root, cannot enter the home folder
# of root.
short_folder() {
	short=$(cat "$demo/short" 2>/dev/null || mktemp -d /tmp/carrel-demo-XXXXXX)
	mkdir -p "$short"
	chmod 711 "$short"
	echo "$short" >"$demo/short"
}

start_containerd() {
	cat >"$demo/containerd.toml" <<-END
		version = 2
		root = "$demo/containerd/root"
		state = "$demo/containerd/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$short/containerd.sock"
	END
	background containerd containerd --config "$demo/containerd.toml"
	wait_for containerd answers "$short/containerd.sock"
}

use_containerd() {
	address=${CARREL_ADDRESS:-/run/containerd/containerd.sock}
	if answers "$address"; then
		echo "demo: using the containerd at $address, with the namespace $namespace"
	elif [ -n "${CARREL_ADDRESS:-}" ]; then
		fail "no containerd responds at CARREL_ADDRESS=$address (start it, run as root, or unset CARREL_ADDRESS)"
	elif [ "$(id -u)" -ne 0 ]; then
		fail "no containerd responds at $address, and only root can start one (run as root)"
	else
		echo "demo: no containerd responds at $address: starting a private one in $demo"
		start_containerd
		address=$short/containerd.sock
	fi
	echo "$address" >"$demo/address"
}

# start_postgres starts Postgres as the user nobody, because Postgres refuses root.
start_postgres() {
	for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
	dir=$short/postgres
	mkdir -p "$dir"
	set --
	if [ "$(id -u)" -eq 0 ]; then
		chown nobody "$dir"
		set -- setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups
	fi
	echo "demo: starting a private Postgres in $dir"
	(
		cd "$dir" # nobody may have no access to the current folder
		"$@" initdb --no-sync --auth=trust --username=carrel --encoding=UTF8 -D "$dir/data" >"$demo/postgres.log"
		background postgres "$@" postgres -D "$dir/data" -k "$dir" -c listen_addresses= -c unix_socket_permissions=0700
	)
	wait_for postgres psql -h "$dir" -U carrel -d postgres -c 'CREATE DATABASE carrel'
	export CARREL_STORE="postgres://carrel@/carrel?host=$dir"
}

# need_port PORT: the port must be free. curl exits with 7 when the connection is
# refused.
need_port() {
	code=0
	curl -s -o /dev/null "http://127.0.0.1:$1/" || code=$?
	[ "$code" -eq 7 ] || fail "port $1 of 127.0.0.1 is in use, and an example needs it (ss -ltnp shows what uses it)"
}

in_demo() { ctr --address "$address" --namespace "$namespace" "$@"; }

# remove_containers empties the namespace. It uses ctr instead of carrel, so that it
# works even when the records of carrel are damaged.
remove_containers() {
	for id in $(in_demo tasks ls -q); do quietly in_demo tasks rm -f "$id"; done
	for id in $(in_demo containers ls -q); do quietly in_demo containers rm "$id"; done
	for id in $(in_demo leases ls -q); do quietly in_demo leases rm "$id"; done
	for image in $(in_demo images ls -q); do quietly in_demo images rm --sync "$image"; done
	if in_demo namespaces ls -q | grep -qx "$namespace"; then quietly in_demo namespaces rm "$namespace"; fi
	for left in "/sys/fs/cgroup/$namespace" /sys/fs/cgroup/*/"$namespace" "/run/containerd/runc/$namespace"; do
		if [ -d "$left" ]; then rmdir "$left"; fi
	done
}

clean() {
	[ -d "$demo" ] || return 0
	short_folder
	if [ -f "$demo/address" ]; then
		address=$(cat "$demo/address")
		if ! answers "$address"; then
			# When the private containerd was killed, its containers still run.
			[ "$address" = "$short/containerd.sock" ] ||
				fail "no containerd responds at $address (start it, so that the containers of the demo can be removed)"
			start_containerd
		fi
		remove_containers
	fi
	stop containerd TERM
	stop postgres INT
	grep -F " $demo/" /proc/mounts | cut -d ' ' -f 2 | while read -r left; do umount "$left"; done
	rm -rf "$demo" "$short"
}

setup() {
	clean
	trap '[ $? -eq 0 ] || echo "demo: failed; its logs are in $demo; make demo-clean removes everything" >&2' EXIT
	export no_proxy=127.0.0.1
	for port in 28080 28081 28082; do need_port "$port"; done
	mkdir -p "$demo/specs" "$demo/bin"
	short_folder
	cp bin/bot-v1.tar bin/bot-v2.tar "$demo/bin/"
	cp examples/bot.yaml examples/team.yaml "$demo/specs/"
	use_containerd
	unset CARREL_STORE
	case ${STORE:-sqlite} in
	sqlite) ;;
	postgres) start_postgres ;;
	*) fail "STORE=$STORE is invalid (use sqlite or postgres)" ;;
	esac
	export CARREL_ADDRESS="$address" CARREL_NAMESPACE="$namespace" CARREL_STATE_DIR="$demo/state"
}

settings() {
	for name in CARREL_ADDRESS CARREL_NAMESPACE CARREL_STATE_DIR CARREL_STORE; do
		eval "value=\${$name:-}"
		[ -z "$value" ] || printf "export %s='%s'\n" "$name" "$value"
	done
}

bot() { run curl -sS --retry 10 --retry-connrefused http://127.0.0.1:28080/; }

show() {
	title "The settings of carrel: each flag has an environment variable"
	settings

	title "The spec of one of three workspaces"
	run cat demo/specs/bot.yaml

	title "Plan"
	run carrel plan demo/specs

	title "Apply"
	run carrel apply demo/specs --auto-approve
	run carrel status
	bot

	title "Apply again: nothing to do"
	run carrel apply demo/specs --auto-approve

	title "Upgrade from image v1 to v2: the data is kept"
	run sed -i s/bot-v1/bot-v2/ demo/specs/bot.yaml
	run carrel apply demo/specs --auto-approve
	bot

	title "Remove a spec: the workspace is deleted, the data is preserved"
	run mv demo/specs/bot.yaml demo/bot.yaml
	run carrel apply demo/specs --auto-approve
	run carrel status

	title "Add the spec again: the data is restored"
	run mv demo/bot.yaml demo/specs/bot.yaml
	run carrel apply demo/specs --auto-approve
	bot
	run carrel status

	title "The workspaces keep running. To use carrel with them:"
	echo "PATH=\$PWD/bin:\$PATH"
	settings
	echo "# make demo-clean removes everything"
}

case ${1:-show} in
show)
	setup
	show
	;;
clean) clean ;;
*) fail "unknown argument $1 (use examples/demo.sh, or examples/demo.sh clean)" ;;
esac
