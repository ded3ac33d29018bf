#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A container's files are as the host's own: the same program tries both, and says the same.
#
# The reference of a volume is a folder beside it, that of the root file system is containerd's snapshot of
# the same image, which this world mounts as runc's would be. Two pods and the host share one volume.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
. "${BASH_SOURCE[0]%/*}/../lib/talk.sh"
system_template
volume=$WORLD_DIR/volume ref=$WORLD_DIR/reference root=/run/reference
mkdir -p "$volume" "$ref" "$root" "$WORLD_DIR"/{readonly,readonly-reference}/folder \
	"$WORLD_DIR"/{full,full-reference}
echo text | tee "$WORLD_DIR/readonly/file" >"$WORLD_DIR/readonly-reference/file"
small=("$WORLD_DIR/full" "$WORLD_DIR/full-reference")
for full in "${small[@]}"; do
	mount --no-mtab -t tmpfs -o size=4m,mode=755 full "$full"
done
small_end()
{
	[ "${#small[@]}" != 0 ] || return 0
	umount --no-mtab "${small[@]}" && small=()
}
at_exit small_end
single=$WORLD_DIR/single
echo single >"$single"
binds=(--mount "type=bind,src=$volume,dst=/v,options=rbind:rw"
	--mount "type=bind,src=$single,dst=/single,options=rbind:rw"
	--mount "type=bind,src=$WORLD_DIR/readonly,dst=/ro,options=rbind:ro"
	--mount "type=bind,src=$WORLD_DIR/full,dst=/full,options=rbind:rw")

# Containerd's own mount of the image; the options are those that a container gets.
reference_mount()
{
	local image

	image=$(ctr snapshot ls | awk 'NR > 1 && $NF == "Committed" { print $1; exit }')
	ctr snapshot prepare reference "$image" >/dev/null &&
		eval "$(ctr snapshot mounts "$root" reference | sed 's/^mount/& --no-mtab/')"
}
reference_end()
{
	[ -n "$root" ] || return 0
	umount --no-mtab "$root" && rmdir "$root" && ctr snapshot rm reference && root=
}
reference_mount || bail 'the reference of the root file system'
at_exit reference_end

