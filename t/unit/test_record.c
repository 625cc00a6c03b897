/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Records, filters and the two sources, with a small forest of two domains:
 * what a user's entry becomes, and whom a key finds.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "mailbox.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s) (s), sizeof(s) - 1

static const apr_time_t noon = apr_time_from_sec(1000000);
static apr_pool_t *pool;
static casp_topology_t *forest;

/* ------------------------------------------------------------ the forest */

#define NC "DC=contoso,DC=test"
#define CONF "CN=Configuration," NC
#define GROUP                                                               \
    "CN=Exchange Administrative Group (FYDIBOHF23SPDLT),CN=Administrative " \
    "Groups,CN=Contoso,CN=Microsoft Exchange,CN=Services," CONF
#define SERVERS "CN=Servers," GROUP
#define DB1 "CN=DB1,CN=Databases," GROUP
#define DB2 "CN=DB2,CN=Databases," GROUP
#define LEGACY "/o=Contoso/ou=AG/cn=Configuration/cn=Servers/cn="

/* name, value, name, value, ..., NULL */
static casp_entry_t *entry(const char *dn, ...)
{
    casp_entry_t *e = casp_entry_make(pool, dn);
    const char *name;
    va_list ap;

    va_start(ap, dn);
    while ((name = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);
        casp_entry_add(pool, e, name, value, strlen(value));
    }
    va_end(ap);
    return e;
}

#define PUSH(a, e) (APR_ARRAY_PUSH(a, casp_entry_t *) = (e))

static apr_array_header_t *forest_entries(void)
{
    apr_array_header_t *a = apr_array_make(pool, 10, sizeof(casp_entry_t *));

    PUSH(a, entry("CN=CONTOSO,CN=Partitions," CONF, "objectClass", "top",
                  "objectClass", "crossRef", "nCName", NC, "dnsRoot",
                  "contoso.test", "nETBIOSName", "CONTOSO", "systemFlags", "3",
                  NULL));
    PUSH(a, entry("CN=CHILD,CN=Partitions," CONF, "objectClass", "top",
                  "objectClass", "crossRef", "nCName", "DC=child," NC,
                  "dnsRoot", "child.contoso.test", "nETBIOSName", "CHILD",
                  "systemFlags", "3", NULL));
    PUSH(a, entry("CN=Berlin,CN=Sites," CONF, "objectClass", "top",
                  "objectClass", "site", "cn", "Berlin", NULL));
    PUSH(a, entry("CN=MBX1," SERVERS, "objectClass", "top", "objectClass",
                  "server", "objectClass", "msExchExchangeServer", "cn",
                  "MBX1", "networkAddress", "ncacn_ip_tcp:mbx1.contoso.test",
                  "serialNumber", "Version 14.3 (Build 30123.4)",
                  "msExchServerSite", "CN=Berlin,CN=Sites," CONF,
                  "msExchCurrentServerRoles", "54", "legacyExchangeDN",
                  LEGACY "MBX1", NULL));
    PUSH(a, entry("CN=MBX2," SERVERS, "objectClass", "top", "objectClass",
                  "server", "objectClass", "msExchExchangeServer", "cn",
                  "MBX2", "networkAddress", "ncacn_ip_tcp:mbx2.contoso.test",
                  "serialNumber", "Version 8.3 (Build 30083.6)",
                  "msExchServerSite", "CN=Berlin,CN=Sites," CONF,
                  "msExchCurrentServerRoles", "54", "legacyExchangeDN",
                  LEGACY "MBX2", NULL));
    PUSH(a, entry(DB1, "objectClass", "top", "objectClass", "msExchMDB",
                  "objectClass", "msExchPrivateMDB", "cn", "DB1",
                  "msExchOwningServer", "CN=MBX1," SERVERS, NULL));
    PUSH(a, entry(DB2, "objectClass", "top", "objectClass", "msExchMDB",
                  "objectClass", "msExchPrivateMDB", "cn", "DB2", NULL));
    return a;
}

static int set_up(void **state)
{
    (void)state;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    forest = casp_topology_build(forest_entries(), "a test", NC, noon);
    return forest ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    casp_topology_unref(forest);
    apr_pool_destroy(pool);
    return 0;
}

