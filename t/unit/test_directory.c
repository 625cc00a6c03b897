/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directory without a real one: what is configured, filters, what AD's
 * codes mean, and above all that nothing waits beyond its deadline, whatever
 * a server does.  See dirfault.h for the servers, dirworld.h for the rest.
 */

#include "dirworld.h"

#include <time.h>

/* --------------------------------------------------------------- filters */

static void test_filter_escape(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        apr_size_t len;
        const char *out;
    } rows[] = {
        {"", 0, ""},
        {"alice", 5, "alice"},
        {"a*b", 3, "a\\2ab"},
        {"(a)", 3, "\\28a\\29"},
        {"a\\b", 3, "a\\5cb"},
        {"a\0b", 3, "a\\00b"},
        {"\0", 1, "\\00"},
        {"Exchange Administrative Group (FYDIBOHF23SPDLT)", 47,
         "Exchange Administrative Group \\28FYDIBOHF23SPDLT\\29"},
        {"M\xc3\xbcller", 7, "M\\c3\\bcller"},
        {"\xf0\x9f\x98\x80", 4, "\\f0\\9f\\98\\80"},
        {"\xff\xfe", 2, "\\ff\\fe"},
        {"a\nb\x7f", 4, "a\\0ab\\7f"},
        {"x=y,z&|!<>~", 11, "x=y,z&|!<>~"},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(casp_filter_escape(top, rows[i].in, rows[i].len),
                            rows[i].out);
    }
    static const unsigned char guid[] = {0x00, 0x2a, 0x41, 0xff};
    assert_string_equal(casp_filter_escape_binary(top, guid, sizeof(guid)),
                        "\\00\\2a\\41\\ff");
    assert_string_equal(casp_filter_escape_binary(top, "", 0), "");
}

/* Every byte is either plain or three characters that mean it. */
static void test_filter_every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        const char *out = casp_filter_escape(top, &c, 1);
        if (out[0] == '\\') {
            assert_int_equal(strlen(out), 3);
            assert_int_equal(strtol(out + 1, NULL, 16), i);
        }
        else {
            assert_int_equal(strlen(out), 1);
            assert_int_equal((unsigned char)out[0], i);
            assert_null(strchr("*()\\", i));
        }
    }
}

/* ---------------------------------------------------------------- judges */

#define AD(code)                                                        \
    "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext " \
    "error, data " code ", v1db1"

static void test_data_codes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long code;
    } rows[] = {
        {AD("52e"), 0x52e},
        {AD("773"), 0x773},
        {AD("0"), 0},
        {NULL, -1},
        {"", -1},
        {"data", -1},
        {"data ", -1},
        {"data 775", 0x775},
        {"metadata 775", -1},
        {"data 52x", -1},
        {"data 52e!", 0x52e},
        {"data fffffffffffffffffff", -1},
        {"data -1", -1},
        {"data  52e", -1},
        {"data zz, data 533,", 0x533},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(casp_dirask_data_code(rows[i].text), rows[i].code);
    }
}

static const struct {
    int code;
    const char *diag;
    casp_pw_e pw;
    const char *word;
} judgements[] = {
    {LDAP_SUCCESS, NULL, CASP_PW_OK, "ok"},
    {LDAP_INVALID_CREDENTIALS, NULL, CASP_PW_WRONG, "wrong-password"},
    {LDAP_INVALID_CREDENTIALS, AD("52e"), CASP_PW_WRONG, "wrong-password"},
    {LDAP_INVALID_CREDENTIALS, AD("525"), CASP_PW_WRONG, "wrong-password"},
    {LDAP_INVALID_CREDENTIALS, AD("530"), CASP_PW_HOURS, "logon-hours"},
    {LDAP_INVALID_CREDENTIALS, AD("531"), CASP_PW_WORKSTATION, "workstation"},
    {LDAP_INVALID_CREDENTIALS, AD("532"), CASP_PW_EXPIRED, "password-expired"},
    {LDAP_INVALID_CREDENTIALS, AD("533"), CASP_PW_DISABLED, "disabled"},
    {LDAP_INVALID_CREDENTIALS, AD("701"), CASP_PW_ACCOUNT_EXPIRED,
     "account-expired"},
    {LDAP_INVALID_CREDENTIALS, AD("773"), CASP_PW_MUST_CHANGE,
     "must-change-password"},
    {LDAP_INVALID_CREDENTIALS, AD("775"), CASP_PW_LOCKED, "locked"},
    {LDAP_INVALID_CREDENTIALS, AD("999"), CASP_PW_WRONG, "wrong-password"},
    {LDAP_INVALID_DN_SYNTAX, "invalid DN", CASP_PW_WRONG, "wrong-password"},
    {LDAP_INAPPROPRIATE_AUTH, NULL, CASP_PW_WRONG, "wrong-password"},
    {LDAP_STRONG_AUTH_REQUIRED, NULL, CASP_PW_UNAVAILABLE,
     "directory-unavailable"},
    {LDAP_CONFIDENTIALITY_REQUIRED, NULL, CASP_PW_UNAVAILABLE,
     "directory-unavailable"},
    {LDAP_UNWILLING_TO_PERFORM, AD("775"), CASP_PW_UNAVAILABLE,
     "directory-unavailable"},
    {LDAP_OPERATIONS_ERROR, NULL, CASP_PW_UNAVAILABLE,
     "directory-unavailable"},
};
#define NJUDGEMENTS (sizeof(judgements) / sizeof(judgements[0]))

