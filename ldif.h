/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file ldif.h
 * LDIF in and out.  In: what ldifde or ldapsearch -LLL wrote, or what
 * casp_ldif_write() kept in the state directory.
 */

#ifndef CASP_LDIF_H
#define CASP_LDIF_H

#include "entry.h"

/** The largest export that is read: 1 GiB. */
#define CASP_LDIF_MAX ((apr_size_t)1 << 30)

/**
 * Read all entries of a text.  Folded lines, base64, comments, CR LF, a
 * "version:" line, "changetype: add", several files in one, a byte order
 * mark; "attr:< URL" and "include:" are refused, for an export is input and
 * must not make us read other files.  A record that cannot be read is left
 * out and told in @a problems (of const char *, with line numbers); the rest
 * goes on.  The same DN twice: the later record's attributes are added, for
 * ldifde is asked naming context by naming context.
 *
 * @param p        owns everything returned
 * @param text     the bytes; not changed
 * @param entries  of casp_entry_t *, never NULL on return
 * @param problems may be NULL; at most 100 are told
 */
void casp_ldif_parse(apr_pool_t *p, const char *text, apr_size_t len,
                     apr_array_header_t **entries,
                     apr_array_header_t *problems);

/** The same from a file; an error where it cannot be opened or is too big. */
apr_status_t casp_ldif_read(apr_pool_t *p, const char *path,
                            apr_array_header_t **entries,
                            apr_array_header_t *problems);

/**
 * Write entries to a file, whole or not at all: a new file in the same
 * folder (mode 0600), flushed to disk, renamed over the old one.
 */
apr_status_t casp_ldif_write(apr_pool_t *p, const char *path,
                             const apr_array_header_t *entries,
                             const char *comment);

#endif /* CASP_LDIF_H */
