/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file directives.h
 * What the files share that hold the setters and dumpers of the directives.
 *
 * Private to directives.c, setdirectory.c and setlogon.c.  A room is the pair
 * of functions of one directive: casp_set_ROOM() checks its words and sets,
 * casp_dump_ROOM() writes what its setter would read.
 */

#ifndef CASP_DIRECTIVES_H
#define CASP_DIRECTIVES_H

#include <string.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#include "values.h"

#if defined(__GNUC__)
#define CASP_UNUSED __attribute__((unused))
#else
#define CASP_UNUSED
#endif

#define SETTER(name)                                                \
    const char *casp_set_##name(CASP_UNUSED apr_pool_t *p,          \
                                CASP_UNUSED casp_settings_t *s,     \
                                CASP_UNUSED casp_dir_settings_t *d, \
                                CASP_UNUSED int argc,               \
                                CASP_UNUSED const char *const *argv)

#define DUMPER(name)                                                \
    void casp_dump_##name(CASP_UNUSED apr_pool_t *p,                \
                          CASP_UNUSED const casp_settings_t *s,     \
                          CASP_UNUSED const casp_dir_settings_t *d, \
                          CASP_UNUSED apr_array_header_t *lines)

/* A dumper of one word, quoted where needed; nothing where it is NULL. */
#define DUMP_STRING(name, directive, value)        \
    DUMPER(name)                                   \
    {                                              \
        casp_put_word(p, lines, directive, value); \
    }

#define DUMP_CHOICE(name, directive, words, value)                       \
    DUMPER(name)                                                         \
    {                                                                    \
        casp_put(p, lines, directive, casp_value_word_of(words, value)); \
    }

#define NUM(name, member, min, max)                              \
    {                                                            \
        name, offsetof(casp_settings_t, member), min, max, false \
    }
#define TIME(name, member, min, max)                            \
    {                                                           \
        name, offsetof(casp_settings_t, member), min, max, true \
    }
#define LAST_KEY             \
    {                        \
        NULL, 0, 0, 0, false \
    }

/* A directive of key=value words: the table serves setter and dumper. */
#define KEYS_SETTER(name, keys)                         \
    SETTER(name)                                        \
    {                                                   \
        return casp_value_keys(p, s, keys, argc, argv); \
    }
#define KEYS_DUMPER(name, directive, keys)                             \
    DUMPER(name)                                                       \
    {                                                                  \
        casp_put(p, lines, directive, casp_value_keys_of(p, s, keys)); \
    }

#define DAY 86400
#define MANY 100000000

/* ------------------------------------------ what a dumper writes lines with */

/** A line of a directive and its words, which are written already; nothing
 *  where they are NULL. */
void casp_put(apr_pool_t *p, apr_array_header_t *lines, const char *directive,
              const char *words);
/** One word, quoted where needed. */
void casp_put_word(apr_pool_t *p, apr_array_header_t *lines,
                   const char *directive, const char *word);
void casp_put_number(apr_pool_t *p, apr_array_header_t *lines,
                     const char *directive, int number);
/** The words of an array, quoted where needed; NULL where there are none. */
const char *casp_put_join(apr_pool_t *p, const apr_array_header_t *words);
/** The words of a mask, in the table's order. */
void casp_put_mask(apr_pool_t *p, apr_array_header_t *lines,
                   const char *directive, const casp_word_t *words, int mask);

/* -------------------------------------------------- rooms of the other files */

#define ROOM(name) \
    SETTER(name);  \
    DUMPER(name)

/* setdirectory.c: where Active Directory is, and what is remembered of it */
ROOM(directory);
ROOM(global_catalog);
ROOM(directory_base);
ROOM(bind);
ROOM(directory_tls);
ROOM(ca_file);
ROOM(directory_pool);
ROOM(directory_timeout);
ROOM(topology_refresh);
ROOM(mailbox_cache);
ROOM(credential_cache);
ROOM(shared_cache);

/* setlogon.c: how people log on here, and how this front logs on behind */
ROOM(auth);
ROOM(backend_auth);
ROOM(keytab);
ROOM(ntlm_verify);
ROOM(forms_key);
ROOM(forms_timeout);
ROOM(logon_format);
ROOM(default_domain);
ROOM(sso);

#endif /* CASP_DIRECTIVES_H */