static void test_judge(void **state)
{
    (void)state;
    for (apr_size_t i = 0; i < NJUDGEMENTS; i++) {
        casp_dirwhy_t why;
        casp_pw_e pw =
            casp_dirask_judge(judgements[i].code, judgements[i].diag, &why);
        assert_int_equal(pw, judgements[i].pw);
        assert_string_equal(casp_pw_name(pw), judgements[i].word);
        assert_int_equal(*why.text == '\0', pw == CASP_PW_OK);
        if (judgements[i].code == LDAP_STRONG_AUTH_REQUIRED) {
            assert_non_null(strstr(why.text, "ldaps://"));
        }
    }
    casp_dirwhy_t why;
    casp_dirask_judge(LDAP_INVALID_CREDENTIALS, "a\r\nforged\x1b line", &why);
    assert_null(strpbrk(why.text, "\r\n\x1b"));
}

/* ---------------------------------------------------------- configuration */

typedef struct {
    const char *urls; /* one or two, with a space */
    casp_tls_e tls;
    casp_bind_method_e bind;
    const char *name, *secret, *ca;
    int min, smax, hmax;
    const char *wrong; /* NULL: fine; else a word of the sentence */
} conf_row_t;

static void test_conf(void **state)
{
    (void)state;
#define S CASP_BIND_SIMPLE, "n", "s"
#define N CASP_BIND_NONE, NULL, NULL
    static const conf_row_t rows[] = {
        {"ldaps://dc1", CASP_TLS_UNSET, S, "/dev/null", 0, 4, 16, NULL},
        {"LDAPS://dc1:3269/", CASP_TLS_UNSET, S, "/dev/null", 0, 0, 0, NULL},
        {"ldaps://[::1]:636", CASP_TLS_UNSET, S, "/dev/null", 0, 0, 0, NULL},
        {"ldaps://dc1", CASP_TLS_UNSET, S, "/nowhere/ca.pem", 0, 4, 16,
         "/nowhere/ca.pem"},
        {"ldap://dc1", CASP_TLS_UNSET, S, NULL, 0, 4, 16, "StartTLS"},
        {"ldaps://dc1 ldap://dc2", CASP_TLS_UNSET, S, "/dev/null", 0, 4, 16,
         "plain text"},
        {"ldap://dc1", CASP_TLS_OFF, S, NULL, 0, 4, 16, NULL},
        {"ldap://dc1", CASP_TLS_STARTTLS, S, "/dev/null", 0, 4, 16, NULL},
        {"ldap://dc1", CASP_TLS_OFF, N, NULL, 0, 4, 16,
         "CasProxyDirectoryBind"},
        {"ldapi://%2Ftmp%2Fx", CASP_TLS_UNSET, N, NULL, 0, 4, 16, NULL},
        {"ldapi:///tmp/x", CASP_TLS_UNSET, N, NULL, 0, 4, 16, NULL},
        {"ldapi:///", CASP_TLS_UNSET, N, NULL, 0, 4, 16, "%2F"},
        {"ldapi://%2Ftmp%2Fx ldaps://dc1", CASP_TLS_UNSET, N, "/dev/null", 0,
         4, 16, "ldaps://dc1"},
        {"ldap://dc1", CASP_TLS_OFF, CASP_BIND_GSSAPI, NULL, NULL, NULL, 0, 4,
         16, "GSSAPI needs a keytab"},
        {"ldap://dc1", CASP_TLS_OFF, CASP_BIND_SIMPLE, "n", "", NULL, 0, 4, 16,
         "secret is empty"},
        {"ldap://dc1", CASP_TLS_OFF, CASP_BIND_SIMPLE, "", "s", NULL, 0, 4, 16,
         "name is empty"},
        {"ldap://", CASP_TLS_OFF, S, NULL, 0, 4, 16, "host name"},
        {"ldap://dc1/dc=x", CASP_TLS_OFF, S, NULL, 0, 4, 16,
         "CasProxyDirectoryBase"},
        {"ldap://dc1:99999", CASP_TLS_OFF, S, NULL, 0, 4, 16, "port"},
        {"ldap://dc1:x", CASP_TLS_OFF, S, NULL, 0, 4, 16, "LDAP URL"},
        {"http://dc1", CASP_TLS_OFF, S, NULL, 0, 4, 16, "LDAP URL"},
        {"ldif:/x", CASP_TLS_OFF, S, NULL, 0, 4, 16, "LDAP URL"},
        {"", CASP_TLS_OFF, S, NULL, 0, 4, 16, "names no server"},
        {"ldap://dc1", CASP_TLS_OFF, S, NULL, 5, 4, 16, "smax"},
        {"ldap://dc1", CASP_TLS_OFF, S, NULL, 0, 17, 16, "smax"},
        {"ldap://dc1", CASP_TLS_OFF, S, NULL, -1, 4, 16, "smax"},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conf_row_t *r = &rows[i];
        world_t w;
        world_init(&w);
        char *last, *text = apr_pstrdup(w.p, r->urls);
        for (char *u = apr_strtok(text, " ", &last); u;
             u = apr_strtok(NULL, " ", &last)) {
            APR_ARRAY_PUSH(w.conf.urls, const char *) = u;
        }
        w.conf.tls = r->tls;
        w.conf.bind = r->bind;
        w.conf.bind_name = r->name;
        w.conf.bind_secret = r->secret;
        w.conf.ca_file = r->ca;
        w.conf.pool_min = r->min;
        w.conf.pool_smax = r->smax;
        w.conf.pool_hmax = r->hmax;
        const char *wrong = casp_directory_create(w.p, &w.conf, &w.dir);
        if (!r->wrong != !wrong || (wrong && !strstr(wrong, r->wrong))) {
            fail_msg("row %d %s: %s", (int)i, r->urls,
                     wrong ? wrong : "accepted");
        }
        assert_int_equal(w.dir == NULL, wrong != NULL);
        if (!wrong) {
            assert_string_equal(casp_directory_name(w.dir), r->urls);
        }
        world_end(&w);
    }
}

