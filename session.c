/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * session.c - a logon by form, sealed into the cookie that is all there is of
 * a session; and the memory of those that ended early.
 *
 * A cookie's value is base64url, without padding, of
 *
 *     version 1 | family 1 | key id 4 | slot 4     in the clear, sealed in
 *     nonce 12
 *     id 16 | flags 4 | began 8 | password set 8 | name 2+n | password 2+n
 *     | zeros
 *     tag 16
 *
 * by AES-256-GCM.  A request costs one table look-up, one decryption and no
 * derivation: keys of the slots in force are kept, which is what makes this
 * bearable for a page with a hundred scripts.
 *
 * Zeros fill up to a multiple of 64, for a cookie's length must not tell how
 * long the password is.  What was authentic is read with as much distrust as
 * what was not: another version's bug must not become this one's.
 *
 * Must not: keep a session, log a cookie, or hold a lock during cryptography.
 */

#include "session.h"

#include <limits.h>
#include <string.h>

#include <apr_cstr.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "ring.h"

#define VERSION 1
#define HEAD_LEN 10
#define NONCE_LEN 12
#define TAG_LEN 16
#define AROUND (HEAD_LEN + NONCE_LEN + TAG_LEN)
#define KEY_LEN 32
#define GRAIN 64 /* plain text comes in multiples of it */
#define FIXED_LEN (CASP_SESSION_ID + 4 + 8 + 8 + 2 + 2)
#define SEALED_MAX (CASP_SESSION_MAX / 4 * 3)
#define PLAIN_MAX ((SEALED_MAX - AROUND) / GRAIN * GRAIN)

/* Slots in force: the one to come, for the clocks of nodes differ; this one;
 * and two before. */
#define SLOTS 4
#define SLOTS_BEFORE 2
#define FAMILIES 2 /* public, private */

static const char key_info[] = "mod_casproxy session"; /* no NUL is used */
#define WORD_LEN (sizeof(key_info) - 1)
#define VHOST_LEN 32
#define INFO_LEN (WORD_LEN + 1 + 1 + 8 + 4 + VHOST_LEN)

typedef struct {
    bool there;
    uint32_t slot;
    unsigned char key[KEY_LEN];
} slot_key_t;

struct casp_sealer_t {
    apr_thread_mutex_t *lock; /* of keys */
    const casp_ring_t *ring;
    EVP_CIPHER *cipher;
    EVP_KDF *kdf;
    apr_interval_time_t timeout[FAMILIES];
    unsigned char vhost[VHOST_LEN]; /* its hash */
    signed char digit[256]; /* of base64url */
    slot_key_t keys[CASP_RING_MAX][FAMILIES][SLOTS]; /* at slot % SLOTS */
};

/* -------------------------------------------------------------- base64url */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const char *session_encode(apr_pool_t *p, const unsigned char *in,
                                  size_t len)
{
    char *text = apr_palloc(p, (len + 2) / 3 * 4 + 1);
    char *out = text;

    for (; len > 2; in += 3, len -= 3) {
        *out++ = alphabet[in[0] >> 2];
        *out++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
        *out++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
        *out++ = alphabet[in[2] & 63];
    }
    if (len) {
        *out++ = alphabet[in[0] >> 2];
        *out++ = alphabet[(in[0] & 3) << 4 | (len > 1 ? in[1] >> 4 : 0)];
    }
    if (len > 1) {
        *out++ = alphabet[(in[1] & 15) << 2];
    }
    *out = '\0';
    return text;
}

/* One spelling only: left-over bits are zero.  @return 0: it is none */
static size_t session_decode(const casp_sealer_t *sealer, const char *in,
                             size_t len, unsigned char *out)
{
    unsigned char *start = out;
    uint32_t bits = 0;
    int have = 0;

    if (len % 4 == 1) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        int digit = sealer->digit[(unsigned char)in[i]];
        if (digit < 0) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *out++ = (unsigned char)(bits >> have);
        }
    }
    return bits & ((1u << have) - 1) ? 0 : (size_t)(out - start);
}

/* -------------------------------------------------------------- the sealer */

