/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the verdict's tests stand on: a small organisation of every generation
 * in three sites, read from an export, by the settings' own reader, as the
 * module and casproxyctl do it; a front in it, and one request to that front.
 *
 * Berlin is the front's site, Munich is Internet-facing, Hamburg is not.
 */

#ifndef CASP_ORGANISATION_H
#define CASP_ORGANISATION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "verdict.h"

static apr_pool_t *pool;
static char export[] = "/tmp/casp_verdict_XXXXXX";

#define CONFIG "CN=Configuration,DC=contoso,DC=test"
#define ORG "CN=Contoso,CN=Microsoft Exchange,CN=Services," CONFIG
#define GROUP "CN=AG,CN=Administrative Groups," ORG
#define SERVERS "CN=Servers," GROUP
#define LEGACY "/o=Contoso/ou=AG/cn=Configuration/cn=Servers/cn="

/* ------------------------------------------------------- the organisation */

static const char *site(const char *name, const char *subnet)
{
    return apr_psprintf(pool,
                        "dn: CN=%s,CN=Sites," CONFIG "\nobjectClass: site\n"
                        "cn: %s\n\n"
                        "dn: CN=%s,CN=Subnets,CN=Sites," CONFIG
                        "\nobjectClass: subnet\ncn: %s\n"
                        "siteObject: CN=%s,CN=Sites," CONFIG "\n\n",
                        name, name, subnet, subnet, name);
}

/* A server and a database on it; @a array: for the database. */
static const char *server(const char *name, const char *serial, int roles,
                          const char *in, const char *array)
{
    const char *place = in ? apr_pstrcat(pool, "msExchServerSite: CN=", in,
                                         ",CN=Sites," CONFIG "\n", NULL)
                           : "";
    const char *role =
        roles ? apr_psprintf(pool, "msExchCurrentServerRoles: %d\n", roles)
              : "";
    return apr_psprintf(
        pool,
        "dn: CN=%s," SERVERS "\nobjectClass: msExchExchangeServer\ncn: %s\n"
        "serialNumber: %s\n%s%snetworkAddress: ncacn_ip_tcp:%s.contoso.test\n"
        "legacyExchangeDN: " LEGACY "%s\n\n"
        "dn: CN=DB-%s,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
        "cn: DB-%s\nmsExchOwningServer: CN=%s," SERVERS "\n"
        "legacyExchangeDN: " LEGACY "%s/cn=Microsoft Private MDB\n\n",
        name, name, serial, role, place, name, name, name, name, name,
        array ? array : name);
}

static const char *attribute(const char *name, const char *value)
{
    return value ? apr_pstrcat(pool, name, ": ", value, "\n", NULL) : "";
}

static const char *owa_named(const char *cn, const char *on,
                             const char *internal, const char *external,
                             int auth, const char *more)
{
    return apr_psprintf(pool,
                        "dn: CN=%s,CN=HTTP,CN=Protocols,CN=%s," SERVERS "\n"
                        "objectClass: msExchOWAVirtualDirectory\ncn: %s\n"
                        "msExchInternalAuthenticationMethods: %d\n"
                        "msExchExternalAuthenticationMethods: %d\n%s%s%s\n",
                        cn, on, cn, auth, auth,
                        attribute("msExchInternalHostName", internal),
                        attribute("msExchExternalHostName", external),
                        more ? more : "");
}

static const char *owa(const char *on, const char *internal,
                       const char *external, int auth, const char *more)
{
    return owa_named("owa (Default Web Site)", on, internal, external, auth,
                     more);
}

static const char *vdir_of(const char *class, const char *cn, const char *on,
                           const char *internal, const char *external,
                           const char *more)
{
    return apr_psprintf(pool,
                        "dn: CN=%s (Default Web Site),CN=HTTP,CN=Protocols,"
                        "CN=%s," SERVERS "\nobjectClass: %s\n"
                        "cn: %s (Default Web Site)\n%s%s%s\n",
                        cn, on, class, cn,
                        attribute("msExchInternalHostName", internal),
                        attribute("msExchExternalHostName", external), more);
}

static const char *vdir(const char *class, const char *cn, const char *on,
                        const char *internal)
{
    return vdir_of(class, cn, on, internal, NULL, "");
}

static const char *eas(const char *on, const char *external)
{
    return vdir_of("msExchMobileVirtualDirectory",
                   "Microsoft-Server-ActiveSync", on, NULL, external, "");
}

static const char *rpc(const char *on, const char *auth)
{
    return vdir_of("msExchRpcHttpVirtualDirectory", "Rpc", on, NULL, NULL,
                   attribute("msExchInternalAuthenticationMethods", auth));
}

static int users;

