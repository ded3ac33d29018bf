/* SPDX-License-Identifier: Apache-2.0 */
/* guest/names: what is sent to Docker's name server goes to the host, and back. */
#include "tests/unit/guest_agent.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct guest guest;

static int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	return 0;
}

static int end(void **state)
{
	(void)state;
	guest_stop(&guest);
	return 0;
}

static int serve(struct err *err)
{
	Grpc__ServeNamesRequest req = GRPC__SERVE_NAMES_REQUEST__INIT;

	return agent_serve_names(guest.agent, &req, soon(), err);
}

static int next(Grpc__Query **ret, struct err *err)
{
	Grpc__NextQueryRequest req = GRPC__NEXT_QUERY_REQUEST__INIT;

	return agent_next_query(guest.agent, &req, ret, soon(), err);
}

static int answer(const Grpc__Query *query, const void *data, size_t len, struct err *err)
{
	Grpc__Query out = GRPC__QUERY__INIT;

	out.address = query->address;
	out.port = query->port;
	out.data.data = (uint8_t *)data;
	out.data.len = len;
	return agent_answer_query(guest.agent, &out, soon(), err);
}

static struct sockaddr_in address_of(uint32_t ip, uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(ip),
		.sin_port = htons(port)};
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static int dial(int type)
{
	const struct sockaddr_in to = address_of(DOCKER_NAMES_ADDRESS, DOCKER_NAMES_PORT);
	int fd = open_socket(type);

	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* ---- before it serves ---- */

static void test_not_served(void **state)
{
	Grpc__Query query = GRPC__QUERY__INIT, *got = NULL;
	struct err err = ERR_INIT;
	_cleanup_close_ int fd = dial(SOCK_DGRAM);
	char byte = 0;

	(void)state;
	assert_error(next(&got, &err), -EBUSY, "NextQuery: names are not served");
	assert_error(answer(&query, "x", 1, &err), -EBUSY,
		"AnswerQuery: names are not served");
	/* As without us: nobody is there. */
	assert_int_equal(send(fd, "q", 1, 0), 1);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
}

/* ---- datagrams ---- */

/* A connected socket takes what comes from port 53 of that address, and nothing else. */
static void test_datagrams(void **state)
{
	_cleanup_close_ int one = dial(SOCK_DGRAM), two = dial(SOCK_DGRAM);
	Grpc__Query *first = NULL, *second = NULL;
	struct err err = ERR_INIT;
	char text[16] = "";

	(void)state;
	assert_int_equal(serve(&err), 0);
	assert_int_equal(send(one, "first", 5, 0), 5);
	assert_int_equal(next(&first, &err), 0);
	assert_int_equal(send(two, "second", 6, 0), 6);
	assert_int_equal(next(&second, &err), 0);
	assert_int_equal(first->connection, 0);
	assert_int_equal(first->data.len, 5);
	assert_memory_equal(first->data.data, "first", 5);
	assert_memory_equal(second->data.data, "second", 6);
	assert_int_equal(answer(second, "2nd", 3, &err), 0);
	assert_int_equal(answer(first, "1st", 3, &err), 0);
	assert_int_equal(recv(one, text, sizeof(text), 0), 3);
	assert_string_equal(text, "1st");
	assert_int_equal(recv(two, text, sizeof(text), 0), 3);
	assert_string_equal(text, "2nd");
	grpc__query__free_unpacked(first, NULL);
	grpc__query__free_unpacked(second, NULL);
}

static void test_largest(void **state)
{
	const size_t size = 65507;
	_cleanup_free_ uint8_t *data = xzalloc(size), *got = xzalloc(size);
	_cleanup_close_ int fd = dial(SOCK_DGRAM);
	Grpc__Query *query = NULL;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7 / 3);
	assert_int_equal(serve(&err), 0);
	assert_int_equal(send(fd, data, size, 0), size);
	assert_int_equal(next(&query, &err), 0);
	assert_int_equal(query->data.len, size);
	assert_memory_equal(query->data.data, data, size);
	assert_int_equal(answer(query, data, size, &err), 0);
	assert_int_equal(recv(fd, got, size, 0), size);
	assert_memory_equal(got, data, size);
	grpc__query__free_unpacked(query, NULL);
}

static void test_bad_answers(void **state)
{
	Grpc__Query query = GRPC__QUERY__INIT;
	_cleanup_free_ uint8_t *data = xzalloc(65508);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(serve(&err), 0);
	query.address = htonl(INADDR_LOOPBACK);
	assert_error(answer(&query, "x", 1, &err), -EINVAL,
		"AnswerQuery: an answer without data or port");
	query.port = 65536;
	assert_error(answer(&query, "x", 1, &err), -EINVAL,
		"AnswerQuery: an answer without data or port");
	query.port = 1;
	assert_error(answer(&query, "", 0, &err), -EINVAL,
		"AnswerQuery: an answer without data or port");
	assert_error(answer(&query, data, 65508, &err), -EINVAL,
		"AnswerQuery: an answer without data or port");
}

/* ---- connections ---- */

