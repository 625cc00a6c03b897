/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fba_form.c: forms-based authentication, but for its cookie.  Which URLs are
 * the logon's own, what a posted logon says and where it may lead, and the
 * fields of the form that carries a logon to another front.
 *
 * All of it is read before anybody is known, and half of it holds a password.
 * So a body is measured, cut and decoded where it lies, only what is accepted
 * is copied, and the body is wiped on every way out.  A destination is the
 * classic open redirection: it is cut down to a path of this host, and what
 * any browser might read in another way is refused rather than repaired.
 *
 * Must not: know settings, sessions or users, log, or keep a password
 * anywhere but in the logon that it returns.
 */

#include "fba_form.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/asn1.h>

#define PATH_MAX_BYTES 1024 /* a logon URL is no longer than this */
#define DESTINATION_MAX 8192
#define ORIGINAL_MAX 4096
/* httpd and IIS take request lines of 8 and 16 KiB; percent signs and slashes
 * become three times as long in a query. */
#define ORIGINAL_ESCAPED_MAX 7168
#define FIELDS_MAX 64

#define HOME "/owa/"

/* --------------------------------------------------------------- decoding */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_control(int c)
{
    return (c >= 0 && c < 0x20) || c == 0x7f;
}

/* The next byte of an encoded text, decoded once; -1 where an escape is
 * broken or means NUL, which ends a string in C and nowhere else. */
static int take(const char **s, const char *end, bool plus)
{
    char c = *(*s)++;
    if (plus && c == '+') {
        return ' ';
    }
    if (c != '%') {
        return c ? (unsigned char)c : -1;
    }
    int high = end - *s < 2 ? -1 : hex_value((*s)[0]);
    int low = high < 0 ? -1 : hex_value((*s)[1]);
    if (low < 0 || high + low == 0) {
        return -1;
    }
    *s += 2;
    return high * 16 + low;
}

/* Decode into out, which may be the text itself. @return false: broken */
static bool undo(char *out, const char *s, apr_size_t *len, bool plus)
{
    const char *end = s + *len;
    apr_size_t n = 0;
    while (s < end) {
        int c = take(&s, end, plus);
        if (c < 0) {
            return false;
        }
        out[n++] = (char)c;
    }
    *len = n;
    return true;
}

/* Is this encoded text that word (given in lower case)?  Without a copy: a
 * stray piece of a password may stand where a name should. */
static bool is_word(const char *s, apr_size_t len, const char *word)
{
    const char *end = s + len;
    while (s < end) {
        int c = take(&s, end, true);
        if (c < 0 || *word == '\0' || apr_tolower(c) != *word++) {
            return false;
        }
    }
    return *word == '\0';
}

/* A "name=value" of a query or a form, not decoded yet. */
typedef struct {
    const char *name, *value;
    apr_size_t name_len, value_len;
} pair_t;

static bool next_pair(const char **s, const char *end, pair_t *pair)
{
    while (*s < end && **s == '&') {
        (*s)++;
    }
    if (*s == end) {
        return false;
    }
    const char *stop = memchr(*s, '&', (apr_size_t)(end - *s));
    stop = stop ? stop : end;
    const char *equals = memchr(*s, '=', (apr_size_t)(stop - *s));
    pair->name = *s;
    pair->name_len = (apr_size_t)((equals ? equals : stop) - *s);
    pair->value = equals ? equals + 1 : stop;
    pair->value_len = (apr_size_t)(stop - pair->value);
    *s = stop;
    return true;
}

/* A small number in plain digits; what is none counts as 0. */
static int number(const char *s, apr_size_t len)
{
    int n = 0;
    if (len > 9) {
        return 0;
    }
    for (apr_size_t i = 0; i < len; i++) {
        if (!apr_isdigit(s[i])) {
            return 0;
        }
        n = n * 10 + (s[i] - '0');
    }
    return n;
}

/* ------------------------------------------------------------------- URLs */

static bool ends_with(const char *s, const char *end)
{
    apr_size_t len = strlen(s), n = strlen(end);
    return len >= n && strcmp(s + len - n, end) == 0;
}

