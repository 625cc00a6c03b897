/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Claims by strangers: Basic headers, typed names, remembered passwords.
 * Tables first; what needs a story stands below them.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_base64.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "identity.h"

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

static const char *basic_of(const char *bytes, apr_size_t len)
{
    char *out = apr_palloc(pool, (apr_size_t)apr_base64_encode_len((int)len));
    apr_base64_encode(out, bytes, (int)len);
    return apr_pstrcat(pool, "Basic ", out, NULL);
}

/* ---------------------------------------------------------------- Basic */

static void test_headers(void **state)
{
    static const struct {
        const char *header;
        casp_claim_e how;
    } cases[] = {
        {NULL, CASP_CLAIM_NONE},
        {"", CASP_CLAIM_NONE},
        {"  ", CASP_CLAIM_NONE},
        {"Basic YWRhOnB3", CASP_CLAIM_OK},
        {"basic YWRhOnB3", CASP_CLAIM_OK},
        {" BASIC\t YWRhOnB3 \t", CASP_CLAIM_OK},
        {"Basic", CASP_CLAIM_BROKEN},
        {"Basic ", CASP_CLAIM_BROKEN},
        {"Basically YWRhOnB3", CASP_CLAIM_OTHER},
        {"Negotiate TlRMTVNTUAAB", CASP_CLAIM_OTHER},
        {"Bas", CASP_CLAIM_OTHER},
        {"Basic YWRhOnB", CASP_CLAIM_BROKEN}, /* no whole group */
        {"Basic YWRhOnB3=", CASP_CLAIM_BROKEN},
        {"Basic YWRhOnB3====", CASP_CLAIM_BROKEN},
        {"Basic ====", CASP_CLAIM_BROKEN},
        {"Basic YWRh=nB3", CASP_CLAIM_BROKEN},
        {"Basic YWRhOnB3,YWRh", CASP_CLAIM_BROKEN},
        {"Basic YWRh OnB3", CASP_CLAIM_BROKEN},
        {"Basic YWRhOn-_", CASP_CLAIM_BROKEN}, /* the URL alphabet */
        {"Basic YWRhOnB3\xc3\xa4\xc3\xa4", CASP_CLAIM_BROKEN},
        {"Basic YWRhcHc=", CASP_CLAIM_BROKEN}, /* "adapw": no colon */
        {"Basic OnB3", CASP_CLAIM_EMPTY}, /* ":pw" */
        {"Basic Og==", CASP_CLAIM_EMPTY}, /* ":" */
        {"Basic YWRhOg==", CASP_CLAIM_EMPTY_PASSWORD},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_claim_t claim;
        casp_claim_e how = casp_identity_basic(pool, cases[i].header, &claim);
        if (how != cases[i].how) {
            fail_msg("%s: %s", cases[i].header, casp_claim_name(how));
        }
        if (how == CASP_CLAIM_OK) {
            assert_string_equal(claim.name, "ada");
            assert_string_equal(claim.password, "pw");
            assert_int_equal(claim.password_len, 2);
        }
        else {
            assert_null(claim.password);
        }
    }
}

#define BYTES(s) (s), sizeof(s) - 1

