/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * test_topology.c: the organisation: versions, URLs, and how objects find
 * each other; what is told of an inconsistent one; size.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "ldif.h"
#include "topology.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define CONFIG "CN=Configuration,DC=contoso,DC=test"
#define ORG "CN=Contoso,CN=Microsoft Exchange,CN=Services," CONFIG
#define GROUP                                             \
    "CN=Exchange Administrative Group (FYDIBOHF23SPDLT)," \
    "CN=Administrative Groups," ORG
#define LEGACY                                                      \
    "/o=Contoso/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)" \
    "/cn=Configuration/cn=Servers/cn="

static apr_pool_t *pool;
static casp_topology_t *org; /* of org.ldif */

static casp_topology_t *build(const char *ldif)
{
    apr_array_header_t *entries;
    apr_array_header_t *problems = apr_array_make(pool, 1, sizeof(char *));

    casp_ldif_parse(pool, ldif, strlen(ldif), &entries, problems);
    assert_int_equal(problems->nelts, 0);
    return casp_topology_build(entries, "test", NULL, 42);
}

static int setup(void **state)
{
    const char *dir = getenv("CASP_TEST_DATA");
    apr_array_header_t *entries;
    apr_array_header_t *problems = apr_array_make(pool, 1, sizeof(char *));
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, pool);
    if (casp_ldif_read(p,
                       apr_pstrcat(p, dir ? dir : "t/unit", "/org.ldif", NULL),
                       &entries, problems)
            != APR_SUCCESS
        || problems->nelts) {
        return -1;
    }
    org = casp_topology_build(entries, "ldif:org.ldif", NULL, 42);
    /* Everything must have been copied. */
    apr_pool_destroy(p);
    return org ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    casp_topology_unref(org);
    return 0;
}

static casp_guid_t id(int byte)
{
    casp_guid_t g;

    memset(g.b, byte, sizeof(g.b));
    return g;
}

static const casp_database_t *database(int byte)
{
    casp_guid_t g = id(byte);
    const casp_database_t *d = casp_topology_database(org, &g);

    assert_non_null(d);
    return d;
}

static const casp_vdir_t *vdir(const char *server, casp_protocol_e protocol)
{
    for (int i = 0; i < org->vdirs->nelts; i++) {
        const casp_vdir_t *v =
            APR_ARRAY_IDX(org->vdirs, i, const casp_vdir_t *);

        if (v->protocol == protocol && !strcmp(v->server->name, server)) {
            return v;
        }
    }
    return NULL;
}

static void assert_text(const char *a, const char *b)
{
    if (a && b) {
        assert_string_equal(a, b);
    }
    else {
        assert_ptr_equal(a, b);
    }
}

/* -------------------------------------------------------------- versions */

static const struct {
    const char *serial;
    int64_t number;
    casp_version_e version;
    int major, minor, build;
} versions[] = {
    {"Version 6.0 (Build 6249.4: Service Pack 3)", 0, CASP_V2000, 6, 0, 6249},
    {"Version 6.5 (Build 7638.2: Service Pack 2)", 0, CASP_V2003, 6, 5, 7638},
    {"Version 6.5 (Build 6944.4)", 0, CASP_V2003, 6, 5, 6944},
    {"Version 8.0 (Build 30685.24)", 0, CASP_V2007, 8, 0, 685},
    {"Version 8.3 (Build 30083.6)", 0, CASP_V2007, 8, 3, 83},
    {"Version 8.1 (Build 10240.6)", 0, CASP_V2007, 8, 1, 240},
    {"Version 14.0 (Build 30639.21)", 0, CASP_V2010, 14, 0, 639},
    {"Version 14.3 (Build 30123.4)", 0, CASP_V2010, 14, 3, 123},
    {"Version 14.3 (Build 123.4)", 0, CASP_V2010, 14, 3, 123},
    {"Version 15.0 (Build 31497.2)", 0, CASP_V2013, 15, 0, 1497},
    {"Version 15.1 (Build 32507.6)", 0, CASP_V2016, 15, 1, 2507},
    {"Version 15.2 (Build 30221.12)", 0, CASP_V2019, 15, 2, 221},
    {"version 15.2", 0, CASP_V2019, 15, 2, 0},
    {"Version 15.3 (Build 30001.1)", 0, CASP_V_NONE, 15, 3, 1},
    {"Version 27.0 (Build 30001.1)", 0, CASP_V_NONE, 27, 0, 1},
    {"Version 5.5 (Build 2653.23)", 0, CASP_V_NONE, 5, 5, 2653},
    {NULL, 1912602624, CASP_V2007, 8, 0, 0},
    {NULL, 1912832083, CASP_V2007, 8, 3, 83},
    {NULL, 1937768448, CASP_V2010, 14, 0, 0},
    {NULL, 1937866970, CASP_V2010, 14, 1, 218},
    {NULL, 1937997947, CASP_V2010, 14, 3, 123},
    {NULL, 1941997017, CASP_V2013, 15, 0, 1497},
    {NULL, 1942063563, CASP_V2016, 15, 1, 2507},
    {NULL, 1942126813, CASP_V2019, 15, 2, 221},
    {NULL, 7638, CASP_V2003, 6, 5, 7638},
    {NULL, 6944, CASP_V2003, 6, 5, 6944},
    {NULL, 6249, CASP_V2000, 6, 0, 6249},
    {NULL, 0, CASP_V_NONE, 0, 0, 0},
    {NULL, -1, CASP_V_NONE, 0, 0, 0},
    {NULL, 0x10000, CASP_V_NONE, 0, 0, 0},
    {NULL, INT64_MAX, CASP_V_NONE, 0, 0, 0},
    /* The text beats the number, a text that is none does not. */
    {"Version 14.3 (Build 30123.4)", 1912832083, CASP_V2010, 14, 3, 123},
    {"nonsense", 1912832083, CASP_V2007, 8, 3, 83},
    {"Version 99999999999.1", 1912832083, CASP_V2007, 8, 3, 83},
    {"Version 14", 1912832083, CASP_V2007, 8, 3, 83},
    {"", 0, CASP_V_NONE, 0, 0, 0},
};

