/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * test_entry.c: entries, names, GUIDs, and the shared words.
 *
 * Why: every reference in the directory is a name in some spelling; if two
 * spellings of one object differ here, a mailbox has no home there.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "entry.h"

static apr_pool_t *pool;

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *in, *out;
} normals[] = {
    {"", ""},
    {"CN=A,DC=B", "cn=a,dc=b"},
    {" CN = A , DC = B ", "cn=a,dc=b"},
    {"CN=A  B,DC=C", "cn=a  b,dc=c"},
    {"CN=Smith\\, John,DC=c", "cn=smith\\2c john,dc=c"},
    {"CN=Smith\\2C John,DC=c", "cn=smith\\2c john,dc=c"},
    {"CN=\"Smith, John\",DC=c", "cn=smith\\2c john,dc=c"},
    {"CN=a\\\\,DC=c", "cn=a\\5c,dc=c"},
    {"CN=M\xc3\xbcnchen,DC=c", "cn=m\xc3\xbcnchen,dc=c"},
    {"CN=M\\C3\\BCnchen,DC=c", "cn=m\xc3\xbcnchen,dc=c"},
    {"CN=\\41,DC=c", "cn=a,dc=c"},
    {"CN=a\\ ,DC=c", "cn=a\\20,dc=c"},
    {"CN=a\\\\ ,DC=c", "cn=a\\5c,dc=c"},
    {"CN=\\ a,DC=c", "cn=\\20a,dc=c"},
    {"CN=\\20,DC=c", "cn=\\20,dc=c"},
    {"CN=\" a \",DC=c", "cn=\\20a\\20,dc=c"},
    {"CN=#0401AB,DC=c", "cn=#0401ab,dc=c"},
    {"CN=\\#1,DC=c", "cn=\\231,dc=c"},
    {"CN=a#1,DC=c", "cn=a#1,dc=c"},
    {"CN=a=b,DC=c", "cn=a\\3db,dc=c"},
    {"CN=a+OU=b,DC=c", "cn=a+ou=b,dc=c"},
    {"CN=Exchange Administrative Group (FYDIBOHF23SPDLT),CN=X",
     "cn=exchange administrative group (fydibohf23spdlt),cn=x"},
    {"CN=a\\00b,DC=c", "cn=a\\00b,dc=c"},
    {"CN=a\\0ADEL:1,DC=c", "cn=a\\0adel:1,dc=c"},
    {"nonsense", "nonsense"},
    {"CN=a\"b,DC=c", "cn=a\\22b,dc=c"},
    {",,", ",,"},
    {"CN=a\\", "cn=a\\5c"},
    {"=", "="},
};

static void test_dn_normal(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(normals); i++) {
        const char *once = casp_dn_normal(pool, normals[i].in);

        assert_string_equal(once, normals[i].out);
        assert_string_equal(casp_dn_normal(pool, once), once);
    }
}

/* The normal form of a normal form is itself, whatever the bytes. */
static void test_dn_noise(void **state)
{
    static const char set[] = "aB=,+\\\"#; 0cC2\n\x80";

    (void)state;
    srand(7);
    for (int i = 0; i < 20000; i++) {
        char dn[24];
        int len = rand() % (int)sizeof(dn);

        for (int k = 0; k < len; k++) {
            dn[k] = set[(size_t)rand() % (sizeof(set) - 1)];
        }
        dn[len < (int)sizeof(dn) ? len : len - 1] = '\0';
        const char *once = casp_dn_normal(pool, dn);

        assert_string_equal(casp_dn_normal(pool, once), once);
        assert_non_null(casp_dn_leaf(pool, dn));
        (void)casp_dn_parent(dn);
        if (i % 1000 == 0) {
            apr_pool_clear(pool);
        }
    }
}