static void test_contents(void **state)
{
    static const struct {
        const char *bytes;
        apr_size_t len;
        casp_claim_e how;
        const char *name, *password;
    } cases[] = {
        {BYTES("CONTOSO\\ada:a:b:c"), CASP_CLAIM_OK, "CONTOSO\\ada", "a:b:c"},
        /* UTF-8 stays, Latin-1 becomes UTF-8, both parts together */
        {BYTES("m\xc3\xbcller:gr\xc3\xbc\xc3\x9f"), CASP_CLAIM_OK,
         "m\xc3\xbcller", "gr\xc3\xbc\xc3\x9f"},
        {BYTES("m\xfcller:gr\xfc\xdf"), CASP_CLAIM_OK, "m\xc3\xbcller",
         "gr\xc3\xbc\xc3\x9f"},
        {BYTES("ada:\xe9"), CASP_CLAIM_OK, "ada", "\xc3\xa9"},
        {BYTES("\xf0\x9f\x98\x80:\xf0\x9f\x94\x91"), CASP_CLAIM_OK,
         "\xf0\x9f\x98\x80", "\xf0\x9f\x94\x91"},
        /* no UTF-8: overlong, a surrogate, too high, cut off */
        {BYTES("a:\xc0\xaf"), CASP_CLAIM_OK, "a", "\xc3\x80\xc2\xaf"},
        {BYTES("a:\xe0\x80\xaf"), CASP_CLAIM_OK, "a",
         "\xc3\xa0\xc2\x80\xc2\xaf"},
        {BYTES("a:\xed\xa0\xa1"), CASP_CLAIM_OK, "a",
         "\xc3\xad\xc2\xa0\xc2\xa1"},
        {BYTES("a:\xf4\x90\xa0\xa0"), CASP_CLAIM_OK, "a",
         "\xc3\xb4\xc2\x90\xc2\xa0\xc2\xa0"},
        {BYTES("a:\xe2\x82"), CASP_CLAIM_OK, "a", "\xc3\xa2\xc2\x82"},
        /* what no name and no password holds */
        {BYTES("ad\0a:pw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ada:p\0w"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ada:pw\0"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("a\ta:pw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ada\r\n:pw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ada:p\x7fw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ad\xc2\x85:pw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("ad\x85:pw"), CASP_CLAIM_BROKEN, NULL, NULL},
        {BYTES("*)(uid=*:pw"), CASP_CLAIM_OK, "*)(uid=*", "pw"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_claim_t claim;
        casp_claim_e how =
            casp_identity_basic(pool, basic_of(cases[i].bytes, cases[i].len),
                                &claim);
        if (how != cases[i].how) {
            fail_msg("case %d: %s", (int)i, casp_claim_name(how));
        }
        if (how == CASP_CLAIM_OK) {
            assert_string_equal(claim.name, cases[i].name);
            assert_string_equal(claim.password, cases[i].password);
            assert_int_equal(claim.password_len, strlen(cases[i].password));
        }
    }
}

static casp_claim_e basic_lengths(apr_size_t name, apr_size_t password,
                                  char fill)
{
    char *bytes = apr_palloc(pool, name + password + 1);
    casp_claim_t claim;

    memset(bytes, fill, name + password + 1);
    bytes[name] = ':';
    return casp_identity_basic(pool, basic_of(bytes, name + password + 1),
                               &claim);
}

static void test_lengths(void **state)
{
    (void)state;
    assert_int_equal(basic_lengths(CASP_NAME_MAX, CASP_PASSWORD_MAX, 'x'),
                     CASP_CLAIM_OK);
    assert_int_equal(basic_lengths(CASP_NAME_MAX + 1, 2, 'x'),
                     CASP_CLAIM_TOO_LONG);
    assert_int_equal(basic_lengths(2, CASP_PASSWORD_MAX + 1, 'x'),
                     CASP_CLAIM_TOO_LONG);
    assert_int_equal(basic_lengths(10000, 2, 'x'), CASP_CLAIM_TOO_LONG);
    assert_int_equal(basic_lengths(2, 1000000, 'x'), CASP_CLAIM_TOO_LONG);
    /* measured after Latin-1 has grown */
    assert_int_equal(basic_lengths(CASP_NAME_MAX / 2, 2, '\xfc'),
                     CASP_CLAIM_OK);
    assert_int_equal(basic_lengths(CASP_NAME_MAX / 2 + 1, 2, '\xfc'),
                     CASP_CLAIM_TOO_LONG);
}

/* The pool's cleanup must have wiped the password before its memory goes
 * back; a cleanup registered earlier runs later, and looks. */
static char *wiped_password;
static bool wiped;

static apr_status_t look_whether_wiped(void *data)
{
    (void)data;
    wiped = wiped_password[0] == 0 && wiped_password[1] == 0;
    return APR_SUCCESS;
}

static void test_wiped_with_pool(void **state)
{
    apr_pool_t *p;
    casp_claim_t claim;

    (void)state;
    assert_int_equal(apr_pool_create(&p, pool), APR_SUCCESS);
    apr_pool_cleanup_register(p, NULL, look_whether_wiped,
                              apr_pool_cleanup_null);
    assert_int_equal(casp_identity_basic(p, "Basic YWRhOnB3", &claim),
                     CASP_CLAIM_OK);
    wiped_password = claim.password;
    wiped = false;
    apr_pool_destroy(p);
    assert_true(wiped);

    char secret[] = "secret";
    casp_wipe(secret, 6);
    assert_memory_equal(secret, "\0\0\0\0\0\0", 6);
    casp_wipe(NULL, 0);
}

/* ---------------------------------------------------------------- names */

static void test_names(void **state)
{
    static const struct {
        const char *typed, *fallback;
        casp_claim_e how;
        casp_key_e kind;
        const char *domain, *value;
    } cases[] = {
        {"CONTOSO\\Ada", NULL, CASP_CLAIM_OK, CASP_KEY_LOGON, "contoso",
         "ada"},
        {"  CONTOSO\\Ada ", NULL, CASP_CLAIM_OK, CASP_KEY_LOGON, "contoso",
         "ada"},
        {"contoso.test\\ada", "X", CASP_CLAIM_OK, CASP_KEY_LOGON,
         "contoso.test", "ada"},
        {"CONTOSO\\ada@home", NULL, CASP_CLAIM_OK, CASP_KEY_LOGON, "contoso",
         "ada@home"},
        {"ada@home\\x", NULL, CASP_CLAIM_OK, CASP_KEY_LOGON, "ada@home", "x"},
        {"A\\b\\c", NULL, CASP_CLAIM_OK, CASP_KEY_LOGON, "a", "b\\c"},
        {"Ada@Contoso.Test", NULL, CASP_CLAIM_OK, CASP_KEY_UPN, NULL,
         "ada@contoso.test"},
        {"a@b@c", "X", CASP_CLAIM_OK, CASP_KEY_UPN, NULL, "a@b@c"},
        {"Ada", "CONTOSO", CASP_CLAIM_OK, CASP_KEY_LOGON, "contoso", "ada"},
        {"Ada", "Contoso.test", CASP_CLAIM_OK, CASP_KEY_UPN, NULL,
         "ada@contoso.test"},
        {"\\Ada", "CONTOSO", CASP_CLAIM_OK, CASP_KEY_LOGON, "contoso", "ada"},
        {"contoso/ada", "X", CASP_CLAIM_OK, CASP_KEY_LOGON, "x",
         "contoso/ada"},
        {"M\xc3\x9cLLER", "X", CASP_CLAIM_OK, CASP_KEY_LOGON, "x",
         "m\xc3\x9cller"},
        {"\xf0\x9f\x98\x80", "X", CASP_CLAIM_OK, CASP_KEY_LOGON, "x",
         "\xf0\x9f\x98\x80"},
        {"a*(b)", "X", CASP_CLAIM_OK, CASP_KEY_LOGON, "x", "a*(b)"},
        {"Ada", NULL, CASP_CLAIM_NO_DOMAIN, 0, NULL, NULL},
        {"Ada", "", CASP_CLAIM_NO_DOMAIN, 0, NULL, NULL},
        {"\\Ada", NULL, CASP_CLAIM_NO_DOMAIN, 0, NULL, NULL},
        {"", "X", CASP_CLAIM_EMPTY, 0, NULL, NULL},
        {"   ", "X", CASP_CLAIM_EMPTY, 0, NULL, NULL},
        {"CONTOSO\\", "X", CASP_CLAIM_EMPTY, 0, NULL, NULL},
        {"\\", "X", CASP_CLAIM_EMPTY, 0, NULL, NULL},
        {"@contoso.test", "X", CASP_CLAIM_EMPTY, 0, NULL, NULL},
        {"ada@", "X", CASP_CLAIM_BROKEN, 0, NULL, NULL},
        {"a\nb", "X", CASP_CLAIM_BROKEN, 0, NULL, NULL},
        {"a\xc2\x80", "X", CASP_CLAIM_BROKEN, 0, NULL, NULL},
        {"a\xfc", "X", CASP_CLAIM_BROKEN, 0, NULL, NULL},
    };
    static const casp_logon_format_e formats[] = {
        CASP_LOGON_FULLDOMAIN, CASP_LOGON_PRINCIPALNAME, CASP_LOGON_USERNAME};
    size_t i, f;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (f = 0; f < 3; f++) {
            casp_user_key_t key;
            casp_claim_e how =
                casp_identity_key(pool, cases[i].typed, strlen(cases[i].typed),
                                  formats[f], cases[i].fallback, &key);
            if (how != cases[i].how) {
                fail_msg("\"%s\": %s", cases[i].typed, casp_claim_name(how));
            }
            if (how != CASP_CLAIM_OK) {
                continue;
            }
            assert_int_equal(key.kind, cases[i].kind);
            assert_string_equal(key.value, cases[i].value);
            assert_int_equal(key.len, strlen(cases[i].value));
            if (cases[i].domain) {
                assert_string_equal(key.domain, cases[i].domain);
            }
            else {
                assert_null(key.domain);
            }
        }
    }
}

static void test_name_bounds(void **state)
{
    casp_user_key_t key;
    char *name = apr_palloc(pool, 10000);

    (void)state;
    memset(name, 'a', 10000);
    assert_int_equal(casp_identity_key(pool, name, CASP_NAME_MAX,
                                       CASP_LOGON_USERNAME, "X", &key),
                     CASP_CLAIM_OK);
    assert_int_equal(casp_identity_key(pool, name, CASP_NAME_MAX + 1,
                                       CASP_LOGON_USERNAME, "X", &key),
                     CASP_CLAIM_TOO_LONG);
    assert_int_equal(casp_identity_key(pool, name, 10000, CASP_LOGON_USERNAME,
                                       "X", &key),
                     CASP_CLAIM_TOO_LONG);
    assert_int_equal(casp_identity_key(pool, "ad\0a", 4, CASP_LOGON_USERNAME,
                                       "X", &key),
                     CASP_CLAIM_BROKEN);
    assert_int_equal(casp_identity_key(pool, NULL, 0, CASP_LOGON_USERNAME, "X",
                                       &key),
                     CASP_CLAIM_EMPTY);
    /* not a byte behind the length is looked at */
    assert_int_equal(casp_identity_key(pool, "ada@x", 3, CASP_LOGON_USERNAME,
                                       "X", &key),
                     CASP_CLAIM_OK);
    assert_string_equal(key.value, "ada");
}

static void test_claim_names(void **state)
{
    int i, j;

    (void)state;
    for (i = CASP_CLAIM_OK; i <= CASP_CLAIM_NO_DOMAIN; i++) {
        const char *name = casp_claim_name((casp_claim_e)i);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"),
                         strlen(name));
        for (j = 0; j < i; j++) {
            assert_string_not_equal(name, casp_claim_name((casp_claim_e)j));
        }
    }
}

