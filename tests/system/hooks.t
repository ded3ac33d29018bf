#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The hooks of config.json: the host's run on the host, the guest's in the guest.
. "${BASH_SOURCE[0]%/*}/../lib/system.sh"
system_template

root=$WORLD_DIR/root log=$WORLD_DIR/hooks.log
image_rootfs "$root"

hook_program() # NAME LINES
{
	printf '#!/bin/bash\n%s\n' "$2" >"$WORLD_DIR/$1"
	chmod +x "$WORLD_DIR/$1"
}

# What a hook reads says which one it is.
# shellcheck disable=SC2016 # expanded in the hook
hook_program note "$(printf 'read -r state
	pid=$(sed -n "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/p" <<<"$state")
	echo "$1 $(sed -n "s/.*\\"status\\":\\"\\([a-z]*\\)\\".*/\\1/p" <<<"$state") $(basename "$(readlink "/proc/${pid:-none}/exe")") $([ -f config.json ] && echo bundle)" >>%q' "$log")"

# The spec of a container with hooks, each given as POINT:PROGRAM[:WORD…].
spec_write() # FILE "COMMAND" ANNOTATIONS-JSON HOOK...
{
	local file=$1

	shift
	ctr oci spec | perl -MJSON::PP -e '
		my ($root, $command, $annotations, @hooks) = @ARGV;
		local $/;
		my $spec = decode_json(<STDIN>);
		$spec->{root} = {path => $root};
		$spec->{process}{args} = ["sh", "-c", $command];
		$spec->{process}{env} = ["PATH=/bin"];
		$spec->{process}{terminal} = JSON::PP::false;
		$spec->{annotations} = decode_json($annotations);
		for (@hooks) {
			my ($point, $path, @args) = split /:/;
			push @{$spec->{hooks}{$point}}, {path => $path, args => [$path, @args]};
		}
		print encode_json($spec)' "$root" "$@" >"$file"
}

run_spec() # ID [CTR-OPTION...]
{
	local id=$1

	shift
	timeout "$WAIT_SECONDS" ctr run --runtime "$RUNTIME" "$@" --config "$WORLD_DIR/$id.json" "$WORLD-$id"
}

# ---- all of them --------------------------------------------------------------------------------

hooks=()
for point in poststop poststart createRuntime prestart; do
	hooks+=("$point:$WORLD_DIR/note:$point")
done
spec_write "$WORLD_DIR/all.json" 'read -r line; cat /created /started; exit 3' '{}' "${hooks[@]}" \
	"startContainer:/bin/dd:of=/started" \
	"createContainer:$STENCIL_BUSYBOX:dd:of=/run/kata-containers/shared/containers/$WORLD-all/rootfs/created"
sed -i 's!"args":\["[^"]*busybox","dd"!"args":["busybox","dd"!' "$WORLD_DIR/all.json"
# It must run on until the hook after its start has looked at it.
fed()
{
	{
		wait_line "$log" $$ poststart
		echo
	} | run_spec all --rm
}
: >"$log"
capture fed
is $? 3 'a container with a hook at each point' || diag "$(cat "$ERR")"
is "$(cat "$log")" 'prestart creating stencil-task bundle
createRuntime creating stencil-task bundle
poststart running stencil-task bundle
poststop stopped  bundle' 'the four of the host in their order, with the pid on the host, in the bundle' ||
	diag "$(cat "$log")"
like "$(cat "$OUT")" '"status":"created".*"status":"starting"' 'the two of the guest there'

# ---- what they are for, and their failure -------------------------------------------------------

# shellcheck disable=SC2016 # expanded in the hook
hook_program network 'read -r state
	pid=$(sed -n "s/.*\"pid\":\([0-9]*\).*/\1/p" <<<"$state")
	ip link add eth0 netns "$pid" type veth peer name hooked
	nsenter --net="/proc/$pid/ns/net" sh -c "ip address add 10.99.0.2/24 dev eth0; ip link set eth0 up"'
spec_write "$WORLD_DIR/net.json" 'ip -4 address show eth0' '{}' "prestart:$WORLD_DIR/network"
capture run_spec net --rm
done_well $? 'a hook makes an interface in the network namespace of its pid'
like "$(cat "$OUT")" 'inet 10\.99\.0\.2/24' 'and the guest has it'

hook_program fails 'echo no such card >&2; exit 4'
: >"$log"
spec_write "$WORLD_DIR/fails.json" 'true' '{}' "createRuntime:$WORLD_DIR/note:first" \
	"createRuntime:$WORLD_DIR/fails" "createRuntime:$WORLD_DIR/note:third" "poststop:$WORLD_DIR/note:poststop"
capture run_spec fails
isnt $? 0 'a hook that fails fails the creation'
like "$(cat "$ERR")" "createRuntime hook 1, .*/fails, ended with status 4: no such card" 'with its name, status and words'
is "$(cut -d' ' -f1 "$log" | tr '\n' ' ')" 'first poststop ' 'and none comes after it but the last ones'
ctr container rm "$WORLD-fails"
pods_gone 'nothing of it stays'

# ---- one that hangs -----------------------------------------------------------------------------

mkfifo "$WORLD_DIR/hangs.begun"
hook_program hangs "echo \$\$ >$(printf %q "$WORLD_DIR")/hangs.begun; exec sleep 1000"
of_pod='{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"'$WORLD-pod'"}'

spec_write "$WORLD_DIR/pod.json" 'exec sleep 1000' '{"io.kubernetes.cri.container-type":"sandbox"}'
capture run_spec pod --detach --null-io
done_well $? 'a pod'
spec_write "$WORLD_DIR/hung.json" 'true' "$of_pod" "createRuntime:$WORLD_DIR/hangs"
timeout "$WAIT_SECONDS" ctr run --detach --null-io --runtime "$RUNTIME" --config "$WORLD_DIR/hung.json" \
	"$WORLD-hung" 2>"$WORLD_DIR/hung.err" &
hung=$!
read -r pid <"$WORLD_DIR/hangs.begun"
ok $? 'a container of it, with a hook that never ends'
spec_write "$WORLD_DIR/other.json" 'echo other' "$of_pod"
capture run_spec other --rm
is "$? $(cat "$OUT")" '0 other' 'another one comes and goes meanwhile' || diag "$(cat "$ERR")"
capture in_container pod echo exec
is "$(cat "$OUT")" exec 'an exec, too'
capture container_remove pod
done_well $? 'and the pod ends'
wait_gone "$pid"
ok $? 'and its hook with it'
! wait "$hung"
ok $? 'and the creation has failed'
like "$(cat "$WORLD_DIR/hung.err")" 'createRuntime hook 0, .*/hangs, is ended: nobody waits for it' 'which is told'
ctr container rm "$WORLD-hung"
pods_gone 'nothing of it stays'

spec_write "$WORLD_DIR/late.json" 'exec sleep 1000' '{}' "poststart:$WORLD_DIR/hangs"
timeout "$WAIT_SECONDS" ctr run --detach --null-io --runtime "$RUNTIME" --config "$WORLD_DIR/late.json" \
	"$WORLD-late" 2>/dev/null &
late=$!
read -r pid <"$WORLD_DIR/hangs.begun"
ok $? 'a container whose hook after its start never ends'
capture in_container late echo exec
is "$(cat "$OUT")" exec 'runs'
capture ctr task rm --force "$WORLD-late"
done_well $? 'and can be removed'
wait_gone "$pid"
ok $? 'and its hook has ended'
wait "$late"
ctr container rm "$WORLD-late"
system_end
