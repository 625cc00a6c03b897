/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * jar.c - the cookies that backends gave for users, kept between requests.
 *
 * They are sealed wherever they lie, in this process's own table too: one
 * shape for both levels, nothing to wipe where an entry gives way, and no
 * cookie in a memory dump's plain text.  An entry is
 *
 *     version 1 | good until 8 | nonce 12 | cookies | tag 16
 *
 * by AES-256-GCM under a key derived from that of this start; the organisation
 * and the entry's id are sealed in, so that what lies under one user's id is
 * worth nothing under another's, and the time, so that nobody who can write to
 * a shared cache makes an old one young.
 *
 * Where there is a second level, the processes share a user's session: one
 * renews it, another signs out.  So a process believes its own copy for a few
 * seconds only, and then asks what the second level has.  If that lost the
 * entry, the copy goes on being good: the backend has the last word anyway.
 *
 * Must not: hold its lock during cryptography or while the second level is
 * asked, and never give out what was not authentic.
 */

#include "backforms.h"

#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "cache.h"
#include "identity.h"
#include "ring.h"

#define VERSION 1
#define HEAD_LEN 9 /* version, time */
#define NONCE_LEN 12
#define TAG_LEN 16
#define AROUND (HEAD_LEN + NONCE_LEN + TAG_LEN)
#define COOKIES_LEN_MAX 8192
#define SEALED_MAX (AROUND + COOKIES_LEN_MAX)
#define ID_MAX 4096 /* bytes of an id; a real one has a few hundred */
#define HASH_LEN 32
/* A shared cache's keys are short. */
#define NAME_IN_KEY 30
#define KEY_MAX (2 + NAME_IN_KEY + HASH_LEN)
/* So long a process believes its own copy. */
#define BELIEF apr_time_from_sec(5)

static const char key_info[] = "mod_casproxy jar"; /* no NUL is used */
static const char gone[] = "-"; /* in the second level: forgotten */

struct casp_jar_t {
    apr_thread_mutex_t *lock; /* of kept */
    casp_cache_t *kept; /* id to sealed cookies; NULL: nothing is kept */
    EVP_CIPHER *cipher;
    unsigned char key[CASP_RING_KEY];
    apr_interval_time_t ttl;
    const casp_cache2_t *second;
    const char *name;
    apr_size_t name_len;
};

/* ------------------------------------------------------------------ create */

static apr_status_t jar_cleanup(void *data)
{
    casp_jar_t *jar = data;

    casp_wipe(jar->key, sizeof(jar->key));
    casp_cache_destroy(jar->kept);
    jar->kept = NULL;
    EVP_CIPHER_free(jar->cipher);
    jar->cipher = NULL;
    return APR_SUCCESS;
}

/* The key of this start serves others, too; this one is the jar's alone. */
static bool derive(const unsigned char *key, unsigned char *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    casp_ring_key_t from;

    memset(&from, 0, sizeof(from));
    memcpy(from.prk, key, sizeof(from.prk));
    bool ok = kdf
              && casp_ring_derive(kdf, &from, key_info, sizeof(key_info) - 1,
                                  out, CASP_RING_KEY);
    casp_wipe(&from, sizeof(from));
    EVP_KDF_free(kdf);
    return ok;
}

casp_jar_t *casp_jar_create(apr_pool_t *p, int size, apr_interval_time_t ttl,
                            const unsigned char *key,
                            const casp_cache2_t *second, const char *name)
{
    casp_jar_t *jar = apr_pcalloc(p, sizeof(*jar));

    jar->ttl = ttl;
    jar->second = second;
    jar->name = name ? name : "";
    jar->name_len = strlen(jar->name);
    if (size <= 0 || ttl <= 0) {
        return jar; /* keeps nothing */
    }
    jar->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (jar->cipher && derive(key, jar->key)
        && apr_thread_mutex_create(&jar->lock, APR_THREAD_MUTEX_DEFAULT, p)
               == APR_SUCCESS) {
        jar->kept = casp_cache_create(size);
    }
    apr_pool_cleanup_register(p, jar, jar_cleanup, apr_pool_cleanup_null);
    if (!jar->kept) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0751) "the cookies of backends with forms "
                                 "authentication cannot be kept (no memory, "
                                 "or OpenSSL offers no AES-256-GCM or HKDF): "
                                 "every request logs on there anew; see which "
                                 "providers OpenSSL's configuration loads");
    }
    return jar;
}

/* ------------------------------------------------------------ cryptography */

