/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * protocol.c: what a URL means, before anything is done with it.
 *
 * A URL is forwarded as the client wrote it, so every server on the way must
 * read it as we did.  Where two readings are possible (decoded once, decoded
 * twice, backslash as separator, "..", %u notation, overlong UTF-8) the URL
 * is refused: what we judged would not be what the backend serves.
 *
 * Must not: look anything up, know settings, or change a URL.
 */

#include "protocol.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#define MAILBOX_MAX 1024 /* bytes of a mailbox named in a URL */
#define DECODE_ROUNDS 4 /* as deep as encodings are looked into */

/* ---------------------------------------------------- virtual directories */

typedef struct {
    const char *name; /* lower case */
    const char *vdir; /* as Exchange's setup spells it */
    casp_protocol_e protocol;
    casp_legacy_e legacy;
    bool never; /* not for anybody outside */
} vdir_t;

static const vdir_t vdirs[] = {
    {"owa", "/owa", CASP_PROTO_OWA, CASP_LEGACY_NONE, false},
    {"ecp", "/ecp", CASP_PROTO_ECP, CASP_LEGACY_NONE, false},
    {"microsoft-server-activesync", "/Microsoft-Server-ActiveSync",
     CASP_PROTO_EAS, CASP_LEGACY_NONE, false},
    {"ews", "/EWS", CASP_PROTO_EWS, CASP_LEGACY_NONE, false},
    {"autodiscover", "/Autodiscover", CASP_PROTO_AUTODISCOVER,
     CASP_LEGACY_NONE, false},
    {"oab", "/OAB", CASP_PROTO_OAB, CASP_LEGACY_NONE, false},
    {"rpc", "/rpc", CASP_PROTO_RPC, CASP_LEGACY_NONE, false},
    {"rpcwithcert", "/RpcWithCert", CASP_PROTO_RPC, CASP_LEGACY_NONE, true},
    {"mapi", "/mapi", CASP_PROTO_MAPI, CASP_LEGACY_NONE, false},
    {"unifiedmessaging", "/UnifiedMessaging", CASP_PROTO_UM, CASP_LEGACY_NONE,
     false},
    {"powershell", "/PowerShell", CASP_PROTO_POWERSHELL, CASP_LEGACY_NONE,
     false},
    {"exchange", "/exchange", CASP_PROTO_LEGACY, CASP_LEGACY_EXCHANGE, false},
    {"public", "/public", CASP_PROTO_LEGACY, CASP_LEGACY_PUBLIC, false},
    {"exchweb", "/exchweb", CASP_PROTO_LEGACY, CASP_LEGACY_EXCHWEB, false},
    {"exadmin", "/exadmin", CASP_PROTO_LEGACY, CASP_LEGACY_EXADMIN, true},
};

/*
 * Folders of OWA itself, from 2007 to 2019: a first segment that is one of
 * these is never somebody's alias.  Files and version folders (ev.owa,
 * 15.1.2507) need no entry, for an alias in /owa is looked for only where
 * there is no dot.
 */
static const char *const owa_folders[] = {
    "auth",         "forms",      "themes",        "scripts",
    "attachments",  "prem",       "premium",       "basic",
    "smime",        "calendar",   "integrated",    "oma",
    "help",         "manifests",  "controls",      "current",
    "bin",          "resources",  "sounds",        "handlers",
    "pages",        "monitoring", "spell",         "webready",
    "webreadyview", "app_themes", "app_code",      "languages",
    "images",       "published",  "configuration", "languageselection",
    "sessiondata",  "ev",         "ping",          "proxy",
    "logoff",       "redir",      "common",        "fonts",
};

static const vdir_t *find_vdir(const char *s, apr_size_t len)
{
    for (size_t i = 0; i < sizeof(vdirs) / sizeof(vdirs[0]); i++) {
        if (strlen(vdirs[i].name) == len
            && strncasecmp(vdirs[i].name, s, len) == 0) {
            return &vdirs[i];
        }
    }
    return NULL;
}

/* The first segment with every kind of separator and path parameter seen as
 * an end, so that a URL that any server could take for ours is ours to
 * refuse. */
static const vdir_t *lenient_vdir(const char *path)
{
    path += strspn(path, "/\\");
    apr_size_t len = strcspn(path, "/\\; ");
    while (len > 0 && path[len - 1] == '.') {
        len--; /* Windows drops dots and blanks at the end of a name */
    }
    return find_vdir(path, len);
}