/* A record with only the texts that matter here. */
static casp_mailbox_t *record_of(const char *netbios, const char *sam,
                                 const char *upn, const char *dn)
{
    const char *text[CASP_MB_STRINGS] = {dn, sam, netbios, upn, "",
                                         "", "",  "",      "",  ""};
    casp_mailbox_t *m = apr_pcalloc(pool, CASP_MAILBOX_MAX);
    apr_size_t at = sizeof(*m);
    int i;

    for (i = 0; i < CASP_MB_STRINGS; i++) {
        m->text[i] = (uint16_t)at;
        strcpy((char *)m + at, text[i]);
        at += strlen(text[i]) + 1;
    }
    m->version = CASP_MAILBOX_VERSION;
    m->size = (uint16_t)at;
    return m;
}

static void test_names_out(void **state)
{
    static const struct {
        const char *netbios, *sam, *upn, *display, *bind_ad, *bind_other;
    } cases[] = {
        {"CONTOSO", "ada", "ada@x", "CONTOSO\\ada", "CONTOSO\\ada", "CN=a"},
        {"", "ada", "ada@x", "ada@x", "CN=a", "CN=a"},
        {"CONTOSO", "", "", "CN=a", "CN=a", "CN=a"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_mailbox_t *m =
            record_of(cases[i].netbios, cases[i].sam, cases[i].upn, "CN=a");
        assert_true(casp_mailbox_valid(m, m->size));
        assert_string_equal(casp_identity_display(pool, m), cases[i].display);
        assert_string_equal(casp_identity_bind_name(pool, m, true),
                            cases[i].bind_ad);
        assert_string_equal(casp_identity_bind_name(pool, m, false),
                            cases[i].bind_other);
    }
}

/* -------------------------------------------------- remembered passwords */

#define SEC(n) apr_time_from_sec(n)
static const apr_time_t noon = SEC(1000000);

static casp_guid_t guid_of(uint32_t n)
{
    casp_guid_t g;
    memset(&g, 0x5a, sizeof(g));
    memcpy(g.b, &n, sizeof(n));
    return g;
}

static void test_credentials(void **state)
{
    casp_credentials_t *c = casp_credentials_create(pool, SEC(60), 100);
    casp_guid_t ada = guid_of(1), bob = guid_of(2);

    (void)state;
    assert_false(casp_credentials_known(c, &ada, "pw", 2, noon));
    casp_credentials_remember(c, &ada, "pw", 2, noon);
    assert_true(casp_credentials_known(c, &ada, "pw", 2, noon));
    assert_true(casp_credentials_known(c, &ada, "pw", 2, noon + SEC(59)));
    assert_false(casp_credentials_known(c, &ada, "pw", 2, noon + SEC(60)));
    assert_false(casp_credentials_known(c, &ada, "pw", 2, noon - 1));
    assert_false(casp_credentials_known(c, &ada, "pW", 2, noon));
    assert_false(casp_credentials_known(c, &ada, "p", 1, noon));
    assert_false(casp_credentials_known(c, &ada, "pw", 3, noon));
    assert_false(casp_credentials_known(c, &bob, "pw", 2, noon));

    /* the last one verified counts, and only that */
    casp_credentials_remember(c, &ada, "new", 3, noon + SEC(1));
    assert_true(casp_credentials_known(c, &ada, "new", 3, noon + SEC(2)));
    assert_false(casp_credentials_known(c, &ada, "pw", 2, noon + SEC(2)));

    casp_credentials_remember(c, &bob, "b", 1, noon);
    casp_credentials_forget(c, &ada);
    assert_false(casp_credentials_known(c, &ada, "new", 3, noon + SEC(2)));
    assert_true(casp_credentials_known(c, &bob, "b", 1, noon));

    /* an empty password is never known */
    casp_credentials_remember(c, &ada, "", 0, noon);
    assert_false(casp_credentials_known(c, &ada, "", 0, noon));
}

static void test_credentials_off(void **state)
{
    static const struct {
        apr_interval_time_t ttl;
        int size;
    } cases[] = {{0, 100}, {SEC(60), 0}, {-1, -1}};
    casp_guid_t ada = guid_of(1);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_credentials_t *c =
            casp_credentials_create(pool, cases[i].ttl, cases[i].size);
        casp_credentials_remember(c, &ada, "pw", 2, noon);
        assert_false(casp_credentials_known(c, &ada, "pw", 2, noon));
        casp_credentials_forget(c, &ada);
    }
}

