/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Tickets that are kept: who may ask for one and who waits, what is kept and
 * for how long, bounds, and many threads at once.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "gsscache.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MS(n) ((apr_interval_time_t)(n)*1000)
#define HOST "be1.contoso.test"

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

/* ------------------------------------------------------------------- seats */

static const casp_gss_times_t quick = {.turn = MS(80),
                                       .inside = MS(80),
                                       .slow = MS(60),
                                       .rest = MS(100),
                                       .refused = MS(100)};
static volatile int freed;

static void free_tickets(void *tickets)
{
    (void)tickets;
    __sync_add_and_fetch(&freed, 1);
}

static casp_guid_t guid(unsigned n)
{
    casp_guid_t g = {{0}};
    memcpy(g.b, &n, sizeof(n));
    return g;
}

static casp_gss_seat_t *enter(casp_gss_cache_t *c, unsigned user,
                              unsigned char password)
{
    unsigned char tag[CASP_GSS_TAG] = {password};
    casp_guid_t g = guid(user);
    return casp_gss_seat_enter(c, &g, tag);
}

static casp_turn_e turn_at(casp_gss_seat_t *seat, const char *host,
                           casp_gss_login_t **login)
{
    casp_gss_e verdict = CASP_GSS_OK;
    char *why = NULL;
    casp_turn_e turn = casp_gss_seat_turn(seat, host, login, &verdict, &why);
    if (turn == CASP_TURN_REFUSED) {
        assert_int_equal(verdict, CASP_GSS_REFUSED);
        assert_string_equal(why, "because");
    }
    else {
        assert_null(why);
    }
    free(why);
    return turn;
}

/* A turn whose login, where there is one, is of no interest. */
static casp_turn_e turn(casp_gss_cache_t *c, casp_gss_seat_t *seat,
                        const char *host)
{
    casp_gss_login_t *login;
    casp_turn_e t = turn_at(seat, host, &login);
    if (login) {
        casp_gss_login_drop(c, login);
    }
    return t;
}

/* Ask and get, as a KDC that gives tickets of that life would. */
static void land(casp_gss_cache_t *c, casp_gss_seat_t *seat, const char *host,
                 apr_interval_time_t life)
{
    casp_gss_login_t *login;
    assert_int_equal(turn_at(seat, host, &login), CASP_TURN_ASK);
    if (!login) {
        login = casp_gss_login_make(NULL, free_tickets, life);
    }
    casp_gss_seat_landed(seat, login, host, life);
    casp_gss_login_drop(c, login);
}

static void test_kept(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(10, &quick);
    casp_gss_seat_t *seat = enter(c, 1, 1), *other = enter(c, 1, 2);
    casp_gss_login_t *login;

    freed = 0;
    assert_ptr_not_equal(seat, other); /* another password */
    assert_int_equal(casp_gss_cache_count(c), 2);
    land(c, seat, HOST, MS(600));
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
    assert_int_equal(turn(c, other, HOST), CASP_TURN_ASK);
    /* another host needs but its own ticket */
    assert_int_equal(turn_at(seat, "be2", &login), CASP_TURN_ASK);
    assert_non_null(login);
    casp_gss_seat_landed(seat, login, "be2", MS(600));
    casp_gss_login_drop(c, login);
    assert_int_equal(turn(c, seat, "be2"), CASP_TURN_KEPT);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);

    /* past the half of such a short life it is got anew, all of it; those
     * who come meanwhile go on with the old one */
    usleep(350 * 1000);
    assert_int_equal(turn_at(seat, HOST, &login), CASP_TURN_ASK);
    assert_null(login);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
    login = casp_gss_seat_failed(seat, HOST); /* no KDC: still good */
    assert_non_null(login);
    casp_gss_login_drop(c, login);
    assert_null(casp_gss_seat_failed(seat, "be3"));
    usleep(350 * 1000);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_ASK);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_LATE);
    assert_null(casp_gss_seat_failed(seat, HOST)); /* over */

    casp_gss_seat_leave(seat);
    casp_gss_seat_leave(other);
    assert_int_equal(freed, 0);
    casp_gss_cache_end(c);
    assert_int_equal(freed, 1);
}

static void test_early(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(10, &quick);
    casp_gss_seat_t *seat = enter(c, 1, 1);

    /* a host's ticket that ends before the user's: all is got anew */
    casp_gss_login_t *login;
    freed = 0;
    assert_int_equal(turn_at(seat, HOST, &login), CASP_TURN_ASK);
    login = casp_gss_login_make(NULL, free_tickets, APR_USEC_PER_SEC * 36000);
    casp_gss_seat_landed(seat, login, HOST, MS(100));
    casp_gss_login_drop(c, login);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
    usleep(120 * 1000);
    land(c, seat, HOST, MS(100000));
    assert_int_equal(freed, 1);
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
    casp_gss_seat_leave(seat);
    casp_gss_cache_end(c);
    assert_int_equal(freed, 2);
}

