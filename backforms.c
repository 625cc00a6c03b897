/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * backforms.c - logging on at a backend's own form, as a browser would: what
 * is posted, whether that was a logon, and which cookies go along afterwards.
 *
 * The cookies are as good as the password, and they are the backend's word:
 * so only names that are a session's are kept, bounded in number and size, and
 * nothing in them can end a line or begin another cookie.  Domain and Path are
 * passed over, for these cookies go back to that one server and nowhere else.
 * What is refused is refused whole: half a value is no session, and a half of
 * one would be asked for again and again.
 *
 * A backend's no and its "log on first" look much alike: a redirection to its
 * logon page.  Which page that is, each generation says differently; the path
 * is looked at, never the query, where anybody's URL may stand.
 *
 * Must not: keep anything (jar.c does), or show a password or a cookie to a
 * log.
 */

#include "backforms.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "fba_form.h"
#include "identity.h"

#define COOKIES_MAX 16
#define NAME_LEN_MAX 64
#define VALUE_LEN_MAX 4096
#define HEADER_LEN_MAX 8192 /* of all of them; what jar.c has room for */
#define LOCATION_PATH_MAX 1024

/* ---------------------------------------------------------- what is posted */

/* Which generations have a field; the order is that of their pages. */
enum {
    G2003 = 1,
    G2007 = 2,
    G2010 = 4, /* and newer */
    ALL = G2003 | G2007 | G2010
};

enum { DESTINATION, FLAGS, USERNAME, PASSWORD, TRUSTED, FIXED };

typedef struct {
    const char *name;
    const char *fixed; /* its value, for FIXED */
    int what;
    int of;
} form_field_t;

static const form_field_t form_fields[] = {
    {"destination", NULL, DESTINATION, ALL},
    {"flags", NULL, FLAGS, ALL},
    {"forcedownlevel", "0", FIXED, ALL},
    {"trusted", NULL, TRUSTED, ALL},
    {"username", NULL, USERNAME, ALL},
    {"password", NULL, PASSWORD, ALL},
    {"passwordText", "", FIXED, G2010},
    {"SubmitCreds", "Log On", FIXED, G2003 | G2007},
    {"isUtf8", "1", FIXED, G2007 | G2010},
};

typedef struct {
    const char *data;
    apr_size_t len;
} text_t;

/* Escape all but what RFC 3986 calls unreserved; a blank is %20, which every
 * reader of forms takes. */