/* Kerberos wants TLS, a keytab, and names. */
static void test_conf_gssapi(void **state)
{
    (void)state;
    static const struct {
        const char *url, *keytab;
        const char *wrong;
    } rows[] = {
        {"ldaps://dc1.test", "/k", NULL},
        {"ldaps://dc1.test", NULL, "needs a keytab"},
        {"ldap://dc1.test", "/k", "needs TLS"},
        {"ldapi://%2Fx", "/k", "needs TLS"},
        {"ldaps://127.0.0.1", "/k", "full name"},
        {"ldaps://[::1]:636", "/k", "full name"},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_t w;
        world_init(&w);
        APR_ARRAY_PUSH(w.conf.urls, const char *) = rows[i].url;
        w.conf.bind = CASP_BIND_GSSAPI;
        w.conf.keytab = rows[i].keytab;
        w.conf.ca_file = "/dev/null";
        const char *wrong = casp_directory_create(w.p, &w.conf, &w.dir);
        if (!rows[i].wrong != !wrong
            || (wrong && !strstr(wrong, rows[i].wrong))) {
            fail_msg("%s: %s", rows[i].url, wrong ? wrong : "accepted");
        }
        world_end(&w);
    }
}

static void test_not_started(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", 1);
    assert_null(casp_directory_create(w.p, &w.conf, &w.dir));
    found_t f = search(&w, MS(200));
    assert_int_equal(f.rc, CASP_DIR_UNAVAILABLE);
    const char *why;
    assert_int_equal(check(&w, "n", "p", &why), CASP_PW_UNAVAILABLE);
    const casp_directory_root_t *root;
    assert_int_equal(casp_directory_root(w.dir, w.p, 0, &root, &why),
                     CASP_DIR_UNAVAILABLE);
    world_end(&w);
}

