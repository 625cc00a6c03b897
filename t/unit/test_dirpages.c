/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Results in pages, and servers that fail between two of them.
 */

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

#include "dirworld.h"

/* A server that breaks off in the middle, each time, is not the last word
 * where another one has it all. */
static void test_fail_over_between_pages(void **state)
{
    (void)state;
    static const unsigned asks[] = {ASK_LATER_CLOSE, ASK_LATER_REFUSED};
    for (apr_size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        dirfault_t *bad = dirfault_start(FAULT_NONE, 0);
        dirfault_t *good = dirfault_start(FAULT_NONE, 0);
        SET(bad->ask, asks[i]);
        SET(bad->entries, 5);
        SET(good->entries, 5);
        world_t w;
        world_init(&w);
        world_url(&w, "ldap", bad->port);
        world_url(&w, "ldap", good->port);
        world_start(&w);
        for (int n = 0; n < 3; n++) {
            found_t s = search_full(&w, 0, 0, true);
            if (s.rc != CASP_DIR_OK) {
                fail_msg("row %d: %s", (int)i, s.why);
            }
            assert_int_equal(s.n, 5); /* none of the other's */
        }
        /* Neither can: that is told, with both reasons. */
        SET(good->ask, asks[i]);
        found_t s = search_full(&w, 0, 0, true);
        assert_int_equal(s.rc, CASP_DIR_INCOMPLETE);
        assert_int_equal(s.n, -1);
        assert_non_null(strstr(s.why, apr_itoa(w.p, bad->port)));
        assert_non_null(strstr(s.why, apr_itoa(w.p, good->port)));
        world_end(&w);
        dirfault_end(bad);
        dirfault_end(good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_over_between_pages),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
