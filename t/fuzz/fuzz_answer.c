/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_answer.c: what a backend may say to a logon at its form, and what may
 * lie in a shared cache for its cookies.  The first byte says how the rest is
 * taken: 'j' as sealed bytes for a jar, 'p' as an id and cookies to be put
 * into one, 'f' as name and password to be posted, anything else as an answer:
 * a line with its status, then lines that begin with L (Location), C
 * (Set-Cookie) or K (the cookies that are kept already).
 *
 * Not only crashes count: whatever is kept is a session's, is bounded, and can
 * end no header; nothing is read that was not sealed here; and what is posted
 * says what it was made from.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "backforms.h"
#include "fba_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOON apr_time_from_sec(1700000000)
#define ID "an id"

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

/* ----------------------------------------------------------------- cookies */

/* Read by other means than the room's own. */
static void check_cookies(apr_pool_t *p, const char *cookies)
{
    bool session = false;
    char *last, *text = apr_pstrdup(p, cookies);

    must(*cookies && strlen(cookies) <= 8192);
    for (const char *s = cookies; *s; s++) {
        must(*s >= 0x20 && *s < 0x7f);
    }
    for (char *pair = apr_strtok(text, ";", &last); pair;
         pair = apr_strtok(NULL, ";", &last)) {
        pair += *pair == ' ' ? 1 : 0;
        char *equals = strchr(pair, '=');
        must(equals && equals[1] && equals > pair && equals - pair <= 64);
        *equals = '\0';
        must(strcspn(pair, " \t\",()") == strlen(pair));
        session = session || strncasecmp(pair, "cadata", 6) == 0;
        must(strncasecmp(pair, "cadata", 6) == 0
             || strcasecmp(pair, "sessionid") == 0);
        must(casp_backform_owns(pair, strlen(pair)));
    }
    must(session);
}

static void check_renewal(apr_pool_t *p, const char *kept,
                          const apr_table_t *headers)
{
    const apr_table_t *none = apr_table_make(p, 1);
    bool changed;

    const char *cookies = casp_backform_renew(p, kept, headers, &changed);
    must(changed || cookies == kept);
    must(!changed || !cookies || !kept || strcmp(cookies, kept) != 0);
    if (!cookies) {
        return;
    }
    check_cookies(p, cookies);
    must(casp_backform_renew(p, cookies, none, &changed) == cookies
         && !changed);
}

static char *cut_line(char **rest)
{
    char *line = *rest;
    char *end = strchr(line, '\n');

    if (end) {
        *end = '\0';
    }
    *rest = end ? end + 1 : line + strlen(line);
    return line;
}

static void check_answer(apr_pool_t *p, char *rest)
{
    apr_table_t *headers = apr_table_make(p, 8);
    int status = atoi(cut_line(&rest));
    const char *cookies, *kept = NULL;

    while (*rest) {
        const char *line = cut_line(&rest);
        char *value = apr_pstrdup(p, *line ? line + 1 : line);
        for (char *c = value; *c; c++) {
            *c = *c == '\v' ? '\n' : *c; /* what no parser should let pass */
        }
        if (*line == 'K') {
            kept = value;
        }
        else {
            apr_table_addn(headers, *line == 'L' ? "Location" : "Set-Cookie",
                           value);
            casp_backform_owns(value, strcspn(value, "="));
        }
    }
    bool wanted = casp_backform_wanted(status, headers);
    casp_backform_e how = casp_backform_judge(p, status, headers, &cookies);
    must(how <= CASP_BACKFORM_STRANGE);
    must((how == CASP_BACKFORM_IN) == (cookies != NULL));
    must(!wanted || how != CASP_BACKFORM_IN);
    if (cookies) {
        check_cookies(p, cookies);
        check_renewal(p, cookies, headers);
    }
    check_renewal(p, kept, headers);
}

/* ----------------------------------------------------------------- the jar */

typedef struct {
    const void *bytes;
    size_t len;
    unsigned char kept[16384];
    size_t kept_len;
} level_t;

static apr_size_t level_get(void *baton, const char *key, apr_size_t key_len,
                            void *buf, apr_size_t buf_len)
{
    const level_t *level = baton;

    (void)key;
    must(key_len <= 64);
    if (level->len > buf_len) {
        return 0;
    }
    memcpy(buf, level->bytes, level->len);
    return level->len;
}

