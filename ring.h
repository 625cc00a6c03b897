/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file ring.h
 * What session.c needs to know of a key ring: private to it and ring.c.
 *
 * The master secrets themselves are not in here.  HKDF's first half is done
 * when the file is read, and what is kept is its outcome.
 */

#ifndef CASP_RING_H
#define CASP_RING_H

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "session.h"

#define CASP_RING_MAX 8
#define CASP_RING_ID 4 /* bytes */
#define CASP_RING_KEY 32 /* bytes */

typedef struct {
    unsigned char id[CASP_RING_ID]; /**< in every cookie that it sealed */
    unsigned char prk[CASP_RING_KEY]; /**< to derive from */
} casp_ring_key_t;

struct casp_ring_t {
    int n; /**< at least one */
    casp_ring_key_t keys[CASP_RING_MAX]; /**< the newest first */
};

/** HKDF-SHA256's second half: @a len bytes for the purpose @a info. */
bool casp_ring_derive(EVP_KDF *kdf, const casp_ring_key_t *key,
                      const void *info, size_t info_len, unsigned char *out,
                      size_t len);

/**
 * Read the text of a ring.  @a text is overwritten on the way.
 * @param line where a line is to blame: which; else 0
 * @return NULL, or what is wrong and the remedy, without the file's name
 */
const char *casp_ring_parse(char *text, size_t len, casp_ring_t *ring,
                            int *line);

#endif /* CASP_RING_H */
