/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * test_autodiscover.c: requests read, hostile ones among them; answers for
 * mailboxes of every generation and place, read back by a parser.
 *
 * Berlin is the front's site; Munich is Internet-facing; Hamburg is not; Rome
 * is, but by plain http.
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
#include <apr_xml.h>

#include "autodiscover.h"
#include "ldif.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SCHEMAS "http://schemas.microsoft.com/exchange/autodiscover/"
#define CONFIG "CN=Configuration,DC=contoso,DC=test"
#define ORG "CN=Contoso,CN=Microsoft Exchange,CN=Services," CONFIG
#define GROUP "CN=AG,CN=Administrative Groups," ORG
#define LEGACY "/o=Contoso/ou=AG/cn=Configuration/cn=Servers/cn="
#define BOOK "12345678-9abc-def0-1234-56789abcdef0"
#define MAILBOX "41414141-4141-4141-4141-414141414141"

static apr_pool_t *pool;

/* ----------------------------------------------------------- organisation */

static const struct {
    const char *name, *serial, *site;
    int roles;
    const char *outside; /* its public base URL */
} servers[] = {
    {"BER-EX3", "Version 6.5 (Build 7638.2: Service Pack 2)", NULL, 0, NULL},
    {"BER-EX7", "Version 8.3 (Build 30083.6)", "Berlin", 54,
     "https://legacy.contoso.test"},
    {"BER-EX10", "Version 14.3 (Build 30123.4)", "Berlin", 54,
     "https://mail.contoso.test"},
    {"BER-EX16", "Version 15.1 (Build 32507.6)", "Berlin", 16439,
     "https://mail.contoso.test"},
    {"MUC-EX7", "Version 8.3 (Build 30083.6)", "Munich", 54,
     "https://legacy-munich.contoso.test"},
    {"MUC-EX10", "Version 14.3 (Build 30123.4)", "Munich", 54,
     "https://munich.contoso.test"},
    {"MUC-EX13", "Version 15.0 (Build 31497.2)", "Munich", 16439,
     "https://munich13.contoso.test:8443"},
    {"HAM-EX7", "Version 8.3 (Build 30083.6)", "Hamburg", 54, NULL},
    {"HAM-EX10", "Version 14.3 (Build 30123.4)", "Hamburg", 54, NULL},
    {"ROM-EX10", "Version 14.3 (Build 30123.4)", "Rome", 54,
     "http://rome.contoso.test"},
    {"LOST-EX10", "Version 14.3 (Build 30123.4)", NULL, 54, NULL},
    {"ODD-EX27", "Version 27.0 (Build 30001.1)", "Berlin", 54, NULL},
};

static const struct {
    const char *class, *name, *path;
    const char *since, *until;
} directories[] = {
    {"OWA", "owa", "/owa", "8", "9"},
    {"ECP", "ecp", "/ecp", "14", "9"},
    {"Mobile", "Microsoft-Server-ActiveSync", "/Microsoft-Server-ActiveSync",
     "8", "9"},
    {"WebServices", "EWS", "/EWS/Exchange.asmx", "8", "9"},
    {"OAB", "OAB", "/OAB", "8", "9"},
    {"RpcHttp", "Rpc", "", "8", "9"},
    {"Mapi", "mapi", "/mapi", "15", "9"},
    {"UM", "UnifiedMessaging", "/UnifiedMessaging/Service.asmx", "8", "8"},
};

static const char *line(const char *name, const char *value)
{
    return value ? apr_pstrcat(pool, name, ": ", value, "\n", NULL) : "";
}

static int major_of(const char *serial)
{
    return atoi(serial + strlen("Version "));
}

static const char *directory(size_t s, size_t d)
{
    const char *base = servers[s].outside;
    bool rpc = !strcmp(directories[d].class, "RpcHttp");
    int major = major_of(servers[s].serial);
    if (major < atoi(directories[d].since)
        || (strcmp(directories[d].until, "8") == 0 && major > 8)) {
        return "";
    }
    const char *in = apr_pstrcat(pool, rpc ? "" : "https://", servers[s].name,
                                 ".contoso.test", directories[d].path, NULL);
    const char *out =
        base ? apr_pstrcat(pool, rpc ? strstr(base, "//") + 2 : base,
                           directories[d].path, NULL)
             : NULL;
    return apr_pstrcat(pool, "dn: CN=", directories[d].name,
                       " (Default Web Site),CN=HTTP,CN=Protocols,CN=",
                       servers[s].name,
                       ",CN=Servers," GROUP "\nobjectClass: msExch",
                       directories[d].class, "VirtualDirectory\n",
                       line("msExchInternalHostName", in),
                       line("msExchExternalHostName", out),
                       "msExchInternalAuthenticationMethods: 17\n"
                       "msExchExternalAuthenticationMethods: ",
                       major == 15 ? "2" : "5", "\n\n", NULL);
}

