/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file values.h
 * The words that directives take: numbers, times, choices, key=value lists,
 * hosts, URLs, paths, names, references to secrets.
 *
 * Private to settings.c, directives.c and confread.c.  Every function that
 * returns a string returns NULL where the word is good, else a sentence that
 * says what is wrong and what would be right.  Results lie in @a p.
 */

#ifndef CASP_VALUES_H
#define CASP_VALUES_H

#include "settings.h"

/** A choice; word NULL at the end. */
typedef struct {
    const char *word;
    int value;
} casp_word_t;

/** One key of a key=value list; key NULL at the end. */
typedef struct {
    const char *key;
    size_t offset; /**< of an int in casp_settings_t */
    int min, max;
    bool time; /**< seconds, written with a unit: "15m" */
} casp_key_range_t;

/** Quoted for a message: no control bytes, and not longer than helps. */
const char *casp_value_show(apr_pool_t *p, const char *arg);

/** Quoted for a configuration line, where it must be. */
const char *casp_value_quote(apr_pool_t *p, const char *arg);

/** One of @a words, without case. */
const char *casp_value_word(apr_pool_t *p, const char *arg,
                            const casp_word_t *words, int *value);
/** The word of a value; NULL where it has none. */
const char *casp_value_word_of(const casp_word_t *words, int value);
/** One or more of @a words, each once, into a mask of their values. */
const char *casp_value_mask(apr_pool_t *p, int argc, const char *const *argv,
                            const casp_word_t *words, int *mask);

/** A whole number in a range, nothing behind it. */
const char *casp_value_number(apr_pool_t *p, const char *arg, const char *what,
                              int min, int max, int *value);

/** A time with its unit: 90s, 15m, 8h, 2d.  A bare number is refused: Exchange
 *  counts such times in minutes, httpd in seconds. */
const char *casp_value_duration(apr_pool_t *p, const char *arg,
                                const char *what, int min, int max,
                                int *seconds);
/** The other way, in the largest unit that leaves no rest: 86400 is "1d". */
const char *casp_value_duration_of(apr_pool_t *p, int seconds);

/** "min=0 smax=4": each key once, none but these. */
const char *casp_value_keys(apr_pool_t *p, casp_settings_t *s,
                            const casp_key_range_t *keys, int argc,
                            const char *const *argv);
/** The other way; NULL where none of them is set. */
const char *casp_value_keys_of(apr_pool_t *p, const casp_settings_t *s,
                               const casp_key_range_t *keys);

/** A name without control bytes, none of @a not, at most @a max bytes. */
const char *casp_value_name(apr_pool_t *p, const char *arg, const char *what,
                            const char * not, apr_size_t max,
                            const char **name);
/** An absolute path. */
const char *casp_value_path(apr_pool_t *p, const char *arg, const char **path);
/** A host's name or address, without a port; in lower case. */
const char *casp_value_host(apr_pool_t *p, const char *arg, const char **host);
/** The same with "*" and "?". */
const char *casp_value_host_pattern(apr_pool_t *p, const char *arg,
                                    const char **pattern);
/** An http(s) URL, in casp_url_check()'s spelling. */
const char *casp_value_url(apr_pool_t *p, const char *arg, const char **url);
/** A distinguished name, as far as its outside tells. */
const char *casp_value_dn(apr_pool_t *p, const char *arg, const char **dn);
/** ldaps://, ldap://, ldapi:// or ldif:/path. */
const char *casp_value_directory(apr_pool_t *p, const char *arg,
                                 const char **url);
/** file:/path, exec:/path args, env:NAME: never the secret itself, and no
 *  message repeats it. */
const char *casp_value_secret(apr_pool_t *p, const char *arg,
                              const char **reference);

#endif /* CASP_VALUES_H */
