/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_protocol.c: a request target and a Cookie header made of anything.  The
 * first line is the target, the second the Cookie header.
 *
 * Why: a URL that is read in one way here and in another by a backend is how
 * fronts of Exchange were broken into.  So the fuzzer reads every URL that
 * passes once more, by other means, and looks for what must not be in it.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int digit(int c)
{
    return apr_isdigit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Decode %XX once, in place; a NUL becomes a character of its own. */
static void unescape(char *s)
{
    char *out = s;
    while (*s != '\0') {
        if (*s == '%' && apr_isxdigit(s[1]) && apr_isxdigit(s[2])) {
            int c = digit(s[1]) * 16 + digit(s[2]);
            *out++ = c ? (char)c : '\1';
            s += 3;
        }
        else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

static void look_for_dots(const char *path)
{
    for (const char *s = path; (s = strstr(s, "..")) != NULL; s++) {
        if ((s == path || s[-1] == '/' || s[-1] == '\\')
            && (s[2] == '\0' || s[2] == '/' || s[2] == '\\')) {
            abort();
        }
    }
}

static void check_passing(apr_pool_t *p, const casp_url_t *u)
{
    if (u->vdir[0] != '/' || u->path[0] != '/' || u->rest < u->path
        || u->rest > u->path + strlen(u->path)
        || (u->rest[0] != '\0' && u->rest[0] != '/')) {
        abort();
    }
    char *path = apr_pstrdup(p, u->path);
    for (int i = 0; i < 3; i++) {
        look_for_dots(path);
        if (strpbrk(path, "\\\r\n\1") != NULL) {
            abort();
        }
        if (i == 1) {
            /* decoded once: the directory is the one that was announced */
            apr_size_t len = strlen(u->vdir);
            if (strncasecmp(path, u->vdir, len) != 0
                || (path[len] != '\0' && path[len] != '/')) {
                abort();
            }
        }
        unescape(path);
    }
    if (u->mailbox != NULL
        && (u->mailbox[0] == '\0' || strchr(u->mailbox, '/') != NULL)) {
        abort();
    }
}

static void check_cookies(apr_pool_t *p, const char *cookies)
{
    const char *clean = casp_protocol_clean_cookies(p, cookies);
    if (clean == NULL) {
        return;
    }
    if (strlen(clean) > strlen(cookies)
        || casp_protocol_clean_cookies(p, clean) != clean) {
        abort(); /* nothing may be left, or come into being */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        apr_initialize();
        ready = true;
    }
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    char *target = apr_pstrmemdup(p, (const char *)data, size);
    char *cookies = strchr(target, '\n');
    if (cookies != NULL) {
        *cookies++ = '\0';
    }
    casp_url_t u;
    casp_protocol_parse(p, target, &u);
    if (u.refused != NULL && (u.protocol == CASP_PROTO_NONE || u.mailbox)) {
        abort();
    }
    if (u.protocol != CASP_PROTO_NONE && u.refused == NULL) {
        check_passing(p, &u);
    }
    if (target[0] == '/' && strpbrk(target, "%?#;\\") == NULL
        && strstr(target, "/.") == NULL && strstr(target, "//") == NULL
        && casp_protocol_claims(target) != (u.protocol != CASP_PROTO_NONE)) {
        abort();
    }
    (void)casp_protocol_page_load("GET", NULL, &u);
    (void)casp_protocol_webdav(target);
    (void)casp_protocol_forged_header(target);
    check_cookies(p, cookies ? cookies : target);
    apr_pool_destroy(p);
    return 0;
}
