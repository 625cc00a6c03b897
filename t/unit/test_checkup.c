/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What casproxyctl check says of an account, a keytab, SPNs and a clock; the
 * domain is made of entries here.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "checkup.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OK CASP_CHECK_OK
#define WARN CASP_CHECK_WARN
#define FAIL CASP_CHECK_FAIL

static apr_pool_t *pool;
static casp_checkup_t c;

static int set_up(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) != APR_SUCCESS;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* "name=value;name=value" as an account. */
static casp_check_account_t *account(const char *dn, const char *attrs)
{
    casp_entry_t *e = casp_entry_make(pool, dn);
    casp_check_account_t *a = apr_palloc(pool, sizeof(*a));
    char *last = NULL, *text = apr_pstrdup(pool, attrs);

    for (char *at = apr_strtok(text, ";", &last); at;
         at = apr_strtok(NULL, ";", &last)) {
        char *value = strchr(at, '=');
        assert_non_null(value);
        *value++ = '\0';
        casp_entry_add(pool, e, at, value, strlen(value));
    }
    casp_check_account(e, a);
    return a;
}

/* "name:kvno:etype name:kvno:etype" as a keytab. */
static apr_array_header_t *keys(const char *text)
{
    apr_array_header_t *list =
        apr_array_make(pool, 4, sizeof(casp_check_key_t));
    char *last = NULL, *copy = apr_pstrdup(pool, text);

    for (char *at = apr_strtok(copy, " ", &last); at;
         at = apr_strtok(NULL, " ", &last)) {
        casp_check_key_t *k = apr_array_push(list);
        char *more = NULL;
        k->name = apr_strtok(at, ":", &more);
        k->kvno = (unsigned)atoi(apr_strtok(NULL, ":", &more));
        k->etype = atoi(apr_strtok(NULL, ":", &more));
        k->realm = "CONTOSO.TEST";
        k->spn = strchr(k->name, '/') != NULL;
    }
    return list;
}

static apr_array_header_t *holders(casp_check_account_t *a,
                                   casp_check_account_t *b)
{
    apr_array_header_t *list = apr_array_make(pool, 2, sizeof(void *));
    if (a) {
        APR_ARRAY_PUSH(list, casp_check_account_t *) = a;
    }
    if (b) {
        APR_ARRAY_PUSH(list, casp_check_account_t *) = b;
    }
    return list;
}

/* Is this the last line? */
static void said(casp_check_e result, const char *id, const char *text)
{
    assert_true(c.lines->nelts > 0);
    const casp_check_line_t *l =
        &APR_ARRAY_IDX(c.lines, c.lines->nelts - 1, casp_check_line_t);
    const char *all =
        apr_pstrcat(pool, l->text, " / ", l->remedy ? l->remedy : "", NULL);
    if (l->result != result || strcmp(l->id, id) || !strstr(all, text)) {
        fail_msg("%s %s: %s", casp_check_name(l->result), l->id, all);
    }
    /* what is not well says what to do */
    assert_true(result == OK || l->remedy != NULL);
}

#define SVC "CN=svc,CN=Users,DC=contoso,DC=test"
#define TRUSTED "16843264" /* NORMAL, DONT_EXPIRE, TRUSTED_TO_AUTH */

static void test_keys(void **state)
{
    static const struct {
        const char *account, *keys;
        int lines;
        casp_check_e result; /* of the last line */
        const char *id, *text;
    } rows[] = {
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=24",
         "svc:3:18 svc:3:17", 2, OK, "keytab-types", "AES"},
        {"sAMAccountName=SVC;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=16",
         "svc:2:17 svc:3:18", 2, OK, "keytab-types", "AES"},
        /* the old version had what the new one lacks */
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=16",
         "svc:2:18 svc:3:23", 2, FAIL, "keytab-types", "export"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=24",
         "svc:3:17", 2, FAIL, "keytab-types", "export"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=8",
         "svc:3:17", 2, OK, "keytab-types", "AES"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3", "svc:3:23", 2, WARN,
         "keytab-types", "RC4 keys only"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3", "svc:3:18", 2, WARN,
         "keytab-types", "msDS-SupportedEncryptionTypes"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3;"
         "msDS-SupportedEncryptionTypes=4",
         "svc:3:18", 2, FAIL, "keytab-types", "export"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3", "HTTP/mail:3:18", 1,
         FAIL, "keytab-account", "SPN"},
        {"sAMAccountName=svc;msDS-KeyVersionNumber=3", "other:3:18", 1, FAIL,
         "keytab-account", "no key of svc"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        casp_checkup_init(&c, pool);
        casp_checkup_keys(&c, keys(rows[i].keys),
                          account(SVC, rows[i].account));
        assert_int_equal(c.lines->nelts, rows[i].lines);
        said(rows[i].result, rows[i].id, rows[i].text);
    }
}