/* ------------------------------------------------------- servers at fault */

/* One server that is at fault as a whole. */
static void test_faulty_server(void **state)
{
    (void)state;
    static const struct {
        unsigned fault;
        const char *scheme;
        casp_tls_e tls;
    } rows[] = {
        {FAULT_HANG, "ldap", CASP_TLS_OFF},
        {FAULT_HANG, "ldap", CASP_TLS_STARTTLS},
        {FAULT_HANG, "ldaps", CASP_TLS_OFF},
        {FAULT_CLOSE, "ldap", CASP_TLS_OFF},
        {FAULT_CLOSE, "ldap", CASP_TLS_STARTTLS},
        {FAULT_CLOSE, "ldaps", CASP_TLS_OFF},
        {FAULT_GARBAGE, "ldap", CASP_TLS_OFF},
        {FAULT_GARBAGE, "ldap", CASP_TLS_STARTTLS},
        {FAULT_GARBAGE, "ldaps", CASP_TLS_OFF},
        {FAULT_HUGE, "ldap", CASP_TLS_OFF},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_t w;
        world_init(&w);
        dirfault_t *f = dirfault_start(rows[i].fault, 0);
        world_url(&w, rows[i].scheme, f->port);
        w.conf.tls = rows[i].tls;
        if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
            w.conf.ca_file = "/dev/null";
        }
        world_start(&w);
        /* A server that hangs costs the deadline, any other fault less: the
         * deadline is far away there, for a slow machine is no fault. */
        bool hangs = rows[i].fault == FAULT_HANG;
        apr_interval_time_t deadline = hangs ? MS(300) : MS(5000);
        found_t s = search(&w, deadline);
        assert_int_equal(s.rc, CASP_DIR_UNAVAILABLE);
        assert_int_equal(s.n, -1);
        assert_true(s.took < deadline + GRACE);
        if ((s.took > deadline - MS(50)) != hangs) {
            fail_msg("row %d took %d ms: %s", (int)i,
                     (int)apr_time_as_msec(s.took), s.why);
        }
        const char *why;
        apr_time_t start = apr_time_now();
        assert_int_equal(casp_directory_check(w.dir, w.p, "n", "p",
                                              start + MS(300), &why),
                         CASP_PW_UNAVAILABLE);
        assert_true(apr_time_now() - start < MS(300) + GRACE);
        assert_true(world_end(&w) < MS(1000));
        dirfault_end(f);
    }
}

static void test_refused_and_unknown(void **state)
{
    (void)state;
    int port, fd = dirfault_socket(0, 0, &port);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", port);
    APR_ARRAY_PUSH(w.conf.urls, const char *) = "ldap://no-such.invalid";
    world_start(&w);
    found_t s = search(&w, MS(2000));
    assert_int_equal(s.rc, CASP_DIR_UNAVAILABLE);
    assert_true(s.took < MS(2000) + GRACE);
    /* A deadline that has passed costs nothing. */
    s = search(&w, -MS(1));
    assert_int_equal(s.rc, CASP_DIR_UNAVAILABLE);
    assert_true(s.took < MS(100));
    assert_true(world_end(&w) < MS(1000));
    close(fd);
}

static void *late_search(void *data)
{
    world_t *w = data;
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    casp_search_t s = {"dc=test", LDAP_SCOPE_SUBTREE, NULL, NULL, 0, false};
    apr_array_header_t *entries;
    const char *why;
    casp_dir_e rc =
        casp_directory_search(w->dir, p, &s, apr_time_now() + MS(20000),
                              &entries, &why);
    apr_pool_destroy(p);
    return rc == CASP_DIR_UNAVAILABLE ? w : NULL;
}