static void put_time(unsigned char *out, apr_time_t value)
{
    uint64_t n = (uint64_t)value;

    for (int i = 7; i >= 0; i--, n >>= 8) {
        out[i] = (unsigned char)n;
    }
}

static apr_time_t get_time(const unsigned char *in)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++) {
        n = n << 8 | in[i];
    }
    return n > INT64_MAX ? 0 : (apr_time_t)n;
}

typedef struct {
    const unsigned char *data;
    apr_size_t len;
} jar_id_t;

/* What is sealed in: the head, whose entry it is, and in which organisation;
 * a NUL ends the name, which has none. */
static bool add_whose(const casp_jar_t *jar, EVP_CIPHER_CTX *ctx, bool encrypt,
                      const unsigned char *head, const jar_id_t *id)
{
    int (*update)(EVP_CIPHER_CTX *, unsigned char *, int *,
                  const unsigned char *, int) =
        encrypt ? EVP_EncryptUpdate : EVP_DecryptUpdate;
    int n;

    return update(ctx, NULL, &n, head, HEAD_LEN) == 1
           && update(ctx, NULL, &n, (const unsigned char *)jar->name,
                     (int)jar->name_len + 1)
                  == 1
           && (id->len == 0
               || update(ctx, NULL, &n, id->data, (int)id->len) == 1);
}

/* @return the length of what was sealed; 0: it could not be */
static apr_size_t seal(const casp_jar_t *jar, const jar_id_t *id,
                       const char *cookies, apr_size_t len, apr_time_t until,
                       unsigned char sealed[SEALED_MAX])
{
    unsigned char *nonce = sealed + HEAD_LEN, *out = nonce + NONCE_LEN;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, end = 0;

    sealed[0] = VERSION;
    put_time(sealed + 1, until);
    bool ok =
        ctx && RAND_bytes(nonce, NONCE_LEN) == 1
        && EVP_EncryptInit_ex2(ctx, jar->cipher, jar->key, nonce, NULL) == 1
        && add_whose(jar, ctx, true, sealed, id)
        && EVP_EncryptUpdate(ctx, out, &n, (const unsigned char *)cookies,
                             (int)len)
               == 1
        && EVP_EncryptFinal_ex(ctx, out + n, &end) == 1
        && (apr_size_t)n + (apr_size_t)end == len
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + len)
               > 0;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? len + AROUND : 0;
}

/* @return the cookies, with a NUL; NULL: not authentic, or over */
static const char *unseal(const casp_jar_t *jar, apr_pool_t *p,
                          const jar_id_t *id, unsigned char *sealed,
                          apr_size_t len, apr_time_t now)
{
    const unsigned char *nonce = sealed + HEAD_LEN;
    unsigned char *in = sealed + HEAD_LEN + NONCE_LEN;
    int n = 0, end = 0;

    if (len <= AROUND || len > SEALED_MAX || sealed[0] != VERSION
        || get_time(sealed + 1) <= now) {
        return NULL;
    }
    len -= AROUND;
    char *plain = apr_palloc(p, len + 1);
    unsigned char *out = (unsigned char *)plain;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok =
        ctx
        && EVP_DecryptInit_ex2(ctx, jar->cipher, jar->key, nonce, NULL) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, in + len)
               > 0
        && add_whose(jar, ctx, false, sealed, id)
        && EVP_DecryptUpdate(ctx, out, &n, in, (int)len) == 1
        && EVP_DecryptFinal_ex(ctx, out + n, &end) == 1
        && (apr_size_t)n + (apr_size_t)end == len;
    EVP_CIPHER_CTX_free(ctx);
    plain[len] = '\0';
    if (!ok || strlen(plain) != len) {
        casp_wipe(plain, len);
        return NULL;
    }
    return plain;
}

/* -------------------------------------------------------- the second level */

/* @return the key's length, 0: none */
static apr_size_t second_key(const casp_jar_t *jar, const jar_id_t *id,
                             char key[KEY_MAX])
{
    apr_size_t n = jar->name_len < NAME_IN_KEY ? jar->name_len : NAME_IN_KEY;

    memcpy(key, "j:", 2);
    memcpy(key + 2, jar->name, n);
    if (EVP_Digest(id->data, id->len, (unsigned char *)key + 2 + n, NULL,
                   EVP_sha256(), NULL)
        != 1) {
        return 0;
    }
    return 2 + n + HASH_LEN;
}

