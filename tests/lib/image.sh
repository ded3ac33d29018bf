# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A container image made from a static busybox: an OCI layout in a tar, for `ctr image import`.
#
# The same busybox gives the same bytes: names sorted, no times, no owners. Needs no registry, no
# network and nothing but a shell, tar and sha256sum.

IMAGE=stencil.example/busybox:1
: "${STENCIL_BUSYBOX:=$STENCIL_BUILD/busybox}"

# The root file system's folder. An empty /etc/machine-id asks the runtime for the guest's.
image_rootfs() # FOLDER [FILE...]: further programs go to /bin
{
	local root=$1 applet

	shift
	mkdir -p "$root"/{bin,dev,etc,proc,root,run,sys,tmp,var/tmp}
	chmod 1777 "$root/tmp" "$root/var/tmp"
	install -m 755 "$STENCIL_BUSYBOX" "$@" "$root/bin/"
	for applet in $("$STENCIL_BUSYBOX" --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	: >"$root/etc/machine-id"
	: >"$root/etc/hostname"
	: >"$root/etc/hosts"
	: >"$root/etc/resolv.conf"
	printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' \
		>"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
}

image_tar() # FOLDER OUTPUT
{
	tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
		--directory="$1" --file="$2" .
}

# Moves a file to its place among the blobs; prints the OCI descriptor's digest and size.
image_blob() # LAYOUT FILE
{
	local digest size

	digest=$(sha256sum <"$2" | cut -d' ' -f1)
	size=$(stat -c %s "$2")
	mv "$2" "$1/blobs/sha256/$digest"
	printf '"digest":"sha256:%s","size":%s' "$digest" "$size"
}

# An image of layers, each a tar, the lowest first. They are moved away. What it runs where nobody
# says what: words of JSON.
: "${IMAGE_COMMAND:=\"sh\"}"
image_pack() # OUTPUT NAME LAYER...
{
	local output=$1 name=$2 work layer layers='' ids='' config manifest
	local media=application/vnd.oci.image

	shift 2
	work=$(mktemp -d)
	mkdir -p "$work/layout/blobs/sha256"
	for layer; do
		ids+=,\"sha256:$(sha256sum <"$layer" | cut -d' ' -f1)\"
		layers+=',{"mediaType":"'$media.layer.v1.tar'",'$(image_blob "$work/layout" "$layer")'}'
	done
	printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":[%s]},%s}' \
		"$IMAGE_COMMAND" '"rootfs":{"type":"layers","diff_ids":['"${ids#,}"']}' >"$work/config"
	config=$(image_blob "$work/layout" "$work/config")
	printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[%s]}' \
		"$media.manifest.v1+json" "$media.config.v1+json" "$config" "${layers#,}" >"$work/manifest"
	manifest=$(image_blob "$work/layout" "$work/manifest")
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s",%s,"annotations":{%s}}]}' \
		"$media.manifest.v1+json" "$manifest" \
		'"io.containerd.image.name":"'"$name"'"' >"$work/layout/index.json"
	printf '{"imageLayoutVersion":"1.0.0"}' >"$work/layout/oci-layout"
	image_tar "$work/layout" "$output.new"
	mv "$output.new" "$output"
	rm -rf "$work"
}

image_build() # OUTPUT [FILE...]
{
	local output=$1 work

	shift
	work=$(mktemp -d)
	image_rootfs "$work/rootfs" "$@"
	image_tar "$work/rootfs" "$work/layer"
	image_pack "$output" "$IMAGE" "$work/layer"
	rm -rf "$work"
}
