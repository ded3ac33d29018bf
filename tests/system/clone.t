#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a clone is: one of a kind, small, and unable to write its template.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

# ---- time ---------------------------------------------------------------------------------------

stencil_config factory enable_template=false >/run/direct.conf
at_exit 'rm -f /run/direct.conf'
works 'a container by cold boot' direct --runtime-config-path /run/direct.conf -- true
direct_ms=$MS
is "$(trace_value "$WORLD-direct" factory)" direct 'it says that it was booted'
works 'a container by clone' clone1 -- true
clone_ms=$MS
is "$(trace_value "$WORLD-clone1" factory)" template 'it says that it was cloned'
diag "a clone takes $clone_ms ms, a cold boot $direct_ms ms"
for phase in grant spawn qmp restored resumed agent identity rootfs created started; do
	like "$(trace_value "$WORLD-clone1" "$phase")" '^[0-9]+\.[0-9]+$' "the trace has its $phase phase"
done

# ---- the guest's kernel -------------------------------------------------------------------------

# It loads no module but those that were signed with it: one of them, with and without its signature.
mkdir "$WORLD_DIR/modules"
cp "$STENCIL_GUEST/tree/root/lib/modules/erofs.ko" "$WORLD_DIR/modules/signed.ko"
head -c -40 "$WORLD_DIR/modules/signed.ko" >"$WORLD_DIR/modules/cut.ko"
works 'a container that loads modules' modules --privileged \
	--mount "type=bind,src=$WORLD_DIR/modules,dst=/modules,options=rbind:ro" -- \
	sh -c 'cat /sys/module/module/parameters/sig_enforce; insmod /modules/signed.ko; insmod /modules/cut.ko; true'
is "$(head -n 1 "$OUT")" Y 'the kernel wants signatures'
like "$(cat "$OUT" "$ERR")" 'signed.ko.*File exists' 'one that is signed is taken: it is there already'
# A wall's proof: docs/security.md.
like "$(cat "$OUT" "$ERR")" 'cut.ko.*(Required key not available|rejected)' 'one that is not signed is refused'

# ---- identity -----------------------------------------------------------------------------------

probe_value() # FILE KEY
{
	awk -v key="$2" '$1 == key { print $2 }' "$1" | tr -d '\r'
}

for i in 1 2; do
	before=${EPOCHREALTIME/./}
	works "probe $i" "probe$i" -- probe
	after=${EPOCHREALTIME/./}
	cp "$OUT" "$WORLD_DIR/probe$i"
	clock=$(probe_value "$OUT" clock_ms)
	between "$clock" $((before / 1000 - 1000)) $((after / 1000 + 1000)) "clone $i has the right wall clock"
done
for key in getrandom uuid machine_id; do
	a=$(probe_value "$WORLD_DIR/probe1" "$key")
	b=$(probe_value "$WORLD_DIR/probe2" "$key")
	like "$a $b" '^[0-9a-f-]{32,36} [0-9a-f-]{32,36}$' "$key: both clones have one"
	isnt "$a" "$b" "$key: two clones differ"
done

# ---- memory and confinement, of an idle clone ---------------------------------------------------

capture container_detached idle -- sleep 1000
ok $? 'an idle clone' || diag "$(cat "$ERR")"
qemu=$(pids_of qemu-system-x86_64)
shim=$(pids_of containerd-shim-stencil-v2)
like "$qemu $shim" '^[0-9]+ [0-9]+$' 'it is one QEMU and one shim'
less "$(template_private_kib "$qemu")" 8192 "KiB of its guest's RAM are its own"
less "$(private_kib "$shim")" 3072 'KiB are private to its shim'
diag "QEMU's private memory: $(private_kib "$qemu") KiB"
flags=$(fd_flags "$qemu" '/memory( \(deleted\))?$')
like "$flags" '^0[0-7]+$' 'QEMU holds the template memory by one descriptor'
unlike "$flags" '[^04]$' 'which is read-only'
status=$(cat "/proc/$qemu/status")
like "$status" $'\nSeccomp:\t2\n' 'QEMU runs under a seccomp filter'
like "$status" $'\nNoNewPrivs:\t1\n' 'and without a way to new privileges'
unlike "$status" $'\nUid:\t0' 'and not as root'
like "$status" $'\nCapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\nCapAmb:\t0+\n' 'and without a capability'

generation=$(echo /run/stencil/template/*/memory)
before=$(sha256sum <"$generation")
works 'a clone that writes to much of its memory' writer -- \
	sh -c 'dd if=/dev/urandom of=/tmp/x bs=1M count=16 2>/dev/null'
# A wall's proof: docs/security.md.
is "$(sha256sum <"$generation")" "$before" 'leaves the template as it was'
options=$(awk '$5 == "/run/stencil/template" { print $6 }' /proc/self/mountinfo)
for option in nosuid nodev noexec; do
	like ",$options," ",$option," "the template's tmpfs is mounted $option"
done
# A wall's proof: docs/security.md.
is "$(stat -c %a /run/stencil/template)" 750 'with mode 0750'
capture container_remove idle
done_well $? 'the idle clone is removed'

# ---- templatectl --------------------------------------------------------------------------------

capture templatectl --config "$STENCIL_CONF" status
done_well $? 'templatectl status'
capture templatectl --config "$STENCIL_CONF" status --json
like "$(cat "$OUT")" '^\{.*"counters".*\}' 'templatectl status --json'
capture templatectl --config "$STENCIL_CONF" size
done_well $? 'templatectl size'
capture container_detached old -- sleep 1000
done_well $? 'a container before the refresh'
first=$(basename "${generation%/memory}")
capture templatectl --config "$STENCIL_CONF" refresh
ok $? 'templatectl refresh while it runs' || diag "$(cat "$ERR")"
there "/run/stencil/template/$first/memory" 'its generation stays'
capture in_container old echo alive
is "$(cat "$OUT")" alive 'and it goes on'
works 'a container of the new generation' new -- true
is "$(trace_value "$WORLD-new" factory)" template 'is a clone'
capture container_remove old
done_well $? 'the last clone of the old generation ends'
capture templatectl --config "$STENCIL_CONF" destroy
ok $? 'templatectl destroy' || diag "$(cat "$ERR")"
is "$(find /run/stencil/template -name memory 2>/dev/null)" '' 'no generation is left'
stencil_config factory strict=true >/run/direct.conf
refused 'strict makes a missing template an error' 'template' strict \
	--runtime-config-path /run/direct.conf -- true
works 'without strict the container is booted' degraded -- true
is "$(trace_value "$WORLD-degraded" factory)" direct 'and says so'
like "$(trace_value "$WORLD-degraded" reason)" 'template' 'with the reason'
rm -f /run/direct.conf
system_end