static const char *server(size_t s)
{
    const char *name = servers[s].name;
    const char *text = apr_pstrcat(
        pool, "dn: CN=", name,
        ",CN=Servers," GROUP "\nobjectClass: msExchExchangeServer\ncn: ", name,
        "\nserialNumber: ", servers[s].serial,
        "\nnetworkAddress: ncacn_ip_tcp:", name,
        ".contoso.test\nlegacyExchangeDN: " LEGACY, name, "\n",
        servers[s].roles ? line("msExchCurrentServerRoles",
                                apr_itoa(pool, servers[s].roles))
                         : "",
        servers[s].site ? line("msExchServerSite",
                               apr_pstrcat(pool, "CN=", servers[s].site,
                                           ",CN=Sites," CONFIG, NULL))
                        : "",
        "\n", NULL);
    for (size_t d = 0; servers[s].roles && d < COUNT(directories); d++) {
        text = apr_pstrcat(pool, text, directory(s, d), NULL);
    }
    /* 2010's databases name an array, but for Munich's, which names itself */
    const char *array =
        !strncmp(name, "BER-EX10", 8) ? "outlook.contoso.test" : name;
    return apr_pstrcat(pool, text, "dn: CN=DB-", name,
                       ",CN=Databases," GROUP
                       "\nobjectClass: msExchPrivateMDB\ncn: DB-",
                       name, "\nmsExchOwningServer: CN=", name,
                       ",CN=Servers," GROUP "\nlegacyExchangeDN: " LEGACY,
                       array, "/cn=Microsoft Private MDB\n\n", NULL);
}

/* A user for each server, named like it: ber-ex3@contoso.test. */
static const char *user(const char *name, const char *more)
{
    return apr_pstrcat(pool, "dn: CN=User ", name,
                       ",DC=contoso,DC=test\nobjectClass: user\n"
                       "sAMAccountName: ",
                       name, "\nproxyAddresses: SMTP:", name,
                       "@contoso.test\nlegacyExchangeDN: /o=Contoso/cn=", name,
                       "\nmsExchMailboxGuid:: QUFBQUFBQUFBQUFBQUFBQQ==\n",
                       more, "\n", NULL);
}

static apr_array_header_t *entries;
static casp_topology_t *topology;
static casp_user_source_t *source;

static void make_organisation(void)
{
    static const char *const sites[] = {"Berlin", "Munich", "Hamburg", "Rome"};
    apr_array_header_t *wrong = apr_array_make(pool, 1, sizeof(char *));
    const char *text =
        "dn: CN=outlook.contoso.test,CN=Arrays," GROUP "\n"
        "objectClass: msExchClientAccessArray\ncn: outlook.contoso.test\n"
        "legacyExchangeDN: " LEGACY "outlook.contoso.test\n"
        "msExchServerSite: CN=Berlin,CN=Sites," CONFIG "\n\n"
        "dn: CN=Book,CN=Offline Address Lists," ORG "\n"
        "objectClass: msExchOAB\nmsExchOABDefault: TRUE\n"
        "objectGUID:: eFY0Erya8N4SNFZ4mrze8A==\n\n";
    for (size_t i = 0; i < COUNT(sites); i++) {
        text = apr_pstrcat(pool, text, "dn: CN=", sites[i],
                           ",CN=Sites," CONFIG "\nobjectClass: site\ncn: ",
                           sites[i], "\n\n", NULL);
    }
    for (size_t i = 0; i < COUNT(servers); i++) {
        text = apr_pstrcat(
            pool, text, server(i),
            user(servers[i].name,
                 apr_pstrcat(pool, "homeMDB: CN=DB-", servers[i].name,
                             ",CN=Databases," GROUP "\n",
                             i == 0 ? "displayName:: PEFkYSAmICJDbyI+w7wBw/8="
                                      "\n"
                                    : "",
                             NULL)),
            NULL);
    }
    text = apr_pstrcat(
        pool, text, user("remote", "targetAddress: SMTP:remote@else.test\n"),
        user("circle", "targetAddress: smtp:Circle@contoso.test\n"),
        user("odd", "targetAddress: SMTP:no address\n"),
        user("fax", "targetAddress: FAX:123@else\n"), user("nobody", ""),
        user("orphan", "homeMDB: CN=Gone," GROUP "\n"), NULL);
    casp_ldif_parse(pool, text, strlen(text), &entries, wrong);
    assert_int_equal(wrong->nelts, 0);
    topology = casp_topology_build(entries, "test", NULL, 0);
    source = casp_source_entries(pool, entries);
}

static const casp_mailbox_t *mailbox(const char *name)
{
    const char *address = apr_pstrcat(pool, name, "@contoso.test", NULL);
    const casp_user_key_t key = {CASP_KEY_SMTP, NULL, address,
                                 strlen(address)};
    apr_array_header_t *found;
    const char *why;
    assert_int_equal(source->find(source->baton, pool, &key, topology, 0,
                                  &found, &why),
                     CASP_DIR_OK);
    assert_int_equal(found->nelts, 1);
    return casp_mailbox_of_entry(pool, APR_ARRAY_IDX(found, 0, casp_entry_t *),
                                 topology, 0);
}

/* ---------------------------------------------------------------- answers */

typedef struct {
    casp_settings_t *s;
    casp_disco_view_t view;
} front_t;

static front_t front(casp_front_e version)
{
    front_t f;
    casp_settings_t *s = casp_settings_create(pool);
    s->front = version;
    f.s = casp_settings_complete(pool, s, "/tmp");
    memset(&f.view, 0, sizeof(f.view));
    f.view.s = f.s;
    f.view.t = topology;
    f.view.front_site = casp_topology_site(topology, "Berlin");
    f.view.host = "mail.contoso.test";
    f.view.by = CASP_BY_BASIC;
    f.view.auth = CASP_SCHEME_FORMS | CASP_SCHEME_BASIC;
    return f;
}

