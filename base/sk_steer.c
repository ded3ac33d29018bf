/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets given to what others look up: see sk_steer.h. */
#include "base/sk_steer.h"

#include <assert.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"

static int call_bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

/* ---- the sockets, where the program finds them: by the number of their rule ---- */

static int put_socket(int map_fd, uint32_t at, int fd)
{
	uint64_t value = (uint64_t)fd;

	return call_bpf(
		BPF_MAP_UPDATE_ELEM, &(union bpf_attr){.map_fd = (uint32_t)map_fd,
					     .key = (uint64_t)(uintptr_t)&at,
					     .value = (uint64_t)(uintptr_t)&value});
}

static int make_map(const struct sk_steer_rule *rules, unsigned int n)
{
	union bpf_attr make = {.map_type = BPF_MAP_TYPE_SOCKMAP,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(uint64_t),
		.max_entries = n};
	int fd = call_bpf(BPF_MAP_CREATE, &make), r = 0;

	for (uint32_t i = 0; fd >= 0 && r >= 0 && i < n; i++)
		if (rules[i].fd >= 0)
			r = put_socket(fd, i, rules[i].fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* ---- the program ---- */

/* Of a rule, with all four words of an address; and of what comes behind them. */
#define RULE_LEN 16
#define TAIL_LEN 16
#define LEN_MAX  (1 + SK_STEER_RULES_MAX * RULE_LEN + TAIL_LEN)

/* A jump is counted from the instruction behind it. All are forward, to a place that is
 * not known yet: it is a list of those that go there. */
struct place {
	unsigned int from[SK_STEER_RULES_MAX * RULE_LEN], n;
};

struct program {
	struct bpf_insn insn[LEN_MAX];
	unsigned int n;
	struct place steer, end;
};

static void program_add(struct program *p, struct bpf_insn insn)
{
	assert(p->n < LEN_MAX);
	p->insn[p->n++] = insn;
}

static void add_jump(struct program *p, struct bpf_insn insn, struct place *to)
{
	to->from[to->n++] = p->n;
	program_add(p, insn);
}

static void set_place(struct program *p, const struct place *here)
{
	for (unsigned int i = 0; i < here->n; i++)
		p->insn[here->from[i]].off = (int16_t)(p->n - here->from[i] - 1);
}

#define FIELD(name) ((int16_t)offsetof(struct bpf_sk_lookup, name))
#define LOAD(reg, from, offset)                                                          \
	((struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W,                            \
		.dst_reg = (reg),                                                        \
		.src_reg = (from),                                                       \
		.off = (offset)})
#define SET(reg, value)                                                                  \
	((struct bpf_insn){                                                              \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (reg), .imm = (value)})
#define COPY(reg, from)                                                                  \
	((struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X,                          \
		.dst_reg = (reg),                                                        \
		.src_reg = (from)})
#define COMPUTE(op, reg, value)                                                          \
	((struct bpf_insn){                                                              \
		.code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (reg), .imm = (value)})
#define STORE(offset, value)                                                             \
	((struct bpf_insn){.code = BPF_ST | BPF_MEM | BPF_W,                             \
		.dst_reg = BPF_REG_10,                                                   \
		.off = (offset),                                                         \
		.imm = (value)})
#define CALL(function) ((struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = (function)})
#define JUMP_NOT(reg, value)                                                             \
	((struct bpf_insn){.code = BPF_JMP32 | BPF_JNE | BPF_K,                          \
		.dst_reg = (reg),                                                        \
		.imm = (int32_t)(value)})
#define JUMP_ZERO(reg)                                                                   \
	((struct bpf_insn){.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (reg)})
#define JUMP_ALWAYS ((struct bpf_insn){.code = BPF_JMP | BPF_JA})
#define EXIT        ((struct bpf_insn){.code = BPF_JMP | BPF_EXIT})

static void add_check(
	struct program *p, int16_t field, uint32_t value, struct place *otherwise)
{
	program_add(p, LOAD(BPF_REG_2, BPF_REG_6, field));
	add_jump(p, JUMP_NOT(BPF_REG_2, value), otherwise);
}

static void add_address_check(
	struct program *p, const struct sk_steer_rule *rule, struct place *otherwise)
{
	if (rule->family == AF_INET6) {
		for (int i = 0; i < 4; i++)
			add_check(p, (int16_t)(FIELD(local_ip6) + 4 * i),
				rule->address[i], otherwise);
		return;
	}
	program_add(p, LOAD(BPF_REG_2, BPF_REG_6, FIELD(local_ip4)));
	program_add(p, COMPUTE(BPF_AND, BPF_REG_2, (int32_t)rule->mask));
	add_jump(p, JUMP_NOT(BPF_REG_2, rule->address[0] & rule->mask), otherwise);
}

static void add_rule(
	struct program *p, const struct sk_steer_rule *rule, unsigned int number)
{
	struct place next = {.n = 0};

	add_check(p, FIELD(protocol), (uint32_t)rule->protocol, &next);
	add_check(p, FIELD(family), (uint32_t)rule->family, &next);
	/* The program has it in the host's order. */
	if (rule->port)
		add_check(p, FIELD(local_port), rule->port, &next);
	add_address_check(p, rule, &next);
	if (rule->fd >= 0)
		program_add(p, STORE(-4, (int32_t)number));
	add_jump(p, JUMP_ALWAYS, rule->fd >= 0 ? &p->steer : &p->end);
	set_place(p, &next);
}

static void add_tail(struct program *p, int map_fd)
{
	add_jump(p, JUMP_ALWAYS, &p->end);
	set_place(p, &p->steer);
	program_add(p, (struct bpf_insn){.code = BPF_LD | BPF_DW | BPF_IMM,
			       .dst_reg = BPF_REG_1,
			       .src_reg = BPF_PSEUDO_MAP_FD,
			       .imm = map_fd});
	program_add(p, (struct bpf_insn){0}); /* its other half */
	program_add(p, COPY(BPF_REG_2, BPF_REG_10));
	program_add(p, COMPUTE(BPF_ADD, BPF_REG_2, -4));
	program_add(p, CALL(BPF_FUNC_map_lookup_elem));
	add_jump(p, JUMP_ZERO(BPF_REG_0), &p->end);
	program_add(p, COPY(BPF_REG_7, BPF_REG_0));
	program_add(p, COPY(BPF_REG_1, BPF_REG_6));
	program_add(p, COPY(BPF_REG_2, BPF_REG_7));
	program_add(p, SET(BPF_REG_3, 0));
	program_add(p, CALL(BPF_FUNC_sk_assign));
	program_add(p, COPY(BPF_REG_1, BPF_REG_7));
	program_add(p, CALL(BPF_FUNC_sk_release));
	/* One that was not assigned is looked up as ever. */
	set_place(p, &p->end);
	program_add(p, SET(BPF_REG_0, SK_PASS));
	program_add(p, EXIT);
}

static int load_program(int map_fd, const struct sk_steer_rule *rules, unsigned int n)
{
	struct program p = {.n = 0};

	program_add(&p, COPY(BPF_REG_6, BPF_REG_1));
	for (unsigned int i = 0; i < n; i++)
		add_rule(&p, &rules[i], i);
	add_tail(&p, map_fd);
	return call_bpf(
		BPF_PROG_LOAD, &(union bpf_attr){.prog_type = BPF_PROG_TYPE_SK_LOOKUP,
				       .expected_attach_type = BPF_SK_LOOKUP,
				       .insn_cnt = p.n,
				       .insns = (uint64_t)(uintptr_t)p.insn,
				       .license = (uint64_t)(uintptr_t) "GPL"});
}

/* The link keeps the program, and that the map. */
int sk_steer(
	int netns_fd, const struct sk_steer_rule *rules, unsigned int n, int *ret_link_fd)
{
	_cleanup_close_ int map_fd = -1, program_fd = -1;
	int r;

	assert(n > 0 && n <= SK_STEER_RULES_MAX);
	map_fd = make_map(rules, n);
	if (map_fd < 0)
		return map_fd;
	program_fd = load_program(map_fd, rules, n);
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
