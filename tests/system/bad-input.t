#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Wrong files, settings and bundles: each error names the thing, and nothing is left behind.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
conf=/run/bad.conf
at_exit 'rm -rf /run/bad*'

# A container by cold boot with these settings must fail with an error that matches.
refused_with() # NAME REGEX [SECTION KEY=VALUE]...
{
	local name=$1 regex=$2

	shift 2
	stencil_config factory enable_template=false "$@" >"$conf"
	refused "$name" "$regex" bad --runtime-config-path "$conf" -- true
	is "$(find /run/stencil/sandboxes -path "*$WORLD*" 2>/dev/null)$(world_cgroups)" '' \
		"$name: no state folder and no cgroup stays"
}

# ---- settings -----------------------------------------------------------------------------------

refused_with 'a kernel that is missing' '/run/bad-kernel' hypervisor kernel=/run/bad-kernel
echo 'not a kernel' >/run/bad-kernel
refused_with 'a kernel that is none' '/run/bad-kernel.*(bzImage|ELF)' hypervisor \
	kernel=/run/bad-kernel
refused_with 'no initrd' '/run/bad-initrd' hypervisor initrd=/run/bad-initrd
refused_with 'a QEMU that is not there' '/run/bad-qemu' hypervisor path=/run/bad-qemu
refused_with 'a QEMU that is none' '/bin/true' hypervisor path=/bin/true
refused_with 'an unknown key, with file and line' "$conf:[0-9]+: unknown key colour" hypervisor \
	colour=red
refused_with 'a value out of range' "$conf:[0-9]+: default_vcpus = 9999: out of range" hypervisor \
	default_vcpus=9999
refused_with 'a guest that panics' 'console ends with "Kernel panic.*Unable to mount root' hypervisor \
	kernel_params='rdinit=/no-such-init'
# One that panics and stays (panic=0) is silent for ever; whether it has come to that by then, or has
# said anything, is the machine's affair.
refused_with 'a guest that does not answer in time' "3000 ms.*the guest's console" runtime \
	boot_timeout_ms=3000 hypervisor kernel_params='rdinit=/no-such-init panic=0'
mkdir /run/bad-state
mount --no-mtab -t tmpfs -o size=64k,mode=0700 bad-state /run/bad-state
head -c 1M /dev/zero >/run/bad-state/full 2>/dev/null
refused_with 'a full disk under the state folder' '/run/bad-state.*No space left' runtime \
	state_dir=/run/bad-state
umount --no-mtab /run/bad-state
refused 'a configuration that is not there' '/run/bad-absent.conf' bad \
	--runtime-config-path /run/bad-absent.conf -- true

# ---- annotations --------------------------------------------------------------------------------

refused 'an unknown annotation' 'io.stencil.hypervisor.colour' bad \
	--annotation io.stencil.hypervisor.colour=red -- true
refused 'one that pods may not set' 'default_vcpus: pods may not set this; key enable_annotations' bad \
	--annotation io.stencil.hypervisor.default_vcpus=1 -- true
stencil_config hypervisor 'enable_annotations=hypervisor.default_vcpus hypervisor.default_memory' \
	hypervisor default_maxmemory=512 >"$conf"
refused 'an unknown value of one' 'io.stencil.hypervisor.default_vcpus.*lots' bad \
	--runtime-config-path "$conf" --annotation io.stencil.hypervisor.default_vcpus=lots -- true
refused 'one above what the configuration allows' 'default_memory: 6144 is more than the 512' bad \
	--runtime-config-path "$conf" --annotation io.stencil.hypervisor.default_memory=6144 -- true
refused 'a time-out, which never is' 'call_timeout_ms: there is no such setting' bad \
	--runtime-config-path "$conf" --annotation io.stencil.runtime.call_timeout_ms=100000 -- true
refused 'a path, which is not for a pod to choose' 'io.stencil.hypervisor.path' bad \
	--annotation io.stencil.hypervisor.path=/bin/sh -- true

# ---- bundles ------------------------------------------------------------------------------------
# A runtime given as a path is run as it is: one that spoils the bundle, then is the shim.

