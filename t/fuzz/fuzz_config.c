/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Configuration text as casproxyctl reads it: any bytes give settings or a
 * sentence, and what was read can be dumped and read again.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p;
    casp_config_t config, again;

    apr_initialize();
    apr_pool_create(&p, NULL);
    const char *text = apr_pstrmemdup(p, (const char *)data, size);
    memset(&config, 0, sizeof config);
    memset(&again, 0, sizeof again);
    if (!casp_config_read(p, text, NULL, &config)) {
        apr_array_header_t *errors = apr_array_make(p, 4, sizeof(char *));
        apr_array_header_t *lines =
            casp_settings_dump(p, config.settings, config.dir);
        const char *dump = "";
        for (int i = 0; i < lines->nelts; i++)
            dump = apr_pstrcat(p, dump, APR_ARRAY_IDX(lines, i, char *), "\n",
                               NULL);
        if (casp_config_read(p, dump, NULL, &again))
            abort(); /* a dump is this very language */
        casp_config_dir_for(p, &config, "/owa/");
        (void)errors;
    }
    apr_pool_destroy(p);
    return 0;
}
