/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's file server: the process that the guest has its files from. */
#pragma once

#include "shim/pod.h"

/* Of a pod that has a VM. One that ends by itself takes the VM along. */
int pod_files_start(struct pod *pod, struct err *err);
/* When nobody has a use of the VM any more. */
void pod_files_stop(struct pod *pod);