static casp_entry_t *user(const char *dn, const char *sam)
{
    return entry(dn, "objectClass", "top", "objectClass", "person",
                 "objectClass", "organizationalPerson", "objectClass", "user",
                 "sAMAccountName", sam, NULL);
}

static casp_user_key_t key_of(casp_key_e kind, const char *domain,
                              const char *value)
{
    casp_user_key_t key = {kind, domain, value, strlen(value)};
    return key;
}

/* ------------------------------------------------------------- attributes */

static void test_attrs_in_gc(void **state)
{
    const char *dir = getenv("srcdir");
    const char *path =
        apr_pstrcat(pool, dir ? dir : ".", "/t/unit/gc_attrs.txt", NULL);
    apr_hash_t *gc = apr_hash_make(pool);
    char line[256], name[100], yes[10];
    int i;

    (void)state;
    FILE *f = fopen(path, "r");
    if (!f) {
        fail_msg("cannot read %s; set srcdir", path);
    }
    while (fgets(line, sizeof(line), f)) {
        if (line[0] != '#' && sscanf(line, "%99s %9s", name, yes) == 2) {
            apr_hash_set(gc, apr_pstrdup(pool, name), APR_HASH_KEY_STRING,
                         apr_pstrdup(pool, yes));
        }
    }
    fclose(f);
    assert_true(apr_hash_count(gc) > 40);
    assert_string_equal(apr_hash_get(gc, "serialNumber", APR_HASH_KEY_STRING),
                        "no");
    for (i = 0; casp_mailbox_attrs[i]; i++) {
        const char *held =
            apr_hash_get(gc, casp_mailbox_attrs[i], APR_HASH_KEY_STRING);
        if (strcmp(casp_mailbox_attrs[i], "pwdLastSet") == 0) {
            assert_string_equal(held, "no"); /* see record.c */
        }
        else if (!held || strcmp(held, "yes") != 0) {
            fail_msg("a Global Catalog does not hold %s",
                     casp_mailbox_attrs[i]);
        }
    }
    assert_true(i > 10);
}

/* ---------------------------------------------------------------- records */

static const char other_sid[] = "\1\5\0\0\0\0\0\5\25\0\0\0\1\0\0\0\2\0\0\0"
                                "\3\0\0\0\4\4\0\0";
static const char self_sid[] = "\1\1\0\0\0\0\0\5\12\0\0\0";

