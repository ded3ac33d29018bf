#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# packaging/deps with the real apt and dpkg, on packages of the test's own in a root of their own.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh

[ "$(id -u)" = 0 ] || skip_all 'needs root: dpkg installs'
for program in apt-get dpkg-deb dpkg-query; do
	command -v "$program" >/dev/null || skip_all "this is not Debian: no $program"
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# ---- an archive, and a host ---------------------------------------------------------------------

package() # NAME VERSION [FIELD...]: into the archive
{
	local name=$1 version=$2 tree=$work/tree deb=$work/archive/$1_$2_all.deb

	rm -rf "$tree"
	mkdir -p "$tree/DEBIAN" "$tree/usr/share/stencil-$name" "$work/archive"
	printf '%s\n' "Package: $name" "Version: $version" 'Architecture: all' 'Maintainer: a test' \
		'Description: a test' "${@:3}" >"$tree/DEBIAN/control"
	dpkg-deb --root-owner-group --build "$tree" "$deb" >/dev/null || bail "dpkg-deb: $name"
	{
		dpkg-deb --field "$deb"
		printf '%s\n' "Filename: ./${deb##*/}" "Size: $(stat -c %s "$deb")" \
			"SHA256: $(sha256sum "$deb" | cut -d' ' -f1)" ''
	} >>"$work/archive/Packages"
}

# apt and dpkg of this host, for a host that has nothing.
host()
{
	mkdir -p "$work"/root/var/lib/dpkg/{info,updates} "$work"/{state/lists/partial,cache/archives/partial,etc,log}
	: >"$work/root/var/lib/dpkg/status"
	echo "deb [trusted=yes] file:$work/archive ./" >"$work/etc/sources.list"
	cat >"$work/apt.conf" <<-END
	Dir::State "$work/state";
	Dir::State::status "$work/root/var/lib/dpkg/status";
	Dir::Cache "$work/cache";
	Dir::Log "$work/log";
	Dir::Etc "$work/etc";
	APT::Sandbox::User "root";
	DPkg::Options:: "--root=$work/root";
	DPkg::Options:: "--log=$work/log/dpkg";
	DPkg::Pre-Invoke:: "touch $work/dpkg-ran";
	#clear DPkg::Post-Invoke;
	END
	export APT_CONFIG=$work/apt.conf DPKG_ADMINDIR=$work/root/var/lib/dpkg
}

deps() # ITEM...: what it says is in $said
{
	rm -f "$work/dpkg-ran"
	said=$(packaging/deps "$@" 2>&1)
}

installed()
{
	dpkg-query -W -f '${binary:Package} ${Version} ${db:Status-Status}\n' | sort
}

unchanged() # INSTALLED NAME
{
	is "$(installed)" "$1" "$2: the same packages are there"
	! [ -e "$work/dpkg-ran" ]
	ok $? "$2: dpkg was not run"
}

package engine 1 'Conflicts: rival'
package library 1
package tool 1 'Depends: library' 'Recommends: manual'
package manual 1
package rival 1
package needs-new-library 1 'Depends: library (>= 2)'
host

# ---- what is missing is installed ---------------------------------------------------------------

deps tool
ok $? 'a missing package' || diag "$said"
is "$said" 'deps: installing library tool' 'is said with what it needs'
is "$(installed)" $'library 1 installed\ntool 1 installed' 'and is there, without what is recommended'
deps tool library
is "$? $said" '0 ' 'what is there is not talked about'
unchanged $'library 1 installed\ntool 1 installed' 'and nothing happens'
package library 2
deps tool needs-new-library
is "$? $said" '0 deps: installing needs-new-library; upgrading library' 'what is upgraded is said, too'
deps no-such-package
is $? 1 'a package that apt does not know is an error'
like "$said" "can't install no-such-package; nothing was changed" 'which says so'

# ---- a program that is there is taken -----------------------------------------------------------

before=$(installed)
mkdir "$work/bin"
printf '#!/bin/sh\n' >"$work/bin/engined"
chmod 755 "$work/bin/engined"
PATH=$work/bin:$PATH deps engine:engined tool
is "$? $said" '0 ' 'no package is wanted for a program that is there'
unchanged "$before" 'and nothing happens'

# ---- nothing is removed -------------------------------------------------------------------------

deps rival
is "$? $said" '0 deps: installing rival' 'a package that another one conflicts with'
before=$(installed)
deps tool engine:engined
is $? 1 'what needs a package to go is an error'
is "$said" "deps: installing engine would remove rival; nothing was changed.\
 Install them by hand if that is what you want" 'which names both'
unchanged "$before" 'and nothing happens'

# ---- who can't install --------------------------------------------------------------------------

chmod 755 "$work"
said=$(setpriv --reuid=65534 --regid=65534 --clear-groups /bin/sh -s manual <packaging/deps 2>&1)
is "$? $said" '1 deps: these packages are missing, and only root can install them: manual' \
	'only root installs'
mkdir "$work/other"
ln -s "$(command -v sh)" "$work/other/sh"
said=$(PATH=$work/other packaging/deps manual tool:sh 2>&1)
is "$? $said" "1 deps: this is not Debian (no dpkg-query): install what its packages have: manual" \
	'another distribution gets the names'

# ---- each target asks for its own ---------------------------------------------------------------

asked() # [GROUPS]: the command of make deps
{
	MAKEFLAGS='' make --no-print-directory --dry-run deps ${1:+"DEPS=$1"} 2>&1
}
tests=' (shellcheck|libcmocka-dev|mandoc|mmdebstrap)( |$)'
like "$(asked)" 'packaging/deps .* shellcheck' 'make deps asks for the tests'
like "$(asked)" ' containerd:containerd .* qemu-system-x86:qemu-system-x86_64 .*runc:runc' \
	'and for no containerd, QEMU or runc where they are'
like "$(asked 'build guest')" 'packaging/deps .*gcc .*zstd' 'make deps DEPS="build guest"'
unlike "$(asked 'build guest')" "$tests| (containerd|qemu|runc)" 'asks for neither tests nor QEMU'
unlike "$(asked 'build guest run world')" "$tests" 'the quickstart asks for no test tools'
like "$(asked 'build toast')" 'no group of packages is called toast' 'a group must exist'
done_testing
