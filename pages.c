/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * pages.c - the template engine of the pages that people see.
 *
 * It is small on purpose: values, texts and one kind of section.  What matters
 * is that nobody who writes a template can forget to escape, because there is
 * no way to ask for a raw value.  Templates are read and checked in the parent
 * at (re)start; a request only joins strings.
 */

#include <string.h>

#include <apr_escape.h>
#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "pages.h"

#define TEMPLATE "page.html"
#define TEXTS "messages."
#define DEFAULT_LANGUAGE "en"

struct casp_pages_t {
    const char *template;
    apr_hash_t *texts; /* "en" -> apr_hash_t of key -> text */
};

/* -------------------------------------------------------------- the engine */

typedef struct {
    apr_pool_t *p;
    const casp_pages_t *pages;
    const char *language;
    const casp_page_var_t *vars;
    apr_array_header_t *out; /* of const char * */
} render_t;

static const char *value_of(const casp_page_var_t *vars, const char *name,
                            apr_size_t len)
{
    for (; vars && vars->name; vars++) {
        if (!strncmp(vars->name, name, len) && !vars->name[len])
            return vars->value ? vars->value : "";
    }
    return "";
}

static void put(render_t *r, const char *text, apr_size_t len)
{
    if (len)
        APR_ARRAY_PUSH(r->out, const char *) = apr_pstrndup(r->p, text, len);
}

static void put_escaped(render_t *r, const char *text)
{
    /* An apostrophe may come through as it is: casp_pages_check() refuses
     * templates that put a value into single quotes. */
    APR_ARRAY_PUSH(r->out, const char *) = apr_pescape_entity(r->p, text, 0);
}

/* The tag at "{{": its kind, name and what follows it; false: no tag. */
static bool tag_at(const char *at, char *kind, const char **name,
                   apr_size_t *len, const char **next)
{
    const char *end = strstr(at + 2, "}}");

    if (!end || end - at > 130)
        return false;
    *kind = at[2] == '#' || at[2] == '/' ? at[2] : '=';
    *name = at + (*kind == '=' ? 2 : 3);
    *len = (apr_size_t)(end - *name);
    *next = end + 2;
    if (*len == 0)
        return false;
    for (apr_size_t i = 0; i < *len; i++) {
        char c = (*name)[i];
        if (!apr_isalnum(c) && c != '_' && c != '-' && c != '.' && c != ':')
            return false;
    }
    return true;
}

/* Behind the end tag of the section that was just opened. */
static const char *skip_section(const char *at, const char *name,
                                apr_size_t len)
{
    int depth = 1;
    char kind;
    const char *n, *next;
    apr_size_t l;

    while ((at = strstr(at, "{{")) != NULL) {
        if (!tag_at(at, &kind, &n, &l, &next)) {
            at += 2;
            continue;
        }
        if (l == len && !strncmp(n, name, len)) {
            if (kind == '#')
                depth++;
            else if (kind == '/' && --depth == 0)
                return next;
        }
        at = next;
    }
    return NULL;
}

static void render(render_t *r, const char *at)
{
    while (*at) {
        const char *open = strstr(at, "{{");
        char kind;
        const char *name, *next;
        apr_size_t len;

        if (!open) {
            put(r, at, strlen(at));
            return;
        }
        put(r, at, (apr_size_t)(open - at));
        if (!tag_at(open, &kind, &name, &len, &next)) {
            put(r, open, 2);
            at = open + 2;
            continue;
        }
        at = next;
        if (kind == '/')
            continue; /* the end of a section that was kept */
        if (kind == '#') {
            if (!*value_of(r->vars, name, len)) {
                at = skip_section(next, name, len);
                if (!at)
                    return;
            }
        }
        else if (len > 2 && !strncmp(name, "t:", 2)) {
            const char *key = apr_pstrndup(r->p, name + 2, len - 2);
            const char *text = casp_pages_text(r->pages, r->language, key);
            put_escaped(r, text ? text : "");
        }
        else {
            put_escaped(r, value_of(r->vars, name, len));
        }
    }
}

const char *casp_pages_render(apr_pool_t *p, const casp_pages_t *pages,
                              const char *language,
                              const casp_page_var_t *vars)
{
    render_t r = {p, pages, language, vars, NULL};

    r.out = apr_array_make(p, 64, sizeof(const char *));
    render(&r, pages->template);
    return apr_array_pstrcat(p, r.out, 0);
}

const char *casp_pages_text(const casp_pages_t *pages, const char *language,
                            const char *key)
{
    apr_hash_t *texts =
        apr_hash_get(pages->texts, language, APR_HASH_KEY_STRING);
    const char *text =
        texts ? apr_hash_get(texts, key, APR_HASH_KEY_STRING) : NULL;

    if (!text && strcmp(language, DEFAULT_LANGUAGE))
        return casp_pages_text(pages, DEFAULT_LANGUAGE, key);
    return text;
}

/* ------------------------------------------------------- checks and loading */

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