static apr_status_t sealer_cleanup(void *data)
{
    casp_sealer_t *sealer = data;

    casp_wipe(sealer->keys, sizeof(sealer->keys));
    EVP_CIPHER_free(sealer->cipher);
    EVP_KDF_free(sealer->kdf);
    sealer->cipher = NULL;
    sealer->kdf = NULL;
    return APR_SUCCESS;
}

casp_sealer_t *casp_sealer_create(apr_pool_t *p, const casp_ring_t *ring,
                                  const char *vhost,
                                  apr_interval_time_t public_timeout,
                                  apr_interval_time_t private_timeout)
{
    casp_sealer_t *sealer = apr_pcalloc(p, sizeof(*sealer));

    sealer->ring = ring;
    sealer->timeout[0] = public_timeout;
    sealer->timeout[1] = private_timeout;
    memset(sealer->digit, -1, sizeof(sealer->digit));
    for (int i = 0; i < 64; i++) {
        sealer->digit[(unsigned char)alphabet[i]] = (signed char)i;
    }
    sealer->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    sealer->kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    apr_pool_cleanup_register(p, sealer, sealer_cleanup,
                              apr_pool_cleanup_null);
    if (!sealer->cipher || !sealer->kdf
        || EVP_Digest(vhost, strlen(vhost), sealer->vhost, NULL, EVP_sha256(),
                      NULL)
               != 1
        || apr_thread_mutex_create(&sealer->lock, APR_THREAD_MUTEX_DEFAULT, p)
               != APR_SUCCESS) {
        casp_log(CASP_LOG_ERROR, APR_SUCCESS,
                 CASPLOGNO(0600) "%s: nobody can log on by form: OpenSSL "
                                 "offers no AES-256-GCM, HKDF or SHA-256, or "
                                 "there is no lock; see which providers "
                                 "OpenSSL's configuration loads",
                           vhost);
        return NULL;
    }
    return sealer;
}

/* ------------------------------------------------------------- slots, keys */

static void put_number(unsigned char *out, uint64_t value, int bytes)
{
    while (bytes--) {
        out[bytes] = (unsigned char)value;
        value >>= 8;
    }
}

static uint64_t get_number(const unsigned char *in, int bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | *in++;
    }
    return value;
}

static int64_t slot_at(const casp_sealer_t *sealer, int family, apr_time_t now)
{
    apr_interval_time_t half = sealer->timeout[family] / 2;

    half = half < APR_USEC_PER_SEC ? APR_USEC_PER_SEC : half;
    int64_t slot = now > 0 ? now / half : 0;
    return slot < UINT32_MAX ? slot : UINT32_MAX;
}

static bool slot_key_derive(const casp_sealer_t *sealer, int key, int family,
                            uint32_t slot, unsigned char out[KEY_LEN])
{
    unsigned char info[INFO_LEN], *at = info;

    memcpy(at, key_info, WORD_LEN);
    at += WORD_LEN;
    *at++ = VERSION;
    *at++ = (unsigned char)family;
    put_number(at, (uint64_t)sealer->timeout[family], 8);
    put_number(at + 8, slot, 4);
    memcpy(at + 12, sealer->vhost, VHOST_LEN);
    return casp_ring_derive(sealer->kdf, &sealer->ring->keys[key], info,
                            sizeof(info), out, KEY_LEN);
}

/* @a now: the slot that it is.  Keys of other slots than those in force are
 * not kept: a stranger may ask for any. */
static bool slot_key(casp_sealer_t *sealer, int key, int family, uint32_t slot,
                     int64_t now, unsigned char out[KEY_LEN])
{
    bool in_force = slot <= now + 1 && slot >= now - SLOTS_BEFORE;
    slot_key_t *kept = &sealer->keys[key][family][slot % SLOTS];
    bool there = false;

    if (in_force) {
        apr_thread_mutex_lock(sealer->lock);
        there = kept->there && kept->slot == slot;
        if (there) {
            memcpy(out, kept->key, KEY_LEN);
        }
        apr_thread_mutex_unlock(sealer->lock);
    }
    if (there) {
        return true;
    }
    if (!slot_key_derive(sealer, key, family, slot, out)) {
        return false;
    }
    if (in_force) {
        apr_thread_mutex_lock(sealer->lock);
        kept->there = true;
        kept->slot = slot;
        memcpy(kept->key, out, KEY_LEN);
        apr_thread_mutex_unlock(sealer->lock);
    }
    return true;
}