static const apr_xml_elem *child(const apr_xml_elem *of, const char *name)
{
    for (const apr_xml_elem *e = of->first_child; e; e = e->next) {
        if (!strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

static const char *text_in(const apr_xml_elem *e)
{
    const char *all = "";
    for (const apr_text *t = e->first_cdata.first; t; t = t->next) {
        all = apr_pstrcat(pool, all, t->text, NULL);
    }
    return all;
}

static bool has_attribute(const apr_xml_elem *e, const char *value)
{
    for (const apr_xml_attr *a = e->attr; a; a = a->next) {
        if (!strcmp(a->value, value)) {
            return true;
        }
    }
    return false;
}

static const apr_xml_elem *section(const apr_xml_elem *account,
                                   const char *type)
{
    for (const apr_xml_elem *e = account->first_child; e; e = e->next) {
        const apr_xml_elem *t = child(e, "Type");
        if (!strcmp(e->name, "Protocol")
            && (t ? !strcmp(text_in(t), type) : has_attribute(e, type))) {
            return e;
        }
    }
    return NULL;
}

/* "Account/EXCH:/EwsUrl": the text there, NULL: no such element */
static const char *at(const apr_xml_doc *doc, const char *path)
{
    const apr_xml_elem *e = child(doc->root, "Response");
    char *state, *word;
    for (word = apr_strtok(apr_pstrdup(pool, path), "/", &state); e && word;
         word = apr_strtok(NULL, "/", &state)) {
        size_t len = strlen(word);
        if (word[len - 1] == ':') {
            word[len - 1] = '\0';
            e = section(e, word);
        }
        else {
            e = child(e, word);
        }
    }
    return e ? text_in(e) : NULL;
}

static apr_xml_doc *read_back(const char *xml)
{
    apr_xml_parser *parser = apr_xml_parser_create(pool);
    apr_xml_doc *doc = NULL;
    assert_int_equal(apr_xml_parser_feed(parser, xml, strlen(xml)),
                     APR_SUCCESS);
    assert_int_equal(apr_xml_parser_done(parser, &doc), APR_SUCCESS);
    assert_string_equal(doc->root->name, "Autodiscover");
    return doc;
}

static apr_xml_doc *answer(const front_t *f, const char *name,
                           casp_disco_schema_e schema)
{
    casp_disco_view_t view = f->view;
    const char *xml, *why;
    view.mailbox = mailbox(name);
    assert_int_equal(casp_disco_answer(pool, schema, &view, &xml, &why),
                     CASP_DISCO_OK);
    assert_null(why);
    return read_back(xml);
}

static void is_text(const char *got, const char *wanted, const char *what)
{
    if ((got == NULL) != (wanted == NULL)
        || (got && strcmp(got, wanted) != 0)) {
        fail_msg("%s is \"%s\", not \"%s\"", what, got ? got : "(none)",
                 wanted ? wanted : "(none)");
    }
}

#define HERE "https://mail.contoso.test"
#define EWS_PATH "/EWS/Exchange.asmx"
#define EAS_PATH "/Microsoft-Server-ActiveSync"

/* The table: front, mailbox, and the base URLs told. */
static const struct {
    casp_front_e front;
    const char *user;
    const char *ews; /* also of OAB, and of OWA where owa is NULL */
    const char *eas, *rpc, *owa;
    bool ecp;
} places[] = {
    {CASP_F2010SP2, "BER-EX3", NULL, HERE, "mail.contoso.test", HERE, false},
    {CASP_F2010SP2, "BER-EX7", "https://legacy.contoso.test",
     "https://legacy.contoso.test", "mail.contoso.test", NULL, false},
    {CASP_F2010SP2, "MUC-EX7", "https://legacy-munich.contoso.test",
     "https://legacy-munich.contoso.test", "mail.contoso.test", NULL, false},
    {CASP_F2010SP2, "HAM-EX7", HERE, HERE, "mail.contoso.test", NULL, false},
    {CASP_F2010SP2, "BER-EX10", HERE, HERE, "mail.contoso.test", NULL, true},
    {CASP_F2010SP2, "MUC-EX10", "https://munich.contoso.test",
     "https://munich.contoso.test", "munich.contoso.test", NULL, true},
    {CASP_F2010SP2, "HAM-EX10", HERE, HERE, "mail.contoso.test", NULL, true},
    {CASP_F2010SP2, "ROM-EX10", HERE, HERE, "rome.contoso.test", HERE, true},
    {CASP_F2007, "BER-EX7", HERE, HERE, "mail.contoso.test", NULL, false},
    {CASP_F2007, "MUC-EX7", "https://legacy-munich.contoso.test",
     "https://legacy-munich.contoso.test", "legacy-munich.contoso.test", NULL,
     false},
    {CASP_F2007, "MUC-EX10", "https://munich.contoso.test",
     "https://munich.contoso.test", "munich.contoso.test", NULL, true},
    {CASP_F2013, "BER-EX7", "https://legacy.contoso.test", HERE,
     "mail.contoso.test", NULL, false},
    {CASP_F2013, "BER-EX10", HERE, HERE, "mail.contoso.test", NULL, true},
    {CASP_F2013, "MUC-EX13", "https://munich13.contoso.test:8443",
     "https://munich13.contoso.test:8443", "munich13.contoso.test", NULL,
     true},
    {CASP_F2016, "BER-EX16", HERE, HERE, "mail.contoso.test", NULL, true},
    {CASP_F2016, "BER-EX10", HERE, HERE, "mail.contoso.test", NULL, true},
};

static const char *join(const char *base, const char *path)
{
    return base ? apr_pstrcat(pool, base, path, NULL) : NULL;
}

static void test_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(places); i++) {
        front_t f = front(places[i].front);
        const char *name = apr_psprintf(pool, "%s behind %s", places[i].user,
                                        casp_front_name(places[i].front));
        const char *services = join(places[i].ews, EWS_PATH);
        const char *owa = places[i].owa ? places[i].owa : places[i].ews;
        apr_xml_doc *d = answer(&f, places[i].user, CASP_DISCO_OUTLOOK);
        is_text(at(d, "Account/EXPR:/EwsUrl"), services, name);
        is_text(at(d, "Account/EXPR:/ASUrl"), services, name);
        is_text(at(d, "Account/EXPR:/OOFUrl"), services, name);
        is_text(at(d, "Account/EXPR:/OABUrl"),
                join(places[i].ews, "/OAB/" BOOK "/"), name);
        is_text(at(d, "Account/EXPR:/EcpUrl"),
                places[i].ecp ? join(places[i].ews, "/ecp/") : NULL, name);
        is_text(at(d, "Account/EXPR:/Server"), places[i].rpc, name);
        is_text(at(d, "Account/EXPR:/CertPrincipalName"),
                join("msstd:", places[i].rpc), name);
        is_text(at(d, "Account/WEB:/External/OWAUrl"), join(owa, "/owa/"),
                name);
        is_text(at(d, "Account/WEB:/External/Protocol/ASUrl"), services, name);
        is_text(at(d, "Account/mapiHttp:"), NULL, name);
        d = answer(&f, places[i].user, CASP_DISCO_MOBILESYNC);
        is_text(at(d, "Action/Settings/Server/Url"),
                join(places[i].eas, EAS_PATH), name);
        is_text(at(d, "Action/Settings/Server/Name"),
                join(places[i].eas, EAS_PATH), name);
    }
}

static void test_internal(void **state)
{
    front_t f = front(CASP_F2010SP2);
    apr_xml_doc *d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);

    (void)state;
    is_text(at(d, "User/DisplayName"), "User BER-EX10", "from the DN");
    is_text(at(d, "User/LegacyDN"), "/o=Contoso/cn=BER-EX10", "LegacyDN");
    is_text(at(d, "User/AutoDiscoverSMTPAddress"), "BER-EX10@contoso.test",
            "address");
    is_text(at(d, "Account/AccountType"), "email", "type");
    is_text(at(d, "Account/Action"), "settings", "action");
    is_text(at(d, "Account/EXCH:/Server"), "outlook.contoso.test", "array");
    is_text(at(d, "Account/EXCH:/ServerDN"), LEGACY "outlook.contoso.test",
            "of the array");
    is_text(at(d, "Account/EXCH:/MdbDN"),
            LEGACY "outlook.contoso.test/cn=Microsoft Private MDB", "MdbDN");
    is_text(at(d, "Account/EXCH:/ServerVersion"), "7383807B", "version");
    is_text(at(d, "Account/EXCH:/EwsUrl"),
            "https://ber-ex10.contoso.test" EWS_PATH, "InternalURL");
    is_text(at(d, "Account/EXCH:/OABUrl"),
            "https://ber-ex10.contoso.test/OAB/" BOOK "/", "OAB inside");
    is_text(at(d, "Account/EXPR:/UMUrl"), HERE "/EWS/UM2007Legacy.asmx",
            "UM of 2010");
    is_text(at(d, "Account/EXPR:/EcpUrl-mt"),
            "PersonalSettings/DeliveryReport.aspx?exsvurl=1&IsOWA=<IsOWA>"
            "&MsgID=<MsgID>&Mbx=<Mbx>",
            "escaped and read back");
    is_text(at(d, "Account/EXPR:/EcpUrl-photo"), NULL, "since 2013");
    is_text(at(d, "Account/EXPR:/SSL"), "On", "SSL");
    is_text(at(d, "Account/EXPR:/AuthPackage"), "Basic", "ours");
    is_text(at(d, "Account/WEB:/Internal/OWAUrl"),
            "https://ber-ex10.contoso.test/owa/", "OWA inside");

    d = answer(&f, "MUC-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXCH:/Server"), "muc-ex10.contoso.test",
            "a server in place of an array, by its FQDN");
    is_text(at(d, "Account/EXCH:/ServerDN"), LEGACY "MUC-EX10", "its DN");
    d = answer(&f, "BER-EX7", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXCH:/Server"), "ber-ex7.contoso.test", "2007");
    is_text(at(d, "Account/EXCH:/ServerVersion"), "72038053", "2007");
    is_text(at(d, "Account/EXPR:/UMUrl"),
            "https://legacy.contoso.test/UnifiedMessaging/Service.asmx",
            "UM of 2007");
    d = answer(&f, "BER-EX3", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXCH:/ServerVersion"), "00001DD6", "2003: build");
    is_text(at(d, "Account/EXCH:/EwsUrl"), NULL, "2003 has none");
    is_text(at(d, "User/DisplayName"), "<Ada & \"Co\">\xc3\xbc???",
            "quoted, and cleaned of what is no text");
}

static void test_mapi(void **state)
{
    front_t f = front(CASP_F2013);
    const char *id = "?MailboxId=" MAILBOX "@contoso.test";

    (void)state;
    apr_xml_doc *d = answer(&f, "MUC-EX13", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/mapiHttp:"), NULL, "not spoken");
    is_text(at(d, "Account/EXCH:/Server"), MAILBOX "@contoso.test",
            "2013's servers are mailboxes");
    is_text(at(d, "Account/EXCH:/ServerDN"), LEGACY MAILBOX "@contoso.test",
            "and so are their DNs");
    is_text(at(d, "Account/EXPR:/AuthPackage"), "Ntlm", "theirs");
    f.view.mapi_http = true;
    d = answer(&f, "MUC-EX13", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/mapiHttp:/MailStore/ExternalUrl"),
            join("https://munich13.contoso.test:8443/mapi/emsmdb/", id),
            "store");
    is_text(at(d, "Account/mapiHttp:/AddressBook/InternalUrl"),
            join("https://muc-ex13.contoso.test/mapi/nspi/", id), "book");
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/mapiHttp:"), NULL, "2010 has none");
    f = front(CASP_F2016);
    f.view.mapi_http = true;
    d = answer(&f, "BER-EX16", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/mapiHttp:/MailStore/ExternalUrl"),
            join(HERE "/mapi/emsmdb/", id), "here");
    f.s->publish &= ~(1 << CASP_PROTO_MAPI);
    d = answer(&f, "BER-EX16", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/mapiHttp:"), NULL, "not published");
}

static const char *attribute_of(const apr_xml_doc *doc, const char *side)
{
    const apr_xml_elem *account =
        child(child(doc->root, "Response"), "Account");
    const apr_xml_elem *e =
        child(child(section(account, "WEB"), side), "OWAUrl");
    return e->attr ? e->attr->value : NULL;
}

static void test_methods(void **state)
{
    front_t f = front(CASP_F2010SP2);
    apr_xml_doc *d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);

    (void)state;
    is_text(attribute_of(d, "External"), "Basic, Fba", "ours");
    is_text(attribute_of(d, "Internal"), "Basic, WindowsIntegrated", "AD's");
    d = answer(&f, "MUC-EX10", CASP_DISCO_OUTLOOK);
    is_text(attribute_of(d, "External"), "Basic, Fba", "AD's outside");
    f.view.auth = CASP_SCHEME_NTLM | CASP_SCHEME_NEGOTIATE;
    f.s->keytab = "/etc/keytab";
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(attribute_of(d, "External"), "Ntlm, WindowsIntegrated", "ours");
    is_text(at(d, "Account/EXPR:/AuthPackage"), "Negotiate", "ours");
    f.view.auth = CASP_SCHEME_NTLM;
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/AuthPackage"), "Ntlm", "ours");
    f.view.host = "munich.contoso.test";
    d = answer(&f, "MUC-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/AuthPackage"), "Ntlm",
            "a name that is ours, whatever AD says of it");
    f.view.auth = CASP_SCHEME_NONE;
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(attribute_of(d, "External"), NULL, "another module's");
}

/* What is not published is not told, and what is switched off changes it. */
static void test_settings(void **state)
{
    front_t f = front(CASP_F2010SP2);
    casp_disco_view_t view;
    const char *xml, *why;
    apr_xml_doc *d;

    (void)state;
    f.s->publish &=
        ~(1 << CASP_PROTO_EWS | 1 << CASP_PROTO_RPC | 1 << CASP_PROTO_EAS);
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"), NULL, "EWS is not published");
    is_text(at(d, "Account/EXPR:/Server"), NULL, "nor is RPC");
    is_text(at(d, "Account/EXPR:/OABUrl"), HERE "/OAB/" BOOK "/", "OAB is");
    view = f.view;
    view.mailbox = mailbox("BER-EX10");
    assert_int_equal(casp_disco_answer(pool, CASP_DISCO_MOBILESYNC, &view,
                                       &xml, &why),
                     CASP_DISCO_NO_PROVIDER);
    d = answer(&f, "MUC-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"),
            "https://munich.contoso.test" EWS_PATH, "but theirs is");

    f = front(CASP_F2010SP2);
    f.s->eas_redirect = CASP_EAS_REDIRECT_OFF;
    d = answer(&f, "BER-EX7", CASP_DISCO_MOBILESYNC);
    is_text(at(d, "Action/Settings/Server/Url"), HERE EAS_PATH,
            "no 451: 2007 is proxied");
    d = answer(&f, "MUC-EX10", CASP_DISCO_MOBILESYNC);
    is_text(at(d, "Action/Settings/Server/Url"),
            "https://munich.contoso.test" EAS_PATH,
            "its own site all the same");

    f = front(CASP_F2010SP2);
    f.view.host = "front.contoso.test";
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"),
            "https://front.contoso.test" EWS_PATH, "the front's own");
    f.view.redirects = true;
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"), HERE EWS_PATH,
            "a front that only redirects");

    f = front(CASP_F2010SP2);
    f.s->mounted_site = apr_array_make(pool, 1, sizeof(casp_pair_t));
    APR_ARRAY_PUSH(f.s->mounted_site, casp_pair_t) =
        (casp_pair_t){"DB-BER-EX10", "Munich"};
    d = answer(&f, "BER-EX10", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"),
            "https://munich.contoso.test" EWS_PATH, "CasProxyMountedSite");
    f.view.front_site = NULL;
    d = answer(&f, "BER-EX7", CASP_DISCO_OUTLOOK);
    is_text(at(d, "Account/EXPR:/EwsUrl"),
            "https://legacy.contoso.test" EWS_PATH, "a front without site");
}

