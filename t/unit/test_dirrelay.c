/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A handshake relayed in a bind: what the server says becomes, which
 * connections are kept and which are not, that a handshake has its own, and
 * that nothing waits beyond its deadline.  The server is dirfault.h's, whose
 * answers the tokens name; what real ones say is the lab's matter.
 */

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

#include "dirworld.h"

typedef struct {
    casp_relay_e e;
    casp_relayed_t told;
    apr_interval_time_t took;
} said_t;

static said_t begin(world_t *w, const char *token, casp_relay_t **relay)
{
    said_t s;
    apr_time_t now = apr_time_now();
    s.e = casp_dirrelay_begin(w->dir, w->p, token, strlen(token),
                              now + MS(600), relay, &s.told);
    s.took = apr_time_now() - now;
    assert_int_equal(*relay != NULL, s.e == CASP_RELAY_MORE);
    return s;
}

static said_t step(world_t *w, casp_relay_t *relay, const char *token)
{
    said_t s;
    apr_time_t now = apr_time_now();
    s.e = casp_directory_relay_step(relay, w->p, token, strlen(token),
                                    now + MS(600), &s.told);
    s.took = apr_time_now() - now;
    return s;
}

static void one_server(world_t *w, dirfault_t *f)
{
    world_init(w);
    world_url(w, "ldap", f->port);
    world_start(w);
}

/* A whole handshake on a connection that may be kept. */
static said_t handshake(world_t *w, const char *last)
{
    casp_relay_t *relay;
    said_t s = begin(w, "14 challenge", &relay);
    assert_int_equal(s.e, CASP_RELAY_MORE);
    assert_int_equal(s.told.out_len, 9);
    assert_memory_equal(s.told.out, "challenge", 9);
    s = step(w, relay, last);
    casp_directory_relay_end(relay);
    return s;
}

#define AD(code) "80090308: LdapErr: comment: error, data " code ", v1db1"

static const struct {
    const char *token;
    casp_relay_e e;
    casp_pw_e pw;
    const char *word; /* of the reason */
    bool kept; /* the connection */
} outcomes[] = {
    {"49 data 52e", CASP_RELAY_REFUSED, CASP_PW_WRONG, "52e", true},
    {"49 data 533", CASP_RELAY_REFUSED, CASP_PW_DISABLED, "533", true},
    {"49 data 775", CASP_RELAY_REFUSED, CASP_PW_LOCKED, "775", true},
    {"49 data 773", CASP_RELAY_REFUSED, CASP_PW_MUST_CHANGE, "773", true},
    {"0 anon", CASP_RELAY_REFUSED, CASP_PW_WRONG, "anonymous", true},
    {"0 builtin", CASP_RELAY_REFUSED, CASP_PW_WRONG, "no account", true},
    {"0 none", CASP_RELAY_UNAVAILABLE, CASP_PW_OK, "tokenGroups", false},
    {"8 Sign or Seal", CASP_RELAY_POLICY, CASP_PW_OK, "signing", false},
    {"53 no", CASP_RELAY_POLICY, CASP_PW_OK, "Winbind", false},
    {"49 data 80090346", CASP_RELAY_POLICY, CASP_PW_OK, "channel binding",
     false},
    {"7 what?", CASP_RELAY_POLICY, CASP_PW_OK, "GSS-SPNEGO", false},
    {"51 busy", CASP_RELAY_UNAVAILABLE, CASP_PW_OK, "busy", false},
    {"80 other", CASP_RELAY_UNAVAILABLE, CASP_PW_UNAVAILABLE, "other", false},
    {"14 ", CASP_RELAY_UNAVAILABLE, CASP_PW_OK, "not as it should be", false},
    {"close", CASP_RELAY_UNAVAILABLE, CASP_PW_OK, "connection ended", false},
    {"hang", CASP_RELAY_UNAVAILABLE, CASP_PW_OK, "in time", false},
};
#define NOUTCOMES (sizeof(outcomes) / sizeof(outcomes[0]))