/* The end comes while threads wait for servers in every way there is. */
static void test_stop_while_waiting(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        dirfault_t *f = dirfault_start(i == 2 ? FAULT_NONE : FAULT_HANG, 0);
        SET(f->ask, ASK_HANG);
        world_t w;
        world_init(&w);
        w.conf.connect_timeout = MS(20000);
        w.conf.search_timeout = MS(20000);
        world_url(&w, i == 1 ? "ldaps" : "ldap", f->port);
        world_start(&w);
        pthread_t threads[4];
        for (int t = 0; t < 4; t++) {
            pthread_create(&threads[t], NULL, late_search, &w);
        }
        nap(200);
        assert_true(world_stop(&w) < MS(1000));
        for (int t = 0; t < 4; t++) {
            void *same = NULL;
            pthread_join(threads[t], &same);
            assert_ptr_equal(same, &w);
        }
        assert_int_equal(search(&w, MS(100)).rc, CASP_DIR_UNAVAILABLE);
        world_end(&w);
        dirfault_end(f);
    }
}

/* A name whose look-up does not end must not keep others from the second
 * server, nor the directory from its end. */
static void test_name_hangs(void **state)
{
    (void)state;
    SET(name_hangs, 1);
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    APR_ARRAY_PUSH(w.conf.urls, const char *) = "ldap://slow.invalid";
    world_url(&w, "ldap", f->port);
    w.conf.connect_timeout = MS(500);
    world_start(&w);
    load_t l[4];
    memset(l, 0, sizeof(l));
    for (int i = 0; i < 4; i++) {
        l[i].rounds = 1;
        l[i].patience = MS(3000);
    }
    load(&w, l, 4);
    assert_int_equal(l[0].good + l[1].good + l[2].good + l[3].good, 4);
    /* It rests now, and costs the next one nothing. */
    found_t s = search(&w, MS(3000));
    assert_int_equal(s.rc, CASP_DIR_OK);
    assert_true(s.took < MS(400));
    assert_int_equal(GET(name_waiting), 1);
    assert_true(world_stop(&w) < MS(1000) + MS(100));
    assert_int_equal(GET(left_behind), 1);
    SET(left_behind, 0);
    world_end(&w);
    SET(name_hangs, 0);
    while (GET(name_waiting)) {
        nap(5);
    }
    nap(50); /* the one left behind tidies up */
    dirfault_end(f);
}

/* ----------------------------------------------------- searches that work */

static void test_entries(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    SET(f->entries, 3);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    found_t s = search(&w, 0);
    assert_int_equal(s.rc, CASP_DIR_OK);
    assert_int_equal(s.n, 3); /* and no reference */
    const casp_entry_t *e = APR_ARRAY_IDX(s.entries, 2, casp_entry_t *);
    assert_string_equal(e->dn, "cn=u2,dc=test");
    assert_string_equal(casp_entry_str(e, "CN"), "u2");
    const casp_attr_t *a = casp_entry_attr(e, "member");
    assert_non_null(a);
    assert_int_equal(a->nvalues, 2);
    assert_string_equal(a->values[1].data, "m1");
    a = casp_entry_attr(e, "objectGUID");
    assert_non_null(a);
    assert_int_equal(a->values[0].len, 3);
    assert_memory_equal(a->values[0].data, "a\0b", 3);
    /* No base: the server's own. */
    const casp_directory_root_t *root;
    const char *why;
    assert_int_equal(casp_directory_root(w.dir, w.p, 0, &root, &why),
                     CASP_DIR_OK);
    assert_string_equal(root->default_nc, "dc=test");
    assert_string_equal(root->config_nc, "cn=configuration,dc=test");
    assert_true(root->is_ad);
    /* A broken filter never leaves the house, and breaks nothing. */
    casp_search_t bad = {NULL, LDAP_SCOPE_SUBTREE, "((", NULL, 0, false};
    apr_array_header_t *entries;
    assert_int_equal(casp_directory_search(w.dir, w.p, &bad, 0, &entries,
                                           &why),
                     CASP_DIR_REFUSED);
    assert_non_null(strstr(why, "filter"));
    bad.filter = "(cn=*)";
    assert_int_equal(casp_directory_search(w.dir, w.p, &bad, 0, &entries,
                                           &why),
                     CASP_DIR_OK);
    assert_null(why);
    assert_int_equal(GET(f->conns), 1);
    assert_int_equal(GET(f->service_binds), 1);
    assert_int_equal(GET(f->roots), 1);
    assert_int_equal(casp_directory_stats(w.dir)->searches, 3);
    assert_int_equal(casp_directory_stats(w.dir)->connects, 1);
    world_end(&w);
    dirfault_end(f);
}

