/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A bounded map with expiry, for the mailbox tables.
 *
 * Why not apr_hash: it never shrinks its pool, so that a table which lives as
 * long as a child would grow for ever; and why not one strict LRU list: a hit
 * would then write to its neighbours.  Here an entry is one malloc, a hit
 * writes one number, and a full table looks at a fixed number of entries to
 * find one to give up.
 *
 * It must not lock, log, read a clock or know what the bytes mean.
 */

#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "cache.h"

#define CACHE_SAMPLE 8
#define CACHE_BUCKETS_MAX (1u << 20)

struct casp_cache_t {
    casp_cached_t **buckets;
    casp_cached_t **slots; /* all entries, densely, to sample from */
    uint64_t seed[2];
    uint64_t tick;
    uint32_t mask;
    int size;
    int count;
    int hand;
    apr_uint32_t evictions;
};

/* ------------------------------------------------------------- hashing */

static uint64_t casp_cache_rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void casp_cache_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = casp_cache_rotate(v[1], 13) ^ v[0];
    v[3] = casp_cache_rotate(v[3], 16) ^ v[2];
    v[0] = casp_cache_rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = casp_cache_rotate(v[1], 17) ^ v[2];
    v[3] = casp_cache_rotate(v[3], 21) ^ v[0];
    v[2] = casp_cache_rotate(v[2], 32);
}

/* SipHash-1-3: the keys are names that strangers choose, so that the hash
 * must not be one for which they can prepare collisions. */
static uint64_t casp_cache_hash(const casp_cache_t *c, const char *key,
                                apr_size_t len)
{
    uint64_t v[4] = {c->seed[0] ^ UINT64_C(0x736f6d6570736575),
                     c->seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     c->seed[0] ^ UINT64_C(0x6c7967656e657261),
                     c->seed[1] ^ UINT64_C(0x7465646279746573)};
    const unsigned char *b = (const unsigned char *)key;
    uint64_t word = 0;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        word |= (uint64_t)b[i] << (8 * (i & 7));
        if ((i & 7) == 7) {
            v[3] ^= word;
            casp_cache_round(v);
            v[0] ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)(len & 0xff) << 56;
    v[3] ^= word;
    casp_cache_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    casp_cache_round(v);
    casp_cache_round(v);
    casp_cache_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* --------------------------------------------------------------- table */

casp_cache_t *casp_cache_create(int size)
{
    if (size <= 0) {
        return NULL;
    }
    casp_cache_t *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    uint32_t buckets = 16;
    while (buckets < (uint32_t)size && buckets < CACHE_BUCKETS_MAX) {
        buckets *= 2;
    }
    c->mask = buckets - 1;
    c->size = size;
    c->buckets = calloc(buckets, sizeof(*c->buckets));
    c->slots = calloc((size_t)size, sizeof(*c->slots));
    if (!c->buckets || !c->slots
        || RAND_bytes((unsigned char *)c->seed, sizeof(c->seed)) != 1) {
        casp_cache_destroy(c);
        return NULL;
    }
    return c;
}

void casp_cache_destroy(casp_cache_t *c)
{
    int i;

    if (!c) {
        return;
    }
    for (i = 0; i < c->count; i++) {
        free(c->slots[i]);
    }
    free(c->slots);
    free(c->buckets);
    free(c);
}

/* Where the pointer to the entry is; *it is NULL where there is none. */
static casp_cached_t **casp_cache_find(casp_cache_t *c, uint64_t hash,
                                       const char *key, apr_size_t key_len)
{
    casp_cached_t **at = &c->buckets[hash & c->mask];

    while (*at
           && ((*at)->hash != hash || (*at)->key_len != key_len
               || memcmp((*at)->key, key, key_len) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

static void casp_cache_drop(casp_cache_t *c, casp_cached_t **at)
{
    casp_cached_t *e = *at;

    *at = e->next;
    c->count--;
    c->slots[e->slot] = c->slots[c->count];
    c->slots[e->slot]->slot = e->slot;
    c->slots[c->count] = NULL;
    free(e);
}

static void casp_cache_evict(casp_cache_t *c, apr_time_t now)
{
    casp_cached_t *victim = NULL;
    int i;

    for (i = 0; i < CACHE_SAMPLE && i < c->count; i++) {
        c->hand = (c->hand + 1) % c->count;
        casp_cached_t *e = c->slots[c->hand];
        if (e->expires <= now) {
            victim = e;
            break;
        }
        if (!victim || e->used < victim->used) {
            victim = e;
        }
    }
    if (victim) {
        casp_cache_drop(c, casp_cache_find(c, victim->hash, victim->key,
                                           victim->key_len));
        c->evictions++;
    }
}

casp_cached_t *casp_cache_get(casp_cache_t *c, const char *key,
                              apr_size_t key_len, apr_time_t now)
{
    if (!c) {
        return NULL;
    }
    casp_cached_t **at =
        casp_cache_find(c, casp_cache_hash(c, key, key_len), key, key_len);
    if (!*at) {
        return NULL;
    }
    if ((*at)->expires <= now) {
        casp_cache_drop(c, at);
        return NULL;
    }
    (*at)->used = ++c->tick;
    return *at;
}

bool casp_cache_put(casp_cache_t *c, const char *key, apr_size_t key_len,
                    const void *value, apr_size_t len, apr_time_t now,
                    apr_time_t expires)
{
    if (!c || expires <= now) {
        return false;
    }
    casp_cached_t *e = malloc(sizeof(*e) + len + key_len);
    if (!e) {
        return false;
    }
    char *bytes = (char *)(e + 1);
    if (len) {
        memcpy(bytes, value, len);
    }
    memcpy(bytes + len, key, key_len);
    e->value = bytes;
    e->len = len;
    e->key = bytes + len;
    e->key_len = key_len;
    e->expires = expires;
    e->hold = 0;
    e->used = ++c->tick;
    e->hash = casp_cache_hash(c, key, key_len);

    casp_cached_t **at = casp_cache_find(c, e->hash, key, key_len);
    if (*at) {
        casp_cache_drop(c, at);
    }
    else if (c->count == c->size) {
        casp_cache_evict(c, now);
    }
    at = &c->buckets[e->hash & c->mask];
    e->next = *at;
    *at = e;
    e->slot = c->count;
    c->slots[c->count++] = e;
    return true;
}

bool casp_cache_remove(casp_cache_t *c, const char *key, apr_size_t key_len)
{
    if (!c) {
        return false;
    }
    casp_cached_t **at =
        casp_cache_find(c, casp_cache_hash(c, key, key_len), key, key_len);
    if (!*at) {
        return false;
    }
    casp_cache_drop(c, at);
    return true;
}

int casp_cache_count(const casp_cache_t *c)
{
    return c ? c->count : 0;
}

apr_uint32_t casp_cache_evictions(const casp_cache_t *c)
{
    return c ? c->evictions : 0;
}
