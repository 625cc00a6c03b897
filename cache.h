/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file cache.h
 * A bounded map from bytes to bytes, with expiry: private to mailbox.c.
 *
 * It knows neither threads nor clocks: its owner holds a lock around every
 * call and says what time it is.  Nothing here takes longer when the table
 * is full than when it is empty.
 */

#ifndef CASP_CACHE_H
#define CASP_CACHE_H

#include "mod_casproxy.h"

typedef struct casp_cache_t casp_cache_t;

/** What is kept for a key; the value's bytes are aligned for any type. */
typedef struct casp_cached_t {
    struct casp_cached_t *next; /**< in the chain of its bucket */
    uint64_t hash;
    uint64_t used; /**< the table's tick of its last use */
    apr_time_t expires;
    apr_time_t hold; /**< the owner's own: "do not ask again before" */
    const void *value;
    apr_size_t len;
    const char *key;
    apr_size_t key_len;
    int slot;
} casp_cached_t;

/** A table of at most @a size entries; NULL where size is not positive or
 *  memory ran out: all other calls take that as a table that is empty. */
casp_cache_t *casp_cache_create(int size);
void casp_cache_destroy(casp_cache_t *c);

/** The entry, until the next put or remove; NULL where it is missing or has
 *  expired. */
casp_cached_t *casp_cache_get(casp_cache_t *c, const char *key,
                              apr_size_t key_len, apr_time_t now);

/**
 * Keep a copy of @a value.  A full table gives up one entry: an expired one
 * or the least recently used of a small sample.
 * @return false: not kept
 */
bool casp_cache_put(casp_cache_t *c, const char *key, apr_size_t key_len,
                    const void *value, apr_size_t len, apr_time_t now,
                    apr_time_t expires);

/** @return true: there was one, expired or not */
bool casp_cache_remove(casp_cache_t *c, const char *key, apr_size_t key_len);

int casp_cache_count(const casp_cache_t *c);
apr_uint32_t casp_cache_evictions(const casp_cache_t *c);

#endif /* CASP_CACHE_H */
