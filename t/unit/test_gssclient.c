/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * This front as a client, without a KDC: who may ask and who waits, what is
 * kept and for how long, what errors say, a realm whose KDC is not there, and
 * NTLM against an acceptor that has users in a file.
 *
 * Real tickets are the lab's matter.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <krb5.h>

#include "gsscache.h"
#include "gssclient.h"
#include "gsstickets.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MS(n) ((apr_interval_time_t)(n)*1000)
#define HOST "be1.contoso.test"

static apr_pool_t *pool;
static const char *dir;

static const char *write_file(const char *name, const char *text)
{
    const char *path = apr_pstrcat(pool, dir, "/", name, NULL);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static int set_up(void **state)
{
    char text[] = "/tmp/casp-gss-XXXXXX";

    (void)state;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS || !mkdtemp(text)) {
        return -1;
    }
    dir = apr_pstrdup(pool, text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"krb5.conf", "users", "junk.keytab"};
    for (size_t i = 0; i < COUNT(names); i++) {
        unlink(apr_pstrcat(pool, dir, "/", names[i], NULL));
    }
    rmdir(dir);
    apr_pool_destroy(pool);
    return 0;
}

/* ----------------------------------------------------------- the sentences */

static const struct {
    casp_step_e step;
    long code;
    bool may_forward;
    casp_gss_e verdict;
    bool silent, of_host;
    const char *says;
} no[] = {
    {CASP_STEP_PASSWORD, KRB5_KDC_UNREACH, false, CASP_GSS_UNAVAILABLE, true,
     false, "no KDC of CONTOSO.TEST answers"},
    {CASP_STEP_PROXY, KRB5_KDC_UNREACH, true, CASP_GSS_UNAVAILABLE, true,
     false, "port 88"},
    {CASP_STEP_PASSWORD, KRB5_REALM_UNKNOWN, false, CASP_GSS_UNAVAILABLE, true,
     false, "[realms]"},
    {CASP_STEP_PASSWORD, KRB5KRB_AP_ERR_SKEW, false, CASP_GSS_REFUSED, false,
     false, "clock"},
    {CASP_STEP_SELF, KRB5KRB_AP_ERR_SKEW, false, CASP_GSS_REFUSED, false,
     false, "clock"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_PREAUTH_FAILED, false, CASP_GSS_REFUSED,
     false, false, "refuses the password of ada"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_PREAUTH_FAILED, false, CASP_GSS_REFUSED,
     false, false, "export the keytab again"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_KEY_EXP, false, CASP_GSS_REFUSED, false,
     false, "password of ada has expired"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_KEY_EXP, false, CASP_GSS_REFUSED, false,
     false, "service account svc@CONTOSO.TEST has expired"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_KEY_EXP, true, CASP_GSS_REFUSED, false,
     false, "password of ada has expired"},
    {CASP_STEP_KEYTAB, ENOENT, false, CASP_GSS_MISSING, false, false,
     "no keytab /etc/front.keytab"},
    {CASP_STEP_KEYTAB, EACCES, false, CASP_GSS_MISSING, false, false, "0600"},
    {CASP_STEP_KEYTAB, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_MISSING, false, false, "key of the service account itself"},
    {CASP_STEP_PASSWORD, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_REFUSED, false, false, "knows no user ada"},
    {CASP_STEP_SELF, KRB5KDC_ERR_POLICY, false, CASP_GSS_REFUSED, false, false,
     "disabled"},
    {CASP_STEP_TARGET, KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, false,
     CASP_GSS_REFUSED, false, true, "setspn -S HTTP/be1.contoso.test"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_BADOPTION, false, CASP_GSS_REFUSED, false,
     false, "TRUSTED_TO_AUTH_FOR_DELEGATION"},
    {CASP_STEP_PROXY, KRB5KDC_ERR_BADOPTION, true, CASP_GSS_REFUSED, false,
     true, "msDS-AllowedToDelegateTo"},
    {CASP_STEP_PROXY, -4242, true, CASP_GSS_REFUSED, false, true,
     "(in the library's words)"},
    {CASP_STEP_LIBRARY, KRB5_CONFIG_BADFORMAT, false, CASP_GSS_MISSING, false,
     false, "krb5.conf"},
    {CASP_STEP_LIBRARY, -4242, false, CASP_GSS_MISSING, false, false,
     "Kerberos library"},
};