static void test_elsewhere(void **state)
{
    static const struct {
        const char *user;
        casp_disco_error_e error;
        const char *why;
    } cases[] = {
        {"circle", CASP_DISCO_NO_ADDRESS, NULL},
        {"odd", CASP_DISCO_NO_ADDRESS, NULL},
        {"fax", CASP_DISCO_NO_ADDRESS, NULL},
        {"nobody", CASP_DISCO_NO_ADDRESS, NULL},
        {"orphan", CASP_DISCO_UNPLACED, "database-unknown"},
        {"ODD-EX27", CASP_DISCO_UNPLACED, "version-unknown"},
        {"LOST-EX10", CASP_DISCO_UNPLACED, "site-unknown"},
    };
    front_t f = front(CASP_F2010SP2);
    apr_xml_doc *d = answer(&f, "remote", CASP_DISCO_OUTLOOK);

    (void)state;
    is_text(at(d, "Account/Action"), "redirectAddr", "Outlook");
    is_text(at(d, "Account/RedirectAddr"), "remote@else.test", "Outlook");
    d = answer(&f, "remote", CASP_DISCO_MOBILESYNC);
    is_text(at(d, "Action/Redirect"), "remote@else.test", "devices");
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int schema = 0; schema < CASP_DISCO_SCHEMAS; schema++) {
            casp_disco_view_t view = f.view;
            const char *xml, *why;
            view.mailbox = mailbox(cases[i].user);
            assert_int_equal(casp_disco_answer(pool,
                                               (casp_disco_schema_e)schema,
                                               &view, &xml, &why),
                             cases[i].error);
            assert_null(xml);
            is_text(why, cases[i].why, cases[i].user);
        }
    }
}