static void level_put(void *baton, const char *key, apr_size_t key_len,
                      const void *bytes, apr_size_t len, apr_time_t expires)
{
    level_t *level = baton;

    (void)key;
    must(key_len <= 64 && len <= sizeof(level->kept) && expires > NOON);
    memcpy(level->kept, bytes, len);
    level->kept_len = len;
}

static casp_jar_t *jar_make(apr_pool_t *p, level_t *level)
{
    static const unsigned char key[32] = "no key that anybody would guess";
    casp_cache2_t *second = apr_palloc(p, sizeof(*second));

    second->get = level_get;
    second->put = level_put;
    second->baton = level;
    return casp_jar_create(p, 4, apr_time_from_sec(60), key, second,
                           "contoso");
}

static void check_sealed(apr_pool_t *p, const uint8_t *data, size_t size)
{
    static level_t level;

    level.bytes = data;
    level.len = size;
    must(casp_jar_get(jar_make(p, &level), p, ID, strlen(ID), NOON) == NULL);
}

/* What is put comes back, here and elsewhere; changed anywhere, nowhere. */
static void check_put(apr_pool_t *p, const uint8_t *data, size_t size)
{
    static level_t level;
    size_t id_len = size ? data[0] % size : 0;
    const uint8_t *id = data + (size ? 1 : 0);
    const char *cookies = apr_pstrmemdup(p, (const char *)id + id_len,
                                         size - id_len - (size ? 1 : 0));
    casp_jar_t *jar = jar_make(p, &level);

    level.len = 0;
    casp_jar_put(jar, id, id_len, cookies, NOON);
    const char *got = casp_jar_get(jar, p, id, id_len, NOON);
    bool fits = *cookies && strlen(cookies) <= 8192;
    must(fits ? got && strcmp(got, cookies) == 0 : got == NULL);
    if (!fits) {
        must(level.kept_len == 1);
        return;
    }
    level.bytes = level.kept;
    level.len = level.kept_len;
    got = casp_jar_get(jar_make(p, &level), p, id, id_len, NOON);
    must(got && strcmp(got, cookies) == 0);
    must(!casp_jar_get(jar_make(p, &level), p, "another id", 10, NOON)
         || (id_len == 10 && memcmp(id, "another id", 10) == 0));
    level.kept[data[0] * 31 % level.len] ^= (unsigned char)(1 + data[0] % 255);
    must(!casp_jar_get(jar_make(p, &level), p, id, id_len, NOON));
}

/* ---------------------------------------------------------------- the form */

static void check_form(apr_pool_t *p, char *rest, size_t len)
{
    const char *name = cut_line(&rest);
    static const casp_version_e versions[] = {CASP_V2003, CASP_V2007,
                                              CASP_V2010, CASP_V2019};
    casp_version_e version = versions[strlen(name) % 4];
    casp_backform_t form;
    casp_logon_t logon;

    len -= len ? strlen(name) : 0;
    len -= len ? 1 : 0;
    casp_backform_make(p, version, "https://ex.contoso.test", "/owa", name,
                       rest, len, (int)len, &form);
    must(form.path[0] == '/' && strlen(form.body) == form.len);
    must(strspn(form.body, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstu"
                           "vwxyz0123456789-._~%&=")
         == form.len);
    char *body = apr_pstrmemdup(p, form.body, form.len);
    if (casp_logon_read(p, body, form.len, &logon) == NULL) {
        must(logon.flags == ((int)len & 5));
        /* Latin-1 is made UTF-8 by that reader */
        must(strlen(logon.name) >= strlen(name) && logon.password_len >= len);
        must(logon.password_len > len || !memcmp(logon.password, rest, len));
        must(strlen(logon.name) > strlen(name) || !strcmp(logon.name, name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    apr_pool_t *p;

    if (!ready) {
        apr_initialize();
        ready = true;
    }
    if (size < 1 || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 0;
    }
    char *text = apr_pstrmemdup(p, (const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'j':
        check_sealed(p, data + 1, size - 1);
        break;
    case 'p':
        check_put(p, data + 1, size - 1);
        break;
    case 'f':
        check_form(p, text, size - 1);
        break;
    default:
        check_answer(p, apr_pstrmemdup(p, (const char *)data, size));
    }
    apr_pool_destroy(p);
    return 0;
}
