#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Block devices of the host in a container: its own numbers, its own rights, and given back afterwards.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

# A loop device of a file, which goes when nobody has it open any more, however this script ends.
loop_make() # FILE [OPTION...]: its path is in $LOOP, what holds it in $LOOP_FD
{
	local file=$1

	shift
	LOOP=$(losetup --find --show "$@" "$file") && exec {LOOP_FD}<"$LOOP" && losetup --detach "$LOOP"
}
# Prints the files of this test that are behind a loop device.
loops()
{
	losetup --list --noheadings --output BACK-FILE | grep -F "$WORLD_DIR/" | sort
}
# Block devices that the container's guest has by hot-plug.
disks_of() # ID
{
	in_container "$1" sh -c 'ls /sys/block | grep -c "^vd"'
}

for name in data readonly; do
	truncate -s 8M "$WORLD_DIR/$name"
	echo "from the host, $name" | dd of="$WORLD_DIR/$name" conv=notrunc status=none
done
if ! loop_make "$WORLD_DIR/data" 2>"$ERR"; then
	skip 'block devices' "no loop device can be had: $(tail -n 1 "$ERR")"
	system_end
	exit
fi
data=$LOOP data_fd=$LOOP_FD
loop_make "$WORLD_DIR/readonly" --read-only --sector-size 4096
readonly=$LOOP readonly_fd=$LOOP_FD

# ---- a container's devices ----------------------------------------------------------------------

capture container_detached one --device "$data" --device "$readonly" -- tail -f /dev/null
done_well $? 'a container with two block devices'
is "$(in_container one head -n 1 "$data")" 'from the host, data' 'reads one'
is "$(in_container one head -n 1 "$readonly")" 'from the host, readonly' 'reads the other'
is "$(in_container one sh -c "wc -c <$data" | tr -d ' ')" 8388608 'has its size'
is "$(in_container one stat -c '%F %a' "$data")" "block special file $(stat -c %a "$data")" \
	'its mode is the one on the host'
isnt "$(in_container one stat -c %t "$data")" "$(stat -c %t "$data")" "its numbers are the guest's"
sectors()
{
	in_container one sh -c "stat -c '%t %T' $1 | (read -r a b; cat /sys/dev/block/\$((0x\$a)):\$((0x\$b))/queue/$2_block_size)"
}
is "$(sectors "$data" logical) $(sectors "$readonly" logical)" '512 4096' 'have the sectors of the host'
modes= # of QEMU's descriptors of it; O_RDONLY is 0
for fd in /proc/"$(qemu_pid one)"/fd/*; do
	[ "$(stat -L -c %t:%T "$fd" 2>/dev/null)" != "$(stat -c %t:%T "$readonly")" ] ||
		modes+=$(awk '$1 == "flags:" { print substr($2, length($2)) }' "${fd/\/fd\//\/fdinfo\/}")
done
# A wall's proof: docs/security.md.
is "${modes//0/}${modes:+reads}" reads 'QEMU has the read-only one open for reading alone'
capture in_container one sh -c "echo from the guest | dd of=$data bs=4k seek=1 conv=notrunc,fsync"
done_well $? 'writes to one'
is "$(dd if="$data" bs=4k skip=1 count=1 status=none iflag=direct | head -n 1)" 'from the guest' \
	'what is synced is on the host'
capture in_container one sh -c "echo x | dd of=$readonly bs=512 conv=notrunc,fsync"
ok $((! $?)) 'the read-only one takes no write'
capture in_container one sh -c "mknod /other b 254 200 && head -c 1 /other"
like "$(cat "$ERR")" 'not permitted' 'other devices can not be opened'
capture in_container one sh -c "echo not synced | dd of=$data bs=4k seek=2 conv=notrunc"
done_well $? 'writes without a sync'
capture container_remove one
done_well $? 'can be removed'
is "$(dd if="$data" bs=4k skip=2 count=1 status=none | head -n 1)" 'not synced' \
	'what was not synced is on the host then, too'

# ---- who gets none ------------------------------------------------------------------------------

capture container_detached all --privileged -- tail -f /dev/null
done_well $? 'a privileged container'
# A wall's proof: docs/security.md.
is "$(disks_of all)" 0 "gets none of the host's disks"
capture container_remove all

# ---- the end ------------------------------------------------------------------------------------

is "$(loops)" "$WORLD_DIR/data"$'\n'"$WORLD_DIR/readonly" 'the devices are still there'
exec {data_fd}<&- {readonly_fd}<&-
is "$(loops)" '' 'nobody else has them open'
system_end
