#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Root file systems of images: the guest's overlay of an EROFS image and containerd's own upper leaves
# what runc's leaves, the image's pages are the host's, and what has no image goes on without.
export WORLD_IMAGES=true
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
IMAGE=stencil.example/layers:1

# ---- an image with what layers can have -----------------------------------------------------------

# The lower one's files, some of which the upper one takes away, changes or hides.
layers_make() # FOLDER
{
	local a=$1/a b=$1/b

	image_rootfs "$a" "$STENCIL_PROBE" "$STENCIL_FILES_PROBE"
	mkdir -p "$a"/d/{sub,opaque,gone} "$b"/d/opaque "$b/d/added"
	echo one >"$a/d/file"
	echo two >"$a/d/changed"
	echo 'changed by the upper layer' >"$b/d/changed"
	echo gone | tee "$a/d/gone/file" >"$a/d/removed"
	echo hidden | tee "$a/d/opaque/one" >"$a/d/opaque/two"
	echo shown >"$b/d/opaque/three"
	: >"$b/d/.wh.removed"
	: >"$b/d/.wh.gone"
	: >"$b/d/opaque/.wh..wh..opq"
	ln "$a/d/file" "$a/d/sub/hard"
	ln -s ../file "$a/d/sub/soft"
	mkfifo -m 640 "$a/d/fifo"
	mknod -m 600 "$a/d/null" c 1 3
	install -m 4755 "$a/bin/busybox" "$a/d/setuid"
	install -m 755 "$a/bin/busybox" "$a/d/capable"
	install -m 6755 "$a/bin/busybox" "$a/d/owned"
	# cap_net_raw=ep, of version 2.
	perl -e 'syscall(188, $ARGV[0], my $name = "security.capability", my $value = pack("L5", 0x2000001, 1 << 13, 0, 0, 0), 20, 0)
		and die "setxattr: $!\n"' "$a/d/capable"
	truncate -s 20M "$a/d/sparse"
	head -c 8M /dev/urandom >"$a/d/large"
}

layers_import()
{
	local work=$WORLD_DIR/layers n

	layers_make "$work" && for n in a b; do
		tar --create --format=posix --xattrs --xattrs-include='*' --sort=name --mtime=@0 --owner=0 \
			--group=0 --numeric-owner --directory="$work/$n" --file="$work/$n.tar" . || return 1
	done && image_pack "$work/image.tar" "$IMAGE" "$work/a.tar" "$work/b.tar" && image_import "$work/image.tar"
}
layers_import || bail 'an image of two layers'

# What a tree is, a line for each file: attributes with their values, but for overlay's uuid and its
# origin, which names a file of the layer below by what its own file system calls it. The name of the
# node that whiteouts are links of is a number.
tree_list() # FOLDER
{
	perl -MFile::Find -MFcntl=:mode -MDigest::SHA -e '
		no warnings "File::Find";
		chdir $ARGV[0] or die;
		sub xattrs {
			my $list = "\0" x 4096;
			my ($path) = @_;
			my $n = syscall(195, $path, $list, 4096); # llistxattr(2)
			return map {
				my $value = "\0" x 4096;
				my $len = syscall(192, $path, $_, $value, 4096);
				$_ . (/origin$|uuid$/ ? "" : "=" . unpack("H*", substr($value, 0, $len)));
			} sort grep { length } split /\0/, substr($list, 0, $n > 0 ? $n : 0);
		}
		find({no_chdir => 1, preprocess => sub { sort @_ }, wanted => sub {
			my @s = lstat $_ or die "$_: $!";
			my $more = S_ISLNK($s[2]) ? readlink $_ : S_ISREG($s[2])
				? "$s[7] " . Digest::SHA->new(256)->addfile($_)->hexdigest : "";
			s/#[0-9a-f]+$/#N/ for my $name = $_;
			printf "%s %o %d:%d rdev=%d%s %s [%s]\n", $name, $s[2], $s[4], $s[5], $s[6],
				S_ISDIR($s[2]) ? "" : " links=$s[3]", $more, join " ", xattrs($_);
		}}, ".");' "$1"
}