static void test_flags(void **state)
{
    enum {
        MB = CASP_MB_MAILBOX,
        DIS = CASP_MB_DISABLED,
        OWA = CASP_MB_OWA_OFF,
        EAS = CASP_MB_EAS_OFF,
        LNK = CASP_MB_LINKED,
        SHR = CASP_MB_SHARED,
        REM = CASP_MB_REMOTE,
        UNK = CASP_MB_HOME_UNKNOWN
    };
    static const struct {
        const char *home, *server, *guid, *uac, *type, *eas, *proto, *target;
        int sid; /* 1: another account, 2: SELF */
        uint32_t flags;
    } cases[] = {
        {NULL, NULL, NULL, "512", NULL, NULL, NULL, NULL, 0, 0},
        {DB1, NULL, NULL, "512", NULL, NULL, NULL, NULL, 0, MB},
        {"CN=Gone," GROUP, NULL, NULL, "512", NULL, NULL, NULL, NULL, 0,
         MB | UNK},
        {NULL, LEGACY "MBX1", "0123456789abcdef", "512", NULL, NULL, NULL,
         NULL, 0, MB},
        {NULL, LEGACY "MBX1", NULL, "512", NULL, NULL, NULL, NULL, 0, 0},
        {NULL, NULL, "0123456789abcdef", "512", NULL, NULL, NULL, NULL, 0, 0},
        /* disabled, and by design so */
        {DB1, NULL, NULL, "514", "1", NULL, NULL, NULL, 0, MB | DIS},
        {DB1, NULL, NULL, "514", NULL, NULL, NULL, NULL, 0, MB | DIS},
        {DB1, NULL, NULL, "514", "2", NULL, NULL, NULL, 1, MB | LNK},
        {DB1, NULL, NULL, "514", NULL, NULL, NULL, NULL, 1, MB | LNK},
        {DB1, NULL, NULL, "514", "8", NULL, NULL, NULL, 1, MB | LNK},
        {DB1, NULL, NULL, "514", NULL, NULL, NULL, NULL, 2, MB | SHR},
        {DB1, NULL, NULL, "514", "1", NULL, NULL, NULL, 1, MB | DIS},
        {DB1, NULL, NULL, "514", "1", NULL, NULL, NULL, 2, MB | DIS},
        {DB1, NULL, NULL, "514", "4", NULL, NULL, NULL, 2, MB | SHR},
        {DB1, NULL, NULL, "514", "16", NULL, NULL, NULL, 0, MB | SHR},
        {DB1, NULL, NULL, "514", "32", NULL, NULL, NULL, 0, MB | SHR},
        {DB1, NULL, NULL, "514", "8388608", NULL, NULL, NULL, 0, MB | SHR},
        {DB1, NULL, NULL, "514", "68719476736", NULL, NULL, NULL, 0, MB | SHR},
        /* elsewhere */
        {NULL, NULL, NULL, "512", "2147483648", NULL, NULL, "SMTP:a@b.c", 0,
         REM},
        {NULL, NULL, NULL, "512", "8589934592", NULL, NULL, NULL, 0, REM},
        {NULL, NULL, NULL, "512", "17179869184", NULL, NULL, NULL, 0, REM},
        {NULL, NULL, NULL, "512", "34359738368", NULL, NULL, NULL, 0, REM},
        {NULL, NULL, NULL, "512", "128", NULL, NULL, "SMTP:a@b.c", 0, REM},
        {NULL, LEGACY "MBX1", "0123456789abcdef", "512", NULL, NULL, NULL,
         "SMTP:a@b.c", 0, REM},
        {DB1, NULL, NULL, "512", "1", NULL, NULL, "SMTP:a@b.c", 0, MB},
        /* what is switched off */
        {DB1, NULL, NULL, "512", NULL, "4", NULL, NULL, 0, MB | EAS},
        {DB1, NULL, NULL, "512", NULL, "7", NULL, NULL, 0, MB | EAS},
        {DB1, NULL, NULL, "512", NULL, "8", NULL, NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "HTTP\xc2\xa7"
         "0\xc2\xa7"
         "1\xc2\xa7\xc2\xa7",
         NULL, 0, MB | OWA},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "HTTP\xc2\xa7"
         "1\xc2\xa7"
         "0\xc2\xa7",
         NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "OWA\xc2\xa7"
         "0",
         NULL, 0, MB | OWA},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "owa\xa7"
         "0",
         NULL, 0, MB | OWA},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "OWA\xc2\xa7"
         "1",
         NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL, "OWA\xc2\xa7", NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL, "OWA", NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL, "OW", NULL, 0, MB},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "POP3\xc2\xa7"
         "0",
         NULL, 0, MB | CASP_MB_POP_OFF},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "imap4\xa7"
         "0",
         NULL, 0, MB | CASP_MB_IMAP_OFF},
        {DB1, NULL, NULL, "512", NULL, NULL,
         "IMAP4\xc2\xa7"
         "1\xc2\xa7",
         NULL, 0, MB},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        const struct {
            const char *name, *value;
        } attrs[] = {{"homeMDB", cases[i].home},
                     {"msExchHomeServerName", cases[i].server},
                     {"msExchMailboxGuid", cases[i].guid},
                     {"userAccountControl", cases[i].uac},
                     {"msExchRecipientTypeDetails", cases[i].type},
                     {"msExchOmaAdminWirelessEnable", cases[i].eas},
                     {"protocolSettings", "RemotePowerShell\xc2\xa7"
                                          "0\xc2\xa7"},
                     {"protocolSettings", cases[i].proto},
                     {"targetAddress", cases[i].target}};
        casp_entry_t *e = user("CN=Ada,CN=Users," NC, "ada");
        size_t j;

        for (j = 0; j < COUNT(attrs); j++) {
            if (attrs[j].value) {
                casp_entry_add(pool, e, attrs[j].name, attrs[j].value,
                               strlen(attrs[j].value));
            }
        }
        if (cases[i].sid == 1) {
            casp_entry_add(pool, e, "msExchMasterAccountSid",
                           BYTES(other_sid));
        }
        else if (cases[i].sid == 2) {
            casp_entry_add(pool, e, "msExchMasterAccountSid", BYTES(self_sid));
        }
        casp_mailbox_t *m = casp_mailbox_of_entry(pool, e, forest, noon);
        assert_non_null(m);
        if (m->flags != cases[i].flags) {
            fail_msg("case %d: flags %u, not %u", (int)i, (unsigned)m->flags,
                     (unsigned)cases[i].flags);
        }
        assert_true(casp_mailbox_valid(m, m->size));
    }
}