static const char *user_with(const char *name, const char *on,
                             const char *more)
{
    const char *home = on ? apr_pstrcat(pool, "homeMDB: CN=DB-", on,
                                        ",CN=Databases," GROUP "\n", NULL)
                          : "";
    return apr_psprintf(
        pool,
        "dn: CN=%s,OU=People,DC=contoso,DC=test\nobjectClass: user\ncn: %s\n"
        "sAMAccountName: %s\nuserPrincipalName: %s@contoso.test\n"
        "objectGUID: GUID-%011d\nmailNickname: %s\n"
        "proxyAddresses: SMTP:%s@contoso.test\n%s%s\n",
        name, name, name, name, ++users, name, name, home, more ? more : "");
}

static const char *user(const char *name, const char *on)
{
    return user_with(name, on, "userAccountControl: 512\n");
}

#define V03 "Version 6.5 (Build 7638.2: Service Pack 2)"
#define V07 "Version 8.3 (Build 30083.6)"
#define V10 "Version 14.3 (Build 30123.4)"
#define V13 "Version 15.0 (Build 31497.2)"
#define V16 "Version 15.1 (Build 32507.6)"
#define V19 "Version 15.2 (Build 31118.7)"

static const char *organisation(void)
{
    const char *parts[] = {
        "dn: " ORG "\nobjectClass: msExchOrganizationContainer\n"
        "cn: Contoso\n\n"
        "dn: CN=CONTOSO,CN=Partitions," CONFIG "\nobjectClass: crossRef\n"
        "cn: CONTOSO\nnCName: DC=contoso,DC=test\ndnsRoot: contoso.test\n"
        "nETBIOSName: CONTOSO\nsystemFlags: 3\n\n",
        site("Berlin", "10.1.0.0/16"),
        site("Munich", "10.2.0.0/16"),
        site("Hamburg", "10.3.0.0/16"),
        "dn: CN=outlook,CN=Arrays," GROUP "\n"
        "objectClass: msExchClientAccessArray\ncn: outlook\n"
        "legacyExchangeDN: " LEGACY "outlook\n"
        "networkAddress: ncacn_ip_tcp:outlook.contoso.test\n"
        "msExchServerSite: CN=Berlin,CN=Sites," CONFIG "\n\n",
        server("BER-EX03", V03, 0, NULL, NULL),
        "dn: CN=Public,CN=Databases," GROUP "\n"
        "objectClass: msExchPublicMDB\ncn: Public\n"
        "msExchOwningServer: CN=BER-EX03," SERVERS "\n\n",
        server("BER-EX07", V07, 54, "Berlin", NULL),
        server("MUC-EX07", V07, 54, "Munich", NULL),
        server("HAM-EX07", V07, 54, "Hamburg", NULL),
        server("BER-CASA", V10, 4, "Berlin", NULL),
        server("BER-CASB", V10, 4, "Berlin", NULL),
        server("BER-MBX", V10, 2, "Berlin", NULL),
        server("MUC-EX10", V10, 54, "Munich", NULL),
        server("MUC-CAS", V10, 4, "Munich", NULL),
        server("MUC-AWAY", V10, 2, "Munich", "outlook"),
        server("HAM-EX10", V10, 54, "Hamburg", NULL),
        server("LOST-EX10", V10, 54, NULL, NULL),
        server("BER-EX13", V13, 16439, "Berlin", NULL),
        server("MUC-EX13", V13, 16439, "Munich", NULL),
        server("BER-EX16", V16, 16439, "Berlin", NULL),
        server("HAM-EX19", V19, 16439, "Hamburg", NULL),
        owa("BER-EX07", "https://ber-ex07.contoso.test/owa",
            "https://legacy.contoso.test/owa", 5, NULL),
        owa_named("Exchange (Default Web Site)", "BER-EX07", NULL,
                  "https://aaa.contoso.test/exchange", 5, NULL),
        owa("MUC-EX07", "https://muc-ex07.contoso.test/owa",
            "https://munich7.contoso.test/owa", 5, NULL),
        owa("HAM-EX07", "https://ham-ex07.contoso.test/owa", NULL, 1, NULL),
        owa("BER-CASA", "https://mail.contoso.test/owa",
            "https://mail.contoso.test/owa", 5,
            "msExch2003Url: https://old.contoso.test/exchange\n"),
        owa("BER-CASB", "https://balancer.contoso.test:8443/mailbox", NULL, 1,
            NULL),
        owa("MUC-CAS", "https://muc-cas.contoso.test/owa",
            "https://basic.contoso.test/owa", 1, NULL),
        owa("MUC-EX10", "https://muc-ex10.contoso.test/owa",
            "https://munich.contoso.test/owa", 5,
            "msExchOWAFailbackURL: https://back.contoso.test/owa\n"),
        owa("HAM-EX10", "https://ham-ex10.contoso.test/owa", NULL, 1, NULL),
        owa("BER-EX13", "https://ber-ex13.contoso.test/owa", NULL, 5, NULL),
        owa("MUC-EX13", "https://muc-ex13.contoso.test/owa",
            "https://munich13.contoso.test/owa", 5, NULL),
        owa("BER-EX16", "https://ber-ex16.contoso.test/owa", NULL, 5, NULL),
        vdir("msExchWebServicesVirtualDirectory", "EWS", "BER-CASA",
             "https://ber-casa.contoso.test/EWS/Exchange.asmx"),
        vdir_of("msExchWebServicesVirtualDirectory", "EWS", "MUC-EX10",
                "https://muc-cas.contoso.test/EWS/Exchange.asmx",
                "https://ews-munich.contoso.test/EWS/Exchange.asmx",
                "msExchInternalNLBBypassHostName: "
                "https://muc-ex10.contoso.test/EWS/Exchange.asmx\n"),
        eas("BER-EX07",
            "https://legacy.contoso.test/Microsoft-Server-ActiveSync"),
        eas("MUC-EX07",
            "https://munich7.contoso.test/Microsoft-Server-ActiveSync"),
        eas("MUC-EX10",
            "https://munich.contoso.test:443/microsoft-server-activesync/"),
        eas("HAM-EX07", NULL),
        rpc("MUC-EX07", "1"),
        rpc("MUC-EX10", "3"),
        vdir_of("msExchECPVirtualDirectory", "ecp", "MUC-EX10",
                "https://muc-ex10.contoso.test/ecp",
                "https://munich.contoso.test/ecp", ""),
        user("u03", "BER-EX03"),
        user("u07", "BER-EX07"),
        user("m07", "MUC-EX07"),
        user("h07", "HAM-EX07"),
        user("ada", "BER-MBX"),
        user("bob", "BER-MBX"),
        user("m10", "MUC-EX10"),
        user("away", "MUC-AWAY"),
        user("h10", "HAM-EX10"),
        user("lost", "LOST-EX10"),
        user("u13", "BER-EX13"),
        user("m13", "MUC-EX13"),
        user("u16", "BER-EX16"),
        user("h19", "HAM-EX19"),
        user("gone", "NOWHERE"),
        user("none", NULL),
        user_with("nomail", "BER-MBX", "protocolSettings:: UE9QM8KnMA==\n"),
        user_with("guid", "MUC-EX13",
                  "msExchMailboxGuid:: MyIRAFVEd2aImaq7zN3u/w==\n"),
        user_with("noeas", "BER-MBX", "msExchOmaAdminWirelessEnable: 4\n"),
        user_with("off", "BER-MBX", "protocolSettings:: SFRUUMKnMMKnMQ==\n"),
        user_with("dead", "BER-MBX", "userAccountControl: 514\n"),
        user_with("far", NULL,
                  "userAccountControl: 512\n"
                  "targetAddress: SMTP:far@fabrikam.test\n"),
        user_with("twin1", "BER-MBX",
                  "proxyAddresses: smtp:twin@contoso.test\n"),
        user_with("twin2", "BER-MBX",
                  "proxyAddresses: smtp:twin@contoso.test\n"),
    };
    const char *all = "";
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        all = apr_pstrcat(pool, all, parts[i], NULL);
    }
    return all;
}

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&pool, NULL);
    const char *text = organisation();
    int fd = mkstemp(export);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        return -1;
    }
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(export);
    apr_pool_destroy(pool);
    return 0;
}

