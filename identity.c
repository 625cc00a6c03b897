/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who asks: a Basic header or a typed name, made into a key to look up; and
 * the memory of passwords that a bind has verified.
 *
 * Everything here is input by strangers, read before anybody is known.  So a
 * claim is measured before it is decoded, decoded strictly (what two readers
 * could read in two ways is refused), and passwords are wiped with the pool
 * they lie in.
 *
 * It must not ask a directory, and no byte of a password may leave it but in
 * the claim: no log, no error text, no table.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_base64.h>
#include <apr_cstr.h>
#include <apr_strings.h>

#include <openssl/crypto.h>

#include "identity.h"

/* name, colon, password; and the base64 of that */
#define BASIC_MAX (CASP_NAME_MAX + 1 + CASP_PASSWORD_MAX)
#define BASIC_ENCODED_MAX ((BASIC_MAX + 2) / 3 * 4)

const char *casp_claim_name(casp_claim_e claim)
{
    switch (claim) {
    case CASP_CLAIM_OK:
        return "ok";
    case CASP_CLAIM_NONE:
        return "no-credentials";
    case CASP_CLAIM_OTHER:
        return "other-scheme";
    case CASP_CLAIM_BROKEN:
        return "broken-credentials";
    case CASP_CLAIM_TOO_LONG:
        return "credentials-too-long";
    case CASP_CLAIM_EMPTY:
        return "empty-name";
    case CASP_CLAIM_EMPTY_PASSWORD:
        return "empty-password";
    case CASP_CLAIM_NO_DOMAIN:
        return "no-domain";
    }
    return "unknown";
}

void casp_wipe(void *data, apr_size_t len)
{
    if (data) {
        OPENSSL_cleanse(data, len);
    }
}

/* ---------------------------------------------------------------- UTF-8 */

/* The length of the UTF-8 sequence at s, strictly (no overlong forms, no
 * surrogates, nothing above U+10FFFF); 0 where there is none. */