/* Which secret has this id; -1: none.  All of them are looked at. */
static int ring_find(const casp_ring_t *ring, const unsigned char *id)
{
    int found = -1;

    for (int i = 0; i < ring->n; i++) {
        if (CRYPTO_memcmp(ring->keys[i].id, id, CASP_RING_ID) == 0) {
            found = i;
        }
    }
    return found;
}

/* ------------------------------------------------------------ cryptography */

/* @a sealed: head and nonce are there; the rest is written. */
static bool encrypt(const casp_sealer_t *sealer,
                    const unsigned char key[KEY_LEN],
                    const unsigned char *plain, size_t len,
                    unsigned char *sealed)
{
    const unsigned char *nonce = sealed + HEAD_LEN;
    unsigned char *out = sealed + HEAD_LEN + NONCE_LEN;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, end = 0;

    bool ok =
        ctx && EVP_EncryptInit_ex2(ctx, sealer->cipher, key, nonce, NULL)
        && EVP_EncryptUpdate(ctx, NULL, &n, sealed, HEAD_LEN)
        && EVP_EncryptUpdate(ctx, out, &n, plain, (int)len)
        && EVP_EncryptFinal_ex(ctx, out + n, &end) && (size_t)(n + end) == len
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + len)
               > 0;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

/* @a len of the plain text.  False: it is not authentic, and what is in
 * @a plain is nothing. */
static bool decrypt(const casp_sealer_t *sealer,
                    const unsigned char key[KEY_LEN], unsigned char *sealed,
                    size_t len, unsigned char *plain)
{
    const unsigned char *nonce = sealed + HEAD_LEN;
    unsigned char *in = sealed + HEAD_LEN + NONCE_LEN;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, end = 0;

    bool ok =
        ctx && EVP_DecryptInit_ex2(ctx, sealer->cipher, key, nonce, NULL)
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, in + len)
               > 0
        && EVP_DecryptUpdate(ctx, NULL, &n, sealed, HEAD_LEN)
        && EVP_DecryptUpdate(ctx, plain, &n, in, (int)len)
        && EVP_DecryptFinal_ex(ctx, plain + n, &end) > 0
        && (size_t)(n + end) == len;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

/* -------------------------------------------------------------- plain text */

/* @a plain is zeros.  @return its length, 0: too long */
static size_t pack(const casp_session_t *s, unsigned char plain[PLAIN_MAX])
{
    size_t name_len = strlen(s->name);
    unsigned char *at = plain;

    if (!name_len || name_len > CASP_NAME_MAX
        || s->password_len > PLAIN_MAX - FIXED_LEN - name_len) {
        return 0;
    }
    memcpy(at, s->id, CASP_SESSION_ID);
    at += CASP_SESSION_ID;
    put_number(at, (uint32_t)s->flags, 4);
    put_number(at + 4, (uint64_t)apr_time_sec(s->began), 8);
    put_number(at + 12, (uint64_t)s->password_set, 8);
    put_number(at + 20, name_len, 2);
    memcpy(at + 22, s->name, name_len);
    at += 22 + name_len;
    put_number(at, s->password_len, 2);
    if (s->password_len) {
        memcpy(at + 2, s->password, s->password_len);
    }
    return (FIXED_LEN + name_len + s->password_len + GRAIN - 1) / GRAIN
           * GRAIN;
}

typedef struct {
    char *data;
    apr_size_t len;
} password_t;

static apr_status_t password_cleanup(void *data)
{
    password_t *password = data;

    casp_wipe(password->data, password->len);
    return APR_SUCCESS;
}

