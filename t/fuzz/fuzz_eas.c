/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_eas.c: a query as a stranger may send it (the first line) and its
 * MS-ASProtocolVersion (the rest); and once more all of it as the bytes that
 * a packed query holds.
 *
 * Not only crashes count: what is read fits a log, a version is one that can
 * be said, and the packed form outdoes the header.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_base64.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "eas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void must_be_text(const char *s)
{
    must(s == NULL || *s != '\0');
    for (; s && *s; s++) {
        must((unsigned char)*s >= ' ' && *s != 0x7f);
    }
}

static void check(apr_pool_t *p, const char *query, const char *header)
{
    casp_eas_t eas, other;

    casp_eas_read(p, query, header, &eas);
    must(eas.version >= 0 && eas.version <= 999);
    must(!eas.encoded || (eas.version >= 1 && eas.version <= 255));
    must_be_text(eas.command);
    must_be_text(eas.user);
    must_be_text(eas.device_id);
    must_be_text(eas.device_type);
    if (eas.command != NULL) {
        casp_eas_read(p, apr_pstrcat(p, "Cmd=", eas.command, NULL), NULL,
                      &other);
        must(other.command == eas.command);
    }
    casp_eas_read(p, query, "14.1", &other);
    must(other.encoded == eas.encoded);
    must(other.version == (eas.encoded ? eas.version : 141));
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
    char *header = strchr(text, '\n');
    if (header != NULL) {
        *header++ = '\0';
    }
    check(p, text, header);
    if (size < 4096) {
        char *query =
            apr_palloc(p, (apr_size_t)apr_base64_encode_len((int)size));
        apr_base64_encode_binary(query, data, (int)size);
        check(p, query, NULL);
    }
    apr_pool_destroy(p);
    return 0;
}
