/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file pages.h
 * The pages that people see, made from a template and a list of texts.
 *
 * A template holds {{name}} (the value, escaped for HTML by the engine, never
 * by the template's author), {{t:key}} (a text of the reader's language,
 * escaped), {{#name}}...{{/name}} (kept where the value is not empty),
 * {{value:name}} (a whole attribute, value="...", with as few entities as HTML
 * allows: for programs that read pages without decoding them) and {{js:name}}
 * (a string of JavaScript, quotes included).  There is no way to put out a raw
 * value.
 */

#ifndef CASP_PAGES_H
#define CASP_PAGES_H

#include "mod_casproxy.h"

typedef struct casp_pages_t casp_pages_t;

/** A file that is compiled in, from pages/. */
typedef struct {
    const char *name; /**< NULL at the end */
    const char *text;
} casp_builtin_page_t;
extern const casp_builtin_page_t casp_builtin_pages[];

typedef struct {
    const char *name;
    const char *value; /**< NULL: empty */
} casp_page_var_t;

/** A template, or a text, is no larger than this: 256 KiB. */
#define CASP_PAGE_MAX (256 * 1024)

/**
 * Load templates and texts: the built-in ones, each replaced by the file of
 * the same name in @a folder, where it has one.
 * @param folder NULL: built-in only
 * @return NULL, or what is wrong, with the file's name and line
 */
const char *casp_pages_load(apr_pool_t *p, const char *folder,
                            casp_pages_t **pages);

/** The templates.  A folder may replace each of them, and flogon.js. */
#define CASP_PAGE_PLAIN "page.html" /**< links, errors, refusals */
#define CASP_PAGE_LOGON "logon.html"
#define CASP_PAGE_SSO "sso.html" /**< the self-posting form */
#define CASP_PAGE_SCRIPT \
    "flogon.js" /**< the logon page's script: no template*/

/** A text by key, or NULL.  @a language: "en". */
const char *casp_pages_text(const casp_pages_t *pages, const char *language,
                            const char *key);

/**
 * The best language that there are texts in, for an Accept-Language header:
 * by quality, then by order; "de-AT" finds "de".  "en" where none fits.
 * @param header may be NULL, or anything a stranger sends
 */
const char *casp_pages_language(const casp_pages_t *pages, const char *header);

/**
 * Fill a template.  A name that is not among @a vars is empty; texts are
 * looked for in @a language, then in English.
 * @param name CASP_PAGE_*, but the script
 * @param vars ends with a NULL name
 */
const char *casp_pages_render(apr_pool_t *p, const casp_pages_t *pages,
                              const char *name, const char *language,
                              const casp_page_var_t *vars);

/** A file that is sent as it is: CASP_PAGE_SCRIPT. */
const char *casp_pages_file(const casp_pages_t *pages, const char *name);

/** Check a template's syntax. @return NULL or "line 3: ..." in @a p. */
const char *casp_pages_check(apr_pool_t *p, const char *text);

#endif /* CASP_PAGES_H */
