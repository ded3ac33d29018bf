#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two hundred containers, eight at a time, while the template is refreshed: nothing adds up but the
# counters. Then some whose guests read all of their memory, which fills the holes of the template's:
# they are punched again. And a pod with many execs, four at a time, and then with twenty containers.
# `make soak CYCLES=8 READERS=300 EXECS=2000` is the same with other numbers.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template
cycles=${CYCLES:-200} readers=${READERS:-16} execs=${EXECS:-40} workers=8 refreshes=4

# A number of templatectl's status; 0 if it is not there: reasons that did not happen are left out.
status_number() # KEY...: the way to it
{
	templatectl --config "$STENCIL_CONF" status --json | perl -MJSON::PP -e '
		local $/;
		my $value = decode_json(<STDIN>);
		$value = $value->{$_} for @ARGV;
		print $value // 0, "\n"' "$@"
}

# What may not grow, a line each.
look()
{
	echo "descriptors of templated: $(find "/proc/$TEMPLATED_PID/fd" -mindepth 1 | wc -l)"
	echo "threads of templated: $(find "/proc/$TEMPLATED_PID/task" -mindepth 1 -maxdepth 1 | wc -l)"
	echo "generations: $(find /run/stencil/template -name memory | wc -l)"
	echo "files of the template: $(find /run/stencil/template | wc -l)"
	echo "mounts: $(wc -l </proc/self/mountinfo)"
	echo "cgroups: $(cgroups_matching ".*/$WORLD/[0-9]+" | wc -l)"
	echo "sandboxes: $(find /run/stencil/sandboxes -mindepth 1 -name "*$WORLD*" | wc -l)"
	for ((worker = 0; worker < workers; worker++)); do
		echo "pod $worker: $(ip -n "pod$worker" -o link | wc -l) links," \
			"$(tc -n "pod$worker" qdisc | wc -l) qdiscs"
	done
}

# The lines of a look of which a number is greater than it was.
grown() # BEFORE AFTER
{
	paste -d '\n' <(echo "$1") <(echo "$2") | awk '
		NR % 2 { n = split($0, was, /[^0-9]+/); next }
		{
			split($0, is, /[^0-9]+/)
			for (i = 1; i <= n; i++)
				if (is[i] + 0 > was[i] + 0) { print; next }
		}'
}

# What templated has written to, KiB. It maps the template, too.
own_kib()
{
	smaps_kib "$TEMPLATED_PID" '' '^Anonymous:'
}

# Resident pages of the tmpfs, KiB.
used_kib()
{
	df --output=used -k /run/stencil/template | tail -n 1
}

for ((worker = 0; worker < workers; worker++)); do
	netns_with_eth0 "pod$worker" "10.99.$worker.2/24"
done

work() # WORKER
{
	local i

	for ((i = $1; i < cycles; i += workers)); do
		container "soak$i" --with-ns "network:/run/netns/pod$1" -- \
			sh -c "ip -4 -o address show eth0 | grep -q 10.99.$1.2 && echo $i" || return 1
	done
}

# One first: what is made once and stays is there then.
works 'a container' first --with-ns network:/run/netns/pod0 -- true
before=$(look) before_kib=$(used_kib) before_own_kib=$(own_kib)
workers_start work "$workers"
for ((i = 0; i < refreshes; i++)); do
	capture templatectl --config "$STENCIL_CONF" refresh
	ok $? "refresh $((i + 1)) while they run" || diag "$(cat "$ERR")"
done
workers_end work worker
is "$(cat "$WORLD_DIR"/work* | sort -n | uniq | grep -cE '^[0-9]+$')" "$cycles" \
	'every container ran, with its network'
containers_remove
ok $? 'no container is left'

after=$(look)
is "$(grown "$before" "$after")" '' 'nothing has grown' || diag "$before"
less "$(own_kib)" $((before_own_kib + 4096)) "KiB of memory are templated's own"
# The file of one generation after another differs by what its guest did at its boot.
less "$(used_kib)" $((before_kib + 4096)) 'KiB of the tmpfs are used'
is "$(($(status_number counters hits) + $(status_number counters misses total)))" $((cycles + 1)) \
	'hits and misses are as many as there were containers'
is "$(grep -c '"factory":"template"' "$STENCIL_TRACE")" "$(status_number counters hits)" \
	'each hit was a clone'
is "$(status_number counters builds)" $((refreshes + 1)) 'each refresh was a build'
is "$(status_number counters build_failures)" 0 'none failed'

# ---- readers -------------------------------------------------------------------------------------