spoiled() # NAME REGEX COMMAND-FOR-CONFIG.JSON
{
	cat >/run/bad-shim <<-END
	#!/bin/sh
	case " \$* " in *' start '*) $3 ;; esac
	exec $STENCIL_BUILD/containerd-shim-stencil-v2 "\$@"
	END
	chmod 755 /run/bad-shim
	RUNTIME=/run/bad-shim refused "$1" "$2" bad -- true
}
spoiled 'a config.json that is no JSON' 'config\.json' 'echo "not JSON" >config.json'
spoiled 'a config.json without a process' 'config\.json.*process' \
	'echo "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"}}" >config.json'
# A wall's proof: docs/security.md.
spoiled 'a config.json of 100 MB of brackets' 'config\.json' \
	'head -c 100000000 /dev/zero | tr "\\0" "[" >config.json'
spoiled 'no config.json' 'config\.json' 'rm config.json'

# ---- the template -------------------------------------------------------------------------------

stencil_config factory tmpfs_size=64M >"$STENCIL_CONF"
if templated_try_start; then
	at_exit templated_stop
	capture templatectl --config "$STENCIL_CONF" init
	[ $? -ne 0 ]
	ok $? 'a tmpfs too small is an error'
	said=$(cat "$ERR" "$TEMPLATED_LOG")
	templated_stop
else
	ok 0 'a tmpfs too small is an error'
	said=$(cat "$TEMPLATED_LOG")
fi
like "$said" 'tmpfs_size.*[0-9]+' 'that says how much is needed'

stencil_config >"$STENCIL_CONF"
capture templatectl --config "$STENCIL_CONF" status
like "$? $(cat "$ERR")" '^[1-9].*/run/stencil/templated.sock' \
	'templatectl without templated names the socket'
stencil_config factory strict=true >"$conf"
refused 'strict without templated' 'templated' bad --runtime-config-path "$conf" -- true

system_template
generation=$(dirname /run/stencil/template/*/memory)
cp -a --sparse=always "$generation" /run/bad-copy

stencil_config factory strict=true hypervisor kernel_params=quiet=1 >"$conf"
refused 'strict with another kernel command line names the field' 'cmdline' bad \
	--runtime-config-path "$conf" -- true

# A wrong line while templated runs.
mkdir "$STENCIL_CONF.d"
echo 'nonsense' >"$STENCIL_CONF.d/wrong.conf"
said="$STENCIL_CONF.d/wrong.conf:1: neither"
works 'a pod starts with the configuration in force' kept -- true
like "$(grep -F "$WORLD-kept" "$CONTAINERD_LOG")" "level=error .*the one in force stays: $said" 'and its log says so'
capture templatectl --config "$STENCIL_CONF" status
like "$? $(cat "$ERR")" "^0 .*the one in force stays: $said" 'templatectl reaches templated, and says so'
rm -r "$STENCIL_CONF.d"

# Changes the generation behind a dead templated's back and starts it again, with a guest that ends
# at once: else the next template may stand before it is asked for.
tampered() # NAME REGEX COMMAND
{
	kill -KILL "$TEMPLATED_PID"
	wait "$TEMPLATED_PID"
	rm -rf "$generation"
	cp -a --sparse=always /run/bad-copy "$generation"
	(cd "$generation" && eval "$3")
	stencil_config hypervisor kernel_params=rdinit=/none >"$STENCIL_CONF"
	templated_try_start
	ok $? "$1: templated starts" || diag "$(tail "$TEMPLATED_LOG")"
	like "$(cat "$TEMPLATED_LOG")" "$2" "$1: its log names it"
	stencil_config factory strict=true hypervisor kernel_params=rdinit=/none >"$conf"
	refused "$1: strict" 'template' bad --runtime-config-path "$conf" -- true
}
tampered 'a manifest with one field changed' 'memory_bytes' \
	'sed -i "s/\"memory_bytes\": *\"[0-9]*/&0/" manifest.json'
tampered 'a truncated state' 'state' 'truncate -s -1 state'
tampered 'a changed state' 'state' 'printf x | dd of=state bs=1 seek=1000 conv=notrunc status=none'
tampered 'a memory file of the wrong size' 'memory' 'truncate -s -4096 memory'
tampered 'no manifest' 'manifest' 'rm manifest.json'
rm -rf "$conf" /run/bad-*
stencil_config >"$STENCIL_CONF"
works 'a container all the same, by cold boot' after -- true
system_end