static casp_entry_t *ada_entry(void)
{
    casp_entry_t *e = user("CN=Ada,CN=Users," NC, "ada");
    static const char *const more[][2] = {
        {"userPrincipalName", "ada@contoso.test"},
        {"mailNickname", "ada.l"},
        {"mail", "old@contoso.test"},
        {"proxyAddresses", "x400:c=de"},
        {"proxyAddresses", "smtp:lovelace@contoso.test"},
        {"proxyAddresses", "SMTP:Ada@contoso.test"},
        {"homeMDB", DB1},
        {"msExchHomeServerName", LEGACY "MBX2"},
        {"msExchMailboxGuid", "0123456789abcdef"},
        {"msExchRecipientTypeDetails", "1"},
        {"msExchVersion", "4535486012416"},
        {"userAccountControl", "512"},
        {"displayName", "Ada Lovelace"},
        {"legacyExchangeDN", "/o=C/cn=ada"},
        {"targetAddress", "SMTP:ada@else.test"},
    };
    size_t i;

    for (i = 0; i < COUNT(more); i++) {
        casp_entry_add(pool, e, more[i][0], more[i][1], strlen(more[i][1]));
    }
    casp_entry_add(pool, e, "objectSid", BYTES(other_sid));
    casp_entry_add(pool, e, "objectGUID", "ABCDEFGHIJKLMNOP", 16);
    return e;
}

static void test_record(void **state)
{
    static const char *const texts[CASP_MB_STRINGS] = {
        "CN=Ada,CN=Users," NC, "ada",          "CONTOSO", "ada@contoso.test",
        "Ada@contoso.test",    "ada.l",        DB1,       "Ada Lovelace",
        "/o=C/cn=ada",         "ada@else.test"};
    casp_mailbox_t *m = casp_mailbox_of_entry(pool, ada_entry(), forest, noon);
    casp_home_t home;
    int i;

    (void)state;
    assert_true(casp_mailbox_valid(m, m->size));
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        assert_string_equal(casp_mailbox_text(m, (casp_mailbox_string_e)i),
                            texts[i]);
    }
    assert_int_equal(m->read_at, noon);
    assert_int_equal(m->recipient_type, 1);
    assert_memory_equal(m->user.b, "ABCDEFGHIJKLMNOP", 16);
    assert_memory_equal(m->mailbox.b, "0123456789abcdef", 16);
    assert_int_equal(m->sid_len, sizeof(other_sid) - 1);
    assert_memory_equal(m->sid, other_sid, m->sid_len);
    assert_int_equal(m->object_version, CASP_V2007);

    /* the database's owner beats the server that the user names */
    casp_mailbox_home(m, forest, &home);
    assert_string_equal(home.database->name, "DB1");
    assert_string_equal(home.server->name, "MBX1");
    assert_string_equal(home.site->name, "Berlin");
    assert_int_equal(home.version, CASP_V2010);

    /* without a topology only the object's own version is left */
    casp_mailbox_home(m, NULL, &home);
    assert_null(home.database);
    assert_null(home.server);
    assert_int_equal(home.version, CASP_V2007);
    casp_mailbox_home(NULL, forest, &home);
    assert_int_equal(home.version, CASP_V_NONE);
}

