#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The guest's image: what is in it, that the same inputs make the same bytes, what its errors say.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

mkguest=guest/mkguest
agent=$(dirname "$STENCIL_GUEST")/stencil-agent
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
[ -s "$STENCIL_GUEST/packages" ] || skip_all 'there is no guest: make guest'
mapfile -t packages <"$STENCIL_GUEST/packages"

# ---- the same inputs, twice ----

for n in 1 2; do
	$mkguest tree "$dir/$n" "${packages[@]}" &&
		$mkguest initrd "$dir/$n" "$agent" "$dir/$n.img" || bail "image $n can't be made"
	# Time, order of the folder's entries and mode of creation must not show.
	umask 077
done
umask 022
is "$(sha256sum <"$dir/2.img")" "$(sha256sum <"$dir/1.img")" 'the same inputs make the same initramfs'
is "$(sha256sum <"$dir/2/vmlinuz")" "$(sha256sum <"$dir/1/vmlinuz")" '… and the same kernel'

# ---- what is in it ----

root=$dir/root
mkdir "$root"
(cd "$root" && cpio -idm --quiet --no-absolute-filenames) <"$dir/1.img"
is $? 0 'the initramfs is a cpio archive'
libs=$root/lib/x86_64-linux-gnu

is "$(cd "$root" && find . -mindepth 1 ! -path './lib/modules/*' ! -path './lib/x86_64-linux-gnu/*' \
	-printf '%M %P\n' | sort -k 2 | paste -sd ,)" \
	"$(printf '%s\n' 'drwxr-xr-x dev' 'drwxr-xr-x etc' '-rw-r--r-- etc/group' \
		'-rw-r--r-- etc/hostname' '-rw-r--r-- etc/hosts' '-rw-r--r-- etc/machine-id' \
		'-rw-r--r-- etc/passwd' '-rwxr-xr-x init' 'drwxr-xr-x lib' 'drwxr-xr-x lib/modules' \
		'drwxr-xr-x lib/x86_64-linux-gnu' 'drwxr-xr-x lib64' \
		'-rwxr-xr-x lib64/ld-linux-x86-64.so.2' 'drwxr-xr-x proc' 'drwx------ root' \
		'drwxr-xr-x run' 'drwxr-xr-x sbin' 'lrwxrwxrwx sbin/modprobe' 'drwxr-xr-x sys' 'drwxrwxrwt tmp' 'drwxr-xr-x usr' \
		'drwxr-xr-x usr/bin' '-rwxr-xr-x usr/bin/crun' 'drwxr-xr-x usr/lib' \
		'drwxr-xr-x usr/sbin' 'drwxr-xr-x var' 'lrwxrwxrwx var/run' | sort -k 2 | paste -sd ,)" \
	'besides modules and libraries it has these files alone'
is "$(cpio -tv --quiet -n <"$dir/1.img" | awk '$3 != 0 || $4 != 0' | head -n 3)" '' \
	'all of it is root'\''s'
is "$(TZ=UTC cpio -tv --quiet <"$dir/1.img" | grep -v ' Jan  1  1970 ' | head -n 3)" '' \
	'nothing has a date'
is "$(stat -c %s "$root/etc/machine-id")" 0 'there is no machine-id'

needed() # FILE...
{
	readelf -d "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u
}

is "$(cd "$libs" && printf '%s\n' *.so* | sort | paste -sd ' ')" \
	"$( (needed "$root/usr/bin/crun" "$libs"/*; echo ld-linux-x86-64.so.2) | sort -u | paste -sd ' ')" \
	'the libraries are those that crun and they need, no less and no more'
like "$("$root/lib64/ld-linux-x86-64.so.2" --library-path "$libs" "$root/usr/bin/crun" --root "$dir/crun" --version 2>&1)" \
	'^crun version [0-9.]+' 'crun runs with them'
unlike "$(readelf -l "$root/init" 2>&1)" 'INTERP' 'the agent needs no library'
unlike "$(readelf -S "$root/init" 2>&1)" '\.debug|\.symtab' '… and has no symbols'

# ---- modules ----

list=$root/lib/modules/stencil.list
is "$(awk '{ print $2 }' "$list" | sort | paste -sd ' ')" \
	"$(cd "$root" && find lib/modules -name '*.ko' -printf '/%p\n' | sort | paste -sd ' ')" \
	'the list has each module once'
is "$(awk '{ print $1 }' "$list" | uniq | paste -sd ' ')" 'boot later' 'those of the boot come first'