static void test_many_hosts(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(10, &quick);
    casp_gss_seat_t *seat = enter(c, 1, 1);

    freed = 0;
    for (int i = 0; i < 3 * CASP_GSS_HOSTS; i++) {
        land(c, seat, apr_psprintf(pool, "be%d", i), MS(60000));
    }
    assert_int_equal(freed, 2); /* a login has so many, and no more */
    casp_gss_seat_leave(seat);
    casp_gss_cache_end(c);
}

static void test_refused(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(10, &quick);
    casp_gss_seat_t *seat = enter(c, 1, 1);

    assert_int_equal(turn(c, seat, HOST), CASP_TURN_ASK);
    casp_gss_seat_refused(seat, HOST, CASP_GSS_REFUSED, "because");
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_REFUSED);
    assert_int_equal(turn(c, seat, "be2"), CASP_TURN_ASK);
    casp_gss_seat_refused(seat, NULL, CASP_GSS_REFUSED, "because");
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_REFUSED);
    assert_int_equal(turn(c, seat, "be2"), CASP_TURN_REFUSED);
    usleep(120 * 1000); /* not for ever */
    land(c, seat, HOST, MS(60000));
    assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
    casp_gss_seat_leave(seat);
    casp_gss_cache_end(c);
}

static void test_bounds(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(3, &quick);
    casp_gss_seat_t *used = enter(c, 0, 1);

    freed = 0;
    land(c, used, HOST, MS(60000));
    for (unsigned i = 1; i < 100; i++) {
        casp_gss_seat_t *seat = enter(c, i, 1);
        land(c, seat, HOST, MS(60000));
        casp_gss_seat_leave(seat);
        seat = enter(c, 1, 1); /* always in use: never gives way */
        if (i > 1) {
            assert_int_equal(turn(c, seat, HOST), CASP_TURN_KEPT);
        }
        casp_gss_seat_leave(seat);
        assert_true(casp_gss_cache_count(c) <= 3);
    }
    assert_int_equal(casp_gss_cache_count(c), 3);
    assert_int_equal(freed, 96); /* 100, less 3 and the one that is used */
    assert_int_equal(turn(c, used, HOST), CASP_TURN_KEPT);
    casp_gss_seat_leave(used);
    assert_int_equal(freed, 97);
    casp_gss_cache_end(c);
    assert_int_equal(freed, 100);
}

static void test_forget(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(10, &quick);
    casp_gss_seat_t *a = enter(c, 1, 1), *b = enter(c, 1, 2);
    casp_gss_seat_t *d = enter(c, 2, 1);
    casp_guid_t g = guid(1);

    freed = 0;
    land(c, a, HOST, MS(60000));
    land(c, b, HOST, MS(60000));
    land(c, d, HOST, MS(60000));
    casp_gss_seat_leave(a);
    casp_gss_seat_leave(d);
    casp_gss_cache_forget(c, &g);
    assert_int_equal(casp_gss_cache_count(c), 1);
    assert_int_equal(freed, 1); /* b is in use */
    casp_gss_seat_t *anew = enter(c, 1, 2);
    assert_ptr_not_equal(anew, b);
    assert_int_equal(turn(c, anew, HOST), CASP_TURN_ASK);
    assert_int_equal(turn(c, b, HOST), CASP_TURN_KEPT);
    casp_gss_seat_leave(b);
    assert_int_equal(freed, 2);
    casp_gss_seat_leave(anew);
    d = enter(c, 2, 1);
    assert_int_equal(turn(c, d, HOST), CASP_TURN_KEPT);

    /* the end while a seat is in use */
    casp_gss_cache_end(c);
    assert_int_equal(freed, 2);
    assert_null(enter(c, 3, 1));
    casp_gss_seat_leave(d);
    assert_int_equal(freed, 3);
}

/* ----------------------------------------------------------------- threads */

typedef struct {
    casp_gss_cache_t *cache;
    volatile int asked, kept, other;
} crowd_t;

static void *one_of_many(void *data)
{
    crowd_t *crowd = data;
    casp_gss_seat_t *seat = enter(crowd->cache, 1, 1);
    casp_gss_login_t *login;

    switch (turn_at(seat, HOST, &login)) {
    case CASP_TURN_ASK:
        __sync_add_and_fetch(&crowd->asked, 1);
        usleep(20 * 1000);
        login = casp_gss_login_make(NULL, free_tickets, MS(60000));
        casp_gss_seat_landed(seat, login, HOST, MS(60000));
        break;
    case CASP_TURN_KEPT:
        __sync_add_and_fetch(&crowd->kept, 1);
        break;
    default:
        __sync_add_and_fetch(&crowd->other, 1);
    }
    if (login) {
        casp_gss_login_drop(crowd->cache, login);
    }
    casp_gss_seat_leave(seat);
    return NULL;
}

