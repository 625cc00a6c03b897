/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_cookie.c: what a stranger sends for a session, and what a careless
 * administrator writes into a key ring.  The first byte says how the rest is
 * taken: as a Cookie header, as a cookie's value, as the plain text of an
 * authentic cookie, as name and password of a session that is sealed and
 * broken, or as a ring.  A header goes through all that reads headers.
 *
 * Not only crashes count: nothing is good that was not sealed here, what is
 * sealed comes back as it was, and no cookie of ours is left in a header for
 * a backend.
 */

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_encode.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "ring.h"
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIMEOUT 900 /* seconds, of both families */
#define VHOST "forms.contoso.test"

static const apr_time_t noon = apr_time_from_sec(1700000100);
static casp_ring_t ring;
static casp_sealer_t *sealer;

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void set_up(void)
{
    char text[] =
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    apr_pool_t *forever;
    int line;

    apr_initialize();
    must(apr_pool_create(&forever, NULL) == APR_SUCCESS);
    must(casp_ring_parse(text, strlen(text), &ring, &line) == NULL);
    sealer =
        casp_sealer_create(forever, &ring, VHOST, apr_time_from_sec(TIMEOUT),
                           apr_time_from_sec(TIMEOUT));
    must(sealer != NULL);
    /* after OpenSSL's own, and so before it when all ends */
    atexit(apr_terminate);
}

static bool good(casp_session_e how)
{
    return how == CASP_SESSION_OK || how == CASP_SESSION_OLD;
}

static void check_session(casp_session_e how, const casp_session_t *s)
{
    must(how <= CASP_SESSION_BAD);
    must(good(how) == (s->name != NULL) && good(how) == (s->password != NULL));
    if (good(how)) {
        must(*s->name && strlen(s->name) <= CASP_NAME_MAX && s->flags >= 0
             && s->began >= 0 && s->password[s->password_len] == '\0');
    }
}

/* ----------------------------------------------------------------- headers */

/* Read by other means than the room's own: after any mark and whatever a lax
 * parser skips, none of our names. */
static void check_clean(const char *header)
{
    for (const char *at = header; at; at = strpbrk(at, ";,")) {
        while (*at == ';' || *at == ',' || *at == '"'
               || (*at && (unsigned char)*at <= ' ')) {
            at++;
        }
        must(strncasecmp(at, "cadata", 6) != 0);
        must(strncmp(at, "sessionid=", 10) != 0);
        must(strncmp(at, "casproxy_rdr=", 13) != 0);
    }
}

static void check_header(apr_pool_t *p, const char *header)
{
    casp_session_t s;
    int stray = -1, all = 0;

    casp_session_e how =
        casp_session_find(p, sealer, header, noon, &s, &stray);
    check_session(how, &s);
    for (const char *at = header; (at = strstr(at, "cadata")); at++) {
        all++;
    }
    must(stray >= 0 && (stray < all || stray == 0));
    must(how != CASP_SESSION_NONE || stray == 0);

    const char *clean = casp_session_strip(p, header);
    must(clean == NULL || strlen(clean) <= strlen(header));
    if (clean) {
        check_clean(clean);
        must(casp_session_strip(p, clean) == clean);
    }
    casp_session_owns(header, strcspn(header, "=;"));
}

/* ----------------------------------------------------------- their insides */

/* An authentic cookie around any bytes, padded or not. */
static const char *seal(apr_pool_t *p, const uint8_t *plain, size_t len,
                        uint64_t slot, unsigned char family)
{
    unsigned char info[20 + 14 + 32], key[32];
    unsigned char *sealed = apr_pcalloc(p, 10 + 12 + len + 16);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    sealed[0] = 1;
    sealed[1] = family;
    memcpy(sealed + 2, ring.keys[0].id, CASP_RING_ID);
    memcpy(info, "mod_casproxy session\1", 21);
    info[21] = family;
    for (int i = 0; i < 8; i++) {
        info[22 + i] = (unsigned char)((uint64_t)apr_time_from_sec(TIMEOUT)
                                       >> (56 - 8 * i));
    }
    for (int i = 0; i < 4; i++) {
        info[30 + i] = sealed[6 + i] = (unsigned char)(slot >> (24 - 8 * i));
    }
    must(EVP_Digest(VHOST, strlen(VHOST), info + 34, NULL, EVP_sha256(), NULL)
         && casp_ring_derive(kdf, &ring.keys[0], info, sizeof(info), key,
                             sizeof(key)));
    must(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed + 10)
         && EVP_EncryptUpdate(ctx, NULL, &n, sealed, 10)
         && EVP_EncryptUpdate(ctx, sealed + 22, &n, plain, (int)len)
         && EVP_EncryptFinal_ex(ctx, sealed + 22 + n, &n)
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16,
                                sealed + 22 + len));
    EVP_CIPHER_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return apr_pencode_base64_binary(p, sealed,
                                     (apr_ssize_t)(10 + 12 + len + 16),
                                     APR_ENCODE_BASE64URL
                                         | APR_ENCODE_NOPADDING,
                                     NULL);
}