early=
declare -A seen=()
while read -r _ file; do
	depends=$(readelf -p .modinfo "$root$file" | sed -n 's/.*\] *depends=//p')
	for name in ${depends//,/ }; do
		[ -n "${seen[${name//-/_}]:-}" ] || early+="${file##*/} before $name "
	done
	name=$(basename "$file" .ko)
	seen[${name//-/_}]=1
done <"$list"
is "$early" '' 'each comes after those it depends on'

kernel_deb=
for file in "${packages[@]}"; do
	case ${file##*/} in linux-image-*) kernel_deb=$file ;; esac
done
if [ -n "$kernel_deb" ]; then
	builtin=$(dpkg-deb --fsys-tarfile "$kernel_deb" |
		tar -xO --wildcards '*/modules.builtin' | sed 's:.*/::; s:\.ko::; s:-:_:g')
else
	builtin=
fi
missing=
for name in virtio_pci virtio_console virtio_net virtio_blk virtio_balloon virtio_mem fuse \
	overlay; do
	[ -n "${seen[$name]:-}" ] || grep -qx "$name" <<<"$builtin" || missing+="$name "
done
is "$missing" '' 'what devices and containers need is there or built in'

# ---- the kernel ----

if [ "$(head -c 4 "$dir/1/vmlinuz" | tr -d '\0')" = $'\177ELF' ]; then
	like "$(readelf -nW "$dir/1/vmlinuz" 2>/dev/null)" '\(0x00000012\)' \
		'the kernel has the entry that QEMU starts'
else
	is "$(tail -c +515 "$dir/1/vmlinuz" | head -c 4)" HdrS 'the kernel is a bzImage'
fi

manifest=$($mkguest manifest "$dir/1/vmlinuz" "$dir/1.img" "${packages[@]}")
like "$manifest" '(^|'$'\n'')linux-image-[^ ]* [0-9]' 'the manifest names the kernel'\''s version'
like "$manifest" $'\n''crun [0-9]' '… and that of crun'
like "$manifest" "1.img $(stat -c %s "$dir/1.img") bytes" '… and sizes'

# ---- what the errors say ----

fails() # WANTED NAME COMMAND...
{
	local wanted=$1 name=$2 said status

	shift 2
	said=$("$@" 2>&1)
	status=$?
	[ $status -ne 0 ] || said="succeeded: $said"
	like "$said" "$wanted" "$name"
}

fake_deb() # FILE [VERSION]: a package of what is in $dir/fake
{
	mkdir -p "$dir/fake/DEBIAN"
	printf '%s\n' 'Package: linux-image-0-amd64' "Version: ${2:-0}" 'Architecture: amd64' \
		'Maintainer: nobody <nobody@example.org>' 'Description: none' >"$dir/fake/DEBIAN/control"
	dpkg-deb -b "$dir/fake" "$1" >/dev/null
}

# No list of packages, no source of any: what a machine without network has.
mkdir -p "$dir/none/lists/partial"
printf '%s\n' "Dir::State::Lists \"$dir/none/lists\";" 'Dir::State::Status "/dev/null";' \
	'Dir::Etc::SourceList "/dev/null";' 'Dir::Etc::SourceParts "/dev/null";' \
	"Dir::Cache \"$dir/none\";" >"$dir/apt.conf"
cache=$dir/cache
mkdir "$cache"
fails "mkguest: no package linux-image-amd64 in $cache, and apt-get can't download it" \
	'no network: the package and the folder are named' \
	env APT_CONFIG="$dir/apt.conf" $mkguest packages "$cache"
like "$(APT_CONFIG=$dir/apt.conf $mkguest packages "$STENCIL_GUEST/cache" 2>&1 |
	sed 's:.*/::')" '^linux-image-' 'a full cache needs none'

fails "mkguest: no package file $dir/nowhere.deb" 'a kernel package that is not there' \
	$mkguest packages "$cache" "$dir/nowhere.deb"
echo no >"$dir/no.deb"
fails "mkguest: $dir/no.deb is not a Debian package" 'one that is none' \
	$mkguest packages "$cache" "$dir/no.deb"

# A module is made for one kernel only.
fake_deb "$dir/kernel.deb" 1.0
for version in 1.0 1.0.1; do
	fake_deb "$cache/linux-headers-0-amd64_${version}_amd64.deb" $version
done
is "$($mkguest headers "$cache" "$dir/kernel.deb" 2>&1)" "$cache/linux-headers-0-amd64_1.0_amd64.deb" \
	"headers of the kernel's very version"
rm "$cache"/*.deb

rest=()
for file in "${packages[@]}"; do
	case ${file##*/} in linux-image-*) ;; *) rest+=("$file") ;; esac
done
fails 'mkguest: none of these packages has a kernel' 'packages without a kernel' \
	$mkguest tree "$dir/bad" "${rest[@]}"
is "$(ls "$dir/bad/vmlinuz" 2>/dev/null)" '' 'a tree that failed has no kernel for make to take'

mkdir -p "$dir/fake/boot"
head -c 4096 /dev/zero >"$dir/fake/boot/vmlinuz-0"
fake_deb "$dir/fake.deb"
fails "mkguest: the kernel's package has no modules" 'a kernel package without modules' \
	$mkguest tree "$dir/bad" "$dir/fake.deb" "${rest[@]}"

modules=$dir/fake/lib/modules/0
mkdir -p "$modules"
echo no >"$dir/novmlinuz"
fails "mkguest: no kernel $dir/nokernel" 'a kernel file that is not there' \
	$mkguest packages "$cache" "$dir/nokernel" "$modules"
fails "mkguest: $dir/novmlinuz is not a Linux kernel that QEMU can start" 'one that is no kernel' \
	$mkguest packages "$cache" "$dir/novmlinuz" "$modules"
fails "mkguest: $modules has no modules.builtin" 'a folder that has no modules' \
	$mkguest packages "$cache" "$dir/1/vmlinuz" "$modules"
: >"$modules/modules.builtin"
fails 'mkguest: the kernel has no module virtio_pci' 'a kernel that lacks a module' \
	$mkguest tree "$dir/bad" "$dir/1/vmlinuz" "$modules" "${rest[@]}"

fails "mkguest: no agent $dir/noagent" 'an agent that is not there' \
	$mkguest initrd "$dir/1" "$dir/noagent" "$dir/bad.img"
fails "mkguest: $dir/novmlinuz is not a program" 'one that is no program' \
	$mkguest initrd "$dir/1" "$dir/novmlinuz" "$dir/bad.img"
is "$(ls "$dir"/bad.img* 2>/dev/null)" '' 'no image is left of a failure'
fails '^mkguest: usage:' 'no arguments' $mkguest
done_testing
