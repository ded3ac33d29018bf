/* SPDX-License-Identifier: Apache-2.0 */
/* files/room: requests that find no room and wait for what the guest forgets; and which
 * requests are served at once. */
#include "tests/unit/files_peer.h"

#include <pthread.h>

#include "base/thread.h"
#include "files/room.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned int asked, waits;
static struct room room;

static void count(unsigned int *counter)
{
	pthread_mutex_lock(&lock);
	(*counter)++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void await_asked(unsigned int n)
{
	pthread_mutex_lock(&lock);
	while (asked < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void note_crowded(void *user)
{
	(void)user;
	count(&asked);
}

static void note_waits(void *user)
{
	(void)user;
	count(&waits);
}

/* The root and one file fill it. */
static struct world *full_world(int wait_ms)
{
	static struct tree_options options = {.room = &room, .crowded = note_crowded};
	struct world *w;

	asked = waits = 0;
	room_init(&room, 2, 2, wait_ms);
	w = world_new(&options);
	world_file(w, "one");
	world_file(w, "two");
	return w;
}

static void full_world_free(struct world *w)
{
	world_free(w);
	assert_int_equal(room.used[ROOM_INODES], 0);
	assert_int_equal(room.used[ROOM_HANDLES], 0);
	room_done(&room);
}

struct asker {
	struct talk *talk;
	pthread_t thread;
	int result;
};

static void *asker_run(void *arg)
{
	struct asker *asker = arg;
	struct fuse_entry_out entry;

	asker->result = talk_look_up(asker->talk, FUSE_ROOT_ID, "two", &entry);
	return NULL;
}

static struct asker *asker_new(struct world *w)
{
	struct asker *asker = xnew0(struct asker);

	asker->talk = talk_new(w->tree);
	asker->talk->waits = note_waits;
	assert_int_equal(
		thread_start(asker_run, asker, 256 << 10, false, &asker->thread), 0);
	return asker;
}

static int asker_end(struct asker *asker)
{
	int result;

	pthread_join(asker->thread, NULL);
	result = asker->result;
	talk_free(asker->talk);
	free(asker);
	return result;
}

static void test_waits_for_forget(void **state)
{
	struct world *w = full_world(PATIENCE_MS);
	uint64_t one = nodeid_of(w, "one");
	struct asker *asker;

	(void)state;
	asked = 0;
	asker = asker_new(w);
	await_asked(1);
	assert_int_equal(waits, 1);
	talk_forget(w->talk, one, 1);
	assert_int_equal(asker_end(asker), 0);
	full_world_free(w);
}

static void test_waits_no_longer(void **state)
{
	struct world *w = full_world(1);
	struct fuse_entry_out entry;

	(void)state;
	nodeid_of(w, "one");
	asked = 0;
	w->talk->waits = note_waits;
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "two", &entry), -ENFILE);
	assert_true(asked > 0);
	assert_int_equal(waits, 1);
	w->talk->waits = NULL;
	full_world_free(w);
}

/* The guest has unmounted, or the tree is removed. */
static void test_end_of_the_tree(void **state)
{
	struct world *w = full_world(PATIENCE_MS);
	struct asker *asker;

	(void)state;
	nodeid_of(w, "one");
	asked = 0;
	asker = asker_new(w);
	await_asked(1);
	tree_interrupt_all(w->tree);
	assert_int_equal(asker_end(asker), -ENFILE);
	full_world_free(w);
}

static void test_shared(void **state)
{
	struct world *w = full_world(0);
	struct tree_options options = {.room = &room, .crowded = note_crowded};
	struct tree *other = tree_at(w->folder, &options);
	struct fuse_entry_out entry;

	(void)state;
	/* Each root has its place. */
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "one", &entry), -ENFILE);
	tree_free(other);
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "one", &entry), 0);
	full_world_free(w);
}

/* ---- at once ---- */

static void test_at_once(void **state)
{
	struct tree_options options = {.inodes_max = 3, .handles_max = 2};
	struct world *w = world_new(&options);
	struct fuse_entry_out entry;
	struct fuse_attr_out attr;
	uint64_t nodeid, fh;

	(void)state;
	world_file(w, "one");
	world_file(w, "two");
	world_file(w, "three");
	nodeid = nodeid_of(w, "one");
	/* It was made a moment ago, so that it is in memory. */
	assert_true(w->talk->at_once);
	assert_int_equal(talk_getattr(w->talk, nodeid, &attr), 0);
	assert_true(w->talk->at_once);
	assert_int_equal(attr.attr.size, 4);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDONLY, &fh), 0);
	assert_false(w->talk->at_once);
	nodeid_of(w, "two");
	/* Where there is no room another may wait for it. */
	assert_int_equal(talk_look_up(w->talk, FUSE_ROOT_ID, "three", &entry), -ENFILE);
	assert_false(w->talk->at_once);
	world_free(w);
}

/* A network's file system, for one, may let wait whoever asks: here one of processes. */
static void test_not_local(void **state)
{
	struct tree *tree = tree_at("/proc", &world_shared);
	struct talk *t = talk_new(tree);
	struct fuse_init_out out;
	struct fuse_entry_out entry;

	(void)state;
	assert_int_equal(talk_init(t, PEER_FLAGS, &out), 0);
	assert_int_equal(talk_look_up(t, FUSE_ROOT_ID, "version", &entry), 0);
	assert_false(t->at_once);
	talk_free(t);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits_for_forget),
		cmocka_unit_test(test_waits_no_longer),
		cmocka_unit_test(test_end_of_the_tree),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_not_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