static void test_dn_linear(void **state)
{
    apr_size_t n = 1 << 20;
    char *dn = malloc(n + 1);

    (void)state;
    assert_non_null(dn);
    static const char *const bad[] = {"a,", "\",", "\\,", "\"\",",
                                      " ,", ",+",  "a\\ "};

    for (size_t b = 0; b < COUNT(bad); b++) {
        apr_size_t step = strlen(bad[b]);

        for (apr_size_t i = 0; i < n; i++) {
            dn[i] = bad[b][i % step];
        }
        dn[n] = '\0';
        apr_time_t start = apr_time_now();
        (void)casp_dn_normal(pool, dn);
        assert_true(apr_time_now() - start < apr_time_from_sec(5));
        apr_pool_clear(pool);
    }
    free(dn);
}

static void test_dn_parts(void **state)
{
    (void)state;
    assert_string_equal(casp_dn_parent("CN=a,DC=b"), "DC=b");
    assert_string_equal(casp_dn_parent("CN=a\\,x, DC=b"), "DC=b");
    assert_string_equal(casp_dn_parent("CN=\"a,x\",DC=b"), "DC=b");
    assert_null(casp_dn_parent("DC=b"));
    assert_null(casp_dn_parent(""));
    assert_null(casp_dn_parent("DC=b,"));
    assert_string_equal(casp_dn_leaf(pool, "CN=Smith\\, J,DC=b"), "Smith, J");
    assert_string_equal(casp_dn_leaf(pool, "CN=\"x,y\",DC=b"), "x,y");
    assert_string_equal(casp_dn_leaf(pool, "CN=M\\C3\\BC,DC=b"), "M\xc3\xbc");
    assert_string_equal(casp_dn_leaf(pool, "owa"), "owa");
    assert_string_equal(casp_dn_leaf(pool, "CN=10.0.0.0/8,CN=Subnets"),
                        "10.0.0.0/8");
    assert_string_equal(casp_dn_leaf(pool, "CN=a\\00b"), "a?b");
    assert_string_equal(casp_dn_leaf(pool, "CN=a+OU=b,DC=c"), "a");

    assert_true(casp_dn_below("cn=a,dc=b", "dc=b"));
    assert_true(casp_dn_below("dc=b", "dc=b"));
    assert_true(casp_dn_below("dc=b", ""));
    assert_false(casp_dn_below("cn=a,dc=bb", "dc=b"));
    assert_false(casp_dn_below("cn=a,xdc=b", "dc=b"));
    assert_false(casp_dn_below("dc=b", "cn=a,dc=b"));
}

static void test_entry(void **state)
{
    (void)state;
    casp_entry_t *e = casp_entry_make(pool, "CN=x,DC=y");

    assert_null(casp_entry_attr(e, "cn"));
    casp_entry_add(pool, e, "objectClass", "top", 3);
    casp_entry_add(pool, e, "OBJECTCLASS", "msExchPrivateMDB", 16);
    casp_entry_add(pool, e, "objectclass;x-opt", "container", 9);
    casp_entry_add(pool, e, "empty", "", 0);
    casp_entry_add(pool, e, "nul", "a\0b", 3);
    casp_entry_add(pool, e, "n", "-42", 3);
    casp_entry_add(pool, e, "bad", "42x", 3);
    casp_entry_add(pool, e, "big", "99999999999999999999", 20);
    casp_entry_add(pool, e, "member;range=0-1", "m", 1);
    assert_int_equal(casp_entry_attr(e, "objectClass")->nvalues, 3);
    assert_true(casp_entry_has(e, "objectclass", "MSEXCHPRIVATEMDB"));
    assert_true(casp_entry_has(e, "objectClass", "container"));
    assert_false(casp_entry_has(e, "objectClass", "contain"));
    assert_false(casp_entry_has(e, "nul", "a"));
    assert_string_equal(casp_entry_str(e, "objectClass"), "top");
    assert_null(casp_entry_str(e, "empty"));
    assert_null(casp_entry_str(e, "nul"));
    assert_null(casp_entry_str(e, "none"));
    assert_int_equal(casp_entry_attr(e, "nul")->values[0].len, 3);
    assert_int_equal(casp_entry_int(e, "n", 7), -42);
    assert_int_equal(casp_entry_int(e, "bad", 7), 7);
    assert_int_equal(casp_entry_int(e, "big", 7), 7);
    assert_int_equal(casp_entry_int(e, "none", 7), 7);
    assert_string_equal(casp_entry_str(e, "member"), "m");
    assert_string_equal(casp_entry_attr(e, "member")->name, "member");
    for (int i = 0; i < 1000; i++) {
        const char *v = apr_itoa(pool, i);

        casp_entry_add(pool, e, "many", v, strlen(v));
    }
    const casp_attr_t *a = casp_entry_attr(e, "many");

    assert_int_equal(a->nvalues, 1000);
    assert_string_equal(a->values[0].data, "0");
    assert_string_equal(a->values[999].data, "999");
}