static void test_credentials_bounded(void **state)
{
    casp_credentials_t *c = casp_credentials_create(pool, SEC(60), 64);
    int i, known = 0, recent = 0;

    (void)state;
    for (i = 0; i < 10000; i++) {
        casp_guid_t g = guid_of((uint32_t)i);
        casp_credentials_remember(c, &g, "pw", 2, noon + i);
    }
    for (i = 0; i < 10000; i++) {
        casp_guid_t g = guid_of((uint32_t)i);
        if (casp_credentials_known(c, &g, "pw", 2, noon + 10000)) {
            known++;
            recent += i >= 10000 - 200;
        }
    }
    assert_int_equal(known, 64);
    /* the oldest of the few goes, so that all who are left came late */
    assert_int_equal(recent, known);
}

static casp_credentials_t *shared;

static void *APR_THREAD_FUNC hammer(apr_thread_t *thread, void *data)
{
    intptr_t wrong = 0;
    uint32_t i;

    (void)thread;
    for (i = 0; i < 300; i++) {
        casp_guid_t g = guid_of(i % 16);
        casp_credentials_remember(shared, &g, "pw", 2, noon);
        wrong += casp_credentials_known(shared, &g, "no", 2, noon);
        if (i % 64 == 0) {
            casp_credentials_forget(shared, &g);
        }
    }
    *(intptr_t *)data = wrong;
    return NULL;
}