static void test_record_homes(void **state)
{
    static const struct {
        const char *home, *legacy;
        const char *database, *server;
        casp_version_e version;
    } cases[] = {
        {DB1, NULL, "DB1", "MBX1", CASP_V2010},
        {DB2, LEGACY "MBX2", "DB2", "MBX2", CASP_V2007},
        {"CN=Gone," GROUP, LEGACY "MBX2", NULL, "MBX2", CASP_V2007},
        {NULL, LEGACY "MBX1", NULL, "MBX1", CASP_V2010},
        {"CN=Gone," GROUP, LEGACY "GONE", NULL, NULL, CASP_V2010},
        {"CN=Gone," GROUP, NULL, NULL, NULL, CASP_V2010},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        casp_entry_t *e = user("CN=Ada,CN=Users," NC, "ada");
        casp_home_t home;
        if (cases[i].home) {
            casp_entry_add(pool, e, "homeMDB", cases[i].home,
                           strlen(cases[i].home));
        }
        if (cases[i].legacy) {
            casp_entry_add(pool, e, "msExchHomeServerName", cases[i].legacy,
                           strlen(cases[i].legacy));
        }
        casp_entry_add(pool, e, "msExchVersion", "44220983382016", 14);
        casp_mailbox_home(casp_mailbox_of_entry(pool, e, forest, noon), forest,
                          &home);
        assert_true((home.database != NULL) == (cases[i].database != NULL));
        assert_true((home.server != NULL) == (cases[i].server != NULL));
        if (home.database) {
            assert_string_equal(home.database->name, cases[i].database);
        }
        if (home.server) {
            assert_string_equal(home.server->name, cases[i].server);
        }
        assert_int_equal(home.version, cases[i].version);
    }

    /* made before the topology knew the database, read after */
    casp_mailbox_t *m = casp_mailbox_of_entry(pool, ada_entry(), NULL, noon);
    casp_home_t home;
    assert_true(m->flags & CASP_MB_HOME_UNKNOWN);
    assert_string_equal(casp_mailbox_text(m, CASP_MB_NETBIOS), "");
    casp_mailbox_home(m, forest, &home);
    assert_string_equal(home.server->name, "MBX1");
}

static void test_record_linked(void **state)
{
    casp_entry_t *e = user("CN=Ada,CN=Users," NC, "ada");

    (void)state;
    casp_entry_add(pool, e, "msExchRecipientTypeDetails", "2", 1);
    casp_entry_add(pool, e, "objectSid", BYTES(self_sid));
    casp_entry_add(pool, e, "msExchMasterAccountSid", BYTES(other_sid));
    casp_mailbox_t *m = casp_mailbox_of_entry(pool, e, forest, noon);
    assert_int_equal(m->sid_len, sizeof(other_sid) - 1);
    assert_memory_equal(m->sid, other_sid, m->sid_len);

    /* no SID at all is better than half a one */
    e = user("CN=Bob,CN=Users," NC, "bob");
    casp_entry_add(pool, e, "objectSid", other_sid, 27);
    assert_int_equal(casp_mailbox_of_entry(pool, e, forest, noon)->sid_len, 0);
}

static void test_record_bounds(void **state)
{
    char *big = apr_palloc(pool, CASP_MAILBOX_MAX + 1);
    casp_entry_t *e = user("CN=Ada,CN=Users," NC, "ada");

    (void)state;
    memset(big, 'x', CASP_MAILBOX_MAX);
    big[CASP_MAILBOX_MAX] = '\0';
    casp_entry_add(pool, e, "mailNickname", big, CASP_MAILBOX_MAX);
    assert_null(casp_mailbox_of_entry(pool, e, forest, noon));

    /* as big as may be */
    e = user("CN=Ada", "ada");
    apr_size_t rest = CASP_MAILBOX_MAX - sizeof(casp_mailbox_t)
                      - strlen("CN=Ada") - strlen("ada") - CASP_MB_STRINGS;
    casp_entry_add(pool, e, "mailNickname", big, rest);
    casp_mailbox_t *m = casp_mailbox_of_entry(pool, e, forest, noon);
    assert_non_null(m);
    assert_int_equal(m->size, CASP_MAILBOX_MAX);
    assert_true(casp_mailbox_valid(m, m->size));
}

