# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The hostile guest kernel's module (tests/hostile/), built for the kernel that the guest has.
#
#   hostile_get || skip "$REASON"      $HOSTILE is its file then
#
# Debian's headers for that kernel are fetched as the guest's own packages are, once, into the same
# folder; they are unpacked below the build folder and never installed.

HOSTILE_DIR=$STENCIL_BUILD/hostile
HOSTILE=$HOSTILE_DIR/hostile.ko

hostile_fails() # REASON
{
	# shellcheck disable=SC2034 # for the script
	REASON=$1
	return 1
}

# The headers' own makefile names the place where they would be installed.
hostile_unpack() # DEB...
{
	local headers=$HOSTILE_DIR/headers deb

	rm -rf "$headers" "$headers.new"
	mkdir -p "$headers.new"
	for deb; do
		dpkg-deb --extract "$deb" "$headers.new" || return 1
	done
	sed -i "s,^include /usr/,include $headers/usr/," "$headers.new"/usr/src/linux-headers-*-amd64/Makefile &&
		mv "$headers.new" "$headers"
}

# kbuild writes beside what it reads.
hostile_build()
{
	local source=$HOSTILE_DIR/source

	rm -rf "$source"
	mkdir -p "$source/tests" "$source/files"
	cp -r "$STENCIL_SOURCE/tests/hostile" "$source/tests/"
	cp "$STENCIL_SOURCE/files/wire.h" "$source/files/"
	MAKEFLAGS='' make -C "$HOSTILE_DIR"/headers/usr/src/linux-headers-*-amd64 CC="${CC:-gcc}" \
		M="$source/tests/hostile" KCFLAGS=-Werror CONFIG_DEBUG_INFO_BTF_MODULES= modules >"$HOSTILE_DIR/log" 2>&1 &&
		strip --strip-debug -o "$HOSTILE.new" "$source/tests/hostile/hostile.ko" && mv "$HOSTILE.new" "$HOSTILE"
}

# What the module is made of, so that another kernel or another module is another one.
hostile_name()
{
	find "$STENCIL_GUEST/packages" "$STENCIL_SOURCE/files/wire.h" "$STENCIL_SOURCE/tests/hostile" -type f |
		sort | xargs -d '\n' cat | sha256sum
}

hostile_make()
{
	local debs

	mapfile -t debs <"$STENCIL_GUEST/headers"
	[[ ${debs[0]} == *.deb ]] || hostile_fails "no headers: ${debs[0]}" || return
	hostile_unpack "${debs[@]}" || bail "the headers can't be unpacked"
	hostile_build || bail "the module can't be built: $(tail -n 20 "$HOSTILE_DIR/log")"
}

# Tests may come at the same time.
hostile_get()
{
	local name fd status=0

	mkdir -p "$HOSTILE_DIR"
	exec {fd}>"$HOSTILE_DIR/lock"
	flock "$fd"
	name=$(hostile_name)
	if [ "$name" != "$(cat "$HOSTILE_DIR/name" 2>/dev/null)" ] || ! [ -f "$HOSTILE" ]; then
		hostile_make && echo "$name" >"$HOSTILE_DIR/name" || status=1
	fi
	exec {fd}>&-
	return "$status"
}

# ---- pods that load it ---------------------------------------------------------------------------

# A tree for each NAME, below $TREES; beside them "canary", which is in none. Who reads that changes its
# times.
TREES=/run/hostile
hostile_trees() # NAME...
{
	local name

	mkdir "$TREES"
	at_exit hostile_trees_end
	mount --no-mtab -t tmpfs -o strictatime,mode=755 hostile "$TREES" || return 1
	for name; do
		mkdir "$TREES/$name"
		echo marker >"$TREES/$name/marker"
		: >"$TREES/$name/report"
	done
	echo canary >"$TREES/canary"
}

hostile_trees_end()
{
	! mountpoint -q "$TREES" || umount --no-mtab "$TREES"
	[ ! -d "$TREES" ] || rmdir "$TREES"
}

# The network that such a pod has.
hostile_network()
{
	netns_with_eth0 hostile 10.99.0.2/24
}

# Guests that take modules which nobody has signed; further lines as for stencil_config.
hostile_config() # [SECTION KEY=VALUE]...
{
	stencil_config hypervisor kernel_params=module.sig_enforce=0 "$@"
}

# Waits until it has begun. Where the agent stands still the module says so in its tree.
hostile_begun() # ATTACK
{
	case $1 in
	ost | net | hotplug)
		in_container "$1" sh -c 'until grep -qs "[1-9]" /sys/module/hostile/parameters/done; do
			[ ! -e /v/over ] || exit 1
		done'
		;;
	*) wait_line "$TREES/$1/report" "$(qemu_pid "$1")" '^begun' ;;
	esac
}

# A pod ATTACK, with the tree of that name at /v, whose kernel does it. An agent that stands still does
# not answer SIGKILL: that is waited for a minute.
hostile_pod() # ATTACK [MODULE-PARAMETER...]
{
	local attack=$1

	shift
	hostile_config runtime call_timeout_ms=60000 >"$WORLD_DIR/impatient.conf"
	container_detached "$attack" --privileged --cpus 1 --with-ns network:/run/netns/hostile \
		--runtime-config-path "$WORLD_DIR/impatient.conf" \
		--mount "type=bind,src=$HOSTILE,dst=/hostile.ko,options=rbind:ro" \
		--mount "type=bind,src=$TREES/$attack,dst=/v,options=rbind:rw" -- \
		sh -c "insmod /hostile.ko attack=$attack $* 2>/v/error; echo \$? >/v/over; exec tail -f /dev/null"
}
