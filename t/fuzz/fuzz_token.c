/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_token.c: what a stranger sends as a token, and what a PAC may hold.
 * The first byte says how the rest is taken: as a token, as an Authorization
 * header, or as either of the PAC's buffers.
 *
 * Not only crashes count: what is taken for NTLM or SPNEGO begins as such, a
 * token is the same bare and in a header, and a SID has a SID's size.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_base64.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void look_at_token(const uint8_t *data, size_t size)
{
    switch (casp_token_kind(data, size)) {
    case CASP_TOKEN_NTLM_1:
        must(size >= 16 && !memcmp(data, "NTLMSSP\0\1", 9));
        break;
    case CASP_TOKEN_NTLM_3:
        must(size >= 16 && !memcmp(data, "NTLMSSP\0\3", 9));
        break;
    case CASP_TOKEN_SPNEGO_NTLM:
    case CASP_TOKEN_KERBEROS:
        must(size > 10 && data[0] == 0x60);
        break;
    case CASP_TOKEN_SPNEGO_MORE:
        must(size >= 4 && data[0] == 0xa1);
        break;
    case CASP_TOKEN_BAD:
        break;
    }
}

/* In a header and out of it again. */
static void wrap_token(apr_pool_t *p, const uint8_t *data, size_t size)
{
    char *text = apr_palloc(p, (apr_size_t)apr_base64_encode_len((int)size));
    apr_size_t len = 0;
    bool negotiate = false;
    (void)apr_base64_encode_binary(text, data, (int)size);
    const void *back =
        casp_token_of_header(p, apr_pstrcat(p, "Negotiate ", text, NULL), &len,
                             &negotiate);
    must(size == 0 || size > CASP_TOKEN_MAX / 3 * 3
         || (back && negotiate && len == size && !memcmp(back, data, size)));
}

static void look_at_header(apr_pool_t *p, const uint8_t *data, size_t size)
{
    apr_size_t len = 0;
    bool negotiate = false;
    const void *token =
        casp_token_of_header(p, apr_pstrmemdup(p, (const char *)data, size),
                             &len, &negotiate);
    if (token) {
        must(len > 0 && len <= CASP_TOKEN_MAX);
        look_at_token(token, len);
    }
}

static void look_at_pac(const uint8_t *data, size_t size, bool logon)
{
    unsigned char sid[68];
    memset(sid, 0xaa, sizeof(sid));
    apr_size_t len = logon ? casp_pac_logon_sid(data, size, sid)
                           : casp_pac_upn_sid(data, size, sid);
    must(len == 0
         || (len >= 12 && len <= sizeof(sid) && sid[0] == 1
             && len == 8 + 4 * (apr_size_t)sid[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        must(apr_initialize() == APR_SUCCESS);
        ready = true;
    }
    if (size == 0) {
        return 0;
    }
    apr_pool_t *p;
    must(apr_pool_create(&p, NULL) == APR_SUCCESS);
    switch (data[0] % 4) {
    case 0:
        look_at_token(data + 1, size - 1);
        wrap_token(p, data + 1, size - 1);
        break;
    case 1:
        look_at_header(p, data + 1, size - 1);
        break;
    default:
        look_at_pac(data + 1, size - 1, data[0] % 4 == 2);
    }
    apr_pool_destroy(p);
    return 0;
}