static void test_sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(no); i++) {
        casp_kdc_ask_t ask = {.p = pool,
                              .user = "ada",
                              .realm = "CONTOSO.TEST",
                              .host = HOST,
                              .keytab = "/etc/front.keytab",
                              .account = "svc@CONTOSO.TEST",
                              .may_forward = no[i].may_forward};
        casp_gss_e rc = casp_kdc_explain(&ask, no[i].step, no[i].code,
                                         "in the library's words");
        if (rc != no[i].verdict || ask.silent != no[i].silent
            || ask.of_host != no[i].of_host || !strstr(ask.why, no[i].says)) {
            fail_msg("row %d: %d, \"%s\"", (int)i, (int)rc, ask.why);
        }
        assert_null(strchr(ask.why, '$'));
    }
}

/* ------------------------------------------------------------------ SPNEGO */

/* Reads one head. @return what is in it; @a len: in bytes left, out inside */
static const unsigned char *into(const unsigned char *at, unsigned char tag,
                                 apr_size_t *len)
{
    assert_true(*len >= 2);
    assert_int_equal(at[0], tag);
    apr_size_t inside = at[1], head = 2;
    if (inside & 0x80) {
        apr_size_t n = inside & 0x7f;
        inside = 0;
        for (apr_size_t i = 0; i < n; i++) {
            inside = inside << 8 | at[2 + i];
        }
        assert_true(inside >= 128); /* the shortest form */
        head += n;
    }
    assert_true(head + inside <= *len);
    *len = inside;
    return at + head;
}

static void test_spnego(void **state)
{
    static const apr_size_t sizes[] = {1,   60,  90,    100,   127,  128,
                                       255, 256, 65400, 65535, 65536};
    static const unsigned char krb5[] = {0x2a, 0x86, 0x48, 0x86, 0xf7,
                                         0x12, 1,    2,    2};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned char *token = malloc(sizes[i]);
        apr_size_t len, part;
        memset(token, (int)i + 1, sizes[i]);
        const unsigned char *all =
            casp_spnego_wrap(pool, token, sizes[i], &len);
        const unsigned char *at = into(all, 0x60, &len);
        assert_memory_equal(at, "\x06\x06\x2b\x06\x01\x05\x05\x02", 8);
        len -= 8;
        at = into(at + 8, 0xa0, &len);
        at = into(at, 0x30, &len);
        part = len;
        const unsigned char *list = into(at, 0xa0, &part);
        const unsigned char *rest = list + part;
        list = into(list, 0x30, &part);
        list = into(list, 0x06, &part);
        assert_int_equal(part, sizeof(krb5));
        assert_memory_equal(list, krb5, sizeof(krb5));
        len -= (apr_size_t)(rest - at);
        at = into(rest, 0xa2, &len);
        at = into(at, 0x04, &len);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(at, token, len);
        free(token);
    }
}