static void test_outcomes(void **state)
{
    (void)state;
    for (apr_size_t i = 0; i < NOUTCOMES; i++) {
        dirfault_t *f = dirfault_start(FAULT_NONE, 0);
        world_t w;
        one_server(&w, f);
        said_t s = handshake(&w, outcomes[i].token);
        if (s.e != outcomes[i].e || s.told.pw != outcomes[i].pw || !s.told.why
            || !strcasestr(s.told.why, outcomes[i].word)) {
            fail_msg("row %d, %s: %d, pw %d, %s", (int)i, outcomes[i].token,
                     (int)s.e, (int)s.told.pw, s.told.why ? s.told.why : "-");
        }
        assert_int_equal(s.told.sid_len, 0);
        assert_true(s.took < MS(600) + GRACE);
        /* The next one is well, whatever this one was. */
        s = handshake(&w, "0 ada");
        assert_int_equal(s.e, CASP_RELAY_OK);
        assert_int_equal(GET(f->conns), outcomes[i].kept ? 1 : 2);
        world_end(&w);
        dirfault_end(f);
    }
}

static void test_accepted(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    one_server(&w, f);
    static const char *const users[] = {"ada", "bert", "cleo"};
    for (int i = 0; i < 30; i++) {
        const char *user = users[i % 3];
        said_t s = handshake(&w, apr_pstrcat(w.p, "0 ", user, NULL));
        assert_int_equal(s.e, CASP_RELAY_OK);
        assert_int_equal(s.told.sid_len, 28);
        assert_memory_equal(s.told.sid + 24, user, 3);
        assert_string_equal(s.told.name,
                            apr_pstrcat(w.p, user, "@contoso.test", NULL));
        assert_null(s.told.why);
    }
    assert_int_equal(GET(f->conns), 1); /* kept */
    assert_int_equal(GET(f->asked_whose), 30);
    /* Searches and passwords have connections of their own. */
    const char *why;
    SET(f->user_code, 0);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    assert_int_equal(check(&w, "n", "p", &why), CASP_PW_OK);
    assert_int_equal(handshake(&w, "0 ada").e, CASP_RELAY_OK);
    assert_int_equal(GET(f->conns), 3);
    assert_int_equal(GET(f->mixed), 0);
    world_end(&w);
    dirfault_end(f);
}

/* Half a handshake is nobody's to continue: its connection goes. */
static void test_half_way(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    one_server(&w, f);
    casp_relay_t *relay;
    assert_int_equal(begin(&w, "14 a", &relay).e, CASP_RELAY_MORE);
    casp_directory_relay_end(relay);
    casp_directory_relay_end(NULL);
    assert_int_equal(handshake(&w, "0 ada").e, CASP_RELAY_OK);
    assert_int_equal(GET(f->conns), 2);
    /* Two at once never share one; nor does one go on after its end. */
    casp_relay_t *other;
    assert_int_equal(begin(&w, "14 a", &relay).e, CASP_RELAY_MORE);
    assert_int_equal(begin(&w, "14 b", &other).e, CASP_RELAY_MORE);
    assert_int_equal(GET(f->conns), 3);
    said_t s = step(&w, other, "0 bert");
    assert_memory_equal(s.told.sid + 24, "bert", 4);
    s = step(&w, relay, "14 more");
    assert_int_equal(s.e, CASP_RELAY_MORE);
    s = step(&w, relay, "0 ada");
    assert_memory_equal(s.told.sid + 24, "ada", 4);
    assert_int_equal(step(&w, other, "0 ada").e, CASP_RELAY_UNAVAILABLE);
    casp_directory_relay_end(relay);
    casp_directory_relay_end(other);
    /* A first message that is refused holds nothing. */
    assert_int_equal(begin(&w, "49 data 52e", &relay).e, CASP_RELAY_REFUSED);
    assert_int_equal(begin(&w, "8 no", &relay).e, CASP_RELAY_POLICY);
    world_end(&w);
    dirfault_end(f);
}

/* Another server only for a first message. */
static void test_fail_over(void **state)
{
    (void)state;
    int port, fd = dirfault_socket(0, 0, &port); /* nobody listens */
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", port);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    assert_int_equal(handshake(&w, "0 ada").e, CASP_RELAY_OK);
    casp_relay_t *relay;
    assert_int_equal(begin(&w, "14 a", &relay).e, CASP_RELAY_MORE);
    apr_uint32_t before = GET(f->conns), binds = GET(f->sasl_binds);
    said_t s = step(&w, relay, "close");
    assert_int_equal(s.e, CASP_RELAY_UNAVAILABLE);
    casp_directory_relay_end(relay);
    assert_int_equal(GET(f->conns), before);
    assert_int_equal(GET(f->sasl_binds), binds + 1);
    /* A kept connection that the server has closed costs nobody anything. */
    assert_int_equal(handshake(&w, "0 ada").e, CASP_RELAY_OK);
    world_end(&w);
    dirfault_end(f);
    close(fd);
}

