/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the tests of sessions and of their key ring stand on: a folder of their
 * own, secrets, a clock at noon, and sessions sealed and opened.
 */

#ifndef CASP_SESSIONWORLD_H
#define CASP_SESSIONWORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <apr_file_info.h>
#include <apr_strings.h>

#include "ring.h"
#include "session.h"

#define SEC(n) apr_time_from_sec(n)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define VHOST "forms.contoso.test"

/* 48 bytes, 32, and 32 in hexadecimal */
#define SECRET_A \
    "c2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgISEh"
#define SECRET_B "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define SECRET_D \
    "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static const apr_time_t noon = SEC(1700000100);
static apr_pool_t *pool;
static const char *dir;

static int set_up(void **state)
{
    char text[] = "/tmp/casp-session-XXXXXX";

    (void)state;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS || !mkdtemp(text)) {
        return -1;
    }
    dir = apr_pstrdup(pool, text);
    return 0;
}

static int tear_down(void **state)
{
    apr_dir_t *d;
    apr_finfo_t entry;

    (void)state;
    assert_int_equal(apr_dir_open(&d, dir, pool), APR_SUCCESS);
    while (apr_dir_read(&entry, APR_FINFO_NAME, d) == APR_SUCCESS) {
        if (strcmp(entry.name, ".") && strcmp(entry.name, "..")) {
            remove(apr_pstrcat(pool, dir, "/", entry.name, NULL));
        }
    }
    apr_dir_close(d);
    rmdir(dir);
    apr_pool_destroy(pool);
    return 0;
}

static const char *in_dir(const char *name)
{
    return apr_pstrcat(pool, dir, "/", name, NULL);
}

static const char *write_bytes(const char *name, const void *bytes, size_t len)
{
    const char *path = in_dir(name);
    remove(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static const char *write_ring(const char *text)
{
    return write_bytes("ring", text, strlen(text));
}

static casp_session_t session_of(int flags, const char *name,
                                 const char *password)
{
    casp_session_t s;
    assert_true(casp_session_begin(&s, flags, name,
                                   apr_pstrdup(pool, password),
                                   strlen(password), noon));
    return s;
}

static const char *seal(casp_sealer_t *sealer, const casp_session_t *s,
                        apr_time_t now)
{
    const char *value = casp_session_seal(pool, sealer, s, now);
    assert_non_null(value);
    return value;
}

static casp_session_e open_at(casp_sealer_t *sealer, const char *value,
                              apr_time_t now)
{
    casp_session_t s;
    memset(&s, 0xa5, sizeof(s));
    casp_session_e how =
        casp_session_open(pool, sealer, value, strlen(value), now, &s);
    if (how != CASP_SESSION_OK && how != CASP_SESSION_OLD) {
        assert_null(s.password);
        assert_null(s.name);
    }
    return how;
}

#endif /* CASP_SESSIONWORLD_H */