static void test_spn_host(void **state)
{
    (void)state;
    char *longest = apr_pcalloc(pool, 300);
    memset(longest, 'a', 256);
    assert_false(casp_spn_host(longest));
    longest[255] = '\0';
    assert_true(casp_spn_host(longest));
    assert_true(casp_spn_host("be-1.contoso.test"));
    assert_false(casp_spn_host(""));
    assert_false(casp_spn_host("be1@EVIL.TEST"));
    assert_false(casp_spn_host("be1/x"));
    assert_false(casp_spn_host("be1:443"));
    assert_false(casp_spn_host("b e"));
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

/* ----------------------------------------------------------- without a KDC */

static casp_gss_user_t ada(const char *password)
{
    casp_gss_user_t u = {.user = guid(77),
                         .sam = "ada",
                         .realm = "contoso.test",
                         .netbios = "CONTOSO",
                         .password = password,
                         .password_len = password ? strlen(password) : 0};
    return u;
}

static void test_wanting(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {NULL, 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;

    casp_gss_user_t u = ada(NULL);
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "no password"));
    assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "CasProxyKeytab"));
    u = ada("secret");
    u.password_len = 0;
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    u = ada("secret");
    assert_int_equal(casp_gss_kerberos(g, p, &u, "be1@X", &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "SPN"));
    u.realm = "";
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "domain"));
    u = ada("sec\0ret");
    u.password_len = 7;
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    u = ada("secret");
    u.sam = "";
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_int_equal(casp_gss_kerberos(NULL, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_null(out.token);
    casp_gss_forget(g, &u.user);
    casp_gss_forget(NULL, &u.user);
    assert_int_equal(casp_gss_stats(NULL)->hits, 0);
    apr_pool_destroy(p);
}

static void test_no_keytab(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {apr_pstrcat(pool, dir, "/absent.keytab", NULL), 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;
    casp_gss_user_t u = ada(NULL);

    for (int i = 0; i < 2; i++) { /* asked, and remembered */
        assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                         CASP_GSS_MISSING);
        assert_non_null(strstr(out.why, "/absent.keytab"));
    }
    assert_int_equal(casp_gss_stats(g)->misses, 1);
    conf.keytab = write_file("junk.keytab", "this is no keytab");
    g = casp_gss_create(p, &conf);
    assert_int_equal(casp_gss_delegate(g, p, &u, HOST, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "is no keytab"));
    apr_pool_destroy(p);
}

/* A KDC that is not there: refused at once, then not even asked. */
static void test_dead_kdc(void **state)
{
    (void)state;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    casp_gss_conf_t conf = {NULL, 0};
    casp_gss_t *g = casp_gss_create(p, &conf);
    casp_gss_token_t out;
    casp_gss_user_t u = ada("secret");

    apr_time_t t = apr_time_now();
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_UNAVAILABLE);
    assert_non_null(strstr(out.why, "no KDC of CONTOSO.TEST"));
    assert_true(apr_time_now() - t < APR_USEC_PER_SEC * 8);
    t = apr_time_now();
    u.user = guid(78);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                         CASP_GSS_UNAVAILABLE);
        assert_non_null(strstr(out.why, "at present")); /* not even asked */
    }
    assert_true(apr_time_now() - t < APR_USEC_PER_SEC);
    u.realm = "nowhere.test"; /* not in krb5.conf */
    assert_int_equal(casp_gss_kerberos(g, p, &u, HOST, &out),
                     CASP_GSS_UNAVAILABLE);
    assert_non_null(strstr(out.why, "[realms]"));
    assert_int_equal(casp_gss_stats(g)->unavailable, 102);
    assert_int_equal(casp_gss_stats(g)->hits, 0);
    apr_pool_destroy(p);
}

/* -------------------------------------------------------------------- NTLM */

static gss_OID_desc ntlmssp = {10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};

/*
 * gss-ntlmssp's own acceptor, in a process of its own: it loses memory for
 * each user that it looks up in its file, which is no fault of ours.
 */

typedef struct {
    bool done;
    char who[100]; /* whom it believes the client to be */
    apr_size_t len;
    unsigned char token[4096];
} answer_t;

static void accept_leg(gss_cred_id_t cred, gss_ctx_id_t *ctx, answer_t *a)
{
    OM_uint32 minor;
    gss_buffer_desc token = {a->len, a->token};
    gss_name_t name = GSS_C_NO_NAME;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss_accept_sec_context(&minor, ctx, cred, &token,
                                             GSS_C_NO_CHANNEL_BINDINGS, &name,
                                             NULL, &out, NULL, NULL, NULL);

    memset(a, 0, sizeof(*a));
    a->done = major == GSS_S_COMPLETE;
    if (a->done && !gss_display_name(&minor, name, &text, NULL)) {
        memcpy(a->who, text.value,
               text.length < sizeof(a->who) ? text.length : 0);
    }
    if (out.length <= sizeof(a->token)) {
        memcpy(a->token, out.value ? out.value : "", out.length);
        a->len = out.length;
    }
}