static void test_versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        int major = -1, minor = -1, b = -1;
        casp_version_e v =
            casp_version_of(versions[i].serial, versions[i].number, &major,
                            &minor, &b);

        if (v != versions[i].version || major != versions[i].major
            || minor != versions[i].minor || b != versions[i].build) {
            fail_msg("%d: %s %d.%d.%d", (int)i, casp_version_name(v), major,
                     minor, b);
        }
        assert_int_equal(casp_version_of(versions[i].serial,
                                         versions[i].number, NULL, NULL, NULL),
                         v);
    }
    assert_int_equal(casp_version_of_object(0), CASP_V_NONE);
    assert_int_equal(casp_version_of_object(-5), CASP_V_NONE);
    assert_int_equal(casp_version_of_object(4535486012416), CASP_V2007);
    assert_int_equal(casp_version_of_object(44220983382016), CASP_V2010);
    assert_int_equal(casp_version_of_object(88218628259840), CASP_V2013);
    assert_int_equal(casp_version_of_object(1125899906842624), CASP_V2016);
    assert_int_equal(casp_version_of_object(INT64_MAX), CASP_V_NONE);
}

/* ------------------------------------------------------------------ URLs */

static const struct {
    const char *in, *out;
} urls[] = {
    {"https://mail.contoso.test/owa", "https://mail.contoso.test/owa"},
    {"HTTPS://Mail.Contoso.TEST/OWA/", "https://mail.contoso.test/OWA"},
    {"https://mail.contoso.test:443/", "https://mail.contoso.test"},
    {"https://mail.contoso.test:0443/", "https://mail.contoso.test"},
    {"https://mail.contoso.test:80/x", "https://mail.contoso.test:80/x"},
    {"http://mail:80/powershell", "http://mail/powershell"},
    {"http://mail:443", "http://mail:443"},
    {"http://mail:65535", "http://mail:65535"},
    {"https://mail.contoso.test./owa", "https://mail.contoso.test/owa"},
    {"https://ex_1.contoso.test", "https://ex_1.contoso.test"},
    {"https://3com.test/", "https://3com.test"},
    {"https://10.0.0.1/owa", "https://10.0.0.1/owa"},
    {"https://[2001:DB8:0::1]:444/owa", "https://[2001:db8::1]:444/owa"},
    {"https://[::1]", "https://[::1]"},
    {"https://h/a%20b/c;d=e,f'g(h)", "https://h/a%20b/c;d=e,f'g(h)"},
    {"https://h/EWS/Exchange.asmx", "https://h/EWS/Exchange.asmx"},
    {"https://h/...", "https://h/..."},
    {"https://h/.x", "https://h/.x"},
    {NULL, NULL},
    {"", NULL},
    {"mail.contoso.test", NULL},
    {"ftp://mail/owa", NULL},
    {"https:/mail", NULL},
    {"https://", NULL},
    {"https:///owa", NULL},
    {"https://:443/owa", NULL},
    {"https://user@mail/owa", NULL},
    {"https://user:pw@mail/owa", NULL},
    {"https://mail:/owa", NULL},
    {"https://mail:0/owa", NULL},
    {"https://mail:65536/owa", NULL},
    {"https://mail:99999999999/owa", NULL},
    {"https://mail:-1/owa", NULL},
    {"https://mail:+1/owa", NULL},
    {"https://mail:443x/owa", NULL},
    {"https://mail:443:443/owa", NULL},
    {"https://ma il/owa", NULL},
    {" https://mail/owa", NULL},
    {"https://mail/owa ", NULL},
    {"https://mail/o\twa", NULL},
    {"https://mail/o\r\nwa", NULL},
    {"https://mail\r\n/owa", NULL},
    {"https://mail/owa?x=1", NULL},
    {"https://mail?x", NULL},
    {"https://mail/owa#x", NULL},
    {"https://mail#x", NULL},
    {"https://mail\\owa", NULL},
    {"https://mail/o\\wa", NULL},
    {"https://mail/a/../b", NULL},
    {"https://mail/a/..", NULL},
    {"https://mail/./b", NULL},
    {"https://mail/%2e%2E/b", NULL},
    {"https://mail/.%2e/b", NULL},
    {"https://mail//owa", NULL},
    {"https://mail/owa//", NULL},
    {"https://mail//", NULL},
    {"https://mail/a%0d%0ab", NULL},
    {"https://mail/a%00", NULL},
    {"https://mail/a%7f", NULL},
    {"https://mail/a%2fb", NULL},
    {"https://mail/a%5cb", NULL},
    {"https://mail/a%252e", NULL},
    {"https://mail/a%", NULL},
    {"https://mail/a%2", NULL},
    {"https://mail/a%2/", NULL},
    {"https://mail/a%zz", NULL},
    {"https://mail/a\"b", NULL},
    {"https://mail/a<b>", NULL},
    {"https://mail/\xc3\xbc", NULL},
    {"https://m\xc3\xbc.test/", NULL},
    {"https://-mail/", NULL},
    {"https://mail-/", NULL},
    {"https://a..b/", NULL},
    {"https://.a/", NULL},
    {"https://a../", NULL},
    {"https://./", NULL},
    {"https://256.1.1.1/", NULL},
    {"https://1.2.3/", NULL},
    {"https://2130706433/", NULL},
    {"https://[::1/", NULL},
    {"https://[::1]x/", NULL},
    {"https://[fe80::1%25eth0]/", NULL},
    {"https://[1.2.3.4]/", NULL},
    {"https://[]/", NULL},
    {"https://a%41/", NULL},
    {"https://xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     ".test/",
     NULL},
};

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        const char *out = casp_url_check(pool, urls[i].in);

        if ((out == NULL) != (urls[i].out == NULL)
            || (out && strcmp(out, urls[i].out))) {
            fail_msg("%s -> %s", urls[i].in, out ? out : "NULL");
        }
        /* What was checked once passes again. */
        assert_text(casp_url_check(pool, out), out);
    }
    char *big = apr_pcalloc(pool, 4000);

    memset(big, 'a', 3999);
    memcpy(big, "https://h/", 10);
    assert_null(casp_url_check(pool, big));
    assert_string_equal(casp_url_host(pool, "https://a.b:444/owa"), "a.b:444");
    assert_string_equal(casp_url_host(pool, "https://[::1]"), "[::1]");
    assert_string_equal(casp_url_path("https://a/owa/x"), "/owa/x");
    assert_string_equal(casp_url_path("https://a"), "");
    assert_true(casp_url_https("https://a"));
    assert_false(casp_url_https("http://a"));
}