static void test_pages_and_limits(void **state)
{
    (void)state;
    static const struct {
        unsigned ask, entries, ignore;
        int limit;
        bool paged;
        casp_dir_e rc;
        int n;
        unsigned searches;
    } rows[] = {
        {ASK_ANSWER, 0, 0, 0, true, CASP_DIR_OK, 0, 1},
        {ASK_ANSWER, 2, 0, 0, true, CASP_DIR_OK, 2, 1},
        {ASK_ANSWER, 5, 0, 0, true, CASP_DIR_OK, 5, 3},
        {ASK_LATER_REFUSED, 5, 0, 0, true, CASP_DIR_INCOMPLETE, -1, 2},
        {ASK_LATER_CLOSE, 5, 0, 0, true, CASP_DIR_INCOMPLETE, -1, 2},
        {ASK_ANSWER, 2, 0, 2, false, CASP_DIR_OK, 2, 1},
        {ASK_ANSWER, 3, 0, 2, false, CASP_DIR_INCOMPLETE, 2, 1},
        {ASK_ANSWER, 9, 1, 2, false, CASP_DIR_INCOMPLETE, 2, 1},
        {ASK_ANSWER, 9, 1, 3, true, CASP_DIR_INCOMPLETE, 3, 2},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        dirfault_t *f = dirfault_start(FAULT_NONE, 0);
        SET(f->ask, rows[i].ask);
        SET(f->entries, rows[i].entries);
        SET(f->ignore_limit, rows[i].ignore);
        world_t w;
        world_init(&w);
        world_url(&w, "ldap", f->port);
        world_start(&w);
        found_t s = search_full(&w, 0, rows[i].limit, rows[i].paged);
        assert_int_equal(s.rc, rows[i].rc);
        assert_int_equal(s.n, rows[i].n);
        assert_int_equal(GET(f->searches), rows[i].searches);
        /* Whatever happened, the next search is not disturbed by it. */
        SET(f->ask, ASK_ANSWER);
        SET(f->entries, 1);
        assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
        world_end(&w);
        dirfault_end(f);
    }
}

/* -------------------------------------------------------------- fail-over */

static void test_fail_over(void **state)
{
    (void)state;
    static const struct {
        unsigned fault, ask;
    } rows[] = {
        {FAULT_HANG, 0},        {FAULT_CLOSE, 0},
        {FAULT_GARBAGE, 0},     {FAULT_HUGE, 0},
        {FAULT_NONE, ASK_HANG}, {FAULT_NONE, ASK_CLOSE},
        {FAULT_NONE, ASK_BUSY}, {FAULT_NONE, ASK_GARBAGE},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        dirfault_t *bad = dirfault_start(rows[i].fault, 0);
        dirfault_t *good = dirfault_start(FAULT_NONE, 0);
        SET(bad->ask, rows[i].ask);
        world_t w;
        world_init(&w);
        world_url(&w, "ldap", bad->port);
        world_url(&w, "ldap", good->port);
        world_start(&w);
        found_t s = search(&w, 0);
        if (s.rc != CASP_DIR_OK) {
            fail_msg("row %d: %s", (int)i, s.why);
        }
        assert_int_equal(GET(good->searches), 1);
        /* The first one rests: nobody asks it again, and it costs nothing. */
        nap(20);
        apr_uint32_t conns = GET(bad->conns);
        for (int n = 0; n < 5; n++) {
            s = search(&w, 0);
            assert_int_equal(s.rc, CASP_DIR_OK);
            assert_true(s.took < MS(300));
        }
        assert_int_equal(GET(bad->conns), conns);
        assert_true(GET(bad->searches) <= 1);
        world_end(&w);
        dirfault_end(bad);
        dirfault_end(good);
    }
}

static void test_rest_and_return(void **state)
{
    (void)state;
    dirfault_t *first = dirfault_start(FAULT_CLOSE, 0);
    dirfault_t *second = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    w.conf.rest = MS(300);
    world_url(&w, "ldap", first->port);
    world_url(&w, "ldap", second->port);
    world_start(&w);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    assert_int_equal(GET(second->searches), 1);
    SET(first->fault, FAULT_NONE);
    nap(350);
    /* This one makes somebody look, but does not wait for it. */
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    for (int n = 0; n < 100 && !GET(first->searches); n++) {
        nap(20);
        assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    }
    assert_true(GET(first->searches) > 0);
    /* All gone: each is tried, rest or not, and both return. */
    SET(first->ask, ASK_CLOSE);
    SET(second->ask, ASK_CLOSE);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_UNAVAILABLE);
    SET(first->ask, ASK_ANSWER);
    SET(second->ask, ASK_ANSWER);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    world_end(&w);
    dirfault_end(first);
    dirfault_end(second);
}

