/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file entry.h
 * A directory entry without a directory: what directory.c reads over LDAP and
 * ldif.c reads from an export has this one shape, so that topology.c and
 * mailbox.c never know where it came from.
 */

#ifndef CASP_ENTRY_H
#define CASP_ENTRY_H

#include "mod_casproxy.h"

/** A value: bytes with a length, and a NUL behind them for convenience. */
typedef struct {
    const char *data;
    apr_size_t len;
} casp_value_t;

/** An attribute; names compare without case. */
typedef struct {
    const char *name; /**< without options: "member;range=0-1" is "member" */
    int nvalues;
    casp_value_t *values;
    int room; /**< of values; casp_entry_add() keeps it */
} casp_attr_t;

typedef struct {
    const char *dn;
    apr_array_header_t *attrs; /**< of casp_attr_t */
} casp_entry_t;

/** An empty entry in @a p; @a dn is copied. */
casp_entry_t *casp_entry_make(apr_pool_t *p, const char *dn);

/** Add one value (copied) to an attribute, made where it is missing. */
void casp_entry_add(apr_pool_t *p, casp_entry_t *e, const char *name,
                    const char *data, apr_size_t len);

/** The attribute, or NULL. */
const casp_attr_t *casp_entry_attr(const casp_entry_t *e, const char *name);

/**
 * The first value as a string, or NULL where it is missing, empty or holds a
 * NUL: such a value is never text that Exchange wrote.
 */
const char *casp_entry_str(const casp_entry_t *e, const char *name);

/** The first value as a number, or @a missing. */
int64_t casp_entry_int(const casp_entry_t *e, const char *name,
                       int64_t missing);

/** Does the attribute hold this text, without case?  For objectClass. */
bool casp_entry_has(const casp_entry_t *e, const char *name,
                    const char *value);

/** The entry's objectGUID, or a stable one made from the DN. */
casp_guid_t casp_entry_guid(const casp_entry_t *e);

/* DNs.  Compared in a normal form: lower case in ASCII, no spaces around
 * separators, escapes in one spelling. */

/** The normal form, in @a p. */
const char *casp_dn_normal(apr_pool_t *p, const char *dn);
/** The same without a pool, for look-ups in what many threads share: @a out
 *  has room for three bytes for each of @a dn, and a NUL. */
void casp_dn_normal_into(char *out, const char *dn);
/** The DN without its first RDN, or NULL at the top; into the given text. */
const char *casp_dn_parent(const char *dn);
/** The unescaped value of the first RDN, in @a p. */
const char *casp_dn_leaf(apr_pool_t *p, const char *dn);
/** Is @a dn at or below @a base?  Both in normal form. */
bool casp_dn_below(const char *dn, const char *base);
/** A GUID from the SHA-256 of a normal form, marked as version 8. */
casp_guid_t casp_guid_of_text(const char *text);
bool casp_guid_equal(const casp_guid_t *a, const casp_guid_t *b);
bool casp_guid_zero(const casp_guid_t *g);
/** "xxxxxxxx-xxxx-…" in AD's byte order. */
const char *casp_guid_text(apr_pool_t *p, const casp_guid_t *g);
/** Read that text; also without hyphens or in braces. */
bool casp_guid_parse(const char *text, casp_guid_t *g);

#endif /* CASP_ENTRY_H */
