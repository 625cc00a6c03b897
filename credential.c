/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * credential.c - the memory of passwords that a bind has verified.
 *
 * What is kept is HMAC-SHA256 under a key that exists only in the memory of
 * one run of the server: enough to say "the same again", and nothing that
 * could be turned back into a password.  Each process has a table of its own;
 * where a second level is shared, one child's bind serves the others too,
 * which is what makes prefork bearable: else every child would ask the
 * directory about every user, and could serve nobody while it is away.
 *
 * Must not: keep a password, or compare in a time that tells something.
 */

#include "identity.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define MAC_LEN 32
/* A user has their place in one of these few; nothing is searched. */
#define WAYS 8

typedef struct {
    casp_guid_t user;
    unsigned char mac[MAC_LEN];
    apr_time_t at; /* 0: free */
} credential_t;

struct casp_credentials_t {
    apr_thread_mutex_t *lock;
    apr_interval_time_t ttl;
    EVP_MAC_CTX *keyed; /* copied for every use, never used itself */
    credential_t *table;
    apr_size_t sets;
    const casp_cache2_t *second; /* NULL: this process alone */
    const char *name; /* of the organisation, in its keys */
};

/* What lies in the second level.  The time is under the MAC too, so that
 * nobody who can write there makes an old one young. */
typedef struct {
    apr_time_t at;
    unsigned char mac[MAC_LEN];
} shared_credential_t;

static apr_status_t credentials_cleanup(void *data)
{
    casp_credentials_t *c = data;

    EVP_MAC_CTX_free(c->keyed);
    c->keyed = NULL;
    if (c->table) {
        casp_wipe(c->table, c->sets * WAYS * sizeof(*c->table));
        free(c->table);
        c->table = NULL;
    }
    return APR_SUCCESS;
}

static EVP_MAC_CTX *credentials_key(const unsigned char *given)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    unsigned char key[MAC_LEN];
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *keyed = mac ? EVP_MAC_CTX_new(mac) : NULL;

    if (given) {
        memcpy(key, given, sizeof(key));
    }
    if (keyed
        && ((!given && RAND_bytes(key, sizeof(key)) != 1)
            || EVP_MAC_init(keyed, key, sizeof(key), params) != 1)) {
        EVP_MAC_CTX_free(keyed);
        keyed = NULL;
    }
    casp_wipe(key, sizeof(key));
    EVP_MAC_free(mac);
    return keyed;
}

casp_credentials_t *casp_credentials_create(apr_pool_t *p,
                                            apr_interval_time_t ttl, int size)
{
    casp_credentials_t *c = apr_pcalloc(p, sizeof(*c));

    if (ttl <= 0 || size <= 0) {
        return c; /* remembers nothing */
    }
    c->sets = ((apr_size_t)size + WAYS - 1) / WAYS;
    c->table = calloc(c->sets * WAYS, sizeof(*c->table));
    c->keyed = credentials_key(NULL);
    apr_pool_cleanup_register(p, c, credentials_cleanup,
                              apr_pool_cleanup_null);
    if (c->table && c->keyed
        && apr_thread_mutex_create(&c->lock, APR_THREAD_MUTEX_DEFAULT, p)
               == APR_SUCCESS) {
        c->ttl = ttl;
    }
    else {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0430) "verified passwords cannot be remembered (no "
                                 "memory or no random key): every request "
                                 "will bind; see CasProxyCredentialCache");
    }
    return c;
}

void casp_credentials_share(casp_credentials_t *c, const unsigned char *key,
                            const casp_cache2_t *second, const char *name)
{
    EVP_MAC_CTX *keyed = c->ttl > 0 ? credentials_key(key) : NULL;

    if (keyed) {
        EVP_MAC_CTX_free(c->keyed);
        c->keyed = keyed;
        c->second = second;
        c->name = name;
    }
}

/* @a at: 0 for this process's table.  False: it can be neither known nor
 * remembered. */
static bool credentials_mac(const casp_credentials_t *c,
                            const casp_guid_t *user, const char *password,
                            apr_size_t len, apr_time_t at,
                            unsigned char mac[MAC_LEN])
{
    size_t n = 0;

    if (!c || c->ttl <= 0 || !password || len == 0) {
        return false;
    }
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(c->keyed);
    bool ok =
        ctx && EVP_MAC_update(ctx, user->b, sizeof(user->b)) == 1
        && EVP_MAC_update(ctx, (const unsigned char *)&at, sizeof(at)) == 1
        && EVP_MAC_update(ctx, (const unsigned char *)password, len) == 1
        && EVP_MAC_final(ctx, mac, &n, MAC_LEN) == 1 && n == MAC_LEN;
    EVP_MAC_CTX_free(ctx);
    return ok;
}

/* The places where a user may be; GUIDs come from the directory, so that
 * nobody chooses them to collide. */