/* What is good when it is opened can be sealed, and is the same again. */
static void check_plain(apr_pool_t *p, const uint8_t *data, size_t size,
                        unsigned how)
{
    size_t len = how & 1 ? size : (size + 63) / 64 * 64;
    uint8_t *plain = apr_pcalloc(p, len + 1);
    uint64_t now = (uint64_t)apr_time_sec(noon) / (TIMEOUT / 2);
    casp_session_t s, t;

    if (size > 4096) {
        return;
    }
    memcpy(plain, data, size);
    const char *value =
        seal(p, plain, len, now + 2 - (how >> 1 & 7), how >> 4 & 1);
    casp_session_e what =
        casp_session_open(p, sealer, value, strlen(value), noon, &s);
    check_session(what, &s);
    if (good(what)) {
        value = casp_session_seal(p, sealer, &s, noon);
        must(value
             && casp_session_open(p, sealer, value, strlen(value), noon, &t)
                    == CASP_SESSION_OK);
        must(!strcmp(s.name, t.name) && s.password_len == t.password_len
             && !memcmp(s.password, t.password, s.password_len)
             && !memcmp(s.id, t.id, sizeof(s.id)) && s.flags == t.flags
             && s.began == t.began && s.password_set == t.password_set);
    }
}

/* Name and password are cut where @a how says; then one character changes. */
static void check_sealed(apr_pool_t *p, const uint8_t *data, size_t size,
                         unsigned how)
{
    size_t cut = size ? how % size : 0;
    const char *name = apr_pstrmemdup(p, (const char *)data, cut);
    char *password = apr_pstrmemdup(p, (const char *)data + cut, size - cut);
    casp_session_t s, t;

    must(casp_session_begin(&s, (int)(how & 5), name, password, size - cut,
                            noon));
    const char *value = casp_session_seal(p, sealer, &s, noon);
    if (!value) {
        must(!*name || strlen(name) > CASP_NAME_MAX || size - cut > 1024);
        return;
    }
    size_t len = strlen(value);
    must(len > 70 && len <= CASP_SESSION_MAX
         && casp_session_open(p, sealer, value, len, noon, &t)
                == CASP_SESSION_OK);
    must(!strcmp(name, t.name) && t.password_len == size - cut
         && !memcmp(t.password, data + cut, size - cut) && t.flags == s.flags);
    char *broken = apr_pstrdup(p, value);
    broken[how * 31 % len] ^= (char)(1 << how % 8);
    must(casp_session_open(p, sealer, broken, len, noon, &t)
         == CASP_SESSION_BAD);
    must(casp_session_open(p, sealer, value, how * 31 % len, noon, &t)
         == CASP_SESSION_BAD);
}

static void check_ring(apr_pool_t *p, const uint8_t *data, size_t size)
{
    char *text = apr_pstrmemdup(p, (const char *)data, size);
    casp_ring_t read;
    int line = -1;

    const char *wrong = casp_ring_parse(text, size, &read, &line);
    must(line >= 0 && read.n >= 0 && read.n <= CASP_RING_MAX);
    must(wrong ? (line > 0 || read.n == 0) : (read.n > 0 && line == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p;
    casp_session_t s;

    if (!sealer) {
        set_up();
    }
    if (size < 2 || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 0;
    }
    const uint8_t *rest = data + 2;
    size_t len = size - 2;
    switch (data[0]) {
    case 'v': /* exact, so that a byte too many is seen */
        check_session(casp_session_open(p, sealer, (const char *)rest, len,
                                        noon, &s),
                      &s);
        break;
    case 'p':
        check_plain(p, rest, len, data[1]);
        break;
    case 's':
        check_sealed(p, rest, len, data[1]);
        break;
    case 'r':
        check_ring(p, rest, len);
        break;
    default:
        check_header(p, apr_pstrmemdup(p, (const char *)data, size));
    }
    apr_pool_destroy(p);
    return 0;
}