/* ------------------------------------------------------ the organisation */

static void test_counts(void **state)
{
    (void)state;
    for (int i = 0; i < org->problems->nelts; i++) {
        const casp_problem_t *p =
            APR_ARRAY_IDX(org->problems, i, const casp_problem_t *);

        print_message("%s: %s\n", p->dn, p->text);
    }
    assert_int_equal(org->problems->nelts, 0);
    assert_int_equal(org->sites->nelts, 3);
    assert_int_equal(org->servers->nelts, 11);
    assert_int_equal(org->databases->nelts, 7);
    assert_int_equal(org->vdirs->nelts, 13);
    assert_int_equal(org->domains->nelts, 2);
    assert_string_equal(org->org, "Contoso");
    assert_string_equal(org->default_nc, "DC=contoso,DC=test");
    assert_string_equal(org->from, "ldif:org.ldif");
    assert_int_equal(org->read_at, 42);
    /* Sorted by FQDN. */
    for (int i = 1; i < org->servers->nelts; i++) {
        assert_true(
            strcmp(APR_ARRAY_IDX(org->servers, i - 1, casp_server_t *)->fqdn,
                   APR_ARRAY_IDX(org->servers, i, casp_server_t *)->fqdn)
            < 0);
    }
    for (int i = 1; i < org->vdirs->nelts; i++) {
        assert_true(
            strcmp(
                APR_ARRAY_IDX(org->vdirs, i - 1, casp_vdir_t *)->server->fqdn,
                APR_ARRAY_IDX(org->vdirs, i, casp_vdir_t *)->server->fqdn)
            <= 0);
    }
}

static const struct {
    const char *name;
    casp_version_e version;
    int roles;
    const char *site;
} servers[] = {
    {"BER-EX03", CASP_V2003, CASP_ROLE_MAILBOX, NULL},
    {"BER-FE03", CASP_V2003, 0, NULL},
    {"BER-EX07", CASP_V2007, 54, "Berlin"},
    {"BER-CAS10", CASP_V2010, CASP_ROLE_CAS | CASP_ROLE_HUB, "Berlin"},
    {"MUC-EX10", CASP_V2010, 54, "Munich"},
    {"BER-EX13", CASP_V2013, 16439, "Berlin"},
    {"HAM-EX16", CASP_V2016, 16439, "Hamburg"},
    {"HAM-EX19", CASP_V2019, 16439, "Hamburg"},
    {"EDGE1", CASP_V2010, CASP_ROLE_EDGE, NULL},
};

static void test_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(servers); i++) {
        const casp_server_t *s =
            casp_topology_server_by_host(org, servers[i].name);
        char *fqdn = apr_pstrcat(pool, servers[i].name, ".Contoso.test", NULL);

        assert_non_null(s);
        assert_string_equal(s->name, servers[i].name);
        assert_int_equal(s->version, servers[i].version);
        assert_int_equal(s->roles, servers[i].roles);
        assert_text(s->site ? s->site->name : NULL, servers[i].site);
        assert_ptr_equal(casp_topology_server_by_host(org, fqdn), s);
        assert_ptr_equal(casp_topology_server(org, &s->id), s);
        assert_ptr_equal(casp_topology_server_by_legacy_dn(org, s->legacy_dn),
                         s);
    }
    assert_string_equal(casp_topology_server_by_host(org, "ber-ex07")->fqdn,
                        "ber-ex07.contoso.test");
    assert_non_null(casp_topology_server_by_legacy_dn(
        org, "/O=CONTOSO/ou=First Administrative Group/cn=Configuration"
             "/cn=servers/cn=ber-ex03"));
    /* Neither arrays nor policies are servers. */
    assert_null(casp_topology_server_by_host(org,
                                             "outlook.berlin.contoso.test"));
    assert_null(casp_topology_server_by_host(org, "Exchange Policy"));
    assert_null(casp_topology_server_by_host(org, ""));
    assert_null(casp_topology_server_by_host(org, NULL));
    assert_null(casp_topology_server_by_legacy_dn(org, NULL));
    casp_guid_t none = id(0);

    assert_null(casp_topology_server(org, &none));
}