/* Values that another room laid out itself have no room of ours. */
static void test_entry_foreign_values(void **state)
{
    casp_value_t three[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
    casp_entry_t *e = casp_entry_make(pool, "CN=x");
    casp_attr_t *a = apr_array_push(e->attrs);

    (void)state;
    memset(a, 0, sizeof(*a));
    a->name = "m";
    a->nvalues = 3;
    a->values = three;
    casp_entry_add(pool, e, "m", "d", 1);
    assert_int_equal(casp_entry_attr(e, "m")->nvalues, 4);
    assert_string_equal(casp_entry_attr(e, "m")->values[2].data, "c");
    assert_string_equal(casp_entry_attr(e, "m")->values[3].data, "d");
}

static void test_guid(void **state)
{
    static const unsigned char raw[16] = {0xe0, 0x04, 0x25, 0x3f, 0x89, 0x4f,
                                          0xd3, 0x41, 0x9a, 0x0c, 0x03, 0x05,
                                          0xe8, 0x2c, 0x33, 0x01};
    static const char text[] = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    casp_guid_t g, h;

    (void)state;
    memcpy(g.b, raw, 16);
    assert_string_equal(casp_guid_text(pool, &g), text);
    static const char *const good[] = {
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "{3F2504E0-4F89-41D3-9A0C-0305E82C3301}",
        "3f2504e04f8941d39a0c0305e82c3301",
        "{3f2504e04f8941d39a0c0305e82c3301}"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{}",
                                      "3f2504e0",
                                      "3f2504e0-4f89-41d3-9a0c-0305e82c330",
                                      "3f2504e0-4f89-41d3-9a0c-0305e82c33010",
                                      "{3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                                      "3f2504e0-4f89-41d3-9a0c-0305e82c3301}",
                                      "3f2504e0-4f8941d3-9a0c-0305e82c3301",
                                      "3f2504e04f89-41d3-9a0c-0305e82c3301",
                                      "3g2504e0-4f89-41d3-9a0c-0305e82c3301"};

    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(casp_guid_parse(good[i], &h));
        assert_true(casp_guid_equal(&g, &h));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(casp_guid_parse(bad[i], &h));
    }
    casp_entry_t *e = casp_entry_make(pool, "CN=x,DC=y");
    casp_entry_t *f = casp_entry_make(pool, "cn = X, dc=y");

    g = casp_entry_guid(e);
    h = casp_entry_guid(f);
    assert_true(casp_guid_equal(&g, &h));
    assert_int_equal(casp_guid_text(pool, &g)[14], '8');
    assert_false(casp_guid_zero(&g));
    casp_entry_add(pool, e, "objectGUID", (const char *)raw, 16);
    casp_entry_add(pool, f, "objectGUID", text, strlen(text));
    g = casp_entry_guid(e);
    h = casp_entry_guid(f);
    assert_true(casp_guid_equal(&g, &h));
    assert_memory_equal(g.b, raw, 16);
}