const char *casp_pages_check(apr_pool_t *p, const char *text)
{
    apr_array_header_t *open = apr_array_make(p, 4, sizeof(const char *));
    const char *at = text;

    while ((at = strstr(at, "{{")) != NULL) {
        char kind;
        const char *name, *next;
        apr_size_t len;
        const char **top;

        if (!tag_at(at, &kind, &name, &len, &next))
            return apr_psprintf(p,
                                "line %d: \"{{\" begins no tag: write "
                                "{{name}}, {{t:key}} or {{#name}}..{{/name}}",
                                line_of(text, at));
        if (kind == '=' && at > text && at[-1] == '\'')
            return apr_psprintf(p,
                                "line %d: put the value into double "
                                "quotes, not single ones",
                                line_of(text, at));
        if (kind == '#') {
            APR_ARRAY_PUSH(open, const char *) = apr_pstrndup(p, name, len);
        }
        else if (kind == '/') {
            top = apr_array_pop(open);
            if (!top || strlen(*top) != len || strncmp(*top, name, len))
                return apr_psprintf(p, "line %d: {{/%.*s}} closes no section",
                                    line_of(text, at), (int)len, name);
        }
        at = next;
    }
    if (open->nelts)
        return apr_psprintf(p, "the section {{#%s}} is never closed",
                            APR_ARRAY_IDX(open, open->nelts - 1,
                                          const char *));
    return NULL;
}

/* "key = text" lines; '#' begins a comment line. */
static const char *texts_add(apr_pool_t *p, apr_hash_t *texts,
                             const char *content)
{
    char *copy = apr_pstrdup(p, content);
    int number = 0;

    while (copy && *copy) {
        char *line = copy;
        char *equals;

        number++;
        copy = strchr(copy, '\n');
        if (copy)
            *copy++ = '\0';
        line = line + strspn(line, " \t\r");
        if (!*line || *line == '#')
            continue;
        equals = strchr(line, '=');
        if (!equals || equals == line)
            return apr_psprintf(p, "line %d: expected \"key = text\"", number);
        char *key_end = equals;
        while (key_end > line && apr_isspace(key_end[-1]))
            key_end--;
        *key_end = '\0';
        char *value = equals + 1 + strspn(equals + 1, " \t");
        char *end = value + strlen(value);
        while (end > value && apr_isspace(end[-1]))
            *--end = '\0';
        apr_hash_set(texts, line, APR_HASH_KEY_STRING, value);
    }
    return NULL;
}

static const char *add_file(apr_pool_t *p, casp_pages_t *pages,
                            const char *name, const char *content)
{
    if (!strcmp(name, TEMPLATE)) {
        const char *error = casp_pages_check(p, content);
        if (!error)
            pages->template = content;
        return error;
    }
    if (!strncmp(name, TEXTS, strlen(TEXTS))) {
        const char *language = apr_pstrdup(p, name + strlen(TEXTS));
        apr_hash_t *texts =
            apr_hash_get(pages->texts, language, APR_HASH_KEY_STRING);
        if (!texts) {
            texts = apr_hash_make(p);
            apr_hash_set(pages->texts, language, APR_HASH_KEY_STRING, texts);
        }
        return texts_add(p, texts, content);
    }
    return NULL; /* an image or a note of the administrator's */
}

static const char *read_file(apr_pool_t *p, const char *path, char **content)
{
    apr_file_t *f;
    apr_size_t len = CASP_PAGE_MAX;
    apr_status_t rv = apr_file_open(&f, path, APR_FOPEN_READ, 0, p);
    char text[160];

    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "cannot be opened: %s",
                            apr_strerror(rv, text, sizeof text));
    *content = apr_palloc(p, CASP_PAGE_MAX + 1);
    rv = apr_file_read_full(f, *content, CASP_PAGE_MAX, &len);
    apr_file_close(f);
    if (rv != APR_SUCCESS && rv != APR_EOF)
        return apr_psprintf(p, "cannot be read: %s",
                            apr_strerror(rv, text, sizeof text));
    if (len == CASP_PAGE_MAX)
        return "is larger than 256 KiB";
    (*content)[len] = '\0';
    if (strlen(*content) != len)
        return "holds a NUL byte";
    return NULL;
}

static const char *load_folder(apr_pool_t *p, const char *folder,
                               casp_pages_t *pages)
{
    apr_dir_t *dir;
    apr_finfo_t info;
    char text[160];
    apr_status_t rv = apr_dir_open(&dir, folder, p);

    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "the folder %s cannot be opened: %s", folder,
                            apr_strerror(rv, text, sizeof text));
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        char *content = NULL;
        const char *error;
        if (strcmp(info.name, TEMPLATE)
            && strncmp(info.name, TEXTS, strlen(TEXTS)))
            continue;
        error = read_file(p, apr_pstrcat(p, folder, "/", info.name, NULL),
                          &content);
        if (!error)
            error = add_file(p, pages, info.name, content);
        if (error) {
            error = apr_psprintf(p, "%s/%s: %s", folder, info.name, error);
            apr_dir_close(dir);
            return error;
        }
    }
    apr_dir_close(dir);
    return NULL;
}

const char *casp_pages_load(apr_pool_t *p, const char *folder,
                            casp_pages_t **result)
{
    casp_pages_t *pages = apr_pcalloc(p, sizeof *pages);

    pages->texts = apr_hash_make(p);
    for (const casp_builtin_page_t *b = casp_builtin_pages; b->name; b++) {
        const char *error = add_file(p, pages, b->name, b->text);
        if (error)
            return apr_psprintf(p, "built-in %s: %s", b->name, error);
    }
    *result = pages;
    return folder ? load_folder(p, folder, pages) : NULL;
}
