/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * hygiene.c: headers and cookies that only Exchange servers may send to each
 * other, and that no client's request carries past this front.
 *
 * Must not: look anything up, or know settings.
 */

#include "protocol.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* Names that Exchange servers use among themselves; a star at the end stands
 * for any more.  What tells of a proxy stands below: mapping.c writes it anew. */
static const char *const forged_headers[] = {
    "X-OWA-Proxy*",
    "X-OWA-ExplicitLogonUser",
    "X-LogonType",
    "X-EAS-*", /* -Proxy, -BasicAuth-Proxy, -DC-Proxy: no phone has such */
    "X-IsFromCafe",
    "X-IsFromBackend",
    "X-CommonAccessToken",
    "X-SourceCafeServer",
    "X-vDirObjectId",
    "X-TargetDatabase",
    "X-FeToBeTimeout",
    "msExch*",
    "Front-End-Https",
    "X-Rps-CAT",
    "X-WLID-*",
    "X-MS-Proxy*",
    "X-BEResource",
    "X-AnonResource*",
    "X-BackEndCookie",
    "X-Forwarded-For-Exchange",
    "X-MS-EdgeIP",
    "X-OriginalRequest*",
    "X-PreferServerAffinity",
    "X-RoutingEntry*",
    "X-LegacyRoutingEntry*",
    /* Modules of IIS and what stands behind it take these for the URL. */
    "X-Original-URL",
    "X-Rewrite-URL",
};

/* SecurityToken made 2013 and later trust a request that nobody checked. */
static const char *const forged_cookies[] = {
    "X-BEResource*", "X-AnonResource*", "X-BackEndCookie*",
    "SecurityToken", "X-OWA-Proxy*",    "X-CommonAccessToken",
};

/* Without case; IIS's server variables do not tell "_" from "-" in a header's
 * name, so neither do we. */
static bool begins_alike(const char *pattern, const char *name, apr_size_t n)
{
    for (apr_size_t i = 0; i < n; i++) {
        char c = name[i] == '_' ? '-' : name[i];
        if (apr_tolower(pattern[i]) != apr_tolower(c)) {
            return false;
        }
    }
    return true;
}

static bool matches(const char *pattern, const char *name, apr_size_t len)
{
    /* Most names end here; this is asked for each header of each request. */
    if (apr_tolower(*pattern) != apr_tolower(*name)) {
        return false;
    }
    apr_size_t n = strlen(pattern);
    if (n > 0 && pattern[n - 1] == '*') {
        return len >= n - 1 && begins_alike(pattern, name, n - 1);
    }
    return n == len && begins_alike(pattern, name, n);
}

static bool matches_any(const char *const *patterns, size_t n,
                        const char *name, apr_size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(patterns[i], name, len)) {
            return true;
        }
    }
    return false;
}

bool casp_protocol_forged_header(const char *name)
{
    return matches_any(forged_headers,
                       sizeof(forged_headers) / sizeof(forged_headers[0]),
                       name, strlen(name));
}

bool casp_protocol_forwarded_header(const char *name)
{
    static const char *const names[] = {"X-Forwarded-*", "Forwarded"};
    return matches_any(names, sizeof(names) / sizeof(names[0]), name,
                       strlen(name));
}

static bool forged_cookie(const char *name, apr_size_t len)
{
    return matches_any(forged_cookies,
                       sizeof(forged_cookies) / sizeof(forged_cookies[0]),
                       name, len);
}

bool casp_protocol_forged_cookie(const char *name)
{
    return forged_cookie(name, strlen(name));
}

/* One "name=value" of a Cookie header; the name is what stands before "=",
 * quotes and blanks taken away, as a lax parser would. */
static bool is_forged_pair(const char *pair, apr_size_t len)
{
    const char *end = pair + len;
    while (pair < end && (apr_isspace(*pair) || *pair == '"')) {
        pair++;
    }
    const char *stop = pair;
    while (stop < end && *stop != '=' && !apr_isspace(*stop) && *stop != '"') {
        stop++;
    }
    return forged_cookie(pair, (apr_size_t)(stop - pair));
}

const char *casp_protocol_clean_cookies(apr_pool_t *p, const char *cookies)
{
    if (cookies == NULL) {
        return NULL;
    }
    bool dirty = false;
    char *clean = apr_palloc(p, strlen(cookies) + 1);
    char *out = clean;
    const char *s = cookies;
    /* A comma ends a pair too: old parsers take a list of cookies. */
    for (;;) {
        apr_size_t len = strcspn(s, ";,");
        if (is_forged_pair(s, len)) {
            dirty = true;
        }
        else {
            if (out > clean) {
                *out++ = s[-1];
            }
            memcpy(out, s, len);
            out += len;
        }
        if (s[len] == '\0') {
            break;
        }
        s += len + 1;
    }
    *out = '\0';
    clean += strspn(clean, " \t;,");
    return !dirty ? cookies : *clean != '\0' ? clean : NULL;
}