static const struct {
    int byte;
    const char *owner, *array, *array_site;
    int ncopies;
    bool is_public;
} databases[] = {
    {0x41, "BER-MBX10A", "outlook.berlin.contoso.test", "Berlin", 3, false},
    {0x42, "MUC-EX10", "MUC-EX10", "Munich", 0, false},
    {0x43, "MUC-EX10", "outlook.berlin.contoso.test", "Berlin", 0, false},
    {0x44, "BER-EX13", "BER-EX13", "Berlin", 0, false},
    {0x45, "BER-EX07", NULL, NULL, 0, false},
    {0x46, "BER-EX03", NULL, NULL, 0, true},
    {0x47, "BER-EX03", NULL, NULL, 0, false},
};

static void test_databases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(databases); i++) {
        const casp_database_t *d = database(databases[i].byte);

        assert_non_null(d->owner);
        assert_string_equal(d->owner->name, databases[i].owner);
        assert_text(d->array, databases[i].array);
        assert_text(d->array_site ? d->array_site->name : NULL,
                    databases[i].array_site);
        assert_int_equal(d->ncopies, databases[i].ncopies);
        assert_int_equal(d->is_public, databases[i].is_public);
        assert_ptr_equal(casp_topology_database_by_dn(org, d->dn), d);
        assert_ptr_equal(casp_topology_database_by_name(org, d->name), d);
    }
    const casp_database_t *d = database(0x41);

    assert_string_equal(d->copies[0]->name, "BER-MBX10A");
    assert_string_equal(d->copies[1]->name, "MUC-EX10");
    assert_string_equal(d->copies[2]->name, "BER-MBX10B");
    assert_ptr_equal(
        casp_topology_database_by_dn(
            org, "cn=ber-db10, CN=Databases,CN=Exchange Administrative Group "
                 "\\28FYDIBOHF23SPDLT\\29,CN=Administrative Groups," ORG),
        d);
    assert_ptr_equal(casp_topology_database_by_name(org, "ber-db10"), d);
    assert_null(casp_topology_database_by_dn(org, ""));
    assert_null(casp_topology_database_by_dn(org, NULL));
    assert_null(casp_topology_database_by_name(org, "nope"));
}

/* Its own address book, else the default one, else none. */
static void test_oabs(void **state)
{
    static const char oabs[] =
        "dn: CN=A,CN=OABs," ORG "\nobjectClass: msExchOAB\n"
        "objectGUID:: QUFBQUFBQUFBQUFBQUFBQQ==\nmsExchOABDefault: TRUE\n\n"
        "dn: CN=B,CN=OABs," ORG "\nobjectClass: msExchOAB\n"
        "objectGUID:: QkJCQkJCQkJCQkJCQkJCQg==\n\n";
    static const char databases_of[] =
        "dn: CN=DB1,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
        "cn: DB1\nmsExchUseOAB: cn=b, CN=OABs," ORG "\n\n"
        "dn: CN=DB2,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
        "cn: DB2\nmsExchUseOAB: CN=Gone,CN=OABs," ORG "\n\n"
        "dn: CN=DB3,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
        "cn: DB3\n\n";
    static const char names[][4] = {"DB1", "DB2", "DB3"};

    (void)state;
    for (int with = 0; with < 2; with++) {
        casp_topology_t *t =
            build(apr_pstrcat(pool, databases_of, with ? oabs : "", NULL));
        for (int i = 0; i < 3; i++) {
            const casp_database_t *d =
                casp_topology_database_by_name(t, names[i]);
            assert_non_null(d);
            if (!with) {
                assert_null(d->oab);
                continue;
            }
            assert_int_equal(d->oab->b[0], i ? 'A' : 'B');
        }
        casp_topology_unref(t);
    }
}