static bool is_post(const char *path)
{
    return ends_with(path, "/auth.owa") || ends_with(path, "/owaauth.dll");
}

/* Below /owa and /ecp; both have the same pages. */
static casp_forms_url_e modern_url(const char *path)
{
    static const struct {
        const char *path;
        casp_forms_url_e what;
    } urls[] = {
        {"/auth/logon.aspx", CASP_FORMS_PAGE},
        {"/auth/flogon.js", CASP_FORMS_SCRIPT},
        {"/logoff.owa", CASP_FORMS_LOGOFF},
        {"/logoff.aspx", CASP_FORMS_LOGOFF},
        {"/auth/logoff.aspx", CASP_FORMS_LOGOFF},
        {"/auth/signout.aspx", CASP_FORMS_LOGOFF},
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        if (strcmp(urls[i].path, path) == 0) {
            return urls[i].what;
        }
    }
    return CASP_FORMS_NONE;
}

/* Below /exchweb, where 2003 keeps its logon, one folder per language. */
static casp_forms_url_e exchweb_url(const char *path)
{
    if (strncmp(path, "/bin/", 5) != 0) {
        return CASP_FORMS_NONE;
    }
    path += 4;
    bool auth = strncmp(path, "/auth/", 6) == 0;
    if (auth && strstr(path + 6, "logoff") != NULL) {
        return CASP_FORMS_LOGOFF;
    }
    path += auth ? 5 : 0;
    const char *slash = strchr(path + 1, '/'); /* behind the language */
    if (auth
        && (strcmp(path, "/owalogon.asp") == 0
            || (slash && strcmp(slash, "/owalogon.asp") == 0)
            || (slash && strcmp(slash, "/logon.asp") == 0))) {
        return CASP_FORMS_PAGE;
    }
    return !auth && slash && strcmp(slash, "/logoff.asp") == 0
               ? CASP_FORMS_LOGOFF
               : CASP_FORMS_NONE;
}

/* 2003 signs out by a command that any folder's URL takes. */
static bool commands_logoff(const char *query)
{
    pair_t pair;
    if (query == NULL) {
        return false;
    }
    for (const char *end = query + strlen(query);
         next_pair(&query, end, &pair);) {
        if (is_word(pair.name, pair.name_len, "cmd")
            && is_word(pair.value, pair.value_len, "logoff")) {
            return true;
        }
    }
    return false;
}

/* The path behind the directory, decoded once and in lower case. */
static bool plain_path(const casp_url_t *url, char *path)
{
    apr_size_t len = strlen(url->rest);
    if (len > PATH_MAX_BYTES || !undo(path, url->rest, &len, false)) {
        return false;
    }
    path[len] = '\0';
    for (char *c = path; *c; c++) {
        *c = (char)apr_tolower(*c);
    }
    return true;
}

casp_forms_url_e casp_forms_url(const casp_url_t *url)
{
    char text[PATH_MAX_BYTES + 1];
    const char *path = text;

    if (url->refused != NULL) {
        return CASP_FORMS_NONE;
    }
    if (url->legacy == CASP_LEGACY_EXCHANGE
        || url->legacy == CASP_LEGACY_PUBLIC) {
        return commands_logoff(url->query) ? CASP_FORMS_LOGOFF
                                           : CASP_FORMS_NONE;
    }
    bool modern =
        url->protocol == CASP_PROTO_OWA || url->protocol == CASP_PROTO_ECP;
    if ((!modern && url->legacy != CASP_LEGACY_EXCHWEB)
        || !plain_path(url, text)) {
        return CASP_FORMS_NONE;
    }
    if (is_post(path)) {
        return CASP_FORMS_POST;
    }
    if (!modern) {
        return exchweb_url(path);
    }
    if (url->mailbox != NULL && *path == '/') {
        path += 1 + strcspn(path + 1, "/"); /* who signs out of whose */
    }
    return modern_url(path);
}