static char *keep_password(apr_pool_t *p, const unsigned char *bytes,
                           size_t len)
{
    password_t *kept = apr_palloc(p, sizeof(*kept));

    kept->data = apr_palloc(p, len + 1);
    kept->len = len;
    apr_pool_cleanup_register(p, kept, password_cleanup,
                              apr_pool_cleanup_null);
    memcpy(kept->data, bytes, len);
    kept->data[len] = '\0';
    return kept->data;
}

static bool all_zero(const unsigned char *bytes, size_t len)
{
    while (len && bytes[len - 1] == 0) {
        len--;
    }
    return len == 0;
}

/* @a len is at least GRAIN, and so holds all that is fixed. */
static bool unpack(apr_pool_t *p, const unsigned char *plain, size_t len,
                   casp_session_t *s)
{
    const unsigned char *flags = plain + CASP_SESSION_ID;
    const unsigned char *name = flags + 22;
    size_t name_len = (size_t)get_number(flags + 20, 2);
    uint64_t began = get_number(flags + 4, 8);
    size_t left = len - FIXED_LEN;

    if (get_number(flags, 4) > INT_MAX
        || began > (uint64_t)apr_time_sec(APR_INT64_MAX) || name_len == 0
        || name_len > CASP_NAME_MAX || name_len > left
        || memchr(name, '\0', name_len)) {
        return false;
    }
    const unsigned char *password = name + name_len + 2;
    size_t password_len = (size_t)get_number(password - 2, 2);
    left -= name_len;
    if (password_len > left
        || !all_zero(password + password_len, left - password_len)
        || left - password_len >= GRAIN) {
        return false;
    }
    memcpy(s->id, plain, CASP_SESSION_ID);
    s->flags = (int)get_number(flags, 4);
    s->began = apr_time_from_sec((apr_int64_t)began);
    s->password_set = (int64_t)get_number(flags + 12, 8);
    s->name = apr_pstrmemdup(p, (const char *)name, name_len);
    s->password = keep_password(p, password, password_len);
    s->password_len = password_len;
    return true;
}

/* ----------------------------------------------------------- seal and open */

bool casp_session_begin(casp_session_t *s, int flags, const char *name,
                        char *password, apr_size_t password_len,
                        apr_time_t now)
{
    memset(s, 0, sizeof(*s));
    s->flags = flags;
    s->began = apr_time_from_sec(apr_time_sec(now));
    s->name = name;
    s->password = password;
    s->password_len = password_len;
    return RAND_bytes(s->id, sizeof(s->id)) == 1;
}

static int family_of(int flags)
{
    return flags & CASP_LOGON_PRIVATE ? 1 : 0;
}

const char *casp_session_seal(apr_pool_t *p, casp_sealer_t *sealer,
                              const casp_session_t *s, apr_time_t now)
{
    unsigned char plain[PLAIN_MAX] = {0}, sealed[SEALED_MAX], key[KEY_LEN];
    int family = family_of(s->flags);
    int64_t slot = slot_at(sealer, family, now);
    size_t len = pack(s, plain);

    if (!len) {
        return NULL;
    }
    sealed[0] = VERSION;
    sealed[1] = (unsigned char)family;
    memcpy(sealed + 2, sealer->ring->keys[0].id, CASP_RING_ID);
    put_number(sealed + 6, (uint64_t)slot, 4);
    bool ok = RAND_bytes(sealed + HEAD_LEN, NONCE_LEN) == 1
              && slot_key(sealer, 0, family, (uint32_t)slot, slot, key)
              && encrypt(sealer, key, plain, len, sealed);
    casp_wipe(plain, len);
    casp_wipe(key, sizeof(key));
    if (!ok) {
        casp_log(CASP_LOG_ERROR, APR_SUCCESS,
                 CASPLOGNO(0601) "a session cannot be sealed, for OpenSSL "
                                 "fails; see whether it has random numbers "
                                 "and memory");
        return NULL;
    }
    return session_encode(p, sealed, len + AROUND);
}