static void test_vdirs(void **state)
{
    (void)state;
    const casp_vdir_t *v = vdir("BER-CAS10", CASP_PROTO_OWA);

    assert_non_null(v);
    assert_string_equal(v->name, "owa (Default Web Site)");
    assert_string_equal(v->internal_url, "https://ber-cas10.contoso.test/owa");
    assert_string_equal(v->external_url, "https://mail.contoso.test/owa");
    assert_string_equal(v->exchange2003_url,
                        "https://legacy.contoso.test/exchange");
    assert_string_equal(v->failback_url, "https://failback.contoso.test/owa");
    assert_int_equal(v->redirect_to_optimal, 0);
    assert_int_equal(v->internal_auth, CASP_AUTH_BASIC | CASP_AUTH_FBA);

    v = vdir("MUC-EX10", CASP_PROTO_OWA);
    assert_int_equal(v->redirect_to_optimal, -1);
    assert_int_equal(v->external_auth, CASP_AUTH_BASIC | CASP_AUTH_WINDOWS);
    assert_null(v->failback_url);

    /* Never set: as inside. */
    v = vdir("BER-CAS10", CASP_PROTO_ECP);
    assert_null(v->external_url);
    assert_int_equal(v->external_auth, CASP_AUTH_BASIC | CASP_AUTH_FBA);

    v = vdir("BER-CAS10", CASP_PROTO_EWS);
    assert_string_equal(v->nlb_url,
                        "https://ber-cas10.contoso.test/EWS/Exchange.asmx");
    v = vdir("BER-CAS10", CASP_PROTO_RPC);
    assert_string_equal(v->internal_url, "https://ber-cas10.contoso.test/rpc");
    assert_string_equal(v->external_url, "https://mail.contoso.test/rpc");
    v = vdir("BER-CAS10", CASP_PROTO_AUTODISCOVER);
    assert_null(v->internal_url);

    static const casp_protocol_e all[] = {
        CASP_PROTO_OWA, CASP_PROTO_ECP,          CASP_PROTO_EAS,
        CASP_PROTO_EWS, CASP_PROTO_OAB,          CASP_PROTO_RPC,
        CASP_PROTO_UM,  CASP_PROTO_AUTODISCOVER, CASP_PROTO_POWERSHELL};

    for (size_t i = 0; i < COUNT(all); i++) {
        assert_non_null(vdir("BER-CAS10", all[i]));
    }
    assert_non_null(vdir("BER-EX13", CASP_PROTO_MAPI));
    assert_non_null(vdir("BER-EX13", CASP_PROTO_EAS));
    /* "(Exchange Back End)" is left out. */
    assert_string_equal(vdir("BER-EX13", CASP_PROTO_OWA)->internal_url,
                        "https://ber-ex13.contoso.test/owa");
}

static const struct {
    const char *address, *site;
} addresses[] = {
    {"10.1.0.1", "Berlin"},
    {"10.1.127.255", "Berlin"},
    {"10.1.128.0", "Munich"},
    {"10.2.9.9", "Munich"},
    {"10.1.2.3", "Hamburg"},
    {"10.1.2.4", "Berlin"},
    {"10.99.0.1", "Hamburg"},
    {"11.0.0.1", NULL},
    {"192.168.1.1", NULL},
    {"2001:db8:1::5", "Berlin"},
    {"2001:DB8:1:8000::5", "Munich"},
    {"2001:db8:2::1", "Hamburg"},
    {"::ffff:10.1.0.1", "Berlin"},
    {"fe80::1%eth0", "Hamburg"},
    {"", NULL},
    {"nonsense", NULL},
    {"10.1.0", NULL},
    {"10.1.0.1/16", NULL},
    {NULL, NULL},
};

static void test_subnets(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        const casp_site_t *s =
            casp_topology_site_of_address(org, addresses[i].address);

        assert_text(s ? s->name : NULL, addresses[i].site);
    }
    assert_string_equal(casp_topology_site(org, "BERLIN")->name, "Berlin");
    assert_null(casp_topology_site(org, "Nowhere"));
}

static void test_domains(void **state)
{
    (void)state;
    const casp_domain_t *root =
        casp_topology_domain_by_netbios(org, "contoso");
    const casp_domain_t *emea =
        casp_topology_domain_by_dns(org, "EMEA.contoso.test");

    assert_non_null(root);
    assert_non_null(emea);
    assert_string_equal(root->base, "DC=contoso,DC=test");
    assert_string_equal(emea->netbios, "EMEA");
    assert_ptr_equal(
        casp_topology_domain_of_dn(org, "CN=x,dc=EMEA,DC=contoso,DC=test"),
        emea);
    assert_ptr_equal(
        casp_topology_domain_of_dn(org, "CN=x\\,y, DC=contoso,DC=test"), root);
    assert_null(casp_topology_domain_of_dn(org, "CN=x,DC=test"));
    assert_null(casp_topology_domain_of_dn(org, "CN=x,DC=xcontoso,DC=test"));
    assert_null(casp_topology_domain_by_netbios(org, "NOPE"));
    assert_null(casp_topology_domain_by_netbios(org, ""));
}

/* ---------------------------------------------------------- inconsistent */

#define SITE \
    "dn: CN=Berlin,CN=Sites," CONFIG "\nobjectClass: site\ncn: Berlin\n\n"
#define SERVER(name)                         \
    "dn: CN=" name ",CN=Servers," GROUP "\n" \
    "objectClass: msExchExchangeServer\n"    \
    "cn: " name "\n"                         \
    "networkAddress: ncacn_ip_tcp:" name ".contoso.test\n"
#define V2010 "serialNumber: Version 14.3 (Build 30123.4)\n"
#define ROLES "msExchCurrentServerRoles: 54\n"
#define IN_BERLIN "msExchServerSite: CN=Berlin,CN=Sites," CONFIG "\n"
#define GOOD SITE SERVER("EX1") V2010 ROLES IN_BERLIN "\n"
#define DATABASE \
    "dn: CN=DB1,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
#define OWNED "msExchOwningServer: CN=EX1,CN=Servers," GROUP "\n"
#define OWA                                                         \
    "dn: CN=owa,CN=HTTP,CN=Protocols,CN=EX1,CN=Servers," GROUP "\n" \
    "objectClass: msExchOWAVirtualDirectory\n"

