/* SPDX-License-Identifier: Apache-2.0 */
/* The images of layers that a pod's VM has, each plugged once. */
#pragma once

#include "shim/pod.h"
#include "shim/trees.h"

/*
 * Waits until the trees know whether there is an image of their layers, and if so plugs
 * it, unless a container before has had it. Where it can't be plugged the trees do
 * without, and the log says so. Of whoever changes the pod, which has a VM. Again:
 * nothing happens.
 */
int pod_images_plug(struct pod *pod, struct trees *trees, struct err *err);
/* With the VM's end. */
void pod_images_forget(struct pod *pod);