static void test_places(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    w.conf.pool_smax = w.conf.pool_hmax = 2;
    world_url(&w, "ldap", f->port);
    world_start(&w);
    assert_int_equal(casp_directory_relay_places(w.dir), 2);
    casp_relay_t *relay[3];
    assert_int_equal(begin(&w, "14 a", &relay[0]).e, CASP_RELAY_MORE);
    assert_int_equal(begin(&w, "14 b", &relay[1]).e, CASP_RELAY_MORE);
    said_t s = begin(&w, "14 c", &relay[2]);
    assert_int_equal(s.e, CASP_RELAY_UNAVAILABLE);
    assert_non_null(strstr(s.told.why, "hmax"));
    assert_true(s.took < MS(600) + GRACE);
    casp_directory_relay_end(relay[0]);
    assert_int_equal(begin(&w, "14 c", &relay[2]).e, CASP_RELAY_MORE);
    casp_directory_relay_end(relay[1]);
    casp_directory_relay_end(relay[2]);
    world_end(&w);
    dirfault_end(f);
}

/* The directory ends before those that are half done do. */
static void test_stop(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    one_server(&w, f);
    casp_relay_t *a, *b;
    assert_int_equal(handshake(&w, "0 ada").e, CASP_RELAY_OK);
    assert_int_equal(begin(&w, "14 a", &a).e, CASP_RELAY_MORE);
    assert_int_equal(begin(&w, "14 b", &b).e, CASP_RELAY_MORE);
    assert_true(world_stop(&w) < MS(500));
    assert_int_equal(step(&w, a, "0 ada").e, CASP_RELAY_UNAVAILABLE);
    casp_directory_relay_end(a);
    casp_relay_t *none;
    assert_int_equal(begin(&w, "14 a", &none).e, CASP_RELAY_UNAVAILABLE);
    world_end(&w); /* its memory, too */
    casp_directory_relay_end(b);
    dirfault_end(f);
}

static void test_tls_only(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    one_server(&w, f);
    casp_relayed_t told;
    casp_relay_t *relay;
    assert_int_equal(casp_directory_relay_begin(w.dir, w.p, "14 a", 4, 0,
                                                &relay, &told),
                     CASP_RELAY_UNAVAILABLE);
    assert_null(relay);
    assert_non_null(strstr(told.why, "TLS"));
    assert_int_equal(GET(f->sasl_binds), 0);
    world_end(&w);
    dirfault_end(f);
}

/* ---------------------------------------------------------------- threads */

typedef struct {
    world_t *w;
    int number, good, lost, wrong;
} client_t;

static void *client_run(void *data)
{
    client_t *c = data;
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    for (int i = 0; i < 40; i++) {
        char last[16];
        snprintf(last, sizeof(last), "0 u%02d", c->number);
        casp_relay_t *relay;
        casp_relayed_t told;
        apr_time_t deadline = apr_time_now() + MS(8000);
        casp_relay_e e = casp_dirrelay_begin(c->w->dir, p, "14 x", 4, deadline,
                                             &relay, &told);
        if (i % 7 == 3) {
            casp_directory_relay_end(relay);
            continue;
        }
        if (e == CASP_RELAY_MORE) {
            e = casp_directory_relay_step(relay, p, last, strlen(last),
                                          deadline, &told);
        }
        casp_directory_relay_end(relay);
        c->good += e == CASP_RELAY_OK;
        c->lost += e != CASP_RELAY_OK;
        c->wrong += e == CASP_RELAY_OK && memcmp(told.sid + 24, last + 2, 3);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    w.conf.pool_smax = 4;
    w.conf.pool_hmax = 6;
    world_url(&w, "ldap", f->port);
    world_start(&w);
    client_t clients[8];
    pthread_t threads[8];
    memset(clients, 0, sizeof(clients));
    for (int i = 0; i < 8; i++) {
        clients[i].w = &w;
        clients[i].number = i;
        pthread_create(&threads[i], NULL, client_run, &clients[i]);
    }
    int good = 0, lost = 0, wrong = 0;
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        good += clients[i].good;
        lost += clients[i].lost;
        wrong += clients[i].wrong;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(lost, 0);
    assert_int_equal(good, 8 * 34);
    assert_int_equal(GET(f->mixed), 0);
    world_end(&w);
    dirfault_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_half_way), cmocka_unit_test(test_fail_over),
        cmocka_unit_test(test_places),   cmocka_unit_test(test_stop),
        cmocka_unit_test(test_tls_only), cmocka_unit_test(test_threads),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return failed;
}
