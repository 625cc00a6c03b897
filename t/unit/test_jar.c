/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The jar: cookies of backends' own forms, sealed and kept per user, through
 * bounds, clocks and threads, with a second level that loses, keeps and
 * forges.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "backforms.h"

#define SEC(n) apr_time_from_sec(n)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOON SEC(1700000000)

static apr_pool_t *pool;
static char logged[4096];

static int set_up(void **state)
{
    (void)state;
    *logged = '\0';
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

#define SLOTS 16

/* A second level of the simplest kind. */
typedef struct {
    struct {
        char key[128];
        apr_size_t key_len, len;
        unsigned char bytes[9000];
    } slots[SLOTS];
    int gets, puts, longest_key;
    apr_time_t expires;
} second_t;

static second_t shared;

static int shared_find(const char *key, apr_size_t len)
{
    for (int i = 0; i < SLOTS; i++) {
        if (shared.slots[i].key_len == len
            && memcmp(shared.slots[i].key, key, len) == 0) {
            return i;
        }
    }
    return -1;
}

static apr_size_t shared_get(void *baton, const char *key, apr_size_t key_len,
                             void *buf, apr_size_t buf_len)
{
    int i = shared_find(key, key_len);

    assert_ptr_equal(baton, &shared);
    shared.gets++;
    if (i < 0 || shared.slots[i].len > buf_len) {
        return 0;
    }
    memcpy(buf, shared.slots[i].bytes, shared.slots[i].len);
    return shared.slots[i].len;
}

static void shared_put(void *baton, const char *key, apr_size_t key_len,
                       const void *bytes, apr_size_t len, apr_time_t expires)
{
    int i = shared_find(key, key_len);

    assert_ptr_equal(baton, &shared);
    assert_in_range(key_len, 1, 64);
    assert_true(len <= sizeof(shared.slots[0].bytes));
    for (int k = 0; i < 0 && k < SLOTS; k++) {
        i = shared.slots[k].key_len ? -1 : k;
    }
    assert_true(i >= 0);
    shared.puts++;
    shared.expires = expires;
    memcpy(shared.slots[i].key, key, key_len);
    shared.slots[i].key_len = key_len;
    memcpy(shared.slots[i].bytes, bytes, len);
    shared.slots[i].len = len;
}

static const casp_cache2_t second = {shared_get, shared_put, &shared};
static const unsigned char key_a[32] = "the key of this start, all of it";
static const unsigned char key_b[32] = "the key of the next start, of it";

static casp_jar_t *jar_of(const unsigned char *key, const casp_cache2_t *level,
                          const char *name)
{
    casp_jar_t *jar = casp_jar_create(pool, 8, SEC(3600), key, level, name);
    assert_non_null(jar);
    return jar;
}

static void expect(casp_jar_t *jar, const char *id, apr_size_t len, int now,
                   const char *cookies)
{
    const char *got = casp_jar_get(jar, pool, id, len, NOON + SEC(now));

    if (!cookies) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, cookies);
}

static void keep(casp_jar_t *jar, const char *id, apr_size_t len, int now,
                 const char *cookies)
{
    casp_jar_put(jar, id, len, cookies, NOON + SEC(now));
}

static void test_jar(void **state)
{
    casp_jar_t *jar = jar_of(key_a, NULL, "contoso");

    (void)state;
    expect(jar, "a", 1, 0, NULL);
    keep(jar, "a", 1, 0, "cadata=A");
    keep(jar, "a\0b", 3, 0, "cadata=AB");
    keep(jar, "", 0, 0, "cadata=empty");
    expect(jar, "a", 1, 0, "cadata=A");
    expect(jar, "a\0b", 3, 0, "cadata=AB");
    expect(jar, "a\0c", 3, 0, NULL);
    expect(jar, "a\0", 2, 0, NULL);
    expect(jar, "b", 1, 0, NULL);
    expect(jar, "", 0, 0, "cadata=empty");
    keep(jar, "a", 1, 10, "cadata=B");
    expect(jar, "a", 1, 3609, "cadata=B");
    expect(jar, "a", 1, 3610, NULL);
    expect(jar, "a\0b", 3, 3599, "cadata=AB");
    expect(jar, "a\0b", 3, 3600, NULL);
    keep(jar, "a", 1, 0, "cadata=C");
    keep(jar, "a", 1, 1, NULL);
    expect(jar, "a", 1, 1, NULL);
    keep(jar, "a", 1, 0, "cadata=C");
    keep(jar, "a", 1, 1, "");
    expect(jar, "a", 1, 1, NULL);
    for (int i = 0; i < 100; i++) { /* bounded */
        keep(jar, (const char *)&i, sizeof(i), 0, "cadata=X");
    }
    int left = 0;
    for (int i = 0; i < 100; i++) {
        left += casp_jar_get(jar, pool, &i, sizeof(i), NOON) != NULL;
    }
    assert_int_equal(left, 8);
    assert_string_equal(logged, "");
}