static void accept_all(int fd)
{
    OM_uint32 minor;
    gss_buffer_desc text = {5 + strlen(HOST), "HTTP@" HOST};
    gss_name_t self = GSS_C_NO_NAME;
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
    gss_OID_set_desc mechs = {1, &ntlmssp};
    answer_t a;

    if (!gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &self)
        && !gss_acquire_cred(&minor, self, GSS_C_INDEFINITE, &mechs,
                             GSS_C_ACCEPT, &cred, NULL, NULL)) {
        while (read(fd, &a, sizeof(a)) == sizeof(a)) {
            accept_leg(cred, &ctx, &a);
            if (write(fd, &a, sizeof(a)) != sizeof(a)) {
                break;
            }
        }
    }
    _exit(0);
}

static void ask_acceptor(int fd, const casp_gss_token_t *token, answer_t *a)
{
    memset(a, 0, sizeof(*a));
    assert_true(token->len <= sizeof(a->token));
    memcpy(a->token, token->token, token->len);
    a->len = token->len;
    assert_int_equal(write(fd, a, sizeof(*a)), sizeof(*a));
    assert_int_equal(read(fd, a, sizeof(*a)), sizeof(*a));
}

/* A whole handshake. @return whom the acceptor believes the client to be */
static const char *shake(const casp_gss_user_t *u, casp_gss_e expect)
{
    casp_gss_dialog_t *d;
    casp_gss_token_t token;
    answer_t a;
    apr_pool_t *p;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    pid_t pid = fork();
    if (!pid) {
        close(fds[0]);
        accept_all(fds[1]);
    }
    close(fds[1]);
    apr_pool_create(&p, pool);
    casp_gss_e rc = casp_gss_ntlm_begin(NULL, p, u, HOST, &d, &token);
    if (rc != CASP_GSS_MORE) {
        fail_msg("%d: %s", (int)rc, token.why);
    }
    assert_memory_equal(token.token, "NTLMSSP", 8);
    ask_acceptor(fds[0], &token, &a);
    assert_false(a.done);
    assert_int_equal(casp_gss_ntlm_step(d, p, a.token, a.len, &token), expect);
    memset(&a, 0, sizeof(a));
    if (expect == CASP_GSS_OK) {
        ask_acceptor(fds[0], &token, &a);
    }
    else {
        assert_null(token.token);
        assert_non_null(token.why);
    }
    /* a dialog has two messages */
    assert_int_equal(casp_gss_ntlm_step(d, p, "x", 1, &token),
                     CASP_GSS_REFUSED);
    assert_non_null(strstr(token.why, "after the handshake"));
    apr_pool_destroy(p);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    return a.done ? apr_pstrdup(pool, a.who) : NULL;
}

/* UTF-8 of one, two, three and four bytes */
#define WIDE "P\xc3\xa4ss\xe2\x82\xac\xf0\x9d\x84\x9e-1"

static void test_ntlm(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    casp_gss_user_t u = ada("Secret-1");
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\ada");
    /* what follows the password in memory is none of it */
    u = ada("Secret-1 and more");
    u.password_len = 8;
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\ada");
    /* the acceptor's file has the right one, and nobody but it looks */
    u = ada("Secret-2");
    assert_null(shake(&u, CASP_GSS_OK));
    u = ada(WIDE);
    u.sam = "eva";
    assert_string_equal(shake(&u, CASP_GSS_OK), "CONTOSO\\eva");
}