static void test_credentials_threads(void **state)
{
    apr_thread_t *threads[4];
    intptr_t wrong[4] = {1, 1, 1, 1};
    int i;

    (void)state;
    shared = casp_credentials_create(pool, SEC(60), 8);
    for (i = 0; i < 4; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, hammer,
                                           &wrong[i], pool),
                         APR_SUCCESS);
    }
    for (i = 0; i < 4; i++) {
        apr_status_t rv;
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(wrong[i], 0);
    }
}

/* A second level that is one place, as two processes would see it. */
typedef struct {
    char key[128], bytes[128];
    apr_size_t key_len, len;
} place_t;

static apr_size_t place_get(void *baton, const char *key, apr_size_t key_len,
                            void *buf, apr_size_t buf_len)
{
    place_t *at = baton;

    if (key_len != at->key_len || memcmp(key, at->key, key_len)) {
        return 0;
    }
    memcpy(buf, at->bytes, at->len < buf_len ? at->len : buf_len);
    return at->len;
}

static void place_put(void *baton, const char *key, apr_size_t key_len,
                      const void *bytes, apr_size_t len, apr_time_t expires)
{
    place_t *at = baton;

    (void)expires;
    assert_true(key_len <= sizeof(at->key) && len <= sizeof(at->bytes));
    memcpy(at->key, key, at->key_len = key_len);
    memcpy(at->bytes, bytes, at->len = len);
}