# ---- templated, and an image that is being made ---------------------------------------------------

system_template
watch=$WORLD_DIR/watch
templatectl --config "$STENCIL_CONF" watch >"$watch" &
watch_pid=$!
watch_end()
{
	[ -z "$watch_pid" ] || { kill "$watch_pid"; wait "$watch_pid"; }
	watch_pid=
	return 0
}
at_exit watch_end

root_mount() # what /proc/mounts says of /, in $OUT
{
	awk '$2 == "/" { print $1, $3 }' "$OUT"
}
lower_says='cd /d; ls -R .; cat file changed opaque/three sub/soft; stat -c "%n %a %h %t:%T" file sub/hard fifo null setuid capable owned;
	sha256sum large; getfattr -n security.capability capable 2>/dev/null; wc -c <sparse'
works 'the first container of an image' first -- cat /proc/mounts
is "$(root_mount)" 'stencil fuse.stencil' 'has its root file system from the host'
wait_line "$watch" "$watch_pid" image-made
ok $? 'the image is made meanwhile'
works 'the second one' second -- cat /proc/mounts
is "$(root_mount)" 'overlay overlay' 'has an overlay of the image'
unlike "$(cat "$CONTAINERD_LOG")" 'page cache|does without its image' 'which the guest maps'
like "$(trace_value "$WORLD-second" image)" '^[0-9.]+$' 'the trace has its phase'

# ---- what is in it, and what becomes of it --------------------------------------------------------

capture container_detached one -- tail -f /dev/null
ok $? 'a container that runs on' || bail "$(cat "$ERR")"
like "$(grep erofs "/proc/$(qemu_pid one)/maps")" 'r--s .*/[0-9a-f]{64}\.erofs' 'QEMU maps the image, read-only'
like "$(templatectl --config "$STENCIL_CONF" images --json)" '"users": *1\b' 'which counts as used'

reference=/run/reference
mkdir "$reference"
reference_end()
{
	[ ! -d "$reference" ] || { umount --no-mtab "$reference" && rmdir "$reference" && ctr snapshot rm reference; }
}
# The topmost of the committed ones is nobody's parent.
chain=$(ctr snapshot ls | awk 'NR > 1 && $NF == "Committed" { all[$1]; parent[$2] }
	END { for (key in all) if (!(key in parent) || 0) print key }' | while read -r key; do
	ctr snapshot info "$key" | grep -q '"Parent": "sha256' && echo "$key"; done | head -n 1)
ctr snapshot prepare reference "$chain" >/dev/null &&
	eval "$(ctr snapshot mounts "$reference" reference | sed 's/^mount/& --no-mtab/')"
ok $? "containerd's own mount of the same layers" || bail 'no reference'
at_exit reference_end
capture chroot "$reference" sh -c "$lower_says"
cp "$OUT" "$WORLD_DIR/wanted"
works 'the files of its layers' lower -- sh -c "$lower_says"
is "$(cat "$OUT")" "$(cat "$WORLD_DIR/wanted")" 'are as on the host'
unlike "$(cat "$OUT")" 'hidden|removed|gone' 'and none of those that the upper layer took away'
works 'one file system' xdev -- sh -c 'find / -xdev -type f ! -path "/proc/*" -exec stat -c %d {} + | sort -u | wc -l; stat -c %d / /d/file | uniq | wc -l'
is "$(tail -n 1 "$OUT")" 1 'has one device number'

