/* SPDX-License-Identifier: Apache-2.0 */
/* Steering a namespace's loopback connections: see port_steer.h. */
#include "shim/port_steer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "shim/net.h"

/* As many as nobody dials at once before they are accepted. */
#define BACKLOG 1024

/* ---- the listener ---- */

/* At any address and port: nobody knows it. A socket of IPv6's is for both families. */
static int listen_anywhere(int netns_fd, sa_family_t family, int *ret_fd)
{
	const struct sockaddr_in6 any = {.sin6_family = family};
	socklen_t size = family == AF_INET6 ? sizeof(any) : sizeof(struct sockaddr_in);
	_cleanup_close_ int fd = -1;
	int r = net_open_socket(netns_fd, family, &fd), no = 0;

	if (r < 0)
		return r;
	if ((family == AF_INET6 &&
		    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) < 0) ||
		bind(fd, (const struct sockaddr *)&any, size) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- the program ---- */

static int call_bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

/* The listener, where the program finds it. */
static int make_map(int listen_fd)
{
	union bpf_attr make = {.map_type = BPF_MAP_TYPE_SOCKMAP,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(uint64_t),
		.max_entries = 1};
	uint64_t value = (uint64_t)listen_fd;
	uint32_t key = 0;
	int r, fd = call_bpf(BPF_MAP_CREATE, &make);

	if (fd < 0)
		return fd;
	r = call_bpf(BPF_MAP_UPDATE_ELEM, &(union bpf_attr){.map_fd = (uint32_t)fd,
						  .key = (uint64_t)(uintptr_t)&key,
						  .value = (uint64_t)(uintptr_t)&value});
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

#define FIELD(name) ((int16_t)offsetof(struct bpf_sk_lookup, name))
#define LOAD(reg, from, offset)                                                          \
	{                                                                                \
		.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (reg), .src_reg = (from),  \
		.off = (offset)                                                          \
	}
#define SET(reg, value)                                                                  \
	{                                                                                \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (reg), .imm = (value)    \
	}
#define COPY(reg, from)                                                                  \
	{                                                                                \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (reg), .src_reg = (from) \
	}
#define COMPUTE(op, reg, value)                                                          \
	{                                                                                \
		.code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (reg), .imm = (value)       \
	}
#define JUMP(op, reg, value, by)                                                         \
	{                                                                                \
		.code = BPF_JMP32 | (op) | BPF_K, .dst_reg = (reg), .imm = (value),      \
		.off = (by)                                                              \
	}
#define CALL(function)                                                                   \
	{                                                                                \
		.code = BPF_JMP | BPF_CALL, .imm = (function)                            \
	}

#define JUMP_ALWAYS(by)                                                                  \
	{                                                                                \
		.code = BPF_JMP | BPF_JA, .off = (by)                                    \
	}
#define OR(reg, from)                                                                    \
	{                                                                                \
		.code = BPF_ALU64 | BPF_OR | BPF_X, .dst_reg = (reg), .src_reg = (from)  \
	}

/* Places in the program; a jump is counted from the instruction behind it. */
enum { AT_V6 = 9, AT_STEER = 17, AT_END = 31, PROGRAM_LEN = 33 };
#define TO(target, at) ((int16_t)((target) - (at)-1))

static int load_program(int map_fd)
{
	/* clang-format off */
	const struct bpf_insn program[PROGRAM_LEN] = {
		[0] = COPY(BPF_REG_6, BPF_REG_1),
		[1] = LOAD(BPF_REG_2, BPF_REG_6, FIELD(protocol)),
		[2] = JUMP(BPF_JNE, BPF_REG_2, IPPROTO_TCP, TO(AT_END, 2)),
		[3] = LOAD(BPF_REG_2, BPF_REG_6, FIELD(family)),
		[4] = JUMP(BPF_JNE, BPF_REG_2, AF_INET, TO(AT_V6, 4)),
		/* 127.0.0.0/8: addresses are as on the wire. */
		[5] = LOAD(BPF_REG_2, BPF_REG_6, FIELD(local_ip4)),
		[6] = COMPUTE(BPF_AND, BPF_REG_2, 0xff),
		[7] = JUMP(BPF_JNE, BPF_REG_2, 127, TO(AT_END, 7)),
		[8] = JUMP_ALWAYS(TO(AT_STEER, 8)),
		/* ::1 */
		[AT_V6] = LOAD(BPF_REG_2, BPF_REG_6, FIELD(local_ip6[3])),
		[10] = JUMP(BPF_JNE, BPF_REG_2, 0x01000000, TO(AT_END, 10)),
		[11] = LOAD(BPF_REG_2, BPF_REG_6, FIELD(local_ip6[0])),
		[12] = LOAD(BPF_REG_3, BPF_REG_6, FIELD(local_ip6[1])),
		[13] = OR(BPF_REG_2, BPF_REG_3),
		[14] = LOAD(BPF_REG_3, BPF_REG_6, FIELD(local_ip6[2])),
		[15] = OR(BPF_REG_2, BPF_REG_3),
		[16] = JUMP(BPF_JNE, BPF_REG_2, 0, TO(AT_END, 16)),
		/* The map's first and only socket. */
		[AT_STEER] = {.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4},
		[18] = {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1,
			.src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd},
		/* 19 is the other half of 18 */
		[20] = COPY(BPF_REG_2, BPF_REG_10),
		[21] = COMPUTE(BPF_ADD, BPF_REG_2, -4),
		[22] = CALL(BPF_FUNC_map_lookup_elem),
		[23] = {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = TO(AT_END, 23)},
		[24] = COPY(BPF_REG_7, BPF_REG_0),
		[25] = COPY(BPF_REG_1, BPF_REG_6),
		[26] = COPY(BPF_REG_2, BPF_REG_7),
		[27] = SET(BPF_REG_3, 0),
		[28] = CALL(BPF_FUNC_sk_assign),
		[29] = COPY(BPF_REG_1, BPF_REG_7),
		[30] = CALL(BPF_FUNC_sk_release),
		/* One that was not assigned is looked up as ever. */
		[AT_END] = SET(BPF_REG_0, SK_PASS),
		[32] = {.code = BPF_JMP | BPF_EXIT},
	};
	/* clang-format on */

	return call_bpf(
		BPF_PROG_LOAD, &(union bpf_attr){.prog_type = BPF_PROG_TYPE_SK_LOOKUP,
				       .expected_attach_type = BPF_SK_LOOKUP,
				       .insn_cnt = PROGRAM_LEN,
				       .insns = (uint64_t)(uintptr_t)program,
				       .license = (uint64_t)(uintptr_t) "GPL"});
}

/* The link keeps the program, and that the map. */
static int attach_program(int netns_fd, int listen_fd, int *ret_link_fd)
{
	_cleanup_close_ int map_fd = make_map(listen_fd), program_fd = -1;
	int r;

	if (map_fd < 0)
		return map_fd;
	program_fd = load_program(map_fd);
	if (program_fd < 0)
		return program_fd;
	r = call_bpf(BPF_LINK_CREATE,
		&(union bpf_attr){.link_create = {.prog_fd = (uint32_t)program_fd,
					  .target_fd = (uint32_t)netns_fd,
					  .attach_type = BPF_SK_LOOKUP}});
	if (r < 0)
		return r;
	*ret_link_fd = r;
	return 0;
}

int port_steer(int netns_fd, int *ret_listen_fd, int *ret_link_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = listen_anywhere(netns_fd, AF_INET6, &fd);

	if (r == -EAFNOSUPPORT)
		r = listen_anywhere(netns_fd, AF_INET, &fd);
	if (r < 0)
		return err_sys(err, r, "cannot listen in the network namespace");
	r = attach_program(netns_fd, fd, ret_link_fd);
	if (r < 0)
		return err_sys(err, r,
			"cannot steer connections by BPF (sk_lookup, Linux 5.9; "
			"CAP_BPF and CAP_NET_ADMIN)");
	*ret_listen_fd = steal_fd(&fd);
	return 0;
}