/* A sealed cookie, decoded and of a length that there is. */
static casp_session_e open_sealed(apr_pool_t *p, casp_sealer_t *sealer,
                                  unsigned char *sealed, size_t len,
                                  apr_time_t now, casp_session_t *s)
{
    unsigned char plain[PLAIN_MAX], key[KEY_LEN];
    int family = sealed[1];
    int which = ring_find(sealer->ring, sealed + 2);
    uint32_t slot = (uint32_t)get_number(sealed + 6, 4);

    if (sealed[0] != VERSION || family >= FAMILIES || which < 0) {
        return CASP_SESSION_BAD;
    }
    int64_t current = slot_at(sealer, family, now);
    if (slot > current + 1) {
        return CASP_SESSION_BAD;
    }
    casp_session_e how = CASP_SESSION_BAD;
    if (slot_key(sealer, which, family, slot, current, key)
        && decrypt(sealer, key, sealed, len, plain)) {
        if (slot < current - SLOTS_BEFORE) {
            how = CASP_SESSION_EXPIRED;
        }
        else if (unpack(p, plain, len, s) && family_of(s->flags) == family) {
            how = slot < current ? CASP_SESSION_OLD : CASP_SESSION_OK;
        }
    }
    casp_wipe(plain, len);
    casp_wipe(key, sizeof(key));
    return how;
}

casp_session_e casp_session_open(apr_pool_t *p, casp_sealer_t *sealer,
                                 const char *value, apr_size_t len,
                                 apr_time_t now, casp_session_t *s)
{
    unsigned char sealed[SEALED_MAX];
    casp_session_e how = CASP_SESSION_BAD;

    memset(s, 0, sizeof(*s));
    if (len > CASP_SESSION_MAX) {
        return CASP_SESSION_BAD;
    }
    size_t n = session_decode(sealer, value, len, sealed);
    if (n >= AROUND + GRAIN && (n - AROUND) % GRAIN == 0) {
        how = open_sealed(p, sealer, sealed, n - AROUND, now, s);
    }
    casp_wipe(sealed, n);
    if (how != CASP_SESSION_OK && how != CASP_SESSION_OLD) {
        memset(s, 0, sizeof(*s));
    }
    return how;
}

const char *casp_session_label(apr_pool_t *p, const casp_session_t *s)
{
    char *text = apr_palloc(p, 37);
    char *out = text;

    for (int i = 0; i < CASP_SESSION_ID; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = "0123456789abcdef"[s->id[i] >> 4];
        *out++ = "0123456789abcdef"[s->id[i] & 15];
    }
    *out = '\0';
    return text;
}

/* ------------------------------------------------------- the Cookie header */

/* One cookie of a header, as it stands there. */
typedef struct {
    const char *at;
    size_t len;
} pair_t;

/* A comma ends a cookie too: httpd joins several headers with one, and old
 * parsers take a list.  @return false: there are no more */
static bool next_pair(const char **header, pair_t *pair)
{
    if (!*header) {
        return false;
    }
    pair->at = *header;
    pair->len = strcspn(*header, ";,");
    *header = pair->at[pair->len] ? pair->at + pair->len + 1 : NULL;
    return true;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ';
}

static void trim(pair_t *part)
{
    while (part->len && is_blank(part->at[0])) {
        part->at++;
        part->len--;
    }
    while (part->len && is_blank(part->at[part->len - 1])) {
        part->len--;
    }
}

/* Is this pair our sealed cookie?  Then @a value is, without quotes. */
static bool is_sealed_pair(const pair_t *pair, pair_t *value)
{
    const char *equals = memchr(pair->at, '=', pair->len);
    pair_t name = *pair;

    if (!equals) {
        return false;
    }
    name.len = (size_t)(equals - pair->at);
    value->at = equals + 1;
    value->len = pair->len - name.len - 1;
    trim(&name);
    trim(value);
    if (value->len > 1 && value->at[0] == '"'
        && value->at[value->len - 1] == '"') {
        value->at++;
        value->len -= 2;
    }
    return name.len == sizeof(CASP_SESSION_COOKIE) - 1
           && memcmp(name.at, CASP_SESSION_COOKIE, name.len) == 0;
}

