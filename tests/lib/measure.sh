# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Reading what Stencil did: the phase trace (STENCIL_TRACE) and the memory of its processes.

# shellcheck disable=SC2034 # for the scripts
PHASES=(grant spawn qmp restored resumed agent identity cpu memory network image rootfs created started)

# A value of a sandbox's line of the trace: total_ms, factory, reason, or a phase's milliseconds.
trace_value() # SANDBOX KEY
{
	awk -v sandbox="\"sandbox\":\"$1\"" -v key="\"$2\":" '
	index($0, sandbox) && (at = index($0, key)) {
		value = substr($0, at + length(key))
		if (value ~ /^\{/) { # a phase: {"at_ms":…,"ms":…}
			sub(/^[^}]*"ms":/, "", value)
			sub(/[,}].*/, "", value)
		} else if (value ~ /^"/) {
			value = substr(value, 2)
			sub(/".*/, "", value)
		} else {
			sub(/[,}].*/, "", value)
		}
		print value
	}' "$STENCIL_TRACE" | tail -n 1
}

# Linux 6.12 and later take no vCPU by hot-plug under emulation: what the log says of this sandbox's
# guest. Fails where it says nothing, or where the kernel is an older one, which has no such limit.
cpu_limit() # SANDBOX KERNEL-RELEASE
{
	[ "$(printf '%s\n' 6.12 "$2" | sort -V | head -n 1)" = 6.12 ] &&
		grep -F "$1" "$CONTAINERD_LOG" | grep -o "guest's kernel takes [0-9]* at most"
}

# Pids of the processes that run this program, as their executable is called.
pids_of() # NAME
{
	local exe

	for exe in /proc/[0-9]*/exe; do
		[ "$(basename "$(readlink "$exe" 2>/dev/null)")" = "$1" ] || continue
		exe=${exe%/exe}
		echo "${exe#/proc/}"
	done
}

# The parent of a process; nothing if it has ended.
parent_of() # PID
{
	awk '$1 == "PPid:" { print $2 }' "/proc/$1/status" 2>/dev/null
}

# The child of a process that runs a program, the first of several.
child_of() # PID NAME
{
	local pid

	for pid in $(pids_of "$2"); do
		[ "$(parent_of "$pid")" = "$1" ] || continue
		echo "$pid"
		return
	done
}

# Hundredths of a second of CPU that a process has used; nothing if it has ended.
ticks() # PID
{
	awk '{ sub(/.*\) /, ""); if ($1 != "Z") print $12 + $13 }' "/proc/${1:-none}/stat" 2>/dev/null
}

# The sum of fields of a process's mappings whose name matches, in KiB.
smaps_kib() # PID NAME-REGEX FIELD-REGEX
{
	awk -v name="$2" -v field="$3" '
	/^[0-9a-f]+-[0-9a-f]+ / {
		path = ""
		for (i = 6; i <= NF; i++) path = path (i > 6 ? " " : "") $i
		counts = name == "" || path ~ name
	}
	counts && $1 ~ field { sum += $2 }
	END { print sum + 0 }' "/proc/$1/smaps"
}

# KiB that only this process has.
private_kib() # PID
{
	smaps_kib "$1" '' '^Private_(Clean|Dirty|Hugetlb):'
}

# What a clone alone has of the template's memory: the pages that it has written to. (Private_* has
# the file's own pages, too, as long as no other clone maps them.)
template_private_kib() # PID
{
	smaps_kib "$1" '\/memory( \(deleted\))?$' '^Anonymous:'
}

# Open flags, octal, of each descriptor of a process whose file's name matches.
fd_flags() # PID REGEX
{
	local fd

	for fd in "/proc/$1/fd"/*; do
		[[ $(readlink "$fd") =~ $2 ]] || continue
		awk '$1 == "flags:" { print $2 }' "/proc/$1/fdinfo/${fd##*/}"
	done
}
