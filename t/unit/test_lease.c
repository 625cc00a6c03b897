/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Leases: what a key gets back, and never another one; bounds, age, and whose
 * logins are over.  Then many threads at once: what a lease carries is written
 * without a lock or an atomic operation, so that ThreadSanitizer is the judge
 * of whether its holder has it alone.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "lease.h"

#define SEC(n) apr_time_from_sec(n)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOON SEC(1700000000)

static apr_pool_t *pool;

/* A connection: whose it is, and how often it was closed. */
typedef struct {
    char key[16];
    int user;
    int holders; /* plain on purpose */
    long uses;
    int closed;
} thing_t;

static int open_now, open_most, closed_ever;
static casp_leases_t *asked_by_close;

static void thing_close(void *carries)
{
    thing_t *thing = carries;
    casp_lease_stats_t stats;

    assert_int_equal(thing->closed, 0);
    assert_int_equal(thing->holders, 0);
    thing->closed++;
    __atomic_sub_fetch(&open_now, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&closed_ever, 1, __ATOMIC_RELAXED);
    if (asked_by_close) { /* hangs where the lock is held */
        casp_leases_stats(asked_by_close, &stats);
    }
}

static thing_t *thing_open(thing_t *thing, const char *key, int user)
{
    int n = __atomic_add_fetch(&open_now, 1, __ATOMIC_RELAXED);
    int most = __atomic_load_n(&open_most, __ATOMIC_RELAXED);

    while (n > most
           && !__atomic_compare_exchange_n(&open_most, &most, n, false,
                                           __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED)) {
    }
    memset(thing, 0, sizeof(*thing));
    apr_cpystrn(thing->key, key, sizeof(thing->key));
    thing->user = user;
    return thing;
}

static casp_guid_t tag_of(int user)
{
    casp_guid_t tag;

    memset(&tag, 0, sizeof(tag));
    memcpy(tag.b, &user, sizeof(user));
    return tag;
}

/* ------------------------------------------------------- one after another */

static casp_leases_t *leases;
static thing_t things[64];
static int made;

static int set_up(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    made = open_now = open_most = closed_ever = 0;
    leases = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    casp_leases_destroy(leases);
    asked_by_close = NULL;
    return open_now;
}

static void begin(int max, int per_key, int ttl)
{
    casp_lease_conf_t conf = {max, per_key, SEC(ttl), thing_close};

    leases = casp_leases_create(&conf);
    assert_non_null(leases);
    asked_by_close = leases;
}

/* As a request does it: what is new is filled. */
static casp_lease_t *take(const char *key, int user, int now,
                          casp_lease_e expected)
{
    casp_guid_t tag = tag_of(user);
    casp_lease_t *lease = (casp_lease_t *)(uintptr_t)1;
    casp_lease_e how = casp_lease_take(leases, key, strlen(key), &tag,
                                       NOON + SEC(now), &lease);

    assert_int_equal(how, expected);
    if (how == CASP_LEASE_FULL) {
        assert_null(lease);
        return NULL;
    }
    if (how == CASP_LEASE_NEW) {
        assert_null(casp_lease_carries(lease));
        assert_true(made < (int)COUNT(things));
        casp_lease_fill(lease, thing_open(&things[made++], key, user));
    }
    thing_t *thing = casp_lease_carries(lease);
    assert_string_equal(thing->key, key);
    assert_int_equal(thing->closed, 0);
    return lease;
}

static void put(casp_lease_t *lease, bool keep, int now)
{
    casp_lease_put(leases, lease, keep, NOON + SEC(now));
}

static void drop(int user)
{
    casp_guid_t tag = tag_of(user);
    casp_leases_drop(leases, &tag);
}

static void expect(int out, int idle, int reused, int evicted, int refused)
{
    casp_lease_stats_t s;

    casp_leases_stats(leases, &s);
    assert_int_equal(s.out, out);
    assert_int_equal(s.idle, idle);
    assert_int_equal(s.made, made);
    assert_int_equal(s.reused, reused);
    assert_int_equal(s.evicted, evicted);
    assert_int_equal(s.refused, refused);
}