const char *casp_forms_page_url(apr_pool_t *p, bool https, const char *host,
                                const char *original, casp_logon_why_e why)
{
    const char *base =
        apr_pstrcat(p, https ? "https://" : "http://", host, NULL);
    const char *back = NULL;

    if (original != NULL && strlen(original) <= ORIGINAL_MAX) {
        back = apr_pescape_urlencoded(p, original);
    }
    if (back == NULL || strlen(back) > ORIGINAL_ESCAPED_MAX) {
        back = apr_pescape_urlencoded(p, apr_pstrcat(p, base, HOME, NULL));
    }
    return apr_psprintf(p, "%s" CASP_FORMS_PAGE_PATH "?url=%s&reason=%d", base,
                        back, (int)why);
}

/* ------------------------------------------------------ where it may lead */

typedef struct {
    const char *name; /* with the brackets of an IPv6 address */
    apr_size_t len;
    int port; /* 0: none */
} authority_t;

static bool is_host(const char *s, apr_size_t len, bool six)
{
    for (apr_size_t i = 0; i < len; i++) {
        bool fits = six ? apr_isxdigit(s[i]) || s[i] == ':' || s[i] == '.'
                        : apr_isalnum(s[i]) || strchr("-._", s[i]) != NULL;
        if (s[i] == '\0' || !fits) {
            return false;
        }
    }
    return len > 0;
}

/* name[:port] and nothing else: user info, blanks, escapes and empty ports
 * are where readers differ. */
static bool read_authority(const char *s, apr_size_t len, authority_t *a)
{
    const char *end = s + len;
    bool six = len > 0 && *s == '[';
    const char *stop = len > 0 ? memchr(s, six ? ']' : ':', len) : NULL;

    if (six && stop == NULL) {
        return false;
    }
    a->name = s;
    a->port = 0;
    a->len = (apr_size_t)((stop ? stop + (six ? 1 : 0) : end) - s);
    if (six ? !is_host(s + 1, a->len - 2, true) : !is_host(s, a->len, false)) {
        return false;
    }
    s += a->len;
    if (s == end) {
        return true;
    }
    if (*s++ != ':' || end - s > 5) {
        return false;
    }
    a->port = number(s, (apr_size_t)(end - s));
    return a->port > 0 && a->port <= 65535;
}

/* A name that ends in a dot is the same host to DNS, and another one to
 * cookies and certificates: a client may say it, a destination may not. */
static bool has_dot(const authority_t *a)
{
    return a->len > 1 && a->name[a->len - 1] == '.';
}

static bool same_host(authority_t theirs, int standard, authority_t ours)
{
    ours.len -= has_dot(&ours) ? 1 : 0;
    if (has_dot(&theirs) || theirs.len != ours.len
        || apr_cstr_casecmpn(theirs.name, ours.name, ours.len) != 0) {
        return false;
    }
    if (theirs.port == ours.port) {
        return true;
    }
    /* How the client's own connection came in is not known here. */
    bool plain = ours.port == 0 || ours.port == 80 || ours.port == 443;
    return plain && (theirs.port == 0 || theirs.port == standard);
}

/* What follows the authority of a URL on this host; NULL: another's. */
static const char *own_path(const char *url, const char *host)
{
    authority_t theirs, ours;
    int standard;

    if (apr_cstr_casecmpn(url, "https://", 8) == 0) {
        standard = 443;
        url += 8;
    }
    else if (apr_cstr_casecmpn(url, "http://", 7) == 0) {
        standard = 80;
        url += 7;
    }
    else {
        return NULL;
    }
    apr_size_t len = strcspn(url, "/?#");
    if (host == NULL || !read_authority(url, len, &theirs)
        || !read_authority(host, strlen(host), &ours)
        || !same_host(theirs, standard, ours)) {
        return NULL;
    }
    return url + len;
}

/* Does the path say anything that one reader takes for a host, or for a line
 * of its own?  As written and decoded once, as the next server does. */
static bool is_plain_path(const char *s, apr_size_t len)
{
    const char *end = s + len;
    int before = 0;

    while (s < end) {
        const char *at = s;
        int c = take(&s, end, false);
        if (c < 0) {
            if (end - at > 2 && at[1] == '0' && at[2] == '0') {
                return false; /* NUL; what is no escape at all may stay */
            }
            c = '%';
        }
        if (is_control(c) || c == '\\' || (c == '/' && before == '/')) {
            return false;
        }
        before = c;
    }
    return true;
}