static void test_ntlm_v1(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    /* the environment, and what NTLMv1 costs the library, end with a child */
    int fds[2];
    char said = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (!pid) {
        casp_gss_user_t u = ada("Secret-1");
        setenv("LM_COMPAT_LEVEL", "2", 1);
        shake(&u, CASP_GSS_MISSING);
        _exit(write(fds[1], "y", 1) != 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_ntlm_wanting(void **state)
{
    (void)state;
    static const char *const broken[] = {"\xff",
                                         "a\x80",
                                         "\xc0\xaf",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "cut\xe2\x82",
                                         "\xf8\x88\x80\x80\x80"};
    casp_gss_dialog_t *d;
    casp_gss_token_t out;
    casp_gss_user_t u = ada(NULL);

    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                     CASP_GSS_MISSING);
    assert_non_null(strstr(out.why, "password"));
    u = ada("x");
    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, "a b", &d, &out),
                     CASP_GSS_MISSING);
    u.sam = "a\\b";
    assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                     CASP_GSS_MISSING);
    for (size_t i = 0; i < COUNT(broken); i++) {
        u = ada(broken[i]);
        assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                         CASP_GSS_MISSING);
        assert_null(d);
    }
}

static void test_ntlm_junk(void **state)
{
    (void)state;
    if (!casp_gss_has_ntlm()) {
        skip();
    }
    static const struct {
        const char *bytes;
        apr_size_t len;
    } junk[] = {{"", 0},
                {"x", 1},
                {"NTLMSSP\0\2\0\0\0", 12},
                {"NTLMSSP\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24}};
    casp_gss_user_t u = ada("Secret-1");

    for (size_t i = 0; i < COUNT(junk); i++) {
        casp_gss_dialog_t *d;
        casp_gss_token_t out;
        assert_int_equal(casp_gss_ntlm_begin(NULL, pool, &u, HOST, &d, &out),
                         CASP_GSS_MORE);
        assert_int_equal(casp_gss_ntlm_step(d, pool, junk[i].bytes,
                                            junk[i].len, &out),
                         CASP_GSS_REFUSED);
        assert_non_null(out.why);
        assert_null(out.token);
    }
}

/* A port on which nobody listens, and nobody will. */
static int dead_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len)
        || getsockname(fd, (struct sockaddr *)&at, &len)) {
        return 88;
    }
    return ntohs(at.sin_port); /* bound, never listening, until the end */
}

/* Before any library looks at the environment. */
static int set_up_all(void **state)
{
    if (set_up(state)) {
        return -1;
    }
    setenv("KRB5_CONFIG",
           write_file("krb5.conf", apr_psprintf(pool,
                                                "[libdefaults]\n"
                                                "dns_lookup_kdc = false\n"
                                                "dns_lookup_realm = false\n"
                                                "udp_preference_limit = 1\n"
                                                "[realms]\n"
                                                "CONTOSO.TEST = {\n"
                                                "  kdc = 127.0.0.1:%d\n"
                                                "}\n",
                                                dead_port())),
           1);
    setenv("NTLM_USER_FILE",
           write_file("users", "CONTOSO:ada:Secret-1\nCONTOSO:eva:" WIDE "\n"),
           1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),    cmocka_unit_test(test_spnego),
        cmocka_unit_test(test_spn_host),     cmocka_unit_test(test_kept),
        cmocka_unit_test(test_early),        cmocka_unit_test(test_many_hosts),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_forget),       cmocka_unit_test(test_one_flight),
        cmocka_unit_test(test_churn),        cmocka_unit_test(test_places),
        cmocka_unit_test(test_realms),       cmocka_unit_test(test_wanting),
        cmocka_unit_test(test_no_keytab),    cmocka_unit_test(test_dead_kdc),
        cmocka_unit_test(test_ntlm),         cmocka_unit_test(test_ntlm_v1),
        cmocka_unit_test(test_ntlm_wanting), cmocka_unit_test(test_ntlm_junk),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, set_up_all, tear_down);
    apr_terminate();
    return failed;
}
