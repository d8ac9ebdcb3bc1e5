#!/bin/sh
# Shows carrel on real containers: plan, apply, an upgrade that keeps the data,
# a deletion that preserves it, and the return that restores it.
#
#   examples/demo.sh          show it (make demo builds what it needs first)
#   examples/demo.sh clean    remove everything that it left
#
# It uses the containerd at CARREL_ADDRESS, or the one of this host, or else a
# private one, and touches one namespace of it. STORE=postgres keeps the records
# in a private Postgres instead of SQLite. Everything is below demo/, except
# sockets and Postgres: they are in a short folder that others may enter.
set -eu

cd "$(dirname "$0")/.."
demo=$PWD/demo
namespace=carrel-demo
PATH=$PWD/bin:$PATH:/usr/sbin:/sbin

title() { printf '\n\n== %s\n' "$*"; }

# run shows a command as a person types it, and runs it.
run() {
	printf '\n$ %s\n' "$*"
	"$@"
}

fail() {
	echo "demo: $*" >&2
	exit 1
}

# wait_for NAME COMMAND...: until the command succeeds, for at most 30 seconds.
wait_for() {
	name=$1 tries=0
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || fail "$name does not answer: see $demo/$name.log"
		sleep 0.1
	done
}

# quietly says what a command said only when it failed.
quietly() {
	said=$("$@" 2>&1) || fail "$*: $said"
}

answers() { ctr --address "$1" --connect-timeout 2s version >/dev/null 2>&1; }

# background NAME COMMAND...: a server that outlives this script and its terminal.
background() {
	name=$1
	shift
	setsid "$@" >>"$demo/$name.log" 2>&1 </dev/null &
	echo $! >"$demo/$name.pid"
}

# alive PID: it runs, and is not only waiting to be forgotten by its parent.
alive() { [ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; }
dead() { ! alive "$1"; }

# stop NAME SIGNAL: ends a server of ours. After a reboot its number may be
# another's, so its arguments must be ours too.
stop() {
	[ -f "$demo/$1.pid" ] || return 0
	pid=$(cat "$demo/$1.pid")
	if alive "$pid" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -e "$demo/" -e "$short/"; then
		kill -s "$2" "$pid"
		wait_for "$1" dead "$pid"
	fi
	rm "$demo/$1.pid"
}

# short_folder: the path of a socket has at most 107 bytes, and Postgres, which
# does not run as root, cannot enter the home of root.
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
		echo "demo: using the containerd at $address, and only its namespace $namespace"
	elif [ -n "${CARREL_ADDRESS:-}" ]; then
		fail "no containerd answers at CARREL_ADDRESS=$address (start it, run as root, or unset CARREL_ADDRESS)"
	elif [ "$(id -u)" -ne 0 ]; then
		fail "no containerd answers at $address, and only root can start one (run as root)"
	else
		echo "demo: no containerd answers at $address: starting a private one in $demo"
		start_containerd
		address=$short/containerd.sock
	fi
	echo "$address" >"$demo/address"
}

# start_postgres: as nobody when we are root, because Postgres refuses root.
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
		cd "$dir" # nobody may not be allowed to be where we are
		"$@" initdb --no-sync --auth=trust --username=carrel --encoding=UTF8 -D "$dir/data" >"$demo/postgres.log"
		background postgres "$@" postgres -D "$dir/data" -k "$dir" -c listen_addresses= -c unix_socket_permissions=0700
	)
	wait_for postgres psql -h "$dir" -U carrel -d postgres -c 'CREATE DATABASE carrel'
	export CARREL_STORE="postgres://carrel@/carrel?host=$dir"
}

# need_port PORT: curl's exit code 7 is a refused connection.
need_port() {
	code=0
	curl -s -o /dev/null "http://127.0.0.1:$1/" || code=$?
	[ "$code" -eq 7 ] || fail "port $1 of 127.0.0.1 is in use, and an example needs it (end what uses it: ss -ltnp)"
}

in_demo() { ctr --address "$address" --namespace "$namespace" "$@"; }

# remove_containers empties the namespace: with containerd's own tool, so that
# it works whatever state carrel's records are in.
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
			# A containerd that was killed has left its containers running.
			[ "$address" = "$short/containerd.sock" ] ||
				fail "no containerd answers at $address: start it, so that the demo's containers can be removed"
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
	trap '[ $? -eq 0 ] || echo "demo: it ended early; its logs are in $demo; make demo-clean removes everything" >&2' EXIT
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
	*) fail "STORE=$STORE is not known (want sqlite or postgres)" ;;
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
	title "Where carrel works: each flag has a variable"
	settings

	title "The specs of three workspaces"
	run cat demo/specs/bot.yaml

	title "What there is to do"
	run carrel plan demo/specs

	title "Do it"
	run carrel apply demo/specs --auto-approve
	run carrel status
	bot

	title "Again: there is nothing to do"
	run carrel apply demo/specs --auto-approve

	title "An upgrade from image v1 to v2 keeps the data"
	run sed -i s/bot-v1/bot-v2/ demo/specs/bot.yaml
	run carrel apply demo/specs --auto-approve
	bot

	title "A deletion preserves the data"
	run mv demo/specs/bot.yaml demo/bot.yaml
	run carrel apply demo/specs --auto-approve
	run carrel status

	title "The return restores it"
	run mv demo/bot.yaml demo/specs/bot.yaml
	run carrel apply demo/specs --auto-approve
	bot
	run carrel status

	title "The workspaces run on: look around, then run make demo-clean"
	echo "PATH=\$PWD/bin:\$PATH"
	settings
}

case ${1:-show} in
show)
	setup
	show
	;;
clean) clean ;;
*) fail "what is $1? (examples/demo.sh, or examples/demo.sh clean)" ;;
esac