/* Idle connections that the server has closed are not an error. */
static void test_idle_closed(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    SET(f->ask, ASK_THEN_CLOSE);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    for (int i = 0; i < 30; i++) {
        if (i == 20) {
            SET(f->ask, ASK_ONCE);
        }
        /* With and without time for the end to arrive. */
        nap(i % 3 == 0 ? 10 : 0);
        found_t s = search(&w, 0);
        if (s.rc != CASP_DIR_OK) {
            fail_msg("search %d: %s", i, s.why);
        }
    }
    assert_int_equal(casp_directory_stats(w.dir)->failures, 0);
    world_end(&w);
    dirfault_end(f);
}

/* A connection that comes too late serves the next one. */
static void test_late_connection_is_kept(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    SET(f->bind_delay, (apr_uint32_t)(250 * slowness()));
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    found_t s = search(&w, MS(100));
    assert_int_equal(s.rc, CASP_DIR_UNAVAILABLE);
    assert_true(s.took < MS(100) + GRACE);
    for (int n = 0; n < 100 && !GET(f->roots); n++) {
        nap(20);
    }
    nap(50);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    assert_int_equal(GET(f->conns), 1);
    world_end(&w);
    dirfault_end(f);
}

/* A refused service bind is not repeated for every request. */
static void test_denied(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    SET(f->bind_code, LDAP_INVALID_CREDENTIALS);
    world_t w;
    world_init(&w);
    w.conf.rest = MS(200);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    for (int i = 0; i < 10; i++) {
        found_t s = search(&w, 0);
        assert_int_equal(s.rc, CASP_DIR_UNAVAILABLE);
        assert_non_null(strstr(s.why, "CasProxyDirectoryBind"));
    }
    assert_int_equal(GET(f->service_binds), 1);
    /* Users are judged all the same. */
    const char *why;
    assert_int_equal(check(&w, "n", "p", &why), CASP_PW_OK);
    SET(f->bind_code, 0);
    nap(250);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    world_end(&w);
    dirfault_end(f);
}

/* ------------------------------------------------------------- passwords */

static void test_check(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    const char *why;
    assert_int_equal(check(&w, "n", "", &why), CASP_PW_EMPTY);
    assert_int_equal(check(&w, "n", NULL, &why), CASP_PW_EMPTY);
    assert_int_equal(check(&w, "", "p", &why), CASP_PW_WRONG);
    assert_int_equal(GET(f->conns), 0);
    for (apr_size_t i = 0; i < NJUDGEMENTS; i++) {
        f->user_diag = judgements[i].diag;
        SET(f->user_code, (apr_uint32_t)judgements[i].code);
        assert_int_equal(check(&w, "CORP\\u", "p", &why), judgements[i].pw);
        assert_int_equal(why == NULL, judgements[i].pw == CASP_PW_OK);
        assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    }
    /* One connection for each kind, and no bind strayed. */
    assert_int_equal(GET(f->user_binds), NJUDGEMENTS);
    assert_int_equal(GET(f->conns), 2);
    assert_int_equal(GET(f->mixed), 0);
    assert_int_equal(GET(f->service_binds), 1);
    world_end(&w);
    dirfault_end(f);
}

/* ----------------------------------------------------------------- bounds */

static void test_hmax(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    w.conf.pool_smax = 1;
    w.conf.pool_hmax = 1;
    w.conf.search_timeout = MS(3000);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    SET(f->ask_delay, (apr_uint32_t)(1200 * slowness()));
    load_t l[3];
    memset(l, 0, sizeof(l));
    l[0].patience = MS(2500);
    l[1].patience = l[2].patience = MS(150);
    l[0].rounds = l[1].rounds = l[2].rounds = 1;
    load(&w, l, 3);
    /* One got the connection, and the others waited no longer than asked. */
    assert_int_equal(l[0].good, 1);
    assert_int_equal(l[1].good + l[2].good, 0);
    assert_int_equal(l[0].slow + l[1].slow + l[2].slow, 0);
    world_end(&w);
    dirfault_end(f);
}