static void test_valid(void **state)
{
    casp_mailbox_t *good =
        casp_mailbox_of_entry(pool, ada_entry(), forest, noon);
    apr_size_t n = good->size;
    casp_mailbox_t *m = apr_palloc(pool, n + 8);
    int i;

    (void)state;
#define SPOIL(what)                        \
    memcpy(m, good, n);                    \
    assert_true(casp_mailbox_valid(m, n)); \
    what;                                  \
    assert_false(casp_mailbox_valid(m, n))

    SPOIL(m->version++);
    SPOIL(m->size--);
    SPOIL(m->size++);
    SPOIL(m->flags |= 0x8000);
    SPOIL(m->read_at = -1);
    SPOIL(m->object_version = CASP_V_COUNT);
    SPOIL(m->sid_len = sizeof(m->sid) + 1);
    SPOIL(((char *)m)[n - 1] = 'x');
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        SPOIL(m->text[i] = 0);
        SPOIL(m->text[i] = sizeof(*m) - 1);
        SPOIL(m->text[i] = (uint16_t)n);
        SPOIL(m->text[i] = 0xffff);
    }
    for (i = 0; i < (int)n; i++) {
        assert_false(casp_mailbox_valid(good, (apr_size_t)i));
    }
    assert_false(casp_mailbox_valid(NULL, n));
    assert_false(casp_mailbox_valid(good, n + 1));
    /* bytes may lie anywhere */
    memcpy((char *)m + 1, good, n);
    assert_true(casp_mailbox_valid((char *)m + 1, n));
}

/* ---------------------------------------------------------------- filters */