static void test_kvno(void **state)
{
    static const struct {
        int keytab;
        const char *directory;
        casp_check_e result;
    } rows[] = {{3, "3", OK},      {2, "3", FAIL}, {4, "3", FAIL},
                {0, "3", OK},      {1, "257", OK}, {300, "300", OK},
                {300, "301", FAIL}};
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        casp_checkup_init(&c, pool);
        casp_checkup_keys(&c,
                          keys(apr_psprintf(pool, "svc:%d:18",
                                            rows[i].keytab)),
                          account(SVC, apr_pstrcat(pool,
                                                   "sAMAccountName=svc;"
                                                   "msDS-KeyVersionNumber=",
                                                   rows[i].directory, NULL)));
        const casp_check_line_t *l =
            &APR_ARRAY_IDX(c.lines, 0, casp_check_line_t);
        assert_string_equal(l->id, "keytab-kvno");
        assert_int_equal(l->result, rows[i].result);
    }
    casp_checkup_init(&c, pool);
    casp_checkup_keys(&c, keys("svc:1:18"),
                      account(SVC, "sAMAccountName=svc;"
                                   "userAccountControl=514"));
    assert_int_equal(c.count[FAIL], 1); /* disabled */
    assert_int_equal(c.count[WARN], 2); /* no version told, no AES said */
}

static void test_spn(void **state)
{
    (void)state;
    const char *spn = "HTTP/mail.contoso.test";
    casp_check_account_t *svc = account(SVC, "sAMAccountName=svc");
    casp_check_account_t *pc =
        account("CN=PC,CN=Computers,DC=contoso,DC=test", "sAMAccountName=PC$");

    casp_checkup_init(&c, pool);
    casp_checkup_spn(&c, spn, holders(svc, NULL), keys("svc:1:18"), svc);
    said(OK, "spn", "on svc alone");
    casp_checkup_spn(&c, spn, holders(NULL, NULL), keys("svc:1:18"), svc);
    said(FAIL, "spn", "setspn -S HTTP/mail.contoso.test svc");
    casp_checkup_spn(&c, spn, holders(NULL, NULL), keys("svc:1:18"), NULL);
    said(FAIL, "spn", "<service account>");
    casp_checkup_spn(&c, spn, holders(svc, pc), keys("svc:1:18"), svc);
    said(FAIL, "spn", "CN=PC,CN=Computers");
    casp_checkup_spn(&c, spn, holders(pc, NULL), keys("svc:1:18"), svc);
    said(FAIL, "spn", "PC$");
    casp_checkup_spn(&c, spn, holders(pc, NULL), keys("svc:1:18 PC$:1:18"),
                     svc);
    said(WARN, "spn", "delegation is done by svc");
    casp_checkup_spn(&c, spn, holders(pc, NULL),
                     keys("HTTP/MAIL.contoso.test:1:18"), NULL);
    said(OK, "spn", "PC$");
}