static void test_jar_bounds(void **state)
{
    casp_jar_t *jar = jar_of(key_a, NULL, "");
    char *text = apr_pcalloc(pool, 8194), *id = apr_pcalloc(pool, 4097);

    (void)state;
    memset(text, 'x', 8193);
    keep(jar, "a", 1, 0, "cadata=A");
    keep(jar, "a", 1, 0, text); /* too long: and the old one is not true */
    expect(jar, "a", 1, 0, NULL);
    text[8192] = '\0';
    keep(jar, "a", 1, 0, text);
    expect(jar, "a", 1, 0, text);
    keep(jar, id, 4096, 0, "cadata=A");
    expect(jar, id, 4096, 0, "cadata=A");
    keep(jar, id, 4097, 0, "cadata=A");
    expect(jar, id, 4097, 0, NULL);
    /* jars that keep nothing */
    jar = casp_jar_create(pool, 0, SEC(60), key_a, NULL, "x");
    keep(jar, "a", 1, 0, "cadata=A");
    expect(jar, "a", 1, 0, NULL);
    jar = casp_jar_create(pool, 8, 0, key_a, NULL, NULL);
    keep(jar, "a", 1, 0, "cadata=A");
    expect(jar, "a", 1, 0, NULL);
    keep(NULL, "a", 1, 0, "cadata=A");
    expect(NULL, "a", 1, 0, NULL);
}

static void test_jar_shared(void **state)
{
    (void)state;
    memset(&shared, 0, sizeof(shared));
    casp_jar_t *one = jar_of(key_a, &second, "contoso");
    casp_jar_t *two = jar_of(key_a, &second, "contoso");
    casp_jar_t *next = jar_of(key_b, &second, "contoso");
    casp_jar_t *other = jar_of(key_a, &second, "fabrikam");

    keep(one, "a", 1, 0, "cadata=A");
    assert_int_equal(shared.puts, 1);
    assert_true(shared.expires == NOON + SEC(3600));
    /* nothing in there can be read */
    for (apr_size_t i = 0; i + 6 <= shared.slots[0].len; i++) {
        assert_memory_not_equal(shared.slots[0].bytes + i, "cadata", 6);
    }
    assert_int_equal(shared.slots[0].len, 37 + 8);
    expect(one, "a", 1, 1, "cadata=A");
    assert_int_equal(shared.gets, 0); /* it knows */
    expect(two, "a", 1, 1, "cadata=A");
    expect(two, "a", 1, 2, "cadata=A");
    assert_int_equal(shared.gets, 1);
    expect(next, "a", 1, 1, NULL);
    expect(other, "a", 1, 1, NULL);
    /* one renews: the other believes its own for a few seconds, no longer */
    keep(one, "a", 1, 2, "cadata=B");
    expect(two, "a", 1, 3, "cadata=A");
    expect(two, "a", 1, 8, "cadata=B");
    /* one signs out */
    keep(two, "a", 1, 9, NULL);
    expect(two, "a", 1, 9, NULL);
    expect(one, "a", 1, 12, NULL);
    expect(one, "a", 1, 13, NULL);
    /* what the second level loses is still known here */
    keep(one, "a", 1, 20, "cadata=C");
    memset(&shared, 0, sizeof(shared));
    expect(one, "a", 1, 30, "cadata=C");
    assert_int_equal(shared.gets, 1);
    expect(one, "a", 1, 31, "cadata=C");
    assert_int_equal(shared.gets, 1); /* asked once in a while */
    expect(one, "a", 1, 3619, "cadata=C");
    expect(one, "a", 1, 3620, NULL);
}

/* A clock that goes back makes nobody believe for longer. */
static void test_jar_clock(void **state)
{
    char name[100];

    (void)state;
    memset(&shared, 0, sizeof(shared));
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    casp_jar_t *one = jar_of(key_a, &second, name);
    casp_jar_t *two = jar_of(key_a, &second, name);
    keep(one, "a", 1, 1000, "cadata=A");
    keep(two, "a", 1, 100, "cadata=B");
    expect(one, "a", 1, 100, "cadata=B");
}