static void test_connection(void **state)
{
	Grpc__WritePortRequest write = GRPC__WRITE_PORT_REQUEST__INIT;
	Grpc__ReadPortRequest read_some = GRPC__READ_PORT_REQUEST__INIT;
	Grpc__ClosePortRequest close_it = GRPC__CLOSE_PORT_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	Grpc__Query *query = NULL;
	struct err err = ERR_INIT;
	_cleanup_close_ int fd = -1;
	char text[16] = "";

	(void)state;
	assert_int_equal(serve(&err), 0);
	fd = dial(SOCK_STREAM);
	assert_int_equal(send(fd, "asked", 5, 0), 5);
	assert_int_equal(next(&query, &err), 0);
	assert_int_not_equal(query->connection, 0);
	assert_int_equal(query->data.len, 0);
	read_some.id = write.id = close_it.id = query->connection;
	read_some.len = 100;
	assert_int_equal(agent_read_port(guest.agent, &read_some, &out, soon(), &err), 0);
	assert_int_equal(out->data.len, 5);
	assert_memory_equal(out->data.data, "asked", 5);
	write.data = (ProtobufCBinaryData){.data = (uint8_t *)"told", .len = 4};
	assert_int_equal(agent_write_port(guest.agent, &write, soon(), &err), 0);
	assert_int_equal(recv(fd, text, 4, MSG_WAITALL), 4);
	assert_string_equal(text, "told");
	assert_int_equal(agent_close_port(guest.agent, &close_it, soon(), &err), 0);
	assert_int_equal(recv(fd, text, 1, 0), 0);
	grpc__read_stream_response__free_unpacked(out, NULL);
	grpc__query__free_unpacked(query, NULL);
}

static void hang_up(uint64_t id)
{
	Grpc__ClosePortRequest request = GRPC__CLOSE_PORT_REQUEST__INIT;
	struct err err = ERR_INIT;

	request.id = id;
	assert_int_equal(agent_close_port(guest.agent, &request, soon(), &err), 0);
}

/* The id of the connection that was made last; 0: a datagram is next. */
static uint64_t next_connection(void)
{
	Grpc__Query *query = NULL;
	struct err err = ERR_INIT;
	uint64_t id;

	assert_int_equal(next(&query, &err), 0);
	id = query->connection;
	grpc__query__free_unpacked(query, NULL);
	return id;
}

static void *run_next(void *ret_id)
{
	*(uint64_t *)ret_id = next_connection();
	return NULL;
}

/* Whoever makes connections in the guest leaves the agent descriptors. */
static void test_too_many_connections(void **state)
{
	enum { MAX = 256 };
	_cleanup_close_ int datagrams = dial(SOCK_DGRAM), more = -1;
	struct err err = ERR_INIT;
	uint64_t ids[MAX], id = 1;
	pthread_t thread;
	int fds[MAX];
	char byte;

	(void)state;
	assert_int_equal(serve(&err), 0);
	for (int i = 0; i < MAX; i++) {
		fds[i] = dial(SOCK_STREAM);
		ids[i] = next_connection();
		assert_int_not_equal(ids[i], 0);
	}
	/* One more is hung up on, and what comes behind it is not. */
	more = dial(SOCK_STREAM);
	assert_int_equal(thread_start(run_next, &id, 0, false, &thread), 0);
	assert_int_equal(recv(more, &byte, 1, 0), 0);
	assert_int_equal(send(datagrams, "q", 1, 0), 1);
	pthread_join(thread, NULL);
	assert_int_equal(id, 0);
	hang_up(ids[0]);
	close(fds[0]);
	fds[0] = dial(SOCK_STREAM);
	ids[0] = next_connection();
	assert_int_not_equal(ids[0], 0);
	for (int i = 0; i < MAX; i++) {
		hang_up(ids[i]);
		assert_int_equal(recv(fds[i], &byte, 1, 0), 0);
		close(fds[i]);
	}
}

/* ---- others' port 53 ---- */

/* A container that is a name server itself binds the port on any address, and gets what
 * is sent to others of them. */
static void test_port_is_free(void **state)
{
	const struct sockaddr_in any = address_of(INADDR_ANY, DOCKER_NAMES_PORT),
				 loopback =
					 address_of(INADDR_LOOPBACK, DOCKER_NAMES_PORT);
	_cleanup_close_ int own = open_socket(SOCK_DGRAM),
			    own_tcp = open_socket(SOCK_STREAM), fd = dial(SOCK_DGRAM),
			    other = open_socket(SOCK_DGRAM);
	Grpc__Query *query = NULL;
	struct err err = ERR_INIT;
	char text[16] = "";
	int yes = 1;

	(void)state;
	assert_int_equal(serve(&err), 0);
	/* As servers do, and what was accepted before may be there still. */
	assert_int_equal(
		setsockopt(own_tcp, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
	assert_int_equal(bind(own, (const struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(bind(own_tcp, (const struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(own_tcp, 1), 0);
	assert_int_equal(sendto(other, "own", 3, 0, (const struct sockaddr *)&loopback,
				 sizeof(loopback)),
		3);
	assert_int_equal(recv(own, text, sizeof(text), 0), 3);
	assert_string_equal(text, "own");
	assert_int_equal(send(fd, "docker", 6, 0), 6);
	assert_int_equal(next(&query, &err), 0);
	assert_memory_equal(query->data.data, "docker", 6);
	grpc__query__free_unpacked(query, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_not_served),
		TEST(test_datagrams),
		TEST(test_largest),
		TEST(test_bad_answers),
		TEST(test_connection),
		TEST(test_too_many_connections),
		TEST(test_port_is_free),
	};

	world_enter(0);
	if (world_in_user_namespace) {
		printf("1..0 # SKIP needs root: BPF\n");
		return 0;
	}
	if (loopback_raise() < 0)
		world_skip("lo can't be set up");
	return cmocka_run_group_tests_name("guest/names", tests, NULL, NULL);
}