static const char *space(const apr_xml_doc *doc, const apr_xml_elem *e)
{
    return APR_ARRAY_IDX(doc->namespaces, e->ns, const char *);
}

static void test_schemas(void **state)
{
    static const char *const names[] = {SCHEMAS "outlook/responseschema/2006a",
                                        SCHEMAS "outlook/responseschema/2006",
                                        SCHEMAS
                                        "mobilesync/responseschema/2006"};
    front_t f = front(CASP_F2010SP2);

    (void)state;
    for (int i = 0; i < CASP_DISCO_SCHEMAS; i++) {
        apr_xml_doc *d = answer(&f, "BER-EX10", (casp_disco_schema_e)i);
        assert_string_equal(space(d, d->root), SCHEMAS "responseschema/2006");
        assert_string_equal(space(d, child(d->root, "Response")), names[i]);
    }
}

static void test_errors(void **state)
{
    static const struct {
        casp_disco_error_e error;
        const char *code, *text;
    } cases[] = {
        {CASP_DISCO_NO_ADDRESS, "500", "The e-mail address cannot be found."},
        {CASP_DISCO_BAD_REQUEST, "600", "Invalid Request"},
        {CASP_DISCO_NO_PROVIDER, "601",
         "There is no provider for the requested schema."},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *xml =
            casp_disco_error(pool, cases[i].error,
                             APR_TIME_C(1700000000) * 1000000 + 4711,
                             "mail.contoso.test");
        apr_xml_doc *d = read_back(xml);
        const apr_xml_elem *e = child(child(d->root, "Response"), "Error");
        assert_non_null(strstr(xml, "<Error Time=\"22:13:20.004711\" Id=\""));
        assert_string_equal(space(d, e), SCHEMAS "responseschema/2006");
        is_text(at(d, "Error/ErrorCode"), cases[i].code, "code");
        is_text(at(d, "Error/Message"), cases[i].text, "text");
        is_text(at(d, "Error/DebugData"), "", "nothing about us");
    }
    read_back(casp_disco_error(pool, CASP_DISCO_BAD_REQUEST, 0, NULL));
}