/* Whoever can write to a shared cache changes nothing. */
static void test_jar_forged(void **state)
{
    unsigned char good[128];

    (void)state;
    memset(&shared, 0, sizeof(shared));
    casp_jar_t *one = jar_of(key_a, &second, "contoso");
    keep(one, "a", 1, 0, "cadata=A");
    keep(one, "b", 1, 0, "cadata=B");
    apr_size_t len = shared.slots[0].len;
    memcpy(good, shared.slots[0].bytes, len);
    expect(jar_of(key_a, &second, "contoso"), "a", 1, 0, "cadata=A");
    for (apr_size_t i = 0; i < len * 8; i++) {
        shared.slots[0].bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        expect(jar_of(key_a, &second, "contoso"), "a", 1, 0, NULL);
        memcpy(shared.slots[0].bytes, good, len);
    }
    for (apr_size_t i = 0; i < len; i++) {
        shared.slots[0].len = i;
        expect(jar_of(key_a, &second, "contoso"), "a", 1, 0, NULL);
    }
    shared.slots[0].len = sizeof(shared.slots[0].bytes);
    expect(jar_of(key_a, &second, "contoso"), "a", 1, 0, NULL);
    /* one user's in another's place */
    shared.slots[0].len = len;
    memcpy(shared.slots[1].bytes, good, len);
    expect(jar_of(key_a, &second, "contoso"), "b", 1, 0, NULL);
    expect(jar_of(key_a, &second, "contoso"), "a", 1, 0, "cadata=A");
    /* one organisation's in another's: the key is that of contoso */
    memcpy(shared.slots[1].key, shared.slots[0].key,
           sizeof(shared.slots[0].key));
    memcpy(shared.slots[1].key + 2, "fabrika", 7);
    expect(jar_of(key_a, &second, "fabrika"), "a", 1, 0, NULL);
    /* an old one, laid there again: its time is in it */
    expect(jar_of(key_a, &second, "contoso"), "a", 1, 3599, "cadata=A");
    expect(jar_of(key_a, &second, "contoso"), "a", 1, 3600, NULL);
    /* garbage does not drive out what is known */
    memset(shared.slots[0].bytes, 'x', len);
    expect(one, "a", 1, 100, "cadata=A");
}

static void test_jar_never_twice_the_same(void **state)
{
    unsigned char before[64];

    (void)state;
    memset(&shared, 0, sizeof(shared));
    casp_jar_t *jar = jar_of(key_a, &second, "contoso");
    keep(jar, "a", 1, 0, "cadata=A");
    memcpy(before, shared.slots[0].bytes, 45);
    keep(jar, "a", 1, 0, "cadata=A");
    assert_memory_equal(before, shared.slots[0].bytes, 9);
    assert_memory_not_equal(before + 9, shared.slots[0].bytes + 9, 12);
    assert_memory_not_equal(before + 21, shared.slots[0].bytes + 21, 8);
}

/* ------------------------------------------------------------ many threads */

static casp_jar_t *common;

static void *APR_THREAD_FUNC use_jar(apr_thread_t *thread, void *baton)
{
    int *wrong = baton;
    apr_pool_t *p;

    (void)thread;
    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    for (int i = 0; i < 2000; i++) {
        char id = (char)('a' + i % 12);
        char text[] = "cadata=?";
        text[7] = id;
        if (i % 5 == 0) {
            casp_jar_put(common, &id, 1, i % 25 ? text : NULL, NOON);
        }
        const char *got = casp_jar_get(common, p, &id, 1, NOON);
        *wrong += got && strcmp(got, text) != 0;
        if (i % 100 == 0) {
            apr_pool_clear(p);
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

static void test_jar_threads(void **state)
{
    apr_thread_t *threads[6];
    int wrong[6] = {0};
    apr_status_t rv;

    (void)state;
    common = jar_of(key_a, NULL, "contoso");
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, use_jar,
                                           &wrong[i], pool),
                         APR_SUCCESS);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(wrong[i], 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_jar),         TEST(test_jar_bounds),
        TEST(test_jar_shared),  TEST(test_jar_clock),
        TEST(test_jar_forged),  TEST(test_jar_never_twice_the_same),
        TEST(test_jar_threads),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