static void test_comes_back(void **state)
{
    (void)state;
    begin(8, 8, 60);
    casp_lease_t *a = take("a", 1, 0, CASP_LEASE_NEW);
    thing_t *thing = casp_lease_carries(a);
    expect(1, 0, 0, 0, 0);
    put(a, true, 1);
    expect(0, 1, 0, 0, 0);
    a = take("a", 1, 2, CASP_LEASE_IDLE);
    assert_ptr_equal(casp_lease_carries(a), thing);
    expect(1, 0, 1, 0, 0);
    /* what is out is nobody else's, not even the same user's */
    casp_lease_t *b = take("a", 1, 2, CASP_LEASE_NEW);
    assert_ptr_not_equal(casp_lease_carries(b), thing);
    put(a, false, 3);
    assert_int_equal(thing->closed, 1);
    assert_int_equal(open_now, 1);
    put(b, true, 3);
    expect(0, 1, 1, 0, 0);
    casp_leases_destroy(leases);
    leases = NULL;
    assert_int_equal(closed_ever, 2);
}

/* The one used last: what lies long is closed by backends first. */
static void test_youngest_first(void **state)
{
    casp_lease_t *l[4];

    (void)state;
    begin(8, 8, 60);
    for (int i = 0; i < 4; i++) {
        l[i] = take("a", 1, 0, CASP_LEASE_NEW);
    }
    /* at one time, and not in the order in which they were made */
    static const int order[] = {2, 0, 3, 1};
    for (int i = 0; i < 4; i++) {
        put(l[order[i]], true, 5);
    }
    for (int i = 3; i >= 0; i--) {
        casp_lease_t *again = take("a", 1, 6, CASP_LEASE_IDLE);
        assert_ptr_equal(casp_lease_carries(again), &things[order[i]]);
        l[i] = again;
    }
    casp_lease_t *fifth = take("a", 1, 6, CASP_LEASE_NEW);
    for (int i = 0; i < 4; i++) {
        put(l[i], false, 7);
    }
    put(fifth, false, 7);
    put(NULL, true, 7);
    expect(0, 0, 4, 0, 0);
}

static void test_keys_are_apart(void **state)
{
    static const struct {
        const char *key;
        size_t len;
    } keys[] = {
        {"", 0},   {"a", 1},    {"ab", 2},   {"abc", 3},  {"abcd", 4},
        {"\0", 1}, {"\0\0", 2}, {"a\0", 2},  {"a\0b", 3}, {"a\0c", 3},
        {"b", 1},  {"A", 1},    {"\xff", 1}, {"ba", 2},   {"a ", 2},
    };
    casp_lease_t *lease;
    casp_guid_t tag = tag_of(7);
    int user = 0;

    (void)state;
    begin(64, 4, 60);
    for (size_t i = 0; i < COUNT(keys); i++) {
        assert_int_equal(casp_lease_take(leases, keys[i].key, keys[i].len,
                                         &tag, NOON, &lease),
                         CASP_LEASE_NEW);
        casp_lease_fill(lease, thing_open(&things[made++], "", (int)i));
        casp_lease_put(leases, lease, true, NOON);
    }
    for (size_t i = 0; i < COUNT(keys); i++) {
        assert_int_equal(casp_lease_take(leases, keys[i].key, keys[i].len,
                                         &tag, NOON, &lease),
                         CASP_LEASE_IDLE);
        user = ((thing_t *)casp_lease_carries(lease))->user;
        assert_int_equal(user, (int)i);
        casp_lease_put(leases, lease, true, NOON);
    }
    expect(0, (int)COUNT(keys), (int)COUNT(keys), 0, 0);
    /* the same key in another's name is a mistake, and serves nobody */
    tag = tag_of(8);
    assert_int_equal(casp_lease_take(leases, "a", 1, &tag, NOON, &lease),
                     CASP_LEASE_NEW);
    assert_int_equal(things[1].closed, 1);
    casp_lease_put(leases, lease, false, NOON);
    made++;
    expect(0, (int)COUNT(keys) - 1, (int)COUNT(keys), 0, 0);
}

