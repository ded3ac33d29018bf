#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pods as Kubernetes has them: through the gRPC socket of containerd's CRI, with CNI, a pause image and
# the configuration that is shipped. STENCIL_CONTAINERD is a folder with another containerd to try.
# shellcheck disable=SC2034 # for system.sh
SYSTEM_CRI=yes
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
. "${BASH_SOURCE[0]%/*}/../lib/cri.sh"
cri_make_node
system_template
at_exit cri_stop_containerd
SHIPPED=$STENCIL_SOURCE/packaging
VERSION=$(containerd --version)
MAJOR=$(sed -E 's/.* ([0-9]+)\.[0-9]+\..*/\1/' <<<"$VERSION")
diag "$VERSION"

# ---- what is shipped, in the ways that README names -------------------------------------------------

# A pod of each runtime; leaves containerd running.
serves_both() # NAME CONFIG
{
	local runtime kernel

	kernel=$(uname -r)
	cri_start_containerd "$2" || bail "$1: containerd did not start: $(tail -n 3 "$CONTAINERD_LOG")"
	[ -n "${HAVE_IMAGES:-}" ] || cri_import_images "$2"
	HAVE_IMAGES=yes
	for runtime in runc stencil; do
		cri_well "$1: a pod of $runtime" cri_run_pod "try-$runtime" "$runtime"
		cri_well "$1: a container in it" cri_run "$POD" try '' -- sleep 1000
		cri_well "$1: a command in that" cri_exec "$CONTAINER" uname -r
		if [ "$runtime" = runc ]; then
			is "$TEXT" "$kernel" "$1: with this host's kernel"
		else
			like "$TEXT" '^[0-9]+\.' "$1: with a kernel"
			isnt "$TEXT" "$kernel" "$1: of its own"
		fi
		cri_well "$1: it is removed" cri_remove_pod "$POD"
	done
}

config=/etc/containerd/config.toml
mkdir -p /etc/containerd
cat >/run/debian.toml <<-END
version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
END

cp "$SHIPPED/containerd.toml" /run/import.toml
cri_adapt_config /run/import.toml
{ echo 'imports = ["/run/import.toml"]'; cat /run/debian.toml; } >$config
serves_both 'imported' $config
cri_stop_containerd

if [ "$MAJOR" -ge 2 ]; then
	cp "$SHIPPED/containerd-3.toml" /run/import.toml
	printf 'version = 3\nimports = ["/run/import.toml"]\n' >$config
	cri_adapt_config $config
	serves_both 'version 3, imported' $config
	cri_stop_containerd
fi

part=containerd.toml
[ "$MAJOR" -lt 2 ] || part=containerd-3.toml
cp /run/debian.toml $config
{ containerd config dump; sed -n '/^# ---- Stencil/,$p' "$SHIPPED/$part"; } >/run/appended.toml
mv /run/appended.toml $config
cri_adapt_config $config
serves_both 'appended' $config
cri_stop_containerd

cp "$SHIPPED/containerd.toml" $config
cri_adapt_config $config
serves_both 'alone' $config

# Of the hierarchies that matter, as vm/cgroup.c finds them.
cgroup_roots()
{
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		echo /sys/fs/cgroup
	else
		ls -d /sys/fs/cgroup/memory /sys/fs/cgroup/cpu /sys/fs/cgroup/pids 2>/dev/null
	fi
}

# ---- a pod ------------------------------------------------------------------------------------------

