/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_form.c: a logon as a stranger may post it.  The first line is the Host
 * header, the second a destination and a request target at once, the third
 * the query of a logon page, and all the rest the body of a POST.
 *
 * Not only crashes count: what is accepted leads to this host and nowhere
 * else, says the same when it is said again, and leaves no password behind.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_escape.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "fba_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

/* --------------------------------------------------------- where it leads */

/* Read by other means than the room's own: the authority, up to a port, is
 * the host as it was said. */
static void check_authority(const char *destination, const char *host)
{
    const char *s = strstr(destination, "://");
    must(s != NULL && (s - destination == 4 || s - destination == 5)
         && strncasecmp(destination, "http", 4) == 0);
    s += 3;
    size_t len = strcspn(s, "/?#");
    must(memchr(s, '@', len) == NULL && memchr(s, '\\', len) == NULL);
    size_t name = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    name -= name > 1 && host[name - 1] == '.' ? 1 : 0;
    must(len >= name && strncasecmp(s, host, name) == 0);
    must(len == name || s[name] == ':');
    for (size_t i = name + 1; i < len; i++) {
        must(s[i] >= '0' && s[i] <= '9');
    }
}

static void check_target(const char *target)
{
    must(target[0] == '/' && target[1] != '/' && strlen(target) <= 8192);
    must(strncasecmp(target + 1, "%2f", 3) != 0);
    must(strchr(target, '#') == NULL && strchr(target, '\\') == NULL);
    for (const char *s = target; *s; s++) {
        must(*s > ' ' && *s < 0x7f);
        must(s[0] != '%' || (s[1] != '0' && s[1] != '1')
             || strspn(s + 2, "0123456789abcdefABCDEF") == 0);
    }
    size_t path = strcspn(target, "?");
    for (size_t i = 0; i + 2 < path; i++) {
        must(strncasecmp(target + i, "%5c", 3) != 0);
        must(target[i] != '/' || target[i + 1] != '/');
    }
}

/* @return where it leads to, or NULL */
static const char *check_destination(apr_pool_t *p, const char *destination,
                                     const char *host)
{
    const char *target, *again;
    const char *why = casp_logon_destination(p, destination, host, &target);
    must((why == NULL) == (target != NULL));
    if (target == NULL) {
        must(strcmp(why, "bad-destination") == 0);
        return NULL;
    }
    check_target(target);
    if (destination[0] != '/') {
        check_authority(destination, host);
    }
    must(casp_logon_destination(p, target, host, &again) == NULL
         && strcmp(target, again) == 0);
    return target;
}

/* -------------------------------------------------------------- the page */

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), n = strlen(end);
    return len >= n && strcmp(s + len - n, end) == 0;
}

static void check_page(apr_pool_t *p, const char *original, const char *host,
                       const char *query)
{
    const char *base = apr_pstrcat(p, "https://", host, NULL);
    const char *ignored;
    bool sane = casp_logon_destination(p, base, host, &ignored) == NULL;
    casp_logon_page_t page;
    casp_url_t u;

    casp_protocol_parse(p,
                        apr_pstrcat(p, CASP_FORMS_PAGE_PATH "?", query, NULL),
                        &u);
    casp_forms_page_read(p, &u, true, host, &page);
    must(page.why <= CASP_WHY_PASSWORD_CHANGED);
    must(strncmp(page.destination, "https://", 8) == 0);
    must(!sane || check_destination(p, page.destination, host) != NULL);

    const char *url =
        casp_forms_page_url(p, true, host, original, CASP_WHY_TIMED_OUT);
    must(strlen(url) < 8192 + 4 * strlen(host));
    if (sane) {
        casp_protocol_parse(p, url, &u);
        must(u.refused == NULL && casp_forms_url(&u) == CASP_FORMS_PAGE);
        casp_forms_page_read(p, &u, true, host, &page);
        must(page.why == CASP_WHY_TIMED_OUT && !page.replace);
        /* What can be a destination comes back as one, if it is short. */
        const char *target = check_destination(p, original, host);
        must(target == NULL || strlen(original) > 2000
             || ends_with(page.destination, target));
    }
}