bool casp_protocol_claims(const char *path)
{
    return path != NULL && path[0] == '/' && lenient_vdir(path) != NULL;
}

/* --------------------------------------------------------------- decoding */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number of n hexadecimal digits, or -1. */
static long hex_number(const char *s, const char *end, int n)
{
    if (end - s < n) {
        return -1;
    }
    long v = 0;
    for (int i = 0; i < n; i++) {
        int digit = hex_value(s[i]);
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static char *put_utf8(char *out, long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    }
    else if (c < 0x800) {
        *out++ = (char)(0xC0 | (c >> 6));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    else {
        *out++ = (char)(0xE0 | (c >> 12));
        *out++ = (char)(0x80 | ((c >> 6) & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

typedef struct {
    char *data;
    apr_size_t len;
    bool broken; /* a percent sign that begins no escape */
    bool best; /* %u of a character that IIS folds to a separator or dot */
} decoded_t;

/* Characters that a best-fit conversion turns into / . \ or %. */
static bool folds(long c)
{
    static const long chars[] = {0xFF0E, 0xFF0F, 0xFF3C, 0xFF05, 0x2024,
                                 0x2044, 0x2215, 0x2216, 0x29F5, 0x29F8};
    for (size_t i = 0; i < sizeof(chars) / sizeof(chars[0]); i++) {
        if (chars[i] == c) {
            return true;
        }
    }
    return false;
}

/* Decode %XX and IIS's %uXXXX once; what is no escape stays. */
static decoded_t decode(apr_pool_t *p, const char *s, apr_size_t len)
{
    decoded_t d = {apr_palloc(p, len + 1), 0, false, false};
    const char *end = s + len;
    char *out = d.data;
    while (s < end) {
        long c;
        if (*s != '%') {
            *out++ = *s++;
        }
        else if ((c = hex_number(s + 1, end, 2)) >= 0) {
            *out++ = (char)c;
            s += 3;
        }
        else if (end - s > 1 && (s[1] == 'u' || s[1] == 'U')
                 && (c = hex_number(s + 2, end, 4)) >= 0) {
            out = put_utf8(out, c); /* three bytes at most for six */
            d.best = d.best || folds(c);
            s += 6;
        }
        else {
            d.broken = true;
            *out++ = *s++;
        }
    }
    *out = '\0';
    d.len = (apr_size_t)(out - d.data);
    return d;
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/*
 * A character spelled with more bytes than it needs, as strict readers refuse
 * and lax ones accept.  Latin-1, which old clients send, is none: there a
 * lead byte of this kind is not followed by a continuation byte.  C0 2F and
 * C0 2E are told apart too, for the first IIS took them for "/" and ".".
 */
static bool is_overlong(const unsigned char *s, apr_size_t len)
{
    for (apr_size_t i = 0; i + 1 < len; i++) {
        unsigned char a = s[i], b = s[i + 1];
        if ((a == 0xC0 || a == 0xC1)
            && (is_continuation(b) || b == '/' || b == '.')) {
            return true;
        }
        if (is_continuation(b)
            && ((a == 0xE0 && b < 0xA0) || (a == 0xF0 && b < 0x90)
                || (a == 0xF8 && b < 0x88) || (a == 0xFC && b < 0x84))) {
            return true;
        }
    }
    return false;
}

static bool has_control(const char *s, apr_size_t len)
{
    for (apr_size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F) {
            return true;
        }
    }
    return false;
}

static bool has_char(const char *s, apr_size_t len, char c)
{
    return len > 0 && memchr(s, c, len) != NULL;
}

/* "." or "..", also as Windows and path parameters disguise them: dots and
 * blanks only, or dots before a semicolon. */
static bool is_dots(const char *s, apr_size_t len)
{
    apr_size_t dots = 0;
    for (apr_size_t i = 0; i < len && s[i] != ';'; i++) {
        if (s[i] == '.') {
            dots++;
        }
        else if (s[i] != ' ') {
            return false;
        }
    }
    return dots > 0;
}

/* Is there such a segment, with slash and backslash as separators? */
static bool has_dots(const char *s, apr_size_t len)
{
    const char *end = s + len;
    while (s <= end) {
        const char *stop = s;
        while (stop < end && *stop != '/' && *stop != '\\') {
            stop++;
        }
        if (is_dots(s, (apr_size_t)(stop - s))) {
            return true;
        }
        s = stop + 1;
    }
    return false;
}

/* ----------------------------------------------------- refusing, by bytes */

/* One raw segment, held against every reading; @a fixed: the segment decides
 * about routing and may hide no separator. */
static const char *refuse_segment(apr_pool_t *p, const char *s, apr_size_t len,
                                  bool fixed)
{
    if (has_control(s, len)) {
        return "url-characters";
    }
    if (is_dots(s, len) || has_char(s, len, '\\')) {
        return "url-traversal";
    }
    decoded_t once = decode(p, s, len);
    if (once.broken || once.best
        || is_overlong((const unsigned char *)once.data, once.len)) {
        return "url-encoding";
    }
    decoded_t deep = once;
    bool differs = false;
    for (int i = 0; i < DECODE_ROUNDS; i++) {
        if (has_control(deep.data, deep.len)) {
            return "url-characters";
        }
        if (has_char(deep.data, deep.len, '\\')
            || has_dots(deep.data, deep.len)) {
            return "url-traversal";
        }
        decoded_t next = decode(p, deep.data, deep.len);
        if (next.len == deep.len) {
            break;
        }
        differs = true;
        deep = next;
    }
    if (differs || (fixed && has_char(once.data, once.len, '/'))) {
        return "url-encoding";
    }
    return NULL;
}

static const char *refuse_path(apr_pool_t *p, const char *path)
{
    int n = 0;
    for (const char *s = path; *s == '/'; n++) {
        s++;
        apr_size_t len = strcspn(s, "/");
        /* A doubled slash before or behind the directory: one server takes
         * it away, another sees an empty segment. */
        if (len == 0 && n < 2 && s[0] == '/') {
            return "url-traversal";
        }
        const char *why = refuse_segment(p, s, len, n < 2);
        if (why != NULL) {
            return why;
        }
        if (n == 0 && has_char(s, len, ';')) {
            return "url-encoding";
        }
        s += len;
    }
    return NULL;
}

/* --------------------------------------------------- refusing, by meaning */

/* Text in lower case and decoded to the end, for looking for words. */
static const char *plain_text(apr_pool_t *p, const char *s)
{
    decoded_t d = decode(p, s, strlen(s));
    for (int i = 0; i < DECODE_ROUNDS; i++) {
        decoded_t next = decode(p, d.data, d.len);
        if (next.len == d.len) {
            break;
        }
        d = next;
    }
    for (apr_size_t i = 0; i < d.len; i++) {
        d.data[i] = d.data[i] == '\0' ? ' ' : (char)apr_tolower(d.data[i]);
    }
    return d.data;
}

static bool has_word(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strstr(text, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* A segment's length as Windows sees it: dots and blanks at the end go, and
 * what a path parameter or a stream's name adds. */
static apr_size_t bare_length(const char *segment)
{
    apr_size_t len = strcspn(segment, "/;:");
    while (len > 0 && (segment[len - 1] == '.' || segment[len - 1] == ' ')) {
        len--;
    }
    return len;
}

static bool is_one_of(const char *segment, const char *const *names, size_t n)
{
    apr_size_t len = bare_length(segment);
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], segment, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Is a segment of this plain path one of these names? */
static bool has_segment(const char *path, const char *const *names, size_t n)
{
    while (*path != '\0') {
        path += strspn(path, "/");
        if (is_one_of(path, names, n)) {
            return true;
        }
        path += strcspn(path, "/");
    }
    return false;
}

/*
 * Autodiscover was the door to other directories (2021, 2022): its own URLs
 * never speak of them, in path or query.
 */
static bool autodiscover_smuggles(const char *rest, const char *query)
{
    static const char *const words[] = {
        "powershell",
        "/mapi",
        "/ews",
        "/owa",
        "/ecp",
        "/oab",
        "/rpc",
        "/api/",
        "x-rps-cat",
        "serializedsecuritycontext",
        "/microsoft-server-activesync",
        "email=autodiscover",
    };
    const size_t n = sizeof(words) / sizeof(words[0]);
    return has_word(rest, words, n) || has_word(query, words, n)
           || query[0] == '@';
}

/* Pages that only Exchange servers ask of each other, and attack shapes. */
static bool is_forbidden(apr_pool_t *p, const casp_url_t *url)
{
    static const char *const inner[] = {
        "proxylogon.owa", "proxylogon.ecp", "ping.owa",
        "powershell",     "x-rps-cat",      "healthcheck.htm",
    };
    static const char *const health[] = {"healthcheck.htm"};
    static const char *const owa[] = {"integrated"};
    static const char *const eas[] = {"proxy"};
    static const char *const eas_query[] = {"cmd=proxylogin"};
    const char *rest = plain_text(p, url->rest);
    if (url->protocol == CASP_PROTO_LEGACY) {
        /* below the first level are names of folders and messages: there
         * anything goes */
        return is_one_of(rest + strspn(rest, "/"), health, 1);
    }
    const char *query = url->query ? plain_text(p, url->query) : "";
    if (has_segment(rest, inner, sizeof(inner) / sizeof(inner[0]))) {
        return true;
    }
    switch (url->protocol) {
    case CASP_PROTO_OWA:
        return has_segment(rest, owa, 1);
    case CASP_PROTO_EAS:
        return has_segment(rest, eas, 1) || has_word(query, eas_query, 1);
    case CASP_PROTO_AUTODISCOVER:
        return autodiscover_smuggles(rest, query);
    default:
        return false;
    }
}

/* ------------------------------------------------------- the named mailbox */

static bool is_utf8(const unsigned char *s, apr_size_t len)
{
    apr_size_t i = 0;
    while (i < len) {
        int more = s[i] < 0x80             ? 0
                   : (s[i] & 0xE0) == 0xC0 ? 1
                   : (s[i] & 0xF0) == 0xE0 ? 2
                   : (s[i] & 0xF8) == 0xF0 ? 3
                                           : -1;
        if (more < 0 || i + (apr_size_t)more >= len) {
            return false;
        }
        i++;
        while (more-- > 0) {
            if (!is_continuation(s[i++])) {
                return false;
            }
        }
    }
    return true;
}

/* As logon names are treated: what is no UTF-8 is Latin-1. */
static const char *to_utf8(apr_pool_t *p, const decoded_t *d)
{
    if (is_utf8((const unsigned char *)d->data, d->len)) {
        return d->data;
    }
    char *text = apr_palloc(p, d->len * 2 + 1);
    char *out = text;
    for (apr_size_t i = 0; i < d->len; i++) {
        out = put_utf8(out, (unsigned char)d->data[i]);
    }
    *out = '\0';
    return text;
}

static bool is_owa_folder(const char *name)
{
    for (size_t i = 0; i < sizeof(owa_folders) / sizeof(owa_folders[0]); i++) {
        if (strcasecmp(owa_folders[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" before the @, as 2013 and later
 * write a mailbox. */
static bool is_guid(const char *s, apr_size_t len)
{
    if (len != 36) {
        return false;
    }
    for (apr_size_t i = 0; i < len; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? s[i] != '-' : hex_value(s[i]) < 0) {
            return false;
        }
    }
    return true;
}

/* An address, a GUID before an @, or false where neither side is empty. */
static bool set_address(apr_pool_t *p, casp_url_t *url, const char *name)
{
    const char *at = strrchr(name, '@');
    if (at == name || at[1] == '\0') {
        return false;
    }
    if (is_guid(name, (apr_size_t)(at - name))) {
        url->mailbox = apr_pstrmemdup(p, name, (apr_size_t)(at - name));
        url->mailbox_kind = CASP_KEY_GUID;
    }
    else {
        url->mailbox = name;
        url->mailbox_kind = CASP_KEY_SMTP;
    }
    return true;
}

/* "guid@domain" with a port behind it, or nothing: true where it is one. */
static bool set_guid(apr_pool_t *p, casp_url_t *url, const char *s)
{
    apr_size_t len = strcspn(s, "@");
    if (s[len] != '@' || !is_guid(s, len)) {
        return false;
    }
    url->mailbox = apr_pstrmemdup(p, s, len);
    url->mailbox_kind = CASP_KEY_GUID;
    return true;
}

/*
 * From 2013 on Outlook's endpoint is a mailbox: /mapi/emsmdb/?MailboxId=guid@
 * domain, /rpc/rpcproxy.dll?guid@domain:6001.  A hint where the mailbox lives;
 * servers' names and archives tell nothing.
 */
static void read_endpoint(apr_pool_t *p, casp_url_t *url)
{
    static const char key[] = "mailboxid=";
    const apr_size_t n = sizeof(key) - 1;
    if (url->query == NULL) {
        return;
    }
    decoded_t d = decode(p, url->query, strlen(url->query));
    const char *s = d.data;
    if (url->protocol == CASP_PROTO_RPC) {
        (void)set_guid(p, url, s);
        return;
    }
    while (s != NULL && strncasecmp(s, key, n) != 0) {
        s = strchr(s, '&');
        s = s ? s + 1 : NULL;
    }
    if (s != NULL) {
        (void)set_guid(p, url, s + n);
    }
}

/*
 * Explicit logon.  /owa and /ecp: a first segment with an @; in /owa also a
 * bare alias, where the segment has no dot and is no folder of OWA.
 * /exchange: the first segment, whatever it is.
 */
static void read_mailbox(apr_pool_t *p, casp_url_t *url)
{
    if (url->protocol == CASP_PROTO_MAPI || url->protocol == CASP_PROTO_RPC) {
        read_endpoint(p, url);
        return;
    }
    if (url->protocol != CASP_PROTO_OWA && url->protocol != CASP_PROTO_ECP
        && url->legacy != CASP_LEGACY_EXCHANGE) {
        return;
    }
    const char *s = url->rest + strspn(url->rest, "/");
    apr_size_t len = strcspn(s, "/");
    if (len == 0) {
        return;
    }
    decoded_t d = decode(p, s, len);
    const char *name = to_utf8(p, &d);
    bool address = strchr(name, '@') != NULL;
    if (!address && url->protocol == CASP_PROTO_ECP) {
        return;
    }
    if (!address && url->protocol == CASP_PROTO_OWA
        && (strchr(name, '.') != NULL || is_owa_folder(name))) {
        return;
    }
    if (strlen(name) > MAILBOX_MAX
        || (address && !set_address(p, url, name))) {
        url->refused = "url-characters";
        return;
    }
    if (!address) {
        url->mailbox = name;
        url->mailbox_kind = CASP_KEY_ALIAS;
    }
}

/* ---------------------------------------------------------------- reading */

/* The path of a request target; an absolute URI loses scheme and host. */
static const char *target_path(const char *target)
{
    if (target[0] == '/') {
        return target;
    }
    const char *host = strstr(target, "://");
    if (host == NULL || !apr_isalpha(target[0])
        || strcspn(target, "/?") < (size_t)(host - target)) {
        return NULL;
    }
    host += 3;
    host += strcspn(host, "/?#");
    return *host == '/' ? host : "/";
}

/* Take "." and ".." away as a server would that reads them. */
static const char *collapse(apr_pool_t *p, const char *path)
{
    apr_array_header_t *parts = apr_array_make(p, 8, sizeof(const char *));
    char *copy = apr_pstrdup(p, path);
    char *last = NULL;
    for (char *part = apr_strtok(copy, "/\\", &last); part != NULL;
         part = apr_strtok(NULL, "/\\", &last)) {
        part[strcspn(part, ";")] = '\0';
        if (strcmp(part, "..") == 0) {
            (void)apr_array_pop(parts);
        }
        else if (strcmp(part, ".") != 0 && part[0] != '\0') {
            APR_ARRAY_PUSH(parts, const char *) = part;
        }
    }
    return apr_pstrcat(p, "/", apr_array_pstrcat(p, parts, '/'), NULL);
}

/* The directory of a path as written, or as any lax reader would see it. */
static const vdir_t *read_vdir(apr_pool_t *p, const char *path,
                               apr_size_t *len, bool *lax)
{
    const char *s = path + 1;
    *len = strcspn(s, "/");
    decoded_t d = decode(p, s, *len);
    const vdir_t *v = find_vdir(d.data, d.len);
    *lax = v == NULL;
    if (v == NULL) {
        v = lenient_vdir(plain_text(p, path));
    }
    if (v == NULL) {
        v = lenient_vdir(collapse(p, plain_text(p, path)));
    }
    return v;
}

void casp_protocol_parse(apr_pool_t *p, const char *target, casp_url_t *url)
{
    memset(url, 0, sizeof(*url));
    url->vdir = url->path = url->rest = "";
    const char *path = target ? target_path(target) : NULL;
    if (path == NULL) {
        return;
    }
    const char *hash = strchr(path, '#'); /* no client sends one: cut it off*/
    path = apr_pstrmemdup(p, path,
                          hash ? (apr_size_t)(hash - path) : strlen(path));
    const char *query = strchr(path, '?');
    if (query != NULL) {
        url->query = query + 1;
        path = apr_pstrmemdup(p, path, (apr_size_t)(query - path));
    }
    url->path = path;
    apr_size_t len;
    bool lax;
    const vdir_t *v = read_vdir(p, path, &len, &lax);
    if (v == NULL) {
        return;
    }
    url->protocol = v->protocol;
    url->legacy = v->legacy;
    url->vdir = v->vdir;
    url->rest = lax ? "" : path + 1 + len;
    url->refused = refuse_path(p, path);
    if (url->refused == NULL && url->query != NULL
        && has_control(url->query, strlen(url->query))) {
        url->refused = "url-characters";
    }
    if (url->refused == NULL && lax) {
        url->refused = "url-encoding";
    }
    if (url->refused == NULL && (v->never || is_forbidden(p, url))) {
        url->refused = "url-forbidden";
    }
    if (url->refused == NULL) {
        read_mailbox(p, url);
    }
}

/* Nothing of it but the protocol is looked at. */
bool casp_protocol_mail(const char *target, casp_url_t *url)
{
    static const struct {
        const char *scheme;
        casp_protocol_e protocol;
    } schemes[] = {{"imap://", CASP_PROTO_IMAP4},
                   {"imap4://", CASP_PROTO_IMAP4},
                   {"pop3://", CASP_PROTO_POP3},
                   {"smtp://", CASP_PROTO_SMTP}};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(target, schemes[i].scheme, strlen(schemes[i].scheme))
            == 0) {
            memset(url, 0, sizeof(*url));
            url->vdir = url->path = url->rest = "";
            url->protocol = schemes[i].protocol;
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------ page or not */

/* Does a list of media ranges take HTML?  A range of all types does: curl
 * and old browsers send nothing else. */
static bool takes_html(const char *accept)
{
    return accept == NULL || strstr(accept, "text/html") != NULL
           || strstr(accept, "text/*") != NULL
           || strstr(accept, "application/xhtml+xml") != NULL
           || strstr(accept, "*/*") != NULL;
}

/* Is this parameter in the query? */
static bool has_parameter(const char *query, const char *parameter)
{
    apr_size_t len = strlen(parameter);
    while (query != NULL) {
        if (strncasecmp(query, parameter, len) == 0
            && (query[len] == '\0' || query[len] == '&')) {
            return true;
        }
        query = strchr(query, '&');
        query = query ? query + 1 : NULL;
    }
    return false;
}

bool casp_protocol_page_load(const char *method, const apr_table_t *headers,
                             const casp_url_t *url)
{
    /* "Translate" says that a WebDAV client wants the thing itself. */
    static const char *const script[] = {"X-Requested-With", "Translate",
                                         "X-OWA-CANARY", "X-OWA-ActionName"};
    if (method == NULL
        || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
        return false;
    }
    if (has_parameter(url->query, "oeh=1")) {
        return false;
    }
    if (headers == NULL) {
        return true;
    }
    for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
        if (apr_table_get(headers, script[i]) != NULL) {
            return false;
        }
    }
    const char *mode = apr_table_get(headers, "Sec-Fetch-Mode");
    if (mode != NULL && strcasecmp(mode, "navigate") != 0) {
        return false;
    }
    return takes_html(apr_table_get(headers, "Accept"));
}

bool casp_protocol_webdav(const char *method)
{
    static const char *const methods[] = {
        "PROPFIND",  "PROPPATCH",  "MKCOL",  "COPY",      "MOVE",
        "LOCK",      "UNLOCK",     "SEARCH", "SUBSCRIBE", "UNSUBSCRIBE",
        "POLL",      "NOTIFY",     "BCOPY",  "BMOVE",     "BDELETE",
        "BPROPFIND", "BPROPPATCH", "PUT",    "DELETE",    "X-MS-ENUMATTS",
    };
    if (method == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i], method) == 0) {
            return true;
        }
    }
    return false;
}