caps=chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service
caps=+${caps//,/,+},+sys_chroot,+kill,+audit_write
same() # NAME MODE CONTAINER-DIR HOST-DIR [ARGUMENT...]
{
	local name=$1 mode=$2 inside=$3 host=$4 out=$WORLD_DIR/same drop='^$' kernel

	shift 4
	kernel=$(in_container one uname -r)
	# An overlay's upper layer has no O_TMPFILE, whatever the kernel; its set-id bits go as the guest's
	# FUSE likes, which keeps S_ISGID without an execute bit (6.1 and 6.12 do; other file systems did
	# before 6.2); and of an ACL that was just set the overlay knows the mode only later.
	drop+='|^tmpfile/|^acl/user: named, may read and write:|^setid/.* by a user: .766$'
	[ "$(printf '%s\n' 6.6 "$kernel" | sort -V | head -n 1)" = 6.6 ] || drop+='|^birth/'
	timeout "$WAIT_SECONDS" setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$caps" -- \
		"$STENCIL_FILES_PROBE" "$mode" "$host" "$@" 2>&1 | grep -vE "$drop" >"$out.host"
	in_container one files_probe "$mode" "$inside" "$@" 2>&1 | grep -vE "$drop" >"$out.inside"
	diff -U0 "$out.host" "$out.inside" | grep '^[-+][^-+]' >"$out.diff"
	[ -s "$out.host" ] && ! [ -s "$out.diff" ]
	ok $? "$name: $(wc -l <"$out.host") lines as on the host" ||
		diag "- the host, + the container"$'\n'"$(cat "$out.diff")"
}
in_container one mkdir /files
mkdir "$reference/files"
same 'files made in it' semantics /files "$reference/files"
same "the image's files, changed" lower / "$reference"
same 'random changes' fsx /files "$reference/files" 1 500

# The guest's overlay holds a file by the first of its names, also when that is another's.
works 'files that lose names' names -- sh -c 'cd /d; ln file b; rm file; cat b; echo new >file; cat file b
	for i in 1 2 3; do echo $i >x; ln x y$i; mv x z; cat y$i; done; mkdir x; cat y1 y2 y3; rmdir x; echo last >x
	echo old >a; ln a a.bak; echo new >a.new; mv a.new a; cat a a.bak; rm a.bak; cat a x y2 y3
	mkdir f; echo deep >f/a; ln f/a e; rm -r f; cat e; chmod 600 e; mv e g; cat g'
is "$(tr '\n' ' ' <"$OUT")" 'one new one 1 2 3 1 2 3 new old new last 2 3 deep deep ' 'are found by the others'

# ---- the upper layer, against runc's --------------------------------------------------------------

changes='cd /d || exit 1
	umask 022
	rm -r opaque sub/hard removed 2>/dev/null
	mkdir opaque && echo new >opaque/new
	rm -r sub && mkdir sub && echo again >sub/again
	mv file moved && echo more >>moved
	ln moved second && ln -s moved third
	chmod 700 capable && touch setuid && chown 3:4 owned
	rm null && mknod null c 1 5
	mkfifo pipe && mkdir -p deep/er/est
	touch -d "2001-02-03 04:05:06" fifo large
	echo x >>large
	mv added renamed 2>/dev/null || { cp -a added renamed && rm -r added; }
	echo 123 >.hidden && rm changed && echo file >changed
	rm sparse; mkdir sparse; sync'
upper_of() # CONTAINER
{
	ctr snapshot mounts /none "$1" | grep -o 'upperdir=[^, ]*' | cut -d= -f2
}
both()
{
	timeout "$WAIT_SECONDS" ctr run --runtime io.containerd.runc.v2 "$IMAGE" "$WORLD-runc" sh -c "$changes" &&
		timeout "$WAIT_SECONDS" ctr run --runtime "$RUNTIME" "$IMAGE" "$WORLD-ours" sh -c "$changes"
}
capture both
done_well $? 'the same changes under runc and in a guest'
isnt "$(trace_value "$WORLD-ours" image)" '' 'with the image'
tree_list "$(upper_of "$WORLD-runc")" >"$WORLD_DIR/runc.tree"
tree_list "$(upper_of "$WORLD-ours")" >"$WORLD_DIR/ours.tree"
like "$(cat "$WORLD_DIR/runc.tree")" 'trusted.overlay.opaque=79' 'runc leaves opaque folders'
# With xino=on the kernel marks each new folder in one that was there before: nothing is below those.
sed -i -E '/^\.\/d\/(deep|renamed) /s/trusted.overlay.opaque=79//' "$WORLD_DIR"/{runc,ours}.tree
is "$(cat "$WORLD_DIR/ours.tree")" "$(cat "$WORLD_DIR/runc.tree")" 'the upper layers are the same'
tree_list "$(upper_of "$WORLD-runc")/../work" >"$WORLD_DIR/runc.work"
is "$(tree_list "$(upper_of "$WORLD-ours")/../work")" "$(cat "$WORLD_DIR/runc.work")" 'and so are the work folders'
for who in runc ours; do
	ctr snapshot diff "$WORLD-$who" 2>/dev/null | gzip -dcf |
		tar --list --verbose --numeric-owner --full-time |
		sed -E 's/ 20[2-9][0-9]-[0-9-]+ [0-9:.]+ / now /' >"$WORLD_DIR/$who.diff"
done
like "$(cat "$WORLD_DIR/runc.diff")" '\.wh\.' "containerd's diff of runc's has whiteouts"
is "$(cat "$WORLD_DIR/ours.diff")" "$(cat "$WORLD_DIR/runc.diff")" 'its diff of ours is the same'

# ---- read-only views, pods ------------------------------------------------------------------------

works 'a read-only root' readonly --read-only -- sh -c 'cat /d/changed; ! echo >/d/x'
like "$(cat "$ERR")" 'Read-only' 'is one'
pod=(--annotation io.kubernetes.cri.container-type=container --annotation "io.kubernetes.cri.sandbox-id=$WORLD-pod")
capture container_detached pod --annotation io.kubernetes.cri.container-type=sandbox -- tail -f /dev/null
done_well $? 'a pod'
capture container_detached inpod "${pod[@]}" -- tail -f /dev/null
done_well $? 'and another container in it'
in_container pod sh -c 'echo one >/d/file'
in_container inpod sh -c 'echo two >/d/file'
is "$(in_container pod cat /d/file) $(in_container inpod cat /d/file)" 'one two' 'each has its own overlay'
is "$(grep -c 'r--s .*\.erofs' "/proc/$(qemu_pid pod)/maps")" 1 'of the image, which is plugged once'
container_remove inpod
is "$(in_container pod cat /d/file /d/opaque/three)" $'one\nshown' 'the first goes on when the second has gone'
container_remove pod

# ---- ten guests, one page cache -------------------------------------------------------------------

many=(0 1 2 3 4 5 6 7)
for i in "${many[@]}"; do
	container_detached "many$i" -- tail -f /dev/null
done
pss=0
for i in "${many[@]}"; do
	saw=$(in_container "many$i" sh -c 'cached() { awk "\$1 == \"Cached:\" { print \$2 }" /proc/meminfo; }
		a=$(cached); cat /d/large >/dev/null; b=$(cached); echo $((b - a))')
	less "${saw:-999999}" 1024 "guest $i: KiB of page cache for reading 8 MiB of the image"
done
for i in "${many[@]}"; do
	pss=$((pss + $(smaps_kib "$(qemu_pid "many$i")" '\.erofs' '^Pss:')))
done
between "$pss" 8192 16384 "KiB of the host's that all of them have of it together"
for i in "${many[@]}"; do
	container_remove "many$i"
done
container_remove one
is "$(templatectl --config "$STENCIL_CONF" images --json | grep -o '"users": *[0-9]*' | head -n 1 | tr -d ' ')" '"users":0' 'nobody uses the image any more'

# ---- without --------------------------------------------------------------------------------------

restart() # [SECTION KEY=VALUE]...
{
	stencil_config "$@" >"$STENCIL_CONF"
}
restart images dax_max=0
works 'too large to be mapped: a disk' disk -- sh -c 'cat /proc/mounts; sha256sum /d/large >/dev/null'
is "$(root_mount)" 'overlay overlay' 'has an overlay as well'
restart images enable=false
works 'images switched off' off -- cat /proc/mounts
is "$(root_mount)" 'stencil fuse.stencil' 'a root file system without'
restart
# What runc leaves.
rmdir /sys/fs/cgroup/*/"$WORLD" /sys/fs/cgroup/"$WORLD" 2>/dev/null
for id in $(ctr container ls -q); do ctr container rm "$id"; done
reference_end
watch_end
system_end
