#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The guest's memory: what a template keeps of it, what a clone finds free, small guests.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"

template_kib()
{
	echo $(($(stat -c %b /run/stencil/template/*/memory) / 2))
}

meminfo_kib() # KEY: of $OUT
{
	awk -v key="$1:" '$1 == key { print $2 }' "$OUT"
}

# A template keeps no more of its memory than a clone of it finds in use, whatever the kernel needs.
keeps_used() # KIB-RESIDENT MIB: /proc/meminfo of the clone is $OUT
{
	less "$1" $(($2 * 1024 - $(meminfo_kib MemFree))) 'KiB are resident of a template of '"$2 MiB"
}

# Uses memory of a new clone: MIB of it, and all of that must have been zeros.
fills() # NAME ID MIB
{
	works "$1" "$2" -- probe fill "$3"
	is "$(tr -d '\r' <"$OUT" | paste -sd ' ')" "zero_mib $3 kept_mib $3" \
		"$1: it finds zeros, and keeps what it writes"
}

# What limits can add on this host: all its memory in blocks of 128 MiB.
HOST_MIB=$(($(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo) / 1024 / 128 * 128))

# A container with a memory limit sees that limit, and its VM has the memory for it, or the host's.
grows() # ID BYTES DEFAULT-MEMORY
{
	local name="a limit of $2 in $3 MiB" mib=$((($2 + (128 << 20) - 1) / (128 << 20) * 128)) log

	# shellcheck disable=SC2016 # expanded in the container
	works "$name" "$1" --memory-limit "$2" \
		--mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro -- sh -c 'cat /proc/meminfo
		cat "/sys/fs/cgroup/$(sed -n "s,^0::/,,p" /proc/self/cgroup)/memory.max"'
	is "$(tail -n 1 "$OUT")" $(($2 / 4096 * 4096)) "$name: it is the cgroup's"
	log=$(grep -F "sandbox=$WORLD-$1 " "$CONTAINERD_LOG")
	if [ "$mib" -gt "$HOST_MIB" ]; then
		mib=$HOST_MIB
		like "$log" "level=warn .* it gets the $mib it can have" \
			"$name: the log says that the VM has less"
	else
		unlike "$log" 'it can have' "$name: the log does not speak of less"
	fi
	less $((mib * 1024)) "$(meminfo_kib MemTotal)" "$name: KiB are added to what its VM has"
	less "$(meminfo_kib MemTotal)" $(((mib + $3) * 1024)) "$name: and no more KiB"
}

# ---- 256 MiB, the default -----------------------------------------------------------------------

system_template
resident=$(template_kib)
template=$(sha256sum /run/stencil/template/*/memory)
works 'a clone tells its memory' meminfo -- cat /proc/meminfo
keeps_used "$resident" 256
# Linux 6.1 leaves 165 MiB, 6.12 154.
less $((144 * 1024)) "$(meminfo_kib MemAvailable)" '144 MiB are available to it'
fills 'a clone uses 150 MiB' fill 150
# More pages of a file than it has memory: each that is written back goes through the pump.
mkdir /run/volume
works 'a clone writes 320 MiB of a shared mapping' dirty \
	--mount type=bind,src=/run/volume,dst=/v,options=rbind:rw -- probe dirty 320 /v/file
is "$(tr -d '\r' <"$OUT" | paste -sd ' ')" 'zero_mib 320 kept_mib 320 read_mib 320' 'and finds all of it'
is "$(stat -c %s /run/volume/file)" $((320 << 20)) 'and so does the host'
unlike "$(grep -F "sandbox=$WORLD-dirty " "$CONTAINERD_LOG")" 'more memory' \
	'page cache gets no more memory'
rm -r /run/volume
works 'a clone uses 56 MiB of tmpfs' tmpfs -- sh -c 'dd if=/dev/zero bs=1M count=56 2>/dev/null \
	of=/dev/shm/x && tr -d "\0" </dev/shm/x | wc -c'
is "$(tr -d '\r' <"$OUT")" 0 'which are zeros'
is "$(sha256sum /run/stencil/template/*/memory)" "$template" 'the template is as it was'
# Their files are gone, see guest/modules.c.
works 'a clone tells its modules' modules -- cat /proc/modules
for module in overlay virtio_net virtio_mem; do
	like $'\n'"$(cat "$OUT")" $'\n'"$module " "$module is loaded"
done
# Its VM grows; a mapping may be larger than that at first.
fills 'a clone without a limit uses 400 MiB' without 400
like "$(grep -F "sandbox=$WORLD-without " "$CONTAINERD_LOG")" \
	'level=info .*more memory: it grows' 'and the log says that it grows'
grows 1g $((1 << 30)) 256
grows 12g $((12 << 30)) 256
grows 100g 100000000000 256

# ---- 128 MiB, the least there is ----------------------------------------------------------------

mib=128 used=24 # Linux 6.12 leaves less than 40
templated_stop
is $? 0 "templated ends, for guests of $mib MiB"
stencil_config hypervisor default_memory=$mib hypervisor memory_growth=0 >"$STENCIL_CONF"
templated_try_start || bail "templated: $(tail -n 3 "$TEMPLATED_LOG")"
capture templatectl --config "$STENCIL_CONF" init
ok $? "a template of $mib MiB" || bail "$(cat "$ERR")"
resident=$(template_kib)
works "a clone of $mib MiB tells its memory" "meminfo$mib" -- cat /proc/meminfo
keeps_used "$resident" "$mib"
is "$(trace_value "$WORLD-meminfo$mib" factory)" template 'it is a clone'
fills "a clone of $mib MiB uses $used MiB" "fill$mib" "$used"
grows "4g-$mib" $((4 << 30)) "$mib"
capture container ungrown -- probe fill 400
is $? 1 'without memory_growth a container has what there is'
system_end
