/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What strangers send, and what another machine's cache holds: a Basic
 * header, a typed name, the filter made of it, and bytes that claim to be a
 * mailbox record.  The same input goes through all of them.
 *
 * Not only crashes count: what is accepted must be what was promised.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

/* No unescaped byte of a value may end it or be a wildcard: then there are
 * as many brackets as the plan has, and no star. */
static void check_filter(apr_pool_t *p, const casp_user_key_t *key)
{
    const char *filter = casp_mailbox_filter(p, key, NULL);
    int open = 0, closed = 0;

    if (!filter) {
        return;
    }
    for (const char *c = filter; *c; c++) {
        must(*c != '*');
        open += *c == '(';
        closed += *c == ')';
    }
    must(open == closed && (open == 1 || open == 3));
    must(filter[0] == '(' && filter[strlen(filter) - 1] == ')');
}

static void check_name(apr_pool_t *p, const char *name, apr_size_t len,
                       unsigned char how)
{
    static const char *const domains[] = {NULL, "", "CONTOSO", "contoso.test"};
    casp_user_key_t key;

    if (casp_identity_key(p, name, len, (casp_logon_format_e)(how % 3),
                          domains[how % 4], &key)
        == CASP_CLAIM_OK) {
        must(key.kind == CASP_KEY_LOGON || key.kind == CASP_KEY_UPN);
        must(key.len > 0 && key.len == strlen(key.value));
        must((key.domain != NULL) == (key.kind == CASP_KEY_LOGON));
        check_filter(p, &key);
    }
}

static void check_basic(apr_pool_t *p, const char *header, unsigned char how)
{
    casp_claim_t claim;

    if (casp_identity_basic(p, header, &claim) == CASP_CLAIM_OK) {
        must(claim.password && claim.password_len > 0
             && claim.password_len <= CASP_PASSWORD_MAX
             && strlen(claim.password) == claim.password_len);
        must(claim.name && *claim.name && strlen(claim.name) <= CASP_NAME_MAX);
        check_name(p, claim.name, strlen(claim.name), how);
    }
    else {
        must(claim.password == NULL);
    }
}

static void check_record(apr_pool_t *p, const uint8_t *data, size_t size)
{
    casp_home_t home;
    int i;

    if (!casp_mailbox_valid(data, size)) {
        return;
    }
    const casp_mailbox_t *m = apr_pmemdup(p, data, size);
    for (i = 0; i < CASP_MB_STRINGS; i++) {
        const char *text = casp_mailbox_text(m, (casp_mailbox_string_e)i);
        must(text + strlen(text) < (const char *)m + size);
    }
    casp_identity_display(p, m);
    casp_identity_bind_name(p, m, true);
    casp_mailbox_home(m, NULL, &home);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    apr_pool_t *p;

    if (!ready) {
        apr_initialize();
        ready = true;
    }
    if (size == 0 || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 0;
    }
    unsigned char how = data[0];
    const char *text = apr_pstrmemdup(p, (const char *)data + 1, size - 1);
    casp_user_key_t key = {(casp_key_e)(CASP_KEY_LOGON + how % 6),
                           how & 64 ? "contoso" : NULL, text, size - 1};

    check_basic(p, text, how);
    check_basic(p, apr_pstrcat(p, "Basic ", text, NULL), how);
    check_name(p, text, size - 1, how);
    check_filter(p, &key);
    check_record(p, data, size);
    apr_pool_destroy(p);
    return 0;
}