static void test_host(void **state)
{
    front_t f = front(CASP_F2010SP2);

    (void)state;
    is_text(casp_disco_host(pool, f.s, "Autodiscover.contoso.test"),
            "autodiscover.contoso.test", "as it was called");
    is_text(casp_disco_host(pool, f.s, "mail.contoso.test:443"),
            "mail.contoso.test", "default port");
    is_text(casp_disco_host(pool, f.s, "a\"><b"), NULL, "no host");
    is_text(casp_disco_host(pool, f.s, "a/b"), NULL, "no host");
    is_text(casp_disco_host(pool, f.s, "u@a"), NULL, "no host");
    is_text(casp_disco_host(pool, f.s, NULL), NULL, "no host");
    f.s->external_url = "https://Mail.contoso.test:8443/owa";
    is_text(casp_disco_host(pool, f.s, "autodiscover.contoso.test"),
            "mail.contoso.test:8443", "CasProxyExternalURL");
}

/* --------------------------------------------------------------- requests */

#define OUT "outlook/requestschema/2006"
#define OUTA "outlook/responseschema/2006a"
#define MOB "mobilesync/requestschema/2006"
#define MOBA "mobilesync/responseschema/2006"
#define REQUEST(space, inner)                                        \
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover xmlns=" \
    "\"" SCHEMAS space "\"><Request>" inner "</Request></Autodiscover>"
