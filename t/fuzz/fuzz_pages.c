/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An administrator's template, with hostile values in it: whatever the
 * template says, no value comes out unescaped.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    static casp_pages_t *pages;
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
        if (casp_pages_load(root, NULL, &pages))
            abort();
    }
    apr_pool_create(&p, root);
    char *text = apr_pstrmemdup(p, (const char *)data, size);
    const casp_page_var_t vars[] = {
        {"title", text}, {"link", text}, {"user", "<b>&\"'"}, {NULL, NULL}};
    casp_pages_check(p, text);
    const char *out = casp_pages_render(p, pages, text, vars);
    if (strstr(out, "<b>&"))
        abort();
    apr_pool_destroy(p);
    return 0;
}