mkdir /run/volume
# As a kubelet makes it, with either driver.
pod_cgroup=$WORLD-kube/pod
slice=${WORLD//-/_}.slice
for hierarchy in $(cgroup_roots); do
	mkdir -p "$hierarchy/$pod_cgroup" "$hierarchy/$slice"
done
cri_well 'a pod' cri_run_pod pod stencil "linux { cgroup_parent: \"/$pod_cgroup\" }"
pod=$POD
like "$(cat "/proc/$(pids_of qemu-system-x86_64)/cgroup")" ":/$pod_cgroup/stencil-[0-9]+" \
	"its VM is in the pod's cgroup"
cri_well 'a pod in a slice' cri_run_pod sliced stencil "linux { cgroup_parent: \"/$slice\" }"
like "$(cgroups_matching ".*/$slice/stencil-[0-9]+")" "/$slice/stencil-" 'its VM is in that'
cri_well 'that one is removed' cri_remove_pod "$POD"
is "$(cgroups_matching ".*/$slice/.*")" '' 'with its cgroup'
for hierarchy in $(cgroup_roots); do
	rmdir "$hierarchy/$slice" || ok 1 "the slice is as it was"
done
is "$(cri_pod_state "$pod")" SANDBOX_READY 'it is ready'
cri_call PodSandboxStatus "pod_sandbox_id: \"$pod\""
like "$(cri_field ip)" '^10\.88\.' 'it has the address that CNI gave it' && address=$(cri_field ip)
cri_well 'a container' cri_run "$pod" one 'linux { resources { oom_score_adj: 500 }
	security_context { namespace_options { pid: CONTAINER } } }' -- sh -c \
	'echo to the log; echo to its errors >&2; exec nc -ll -p 80 -e cat'
one=$CONTAINER
cri_well 'another one in the same pod' cri_run "$pod" two 'linux { resources { memory_limit_in_bytes: 67108864 } }
	mounts { container_path: "/mnt" host_path: "/run/volume" }' -- sh -c \
	'until [ -e /mnt/end ]; do usleep 100000; done; exit 7'
two=$CONTAINER
is "$(pids_of qemu-system-x86_64 | wc -l)" 1 'both are in one VM'

cri_well 'ExecSync' cri_exec "$two" sh -c 'echo out; echo err >&2; exit 3'
is "$EXIT $(cri_field stdout) $(cri_field stderr)" '3 out err' 'its output, its errors, its status'
cri_exec "$one" hostname
is "$TEXT" pod 'the name of the pod'
cri_exec "$one" cat /proc/1/oom_score_adj
is "$TEXT" 500 'oom_score_adj is what was asked for'
cri_exec "$one" sh -c 'tr "\0" " " </proc/1/cmdline'
like "$TEXT" '^nc ' 'a process namespace of its own, where that is asked for'
cri_well 'a third container' cri_run "$pod" three '' -- sleep 4321
cri_exec "$two" sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" " "'
like "$TEXT" 'sleep 4321' 'else one that the containers of the pod share'
unlike "$TEXT" 'nc -ll' 'without those that have their own'
cri_exec "$two" sh -c 'echo hello | nc 127.0.0.1 80'
is "$TEXT" hello 'the containers of a pod share its network'
cri_exec "$two" sh -c "ip -4 -o address show eth0"
like "$TEXT" "inet ${address//./\\.}/" "the address is eth0's"
is "$(sed -E 's/^[^ ]+ //' "$CRI_LOGS/pod/one.log" | sort)" \
	'stderr F to its errors'$'\n''stdout F to the log' 'the log has both streams'

cri_call ListContainerStats ''
is "$(grep -c "id: \"\($one\|$two\)\"" "$OUT")" 2 'statistics of both containers'
is "$(awk '$1 == "value:" && $2 > 0' "$OUT" | wc -l)" 6 'with CPU time and memory that they use'

memory_max() # CONTAINER
{
	# shellcheck disable=SC2016 # expanded in the container
	cri_exec "$1" sh -c 'cat "/sys/fs/cgroup/$(sed -n "s,^0::/,,p" /proc/self/cgroup)/memory.max"'
	echo "$TEXT"
}
is "$(memory_max "$two")" 67108864 'the limit of memory'
cri_well 'UpdateContainerResources' cri_call UpdateContainerResources \
	"container_id: \"$two\" linux { memory_limit_in_bytes: 134217728 cpu_period: 100000 cpu_quota: 200000 }"