static apr_size_t second_get(const casp_jar_t *jar, const jar_id_t *id,
                             unsigned char sealed[SEALED_MAX])
{
    char key[KEY_MAX];
    apr_size_t n = second_key(jar, id, key);

    return n ? jar->second->get(jar->second->baton, key, n, sealed, SEALED_MAX)
             : 0;
}

static void second_put(const casp_jar_t *jar, const jar_id_t *id,
                       const void *bytes, apr_size_t len, apr_time_t until)
{
    char key[KEY_MAX];
    apr_size_t n = jar->second ? second_key(jar, id, key) : 0;

    if (n) {
        jar->second->put(jar->second->baton, key, n, bytes, len, until);
    }
}

/* ------------------------------------------------------------ this process */

static void own_put(casp_jar_t *jar, const jar_id_t *id,
                    const unsigned char *sealed, apr_size_t len,
                    apr_time_t now)
{
    const char *key = (const char *)id->data;

    apr_thread_mutex_lock(jar->lock);
    if (casp_cache_put(jar->kept, key, id->len, sealed, len, now,
                       get_time(sealed + 1))) {
        casp_cached_t *e = casp_cache_get(jar->kept, key, id->len, now);
        if (e) {
            e->hold = now + BELIEF;
        }
    }
    apr_thread_mutex_unlock(jar->lock);
}

static void own_remove(casp_jar_t *jar, const jar_id_t *id)
{
    apr_thread_mutex_lock(jar->lock);
    casp_cache_remove(jar->kept, (const char *)id->data, id->len);
    apr_thread_mutex_unlock(jar->lock);
}

/* @param ask is it time to ask the second level?  One caller in a while is
 *            told so: the others go on believing. */
static apr_size_t own_get(casp_jar_t *jar, const jar_id_t *id, apr_time_t now,
                          unsigned char sealed[SEALED_MAX], bool *ask)
{
    apr_size_t len = 0;

    *ask = jar->second != NULL;
    apr_thread_mutex_lock(jar->lock);
    casp_cached_t *e =
        casp_cache_get(jar->kept, (const char *)id->data, id->len, now);
    if (e && e->len <= SEALED_MAX) {
        len = e->len;
        memcpy(sealed, e->value, len);
        if (*ask && now < e->hold && e->hold - now <= BELIEF) {
            *ask = false;
        }
        else if (*ask) {
            e->hold = now + BELIEF;
        }
    }
    apr_thread_mutex_unlock(jar->lock);
    return len;
}

/* ------------------------------------------------------------- get and put */

/* What the second level knows better. @return true: it has the last word */
static bool ask_second(casp_jar_t *jar, apr_pool_t *p, const jar_id_t *id,
                       apr_time_t now, const char **cookies)
{
    unsigned char sealed[SEALED_MAX];
    apr_size_t len = second_get(jar, id, sealed);

    *cookies = NULL;
    if (len == sizeof(gone) - 1 && memcmp(sealed, gone, len) == 0) {
        own_remove(jar, id);
        return true;
    }
    *cookies = unseal(jar, p, id, sealed, len, now);
    if (*cookies) {
        own_put(jar, id, sealed, len, now);
    }
    return *cookies != NULL;
}

const char *casp_jar_get(casp_jar_t *jar, apr_pool_t *p, const void *id,
                         apr_size_t len, apr_time_t now)
{
    unsigned char sealed[SEALED_MAX];
    jar_id_t whose = {id, len};
    const char *cookies = NULL;
    bool ask;

    if (!jar || !jar->kept || len > ID_MAX) {
        return NULL;
    }
    apr_size_t n = own_get(jar, &whose, now, sealed, &ask);
    if (ask && ask_second(jar, p, &whose, now, &cookies)) {
        return cookies;
    }
    return unseal(jar, p, &whose, sealed, n, now);
}

void casp_jar_put(casp_jar_t *jar, const void *id, apr_size_t len,
                  const char *cookies, apr_time_t now)
{
    unsigned char sealed[SEALED_MAX];
    jar_id_t whose = {id, len};
    apr_size_t n = cookies ? strlen(cookies) : 0;

    if (!jar || !jar->kept || len > ID_MAX) {
        return;
    }
    n = n && n <= COOKIES_LEN_MAX
            ? seal(jar, &whose, cookies, n, now + jar->ttl, sealed)
            : 0;
    if (n) {
        own_put(jar, &whose, sealed, n, now);
        second_put(jar, &whose, sealed, n, now + jar->ttl);
    }
    else { /* what cannot be kept must not leave an older one behind */
        own_remove(jar, &whose);
        second_put(jar, &whose, gone, sizeof(gone) - 1, now + jar->ttl);
    }
}