# What ctr gives a container, so that the host's program may no more.
caps=chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service
caps=+${caps//,/,+},+sys_chroot,+kill,+audit_write
on_host() # MODE [ARGUMENT...]
{
	timeout "$WAIT_SECONDS" setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$caps" -- \
		"$STENCIL_FILES_PROBE" "$@"
}

# Linux asks a FUSE server for O_TMPFILE since 6.2, for a birth time since 6.6.
too_old() # VERSION
{
	[ "$(printf '%s\n' "$1" "$kernel" | sort -V | head -n 1)" != "$1" ]
}
without()
{
	local drop='^$'

	! too_old 6.2 || drop+='|^tmpfile/'
	! too_old 6.6 || drop+='|^birth/'
	# A host's tmpfs has O_DIRECT since 6.6; a container may have it before.
	grep -qE '^direct/open: EINVAL' "$out.host" && drop+='|^direct/'
	grep -vE "$drop" "$1"
}

# The program says in the container what it says on the host.
same() # NAME MODE CONTAINER-DIR HOST-DIR [ARGUMENT...]
{
	local name=$1 mode=$2 inside=$3 host=$4 out=$WORLD_DIR/same

	shift 4
	on_host "$mode" "$host" "$@" >"$out.host" 2>&1
	in_container one files_probe "$mode" "$inside" "$@" >"$out.inside" 2>&1
	without "$out.host" >"$out.wanted"
	without "$out.inside" >"$out.saw"
	diff -U0 "$out.wanted" "$out.saw" | grep '^[-+][^-+]' >"$out.diff"
	[ -s "$out.wanted" ] && ! [ -s "$out.diff" ]
	ok $? "$name: $(wc -l <"$out.wanted") lines as on the host" ||
		diag "$(grep -c '^+' "$out.diff") lines differ; - the host, + the container"$'\n'"$(cat "$out.diff")"
}

capture container_detached one "${binds[@]}" -- sh -c 'tail -f /dev/null'
ok $? 'a pod with volumes' || bail "$(tail -n 5 "$ERR")"
kernel=$(in_container one uname -r)
! too_old 6.2 || skip 'O_TMPFILE' "the guest's kernel $kernel does not ask for it"
! too_old 6.6 || skip 'birth times' "the guest's kernel $kernel does not ask for them"

# ---- semantics ----------------------------------------------------------------------------------

in_container one mkdir /files
mkdir "$root/files"
same 'root file system' semantics /files "$root/files"
same 'volume' semantics /v "$ref"
same "an image's files" lower / "$root"
same 'a full file system' full /full "$WORLD_DIR/full-reference"
mount --no-mtab --bind "$WORLD_DIR/readonly-reference" "$WORLD_DIR/readonly-reference"
mount --no-mtab -o remount,bind,ro "$WORLD_DIR/readonly-reference"
same 'a read-only volume' readonly /ro "$WORLD_DIR/readonly-reference"
umount --no-mtab "$WORLD_DIR/readonly-reference"

# ---- torture ------------------------------------------------------------------------------------

for seed in 1 2; do
	same "root file system, random changes $seed" fsx /files "$root/files" "$seed" 1500
	same "volume, random changes $seed" fsx /v "$ref" "$seed" 1500
done
same 'root file system, four processes' stress /files "$root/files" 1 150 4
same 'volume, four processes' stress /v "$ref" 1 150 4
same 'root file system, stores and writes' shared /files/shared "$root/files/shared" both 1
same 'volume, stores and writes' shared /v/shared "$ref/shared" both 1

# ---- between two pods and the host --------------------------------------------------------------

# What a volume of each kind of propagation shows; runc's have it all the same.
later=$WORLD_DIR/later
mkdir -p "$later"/{disk,before}
mount --no-mtab -t tmpfs -o size=1m later "$later/before"
small+=("$later/before")
touch "$later/before/there"
kinds=(rslave rshared rprivate plain)
later_binds=()
for kind in "${kinds[@]}"; do
	later_binds+=(--mount "type=bind,src=$later,dst=/$kind,options=rbind:rw${kind/#/:}")
done
later_binds=("${later_binds[@]//:plain/}")
seen_in_two() # PATH: what each volume has of it
{
	in_container two sh -c "for kind in ${kinds[*]}; do ls /\$kind/$1 2>/dev/null; done | paste -sd ' '"
}
# The guest hears of it a moment later.
seen_soon() # PATH WANTED NAME
{
	local seen try

	for ((try = 0; try < 50; try++)); do
		seen=$(seen_in_two "$1")
		[ "$seen" != "$2" ] || break
	done
	is "$seen" "$2" "$3"
}

capture container_detached two "${binds[@]}" "${later_binds[@]}" -- sh -c 'tail -f /dev/null'
ok $? 'another pod with the same volumes' || bail "$(tail -n 5 "$ERR")"

is "$(seen_in_two before)" 'there there there there' 'what the host has mounted in volumes'
mount --no-mtab -t tmpfs -o size=1m later "$later/disk"
touch "$later/disk/new"
seen_soon disk 'new new new' 'what it mounts later shows but where that is private'
capture umount --no-mtab "$later/disk"
done_well $? 'it unmounts what was looked at'
seen_soon disk '' 'which the pod sees'

locks() # KIND
{
	local kind=$1

	talk_start one in_container one files_probe locks "/v/locks.$kind" "$kind"
	talk_start two in_container two files_probe locks "/v/locks.$kind" "$kind"
	talk_start host on_host locks "$volume/locks.$kind" "$kind"
	ask one 'try write 0 10' ok "$kind: a pod locks"
	ask two 'try write 0 10' EAGAIN "$kind: another pod cannot"
	ask host 'try read 5 1' EAGAIN "$kind: nor can the host"
	if [ "$kind" != flock ]; then
		ask two 'who write 0 0' 'write 0 10' "$kind: it sees by what"
		ask host 'who read 0 0' 'write 0 10' "$kind: so does the host"
		ask host 'try write 20 10' ok "$kind: the host locks beside it"
		ask one 'try read 25 0' EAGAIN "$kind: which the pod cannot"
		ask one 'who read 12 0' 'write 20 10' "$kind: and sees by what"
	fi
	ask two 'wait write 0 10' waits "$kind: the other pod waits"
	ask one 'unlock 0 10' ok "$kind: the first unlocks"
	is "$(answer two)" ok "$kind: the other has it"
	ask one 'try write 0 10' EAGAIN "$kind: the first cannot any more"
	ask host 'try write 0 10' EAGAIN "$kind: nor can the host"
	ask two close ok "$kind: the other closes"
	ask host 'try write 0 10' ok "$kind: which releases"
	ask one 'wait read 0 10' waits "$kind: a pod waits for the host"
	talk_end host
	is "$(answer one)" ok "$kind: whose end releases"
	ask two 'try read 0 10' ok "$kind: readers share"
	ask two 'try write 0 10' EAGAIN "$kind: a reader is in a writer's way"
	talk_end one
	ask two 'try write 0 10' ok "$kind: the end of a process in a pod releases"
	talk_end two
}
for kind in posix ofd flock; do
	locks "$kind"
done

# Even pages are a pod's, odd ones the host's, and the other pod looks on; both write at once.
rounds=8
talk_start one in_container one files_probe shared /v/pages even 7
talk_start two in_container two files_probe shared /v/pages even 7
talk_start host on_host shared "$volume/pages" odd 7
wrong=
for ((round = 1; round <= rounds; round++)); do
	say one "write $round"
	say host "write $round"
	seen="$(answer one) $(answer host)"
	for who in one two host; do
		say "$who" "verify $round"
	done
	seen+=" $(answer one), $(answer two), $(answer host)"
	[ "$seen" = 'done done ok, ok, ok' ] || { wrong="round $round: $seen"; break; }
done
is "$wrong" '' "shared pages: a pod and the host write at once, $rounds rounds"
for who in one two host; do
	talk_end "$who"
done

# ---- what the host changes is seen at once ------------------------------------------------------

# Each line is a command of the pod's shell, each answer what that says, without a moment between.
talk_start shell in_container one sh -c 'while read -r line; do eval "$line"; done'
# As a kubelet writes a ConfigMap: a folder beside the old one, then a link in its place.
map=$volume/map
mkdir -p "$map"
ln -s ..data/key "$map/key"
map_write() # ROUND
{
	mkdir "$map/..$1"
	echo "value $1" >"$map/..$1/key"
	ln -s "..$1" "$map/..data_tmp"
	mv -T "$map/..data_tmp" "$map/..data"
	[ "$1" = 0 ] || rm -r "$map/..$(($1 - 1))"
}
map_write 0
wrong=
for ((round = 0; round <= 20; round++)); do
	[ "$round" = 0 ] || map_write "$round"
	say shell 'cat /v/map/key; echo /v/map/..[0-9]*; readlink /v/map/..data'
	seen="$(answer shell), $(answer shell), $(answer shell)"
	[ "$seen" = "value $round, /v/map/..$round, ..$round" ] || { wrong="round $round: $seen"; break; }
done
is "$wrong" '' 'a ConfigMap that is swapped: value, folders and link, 20 times'

# What has another length has another content, whatever the clock's tick.
wrong=
for ((round = 1; round <= 20; round++)); do
	printf '%*s\n' "$round" x >"$single"
	say shell 'wc -c </single; stat -c %s /single; tail -c 2 /single'
	seen="$(answer shell), $(answer shell), $(answer shell)"
	[ "$seen" = "$((round + 1)), $((round + 1)), x" ] || { wrong="round $round: $seen"; break; }
done
is "$wrong" '' 'a volume of a single file that is written in place, 20 times'
echo another >"$WORLD_DIR/renamed"
mv "$WORLD_DIR/renamed" "$single"
ask shell 'tail -c 2 /single' x 'one that is replaced stays what it was, as a bind mount does'

log=$volume/log
echo first >"$log"
ask shell 'exec 3</v/log; read -r line <&3; echo $line' first 'a log is read'
mv "$log" "$log.1"
echo late >>"$log.1"
echo fresh >"$log"
ask shell 'read -r line <&3; echo $line' late 'rotated: who has it open reads on in the old one'
ask shell 'cat /v/log; [ /v/log -ef /v/log.1 ] && echo same' fresh 'and by its name there is the new one'
ask shell '[ /v/log -ef /proc/$$/fd/3 ] || echo other' other 'which a program can tell'
cp "$log" "$log.2"
: >"$log"
ask shell 'stat -c %s /v/log' 0 'copied and truncated: it is empty'
echo again >>"$log"
ask shell 'cat /v/log' again 'and what comes is read'

ask shell '[ -e /v/comes ] || echo missing' missing 'a name that is not there'
echo here >"$volume/comes"
ask shell 'cat /v/comes' here 'comes'
chmod 600 "$volume/comes"
ask shell 'stat -c %a /v/comes' 600 'changes its mode'
rm "$volume/comes"
ask shell '[ -e /v/comes ] || echo missing' missing 'and goes'
talk_end shell

# A pod that is killed leaves no lock.
talk_start killed container killed "${binds[@]}" -- files_probe locks /v/locks.killed posix
talk_start host on_host locks "$volume/locks.killed" posix
ask killed 'try write 0 0' ok 'a pod locks'
ask host 'wait write 0 0' waits 'the host waits'
ctr task kill --signal KILL "$WORLD-killed"
is "$(answer host)" ok 'the pod is killed, the host has the lock'
talk_end killed
talk_end host

# ---- how long it takes --------------------------------------------------------------------------

on_host times 0 "$volume"
for where in host one; do
	diag "milliseconds, volume, $where:" "$(
		if [ "$where" = host ]; then on_host times 1 "$volume"; else in_container one files_probe times 1 /v; fi |
			paste -sd ' ')"
done
for pod in one two; do
	capture container_remove "$pod"
	ok $? "pod $pod is removed" || diag "$(cat "$ERR")"
done
reference_end
ok $? 'the reference is removed'
small_end
system_end