is "$(memory_max "$two")" 134217728 'the new limit of memory'

mib_of() # CONTAINER
{
	# shellcheck disable=SC2016 # expanded in the container
	cri_exec "$1" sh -c 'while read -r key kib _; do
		[ "$key" != MemTotal: ] || echo $((kib / 1024)); done </proc/meminfo'
	echo "$TEXT"
}
mib=$(mib_of "$two")
cri_well 'UpdateContainerResources beyond what the VM has' cri_call UpdateContainerResources \
	"container_id: \"$two\" linux { memory_limit_in_bytes: 402653184 }"
between "$(($(mib_of "$two") - mib))" 200 256 'the VM has the memory for it'
cri_exec "$two" uname -r
if limit=$(cpu_limit "$pod" "$TEXT"); then
	skip 'and the CPUs' "under emulation this $limit"
else
	cri_exec "$two" nproc
	is "$TEXT" "$(nproc | awk '{ print $1 < 2 ? $1 : 2 }')" 'and the CPUs'
fi

# ---- what the containers of a pod share --------------------------------------------------------------

shares() # RUNTIME
{
	local pod one two

	cri_well "$1: a pod with sysctls" cri_run_pod "shares-$1" "$1" 'linux { sysctls {
		key: "kernel.shm_rmid_forced" value: "1" } sysctls {
		key: "fs.mqueue.msg_max" value: "13" } sysctls {
		key: "kernel.msgmax" value: "9000" } sysctls {
		key: "net.ipv4.ip_unprivileged_port_start" value: "80" } }'
	pod=$POD
	cri_well "$1: a container" cri_run "$pod" one '' -- sleep 1000
	one=$CONTAINER
	cri_well "$1: and another" cri_run "$pod" two '' -- sleep 1000
	two=$CONTAINER
	cri_exec "$two" sh -c 'cd /proc/sys; cat kernel/shm_rmid_forced fs/mqueue/msg_max kernel/msgmax \
		net/ipv4/ip_unprivileged_port_start'
	is "$TEXT" $'1\n13\n9000\n80' "$1: the sysctls hold in both"
	cri_exec "$two" hostname
	is "$TEXT" "shares-$1" "$1: and the hostname"
	cri_exec "$one" sh -c 'probe queue 7777 && >/dev/mqueue/posix && echo memory >/dev/shm/file'
	is "$EXIT" 0 "$1: a queue of System V, one of POSIX, a file in /dev/shm"
	cri_exec "$two" sh -c 'grep -c "^ *7777 " /proc/sysvipc/msg; ls /dev/mqueue; cat /dev/shm/file
		df -k /dev/shm | awk "NR == 2 { print \$2 }"'
	is "$TEXT" $'1\nposix\nmemory\n65536' "$1: and the other one has them, too"
	cri_exec "$two" sh -c 'stat -Lc %i /proc/self/ns/ipc /proc/self/ns/uts'
	SEEN=$TEXT
	cri_exec "$one" sh -c 'stat -Lc %i /proc/self/ns/ipc /proc/self/ns/uts'
	is "$SEEN" "$TEXT" "$1: they are in the same namespaces"
	cri_well "$1: a container in another one's process namespace" cri_run "$pod" debug 'linux {
		security_context { namespace_options { pid: TARGET target_id: "'"$one"'" } } }' -- sleep 1000
	cri_exec "$CONTAINER" stat -Lc %i /proc/self/ns/pid
	SEEN=$TEXT
	cri_exec "$one" stat -Lc %i /proc/self/ns/pid
	is "$SEEN" "$TEXT" "$1: is in it"
	cri_well "$1: it is removed" cri_remove_pod "$pod"
}
shares runc
shares stencil

# ---- the pause container ----------------------------------------------------------------------------

