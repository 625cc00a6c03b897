/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The beginning of an EWS request's body, cut anywhere.
 *
 * Not only crashes count: what is found is a name that the directory may be
 * asked for, bytes that come one by one make no difference, and the end that
 * was found lies within them.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "anchor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void check_name(const char *name, apr_size_t len, casp_key_e kind)
{
    if (kind == CASP_KEY_ACCOUNT) {
        const unsigned char *sid = (const unsigned char *)name;
        must(len >= 12 && len <= 68 && sid[0] == 1);
        must(len == 8 + 4 * (apr_size_t)sid[1]);
        return;
    }
    must(kind == CASP_KEY_SMTP || kind == CASP_KEY_UPN);
    must(len > 0 && len == strlen(name) && strchr(name, '@'));
    for (apr_size_t i = 0; i < len; i++) {
        must((unsigned char)name[i] >= ' ' && name[i] != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    const char *text = (const char *)data;
    casp_anchor_scan_t whole = {0}, bytes = {0};
    casp_key_e kind = CASP_KEY_LOGON;
    casp_anchor_e found;
    apr_size_t len = 0;
    apr_pool_t *p;

    if (!ready) {
        apr_initialize();
        ready = true;
    }
    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 0;
    }
    found = casp_anchor_scan(&whole, text, size);
    for (size_t n = 0; n <= size; n++) {
        casp_anchor_scan(&bytes, text, n);
    }
    must(casp_anchor_scan(&bytes, text, size) == found);
    if (found == CASP_ANCHOR_FOUND) {
        must(whole.end == bytes.end && whole.end <= size);
        must(text[whole.end - 1] == '>' && whole.root_len > 0);
    }
    const char *name = casp_anchor_read(p, text, size, &kind, &len);
    must(!name || found == CASP_ANCHOR_FOUND);
    if (name) {
        check_name(name, len, kind);
    }
    apr_pool_destroy(p);
    return 0;
}