resident_kib()
{
	echo $(($(stat -c %b /run/stencil/template/*/memory) / 2))
}

# All of the VM's memory, 256 MiB; the kernel's own text is there twice.
read_all() # WORKER
{
	local i mib

	for ((i = $1; i < readers; i += workers)); do
		container "reader$i" --privileged -- probe memory >"$WORLD_DIR/mib$1" || return 1
		mib=$(tr -dc 0-9 <"$WORLD_DIR/mib$1")
		[ "${mib:-0}" -ge 250 ] && echo "$i $mib $(resident_kib)" || return 1
	done
}

published_kib=$(($(perl -ne 'print $1 if /"published_bytes": *"?(\d+)/' \
	/run/stencil/template/*/manifest.json) / 1024))
from=$SECONDS
workers_start read_all "$workers"
workers_end read_all reader
is "$(cat "$WORLD_DIR"/read_all* | grep -cE '^[0-9]+ [0-9]+ [0-9]+$')" "$readers" \
	'every guest has read its memory'
# The last lease's end has it punched, in templated's own time.
deadline=$((SECONDS + WAIT_SECONDS))
while [ "$(resident_kib)" -gt $((published_kib * 11 / 10)) ] && [ "$SECONDS" -lt "$deadline" ]; do
	templatectl --config "$STENCIL_CONF" status >/dev/null
done
between "$(resident_kib)" 1 $((published_kib * 11 / 10)) \
	"KiB of the template are resident, at most a tenth more than when it was published"
diag "$readers guests in $((SECONDS - from)) s; resident: $published_kib KiB when published," \
	"at most $(cut -d ' ' -f 3 "$WORLD_DIR"/read_all* | sort -n | tail -n 1) as one ended," \
	"$(resident_kib) at the end"
is "$(grep -c '"factory":"template"' "$STENCIL_TRACE")" $((cycles + 1 + readers)) 'each was a clone'
less "$(own_kib)" $((before_own_kib + 4096)) "KiB of memory are templated's own"

# ---- execs ---------------------------------------------------------------------------------------

# Of the guest as a whole, and so of its agent: threads, open files, kibibytes that are in use.
# shellcheck disable=SC2016 # expanded in the container
look_guest()
{
	in_container execs sh -c 'cut -d " " -f 4 /proc/loadavg | cut -d / -f 2; cut -f 1 /proc/sys/fs/file-nr
		awk "/^MemTotal/ { total = \$2 } /^MemAvailable/ { print total - \$2 }" /proc/meminfo' | xargs
}

# Its threads, descriptors, kibibytes.
look_shim()
{
	echo "$(find "/proc/$shim/task" -mindepth 1 -maxdepth 1 | wc -l)" \
		"$(find "/proc/$shim/fd" -mindepth 1 | wc -l) $(private_kib "$shim")"
}

exec_many() # WORKER
{
	local i

	for ((i = $1; i < execs; i += 4)); do
		in_container execs sh -c "echo $i; exit 7"
		[ $? -eq 7 ] || return 1
	done
}

pods_gone 'the readers are gone'
capture container_detached execs -- sleep 100000
done_well $? 'a container for execs'
shim=$(pids_of containerd-shim-stencil-v2)
is "$(tr '\0' '\n' <"/proc/$shim/environ" | grep -c '^GLIBC_TUNABLES=')" 1 "the shim's libc is told what to keep"
for ((i = 0; i < 8; i++)); do
	in_container execs true
done
read -r -a guest_before <<<"$(look_guest)"
read -r -a shim_before <<<"$(look_shim)"
workers_start exec_many 4
workers_end exec_many 'execs,'
is "$(cat "$WORLD_DIR"/exec_many[0-3] | sort -n | uniq | grep -cE '^[0-9]+$')" "$execs" 'each has its output'
read -r -a guest_after <<<"$(look_guest)"
read -r -a shim_after <<<"$(look_shim)"
diag "$execs execs; threads, files, KiB of the guest: ${guest_before[*]}, then ${guest_after[*]};" \
	"of the shim: ${shim_before[*]}, then ${shim_after[*]}"
is "${shim_after[0]} ${shim_after[1]}" "${shim_before[0]} ${shim_before[1]}" 'the shim has the threads and descriptors that it had'
less "${shim_after[2]}" $((shim_before[2] + 128)) 'KiB are its own'
less "${guest_after[0]}" $((guest_before[0] + 8)) 'threads has the guest'
less "${guest_after[1]}" $((guest_before[1] + 64)) 'open files'
less "${guest_after[2]}" $((guest_before[2] + 16384)) 'KiB in use'

# ---- the shim's memory ---------------------------------------------------------------------------

# As private_kib() has it: of the program's own file, too, as long as no other shim maps that.
less "${shim_after[2]}" 2048 "KiB are the shim's of a pod of one container"
pod=(--annotation io.kubernetes.cri.container-type=container
	--annotation "io.kubernetes.cri.sandbox-id=$WORLD-execs")
for ((i = 2; i <= 20; i++)); do
	capture container_detached "number$i" "${pod[@]}" -- sleep 100000 || break
done
is "$i" 21 'nineteen more' || diag "$(cat "$ERR")"
read -r -a shim_after <<<"$(look_shim)"
diag "with twenty: threads, files, KiB of the shim: ${shim_after[*]}"
less "${shim_after[2]}" 3072 "KiB are the shim's of a pod of twenty"
system_end