static void test_bounds(void **state)
{
    casp_lease_t *l[5];

    (void)state;
    begin(4, 2, 60);
    l[0] = take("a", 1, 0, CASP_LEASE_NEW);
    l[1] = take("a", 1, 0, CASP_LEASE_NEW);
    take("a", 1, 0, CASP_LEASE_FULL);
    expect(2, 0, 0, 0, 1);
    l[2] = take("b", 2, 0, CASP_LEASE_NEW);
    l[3] = take("c", 3, 0, CASP_LEASE_NEW);
    /* all out: nothing can give way */
    take("d", 4, 0, CASP_LEASE_FULL);
    put(l[2], true, 1);
    put(l[3], true, 2);
    put(l[0], true, 3);
    /* the longest idle one gives way, of whatever key */
    l[4] = take("d", 4, 4, CASP_LEASE_NEW);
    assert_int_equal(things[2].closed, 1);
    assert_int_equal(things[3].closed + things[0].closed, 0);
    expect(2, 2, 0, 1, 2);
    /* a key at its own bound drives nobody out */
    l[0] = take("a", 1, 4, CASP_LEASE_IDLE);
    take("a", 1, 4, CASP_LEASE_FULL);
    assert_int_equal(things[3].closed, 0);
    expect(3, 1, 1, 1, 3);
    put(l[0], false, 5);
    put(l[1], false, 5);
    put(l[4], false, 5);
    expect(0, 1, 1, 1, 3);
    assert_int_equal(open_most, 4);
    l[0] = take("a", 1, 6, CASP_LEASE_NEW);
    put(l[0], true, 6);
}

static void test_no_room_at_all(void **state)
{
    (void)state;
    begin(0, 5, 60);
    take("a", 1, 0, CASP_LEASE_FULL);
    casp_leases_destroy(leases);
    begin(5, 0, 60);
    take("a", 1, 0, CASP_LEASE_FULL);
}

static void test_age(void **state)
{
    casp_lease_t *l[3];

    (void)state;
    begin(3, 3, 60);
    for (int i = 0; i < 3; i++) {
        l[i] = take("a", 1, 0, CASP_LEASE_NEW);
    }
    put(l[0], true, 0);
    put(l[1], true, 10);
    casp_leases_tick(leases, NOON + SEC(60));
    expect(1, 2, 0, 0, 0);
    casp_leases_tick(leases, NOON + SEC(60) + 1);
    expect(1, 1, 0, 0, 0);
    assert_int_equal(things[0].closed, 1);
    /* an hour without a tick: it is not given out, and its place is free */
    put(l[2], true, 20);
    l[0] = take("a", 1, 80, CASP_LEASE_IDLE);
    assert_ptr_equal(casp_lease_carries(l[0]), &things[2]);
    put(l[0], false, 80);
    l[0] = take("a", 1, 3600, CASP_LEASE_NEW);
    assert_int_equal(things[1].closed, 1);
    expect(1, 0, 1, 0, 0);
    put(l[0], true, 3600);
    casp_leases_tick(leases, NOON + SEC(3600)); /* nothing is old */
    casp_leases_tick(leases, NOON); /* nor when the clock goes back */
    expect(0, 1, 1, 0, 0);
}

static void test_keeps_nothing_unsure(void **state)
{
    casp_lease_t *lease;
    casp_guid_t tag = tag_of(1);

    (void)state;
    begin(4, 4, 60);
    /* never filled: to keep it would be to hand out nothing */
    assert_int_equal(casp_lease_take(leases, "a", 1, &tag, NOON, &lease),
                     CASP_LEASE_NEW);
    casp_lease_put(leases, lease, true, NOON);
    made++;
    expect(0, 0, 0, 0, 0);
    assert_int_equal(closed_ever, 0);
    casp_leases_destroy(leases);
    made = 0;
    begin(4, 4, 0); /* idle for no time at all */
    put(take("a", 1, 0, CASP_LEASE_NEW), true, 0);
    expect(0, 0, 0, 0, 0);
    assert_int_equal(closed_ever, 1);
}

static void test_drop(void **state)
{
    casp_lease_t *l[5];

    (void)state;
    begin(8, 8, 60);
    l[0] = take("a", 1, 0, CASP_LEASE_NEW);
    l[1] = take("a", 1, 0, CASP_LEASE_NEW);
    l[2] = take("a at another", 1, 0, CASP_LEASE_NEW);
    l[3] = take("b", 2, 0, CASP_LEASE_NEW);
    l[4] = take("b", 2, 0, CASP_LEASE_NEW);
    put(l[0], true, 1);
    put(l[2], true, 1);
    put(l[3], true, 1);
    drop(3);
    expect(2, 3, 0, 0, 0);
    drop(1);
    assert_int_equal(things[0].closed + things[2].closed, 2);
    assert_int_equal(things[1].closed + things[3].closed, 0);
    expect(2, 1, 0, 0, 0);
    drop(1); /* once more is no harm */
    /* what is taken after that is a new login, and good */
    l[0] = take("a", 1, 2, CASP_LEASE_NEW);
    put(l[0], true, 2);
    put(l[1], true, 3);
    assert_int_equal(things[1].closed, 1);
    l[0] = take("a", 1, 4, CASP_LEASE_IDLE);
    put(l[0], true, 4);
    put(l[4], true, 4);
    expect(0, 3, 1, 0, 0);
}

