/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions that ended early: remembered alone, and in a second level that
 * others share, loses and forges.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "session.h"

#define SEC(n) apr_time_from_sec(n)

static const apr_time_t noon = SEC(1700000100);
static apr_pool_t *pool;

static int set_up(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* ------------------------------------------------------------------ ended */

static const unsigned char ada[CASP_SESSION_ID] = "\0\1\2ada\xff\xfe";
static const unsigned char bob[CASP_SESSION_ID] = "\0\1\2bob\xff\xfe";

static void test_ended_alone(void **state)
{
    casp_ended_t *e = casp_ended_create(pool, 100, NULL, "contoso");

    (void)state;
    assert_false(casp_ended_is(e, ada, noon));
    casp_ended_note(e, ada, noon + SEC(1350), noon);
    assert_true(casp_ended_is(e, ada, noon));
    assert_true(casp_ended_is(e, ada, noon + SEC(1351)));
    /* a cookie of a clock that is a slot ahead */
    assert_true(casp_ended_is(e, ada, noon + SEC(1800)));
    assert_false(casp_ended_is(e, ada, noon + SEC(3600)));
    assert_false(casp_ended_is(e, bob, noon));
    casp_ended_note(e, bob, noon - SEC(1), noon); /* over anyway */
    assert_false(casp_ended_is(e, bob, noon + SEC(10)));
    /* full: the newest is known, and there is an end to it */
    for (int i = 0; i < 1000; i++) {
        unsigned char id[CASP_SESSION_ID] = {0};
        memcpy(id, &i, sizeof(i));
        casp_ended_note(e, id, noon + SEC(900), noon);
        assert_true(casp_ended_is(e, id, noon));
    }
    e = casp_ended_create(pool, 0, NULL, "contoso");
    casp_ended_note(e, ada, noon + SEC(1350), noon);
    assert_false(casp_ended_is(e, ada, noon));
}

/* A second level that is a shelf of a few places, and counts. */
typedef struct {
    struct {
        char key[128], bytes[64];
        apr_size_t key_len, len;
        apr_time_t expires;
    } place[8];
    int n, gets;
} shelf_t;

static apr_size_t shelf_get(void *baton, const char *key, apr_size_t key_len,
                            void *buf, apr_size_t buf_len)
{
    shelf_t *shelf = baton;

    shelf->gets++;
    for (int i = 0; i < shelf->n; i++) {
        if (shelf->place[i].key_len == key_len
            && !memcmp(shelf->place[i].key, key, key_len)) {
            assert_true(shelf->place[i].len <= buf_len);
            memcpy(buf, shelf->place[i].bytes, shelf->place[i].len);
            return shelf->place[i].len;
        }
    }
    return 0;
}

static void shelf_put(void *baton, const char *key, apr_size_t key_len,
                      const void *bytes, apr_size_t len, apr_time_t expires)
{
    shelf_t *shelf = baton;
    int i = shelf->n++;

    assert_true(i < 8 && key_len <= 120 && len <= 64);
    memcpy(shelf->place[i].key, key, shelf->place[i].key_len = key_len);
    memcpy(shelf->place[i].bytes, bytes, shelf->place[i].len = len);
    shelf->place[i].expires = expires;
}

static void test_ended_shared(void **state)
{
    static shelf_t shelf;
    const casp_cache2_t second = {shelf_get, shelf_put, &shelf};
    casp_ended_t *here = casp_ended_create(pool, 100, &second, "contoso");
    casp_ended_t *there = casp_ended_create(pool, 100, &second, "contoso");
    casp_ended_t *other = casp_ended_create(pool, 100, &second, "fabrikam");

    (void)state;
    memset(&shelf, 0, sizeof(shelf));
    /* "not ended" is believed for five seconds, and no longer */
    assert_false(casp_ended_is(there, ada, noon));
    assert_int_equal(shelf.gets, 1);
    assert_false(casp_ended_is(there, ada, noon + SEC(4)));
    assert_int_equal(shelf.gets, 1);
    casp_ended_note(here, ada, noon + SEC(1350), noon + SEC(1));
    assert_int_equal(shelf.n, 1);
    assert_memory_equal(shelf.place[0].key,
                        "ended:contoso:000102616461fffe0000000000000000", 46);
    assert_int_equal(shelf.place[0].key_len, 46);
    assert_true(shelf.place[0].expires >= noon + SEC(1350));
    assert_true(casp_ended_is(here, ada, noon + SEC(2)));
    assert_int_equal(shelf.gets, 1); /* who noted it need not ask */
    assert_false(casp_ended_is(there, ada, noon + SEC(4)));
    assert_true(casp_ended_is(there, ada, noon + SEC(5)));
    assert_int_equal(shelf.gets, 2);
    /* then it is known here, though the shelf be swept */
    shelf.n = 0;
    assert_true(casp_ended_is(there, ada, noon + SEC(1350)));
    assert_int_equal(shelf.gets, 2);
    /* another organisation asks for itself */
    assert_false(casp_ended_is(other, ada, noon + SEC(5)));
    assert_int_equal(shelf.gets, 3);
    /* a clock that was set back asks again */
    assert_false(casp_ended_is(other, ada, noon - SEC(60)));
    assert_int_equal(shelf.gets, 4);
    /* noting forgets what was believed */
    assert_false(casp_ended_is(there, bob, noon));
    casp_ended_note(there, bob, noon + SEC(9), noon);
    assert_true(casp_ended_is(there, bob, noon));
}

static void test_ended_shelf(void **state)
{
    static shelf_t shelf;
    const casp_cache2_t second = {shelf_get, shelf_put, &shelf};
    const char *name = "a name that is far too long for a key in memcached, "
                       "and yet must not be the end of anything";
    casp_ended_t *none = casp_ended_create(pool, 0, &second, name);
    casp_ended_t *e = casp_ended_create(pool, 100, &second, name);

    (void)state;
    memset(&shelf, 0, sizeof(shelf));
    /* without a table of its own the shelf is asked every time */
    assert_false(casp_ended_is(none, ada, noon));
    assert_false(casp_ended_is(none, ada, noon));
    assert_int_equal(shelf.gets, 2);
    casp_ended_note(none, ada, noon + SEC(9), noon);
    assert_true(casp_ended_is(none, ada, noon));
    assert_true(casp_ended_is(e, ada, noon));
    /* a record that is over, and one that is no record */
    assert_false(casp_ended_is(e, ada, noon + SEC(999)));
    shelf.place[0].len = 3;
    assert_true(casp_ended_is(e, ada, noon + SEC(2000)));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_ended_alone),
        TEST(test_ended_shared),
        TEST(test_ended_shelf),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
