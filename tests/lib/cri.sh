# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kubernetes' side of a CRI: one call for each method, by curl's HTTP/2 and protoc's text format.
#
#   cri_call RunPodSandbox 'config { … } runtime_handler: "stencil"'
#
# gRPC is a POST over HTTP/2 whose body is a byte (not compressed), the message's length and the
# message; the outcome is in the trailers. The messages are in cri.proto.

CRI_PROTO=${BASH_SOURCE[0]%/*}/cri.proto
CRI_ADDRESS=/run/containerd/containerd.sock

cri_frame() # FILE: a message with its head
{
	local size

	size=$(stat -c %s "$1")
	# shellcheck disable=SC2059 # four bytes, the highest first
	printf "\\0$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' \
		$((size >> 24 & 255)) $((size >> 16 & 255)) $((size >> 8 & 255)) $((size & 255)))"
	cat "$1"
}

# The reply is in the file $OUT, as text; what went wrong in $ERR.
cri_call() # METHOD TEXT
{
	local base=$WORLD_DIR/cri status

	OUT=$base.reply ERR=$base.error
	: >"$OUT"
	: >"$base.head"
	printf '%s' "$2" | protoc --proto_path="${CRI_PROTO%/*}" --encode="runtime.v1.$1Request" \
		cri.proto >"$base.request" 2>"$ERR" || return 1
	cri_frame "$base.request" >"$base.body"
	curl --silent --show-error --http2-prior-knowledge --max-time "$WAIT_SECONDS" \
		--unix-socket "$CRI_ADDRESS" --header 'content-type: application/grpc' \
		--header 'te: trailers' --data-binary "@$base.body" --dump-header "$base.head" \
		--output "$base.answer" "http://cri/runtime.v1.RuntimeService/$1" 2>"$ERR" || return 1
	status=$(tr -d '\r' <"$base.head" | sed -n 's/^grpc-status: //p')
	if [ "$status" != 0 ]; then
		tr -d '\r' <"$base.head" | sed -n 's/^grpc-message: //p' >"$ERR"
		return 1
	fi
	tail -c +6 "$base.answer" | protoc --proto_path="${CRI_PROTO%/*}" \
		--decode="runtime.v1.$1Response" cri.proto >"$OUT"
}

# A field of the last reply, the first one of that name; without quotes and escapes.
cri_field() # NAME
{
	printf '%b' "$(sed -n "s/^ *$1: \"\?\(.*[^\"]\)\"\?\$/\1/p" "$OUT" | head -n 1)"
}

# ---- pods ---------------------------------------------------------------------------------------

declare -A CRI_CONFIG
CRI_LOGS=/run/pod-logs

# Its id is $POD.
cri_run_pod() # NAME HANDLER [TEXT-OF-CONFIG]
{
	local config

	config="metadata { name: \"$1\" uid: \"$1\" namespace: \"default\" } hostname: \"$1\"
		log_directory: \"$CRI_LOGS/$1\" $3"
	mkdir -p "$CRI_LOGS/$1"
	cri_call RunPodSandbox "config { $config } runtime_handler: \"$2\"" || return 1
	POD=$(cri_field pod_sandbox_id)
	CRI_CONFIG[$POD]=$config
}

# A container that is created; its id is $CONTAINER, its log below the pod's folder NAME.log.
cri_create() # POD NAME TEXT-OF-CONFIG -- COMMAND...
{
	local pod=$1 name=$2 text=$3 word command=

	shift 4
	for word; do
		word=${word//\\/\\\\}
		word=${word//\"/\\\"}
		command+=" command: \"${word//$'\n'/\\n}\""
	done
	cri_call CreateContainer "pod_sandbox_id: \"$pod\" sandbox_config { ${CRI_CONFIG[$pod]} }
		config { metadata { name: \"$name\" } image { image: \"$IMAGE\" }
		$command log_path: \"$name.log\" $text }" || return 1
	CONTAINER=$(cri_field container_id)
}

cri_run() # POD NAME TEXT-OF-CONFIG -- COMMAND...: created and started
{
	cri_create "$@" && cri_call StartContainer "container_id: \"$CONTAINER\""
}

# Output in $TEXT, its exit status in $EXIT.
cri_exec() # CONTAINER COMMAND...
{
	local id=$1 word command=

	shift
	for word; do
		word=${word//\\/\\\\}
		word=${word//\"/\\\"}
		command+=" cmd: \"${word//$'\n'/\\n}\""
	done
	cri_call ExecSync "container_id: \"$id\" timeout: $WAIT_SECONDS $command" || return 1
	# shellcheck disable=SC2034 # for the scripts
	TEXT=$(cri_field stdout)
	EXIT=$(cri_field exit_code)
	: "${EXIT:=0}"
}

# An enum's first value is not written.
cri_container_state() # CONTAINER
{
	local state

	cri_call ContainerStatus "container_id: \"$1\"" || return 1
	state=$(cri_field state)
	echo "${state:-CONTAINER_CREATED}"
}

cri_pod_state() # POD
{
	local state

	cri_call PodSandboxStatus "pod_sandbox_id: \"$1\"" || return 1
	state=$(cri_field state)
	echo "${state:-SANDBOX_READY}"
}

cri_remove_pod() # POD
{
	cri_call StopPodSandbox "pod_sandbox_id: \"$1\"" &&
		cri_call RemovePodSandbox "pod_sandbox_id: \"$1\""
}

# That a call succeeds; what it and the log said is shown if not.
cri_well() # NAME FUNCTION ARGUMENT...
{
	local name=$1

	shift
	"$@"
	ok $? "$name" || diag "$(cat "$ERR")"$'\n'"$(grep 'level=error' "$CONTAINERD_LOG" | tail -n 2)"
}

# All there are, however they stand.
cri_remove_pods()
{
	local pod status=0

	[ -n "${CONTAINERD_PID:-}" ] || return 0
	cri_call ListPodSandbox '' || return 1
	for pod in $(sed -n 's/^ *id: "\(.*\)"/\1/p' "$OUT"); do
		cri_remove_pod "$pod" || status=1
	done
	return "$status"
}

# ---- containerd ---------------------------------------------------------------------------------

# The folders that a node's containerd and CNI have by default, as this world's own: what was there
# shows through, what is written ends with the world.
cri_own_folders()
{
	local folder

	for folder in /etc /var/lib /opt; do
		mkdir -p "/run/own$folder/upper" "/run/own$folder/work"
		mount -t overlay -o "lowerdir=$folder,upperdir=/run/own$folder/upper,workdir=/run/own$folder/work" \
			own "$folder" || return 1
	done
	# Snapshots are overlays, and an overlay is no upper folder of another one.
	mkdir -p /var/lib/containerd
	mount -t tmpfs -o mode=0711 containerd /var/lib/containerd
	at_exit cri_disown_folders
}

cri_disown_folders()
{
	local folder status=0

	for folder in /var/lib/containerd /opt /var/lib /etc; do
		! mountpoint -q "$folder" || umount -R "$folder" || status=1
	done
	rm -rf /run/own "$CRI_LOGS" /run/mount
	# Only empty folders, and the socket, are containerd's own.
	rm -f "$CRI_ADDRESS" "$CRI_ADDRESS.ttrpc"
	[ ! -d /run/containerd ] || find /run/containerd -depth -type d -empty -delete
	return "$status"
}

# What a node has that runs pods: a network, and Stencil's configuration at its place. And the
# images, which no registry is asked for.
cri_make_node()
{
	cri_own_folders || die "no folders of this world's own"
	PATH=${STENCIL_CONTAINERD:+$STENCIL_CONTAINERD:}$STENCIL_BUILD:$PATH
	stencil_config >"$STENCIL_CONF"
	mkdir -p /etc/cni/net.d /etc/stencil
	rm -rf /etc/cni/net.d/*
	cp "$STENCIL_CONF" /etc/stencil/stencil.conf
	cat >/etc/cni/net.d/10-pods.conf <<-END
	{ "cniVersion": "0.4.0", "name": "pods", "type": "ptp",
	  "ipam": { "type": "host-local", "subnet": "10.88.0.0/16", "routes": [ { "dst": "0.0.0.0/0" } ] } }
	END
	export CONTAINERD_ADDRESS=$CRI_ADDRESS CONTAINERD_NAMESPACE=k8s.io
	unset STENCIL_CONFIG
}

# The pause image has the name that this containerd asks for.
cri_import_images() # CONFIG
{
	local name pause=/run/pause.tar

	name=$(containerd --config "$1" config dump |
		sed -nE "s/^ *sandbox(_image)? = [\"'](.*)[\"']/\2/p" | head -n 1)
	: "${name:?no name of a pause image in "$1"}"
	image_import "$SYSTEM_IMAGE"
	# shellcheck disable=SC2034 # for image_build
	(IMAGE=$name IMAGE_COMMAND='"sleep","1000000"'; image_build "$pause")
	image_import "$pause"
	rm "$pause"
}

# Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj, which CRI wants of runc.
cri_adapt_config() # FILE
{
	local caps plugin=io.containerd.grpc.v1.cri

	caps=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
	[ $((0x$caps >> 24 & 1)) = 0 ] || return 0
	! grep -q '^version = 3' "$1" || plugin=io.containerd.cri.v1.runtime
	if grep -q 'restrict_oom_score_adj =' "$1"; then
		sed -i 's/restrict_oom_score_adj =.*/restrict_oom_score_adj = true/' "$1"
	else
		printf '\n[plugins."%s"]\nrestrict_oom_score_adj = true\n' "$plugin" >>"$1"
	fi
}

cri_start_containerd() # CONFIG
{
	CONTAINERD_LOG=$WORLD_DIR/containerd.log
	: >"$CONTAINERD_LOG"
	setsid containerd --config "$1" >"$CONTAINERD_LOG" 2>&1 </dev/null &
	CONTAINERD_PID=$!
	# It has the socket before it knows again what there was, and answers so until then.
	wait_line "$CONTAINERD_LOG" "$CONTAINERD_PID" 'Start streaming server' || return 1
	until cri_call Status ''; do
		grep -q 'not initialized' "$ERR" || return 1
	done
}

cri_stop_containerd()
{
	local status=0

	[ -n "${CONTAINERD_PID:-}" ] || return 0
	cri_remove_pods || status=1
	kill "$CONTAINERD_PID" && wait "$CONTAINERD_PID" || status=1
	CONTAINERD_PID=
	return "$status"
}

# As by a crash.
cri_kill_containerd()
{
	kill -KILL "$CONTAINERD_PID"
	wait "$CONTAINERD_PID" 2>/dev/null
	CONTAINERD_PID=
}
