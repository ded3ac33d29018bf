#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who watches a volume by inotify hears of what others change in it: the host, and another pod.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
. "${BASH_SOURCE[0]%/*}/../lib/talk.sh"
system_template
volume=$WORLD_DIR/volume single=$WORLD_DIR/single memory=$WORLD_DIR/memory
mkdir -p "$volume"/{watched/below,many} "$WORLD_DIR/readonly" "$memory"
mount --no-mtab -t tmpfs -o size=1m,mode=755 memory "$memory"
memory_end()
{
	[ -n "$memory" ] || return 0
	umount --no-mtab "$memory" && memory=
}
at_exit memory_end
echo single >"$single"
binds=(--mount "type=bind,src=$volume,dst=/v,options=rbind:rw"
	--mount "type=bind,src=$single,dst=/single,options=rbind:rw"
	--mount "type=bind,src=$WORLD_DIR/readonly,dst=/ro,options=rbind:ro"
	--mount "type=bind,src=$memory,dst=/memory,options=rbind:rw")

# The next events, separated by ", "; one that is there twice counts once, as inotify itself has it.
TOLD=
told() # WATCHER WANTED WHAT
{
	local seen='' line wanted=", $2"

	while [ "${#seen}" -lt "${#wanted}" ]; do
		line=$(answer "$1")
		[ "$line" != "$TOLD" ] || continue
		TOLD=$line
		seen+=", $line"
		[ "$line" != silence ] || break
	done
	is "${seen#, }" "$2" "$3"
}

for pod in one two; do
	capture container_detached "$pod" "${binds[@]}" -- sh -c 'tail -f /dev/null'
	ok $? "pod $pod" || bail "$(tail -n 5 "$ERR")"
done

# ---- each kind of event -------------------------------------------------------------------------

d=$volume/watched
talk_start one in_container one files_probe watch /v/watched /v/watched/below
told one watching 'a pod watches folders of a volume'
touch "$d/new"
told one '1 CREATE new, 1 ATTRIB new, 1 CLOSE_WRITE new' 'the host makes a file'
printf more >>"$d/new"
told one '1 MODIFY new, 1 CLOSE_WRITE new' 'writes to it'
chmod 600 "$d/new"
told one '1 ATTRIB new' 'changes its mode'
mv "$d/new" "$d/moved"
told one '1 MOVED_FROM new, 1 MOVED_TO moved' 'moves it'
mv "$d/moved" "$d/below/deep"
told one '1 MOVED_FROM moved, 2 MOVED_TO deep' 'into another folder'
mv "$d/below/deep" "$volume/away"
told one '2 MOVED_FROM deep' 'out of what is watched'
mv "$volume/away" "$d/back"
told one '1 MOVED_TO back' 'and back'
rm "$d/back"
told one '1 DELETE back' 'removes it'
mkdir "$d/folder"
told one '1 CREATE/ folder' 'makes a folder'
ln -s nowhere "$d/link"
told one '1 CREATE link' 'a symbolic link'
mkfifo "$d/fifo"
told one '1 CREATE fifo' 'a FIFO'
rmdir "$d/folder"
told one '1 DELETE/ folder' 'and removes the folder'
rmdir "$d/below"
told one '2 DELETE_SELF, 2 IGNORED, 1 DELETE/ below' 'one that is watched itself'
is "$(stat -c %s "$d/link") $(ls -A "$d" | paste -sd ' ')" '7 fifo link' 'on the host is what the host has made'
is "$(in_container one ls -A /v/watched | paste -sd ' ')" 'fifo link' 'and in the pod the same'

# ---- another pod, and the pod itself ------------------------------------------------------------

in_container two sh -c 'echo text >/v/watched/theirs'
told one '1 CREATE theirs, 1 MODIFY theirs, 1 CLOSE_WRITE theirs' 'another pod writes'
in_container two rm /v/watched/theirs
told one '1 DELETE theirs' 'and removes'
in_container one sh -c 'mkdir /v/watched/own && rmdir /v/watched/own'
told one '1 CREATE/ own, 1 DELETE/ own' 'what the pod does itself it hears of'
mkdir "$d/last"
told one '1 CREATE/ last' 'once'
talk_end one

# ---- as programs use it -------------------------------------------------------------------------

map=$volume/map
mkdir -p "$map/..1"
echo one >"$map/..1/key"
ln -s ..1 "$map/..data"
ln -s ..data/key "$map/key"
talk_start one in_container one files_probe watch /v/map /v/map/key
told one watching 'a pod watches a ConfigMap'
mkdir "$map/..2"
told one '1 CREATE/ ..2' 'which is written anew'
echo two >"$map/..2/key"
ln -s ..2 "$map/..data_tmp"
told one '1 CREATE ..data_tmp' 'the link'
mv -T "$map/..data_tmp" "$map/..data"
told one '1 MOVED_FROM ..data_tmp, 1 MOVED_TO ..data' 'takes its place'
is "$(in_container one cat /v/map/key)" two 'and the pod reads the new value'
rm -r "$map/..1"
told one '2 ATTRIB, 2 DELETE_SELF, 2 IGNORED, 1 DELETE/ ..1' 'the old one goes, with the file that was watched'
talk_end one

log=$volume/log
echo first >"$log"
talk_start one in_container one files_probe watch /v/log
told one watching 'a pod watches a log'
echo second >>"$log"
told one '1 MODIFY, 1 CLOSE_WRITE' 'that grows'
mv "$log" "$log.1"
told one '1 MOVE_SELF' 'is rotated'
echo third >>"$log.1"
told one '1 MODIFY, 1 CLOSE_WRITE' 'goes on under its other name'
rm "$log.1"
told one '1 ATTRIB, 1 DELETE_SELF, 1 IGNORED' 'and is removed'
talk_end one

talk_start one in_container one files_probe watch /ro /single /memory
told one watching 'a pod watches a read-only volume, a file and a tmpfs'
touch "$WORLD_DIR/readonly/new"
told one '1 CREATE new, 1 ATTRIB new, 1 CLOSE_WRITE new' 'read-only for the pod, not for the host'
rm "$WORLD_DIR/readonly/new"
told one '1 DELETE new' 'who removes it'
in_container one touch /ro/mine 2>/dev/null
ok $((! $?)) 'the pod cannot write there'
echo more >>"$single"
told one '2 MODIFY, 2 CLOSE_WRITE' 'a volume that is one file'
mkdir "$memory/new"
told one '3 CREATE/ new' 'a tmpfs of the host'
talk_end one

# ---- many at once -------------------------------------------------------------------------------

many=2000
talk_start one in_container one files_probe watch +/v/many
told one watching 'a pod watches while many files are made'
(cd "$volume/many" && seq "$many" | xargs touch)
touch "$volume/many/last"
made=0 line=
while [ "$line" != '1 CREATE last' ] && [ "$line" != silence ]; do
	line=$(answer one)
	made=$((made + 1))
done
is "$made" $((many + 1)) "each of $many and one is told once"
talk_end one

for pod in one two; do
	capture container_remove "$pod"
	ok $? "pod $pod is removed" || diag "$(cat "$ERR")"
done
memory_end
system_end