static const struct {
    const char *ldif, *dn, *said;
} inconsistent[] = {
    {GOOD DATABASE, "CN=DB1", "without a server"},
    {GOOD DATABASE "msExchOwningServer: CN=EX9,CN=Servers," GROUP "\n",
     "CN=DB1", "CN=EX9"},
    {GOOD DATABASE OWNED "legacyExchangeDN: " LEGACY
                         "gone/cn=Microsoft Private MDB\n",
     "CN=DB1", "cn=gone"},
    {GOOD "dn: CN=EX1,CN=DB9,CN=Databases," GROUP
          "\nobjectClass: msExchMDBCopy\n",
     "CN=EX1,CN=DB9", "no known database"},
    {GOOD DATABASE OWNED "\ndn: CN=EX9,CN=DB1,CN=Databases," GROUP
                         "\nobjectClass: msExchMDBCopy\n",
     "CN=EX9,CN=DB1", "msExchHostServerLink"},
    {SITE SERVER("EX2") V2010 ROLES, "CN=EX2", "without a site"},
    {SITE SERVER("EX2") V2010 IN_BERLIN, "CN=EX2", "without roles"},
    {SITE SERVER("EX2") ROLES IN_BERLIN, "CN=EX2", "version nobody knows"},
    {SITE SERVER(
         "EX2") "serialNumber: Version 27.0 (Build 1)\n" ROLES IN_BERLIN,
     "CN=EX2", "Version 27.0"},
    {SERVER("EX2") V2010 ROLES IN_BERLIN, "CN=EX2", "not read"},
    {SITE SERVER("EX2") V2010 ROLES IN_BERLIN
     "\ndn: CN=EX3,CN=Servers," GROUP "\nobjectClass: msExchExchangeServer\n"
     "networkAddress: NCACN_IP_TCP:ex2.CONTOSO.test\n" V2010 ROLES IN_BERLIN,
     "CN=EX3", "FQDN"},
    {SITE "dn: CN=EX3,CN=Servers," GROUP
          "\nobjectClass: msExchExchangeServer\n" V2010 ROLES IN_BERLIN,
     "CN=EX3", "short name"},
    {SITE "dn: CN=EX 3,CN=Servers," GROUP
          "\nobjectClass: msExchExchangeServer\n" V2010 ROLES IN_BERLIN
          "networkAddress: ncacn_ip_tcp:evil/path\n",
     "CN=EX 3", "left out"},
    {GOOD OWA "msExchInternalHostName: https://user@evil/owa\n", "CN=owa",
     "msExchInternalHostName"},
    {GOOD OWA "msExchExternalHostName: mail.contoso.test\n", "CN=owa",
     "msExchExternalHostName"},
    {GOOD OWA "msExch2003Url: javascript:alert(1)\n", "CN=owa",
     "msExch2003Url"},
    {GOOD OWA "msExchOWAFailbackURL: https://x/%0d%0aSet-Cookie\n", "CN=owa",
     "msExchOWAFailbackURL"},
    {GOOD "dn: CN=Rpc,CN=HTTP,CN=Protocols,CN=EX1,CN=Servers," GROUP
          "\nobjectClass: msExchRpcHttpVirtualDirectory\n"
          "msExchExternalHostName: a/b\n",
     "CN=Rpc", "no host name"},
    {"dn: CN=owa,CN=HTTP,CN=Protocols,CN=EX9,CN=Servers," GROUP
     "\nobjectClass: msExchOWAVirtualDirectory\n",
     "CN=owa", "no known server"},
    {"dn: CN=X,CN=Partitions," CONFIG "\nobjectClass: crossRef\n"
     "systemFlags: 3\nnCName: DC=x\ndnsRoot: x\n",
     "CN=X", "without nETBIOSName"},
    {"dn: CN=X,CN=Partitions," CONFIG "\nobjectClass: crossRef\n"
     "systemFlags: 3\nnCName: DC=x\nnETBIOSName: X\n",
     "CN=X", "without dnsRoot"},
    {"dn: CN=X,CN=Partitions," CONFIG "\nobjectClass: crossRef\n"
     "systemFlags: 3\nnETBIOSName: X\ndnsRoot: x\n",
     "CN=X", "without nCName"},
    {SITE "dn: CN=10.0.0.0/33,CN=Subnets,CN=Sites," CONFIG
          "\nobjectClass: subnet\nsiteObject: CN=Berlin,CN=Sites," CONFIG "\n",
     "CN=10.0.0.0/33", "prefix length"},
    {"dn: CN=10.0.0.0/8,CN=Subnets,CN=Sites," CONFIG
     "\nobjectClass: subnet\nsiteObject: CN=Bonn\n",
     "CN=10.0.0.0/8", "not read"},
    {SITE "dn: CN=a,CN=Arrays," GROUP
          "\nobjectClass: msExchClientAccessArrayLegacy\n"
          "legacyExchangeDN: " LEGACY "a\n",
     "CN=a", "array without a site"},
    {SITE "dn: CN=a,CN=Arrays," GROUP
          "\nobjectClass: msExchClientAccessArray\n" IN_BERLIN,
     "CN=a", "without legacyExchangeDN"},
    {"dn: CN=A," CONFIG "\nobjectClass: msExchOrganizationContainer\n\n"
     "dn: CN=B," CONFIG "\nobjectClass: msExchOrganizationContainer\n",
     "CN=B", "second"},
    {GOOD SERVER("EX2") V2010 ROLES IN_BERLIN
     "objectGUID: 11111111-1111-1111-1111-111111111111\n\n" SERVER("EX3")
         V2010 ROLES IN_BERLIN
     "objectGUID: 11111111-1111-1111-1111-111111111111\n",
     "CN=EX3", "objectGUID"},
};