static void test_filters(void **state)
{
    static const struct {
        casp_key_e kind;
        const char *domain, *value;
        apr_size_t len;
        const char *filter;
    } cases[] = {
        {CASP_KEY_LOGON, "contoso", BYTES("ada"), "(sAMAccountName=ada)"},
        {CASP_KEY_LOGON, "contoso.test", BYTES("ada"), "(sAMAccountName=ada)"},
        {CASP_KEY_LOGON, "nowhere", BYTES("ada"), NULL},
        {CASP_KEY_LOGON, NULL, BYTES("ada"), "(sAMAccountName=ada)"},
        {CASP_KEY_LOGON, "contoso", BYTES(""), NULL},
        {CASP_KEY_LOGON, "contoso", BYTES("*"), "(sAMAccountName=\\2a)"},
        {CASP_KEY_UPN, NULL, BYTES("ada@contoso.test"),
         "(userPrincipalName=ada@contoso.test)"},
        {CASP_KEY_UPN, NULL, BYTES("a)(uid=*@\\\0x"),
         "(userPrincipalName=a\\29\\28uid=\\2a@\\5c\\00x)"},
        {CASP_KEY_SMTP, NULL, BYTES("ada@contoso.test"),
         "(proxyAddresses=smtp:ada@contoso.test)"},
        {CASP_KEY_LEGACY_DN, NULL, BYTES("/o=C/cn=a(b)"),
         "(|(legacyExchangeDN=/o=C/cn=a\\28b\\29)"
         "(proxyAddresses=x500:/o=C/cn=a\\28b\\29))"},
        {CASP_KEY_ALIAS, NULL, BYTES("ada(1)"), "(mailNickname=ada\\281\\29)"},
        {CASP_KEY_GUID, NULL, BYTES("33221100-5544-7766-8899-aabbccddeeff"),
         "(|(msExchMailboxGuid="
         "\\00\\11\\22\\33\\44\\55\\66\\77\\88\\99\\aa\\bb\\cc\\dd\\ee\\ff)"
         "(objectGUID="
         "\\00\\11\\22\\33\\44\\55\\66\\77\\88\\99\\aa\\bb\\cc\\dd\\ee\\ff)"
         ")"},
        {CASP_KEY_GUID, NULL, BYTES("no guid"), NULL},
        {CASP_KEY_SID, NULL, BYTES("\1\1\0\0\0\0\0\5\12\0\0\0"),
         "(msExchMasterAccountSid="
         "\\01\\01\\00\\00\\00\\00\\00\\05\\0a\\00\\00\\00)"},
        {CASP_KEY_ACCOUNT, NULL, BYTES("\1\1\0\0\0\0\0\5\12\0\0\0"),
         "(|(msExchMasterAccountSid="
         "\\01\\01\\00\\00\\00\\00\\00\\05\\0a\\00\\00\\00)"
         "(objectSid="
         "\\01\\01\\00\\00\\00\\00\\00\\05\\0a\\00\\00\\00))"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        casp_user_key_t key = {cases[i].kind, cases[i].domain, cases[i].value,
                               cases[i].len};
        const char *filter = casp_mailbox_filter(pool, &key, forest);
        if (!cases[i].filter) {
            assert_null(filter);
            continue;
        }
        assert_non_null(filter);
        /* hexadecimal digits may be written either way */
        assert_int_equal(strcasecmp(filter, cases[i].filter), 0);
    }
}

/* ------------------------------------------------------------ an export */

static apr_array_header_t *export_entries(void)
{
    apr_array_header_t *a = forest_entries();
    casp_entry_t *e;

    PUSH(a, ada_entry());
    e = user("CN=Ada,CN=Users,DC=child," NC, "ada");
    casp_entry_add(pool, e, "userPrincipalName", BYTES("ada@child.test"));
    casp_entry_add(pool, e, "proxyAddresses",
                   BYTES("SMTP:lovelace@contoso.test"));
    PUSH(a, e);
    e = user("CN=Bob,CN=Users," NC, "Bob");
    casp_entry_add(pool, e, "mailNickname", BYTES("Twin"));
    casp_entry_add(pool, e, "mail", BYTES("bobby@contoso.test"));
    casp_entry_add(pool, e, "msExchMasterAccountSid", BYTES(self_sid));
    PUSH(a, e);
    e = user("CN=Bea,CN=Users,DC=child," NC, "bea");
    casp_entry_add(pool, e, "mailNickname", BYTES("TWIN"));
    casp_entry_add(pool, e, "proxyAddresses", BYTES("x"));
    casp_entry_add(pool, e, "mail", BYTES("bea@contoso.test"));
    casp_entry_add(pool, e, "proxyAddresses", BYTES("smtp:bea@contoso.test"));
    PUSH(a, e);
    e = user("CN=PC,CN=Computers," NC, "pc$");
    casp_entry_add(pool, e, "objectClass", BYTES("computer"));
    PUSH(a, e);
    PUSH(a, entry("CN=Carl,CN=Users," NC, "objectClass", "contact",
                  "proxyAddresses", "SMTP:carl@contoso.test", "mailNickname",
                  "carl", NULL));
    PUSH(a, entry("uid=dora,ou=people,o=elsewhere", "objectClass",
                  "inetOrgPerson", "mailNickname", "dora", "legacyExchangeDN",
                  "/o=Contoso/cn=dora", "proxyAddresses",
                  "X500:/o=Old/cn=dora", NULL));
    return a;
}

static void test_export(void **state)
{
    static const struct {
        casp_key_e kind;
        const char *domain, *value;
        int n;
        const char *dn;
    } cases[] = {
        {CASP_KEY_LOGON, "contoso", "ada", 1, "CN=Ada,CN=Users," NC},
        {CASP_KEY_LOGON, "CONTOSO", "ADA", 1, "CN=Ada,CN=Users," NC},
        {CASP_KEY_LOGON, "child", "ada", 1, "CN=Ada,CN=Users,DC=child," NC},
        {CASP_KEY_LOGON, "child.contoso.test", "ada", 1,
         "CN=Ada,CN=Users,DC=child," NC},
        {CASP_KEY_LOGON, NULL, "ada", 2, NULL},
        {CASP_KEY_LOGON, "nowhere", "ada", 0, NULL},
        {CASP_KEY_LOGON, "contoso", "bea", 0, NULL},
        {CASP_KEY_LOGON, "contoso", "pc$", 0, NULL},
        {CASP_KEY_LOGON, "contoso", "a*", 0, NULL},
        {CASP_KEY_UPN, NULL, "Ada@Contoso.Test", 1, "CN=Ada,CN=Users," NC},
        {CASP_KEY_UPN, NULL, "ada@child.test", 1,
         "CN=Ada,CN=Users,DC=child," NC},
        /* nobody's UPN, but an account name and its domain */
        {CASP_KEY_UPN, NULL, "ada@child.contoso.test", 1,
         "CN=Ada,CN=Users,DC=child," NC},
        {CASP_KEY_UPN, NULL, "bob@contoso", 1, "CN=Bob,CN=Users," NC},
        {CASP_KEY_UPN, NULL, "bob@child.contoso.test", 0, NULL},
        {CASP_KEY_UPN, NULL, "bob@nowhere", 0, NULL},
        {CASP_KEY_UPN, NULL, "bob", 0, NULL},
        {CASP_KEY_UPN, NULL, "@contoso.test", 0, NULL},
        {CASP_KEY_SMTP, NULL, "ADA@contoso.test", 1, "CN=Ada,CN=Users," NC},
        {CASP_KEY_SMTP, NULL, "lovelace@contoso.test", 2, NULL},
        {CASP_KEY_SMTP, NULL, "carl@contoso.test", 0, NULL},
        {CASP_KEY_SMTP, NULL, "c=de", 0, NULL},
        {CASP_KEY_LEGACY_DN, NULL, "/O=contoso/cn=Dora", 1,
         "uid=dora,ou=people,o=elsewhere"},
        {CASP_KEY_LEGACY_DN, NULL, "/o=Old/cn=dora", 1,
         "uid=dora,ou=people,o=elsewhere"},
        {CASP_KEY_LEGACY_DN, NULL, "/o=Old", 0, NULL},
        {CASP_KEY_SMTP, NULL, "/o=Old/cn=dora", 0, NULL},
        {CASP_KEY_ALIAS, NULL, "ADA.L", 1, "CN=Ada,CN=Users," NC},
        {CASP_KEY_ALIAS, NULL, "twin", 2, NULL},
        {CASP_KEY_ALIAS, NULL, "dora", 1, "uid=dora,ou=people,o=elsewhere"},
        /* the part in front of the @, by either attribute or both */
        {CASP_KEY_ALIAS, NULL, "bobby", 1, "CN=Bob,CN=Users," NC},
        {CASP_KEY_ALIAS, NULL, "bea", 1, "CN=Bea,CN=Users,DC=child," NC},
        {CASP_KEY_ALIAS, NULL, "carl", 0, NULL},
        {CASP_KEY_GUID, NULL, "33323130-3534-3736-3839-616263646566", 1,
         "CN=Ada,CN=Users," NC},
        {CASP_KEY_GUID, NULL, "{44434241-4645-4847-494a-4b4c4d4e4f50}", 1,
         "CN=Ada,CN=Users," NC},
        {CASP_KEY_GUID, NULL, "44434241-4645-4847-494a-4b4c4d4e4f51", 0, NULL},
        {CASP_KEY_GUID, NULL, "nonsense", 0, NULL},
    };
    casp_user_source_t *source = casp_source_entries(pool, export_entries());
    size_t i;

    (void)state;
    for (i = 0; i <= COUNT(cases) + 1; i++) {
        casp_user_key_t key = {CASP_KEY_SID, NULL, other_sid,
                               sizeof(other_sid) - 1};
        int n = 1;
        const char *dn = "CN=Ada,CN=Users," NC;
        apr_array_header_t *found;
        const char *why;

        if (i < COUNT(cases)) {
            key = key_of(cases[i].kind, cases[i].domain, cases[i].value);
            n = cases[i].n;
            dn = cases[i].dn;
        }
        else if (i == COUNT(cases)) { /* by master account, then by account */
            key.value = self_sid;
            key.len = sizeof(self_sid) - 1;
            dn = "CN=Bob,CN=Users," NC;
        }
        assert_int_equal(source->find(source->baton, pool, &key, forest, 0,
                                      &found, &why),
                         CASP_DIR_OK);
        if (found->nelts != n) {
            fail_msg("case %d: %d found, not %d", (int)i, found->nelts, n);
        }
        if (n == 1) {
            assert_string_equal(APR_ARRAY_IDX(found, 0, casp_entry_t *)->dn,
                                dn);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_attrs_in_gc),   TEST(test_flags),
        TEST(test_record),        TEST(test_record_homes),
        TEST(test_record_linked), TEST(test_record_bounds),
        TEST(test_valid),         TEST(test_filters),
        TEST(test_export),
    };

    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