/* ------------------------------------------------------------- all at once */

#define THREADS 8
#define ROUNDS 4000
#define USERS 12
#define KEYS 4 /* of a user, each a beginning of the next */
#define MAX 10
#define PER_KEY 2

typedef struct {
    unsigned seed;
    int wrong;
    long served, full;
} worker_t;

static unsigned roll(worker_t *w, unsigned n)
{
    w->seed = w->seed * 1103515245u + 12345u;
    return (w->seed >> 16) % n;
}

static void serve(worker_t *w, casp_lease_t *lease, const char *key, int user)
{
    thing_t *thing = casp_lease_carries(lease);

    if (!thing) {
        thing = malloc(sizeof(*thing));
        casp_lease_fill(lease, thing_open(thing, key, user));
    }
    w->wrong += thing->user != user || strcmp(thing->key, key) != 0;
    w->wrong += thing->closed || thing->holders++ != 0;
    if (roll(w, 4) == 0) {
        apr_thread_yield();
    }
    thing->uses++;
    w->wrong += --thing->holders != 0;
    w->served++;
}

static void free_thing(void *carries)
{
    thing_close(carries);
    free(carries);
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *baton)
{
    worker_t *w = baton;

    (void)thread;
    for (int i = 0; i < ROUNDS; i++) {
        int user = (int)roll(w, USERS);
        casp_guid_t tag = tag_of(user);
        casp_lease_t *lease;
        char key[16] = "user-  ----";

        key[5] = (char)('a' + user);
        size_t len = 7 + roll(w, KEYS);
        key[len] = '\0';
        apr_time_t now = NOON + i * 1000;
        if (casp_lease_take(leases, key, len, &tag, now, &lease)
            == CASP_LEASE_FULL) {
            w->full++;
        }
        else {
            serve(w, lease, key, user);
            casp_lease_put(leases, lease, roll(w, 8) != 0, now);
        }
        if (roll(w, 50) == 0) {
            casp_leases_drop(leases, &tag);
        }
        if (roll(w, 100) == 0) {
            casp_leases_tick(leases, now);
        }
    }
    return NULL; /* no apr_thread_exit(): ASan dislikes pthread_exit() */
}

static void test_many_threads(void **state)
{
    casp_lease_conf_t conf = {MAX, PER_KEY, SEC(1), free_thing};
    apr_thread_t *threads[THREADS];
    worker_t workers[THREADS];
    casp_lease_stats_t s;
    apr_status_t rv;
    long served = 0, full = 0;

    (void)state;
    leases = casp_leases_create(&conf);
    assert_non_null(leases);
    asked_by_close = leases;
    for (int i = 0; i < THREADS; i++) {
        memset(&workers[i], 0, sizeof(workers[i]));
        workers[i].seed = (unsigned)i * 7919u + 1u;
        assert_int_equal(apr_thread_create(&threads[i], NULL, work,
                                           &workers[i], pool),
                         APR_SUCCESS);
    }
    for (int i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(workers[i].wrong, 0);
        served += workers[i].served;
        full += workers[i].full;
    }
    casp_leases_stats(leases, &s);
    assert_int_equal(s.out, 0);
    assert_int_equal(s.idle, open_now);
    assert_int_equal(s.made + s.reused, served);
    assert_int_equal(s.refused, full);
    assert_int_equal(served + full, (long)THREADS * ROUNDS);
    /* it was about something */
    assert_true(s.reused > 100 && s.evicted > 100);
    /* and the bound held for connections, not for records alone */
    assert_in_range(open_most, 2, MAX);
    casp_leases_destroy(leases);
    leases = NULL;
    asked_by_close = NULL;
    assert_int_equal(open_now, 0);
    assert_int_equal(closed_ever, (int)s.made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_youngest_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_keys_are_apart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_room_at_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keeps_nothing_unsure, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_drop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_threads, set_up, tear_down),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