static credential_t *credentials_set(casp_credentials_t *c,
                                     const casp_guid_t *user)
{
    uint64_t a, b;

    memcpy(&a, user->b, sizeof(a));
    memcpy(&b, user->b + sizeof(a), sizeof(b));
    a = (a ^ (b * UINT64_C(0x9e3779b97f4a7c15)));
    a ^= a >> 32;
    return c->table + (apr_size_t)(a % c->sets) * WAYS;
}

static credential_t *credentials_find(casp_credentials_t *c,
                                      const casp_guid_t *user)
{
    credential_t *set = credentials_set(c, user);
    int i;

    for (i = 0; i < WAYS; i++) {
        if (set[i].at && casp_guid_equal(&set[i].user, user)) {
            return &set[i];
        }
    }
    return NULL;
}

/* The name of a user's place in the second level. */
static apr_size_t second_key(const casp_credentials_t *c,
                             const casp_guid_t *user, char key[64])
{
    apr_size_t n = 2;

    memcpy(key, "p:", n);
    for (const char *s = c->name; *s && n < 64 - sizeof(user->b); s++) {
        key[n++] = *s;
    }
    memcpy(key + n, user->b, sizeof(user->b));
    return n + sizeof(user->b);
}

/* @return when another process verified it; 0: none has. */
static apr_time_t second_knows(casp_credentials_t *c, const casp_guid_t *user,
                               const char *password, apr_size_t len,
                               apr_time_t now)
{
    char key[64];
    shared_credential_t kept;
    unsigned char asked[MAC_LEN];

    if (!c->second
        || c->second->get(c->second->baton, key, second_key(c, user, key),
                          &kept, sizeof(kept))
               != sizeof(kept)
        || now < kept.at || now - kept.at >= c->ttl
        || !credentials_mac(c, user, password, len, kept.at, asked)) {
        return 0;
    }
    return CRYPTO_memcmp(asked, kept.mac, MAC_LEN) == 0 ? kept.at : 0;
}

static void second_learns(casp_credentials_t *c, const casp_guid_t *user,
                          const char *password, apr_size_t len, apr_time_t now)
{
    char key[64];
    shared_credential_t kept;

    memset(&kept, 0, sizeof(kept));
    kept.at = now;
    if (c->second && credentials_mac(c, user, password, len, now, kept.mac)) {
        c->second->put(c->second->baton, key, second_key(c, user, key), &kept,
                       sizeof(kept), now + c->ttl);
    }
}

static void second_forgets(casp_credentials_t *c, const casp_guid_t *user)
{
    char key[64];

    if (c->second) {
        c->second->put(c->second->baton, key, second_key(c, user, key), "-", 1,
                       apr_time_now() + c->ttl);
    }
}

/* Into this process's own table. */
static void table_learns(casp_credentials_t *c, const casp_guid_t *user,
                         const unsigned char mac[MAC_LEN], apr_time_t at)
{
    apr_thread_mutex_lock(c->lock);
    credential_t *e = credentials_find(c, user);
    if (!e) { /* a free place has 0, and so is the oldest */
        credential_t *set = credentials_set(c, user);
        e = set;
        for (int i = 1; i < WAYS; i++) {
            if (set[i].at < e->at) {
                e = &set[i];
            }
        }
    }
    e->user = *user;
    memcpy(e->mac, mac, MAC_LEN);
    e->at = at;
    apr_thread_mutex_unlock(c->lock);
}

bool casp_credentials_known(casp_credentials_t *c, const casp_guid_t *user,
                            const char *password, apr_size_t len,
                            apr_time_t now)
{
    unsigned char asked[MAC_LEN], kept[MAC_LEN];
    bool known = false;

    if (!credentials_mac(c, user, password, len, 0, asked)) {
        return false;
    }
    apr_thread_mutex_lock(c->lock);
    credential_t *e = credentials_find(c, user);
    if (e && now >= e->at && now - e->at < c->ttl) {
        memcpy(kept, e->mac, sizeof(kept));
        known = true;
    }
    apr_thread_mutex_unlock(c->lock);
    if (known && CRYPTO_memcmp(asked, kept, sizeof(kept)) == 0) {
        return true;
    }
    apr_time_t at = second_knows(c, user, password, len, now);
    if (at) {
        table_learns(c, user, asked, at);
    }
    return at != 0;
}

void casp_credentials_remember(casp_credentials_t *c, const casp_guid_t *user,
                               const char *password, apr_size_t len,
                               apr_time_t now)
{
    unsigned char mac[MAC_LEN];

    if (credentials_mac(c, user, password, len, 0, mac)) {
        table_learns(c, user, mac, now);
        second_learns(c, user, password, len, now);
    }
}

void casp_credentials_forget(casp_credentials_t *c, const casp_guid_t *user)
{
    if (!c || c->ttl <= 0) {
        return;
    }
    apr_thread_mutex_lock(c->lock);
    credential_t *e = credentials_find(c, user);
    if (e) {
        casp_wipe(e, sizeof(*e));
    }
    apr_thread_mutex_unlock(c->lock);
    second_forgets(c, user);
}