static char *put_escaped(char *out, const text_t *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (apr_size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (c < 0x80 && (apr_isalnum(c) || (c && strchr("-._~", c)))) {
            *out++ = (char)c;
        }
        else {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    return out;
}

typedef struct {
    char *data;
    apr_size_t size;
} secret_t;

static apr_status_t wipe_secret(void *data)
{
    const secret_t *secret = data;

    casp_wipe(secret->data, secret->size);
    return APR_SUCCESS;
}

static char *secret_make(apr_pool_t *p, apr_size_t size)
{
    secret_t *secret = apr_palloc(p, sizeof(*secret));

    secret->data = apr_palloc(p, size);
    secret->size = size;
    apr_pool_cleanup_register(p, secret, wipe_secret, apr_pool_cleanup_null);
    return secret->data;
}

static text_t value_of(const form_field_t *field, const text_t *values)
{
    return field->what == FIXED ? (text_t){field->fixed, strlen(field->fixed)}
                                : values[field->what];
}

/* Measured first, by the worst case, so that no part of a password is left
 * behind in a buffer that was outgrown. */
static void put_body(apr_pool_t *p, int generation, const text_t *values,
                     casp_backform_t *form)
{
    const size_t count = sizeof(form_fields) / sizeof(form_fields[0]);
    apr_size_t size = 1;

    for (size_t i = 0; i < count; i++) {
        size += strlen(form_fields[i].name) + 2
                + 3 * value_of(&form_fields[i], values).len;
    }
    char *body = secret_make(p, size), *out = body;
    for (size_t i = 0; i < count; i++) {
        if (!(form_fields[i].of & generation)) {
            continue;
        }
        text_t name = {form_fields[i].name, strlen(form_fields[i].name)};
        text_t value = value_of(&form_fields[i], values);
        if (out > body) {
            *out++ = '&';
        }
        out = put_escaped(out, &name);
        *out++ = '=';
        out = put_escaped(out, &value);
    }
    *out = '\0';
    form->body = body;
    form->len = (apr_size_t)(out - body);
}

/* The directory itself, with the slash that a browser would be sent to. */
static const char *destination_of(apr_pool_t *p, const char *base,
                                  const char *vdir)
{
    apr_size_t len = strlen(vdir);

    return apr_pstrcat(p, base, *vdir == '/' ? "" : "/", vdir,
                       len && vdir[len - 1] == '/' ? "" : "/", NULL);
}

void casp_backform_make(apr_pool_t *p, casp_version_e version,
                        const char *base, const char *vdir, const char *name,
                        const char *password, apr_size_t len, int flags,
                        casp_backform_t *form)
{
    int generation = version == CASP_V2000 || version == CASP_V2003 ? G2003
                     : version == CASP_V2007                        ? G2007
                                                                    : G2010;
    const char *destination =
        destination_of(p, base,
                       vdir && *vdir         ? vdir
                       : generation == G2003 ? "/exchange"
                                             : "/owa");
    const char *number =
        apr_itoa(p, flags & (CASP_LOGON_LIGHT | CASP_LOGON_PRIVATE));
    const char *trusted = apr_itoa(p, flags & CASP_LOGON_PRIVATE);
    text_t values[FIXED] = {
        {destination, strlen(destination)},
        {number, strlen(number)},
        {name ? name : "", name ? strlen(name) : 0},
        {password ? password : "", len},
        {trusted, strlen(trusted)},
    };
    const char *action = casp_sso_action(p, base, version);
    const char *host = strstr(action, "://");

    values[PASSWORD].len = password ? len : 0;
    form->path = strchr(host ? host + 3 : action, '/');
    /* says that the page is a fresh one; 2003 has no such mark */
    form->cookie = generation == G2003 ? NULL : "PBack=0";
    put_body(p, generation, values, form);
}

/* -------------------------------------------------------------- redirected */

static bool ends_with(const char *s, const char *end)
{
    apr_size_t len = strlen(s), n = strlen(end);

    return len >= n && strcmp(s + len - n, end) == 0;
}

/* A Location's path in lower case, behind scheme and authority, and where its
 * query begins.  @return false: it has none that we look at */
static bool location_path(const char *location, char *path, const char **query)
{
    const char *s = location, *colon = strstr(s, "://");
    apr_size_t len;

    if (colon && colon < s + strcspn(s, "/?#")) {
        s = colon + 3;
        s += strcspn(s, "/?#");
    }
    else if (s[0] == '/' && s[1] == '/') {
        s += 2 + strcspn(s + 2, "/?#");
    }
    len = strcspn(s, "?#");
    *query = s[len] == '?' ? s + len + 1 : "";
    if (len + 1 > LOCATION_PATH_MAX) {
        return false;
    }
    /* a relative one is as if it stood in some folder */
    *path = '/';
    for (apr_size_t i = 0; i < len; i++) {
        path[i + 1] = (char)apr_tolower(s[i]);
    }
    path[len + 1] = '\0';
    return true;
}

/* Does the query have a parameter of this name (in lower case)? */
static bool query_has(const char *query, const char *name)
{
    apr_size_t len = strlen(name);

    for (const char *s = query; s; s = strchr(s, '&')) {
        s += *s == '&' ? 1 : 0;
        if (apr_cstr_casecmpn(s, name, len) == 0
            && strchr("=&#", s[len]) != NULL) {
            return true;
        }
    }
    return false;
}

/* logon.aspx is too plain a name to go by alone. */
static bool is_logon_page(const char *location)
{
    char path[LOCATION_PATH_MAX + 1];
    const char *query;

    if (!location || !location_path(location, path, &query)) {
        return false;
    }
    if (ends_with(path, "/auth/logon.aspx") || ends_with(path, "/owalogon.asp")
        || (ends_with(path, "/logon.asp")
            && strstr(path, "/exchweb/bin/auth/"))) {
        return true;
    }
    if (ends_with(path, "/logon.aspx")) {
        return query_has(query, "url") || query_has(query, "reason");
    }
    return ends_with(path, "/cookieauth.dll")
           && apr_cstr_casecmpn(query, "getlogon", 8) == 0;
}

/* The password was right and is too old: only its owner can help. */
static bool is_expired_page(const char *location)
{
    char path[LOCATION_PATH_MAX + 1];
    const char *query;

    return location && location_path(location, path, &query)
           && ends_with(path, "/auth/expiredpassword.aspx");
}

static bool is_redirection(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307
           || status == 308;
}

bool casp_backform_wanted(int status, const apr_table_t *headers)
{
    return status == 440
           || (is_redirection(status)
               && is_logon_page(apr_table_get(headers, "Location")));
}

/* ----------------------------------------------------------------- cookies */

typedef struct {
    text_t name, value;
} cookie_t;

typedef struct {
    cookie_t have[COOKIES_MAX];
    int count;
    apr_time_t now;
    int refused; /* lines of our names that could not be kept */
} cookies_t;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static text_t trimmed(const char *data, apr_size_t len)
{
    while (len && is_blank(data[0])) {
        data++;
        len--;
    }
    while (len && is_blank(data[len - 1])) {
        len--;
    }
    return (text_t){data, len};
}

bool casp_backform_owns(const char *name, apr_size_t len)
{
    text_t text = trimmed(name, len);

    return (text.len >= 6 && apr_cstr_casecmpn(text.data, "cadata", 6) == 0)
           || (text.len == 9
               && apr_cstr_casecmpn(text.data, "sessionid", 9) == 0);
}

/* Without cadata there is no session, whatever else there is. */
static bool has_session(const cookies_t *c)
{
    for (int i = 0; i < c->count; i++) {
        if (apr_cstr_casecmpn(c->have[i].name.data, "cadata", 6) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_name(const text_t *name)
{
    for (apr_size_t i = 0; i < name->len; i++) {
        unsigned char c = (unsigned char)name->data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c)) {
            return false;
        }
    }
    return name->len > 0 && name->len <= NAME_LEN_MAX;
}

/* Printable, and nothing that ends a cookie. */
static bool is_value(const text_t *value)
{
    for (apr_size_t i = 0; i < value->len; i++) {
        unsigned char c = (unsigned char)value->data[i];
        if (c < 0x20 || c >= 0x7f || c == ';') {
            return false;
        }
    }
    return value->len > 0 && value->len <= VALUE_LEN_MAX;
}

/* @return its place, or count */
static int cookie_find(const cookies_t *c, const text_t *name)
{
    int i = 0;

    while (i < c->count
           && (c->have[i].name.len != name->len
               || memcmp(c->have[i].name.data, name->data, name->len) != 0)) {
        i++;
    }
    return i;
}

static void cookie_remove(cookies_t *c, const text_t *name)
{
    int i = cookie_find(c, name);

    if (i < c->count) {
        c->count--;
        memmove(&c->have[i], &c->have[i + 1],
                (size_t)(c->count - i) * sizeof(c->have[0]));
    }
}

static apr_size_t cookies_size(const cookies_t *c)
{
    apr_size_t size = 0;

    for (int i = 0; i < c->count; i++) {
        size += c->have[i].name.len + 1 + c->have[i].value.len + 2;
    }
    return size;
}

/* @return false: it cannot be kept, and what there was stays */
static bool cookie_set(cookies_t *c, const cookie_t *cookie)
{
    int i = cookie_find(c, &cookie->name);
    apr_size_t old =
        i < c->count ? c->have[i].name.len + 1 + c->have[i].value.len + 2 : 0;

    if (i == COOKIES_MAX || !is_name(&cookie->name)
        || !is_value(&cookie->value)
        || cookies_size(c) - old + cookie->name.len + 1 + cookie->value.len + 2
               > HEADER_LEN_MAX) {
        return false;
    }
    c->have[i] = *cookie;
    c->count += i == c->count ? 1 : 0;
    return true;
}

/* "name=value" up to the next ';'. @return false: there is no '=' */
static bool read_cookie(const char **s, cookie_t *cookie)
{
    apr_size_t len = strcspn(*s, ";");
    const char *equals = memchr(*s, '=', len);
    const char *end = *s + len;

    if (equals) {
        cookie->name = trimmed(*s, (apr_size_t)(equals - *s));
        cookie->value = trimmed(equals + 1, (apr_size_t)(end - equals - 1));
    }
    *s = *end ? end + 1 : end;
    return equals != NULL;
}

/* ----------------------------------------------------------------- expired */

/* A run of digits of at most @a max; -1: none, or a longer one. */
static int digits_of(const char **s, int max)
{
    int n = 0, count = 0;

    while (apr_isdigit(**s)) {
        n = count < max ? n * 10 + (**s - '0') : n;
        count++;
        (*s)++;
    }
    return count > 0 && count <= max ? n : -1;
}

static int month_of(const char *s, apr_size_t len)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    for (int i = 0; len >= 3 && i < 12; i++) {
        if (apr_cstr_casecmpn(s, names + 3 * i, 3) == 0) {
            return i;
        }
    }
    return -1;
}

/* One word of a date: hh:mm:ss, a day, a month, a year. */
static void read_date_word(const char *s, apr_size_t len, apr_time_exp_t *at)
{
    bool time = memchr(s, ':', len) != NULL;

    if (!apr_isdigit(*s)) {
        at->tm_mon = at->tm_mon < 0 ? month_of(s, len) : at->tm_mon;
    }
    else if (time && at->tm_hour < 0) {
        at->tm_hour = digits_of(&s, 2);
        at->tm_min = *s == ':' ? (s++, digits_of(&s, 2)) : -1;
        at->tm_sec = *s == ':' ? (s++, digits_of(&s, 2)) : -1;
    }
    else if (!time && at->tm_mday < 0 && len <= 2) {
        at->tm_mday = digits_of(&s, 2);
    }
    else if (!time && at->tm_year < 0) {
        int year = digits_of(&s, 4);
        year += year < 0 ? 0 : year < 70 ? 2000 : year < 100 ? 1900 : 0;
        /* what is over was over in 1970, too */
        at->tm_year = year < 0 ? -1 : year < 1970 ? 70 : year - 1900;
    }
}

/* A cookie's date in any spelling that browsers read: words between whatever
 * is no letter, digit or colon.  @return false: it is none, and counts for
 * nothing. */
static bool read_date(const text_t *text, apr_time_t *when)
{
    apr_time_exp_t at;
    const char *s = text->data, *end = s + text->len;

    memset(&at, 0, sizeof(at));
    at.tm_mday = at.tm_mon = at.tm_year = at.tm_hour = at.tm_min = -1;
    while (s < end) {
        const char *word = s;
        while (s < end && (apr_isalnum(*s) || *s == ':')) {
            s++;
        }
        if (s > word) {
            read_date_word(word, (apr_size_t)(s - word), &at);
        }
        else {
            s++;
        }
    }
    return at.tm_mday >= 1 && at.tm_mday <= 31 && at.tm_mon >= 0
           && at.tm_year >= 0 && at.tm_hour >= 0 && at.tm_hour <= 23
           && at.tm_min >= 0 && at.tm_min <= 59 && at.tm_sec >= 0
           && at.tm_sec <= 60
           && apr_time_exp_gmt_get(when, &at) == APR_SUCCESS;
}

static bool is_attribute(const text_t *name, const char *word)
{
    return name->len == strlen(word)
           && apr_cstr_casecmpn(name->data, word, name->len) == 0;
}

/* Max-Age: -1 where it is no number, 0 where the cookie is over, 1 else. */
static int read_age(const text_t *value)
{
    const char *s = value->data, *end = s + value->len;
    bool minus = s < end && *s == '-', zero = true;

    s += minus ? 1 : 0;
    if (s == end) {
        return -1;
    }
    for (; s < end; s++) {
        if (!apr_isdigit(*s)) {
            return -1;
        }
        zero = zero && *s == '0';
    }
    return minus || zero ? 0 : 1;
}

/* Do a Set-Cookie's attributes say that the cookie is over?  Max-Age has the
 * last word where it is a number. */
static bool is_over(const char *attributes, apr_time_t now)
{
    bool over = false;
    int age = -1;
    cookie_t a;

    while (*attributes) {
        apr_time_t when;
        if (!read_cookie(&attributes, &a)) {
            continue;
        }
        if (is_attribute(&a.name, "max-age")) {
            int said = read_age(&a.value);
            age = said < 0 ? age : said;
        }
        else if (is_attribute(&a.name, "expires")
                 && read_date(&a.value, &when)) {
            over = when <= now;
        }
    }
    return age < 0 ? over : age == 0;
}

/* -------------------------------------------------------------- Set-Cookie */

static int take_line(void *baton, const char *key, const char *line)
{
    cookies_t *c = baton;
    cookie_t cookie;

    (void)key;
    if (!read_cookie(&line, &cookie)
        || !casp_backform_owns(cookie.name.data, cookie.name.len)) {
        return 1;
    }
    if (!cookie.value.len || is_over(line, c->now)) {
        cookie_remove(c, &cookie.name);
    }
    else if (!cookie_set(c, &cookie)) {
        c->refused++;
    }
    return 1;
}

static const char *cookies_text(apr_pool_t *p, const cookies_t *c)
{
    char *text, *out;

    if (!has_session(c)) {
        return NULL;
    }
    text = out = apr_palloc(p, cookies_size(c) + 1);
    for (int i = 0; i < c->count; i++) {
        const cookie_t *cookie = &c->have[i];
        if (i) {
            *out++ = ';';
            *out++ = ' ';
        }
        memcpy(out, cookie->name.data, cookie->name.len);
        out += cookie->name.len;
        *out++ = '=';
        memcpy(out, cookie->value.data, cookie->value.len);
        out += cookie->value.len;
    }
    *out = '\0';
    return text;
}

const char *casp_backform_renew(apr_pool_t *p, const char *cookies,
                                const apr_table_t *headers, bool *changed)
{
    cookies_t c = {.count = 0, .now = apr_time_now()};
    const char *s = cookies ? cookies : "";
    cookie_t cookie;

    while (*s) {
        if (read_cookie(&s, &cookie)
            && casp_backform_owns(cookie.name.data, cookie.name.len)) {
            (void)cookie_set(&c, &cookie);
        }
    }
    apr_table_do(take_line, &c, headers, "Set-Cookie", NULL);
    const char *text = cookies_text(p, &c);
    *changed = text && cookies ? strcmp(text, cookies) != 0 : text != cookies;
    return *changed ? text : cookies;
}

casp_backform_e casp_backform_judge(apr_pool_t *p, int status,
                                    const apr_table_t *headers,
                                    const char **cookies)
{
    const char *location = apr_table_get(headers, "Location");
    cookies_t c = {.count = 0, .now = apr_time_now()};

    *cookies = NULL;
    if (is_redirection(status)
        && (is_logon_page(location) || is_expired_page(location))) {
        return CASP_BACKFORM_REFUSED;
    }
    if (!is_redirection(status) && status != 200) {
        return CASP_BACKFORM_STRANGE;
    }
    apr_table_do(take_line, &c, headers, "Set-Cookie", NULL);
    if (c.refused) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0750) "a backend's logon form gave %d session "
                                 "cookies that are none (more than %d, longer "
                                 "than %d bytes each or %d together, or with "
                                 "control characters), so that nobody is "
                                 "logged on there; look at what its logon "
                                 "form answers, and at what stands before it",
                           c.refused, COOKIES_MAX, VALUE_LEN_MAX,
                           HEADER_LEN_MAX);
        return CASP_BACKFORM_STRANGE;
    }
    *cookies = cookies_text(p, &c);
    return *cookies ? CASP_BACKFORM_IN : CASP_BACKFORM_STRANGE;
}
