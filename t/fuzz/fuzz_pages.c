/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The bytes are taken in turn for an administrator's template, for what comes
 * into the built-in pages, for a file of texts and for an Accept-Language
 * header.  Whatever a template says, if it is accepted, a page with hostile
 * values in it has the same tags as one with harmless values.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "pages.h"

#define HOSTILE "\"'<b>--></script></style>&amp;`\\"
#define HARMLESS "x"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {CASP_PAGE_PLAIN, CASP_PAGE_LOGON,
                                    CASP_PAGE_SSO};
static char folder[] = "/tmp/casp-fuzz-pages-XXXXXX";

static void remove_folder(void)
{
    if (chdir(folder) == 0) {
        unlink(CASP_PAGE_PLAIN);
        unlink("messages.xx");
        rmdir(folder);
    }
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[sizeof folder + 32];
    int fd;

    apr_snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd))
        abort();
}

static const char *after(const char *at, const char *what)
{
    size_t len = strlen(what);

    while (*at && strncasecmp(at, what, len))
        at++;
    return *at ? at + len : at;
}

/* Behind the ">" of a tag; quotes count only after "=". */
static const char *after_tag(const char *at)
{
    bool equals = false;

    for (; *at && *at != '>'; at++) {
        if (equals && (*at == '"' || *at == '\'')) {
            char quote = *at++;
            while (*at && *at != quote)
                at++;
            if (!*at)
                return at;
            equals = false;
        }
        else if (*at == '=') {
            equals = true;
        }
        else if (!strchr(" \t\r\n\f\v", *at)) {
            equals = false;
        }
    }
    return *at ? at + 1 : at;
}

static bool is_raw(const char *at, const char *name)
{
    size_t len = strlen(name);

    return !strncasecmp(at, name, len) && strchr(" \t\r\n\f\v/>", at[len]);
}

/* How many tags a browser sees. */
static int tags_of(const char *at)
{
    int n = 0;

    while ((at = strchr(at, '<')) != NULL) {
        const char *name = ++at;
        if (!strncmp(at, "!--", 3)) {
            at = after(at + 1, "-->");
            continue;
        }
        if (!*at || (!apr_isalpha(*at) && !strchr("/!?", *at)))
            continue;
        n++;
        at = after_tag(at);
        if (is_raw(name, "script"))
            at = after(at, "</script");
        else if (is_raw(name, "style"))
            at = after(at, "</style");
    }
    return n;
}

static const char *fill(apr_pool_t *p, const casp_pages_t *pages,
                        const char *name, const char *language,
                        const char *value)
{
    static const char *const keys[] = {
        "title", "link",   "user",     "destination", "action", "nonce",
        "flags", "script", "username", "password",    "host",   "why2"};
    casp_page_var_t vars[sizeof keys / sizeof *keys + 1];
    size_t i;

    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        vars[i].name = keys[i];
        vars[i].value = value;
    }
    vars[i].name = NULL;
    return casp_pages_render(p, pages, name, language, vars);
}

static void compare(apr_pool_t *p, const casp_pages_t *pages, const char *name,
                    const char *value)
{
    const char *page = fill(p, pages, name, "xx", value);

    if (tags_of(page) != tags_of(fill(p, pages, name, "xx", HARMLESS)))
        abort();
}

/* A folder with one file of these bytes in it. */
static void as_file(apr_pool_t *p, const char *name, const uint8_t *data,
                    size_t size)
{
    char path[sizeof folder + 32];
    casp_pages_t *pages;

    write_file(name, data, size);
    if (!casp_pages_load(p, folder, &pages))
        compare(p, pages, CASP_PAGE_PLAIN, HOSTILE);
    apr_snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    static casp_pages_t *pages;
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
        if (casp_pages_load(root, NULL, &pages) || !mkdtemp(folder))
            abort();
        atexit(remove_folder);
    }
    apr_pool_create(&p, root);
    char *text = apr_pstrmemdup(p, (const char *)data, size);
    casp_pages_check(p, text);
    as_file(p, CASP_PAGE_PLAIN, data, size);
    as_file(p, "messages.xx", data, size);
    for (size_t i = 0; *text && i < sizeof names / sizeof *names; i++)
        compare(p, pages, names[i], text);
    const char *language = casp_pages_language(pages, text);
    if (!casp_pages_text(pages, language, "link.go") || strlen(language) != 2)
        abort();
    apr_pool_destroy(p);
    return 0;
}