static bool hides_controls(const char *s, apr_size_t len)
{
    for (apr_size_t i = 0; i + 2 < len; i++) {
        int high = s[i] == '%' ? hex_value(s[i + 1]) : -1;
        int low = high < 0 ? -1 : hex_value(s[i + 2]);
        if (low >= 0 && is_control(high * 16 + low)) {
            return true;
        }
    }
    return false;
}

/* Bytes that a request line and a Location header do not hold are escaped, as
 * a browser would do it. */
static const char *as_target(apr_pool_t *p, const char *s, apr_size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    char *target = apr_palloc(p, 1 + len * 3 + 1);
    char *out = target;

    if (len == 0 || *s != '/') {
        *out++ = '/';
    }
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>^`{|}", c) != NULL) {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
        else {
            *out++ = (char)c;
        }
    }
    *out = '\0';
    return target;
}

const char *casp_logon_destination(apr_pool_t *p, const char *destination,
                                   const char *host, const char **target)
{
    static const char bad[] = "bad-destination";

    *target = NULL;
    if (destination == NULL || strlen(destination) > DESTINATION_MAX) {
        return bad;
    }
    for (const char *c = destination; *c; c++) {
        if (is_control((unsigned char)*c) || *c == '\\') {
            return bad;
        }
    }
    const char *path =
        *destination == '/' ? destination : own_path(destination, host);
    if (path == NULL) {
        return bad;
    }
    apr_size_t len = strcspn(path, "#");
    if (!is_plain_path(path, strcspn(path, "?#"))
        || hides_controls(path, len)) {
        return bad;
    }
    const char *clean = as_target(p, path, len);
    if (strlen(clean) > DESTINATION_MAX) {
        return bad;
    }
    *target = clean;
    return NULL;
}

/* ---------------------------------------------------------- the logon page */

/* The destination that a page's url= names, if it is one. */
static const char *page_target(apr_pool_t *p, const pair_t *pair,
                               const char *host)
{
    char *text = apr_palloc(p, pair->value_len + 1);
    apr_size_t len = pair->value_len;
    const char *target = NULL;

    if (undo(text, pair->value, &len, true)) {
        text[len] = '\0';
        (void)casp_logon_destination(p, text, host, &target);
    }
    return target;
}

/* Without a trailing dot, or the page's own POST would be refused. */
static const char *plain_host(apr_pool_t *p, const char *host)
{
    authority_t a;
    if (!read_authority(host, strlen(host), &a) || !has_dot(&a)) {
        return host;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, a.name, a.len - 1), a.name + a.len,
                       NULL);
}

void casp_forms_page_read(apr_pool_t *p, const casp_url_t *url, bool https,
                          const char *host, casp_logon_page_t *page)
{
    const char *target = NULL, *s = url->query ? url->query : "";
    const char *end = s + strlen(s);
    pair_t pair;

    page->why = CASP_WHY_NONE;
    page->replace = false;
    while (next_pair(&s, end, &pair)) {
        if (is_word(pair.name, pair.name_len, "url")) {
            target = target ? target : page_target(p, &pair, host);
        }
        else if (is_word(pair.name, pair.name_len, "reason")) {
            int why = number(pair.value, pair.value_len);
            page->why = why <= CASP_WHY_PASSWORD_CHANGED
                            ? (casp_logon_why_e)why
                            : CASP_WHY_NONE;
        }
        else if (is_word(pair.name, pair.name_len, "replacecurrent")) {
            page->replace = is_word(pair.value, pair.value_len, "1");
        }
    }
    page->destination =
        apr_pstrcat(p, https ? "https://" : "http://", plain_host(p, host),
                    target ? target : HOME, NULL);
}

/* ---------------------------------------------------------------- the POST */

enum {
    F_DESTINATION,
    F_FLAGS,
    F_USERNAME,
    F_PASSWORD,
    F_REQUIRED,
    F_TRUSTED = F_REQUIRED,
    F_LIGHT,
    F_COUNT
};

static const char *const field_names[F_COUNT] = {
    "destination", "flags", "username", "password", "trusted", "chkbsc"};

/* A field's value, decoded where it lies in the body. */
typedef struct {
    char *data;
    apr_size_t len;
} field_t;

static const char *read_fields(char *body, apr_size_t len, field_t *fields)
{
    const char *s = body, *end = body + len;
    pair_t pair;

    for (int n = 0; next_pair(&s, end, &pair); n++) {
        int f = 0;
        if (n == FIELDS_MAX) {
            return "logon-too-long";
        }
        while (f < F_COUNT
               && !is_word(pair.name, pair.name_len, field_names[f])) {
            f++;
        }
        if (f == F_COUNT) {
            continue;
        }
        /* Two names or passwords: somebody reads the first one, and somebody
         * else the last. */
        if (f < F_REQUIRED && fields[f].data != NULL) {
            return "logon-broken";
        }
        fields[f].data = body + (pair.value - body);
        fields[f].len = pair.value_len;
        if (!undo(fields[f].data, pair.value, &fields[f].len, true)) {
            return "logon-broken";
        }
    }
    for (int f = 0; f < F_REQUIRED; f++) {
        if (fields[f].data == NULL) {
            return "logon-incomplete";
        }
    }
    return NULL;
}

/* libcrypto's reader, and what older ones of it let through. */
static bool is_utf8(const field_t *field)
{
    const unsigned char *s = (const unsigned char *)field->data;
    for (apr_size_t i = 0; i < field->len;) {
        unsigned long c = 0;
        int n = UTF8_getc(s + i, (int)(field->len - i), &c);
        if (n <= 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return false;
        }
        i += (apr_size_t)n;
    }
    return true;
}

/* NUL, C0 and DEL; with @a c1 the C1 controls of UTF-8 and Latin-1, too. */
static bool has_controls(const field_t *field, bool utf8, bool c1)
{
    const unsigned char *s = (const unsigned char *)field->data;
    for (apr_size_t i = 0; i < field->len; i++) {
        bool lead = utf8 && i + 1 < field->len && s[i] == 0xc2;
        unsigned char c = lead ? s[i + 1] : utf8 ? 0 : s[i];
        if (is_control(s[i]) || (c1 && c >= 0x80 && c < 0xa0)) {
            return true;
        }
    }
    return false;
}

static apr_size_t utf8_size(const field_t *field, bool utf8)
{
    apr_size_t n = field->len;
    for (apr_size_t i = 0; !utf8 && i < field->len; i++) {
        n += (unsigned char)field->data[i] >> 7;
    }
    return n;
}

/* Once, into room of utf8_size() + 1 bytes. */
static void put_utf8(char *out, const field_t *field, bool utf8)
{
    for (apr_size_t i = 0; i < field->len; i++) {
        unsigned char c = (unsigned char)field->data[i];
        if (utf8 || c < 0x80) {
            *out++ = (char)c;
        }
        else {
            *out++ = (char)(0xc0 | (c >> 6));
            *out++ = (char)(0x80 | (c & 0x3f));
        }
    }
    *out = '\0';
}

/*
 * A page's attribute, echoed by a client that does not decode it (DavMail).
 * Only what template engines write, and one round only: the outcome is judged
 * after this, as any other destination.
 */
static const char *without_entities(apr_pool_t *p, const field_t *field)
{
    static const struct {
        const char *text;
        char c;
    } entities[] = {{"&amp;", '&'},   {"&lt;", '<'},   {"&gt;", '>'},
                    {"&quot;", '"'},  {"&#34;", '"'},  {"&#39;", '\''},
                    {"&#x27;", '\''}, {"&apos;", '\''}};
    char *text = apr_pstrmemdup(p, field->data, field->len);
    char *out = text;

    for (const char *s = text; *s;) {
        size_t i = 0, n = sizeof(entities) / sizeof(entities[0]);
        while (*s == '&' && i < n
               && apr_cstr_casecmpn(s, entities[i].text,
                                    strlen(entities[i].text))
                      != 0) {
            i++;
        }
        if (*s == '&' && i < n) {
            *out++ = entities[i].c;
            s += strlen(entities[i].text);
        }
        else {
            *out++ = *s++;
        }
    }
    *out = '\0';
    return text;
}

static int field_number(const field_t *field)
{
    return field->data ? number(field->data, field->len) : 0;
}

static int read_flags(const field_t *fields)
{
    const field_t *light = &fields[F_LIGHT];
    int posted = field_number(&fields[F_FLAGS]);
    int out = (posted | field_number(&fields[F_TRUSTED])) & CASP_LOGON_PRIVATE;

    if ((posted & CASP_LOGON_LIGHT) || field_number(light) == 1
        || (light->len == 2 && apr_cstr_casecmpn(light->data, "on", 2) == 0)) {
        out |= CASP_LOGON_LIGHT;
    }
    return out;
}

static apr_status_t wipe_password(void *data)
{
    field_t *password = data;
    casp_wipe(password->data, password->len);
    return APR_SUCCESS;
}

/* All judged before anything is copied, so that nothing is left of a logon
 * that is refused. */
static const char *accept_fields(apr_pool_t *p, const field_t *fields,
                                 casp_logon_t *logon)
{
    const field_t *name = &fields[F_USERNAME];
    const field_t *password = &fields[F_PASSWORD];
    bool name_utf8 = is_utf8(name), password_utf8 = is_utf8(password);
    apr_size_t name_len = utf8_size(name, name_utf8);
    field_t *kept = apr_palloc(p, sizeof(*kept));

    if (has_controls(name, name_utf8, true)
        || has_controls(password, password_utf8, false)) {
        return "logon-broken";
    }
    kept->len = utf8_size(password, password_utf8);
    if (name_len > CASP_NAME_MAX || kept->len > CASP_LOGON_PASSWORD_MAX) {
        return "logon-too-long";
    }
    kept->data = apr_palloc(p, kept->len + 1);
    apr_pool_cleanup_register(p, kept, wipe_password, apr_pool_cleanup_null);
    put_utf8(kept->data, password, password_utf8);
    char *text = apr_palloc(p, name_len + 1);
    put_utf8(text, name, name_utf8);
    logon->name = text;
    logon->password = kept->data;
    logon->password_len = kept->len;
    logon->destination = without_entities(p, &fields[F_DESTINATION]);
    logon->flags = read_flags(fields);
    return NULL;
}

const char *casp_logon_read(apr_pool_t *p, char *body, apr_size_t len,
                            casp_logon_t *logon)
{
    field_t fields[F_COUNT];
    const char *why = "logon-too-long";

    memset(logon, 0, sizeof(*logon));
    memset(fields, 0, sizeof(fields));
    if (len <= CASP_LOGON_BODY_MAX) {
        why = read_fields(body, len, fields);
    }
    if (why == NULL) {
        why = accept_fields(p, fields, logon);
    }
    casp_wipe(body, len);
    return why;
}

/* ------------------------------------------------- single sign-on, outward */

/* scheme://host[:port] of a URL. */
static const char *origin(apr_pool_t *p, const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return apr_pstrmemdup(p, url,
                          (apr_size_t)(host - url) + strcspn(host, "/?#"));
}

const char *casp_sso_action(apr_pool_t *p, const char *url,
                            casp_version_e version)
{
    const char *path = "/owa/auth.owa";

    if (version == CASP_V2000 || version == CASP_V2003) {
        path = "/exchweb/bin/auth/owaauth.dll";
    }
    else if (version == CASP_V2007) {
        path = "/owa/auth/owaauth.dll";
    }
    return apr_pstrcat(p, origin(p, url), path, NULL);
}

void casp_sso_vars(apr_pool_t *p, const char *url, casp_version_e version,
                   const casp_logon_t *logon, casp_page_var_t *vars)
{
    bool modern = version != CASP_V2000 && version != CASP_V2003;
    /* The password is lent, not copied: one place to wipe. */
    const casp_page_var_t made[] = {
        {"action", casp_sso_action(p, url, version)},
        {"destination", url},
        {"flags", apr_itoa(p, logon->flags)},
        {"username", logon->name},
        {"password", logon->password},
        {"trusted", apr_itoa(p, logon->flags & CASP_LOGON_PRIVATE)},
        {modern ? "modern" : "submitcreds", modern ? "1" : "Log On"},
        {NULL, NULL},
    };
    memcpy(vars, made, sizeof(made));
}