static void test_one_flight(void **state)
{
    (void)state;
    static const casp_gss_times_t patient = {.turn = MS(5000),
                                             .inside = MS(5000),
                                             .slow = MS(5000),
                                             .rest = MS(100),
                                             .refused = MS(100)};
    crowd_t crowd = {.cache = casp_gss_cache_create(10, &patient)};
    pthread_t threads[24];

    freed = 0;
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, one_of_many,
                                        &crowd),
                         0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(crowd.asked, 1);
    assert_int_equal(crowd.kept, COUNT(threads) - 1);
    casp_gss_cache_end(crowd.cache);
    assert_int_equal(freed, 1);
}

static void *churn(void *data)
{
    crowd_t *crowd = data;
    unsigned seed = (unsigned)(uintptr_t)&seed;

    for (int i = 0; i < 3000; i++) {
        casp_gss_login_t *login;
        unsigned user = (unsigned)rand_r(&seed) % 12;
        casp_gss_seat_t *seat = enter(crowd->cache, user, i & 1);
        int place = casp_gss_cache_inside(crowd->cache, "R");
        if (turn_at(seat, i % 3 ? HOST : "be2", &login) == CASP_TURN_ASK) {
            if (!login) {
                login = casp_gss_login_make(NULL, free_tickets, MS(60000));
                __sync_add_and_fetch(&crowd->asked, 1);
            }
            casp_gss_seat_landed(seat, login, i % 3 ? HOST : "be2", MS(50000));
        }
        if (login) {
            casp_gss_login_drop(crowd->cache, login);
        }
        if (place >= 0) {
            casp_gss_cache_outside(crowd->cache, place);
        }
        if (i % 50 == 0) {
            casp_guid_t g = guid(user);
            casp_gss_cache_forget(crowd->cache, &g);
        }
        casp_gss_seat_leave(seat);
    }
    return NULL;
}

static void test_churn(void **state)
{
    (void)state;
    crowd_t crowd = {.cache = casp_gss_cache_create(7, &quick)};
    pthread_t threads[6];

    freed = 0;
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &crowd), 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(casp_gss_cache_count(crowd.cache) <= 7);
    casp_gss_cache_end(crowd.cache);
    assert_int_equal(freed, crowd.asked); /* each login, once */
}

static void test_places(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(3, &quick);
    int places[CASP_GSS_INSIDE];

    for (int i = 0; i < CASP_GSS_INSIDE; i++) {
        places[i] = casp_gss_cache_inside(c, "CONTOSO.TEST");
        assert_true(places[i] >= 0);
    }
    assert_false(casp_gss_cache_resting(c, "CONTOSO.TEST"));
    apr_time_t t = apr_time_now();
    assert_int_equal(casp_gss_cache_inside(c, "CONTOSO.TEST"), -1);
    t = apr_time_now() - t;
    assert_true(t >= MS(70) && t < MS(2000));
    /* somebody has waited for long by now: others need not try */
    assert_true(casp_gss_cache_resting(c, "CONTOSO.TEST"));
    assert_false(casp_gss_cache_resting(c, "FABRIKAM.TEST"));
    for (int i = 0; i < CASP_GSS_INSIDE; i++) {
        casp_gss_cache_outside(c, places[i]);
    }
    assert_false(casp_gss_cache_resting(c, "CONTOSO.TEST"));
    assert_true(casp_gss_cache_inside(c, "CONTOSO.TEST") >= 0);
    casp_gss_cache_end(c);
}

static void test_realms(void **state)
{
    (void)state;
    casp_gss_cache_t *c = casp_gss_cache_create(3, &quick);

    assert_false(casp_gss_cache_awake(c, "CONTOSO.TEST"));
    assert_true(casp_gss_cache_rest(c, "CONTOSO.TEST")); /* news */
    assert_false(casp_gss_cache_rest(c, "CONTOSO.TEST")); /* none */
    assert_true(casp_gss_cache_resting(c, "CONTOSO.TEST"));
    assert_false(casp_gss_cache_resting(c, "FABRIKAM.TEST"));
    usleep(120 * 1000);
    assert_false(casp_gss_cache_resting(c, "CONTOSO.TEST"));
    assert_true(casp_gss_cache_awake(c, "CONTOSO.TEST"));
    for (int i = 0; i < 100; i++) { /* bounded: the latest are known */
        casp_gss_cache_rest(c, apr_psprintf(pool, "R%d.TEST", i));
        usleep(1000);
    }
    assert_true(casp_gss_cache_resting(c, "R99.TEST"));
    assert_false(casp_gss_cache_resting(c, "R0.TEST"));
    casp_gss_cache_end(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kept),       TEST(test_early),  TEST(test_many_hosts),
        TEST(test_refused),    TEST(test_bounds), TEST(test_forget),
        TEST(test_one_flight), TEST(test_churn),  TEST(test_places),
        TEST(test_realms),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