static void test_words(void **state)
{
    (void)state;
    for (int i = CASP_PROTO_OWA; i < CASP_PROTO_COUNT; i++) {
        casp_protocol_e got;

        assert_true(casp_protocol_parse_name(
            casp_protocol_name((casp_protocol_e)i), &got));
        assert_int_equal(got, i);
    }
    for (int i = CASP_V2000; i < CASP_V_COUNT; i++) {
        casp_version_e got;

        assert_true(casp_version_parse_name(
            casp_version_name((casp_version_e)i), &got));
        assert_int_equal(got, i);
    }
    for (int i = 0; i < CASP_F_COUNT; i++) {
        casp_front_e got;

        assert_true(casp_front_parse_name(casp_front_name((casp_front_e)i),
                                          &got));
        assert_int_equal(got, i);
        /* A front's name begins with its version's. */
        const char *v = casp_version_name(casp_front_version((casp_front_e)i));
        assert_memory_equal(v, casp_front_name((casp_front_e)i), 4);
    }
    for (int i = CASP_ACTION_DIRECT; i < CASP_ACTION_COUNT; i++) {
        casp_action_e got;

        assert_true(casp_action_parse_name(casp_action_name((casp_action_e)i),
                                           &got));
        assert_int_equal(got, i);
    }
    casp_protocol_e pr;
    casp_version_e v;
    casp_front_e f;
    casp_action_e a;

    assert_true(casp_protocol_parse_name("OWA", &pr));
    assert_true(casp_front_parse_name("2010sp2", &f));
    assert_int_equal(f, CASP_F2010SP2);
    assert_false(casp_protocol_parse_name("none", &pr));
    assert_false(casp_version_parse_name("none", &v));
    assert_false(casp_version_parse_name("2011", &v));
    assert_false(casp_action_parse_name("", &a));
    assert_false(casp_action_parse_name(NULL, &a));
    assert_string_equal(casp_action_name(CASP_ACTION_PROXY_BACKEND),
                        "proxy-backend");
    assert_string_equal(casp_action_name(CASP_ACTION_AUTODISCOVER_REDIRECT),
                        "autodiscover-redirect");
    assert_string_equal(casp_action_name(CASP_ACTION_ERROR), "error");
    assert_string_equal(casp_protocol_name((casp_protocol_e)99), "none");
    assert_string_equal(casp_by_name(CASP_BY_NEGOTIATE), "negotiate");
    assert_string_equal(casp_cache_name(CASP_CACHE_NEGATIVE), "negative");
    assert_true(casp_action_is_proxy(CASP_ACTION_PROXY_BACKEND));
    assert_false(casp_action_is_proxy(CASP_ACTION_SSO_REDIRECT));
    assert_true(casp_action_serves(CASP_ACTION_LOGON));
    assert_true(casp_action_serves(CASP_ACTION_EAS_REDIRECT));
    assert_false(casp_action_serves(CASP_ACTION_DENY));
    assert_false(casp_action_serves(CASP_ACTION_ERROR));
    assert_false(casp_action_serves(CASP_ACTION_NONE));
}

static char heard[4096];
static int times;

static void hear(void *baton, casp_log_e level, apr_status_t rv,
                 const char *message)
{
    (void)baton;
    (void)level;
    (void)rv;
    times++;
    apr_cpystrn(heard, message, sizeof(heard));
}

static void test_log(void **state)
{
    (void)state;
    casp_log(CASP_LOG_ERROR, APR_SUCCESS, "CP0000: nobody listens");
    casp_log_set(hear, NULL, CASP_LOG_INFO);
    casp_log(CASP_LOG_DEBUG, APR_SUCCESS, "CP0000: no");
    assert_int_equal(times, 0);
    casp_log(CASP_LOG_INFO, APR_SUCCESS, "CP0000: a %s", "b\nCP: c");
    assert_int_equal(times, 1);
    assert_string_equal(heard, "CP0000: a b?CP: c");
    casp_log_level(CASP_LOG_DEBUG);
    casp_log(CASP_LOG_DEBUG, APR_SUCCESS, "CP0000: %5000s", "x");
    assert_int_equal(times, 2);
    assert_true(strlen(heard) < 4000);
    casp_log_set(NULL, NULL, CASP_LOG_NOTICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dn_normal),
        cmocka_unit_test(test_dn_noise),
        cmocka_unit_test(test_dn_linear),
        cmocka_unit_test(test_dn_parts),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_entry_foreign_values),
        cmocka_unit_test(test_guid),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_log),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