#define ADDRESS "<EMailAddress>ada@contoso.test</EMailAddress>"
#define WANT(schema) \
    "<AcceptableResponseSchema>" SCHEMAS schema "</AcceptableResponseSchema>"

static const struct {
    const char *body;
    casp_disco_error_e error;
    casp_disco_schema_e schema;
    casp_key_e kind;
    const char *value;
} requests[] = {
    {REQUEST(OUT, ADDRESS WANT(OUTA)), CASP_DISCO_OK, CASP_DISCO_OUTLOOK,
     CASP_KEY_SMTP, "ada@contoso.test"},
    {REQUEST(OUT, WANT("outlook/responseschema/2006") ADDRESS), CASP_DISCO_OK,
     CASP_DISCO_OUTLOOK_2006, CASP_KEY_SMTP, "ada@contoso.test"},
    {REQUEST(MOB, ADDRESS WANT(MOBA)), CASP_DISCO_OK, CASP_DISCO_MOBILESYNC,
     CASP_KEY_SMTP, "ada@contoso.test"},
    {REQUEST(OUT, "<LegacyDN>/o=Contoso/cn=ada</LegacyDN>" WANT(OUTA)),
     CASP_DISCO_OK, CASP_DISCO_OUTLOOK, CASP_KEY_LEGACY_DN,
     "/o=Contoso/cn=ada"},
    /* space around, CDATA, references, other elements, other prefixes */
    {" \r\n" REQUEST(OUT, "<EMailAddress>\n ada&#64;<![CDATA[contoso]]>.test "
                          "</EMailAddress>" WANT(OUTA) "<Other><EMailAddress/>"
                                                       "</Other>"),
     CASP_DISCO_OK, CASP_DISCO_OUTLOOK, CASP_KEY_SMTP, "ada@contoso.test"},
    {"<a:Autodiscover xmlns:a=\"" SCHEMAS OUT "\"><a:Request>"
     "<EMailAddress>x@x</EMailAddress>"
     "<a:EMailAddress>ada@contoso.test</a:EMailAddress>"
     "<a:AcceptableResponseSchema>" SCHEMAS OUTA
     "</a:AcceptableResponseSchema></a:Request></a:Autodiscover>",
     CASP_DISCO_OK, CASP_DISCO_OUTLOOK, CASP_KEY_SMTP, "ada@contoso.test"},
    {"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><Autodiscover "
     "xmlns=\"" SCHEMAS OUT
     "\"><Request><EMailAddress>m\xfc@contoso.test</EMailAddress>" WANT(
         OUTA) "</Request></Autodiscover>",
     CASP_DISCO_OK, CASP_DISCO_OUTLOOK, CASP_KEY_SMTP,
     "m\xc3\xbc@contoso.test"},
    /* no provider */
    {REQUEST(OUT, ADDRESS WANT("outlook/responseschema/2099")),
     CASP_DISCO_NO_PROVIDER, 0, 0, NULL},
    {REQUEST("other/requestschema/2006", ADDRESS WANT(OUTA)),
     CASP_DISCO_NO_PROVIDER, 0, 0, NULL},
    /* no request */
    {"", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"   ", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"ada@contoso.test", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"<Autodiscover/>", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"<Autodiscover xmlns=\"" SCHEMAS OUT "\"/>", CASP_DISCO_BAD_REQUEST, 0, 0,
     NULL},
    {"<Other xmlns=\"" SCHEMAS OUT "\"/>", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, ""), CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, ADDRESS), CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, WANT(OUTA)), CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, ADDRESS ADDRESS WANT(OUTA)), CASP_DISCO_BAD_REQUEST, 0, 0,
     NULL},
    {REQUEST(OUT, ADDRESS WANT(OUTA) WANT(MOBA)), CASP_DISCO_BAD_REQUEST, 0, 0,
     NULL},
    {REQUEST(OUT, "<EMailAddress/>" WANT(OUTA)), CASP_DISCO_BAD_REQUEST, 0, 0,
     NULL},
    {REQUEST(OUT, "<EMailAddress>ada</EMailAddress>" WANT(OUTA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, "<EMailAddress>a@b@c</EMailAddress>" WANT(OUTA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, "<EMailAddress>a&#10;@b</EMailAddress>" WANT(OUTA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, "<EMailAddress><b>a@b</b></EMailAddress>" WANT(OUTA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(MOB, "<LegacyDN>/o=C</LegacyDN>" WANT(MOBA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {REQUEST(OUT, ADDRESS WANT(OUTA)) "<more/>", CASP_DISCO_BAD_REQUEST, 0, 0,
     NULL},
    {REQUEST(OUT,
             "<EMailAddress>m\xfc@contoso.test</EMailAddress>" WANT(OUTA)),
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"<?xml version=\"1.0\" encoding=\"ebcdic\"?><Autodiscover/>",
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    /* document types: entities that grow, that are fetched, or neither */
    {"<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;&l;&l;\">]>"
     "<Autodiscover>&m;</Autodiscover>",
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"<!DOCTYPE Autodiscover SYSTEM \"http://127.0.0.1/x.dtd\">"
     "<Autodiscover xmlns=\"" SCHEMAS OUT
     "\"><Request>" ADDRESS WANT(OUTA) "</Request></Autodiscover>",
     CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
    {"<!<!DOCTYPE a><a/>", CASP_DISCO_BAD_REQUEST, 0, 0, NULL},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(requests); i++) {
        casp_disco_ask_t ask;
        casp_disco_error_e e = casp_disco_read(pool, requests[i].body,
                                               strlen(requests[i].body), &ask);
        if (e != requests[i].error) {
            fail_msg("request %d: %d, not %d: %s", (int)i, (int)e,
                     (int)requests[i].error, requests[i].body);
        }
        if (e == CASP_DISCO_OK) {
            assert_int_equal(ask.schema, requests[i].schema);
            assert_int_equal(ask.key.kind, requests[i].kind);
            assert_string_equal(ask.key.value, requests[i].value);
            assert_int_equal(ask.key.len, strlen(requests[i].value));
        }
    }
}

/* Every beginning of a good request is none; nor is one with a zero. */
static void test_cut_off(void **state)
{
    static const char good[] = REQUEST(OUT, ADDRESS WANT(OUTA));
    casp_disco_ask_t ask;

    (void)state;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        char *body = apr_pmemdup(pool, good, sizeof(good));
        assert_int_not_equal(casp_disco_read(pool, good, n, &ask),
                             CASP_DISCO_OK);
        body[n] = '\0';
        assert_int_not_equal(casp_disco_read(pool, body, sizeof(good) - 1,
                                             &ask),
                             CASP_DISCO_OK);
    }
}

static void test_utf16(void **state)
{
    static const char ascii[] =
        "<Autodiscover xmlns=\"" SCHEMAS OUT
        "\"><Request>" ADDRESS WANT(OUTA) "</Request></Autodiscover>";
    static const char *const bodies[] = {ascii, "<!DOCTYPE a><a/>"};

    (void)state;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        size_t n = strlen(bodies[i]);
        char *wide = apr_pcalloc(pool, 2 * n + 2);
        casp_disco_ask_t ask;
        memcpy(wide, "\xff\xfe", 2);
        for (size_t k = 0; k < n; k++) {
            wide[2 * k + 2] = bodies[i][k];
        }
        assert_int_equal(casp_disco_read(pool, wide, 2 * n + 2, &ask),
                         i ? CASP_DISCO_BAD_REQUEST : CASP_DISCO_OK);
    }
}

static void test_big(void **state)
{
    char *body = apr_palloc(pool, CASP_DISCO_MAX + 400);
    const char *tail = "-->" REQUEST(OUT, ADDRESS WANT(OUTA));
    casp_disco_ask_t ask;

    (void)state;
    tail = apr_pstrcat(pool, "--><Autodiscover", strstr(tail, " xmlns"), NULL);
    for (int over = 0; over < 2; over++) {
        size_t n = CASP_DISCO_MAX - strlen(tail) + (size_t)over;
        memset(body, 'x', n);
        memcpy(body, "<!--", 4);
        strcpy(body + n, tail);
        assert_int_equal(casp_disco_read(pool, body, strlen(body), &ask),
                         over ? CASP_DISCO_BAD_REQUEST : CASP_DISCO_OK);
    }
    /* deep */
    for (int i = 0; i < 20000; i++) {
        memcpy(body + 3 * i, "<a>", 3);
    }
    assert_int_equal(casp_disco_read(pool, body, 60000, &ask),
                     CASP_DISCO_BAD_REQUEST);
    /* long words */
    for (size_t n = 318; n < 324; n++) {
        memset(body, 'a', n);
        body[1] = '@';
        body[n] = '\0';
        const char *one = apr_pstrcat(
            pool,
            "<Autodiscover xmlns=\"" SCHEMAS OUT "\"><Request><EMailAddress>",
            body, "</EMailAddress>" WANT(OUTA) "</Request></Autodiscover>",
            NULL);
        assert_int_equal(casp_disco_read(pool, one, strlen(one), &ask),
                         n <= 320 ? CASP_DISCO_OK : CASP_DISCO_BAD_REQUEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),   cmocka_unit_test(test_internal),
        cmocka_unit_test(test_mapi),     cmocka_unit_test(test_methods),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_schemas),  cmocka_unit_test(test_errors),
        cmocka_unit_test(test_host),     cmocka_unit_test(test_requests),
        cmocka_unit_test(test_cut_off),  cmocka_unit_test(test_utf16),
        cmocka_unit_test(test_big),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    make_organisation();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    casp_topology_unref(topology);
    apr_pool_destroy(pool);
    apr_terminate();
    return rc;
}
