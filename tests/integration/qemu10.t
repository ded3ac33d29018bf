#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tests that run a real QEMU, with one of the other kind: from 9.1 on it saves and restores by
# descriptor sets.
cd "$STENCIL_SOURCE" || exit 1
. tests/lib/tap.sh
. tests/lib/qemu10.sh

[ "$(id -u)" = 0 ] || skip_all "needs root: VMs and mounts"
qemu10_get || skip_all "no QEMU 10: $REASON"
like "$("$QEMU10" --version)" '^QEMU emulator version [1-9][0-9]+\.' 'QEMU 10 or later'
diag "$("$QEMU10" --version | head -n 1): $QEMU10"

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for test in test_vm test_holds test_readonly test_templated test_shim_disks; do
	STENCIL_QEMU=$QEMU10 "$STENCIL_BUILD/tests/integration/$test.t" >"$log" 2>&1 </dev/null
	status=$?
	while IFS= read -r line; do
		case $line in
		'ok '*) ok 0 "$test: ${line#ok * - }" ;;
		'not ok '*) ok 1 "$test: ${line#not ok * - }" ;;
		esac
	done <"$log"
	ok $status "$test ends well" || diag "$(tail -n 60 "$log")"
done
done_testing
