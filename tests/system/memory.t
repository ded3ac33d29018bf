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

# Uses memory of a new clone: MIB of it, and all of that must have been zeros.
fills() # NAME ID MIB
{
	works "$1" "$2" -- probe fill "$3"
	is "$(tr -d '\r' <"$OUT" | paste -sd ' ')" "zero_mib $3 kept_mib $3" \
		"$1: it finds zeros, and keeps what it writes"
}

# ---- 256 MiB, the default -----------------------------------------------------------------------

system_template
less "$(template_kib)" $((56 * 1024)) 'KiB are resident of a template of 256 MiB'
template=$(sha256sum /run/stencil/template/*/memory)
works 'a clone tells its memory' meminfo -- cat /proc/meminfo
less $((160 * 1024)) "$(meminfo_kib MemAvailable)" '160 MiB are available to it'
fills 'a clone uses 150 MiB' fill 150
works 'a clone uses 56 MiB of tmpfs' tmpfs -- sh -c 'dd if=/dev/zero bs=1M count=56 2>/dev/null \
	of=/dev/shm/x && tr -d "\0" </dev/shm/x | wc -c'
is "$(tr -d '\r' <"$OUT")" 0 'which are zeros'
is "$(sha256sum /run/stencil/template/*/memory)" "$template" 'the template is as it was'
# Their files are gone, see guest/modules.c.
works 'a clone tells its modules' modules -- cat /proc/modules
for module in overlay virtio_net virtio_mem; do
	like $'\n'"$(cat "$OUT")" $'\n'"$module " "$module is loaded"
done

# ---- 128 MiB, and the least ---------------------------------------------------------------------

# Of 128 MiB 56 are available, of 96 MiB 24.
for sizes in '128 40' '96 16'; do
	read -r mib used <<<"$sizes"
	templated_stop
	is $? 0 "templated ends, for guests of $mib MiB"
	stencil_config hypervisor default_memory=$mib >"$STENCIL_CONF"
	templated_try_start || bail "templated: $(tail -n 3 "$TEMPLATED_LOG")"
	capture templatectl --config "$STENCIL_CONF" init
	ok $? "a template of $mib MiB" || bail "$(cat "$ERR")"
	less "$(template_kib)" $((56 * 1024)) 'KiB of it are resident'
	works "true in $mib MiB" "true$mib" -- true
	is "$(trace_value "$WORLD-true$mib" factory)" template 'it is a clone'
	fills "a clone of $mib MiB uses $used MiB" "fill$mib" "$used"
done
system_end
