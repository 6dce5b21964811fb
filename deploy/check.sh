#!/bin/bash
# Checks everything under deploy/ that a tool can check. Run from anywhere; writes only to a temporary directory.
#   deploy/check.sh                   a missing tool is a failure
#   deploy/check.sh --skip-missing    a missing tool is named and skipped
# Tools: promtool (Debian: prometheus), systemd-analyze (systemd; the exposure line is pinned to version 252),
#        nft (nftables), sysctl (procps), unshare (util-linux); optional: amtool (prometheus-alertmanager).
# Exit 0: all well; 1: something failed; 2: usage.
set -u
skip_missing=0
case "${1-}" in
"") ;;
--skip-missing) skip_missing=1 ;;
*)
	echo "usage: $0 [--skip-missing]" >&2
	exit 2
	;;
esac
here=$(cd "$(dirname "$0")" && pwd) || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
PATH=$PATH:/usr/sbin:/sbin
failed=0

# check NAME COMMAND...: one line when it succeeds, the whole output when it does not.
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		printf '%s\n' "$out" | sed 's/^/        /'
		failed=1
	fi
}

# have TOOL PACKAGE: true when present, else says so.
have() {
	command -v "$1" >/dev/null 2>&1 && return 0
	if [ "$skip_missing" = 1 ]; then
		echo "skipped $1 is missing (package $2)"
	else
		echo "FAILED  $1 is missing (package $2)"
		failed=1
	fi
	return 1
}

# Succeeds and says nothing: for tools that only warn about what they do not understand.
quiet() {
	local out rc
	out=$("$@" 2>&1)
	rc=$?
	printf '%s' "$out"
	[ $rc -eq 0 ] && [ -z "$out" ]
}

own_net() { unshare --user --map-root-user --net "$@"; }

# ---- prometheus ----
if have promtool prometheus; then
	check "promtool check config prometheus.yml" promtool check config "$here/prometheus/prometheus.yml"
	for f in "$here"/prometheus/*.rules; do
		check "promtool check rules ${f##*/}" promtool check rules "$f"
	done
	for f in "$here"/prometheus/tests/*.test.yml; do
		check "promtool test rules ${f##*/}" promtool test rules "$f"
	done
fi
if command -v amtool >/dev/null 2>&1; then
	check "amtool check-config alertmanager.yml" amtool check-config "$here/alertmanager/alertmanager.yml"
else
	echo "skipped amtool is missing (package prometheus-alertmanager, optional)"
fi

# ---- systemd ----
# The programs named in the unit need not be installed here: each is replaced by one that exists.
# unit_root DIR [DROPIN...]: a tree as systemd sees it, with the unit and the given drop-ins.
unit_root() {
	local root=$1 units=$1/etc/systemd/system d
	shift
	mkdir -p "$units/reachd.service.d" "$root/bin"
	sed -E 's#^(Exec[A-Za-z]*=)/[^ ]+#\1/bin/true#' "$here/systemd/reachd.service" >"$units/reachd.service"
	for d in "$@"; do
		sed -E 's#^(Exec[A-Za-z]*=)/[^ ]+#\1/bin/true#' "$here/systemd/reachd.service.d/$d.conf.example" >"$units/reachd.service.d/$d.conf"
	done
}

exposure() { systemd-analyze security --offline=true --root="$1" --threshold="$2" --no-pager reachd.service; }

# Drop-ins are read only from beside the unit, hence SYSTEMD_UNIT_PATH; the trailing colon keeps the system's own units.
verify() { SYSTEMD_UNIT_PATH="$1/etc/systemd/system:" quiet systemd-analyze verify --man=no reachd.service; }

if have systemd-analyze systemd; then
	while read -r limit dropins; do
		name="reachd.service${dropins:+ with $dropins}"
		root=$tmp/${dropins:-plain}
		# shellcheck disable=SC2086
		unit_root "$root" $dropins
		check "systemd-analyze verify $name" verify "$root"
		check "systemd-analyze security $name <= ${limit:0:1}.${limit:1}" exposure "$root" "$limit"
	done <<-'END'
		16
		20 namespaces
		11 capless
	END
	if command -v systemd-sysusers >/dev/null 2>&1; then
		mkdir -p "$tmp/users/etc"
		check "systemd-sysusers reachd.sysusers.conf" systemd-sysusers --root="$tmp/users" "$here/systemd/reachd.sysusers.conf"
		check "sysusers made the user and group of the unit" grep -qs '^reachd:' "$tmp/users/etc/passwd" "$tmp/users/etc/group"
	fi
fi

# ---- nftables, sysctl: in a network namespace of our own ----
if have unshare util-linux; then
	if ! own_net true 2>/dev/null; then
		echo "FAILED  unshare --user --net is not permitted here (kernel.unprivileged_userns_clone, user.max_user_namespaces, AppArmor)"
		failed=1
	else
		if have nft nftables; then
			check "nft -c reachd-notrack.nft" own_net nft -c -f "$here/nftables/reachd-notrack.nft"
			# As its own text tells to use it.
			cat >"$tmp/stateful.nft" <<-END
				table inet filter {
				  chain input {
				    type filter hook input priority filter; policy drop;
				    include "$here/nftables/reachd-accept.nft"
				    ct state invalid drop
				    ct state established,related accept
				  }
				}
			END
			check "nft -c reachd-accept.nft inside a default-drop chain" own_net nft -c -f "$tmp/stateful.nft"
			# shellcheck disable=SC2016
			check "nft loads both, the first one twice" own_net sh -ec 'nft -f "$1"; nft -f "$1"; nft -f "$2"
				test "$(nft list table inet reachd_notrack | grep -c notrack$)" -eq 7' sh "$here/nftables/reachd-notrack.nft" "$tmp/stateful.nft"
		fi
		if have sysctl procps; then
			# shellcheck disable=SC2016
			check "sysctl 50-reachd.conf reserves 61000-65535" own_net sh -ec 'sysctl -q -p "$1"
				test "$(sysctl -n net.ipv4.ip_local_reserved_ports)" = 61000-65535' sh "$here/sysctl/50-reachd.conf"
			# The edit that the file itself describes; inside the namespace only gid 0 exists.
			sed 's/^#net.ipv4.ping_group_range = .*/net.ipv4.ping_group_range = 0 0/' "$here/sysctl/50-reachd.conf" >"$tmp/ping.conf"
			# shellcheck disable=SC2016
			check "sysctl 50-reachd.conf with a group id" own_net sh -ec 'sysctl -q -p "$1"
				test "$(sysctl -n net.ipv4.ping_group_range | tr "\t" " ")" = "0 0"' sh "$tmp/ping.conf"
		fi
	fi
fi

[ "$failed" = 0 ] && echo "deploy: all well" || echo "deploy: FAILED"
exit "$failed"
