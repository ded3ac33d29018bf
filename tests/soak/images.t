#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ten guests that each read an image of 200 MB whole have its pages once on the host, and none of their own;
# and of two hundred pods that had it nothing is left. PODS=10 IMAGE_MIB=200 CYCLES=200.
export WORLD_IMAGES=true
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
pods=${PODS:-10} mib=${IMAGE_MIB:-200} cycles=${CYCLES:-200} workers=8
IMAGE=stencil.example/large:1

image_import_large()
{
	local work=$WORLD_DIR/large

	image_rootfs "$work/rootfs" "$STENCIL_PROBE" && mkdir "$work/rootfs/large" || return 1
	for ((i = 0; i < 8; i++)); do
		head -c $((mib << 17)) /dev/urandom >"$work/rootfs/large/$i" || return 1
	done
	image_tar "$work/rootfs" "$work/layer" && image_pack "$work/image.tar" "$IMAGE" "$work/layer" &&
		image_import "$work/image.tar" && rm -r "$work"
}
image_import_large || bail 'no image'
system_template

# One first, whose image is made behind it.
watch=$WORLD_DIR/watch
templatectl --config "$STENCIL_CONF" watch >"$watch" &
watch_pid=$!
works 'the first container of the image' first -- true
wait_line "$watch" "$watch_pid" image-made
ok $? 'the image is made'
kill "$watch_pid"
wait "$watch_pid"
image=$(find "$WORLD_DIR/images" -name '*.erofs')
less $((mib << 10)) "$(($(stat -c %s "$image") >> 10))" 'KiB are in what was made'

# ---- ten readers -------------------------------------------------------------------------------

# What is in the host's page cache of it, in KiB.
resident_kib()
{
	echo $(($(fincore --bytes --noheadings --output RES "$image") >> 10))
}

# Kibibytes of page cache that a guest has more for reading all of it.
read_all() # POD
{
	in_container "pod$1" sh -c 'cached() { awk "\$1 == \"Cached:\" { print \$2 }" /proc/meminfo; }
		a=$(cached); cat /large/* | wc -c; b=$(cached); echo $((b - a))' | tr -d '\r' | paste -sd ' '
}

for ((i = 0; i < pods; i++)); do
	capture container_detached "pod$i" -- tail -f /dev/null
	done_well $? "pod $((i + 1)) of $pods"
	qemu[i]=$(qemu_pid "pod$i")
	own[i]=$(smaps_kib "${qemu[i]}" '' '^Anonymous:')
done
for ((i = 0; i < pods; i++)); do
	read -r bytes kib <<<"$(read_all "$i")"
	is "$bytes" $((mib << 20)) "guest $i reads all of it"
	less "${kib:-999999}" 10240 "guest $i: KiB of page cache of its own for that"
done
# Of each page every process that has it mapped counts its share.
pss=0 grown=0
for ((i = 0; i < pods; i++)); do
	pss=$((pss + $(smaps_kib "${qemu[i]}" '\.erofs' '^Pss:')))
	grown=$((grown + $(smaps_kib "${qemu[i]}" '' '^Anonymous:') - own[i]))
done
between "$pss" $((mib << 10)) $(((mib << 10) + 16384)) "KiB of the image are mapped by all $pods together"
between "$(resident_kib)" $((mib << 10)) $(((mib << 10) + 16384)) 'KiB of it are in the memory of the host'
less $((grown / pods)) 10240 'KiB more memory of its own has each QEMU'
diag "$pods guests, image of $mib MiB: all have $pss KiB of it mapped; each QEMU has" \
	"$((grown / pods)) KiB more of its own than before it was read"
for ((i = 0; i < pods; i++)); do
	container_remove "pod$i"
	ok $? "pod $((i + 1)) is removed"
done

# ---- two hundred, eight at a time ----------------------------------------------------------------

look()
{
	echo "mounts: $(awk '{ print $5 }' /proc/self/mountinfo | sort)"
	echo "store: $(find "$WORLD_DIR/images" -mindepth 1 | sort)"
	echo "state: $(find /run/stencil/sandboxes -mindepth 1 ! -name '.*' | sort)"
	echo "cgroups: $(cgroups_matching ".*/$WORLD/[0-9]+")"
	echo "users: $(templatectl --config "$STENCIL_CONF" images --json | grep -o '"users": *[0-9]*')"
	echo "templated: $(find "/proc/$TEMPLATED_PID/fd" -mindepth 1 | wc -l) descriptors"
}

work() # WORKER
{
	local i

	for ((i = $1; i < cycles; i += workers)); do
		container "cycle$i" -- sh -c "head -c 100 /large/0 | wc -c; echo x >/large/new" || return 1
	done
}

pods_gone 'no pod is left'
before=$(look)
workers_start work "$workers"
workers_end work worker
is "$(cat "$WORLD_DIR"/work* | tr -d '\r' | grep -cx 100)" "$cycles" "$cycles pods have read it"
pods_gone 'and are gone'
is "$(look)" "$before" 'with their mounts, folders, cgroups and uses of the image'
system_end