# What is asked of it: that it has a process, which holds a process namespace, ends as pause does, and
# takes its pod's others with it only where these share that namespace.
cri_well 'a pod whose containers share their processes' cri_run_pod holds stencil
holds=$POD
cri_well 'a container that shares them' cri_run "$holds" shares '' -- sleep 1000
shares=$CONTAINER
cri_well 'and one that does not' cri_run "$holds" apart 'linux {
	security_context { namespace_options { pid: CONTAINER } } }' -- sleep 1000
apart=$CONTAINER
cri_exec "$shares" cat /proc/1/comm
is "$TEXT" pause 'the first process only waits'
capture ctr -n k8s.io task exec --exec-id x "$holds" true
ok $((! $?)) 'nothing can be run in the pause container'
like "$(cat "$ERR")" "container $holds holds its pod, and has no files: nothing can be run in it" 'and it says so'
capture ctr -n k8s.io task metrics "$holds"
done_well $? 'it has statistics'
capture ctr -n k8s.io task pause "$holds" && capture ctr -n k8s.io task resume "$holds"
done_well $? 'it can be paused and resumed'
capture ctr -n k8s.io task kill -s SIGUSR1 "$holds"
is "$(cri_pod_state "$holds")" SANDBOX_READY 'a signal that pause does not know is nothing to it'
events_start
capture ctr -n k8s.io task kill -s SIGTERM "$holds"
event_wait "/tasks/exit {\"container_id\":\"$holds\"" 'SIGTERM ends it'
unlike "$(grep -F "/tasks/exit {\"container_id\":\"$holds\"" "$EVENTS")" exit_status 'with 0'
event_wait "/tasks/exit .*$shares.*\"exit_status\":137" 'and with it whoever shares its process namespace'
events_stop
is "$(cri_container_state "$apart")" CONTAINER_RUNNING 'the other one runs on'
cri_well 'a command in it' cri_exec "$apart" true
shim=$(sed -nE 's/.*"shim_pid":([0-9]+).*/\1/p' /run/stencil/sandboxes/*:"$holds"/sandbox.json)
cri_well 'the pod is removed' cri_remove_pod "$holds"
wait_gone "${shim:?}"
ok $? 'and its shim ends, which was told to when the pause container went'

# ---- containerd is killed ---------------------------------------------------------------------------

cri_kill_containerd
: >/run/volume/end
cri_start_containerd $config || bail "containerd did not start again"
is "$(cri_pod_state "$pod")" SANDBOX_READY 'containerd was killed: the pod is ready'
is "$(cri_container_state "$one")" CONTAINER_RUNNING 'its container still runs'
cri_well 'a command in it' cri_exec "$one" hostname
while [ "$(cri_container_state "$two")" = CONTAINER_RUNNING ]; do :; done
is "$(cri_container_state "$two") $(cri_field exit_code)" 'CONTAINER_EXITED 7' \
	'the one that ended meanwhile has its status'

# ---- the end ----------------------------------------------------------------------------------------

cri_well 'StopContainer' cri_call StopContainer "container_id: \"$one\" timeout: 0"
is "$(cri_container_state "$one") $(cri_field exit_code)" 'CONTAINER_EXITED 137' 'it was killed'
cri_well 'RemoveContainer' cri_call RemoveContainer "container_id: \"$one\""
cri_well 'StopPodSandbox' cri_call StopPodSandbox "pod_sandbox_id: \"$pod\""
is "$(cri_pod_state "$pod")" SANDBOX_NOTREADY 'the pod is not ready any more'
pods_gone 'no process stays'
cri_well 'RemovePodSandbox' cri_call RemovePodSandbox "pod_sandbox_id: \"$pod\""
for hierarchy in $(cgroup_roots); do
	rmdir "$hierarchy/$pod_cgroup" "$hierarchy/${pod_cgroup%/*}" || ok 1 "the pod's cgroup is as it was"
done

cri_stop_containerd
ok $? 'containerd ends cleanly, with no pod left'
cri_disown_folders
rm -rf /run/nri
rm -r /run/volume /run/import.toml /run/debian.toml
system_end