/* ----------------------------------------------------------- one request */

typedef struct {
    casp_settings_t *s;
    casp_dir_settings_t *d;
    casp_org_t *org;
    apr_pool_t *p;
} front_t;

/* A front as a configuration makes it; @a more overrides nothing. */
static front_t make_front(const char *more)
{
    front_t f;
    casp_config_t config;
    apr_pool_create(&f.p, pool);
    const char *text =
        apr_pstrcat(f.p, "CasProxy On\nCasProxyDirectory ldif:", export,
                    "\nCasProxyStateDir /nonexistent\n", more, "\n", NULL);
    const char *wrong = casp_config_read(f.p, text, NULL, &config);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    f.s = casp_settings_complete(f.p, config.settings, "/nonexistent");
    f.d = casp_dir_settings_complete(f.p, config.dir);
    wrong = casp_org_create(f.p, f.s, NULL, &f.org);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(casp_org_start(f.org, f.p, NULL, NULL), APR_SUCCESS);
    casp_org_tick(f.org, apr_time_now());
    return f;
}

static void end_front(front_t *f)
{
    apr_pool_destroy(f->p);
}

#define FORMS CASP_BY_FORMS
#define BASIC CASP_BY_BASIC
#define NTLM CASP_BY_NTLM

static casp_ask_t make_ask(const char *who, const char *target, casp_by_e by)
{
    casp_ask_t a;
    memset(&a, 0, sizeof(a));
    a.method = "GET";
    a.target = target;
    a.host = "mail.contoso.test";
    a.https = true;
    a.local_address = "10.1.0.7";
    a.by = by;
    a.at_logon = by == CASP_BY_FORMS;
    a.user = who;
    return a;
}

static casp_verdict_t judge(front_t *f, const casp_ask_t *ask)
{
    casp_verdict_t v;
    if (!casp_verdict_before_logon(f->p, f->s, f->d, ask, &v)) {
        casp_verdict_reach(f->p, f->s, f->d, f->org, ask, &v);
    }
    return v;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

#endif /* CASP_ORGANISATION_H */