static void test_credentials_shared(void **state)
{
    static const unsigned char key[32] = "one start's key, 32 bytes of it";
    static const unsigned char other[32] = "another start's key";
    const casp_guid_t ada = {{1}};
    place_t place;
    const casp_cache2_t second = {place_get, place_put, &place};
    casp_credentials_t *a = casp_credentials_create(pool, SEC(60), 8);
    casp_credentials_t *b = casp_credentials_create(pool, SEC(60), 8);
    casp_credentials_t *c = casp_credentials_create(pool, SEC(60), 8);

    (void)state;
    memset(&place, 0, sizeof(place));
    casp_credentials_share(a, key, &second, "contoso");
    casp_credentials_share(b, key, &second, "contoso");
    casp_credentials_share(c, other, &second, "contoso");
    casp_credentials_remember(a, &ada, "pw", 2, noon);
    assert_false(casp_credentials_known(b, &ada, "no", 2, noon + SEC(1)));
    assert_true(casp_credentials_known(b, &ada, "pw", 2, noon + SEC(1)));
    assert_false(casp_credentials_known(c, &ada, "pw", 2, noon + SEC(1)));
    /* what b learned ages from a's bind on, not from b's question */
    assert_true(casp_credentials_known(b, &ada, "pw", 2, noon + SEC(59)));
    assert_false(casp_credentials_known(b, &ada, "pw", 2, noon + SEC(60)));
    /* who writes there cannot make it younger */
    casp_credentials_forget(b, &ada);
    casp_credentials_remember(a, &ada, "pw", 2, noon);
    apr_time_t young = noon + SEC(30);
    memcpy(place.bytes, &young, sizeof(young));
    assert_false(casp_credentials_known(b, &ada, "pw", 2, noon + SEC(40)));
    /* forgotten by one is forgotten by those who had not learned it yet */
    casp_credentials_remember(a, &ada, "pw", 2, noon);
    casp_credentials_forget(a, &ada);
    assert_false(casp_credentials_known(b, &ada, "pw", 2, noon + SEC(1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_credentials_shared, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_contents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wiped_with_pool, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_name_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claim_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credentials, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credentials_off, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_credentials_bounded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_credentials_threads, set_up,
                                        tear_down),
    };

    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