static int utf8_length(const unsigned char *s, apr_size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    int n, i;

    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        n = 2;
    }
    else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        n = 3;
        low = s[0] == 0xe0 ? 0xa0 : low;
        high = s[0] == 0xed ? 0x9f : high;
    }
    else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        n = 4;
        low = s[0] == 0xf0 ? 0x90 : low;
        high = s[0] == 0xf4 ? 0x8f : high;
    }
    else {
        return 0;
    }
    if ((apr_size_t)n > left || s[1] < low || s[1] > high) {
        return 0;
    }
    for (i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

static bool utf8_valid(const unsigned char *s, apr_size_t len)
{
    apr_size_t i = 0;

    while (i < len) {
        int n = utf8_length(s + i, len - i);
        if (!n) {
            return false;
        }
        i += (apr_size_t)n;
    }
    return true;
}

/* NUL, C0, DEL; in UTF-8 the C1 controls, too. */
static bool has_controls(const unsigned char *s, apr_size_t len, bool c1)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        if (s[i] < 0x20 || s[i] == 0x7f
            || (c1 && s[i] == 0xc2 && i + 1 < len && s[i + 1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

/* A copy in UTF-8; bytes that are none are taken as Latin-1. */
static char *to_utf8(apr_pool_t *p, const unsigned char *s, apr_size_t len,
                     bool is_utf8, apr_size_t *out_len)
{
    char *out = apr_palloc(p, (is_utf8 ? len : 2 * len) + 1);
    apr_size_t i, n = 0;

    for (i = 0; i < len; i++) {
        if (is_utf8 || s[i] < 0x80) {
            out[n++] = (char)s[i];
        }
        else {
            out[n++] = (char)(0xc0 | (s[i] >> 6));
            out[n++] = (char)(0x80 | (s[i] & 0x3f));
        }
    }
    out[n] = '\0';
    *out_len = n;
    return out;
}

/* ---------------------------------------------------------------- Basic */

typedef struct {
    void *data;
    apr_size_t len;
} identity_secret_t;

static apr_status_t identity_wipe_cleanup(void *data)
{
    identity_secret_t *secret = data;
    casp_wipe(secret->data, secret->len);
    return APR_SUCCESS;
}

static bool base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Whole groups, the alphabet, padding at the end only: apr_base64 stops at
 * the first other byte and says nothing. */
static bool base64_valid(const char *s, apr_size_t len)
{
    apr_size_t i, pad = 0;

    if (len == 0 || len % 4 != 0) {
        return false;
    }
    while (pad < 2 && s[len - 1 - pad] == '=') {
        pad++;
    }
    for (i = 0; i < len - pad; i++) {
        if (!base64_char(s[i])) {
            return false;
        }
    }
    return true;
}

/* The decoded "name:password" into a claim. */
static casp_claim_e basic_split(apr_pool_t *p, const unsigned char *s,
                                apr_size_t len, casp_claim_t *claim)
{
    const unsigned char *colon = memchr(s, ':', len);

    if (!colon) {
        return CASP_CLAIM_BROKEN;
    }
    apr_size_t name_len = (apr_size_t)(colon - s);
    apr_size_t password_len = len - name_len - 1;
    bool is_utf8 = utf8_valid(s, len);
    if (has_controls(s, len, false)) {
        return CASP_CLAIM_BROKEN;
    }

    const char *name = to_utf8(p, s, name_len, is_utf8, &name_len);
    identity_secret_t *secret = apr_palloc(p, sizeof(*secret));
    char *password =
        to_utf8(p, colon + 1, password_len, is_utf8, &password_len);
    secret->data = password;
    secret->len = password_len;
    apr_pool_cleanup_register(p, secret, identity_wipe_cleanup,
                              apr_pool_cleanup_null);
    if (has_controls((const unsigned char *)name, name_len, true)) {
        return CASP_CLAIM_BROKEN;
    }
    if (name_len > CASP_NAME_MAX || password_len > CASP_PASSWORD_MAX) {
        return CASP_CLAIM_TOO_LONG;
    }
    claim->name = name;
    if (name_len == 0) {
        return CASP_CLAIM_EMPTY;
    }
    if (password_len == 0) {
        return CASP_CLAIM_EMPTY_PASSWORD;
    }
    claim->password = password;
    claim->password_len = password_len;
    return CASP_CLAIM_OK;
}

casp_claim_e casp_identity_basic(apr_pool_t *p, const char *header,
                                 casp_claim_t *claim)
{
    unsigned char decoded[BASIC_ENCODED_MAX / 4 * 3 + 1];

    memset(claim, 0, sizeof(*claim));
    while (header && (*header == ' ' || *header == '\t')) {
        header++;
    }
    if (!header || !*header) {
        return CASP_CLAIM_NONE;
    }
    if (apr_cstr_casecmpn(header, "Basic", 5) != 0
        || (header[5] && header[5] != ' ' && header[5] != '\t')) {
        return CASP_CLAIM_OTHER;
    }
    const char *token = header + 5;
    while (*token == ' ' || *token == '\t') {
        token++;
    }
    apr_size_t len = strlen(token);
    while (len > 0 && (token[len - 1] == ' ' || token[len - 1] == '\t')) {
        len--;
    }
    if (len > BASIC_ENCODED_MAX) {
        return CASP_CLAIM_TOO_LONG;
    }
    if (!base64_valid(token, len)) {
        return CASP_CLAIM_BROKEN;
    }
    /* Decoding ends at the blank or NUL behind the token. */
    int n = apr_base64_decode_binary(decoded, token);
    casp_claim_e how =
        basic_split(p, decoded, n > 0 ? (apr_size_t)n : 0, claim);
    casp_wipe(decoded, len / 4 * 3); /* no more was written */
    return how;
}

/* ---------------------------------------------------------------- names */

/* Lower case in ASCII only: more would need Unicode tables, and the
 * directory compares without case anyway. */
static const char *lower_copy(apr_pool_t *p, const char *s, apr_size_t len)
{
    char *out = apr_pstrmemdup(p, s, len);
    char *c;

    for (c = out; *c; c++) {
        if (*c >= 'A' && *c <= 'Z') {
            *c = (char)(*c - 'A' + 'a');
        }
    }
    return out;
}

static casp_claim_e key_logon(apr_pool_t *p, const char *domain,
                              apr_size_t domain_len, const char *user,
                              apr_size_t len, casp_user_key_t *key)
{
    if (len == 0) {
        return CASP_CLAIM_EMPTY;
    }
    key->kind = CASP_KEY_LOGON;
    key->domain = lower_copy(p, domain, domain_len);
    key->value = lower_copy(p, user, len);
    key->len = len;
    return CASP_CLAIM_OK;
}

static casp_claim_e key_upn(apr_pool_t *p, const char *name, apr_size_t len,
                            casp_user_key_t *key)
{
    if (name[0] == '@') {
        return CASP_CLAIM_EMPTY;
    }
    if (name[len - 1] == '@') {
        return CASP_CLAIM_BROKEN;
    }
    key->kind = CASP_KEY_UPN;
    key->value = lower_copy(p, name, len);
    key->len = len;
    return CASP_CLAIM_OK;
}

/* A default domain with a dot is a DNS name, and goes behind the name. */
static casp_claim_e key_bare(apr_pool_t *p, const char *name, apr_size_t len,
                             const char *default_domain, casp_user_key_t *key)
{
    if (!default_domain || !*default_domain) {
        return CASP_CLAIM_NO_DOMAIN;
    }
    if (!strchr(default_domain, '.')) {
        return key_logon(p, default_domain, strlen(default_domain), name, len,
                         key);
    }
    const char *upn = apr_pstrcat(p, apr_pstrmemdup(p, name, len), "@",
                                  default_domain, NULL);
    return key_upn(p, upn, strlen(upn), key);
}

casp_claim_e casp_identity_key(apr_pool_t *p, const char *name, apr_size_t len,
                               casp_logon_format_e format,
                               const char *default_domain,
                               casp_user_key_t *key)
{
    /* The format says what the logon page asks for.  What people then type
     * is understood in every form. */
    (void)format;

    memset(key, 0, sizeof(*key));
    if (!name || len == 0) {
        return CASP_CLAIM_EMPTY;
    }
    if (len > CASP_NAME_MAX) {
        return CASP_CLAIM_TOO_LONG;
    }
    if (has_controls((const unsigned char *)name, len, true)
        || !utf8_valid((const unsigned char *)name, len)) {
        return CASP_CLAIM_BROKEN;
    }
    while (len > 0 && *name == ' ') {
        name++;
        len--;
    }
    while (len > 0 && name[len - 1] == ' ') {
        len--;
    }
    if (len == 0) {
        return CASP_CLAIM_EMPTY;
    }
    const char *slash = memchr(name, '\\', len);
    if (slash == name) {
        name++;
        len--;
        slash = NULL;
        if (len == 0) {
            return CASP_CLAIM_EMPTY;
        }
    }
    else if (slash) {
        apr_size_t domain = (apr_size_t)(slash - name);
        return key_logon(p, name, domain, slash + 1, len - domain - 1, key);
    }
    return memchr(name, '@', len)
               ? key_upn(p, name, len, key)
               : key_bare(p, name, len, default_domain, key);
}

const char *casp_identity_bind_name(apr_pool_t *p, const casp_mailbox_t *m,
                                    bool is_ad)
{
    const char *domain = casp_mailbox_text(m, CASP_MB_NETBIOS);
    const char *sam = casp_mailbox_text(m, CASP_MB_SAM);

    return is_ad && *domain && *sam
               ? apr_pstrcat(p, domain, "\\", sam, NULL)
               : apr_pstrdup(p, casp_mailbox_text(m, CASP_MB_DN));
}

const char *casp_identity_display(apr_pool_t *p, const casp_mailbox_t *m)
{
    const char *domain = casp_mailbox_text(m, CASP_MB_NETBIOS);
    const char *sam = casp_mailbox_text(m, CASP_MB_SAM);
    const char *upn = casp_mailbox_text(m, CASP_MB_UPN);

    if (*domain && *sam) {
        return apr_pstrcat(p, domain, "\\", sam, NULL);
    }
    return apr_pstrdup(p, *upn ? upn : casp_mailbox_text(m, CASP_MB_DN));
}