static void check_url(apr_pool_t *p, const char *target)
{
    casp_url_t u;
    casp_protocol_parse(p, target, &u);
    casp_forms_url_e what = casp_forms_url(&u);
    if (what != CASP_FORMS_NONE) {
        must(u.refused == NULL);
        must(u.protocol == CASP_PROTO_OWA || u.protocol == CASP_PROTO_ECP
             || u.protocol == CASP_PROTO_LEGACY);
    }
}

/* -------------------------------------------------------------- the POST */

static bool is_reason(const char *why)
{
    return strcmp(why, "logon-incomplete") == 0
           || strcmp(why, "logon-broken") == 0
           || strcmp(why, "logon-too-long") == 0;
}

static void check_logon(const casp_logon_t *logon)
{
    must(logon->name && strlen(logon->name) <= CASP_NAME_MAX);
    must(logon->password && logon->destination);
    must(strlen(logon->password) == logon->password_len);
    must(logon->password_len <= CASP_LOGON_PASSWORD_MAX);
    must((logon->flags & ~(CASP_LOGON_LIGHT | CASP_LOGON_PRIVATE)) == 0);
    for (const char *s = logon->name; *s; s++) {
        must((unsigned char)*s >= 0x20 && *s != 0x7f);
    }
    for (const char *s = logon->password; *s; s++) {
        must((unsigned char)*s >= 0x20 && *s != 0x7f);
    }
}

/* As another front would get it: the self-posting form's fields, posted. */
static void check_again(apr_pool_t *p, const casp_logon_t *logon)
{
    casp_page_var_t vars[CASP_SSO_VARS];
    casp_logon_t again;
    char *body = apr_pstrdup(p, "chkBsc=");

    casp_sso_vars(p, "https://b.test/owa/?a&b", CASP_V2010, logon, vars);
    for (int i = 1; i < 6; i++) {
        must(vars[i].name && vars[i].value);
        body = apr_pstrcat(p, body, "&", vars[i].name, "=",
                           *vars[i].value
                               ? apr_pescape_urlencoded(p, vars[i].value)
                               : "",
                           NULL);
    }
    size_t len = strlen(body);
    if (len > CASP_LOGON_BODY_MAX) {
        return;
    }
    must(casp_logon_read(p, body, len, &again) == NULL);
    must(strcmp(again.name, logon->name) == 0);
    must(strcmp(again.password, logon->password) == 0);
    must(again.flags == logon->flags);
    must(strcmp(again.destination, "https://b.test/owa/?a&b") == 0);
}

static void check_body(apr_pool_t *p, const char *bytes, size_t len,
                       const char *host)
{
    char *body = malloc(len ? len : 1); /* exact, for the sanitizer */
    casp_logon_t logon;

    must(body != NULL);
    memcpy(body, bytes, len);
    const char *why = casp_logon_read(p, body, len, &logon);
    for (size_t i = 0; i < len; i++) {
        must(body[i] == '\0');
    }
    free(body);
    if (why != NULL) {
        must(is_reason(why) && !logon.name && !logon.password);
        return;
    }
    check_logon(&logon);
    check_again(p, &logon);
    (void)check_destination(p, logon.destination, host);
}

static char *cut_line(char **rest)
{
    char *line = *rest;
    char *end = strchr(line, '\n');
    if (end != NULL) {
        *end = '\0';
    }
    *rest = end ? end + 1 : line + strlen(line);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    apr_pool_t *p;

    if (!ready) {
        apr_initialize();
        ready = true;
    }
    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 0;
    }
    char *text = apr_pstrmemdup(p, (const char *)data, size);
    char *rest = text;
    const char *host = cut_line(&rest);
    const char *destination = cut_line(&rest);
    const char *query = cut_line(&rest);

    (void)check_destination(p, destination, host);
    check_page(p, destination, host, query);
    check_url(p, destination);
    check_url(p, apr_pstrcat(p, "/exchange/?", query, NULL));
    check_body(p, rest, size - (size_t)(rest - text), host);
    apr_pool_destroy(p);
    return 0;
}
