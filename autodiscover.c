/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * autodiscover.c: Autodiscover's plain XML, read and written.
 *
 * An answer says the same as the rules do: what this front serves itself is
 * told with this front's name, and where the rules would send people
 * elsewhere, with the ExternalURL there.  So a program that believes the
 * answer is never redirected, and a 2007 mailbox finds its web services at a
 * 2007 server, which is the only way there.
 *
 * A request is a stranger's XML: bounded, without document type, so that no
 * entity can grow or be fetched.  An answer's texts come from a directory:
 * each is made valid UTF-8 and quoted.
 *
 * Must not: look anybody up, or tell an internal name as an external one.
 */

#include "autodiscover.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_xml.h>

#include "candidates.h"
#include "question.h"

#define SCHEMAS "http://schemas.microsoft.com/exchange/autodiscover/"
#define ADDRESS_MAX 320
#define LEGACY_DN_MAX 1024

static const char *const responses[CASP_DISCO_SCHEMAS] = {
    SCHEMAS "outlook/responseschema/2006a",
    SCHEMAS "outlook/responseschema/2006",
    SCHEMAS "mobilesync/responseschema/2006"};
static const char *const requests[] = {SCHEMAS "outlook/requestschema/2006",
                                       SCHEMAS "outlook/requestschema/2006a",
                                       SCHEMAS
                                       "mobilesync/requestschema/2006"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---------------------------------------------------------------- requests */

/* The parser takes no entity declaration, but a document type can name a file
 * without one.  Zeros are passed over: it may be UTF-16. */
static bool has_document_type(const char *body, apr_size_t len)
{
    static const char mark[] = "<!DOCTYPE";
    size_t at = 0;
    for (apr_size_t i = 0; i < len && mark[at] != '\0'; i++) {
        if (body[i] != '\0') {
            at = body[i] == mark[at] ? at + 1 : body[i] == mark[0];
        }
    }
    return mark[at] == '\0';
}

static apr_xml_doc *parse(apr_pool_t *p, const char *body, apr_size_t len)
{
    apr_xml_parser *parser = apr_xml_parser_create(p);
    apr_xml_doc *doc = NULL;
    if (parser == NULL || apr_xml_parser_feed(parser, body, len) != APR_SUCCESS
        || apr_xml_parser_done(parser, &doc) != APR_SUCCESS) {
        return NULL;
    }
    return doc;
}

static const char *space_of(const apr_xml_doc *doc, const apr_xml_elem *e)
{
    return e->ns >= 0 && e->ns < doc->namespaces->nelts
               ? APR_ARRAY_IDX(doc->namespaces, e->ns, const char *)
               : "";
}

/* The only child of this name.  @return false: there are several */
static bool only_child(const apr_xml_elem *of, const char *name,
                       const apr_xml_elem **child)
{
    *child = NULL;
    for (const apr_xml_elem *e = of->first_child; e != NULL; e = e->next) {
        if (e->ns == of->ns && strcmp(e->name, name) == 0) {
            if (*child != NULL) {
                return false;
            }
            *child = e;
        }
    }
    return true;
}

/* An element's text without the space around it.  @return NULL: it has none,
 * or more than text, or too much of it */
static const char *text_of(apr_pool_t *p, const apr_xml_elem *e, size_t most)
{
    char *text = apr_palloc(p, most + 1), *begin = text;
    size_t len = 0;
    if (e == NULL || e->first_child != NULL) {
        return NULL;
    }
    for (const apr_text *t = e->first_cdata.first; t; t = t->next) {
        const char *s = t->text;
        while (len == 0 && apr_isspace(*s)) {
            s++;
        }
        size_t more = strlen(s);
        if (more > most - len) {
            return NULL;
        }
        memcpy(text + len, s, more);
        len += more;
    }
    while (len > 0 && apr_isspace(begin[len - 1])) {
        len--;
    }
    text[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (apr_iscntrl(text[i])) {
            return NULL;
        }
    }
    return len > 0 ? text : NULL;
}

static bool is_address(const char *s)
{
    const char *at = strchr(s, '@');
    return at != NULL && at > s && at[1] != '\0' && strchr(at + 1, '@') == NULL
           && strpbrk(s, " <>\"") == NULL;
}

static bool set_key(casp_disco_ask_t *ask, casp_key_e kind, const char *value)
{
    ask->key.kind = kind;
    ask->key.value = value;
    ask->key.len = strlen(value);
    return true;
}

/* By address, else by LegacyDN, which only Outlook's schema has. */
static bool read_key(apr_pool_t *p, const apr_xml_elem *request,
                     casp_disco_ask_t *ask)
{
    const apr_xml_elem *address, *legacy;
    if (!only_child(request, "EMailAddress", &address)
        || !only_child(request, "LegacyDN", &legacy)) {
        return false;
    }
    if (address != NULL) {
        const char *text = text_of(p, address, ADDRESS_MAX);
        return text != NULL && is_address(text)
               && set_key(ask, CASP_KEY_SMTP, text);
    }
    const char *dn = text_of(p, legacy, LEGACY_DN_MAX);
    return dn != NULL && ask->schema != CASP_DISCO_MOBILESYNC
           && set_key(ask, CASP_KEY_LEGACY_DN, dn);
}

static bool is_known_request(const char *space)
{
    for (size_t i = 0; i < COUNT(requests); i++) {
        if (strcmp(space, requests[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* @return false: no answer is written in such a schema */
static bool read_schema(const char *wanted, casp_disco_ask_t *ask)
{
    for (int i = 0; i < CASP_DISCO_SCHEMAS; i++) {
        if (strcmp(wanted, responses[i]) == 0) {
            ask->schema = (casp_disco_schema_e)i;
            return true;
        }
    }
    return false;
}

casp_disco_error_e casp_disco_read(apr_pool_t *p, const char *body,
                                   apr_size_t len, casp_disco_ask_t *ask)
{
    memset(ask, 0, sizeof(*ask));
    while (len > 0 && apr_isspace(*body)) {
        body++; /* in front of an XML declaration it would be an error */
        len--;
    }
    if (len == 0 || len > CASP_DISCO_MAX || has_document_type(body, len)) {
        return CASP_DISCO_BAD_REQUEST;
    }
    const apr_xml_doc *doc = parse(p, body, len);
    const apr_xml_elem *root = doc != NULL ? doc->root : NULL, *request, *e;
    if (root == NULL || strcmp(root->name, "Autodiscover") != 0
        || *space_of(doc, root) == '\0') {
        return CASP_DISCO_BAD_REQUEST;
    }
    if (!is_known_request(space_of(doc, root))) {
        return CASP_DISCO_NO_PROVIDER;
    }
    if (!only_child(root, "Request", &request) || request == NULL
        || !only_child(request, "AcceptableResponseSchema", &e)) {
        return CASP_DISCO_BAD_REQUEST;
    }
    const char *wanted = text_of(p, e, 200);
    if (wanted == NULL) {
        return CASP_DISCO_BAD_REQUEST;
    }
    if (!read_schema(wanted, ask)) {
        return CASP_DISCO_NO_PROVIDER;
    }
    return read_key(p, request, ask) ? CASP_DISCO_OK : CASP_DISCO_BAD_REQUEST;
}

/* ----------------------------------------------------------------- writing */

#define DEEPEST 8

typedef struct {
    apr_pool_t *p;
    apr_array_header_t *parts; /* const char * */
    const char *within[DEEPEST]; /* names of the elements that are open */
    int depth;
} out_t;

static void put(out_t *o, const char *text)
{
    APR_ARRAY_PUSH(o->parts, const char *) = text;
}

static void put_indent(out_t *o)
{
    static const char spaces[2 * DEEPEST + 1] = "                ";
    put(o, spaces + 2 * (DEEPEST - o->depth));
}

/* The length of the UTF-8 character at s, where XML 1.0 has such a one. */
static size_t character(const unsigned char *s)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
    if (len == 1) {
        return *s >= 0x20 || *s == '\t' ? 1 : 0;
    }
    if (*s < 0xc2 || *s > 0xf4) {
        return 0;
    }
    unsigned c = *s & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    return c >= least[len] && c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff)
                   && c != 0xfffe && c != 0xffff
               ? len
               : 0;
}

static const char *quoted(apr_pool_t *p, const char *text)
{
    char *clean = apr_pstrdup(p, text);
    for (char *s = clean; *s != '\0';) {
        size_t len = character((const unsigned char *)s);
        if (len == 0) {
            *s = '?';
            len = 1;
        }
        s += len;
    }
    return apr_xml_quote_string(p, clean, 1);
}

/* @a attributes: as they are to be written, with a space before; or "" */
static void put_open(out_t *o, const char *name, const char *attributes)
{
    put_indent(o);
    put(o, "<");
    put(o, name);
    put(o, attributes);
    put(o, ">\n");
    o->within[o->depth++] = name;
}

static void put_close(out_t *o)
{
    const char *name = o->within[--o->depth];
    put_indent(o);
    put(o, "</");
    put(o, name);
    put(o, ">\n");
}

/* An element with text; none at all where there is no text. */
static void put_text(out_t *o, const char *name, const char *attributes,
                     const char *text)
{
    if (text == NULL) {
        return;
    }
    put_indent(o);
    put(o, "<");
    put(o, name);
    put(o, attributes);
    put(o, ">");
    put(o, quoted(o->p, text));
    put(o, "</");
    put(o, name);
    put(o, ">\n");
}

static void put_begin(apr_pool_t *p, out_t *o, const char *space)
{
    memset(o, 0, sizeof(*o));
    o->p = p;
    o->parts = apr_array_make(p, 256, sizeof(const char *));
    put(o, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    put_open(o, "Autodiscover",
             " xmlns=\"" SCHEMAS "responseschema/2006\""
             " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\""
             " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"");
    put_open(o, "Response",
             space ? apr_pstrcat(p, " xmlns=\"", space, "\"", NULL) : "");
}

static const char *put_end(out_t *o)
{
    while (o->depth > 0) {
        put_close(o);
    }
    return apr_array_pstrcat(o->p, o->parts, 0);
}

/* ------------------------------------------------------------------ places */

typedef struct {
    apr_pool_t *p;
    const casp_disco_view_t *v;
    casp_home_t home; /* of the mailbox */
    casp_version_e front;
    out_t out;
} answer_t;

/* Where a protocol is found, for this mailbox. */
typedef struct {
    const char *url; /* NULL: nowhere */
    const char *inside; /* the same for the organisation's own network */
    uint32_t auth, inside_auth; /* ways to log on there: CASP_AUTH_* */
} place_t;

static const char *const paths[CASP_PROTO_COUNT] = {
    [CASP_PROTO_OWA] = "/owa",
    [CASP_PROTO_ECP] = "/ecp",
    [CASP_PROTO_EAS] = "/Microsoft-Server-ActiveSync",
    [CASP_PROTO_EWS] = "/EWS/Exchange.asmx",
    [CASP_PROTO_OAB] = "/OAB",
    [CASP_PROTO_RPC] = "/rpc",
    [CASP_PROTO_MAPI] = "/mapi",
    [CASP_PROTO_UM] = "/UnifiedMessaging/Service.asmx"};

/* Does this version have it? */
static bool exists(casp_protocol_e protocol, casp_version_e version)
{
    switch (protocol) {
    case CASP_PROTO_EWS:
    case CASP_PROTO_OAB:
        return version >= CASP_V2007;
    case CASP_PROTO_UM:
        return version == CASP_V2007;
    case CASP_PROTO_ECP:
        return version >= CASP_V2010;
    case CASP_PROTO_MAPI:
        return version >= CASP_V2013;
    default:
        return true;
    }
}

/* Does this front serve such a mailbox itself, whatever ExternalURL there is
 * elsewhere?  The rules' own answer, for those protocols that programs cannot
 * be redirected in. */
static bool stays_here(const answer_t *a, casp_protocol_e protocol)
{
    casp_version_e version = a->home.version;
    if (a->v->redirects) {
        return false;
    }
    if (protocol == CASP_PROTO_EAS && version < a->front
        && a->v->s->eas_redirect >= CASP_EAS_REDIRECT_OFF) {
        return true; /* nobody is sent away with a 451 */
    }
    if (protocol == CASP_PROTO_RPC && version <= CASP_V2007
        && a->front >= CASP_V2010) {
        return true; /* 2007's own Outlook Anywhere is off */
    }
    /* 2013 serves 2010 as its own; 2007's web services it does not. */
    return a->home.site != NULL && a->home.site == a->v->front_site
           && (version == a->front
               || (a->front >= CASP_V2013 && version >= CASP_V2010
                   && version < a->front));
}

static const char *with_path(const answer_t *a, const char *url,
                             casp_protocol_e protocol)
{
    return *casp_url_path(url) != '\0'
               ? url
               : apr_pstrcat(a->p, url, paths[protocol], NULL);
}

/* This front's own ways to log on, as a directory of AD would tell them. */
static uint32_t own_auth(const answer_t *a, casp_protocol_e protocol)
{
    int schemes =
        casp_settings_schemes(a->v->auth, a->v->s->keytab != NULL, protocol);
    return (schemes & CASP_SCHEME_BASIC ? (uint32_t)CASP_AUTH_BASIC : 0)
           | (schemes & CASP_SCHEME_FORMS ? (uint32_t)CASP_AUTH_FBA : 0)
           | (schemes & CASP_SCHEME_NTLM ? (uint32_t)CASP_AUTH_NTLM : 0)
           | (schemes & CASP_SCHEME_NEGOTIATE ? (uint32_t)CASP_AUTH_NEGOTIATE
                                              : 0);
}

static place_t place_of(const answer_t *a, casp_protocol_e protocol)
{
    place_t place = {NULL, NULL, 0, 0};
    const casp_vdir_t *out = NULL, *in = NULL;
    if (!exists(protocol, a->home.version)) {
        return place;
    }
    if (a->home.version >= CASP_V2007) {
        apr_array_header_t *list =
            casp_candidates(a->p, a->v->t, protocol, a->home.version,
                            a->home.site);
        out = casp_candidates_target(list, a->v->by, false);
        in = casp_candidates_target(list, a->v->by, true);
    }
    /* Passwords go there: what AD has by plain http is not handed out. */
    if (out != NULL && casp_url_https(out->external_url)
        && !stays_here(a, protocol)
        && strcasecmp(casp_url_host(a->p, out->external_url), a->v->host)) {
        place.url = with_path(a, out->external_url, protocol);
        place.auth = out->external_auth;
    }
    else if (a->v->s->publish & (1 << (int)protocol)) {
        place.url =
            apr_pstrcat(a->p, "https://", a->v->host, paths[protocol], NULL);
        place.auth = own_auth(a, protocol);
    }
    place.inside = in ? with_path(a, in->internal_url, protocol) : place.url;
    place.inside_auth = in ? in->internal_auth : place.auth;
    return place;
}

/* The ways to log on, in the words of an OWAUrl; "" for none. */
static const char *owa_methods(const answer_t *a, uint32_t auth)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } words[] = {{", Basic", CASP_AUTH_BASIC},
                 {", Fba", CASP_AUTH_FBA},
                 {", Ntlm", CASP_AUTH_NTLM},
                 {", Digest", CASP_AUTH_DIGEST},
                 {", WindowsIntegrated", CASP_AUTH_WINDOWS | CASP_AUTH_KERBEROS
                                             | CASP_AUTH_NEGOTIATE}};
    const char *all = "";
    for (size_t i = 0; i < COUNT(words); i++) {
        if (auth & words[i].bits) {
            all = apr_pstrcat(a->p, all, words[i].name, NULL);
        }
    }
    return *all ? apr_pstrcat(a->p, " AuthenticationMethod=\"", all + 2, "\"",
                              NULL)
                : "";
}

/* The one way that Outlook is to use: what is not Basic was switched on for a
 * reason. */
static const char *rpc_package(uint32_t auth)
{
    return auth & (CASP_AUTH_NEGOTIATE | CASP_AUTH_KERBEROS) ? "Negotiate"
           : auth & (CASP_AUTH_NTLM | CASP_AUTH_WINDOWS)     ? "Ntlm"
                                                             : "Basic";
}

/* ------------------------------------------------------------- the mailbox */

static const char *some(const char *text)
{
    return text != NULL && *text != '\0' ? text : NULL;
}

static const char *address_of(const answer_t *a)
{
    const char *smtp = some(casp_mailbox_text(a->v->mailbox, CASP_MB_SMTP));
    return smtp ? smtp : some(casp_mailbox_text(a->v->mailbox, CASP_MB_UPN));
}

static const char *display_name(const answer_t *a)
{
    const char *name = some(casp_mailbox_text(a->v->mailbox, CASP_MB_DISPLAY));
    return name ? name
                : casp_dn_leaf(a->p,
                               casp_mailbox_text(a->v->mailbox, CASP_MB_DN));
}

/* "GUID@domain": what 2013 has in place of a server. */
static const char *mailbox_id(const answer_t *a)
{
    const char *address = address_of(a);
    const char *at = address ? strrchr(address, '@') : NULL;
    return at == NULL || casp_guid_zero(&a->v->mailbox->mailbox)
               ? NULL
               : apr_pstrcat(a->p,
                             casp_guid_text(a->p, &a->v->mailbox->mailbox), at,
                             NULL);
}

/* What Outlook calls the server, and its DN with another name in it. */
static const char *rpc_server(const answer_t *a, const char **leaf)
{
    const casp_server_t *s = a->home.server;
    const casp_database_t *db = a->home.database;
    const char *id = mailbox_id(a);
    if (a->home.version >= CASP_V2013 && id != NULL) {
        return *leaf = id;
    }
    if (a->home.version == CASP_V2010 && db != NULL && db->array != NULL) {
        const casp_server_t *named =
            strchr(db->array, '.')
                ? NULL
                : casp_topology_server_by_host(a->v->t, db->array);
        *leaf = db->array;
        return named ? named->fqdn : db->array;
    }
    *leaf = NULL;
    return s->fqdn;
}

static const char *server_dn(const answer_t *a, const char *leaf)
{
    const char *dn = a->home.server->legacy_dn;
    const char *last = dn ? strrchr(dn, '/') : NULL;
    return leaf == NULL || last == NULL
               ? dn
               : apr_pstrcat(a->p,
                             apr_pstrmemdup(a->p, dn, (apr_size_t)(last - dn)),
                             "/cn=", leaf, NULL);
}

/* versionNumber in hexadecimal, as AD has it since 2007; before, the build. */
static const char *server_version(const answer_t *a)
{
    const casp_server_t *s = a->home.server;
    unsigned number = (unsigned)s->build;
    if (s->version >= CASP_V2007) {
        number |=
            0x70008000u | (unsigned)s->major << 22 | (unsigned)s->minor << 16;
    }
    return apr_psprintf(a->p, "%08X", number);
}

/* ----------------------------------------------------------------- Outlook */

/* All that an EXCH and an EXPR section have alike. */
static void put_services(answer_t *a, bool inside)
{
    static const struct {
        const char *name, *query;
        casp_version_e since;
    } panels[] = {
        {"EcpUrl-um", "?p=customize/voicemail.aspx&exsvurl=1", CASP_V2010},
        {"EcpUrl-aggr",
         "?p=personalsettings/EmailSubscriptions.slab&exsvurl=1", CASP_V2010},
        {"EcpUrl-mt",
         "PersonalSettings/DeliveryReport.aspx?exsvurl=1&IsOWA=<IsOWA>"
         "&MsgID=<MsgID>&Mbx=<Mbx>",
         CASP_V2010},
        {"EcpUrl-ret", "?p=organize/retentionpolicytags.slab&exsvurl=1",
         CASP_V2010},
        {"EcpUrl-sms", "?p=sms/textmessaging.slab&exsvurl=1", CASP_V2010},
        {"EcpUrl-photo",
         "PersonalSettings/EditAccount.aspx?chgPhoto=1"
         "&exsvurl=1",
         CASP_V2013}};
    place_t ews = place_of(a, CASP_PROTO_EWS);
    place_t oab = place_of(a, CASP_PROTO_OAB);
    place_t um = place_of(a, CASP_PROTO_UM);
    place_t ecp = place_of(a, CASP_PROTO_ECP);
    const char *services = inside ? ews.inside : ews.url;
    const char *book = inside ? oab.inside : oab.url;
    const char *phone = inside ? um.inside : um.url;
    const char *panel = inside ? ecp.inside : ecp.url;
    const casp_guid_t *id = a->home.database ? a->home.database->oab : NULL;
    out_t *o = &a->out;

    if (services != NULL && a->home.version >= CASP_V2010) {
        /* since 2010 a file beside the web services */
        phone = apr_pstrcat(a->p,
                            apr_pstrmemdup(a->p, services,
                                           (apr_size_t)(strrchr(services, '/')
                                                        - services)),
                            "/UM2007Legacy.asmx", NULL);
    }
    put_text(o, "ASUrl", "", services);
    put_text(o, "OOFUrl", "", services);
    put_text(o, "EwsUrl", "", services);
    put_text(o, "UMUrl", "", phone);
    put_text(o, "OABUrl", "",
             book ? apr_pstrcat(a->p, book, "/",
                                id ? casp_guid_text(a->p, id) : "",
                                id ? "/" : "", NULL)
                  : NULL);
    put_text(o, "EcpUrl", "",
             panel ? apr_pstrcat(a->p, panel, "/", NULL) : NULL);
    for (size_t i = 0; panel != NULL && i < COUNT(panels); i++) {
        if (a->home.version >= panels[i].since) {
            put_text(o, panels[i].name, "", panels[i].query);
        }
    }
}

static void put_exch(answer_t *a)
{
    const char *leaf, *server = rpc_server(a, &leaf), *dn = server_dn(a, leaf);
    out_t *o = &a->out;
    put_open(o, "Protocol", "");
    put_text(o, "Type", "", "EXCH");
    put_text(o, "Server", "", server);
    put_text(o, "ServerDN", "", dn);
    put_text(o, "ServerVersion", "", server_version(a));
    put_text(o, "MdbDN", "",
             dn ? apr_pstrcat(a->p, dn, "/cn=Microsoft Private MDB", NULL)
                : NULL);
    put_services(a, true);
    put_close(o);
}

static const char *name_of_host(const answer_t *a, const char *url)
{
    char *host = apr_pstrdup(a->p, casp_url_host(a->p, url));
    host[strcspn(host, *host == '[' ? "]" : ":")] = '\0';
    return *host == '[' ? host + 1 : host;
}

static void put_expr(answer_t *a)
{
    place_t rpc = place_of(a, CASP_PROTO_RPC);
    out_t *o = &a->out;
    put_open(o, "Protocol", "");
    put_text(o, "Type", "", "EXPR");
    if (rpc.url != NULL) {
        const char *host = name_of_host(a, rpc.url);
        put_text(o, "Server", "", host);
        put_text(o, "SSL", "", "On");
        put_text(o, "AuthPackage", "", rpc_package(rpc.auth));
        put_text(o, "CertPrincipalName", "",
                 apr_pstrcat(a->p, "msstd:", host, NULL));
    }
    put_services(a, false);
    put_close(o);
}

static void put_web_side(answer_t *a, const char *name, const char *type,
                         const char *url, const char *methods,
                         const char *services)
{
    out_t *o = &a->out;
    if (url == NULL) {
        return;
    }
    put_open(o, name, "");
    put_text(o, "OWAUrl", methods, apr_pstrcat(a->p, url, "/", NULL));
    if (services != NULL) {
        put_open(o, "Protocol", "");
        put_text(o, "Type", "", type);
        put_text(o, "ASUrl", "", services);
        put_close(o);
    }
    put_close(o);
}

static void put_web(answer_t *a)
{
    place_t owa = place_of(a, CASP_PROTO_OWA);
    place_t ews = place_of(a, CASP_PROTO_EWS);
    if (owa.url == NULL && owa.inside == NULL) {
        return;
    }
    put_open(&a->out, "Protocol", "");
    put_text(&a->out, "Type", "", "WEB");
    put_web_side(a, "Internal", "EXCH", owa.inside,
                 owa_methods(a, owa.inside_auth), ews.inside);
    put_web_side(a, "External", "EXPR", owa.url, owa_methods(a, owa.auth),
                 ews.url);
    put_close(&a->out);
}

static void put_mapi_store(answer_t *a, const char *name, const char *folder,
                           const place_t *mapi, const char *id)
{
    const char *tail = apr_pstrcat(a->p, folder, "?MailboxId=", id, NULL);
    put_open(&a->out, name, "");
    if (mapi->inside != NULL) {
        put_text(&a->out, "InternalUrl", "",
                 apr_pstrcat(a->p, mapi->inside, tail, NULL));
    }
    if (mapi->url != NULL) {
        put_text(&a->out, "ExternalUrl", "",
                 apr_pstrcat(a->p, mapi->url, tail, NULL));
    }
    put_close(&a->out);
}

static void put_mapi(answer_t *a)
{
    place_t mapi = place_of(a, CASP_PROTO_MAPI);
    const char *id = mailbox_id(a);
    if (!a->v->mapi_http || mapi.url == NULL || id == NULL) {
        return;
    }
    put_open(&a->out, "Protocol", " Type=\"mapiHttp\" Version=\"1\"");
    put_mapi_store(a, "MailStore", "/emsmdb/", &mapi, id);
    put_mapi_store(a, "AddressBook", "/nspi/", &mapi, id);
    put_close(&a->out);
}

static void answer_outlook(answer_t *a)
{
    out_t *o = &a->out;
    put_open(o, "User", "");
    put_text(o, "DisplayName", "", display_name(a));
    put_text(o, "LegacyDN", "",
             some(casp_mailbox_text(a->v->mailbox, CASP_MB_LEGACY_DN)));
    put_text(o, "AutoDiscoverSMTPAddress", "", address_of(a));
    put_close(o);
    put_open(o, "Account", "");
    put_text(o, "AccountType", "", "email");
    put_text(o, "Action", "", "settings");
    put_mapi(a);
    put_exch(a);
    put_expr(a);
    put_web(a);
    put_close(o);
}

/* --------------------------------------------------------------- devices */

static void put_device_user(answer_t *a)
{
    out_t *o = &a->out;
    put_text(o, "Culture", "", "en:us");
    put_open(o, "User", "");
    put_text(o, "DisplayName", "", display_name(a));
    put_text(o, "EMailAddress", "", address_of(a));
    put_close(o);
    put_open(o, "Action", "");
}

/* Devices cut the host out between "://" and "/M", and know no other path. */
static bool answer_device(answer_t *a)
{
    place_t eas = place_of(a, CASP_PROTO_EAS);
    out_t *o = &a->out;
    if (eas.url == NULL) {
        return false;
    }
    const char *url =
        apr_pstrcat(a->p, "https://", casp_url_host(a->p, eas.url),
                    paths[CASP_PROTO_EAS], NULL);
    put_device_user(a);
    put_open(o, "Settings", "");
    put_open(o, "Server", "");
    put_text(o, "Type", "", "MobileSync");
    put_text(o, "Url", "", url);
    put_text(o, "Name", "", url);
    return true;
}

/* -------------------------------------------------------------- elsewhere */

/* A mailbox in another organisation: its address there. */
static bool answer_elsewhere(answer_t *a, bool device)
{
    const char *to = casp_mailbox_text(a->v->mailbox, CASP_MB_TARGET);
    const char *from = address_of(a);
    out_t *o = &a->out;
    if (!is_address(to) || (from != NULL && strcasecmp(to, from) == 0)) {
        return false; /* or they would go round in circles */
    }
    if (device) {
        put_device_user(a);
        put_text(o, "Redirect", "", to);
        return true;
    }
    put_open(o, "Account", "");
    put_text(o, "AccountType", "", "email");
    put_text(o, "Action", "", "redirectAddr");
    put_text(o, "RedirectAddr", "", to);
    return true;
}

/* ----------------------------------------------------------------- answers */

const char *casp_disco_host(apr_pool_t *p, const casp_settings_t *s,
                            const char *asked)
{
    const char *url =
        s->external_url ? casp_url_check(p, s->external_url) : NULL;
    if (url == NULL && asked != NULL && strchr(asked, '/') == NULL) {
        url = casp_url_check(p, apr_pstrcat(p, "https://", asked, NULL));
    }
    return url ? casp_url_host(p, url) : NULL;
}

static const char *unplaced(const casp_home_t *home)
{
    return home->server == NULL           ? "database-unknown"
           : home->version == CASP_V_NONE ? "version-unknown"
           : home->version >= CASP_V2007 && home->site == NULL ? "site-unknown"
                                                               : NULL;
}

static void find_home(answer_t *a)
{
    casp_scene_t scene;
    memset(&scene, 0, sizeof(scene));
    scene.s = a->v->s;
    scene.t = a->v->t;
    scene.mailbox = a->v->mailbox;
    casp_question_home(&scene);
    a->home = scene.home;
}

casp_disco_error_e casp_disco_answer(apr_pool_t *p, casp_disco_schema_e schema,
                                     const casp_disco_view_t *view,
                                     const char **xml, const char **why)
{
    answer_t a;
    bool device = schema == CASP_DISCO_MOBILESYNC;
    memset(&a, 0, sizeof(a));
    a.p = p;
    a.v = view;
    a.front = casp_front_version((casp_front_e)view->s->front);
    *xml = *why = NULL;
    put_begin(p, &a.out, responses[schema]);
    if (!(view->mailbox->flags & CASP_MB_MAILBOX)) {
        if (!answer_elsewhere(&a, device)) {
            return CASP_DISCO_NO_ADDRESS;
        }
        *xml = put_end(&a.out);
        return CASP_DISCO_OK;
    }
    find_home(&a);
    if ((*why = unplaced(&a.home)) != NULL) {
        return CASP_DISCO_UNPLACED;
    }
    if (!device) {
        answer_outlook(&a);
    }
    else if (!answer_device(&a)) {
        return CASP_DISCO_NO_PROVIDER; /* ActiveSync is not published */
    }
    *xml = put_end(&a.out);
    return CASP_DISCO_OK;
}

const char *casp_disco_error(apr_pool_t *p, casp_disco_error_e error,
                             apr_time_t now, const char *host)
{
    const char *text = error == CASP_DISCO_NO_ADDRESS
                           ? "The e-mail address cannot be found."
                       : error == CASP_DISCO_NO_PROVIDER
                           ? "There is no provider for the requested schema."
                           : "Invalid Request";
    apr_time_exp_t t;
    unsigned id = 0; /* which front it was, for somebody who compares */
    out_t o;
    for (const char *s = host ? host : ""; *s != '\0'; s++) {
        id = id * 31 + (unsigned char)apr_tolower(*s);
    }
    apr_time_exp_gmt(&t, now);
    put_begin(p, &o, NULL);
    put_open(&o, "Error",
             apr_psprintf(p, " Time=\"%02d:%02d:%02d.%06d\" Id=\"%u\"",
                          t.tm_hour, t.tm_min, t.tm_sec, t.tm_usec, id));
    put_text(&o, "ErrorCode", "", apr_itoa(p, (int)error));
    put_text(&o, "Message", "", text);
    put_indent(&o);
    put(&o, "<DebugData />\n");
    return put_end(&o);
}