static void test_many_threads(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    dirfault_t *g = dirfault_start(FAULT_NONE, 0);
    SET(f->entries, 3);
    SET(g->entries, 3);
    world_t w;
    world_init(&w);
    w.conf.pool_hmax = 4;
    w.conf.pool_smax = 2;
    w.conf.rest = MS(50);
    world_url(&w, "ldap", f->port);
    world_url(&w, "ldap", g->port);
    world_start(&w);
    load_t l[8];
    memset(l, 0, sizeof(l));
    for (int i = 0; i < 8; i++) {
        l[i].rounds = 40;
        l[i].patience = MS(10000);
        l[i].checks = true;
    }
    load(&w, l, 8);
    int bad = 0, good = 0;
    for (int i = 0; i < 8; i++) {
        bad += l[i].bad;
        good += l[i].good;
    }
    assert_int_equal(bad, 0);
    assert_int_equal(good, 8 * 40);
    assert_int_equal(GET(f->mixed) + GET(g->mixed), 0);
    /* Four of each kind, and one of each that may have come late. */
    assert_true(GET(f->conns) <= 2 * (4 + 1));
    world_end(&w);
    dirfault_end(f);
    dirfault_end(g);
}

/* Each attempt ends by its own time-out, and the connectors are free for the
 * next, even where the library would wait for ever. */
static void test_connectors_come_back(void **state)
{
    (void)state;
    static const char *const schemes[] = {"ldaps", "ldap"};
    for (int i = 0; i < 2; i++) {
        dirfault_t *f = dirfault_start(FAULT_HANG, 0);
        world_t w;
        world_init(&w);
        w.conf.connect_timeout = MS(100);
        w.conf.tls = CASP_TLS_STARTTLS;
        w.conf.ca_file = "/dev/null";
        world_url(&w, schemes[i], f->port);
        world_start(&w);
        for (unsigned n = 1; n <= 6; n++) {
            assert_int_equal(search(&w, MS(500)).rc, CASP_DIR_UNAVAILABLE);
            assert_int_equal(GET(f->conns), n);
        }
        assert_true(world_end(&w) < MS(300));
        dirfault_end(f);
    }
}

/* A thread that waits in the kernel costs nothing. */
static void test_no_busy_wait(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_HANG, 0);
    world_t w;
    world_init(&w);
    w.conf.connect_timeout = MS(5000);
    w.conf.ca_file = "/dev/null";
    world_url(&w, "ldaps", f->port);
    world_start(&w);
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    assert_int_equal(search(&w, MS(1000)).rc, CASP_DIR_UNAVAILABLE);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double used =
        (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    assert_true(used < 0.5);
    world_end(&w);
    dirfault_end(f);
}

static void test_start_again(void **state)
{
    (void)state;
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    world_t w;
    world_init(&w);
    world_url(&w, "ldap", f->port);
    world_start(&w);
    const casp_directory_root_t *root;
    const char *why;
    assert_int_equal(casp_directory_root(w.dir, w.p, 0, &root, &why),
                     CASP_DIR_OK);
    assert_int_equal(casp_directory_start(w.dir, w.life), APR_EEXIST);
    world_stop(&w);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_UNAVAILABLE);
    assert_int_equal(casp_directory_start(w.dir, w.life), APR_SUCCESS);
    assert_int_equal(search(&w, 0).rc, CASP_DIR_OK);
    /* What was lent stays good. */
    assert_string_equal(root->default_nc, "dc=test");
    world_end(&w);
    dirfault_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_escape),
        cmocka_unit_test(test_filter_every_byte),
        cmocka_unit_test(test_data_codes),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_conf),
        cmocka_unit_test(test_conf_gssapi),
        cmocka_unit_test(test_not_started),
        cmocka_unit_test(test_faulty_server),
        cmocka_unit_test(test_refused_and_unknown),
        cmocka_unit_test(test_stop_while_waiting),
        cmocka_unit_test(test_name_hangs),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_pages_and_limits),
        cmocka_unit_test(test_fail_over),
        cmocka_unit_test(test_rest_and_return),
        cmocka_unit_test(test_idle_closed),
        cmocka_unit_test(test_late_connection_is_kept),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_hmax),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_connectors_come_back),
        cmocka_unit_test(test_no_busy_wait),
        cmocka_unit_test(test_start_again),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return failed;
}