static void test_inconsistent(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(inconsistent); i++) {
        casp_topology_t *t = build(inconsistent[i].ldif);

        if (t->problems->nelts != 1) {
            fail_msg("%d: %d problems", (int)i, t->problems->nelts);
        }
        const casp_problem_t *p =
            APR_ARRAY_IDX(t->problems, 0, const casp_problem_t *);

        if (strncmp(p->dn, inconsistent[i].dn, strlen(inconsistent[i].dn))
            || !strstr(p->text, inconsistent[i].said)) {
            fail_msg("%d: %s: %s", (int)i, p->dn, p->text);
        }
        casp_topology_unref(t);
    }
}

/* What is kept half: the rest of the object still serves. */
static void test_kept_half(void **state)
{
    (void)state;
    casp_topology_t *t = build(GOOD DATABASE);
    const casp_database_t *d = casp_topology_database_by_name(t, "DB1");

    assert_non_null(d);
    assert_null(d->owner);
    casp_topology_unref(t);

    t = build(GOOD OWA "msExchInternalHostName: x y\n"
                       "msExchExternalHostName: https://h/owa\n");
    const casp_vdir_t *v = APR_ARRAY_IDX(t->vdirs, 0, casp_vdir_t *);

    assert_null(v->internal_url);
    assert_string_equal(v->external_url, "https://h/owa");
    casp_topology_unref(t);

    /* An export without CN=Sites. */
    t = build(SERVER("EX2") V2010 ROLES IN_BERLIN);
    assert_string_equal(casp_topology_server_by_host(t, "EX2")->site->name,
                        "Berlin");
    assert_non_null(casp_topology_site(t, "berlin"));
    casp_topology_unref(t);

    /* Two stores of one name: neither is found by it. */
    t = build(GOOD DATABASE OWNED
              "\ndn: CN=DB1,CN=S,CN=InformationStore,CN=EX1,CN=Servers," GROUP
              "\nobjectClass: msExchPrivateMDB\n");
    assert_int_equal(t->databases->nelts, 2);
    assert_int_equal(t->problems->nelts, 0);
    assert_null(casp_topology_database_by_name(t, "DB1"));
    casp_topology_unref(t);

    t = build("dn: CN=x\nobjectClass: user\n");
    assert_null(t->default_nc);
    assert_null(t->org);
    assert_null(casp_topology_site_of_address(t, "10.0.0.1"));
    casp_topology_unref(t);
    casp_topology_unref(NULL);
}

static void test_problems_bounded(void **state)
{
    apr_array_header_t *parts = apr_array_make(pool, 1500, sizeof(char *));

    (void)state;
    for (int i = 0; i < 1500; i++) {
        APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(
            pool, "dn: CN=D%d,CN=Databases\nobjectClass: msExchPrivateMDB\n",
            i);
    }
    casp_topology_t *t = build(apr_array_pstrcat(pool, parts, '\n'));

    assert_int_equal(t->databases->nelts, 1500);
    assert_int_equal(t->problems->nelts, 1000);
    assert_non_null(
        strstr(APR_ARRAY_IDX(t->problems, 999, casp_problem_t *)->text,
               "more problems"));
    casp_topology_unref(t);
}

/* ------------------------------------------------------------------ size */

static void add_text(apr_pool_t *p, casp_entry_t *e, const char *name,
                     const char *value)
{
    casp_entry_add(p, e, name, value, strlen(value));
}

static apr_array_header_t *big_organisation(apr_pool_t *p, int nservers,
                                            int ndatabases)
{
    apr_array_header_t *entries =
        apr_array_make(p, nservers + ndatabases, sizeof(void *));

    for (int i = 0; i < nservers; i++) {
        casp_entry_t *e =
            casp_entry_make(p, apr_psprintf(p, "CN=S%d,CN=Servers," GROUP, i));

        add_text(p, e, "objectClass", "top");
        add_text(p, e, "objectClass", "server");
        add_text(p, e, "objectClass", "msExchExchangeServer");
        add_text(p, e, "networkAddress",
                 apr_psprintf(p, "ncacn_ip_tcp:S%d.contoso.test", i));
        add_text(p, e, "legacyExchangeDN", apr_psprintf(p, LEGACY "S%d", i));
        add_text(p, e, "serialNumber", "Version 14.3 (Build 30123.4)");
        add_text(p, e, "msExchCurrentServerRoles", "54");
        add_text(p, e, "msExchServerSite",
                 apr_psprintf(p, "CN=Site%d,CN=Sites," CONFIG, i % 100));
        APR_ARRAY_PUSH(entries, casp_entry_t *) = e;
        e = casp_entry_make(p, apr_psprintf(p,
                                            "CN=owa,CN=HTTP,CN=Protocols,"
                                            "CN=S%d,CN=Servers," GROUP,
                                            i));
        add_text(p, e, "objectClass", "msExchOWAVirtualDirectory");
        add_text(p, e, "msExchInternalHostName",
                 apr_psprintf(p, "https://s%d.contoso.test/owa", i));
        APR_ARRAY_PUSH(entries, casp_entry_t *) = e;
    }
    for (int i = 0; i < ndatabases; i++) {
        casp_entry_t *e =
            casp_entry_make(p,
                            apr_psprintf(p, "CN=D%d,CN=Databases," GROUP, i));

        add_text(p, e, "objectClass", "msExchPrivateMDB");
        add_text(p, e, "msExchOwningServer",
                 apr_psprintf(p, "CN=S%d,CN=Servers," GROUP, i % nservers));
        add_text(p, e, "legacyExchangeDN",
                 apr_psprintf(p, LEGACY "S%d/cn=Microsoft Private MDB",
                              i % nservers));
        APR_ARRAY_PUSH(entries, casp_entry_t *) = e;
    }
    for (int i = 0; i < 100; i++) {
        casp_entry_t *e =
            casp_entry_make(p,
                            apr_psprintf(p, "CN=Site%d,CN=Sites," CONFIG, i));

        add_text(p, e, "objectClass", "site");
        APR_ARRAY_PUSH(entries, casp_entry_t *) = e;
    }
    return entries;
}