static void test_delegation(void **state)
{
    (void)state;
    casp_check_account_t *svc =
        account(SVC, "sAMAccountName=svc;userAccountControl=" TRUSTED
                     ";servicePrincipalName=HTTP/mail.contoso.test;"
                     "msDS-AllowedToDelegateTo=http/CAS1.contoso.test");
    casp_check_account_t *plain =
        account(SVC, "sAMAccountName=svc;userAccountControl=66048");
    casp_check_account_t *cas =
        account("CN=CAS1,DC=contoso,DC=test", "sAMAccountName=CAS1$");
    casp_check_account_t *open =
        account("CN=CAS2,DC=contoso,DC=test",
                "sAMAccountName=CAS2$;"
                "msDS-AllowedToActOnBehalfOfOtherIdentity=x");

    casp_checkup_init(&c, pool);
    casp_checkup_trusted(&c, svc);
    assert_int_equal(c.lines->nelts, 1);
    said(OK, "trusted", "svc");
    casp_checkup_trusted(&c, plain);
    assert_int_equal(c.lines->nelts, 3);
    assert_int_equal(c.count[FAIL], 2); /* nor has it an SPN */
    said(FAIL, "trusted", "setspn");

    casp_checkup_backend(&c, "cas1.contoso.test", holders(cas, NULL), false,
                         svc);
    said(OK, "delegation", "CAS1$");
    casp_checkup_backend(&c, "cas1.contoso.test", holders(cas, NULL), false,
                         plain);
    said(FAIL, "delegation", "msDS-AllowedToDelegateTo");
    casp_checkup_backend(&c, "cas2.contoso.test", holders(open, NULL), false,
                         svc);
    said(WARN, "delegation", "--user");
    casp_checkup_backend(&c, "cas1.contoso.test", holders(NULL, NULL), false,
                         svc);
    said(FAIL, "backend-spn", "setspn -S HTTP/cas1.contoso.test");
    casp_checkup_backend(&c, "cas1.contoso.test", holders(NULL, NULL), true,
                         svc);
    said(WARN, "backend-spn", "of this domain");
    casp_checkup_backend(&c, "cas1.contoso.test", holders(cas, open), false,
                         svc);
    said(FAIL, "backend-spn", "CN=CAS2,");
}

static void test_user(void **state)
{
    static const struct {
        const char *attrs, *says; /* NULL: nothing forbids it */
    } rows[] = {
        {"sAMAccountName=ada;userAccountControl=512", NULL},
        {"sAMAccountName=ada;userAccountControl=514", "disabled"},
        {"sAMAccountName=ada;userAccountControl=1049088", "sensitive"},
        {"sAMAccountName=ada;memberOf=CN=Protected Users,CN=Users,DC=x",
         "Protected Users"},
        {"sAMAccountName=ada;memberOf=CN=Not Protected Users,CN=Users,DC=x",
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        casp_checkup_init(&c, pool);
        casp_check_account_t *a =
            account("CN=ada,DC=contoso,DC=test", rows[i].attrs);
        assert_int_equal(casp_checkup_user(&c, a), rows[i].says != NULL);
        if (rows[i].says) {
            said(FAIL, "user", rows[i].says);
        }
    }
}

static void test_clock(void **state)
{
    static const struct {
        int off; /* seconds that this machine is ahead */
        casp_check_e result;
        const char *says;
    } rows[] = {{0, OK, "0 s"},
                {60, OK, "60 s"},
                {-60, OK, "60 s"},
                {61, WARN, "61 s ahead of"},
                {-300, WARN, "behind"},
                {301, FAIL, "301 s ahead of"},
                {-90000, FAIL, "90000 s behind"}};
    apr_time_t noon;

    (void)state;
    assert_true(casp_check_stamp("20240131120000.0Z", &noon));
    assert_int_equal(apr_time_sec(noon), 1706702400);
    for (size_t i = 0; i < COUNT(rows); i++) {
        casp_checkup_init(&c, pool);
        casp_checkup_clock(&c, "20240131120000.0Z",
                           noon + apr_time_from_sec(rows[i].off));
        said(rows[i].result, "clock", rows[i].says);
    }
    casp_checkup_clock(&c, NULL, noon);
    said(WARN, "clock", "does not tell");
    static const char *const junk[] = {"", "2024", "2024013112000x.0Z",
                                       "20240131120000", "no time at all Z"};
    for (size_t i = 0; i < COUNT(junk); i++) {
        assert_false(casp_check_stamp(junk[i], &noon));
    }
}

static void test_realm(void **state)
{
    (void)state;
    assert_string_equal(casp_check_realm(pool, "DC=contoso,DC=test"),
                        "CONTOSO.TEST");
    assert_string_equal(casp_check_realm(pool, "OU=x,dc=a,dc=b,dc=c"),
                        "A.B.C");
    assert_string_equal(casp_check_realm(pool, "O=example"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),  cmocka_unit_test(test_kvno),
        cmocka_unit_test(test_spn),   cmocka_unit_test(test_delegation),
        cmocka_unit_test(test_user),  cmocka_unit_test(test_clock),
        cmocka_unit_test(test_realm),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    apr_terminate();
    return failed;
}