casp_session_e casp_session_find(apr_pool_t *p, casp_sealer_t *sealer,
                                 const char *header, apr_time_t now,
                                 casp_session_t *s, int *stray)
{
    casp_session_e best = CASP_SESSION_NONE;
    pair_t pair, value;
    int ours = 0;

    memset(s, 0, sizeof(*s));
    while (next_pair(&header, &pair)) {
        bool good = best == CASP_SESSION_OK || best == CASP_SESSION_OLD;
        if (!is_sealed_pair(&pair, &value) || ours++ >= CASP_SESSION_TRIES
            || good) {
            continue;
        }
        casp_session_e how =
            casp_session_open(p, sealer, value.at, value.len, now, s);
        if (best == CASP_SESSION_NONE || how != CASP_SESSION_BAD) {
            best = how;
        }
    }
    *stray = ours > 1 ? ours - 1 : 0;
    return best;
}

/* Exchange's own family of names begins with "cadata", and IIS does not mind
 * their case. */
bool casp_session_owns(const char *name, apr_size_t len)
{
    static const char *const exact[] = {CASP_SESSION_LABEL, "casproxy_rdr"};
    const size_t prefix = sizeof(CASP_SESSION_COOKIE) - 1;

    if (len >= prefix
        && apr_cstr_casecmpn(name, CASP_SESSION_COOKIE, prefix) == 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
        if (len == strlen(exact[i]) && memcmp(name, exact[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* Blanks and quotes are taken away, as a lax parser behind us would. */
static bool is_own_pair(const pair_t *pair)
{
    pair_t name = *pair;
    size_t n = 0;

    while (name.len && (is_blank(name.at[0]) || name.at[0] == '"')) {
        name.at++;
        name.len--;
    }
    while (n < name.len && !is_blank(name.at[n]) && name.at[n] != '='
           && name.at[n] != '"') {
        n++;
    }
    return casp_session_owns(name.at, n);
}

const char *casp_session_strip(apr_pool_t *p, const char *header)
{
    const char *rest = header;
    bool any = false;
    pair_t pair;

    while (!any && next_pair(&rest, &pair)) {
        any = is_own_pair(&pair);
    }
    if (!any) {
        return header;
    }
    char *clean = apr_palloc(p, strlen(header) + 1);
    char *out = clean;
    rest = header;
    while (next_pair(&rest, &pair)) {
        pair_t bare = pair;
        trim(&bare);
        bool list = pair.at > header && pair.at[-1] == ',';
        if ((!bare.len && !list) || is_own_pair(&pair)) {
            continue;
        }
        if (out > clean) { /* with the mark and the blanks that it had */
            *out++ = pair.at[-1];
            bare.len += (size_t)(bare.at - pair.at);
            bare.at = pair.at;
        }
        memcpy(out, bare.at, bare.len);
        out += bare.len;
    }
    *out = '\0';
    return out > clean ? clean : NULL;
}

/* ----------------------------------------------------- sessions that ended */

/* So long a process believes that a session has not ended elsewhere. */
#define BELIEF apr_time_from_sec(5)
#define NAME_IN_KEY 64 /* bytes; a shared cache's keys are short */
#define KEY_MAX (6 + NAME_IN_KEY + 1 + 2 * CASP_SESSION_ID)

/* Two tables, so that what was asked never drives out what is known. */
struct casp_ended_t {
    apr_thread_mutex_t *lock;
    casp_cache_t *ended; /* id to nothing, until the cookie is over */
    casp_cache_t *asked; /* id to when the second level said no */
    const casp_cache2_t *second;
    const char *name;
};

static apr_status_t ended_cleanup(void *data)
{
    casp_ended_t *e = data;

    casp_cache_destroy(e->ended);
    casp_cache_destroy(e->asked);
    e->ended = e->asked = NULL;
    return APR_SUCCESS;
}

casp_ended_t *casp_ended_create(apr_pool_t *p, int size,
                                const casp_cache2_t *second, const char *name)
{
    casp_ended_t *e = apr_pcalloc(p, sizeof(*e));

    e->second = second;
    e->name = name;
    if (apr_thread_mutex_create(&e->lock, APR_THREAD_MUTEX_DEFAULT, p)
        == APR_SUCCESS) {
        e->ended = casp_cache_create(size);
        e->asked = second ? casp_cache_create(size) : NULL;
    }
    else {
        e->lock = NULL;
    }
    apr_pool_cleanup_register(p, e, ended_cleanup, apr_pool_cleanup_null);
    if (!e->ended) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0602) "this process cannot remember who signed "
                                 "out (no memory): a copied cookie works "
                                 "there until its time is over; choose a "
                                 "smaller size in CasProxyMailboxCache");
    }
    return e;
}

static apr_size_t ended_key(const casp_ended_t *e, const unsigned char *id,
                            char key[KEY_MAX])
{
    apr_size_t n = 6;

    memcpy(key, "ended:", n);
    for (const char *s = e->name; *s && n < 6 + NAME_IN_KEY; s++) {
        key[n++] = *s;
    }
    key[n++] = ':';
    for (int i = 0; i < CASP_SESSION_ID; i++) {
        key[n++] = "0123456789abcdef"[id[i] >> 4];
        key[n++] = "0123456789abcdef"[id[i] & 15];
    }
    return n;
}

/* @return until when it is to be remembered that it ended; 0: it has not. A
 * record of another shape says that it did, too: only who ends sessions writes
 * there. */
static apr_time_t second_knows(const casp_ended_t *e, const unsigned char *id,
                               apr_time_t now)
{
    char key[KEY_MAX], bytes[64];
    apr_time_t until = now + BELIEF;
    apr_size_t len =
        e->second->get(e->second->baton, key, ended_key(e, id, key), bytes,
                       sizeof(bytes));

    if (len == sizeof(until)) {
        memcpy(&until, bytes, sizeof(until));
    }
    return len && until > now ? until : 0;
}

static void ended_learn(casp_ended_t *e, const unsigned char *id,
                        apr_time_t until, apr_time_t now)
{
    const char *key = (const char *)id;

    if (e->lock) {
        apr_thread_mutex_lock(e->lock);
        casp_cache_put(e->ended, key, CASP_SESSION_ID, "", 1, now, until);
        apr_thread_mutex_unlock(e->lock);
    }
}

/* Remembered for longer than was asked: a node whose clock is a slot ahead
 * (a third of a cookie's life) seals what lives a slot longer here, and a
 * process that believes may renew the cookie once more. */
void casp_ended_note(casp_ended_t *e, const unsigned char *id,
                     apr_time_t until, apr_time_t now)
{
    char key[KEY_MAX];

    until += (until > now ? (until - now) / 3 : 0) + BELIEF;
    ended_learn(e, id, until, now);
    if (e->second) {
        e->second->put(e->second->baton, key, ended_key(e, id, key), &until,
                       sizeof(until), until);
    }
}

/* @return 1: it ended; 0: it has not, as was said a moment ago; -1: ask. */
static int ended_known(casp_ended_t *e, const unsigned char *id,
                       apr_time_t now)
{
    const char *key = (const char *)id;
    apr_time_t asked;
    int known = e->second ? -1 : 0;

    if (!e->lock) {
        return known;
    }
    apr_thread_mutex_lock(e->lock);
    if (casp_cache_get(e->ended, key, CASP_SESSION_ID, now)) {
        known = 1;
    }
    else {
        const casp_cached_t *memo =
            casp_cache_get(e->asked, key, CASP_SESSION_ID, now);
        if (memo) {
            memcpy(&asked, memo->value, sizeof(asked));
            /* a clock that was set back must not make it last */
            known = now >= asked && now - asked < BELIEF ? 0 : -1;
        }
    }
    apr_thread_mutex_unlock(e->lock);
    return known;
}

bool casp_ended_is(casp_ended_t *e, const unsigned char *id, apr_time_t now)
{
    int known = ended_known(e, id, now);

    if (known >= 0) {
        return known == 1;
    }
    apr_time_t until = second_knows(e, id, now);
    if (until) {
        ended_learn(e, id, until, now);
    }
    else if (e->lock) {
        apr_thread_mutex_lock(e->lock);
        casp_cache_put(e->asked, (const char *)id, CASP_SESSION_ID, &now,
                       sizeof(now), now, now + BELIEF);
        apr_thread_mutex_unlock(e->lock);
    }
    return until != 0;
}