static void test_size(void **state)
{
    apr_pool_t *p;

    (void)state;
    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    apr_array_header_t *entries = big_organisation(p, 5000, 10000);
    apr_time_t start = apr_time_now();
    casp_topology_t *t = casp_topology_build(entries, "size", NULL, 0);
    apr_time_t took = apr_time_now() - start;

    print_message("5000 servers, 10000 databases: %d ms\n",
                  (int)(took / 1000));
    /* Generous, for sanitizers and valgrind: a square would take minutes. */
    assert_true(took < apr_time_from_sec(20));
    assert_int_equal(t->servers->nelts, 5000);
    assert_int_equal(t->databases->nelts, 10000);
    assert_int_equal(t->problems->nelts, 0);
    assert_string_equal(
        casp_topology_database_by_name(t, "d9999")->owner->name, "S4999");
    casp_topology_unref(t);
    apr_pool_destroy(p);
}

/* Readers come and go in threads; the last one, whoever it is, frees it. */
static void *APR_THREAD_FUNC reader(apr_thread_t *thread, void *data)
{
    casp_topology_t *t = data;

    (void)thread;
    for (int i = 0; i < 2000; i++) {
        casp_topology_t *mine = casp_topology_ref(t);

        if (!casp_topology_database_by_name(mine, "BER-DB10")
            || !casp_topology_domain_of_dn(mine, "CN=x,DC=contoso,DC=test")) {
            abort();
        }
        casp_topology_unref(mine);
    }
    casp_topology_unref(t);
    return NULL;
}

static void test_threads(void **state)
{
    apr_thread_t *threads[4];

    (void)state;
    casp_topology_t *t = org;

    for (int i = 0; i < 4; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, reader,
                                           casp_topology_ref(t), pool),
                         APR_SUCCESS);
    }
    for (int i = 0; i < 4; i++) {
        apr_status_t rv;

        apr_thread_join(&rv, threads[i]);
    }
    assert_int_equal(t->refs, 1);
}

/* ------------------------------------------------- filter and attributes */

/* Every class that is understood is asked for, every one asked for is
 * understood or at least harmless; parentheses match. */
static void test_filter(void **state)
{
    int depth = 0, attrs = 0;

    (void)state;
    for (const char *c = casp_topology_filter; *c; c++) {
        depth += *c == '(' ? 1 : *c == ')' ? -1 : 0;
        assert_true(depth > 0 || c[1] == '\0');
    }
    assert_int_equal(depth, 0);
    static const char *const wanted[] = {"site",
                                         "subnet",
                                         "crossRef",
                                         "msExchOrganizationContainer",
                                         "msExchExchangeServer",
                                         "msExchClientAccessArray",
                                         "msExchClientAccessArrayLegacy",
                                         "msExchPrivateMDB",
                                         "msExchPublicMDB",
                                         "msExchMDBCopy",
                                         "msExchOAB",
                                         "msExchOWAVirtualDirectory",
                                         "msExchECPVirtualDirectory",
                                         "msExchMobileVirtualDirectory",
                                         "msExchActiveSyncVirtualDirectory",
                                         "msExchWebServicesVirtualDirectory",
                                         "msExchAutoDiscoverVirtualDirectory",
                                         "msExchOABVirtualDirectory",
                                         "msExchRpcHttpVirtualDirectory",
                                         "msExchMapiVirtualDirectory",
                                         "msExchPowerShellVirtualDirectory",
                                         "msExchUMVirtualDirectory"};

    for (size_t i = 0; i < COUNT(wanted); i++) {
        assert_non_null(strstr(casp_topology_filter,
                               apr_pstrcat(pool, "(objectClass=", wanted[i],
                                           ")", NULL)));
    }
    while (casp_topology_attrs[attrs]) {
        attrs++;
    }
    assert_int_equal(attrs, 28);
    assert_string_equal(casp_topology_attrs[0], "objectClass");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_databases),
        cmocka_unit_test(test_oabs),
        cmocka_unit_test(test_vdirs),
        cmocka_unit_test(test_subnets),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_inconsistent),
        cmocka_unit_test(test_kept_half),
        cmocka_unit_test(test_problems_bounded),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_filter),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, setup, teardown);

    /* Without org.ldif nothing ran, and that is no success. */
    failed += org == NULL;
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
