/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The organisation room on an export: reading, swapping, keeping what was
 * known.  On a live directory: what children tell each other; the rest is
 * tested on the wire.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utime.h>

#include <cmocka.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "dirfault.h"
#include "org.h"

static apr_pool_t *pool;
static char *dir;

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    apr_pool_create(&pool, NULL);
    dir = apr_pstrdup(pool, "/tmp/casp-org-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rmdir(dir);
    apr_pool_destroy(pool);
    return 0;
}

static const char *sample(void)
{
    const char *data = getenv("CASP_TEST_DATA");

    return apr_pstrcat(pool, data ? data : "t/unit", "/org.ldif", NULL);
}

/* Each write is an hour newer, whatever the clock's resolution. */
static void put(const char *path, const char *text)
{
    static time_t when = 1000000000;
    struct utimbuf times;
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    times.actime = times.modtime = when += 3600;
    assert_int_equal(utime(path, &times), 0);
}

static char *slurp(const char *path)
{
    apr_file_t *f;
    apr_finfo_t info;
    char *text;

    assert_int_equal(apr_file_open(&f, path, APR_FOPEN_READ, 0, pool),
                     APR_SUCCESS);
    apr_file_info_get(&info, APR_FINFO_SIZE, f);
    text = apr_pcalloc(pool, (apr_size_t)info.size + 1);
    apr_file_read_full(f, text, (apr_size_t)info.size, NULL);
    apr_file_close(f);
    return text;
}

static casp_settings_t *settings_for(const char *path)
{
    casp_settings_t *s = casp_settings_create(pool);

    s->directory = apr_array_make(pool, 1, sizeof(const char *));
    APR_ARRAY_PUSH(s->directory, const char *) =
        apr_pstrcat(pool, "ldif:", path, NULL);
    return casp_settings_complete(pool, s, "/nonexistent");
}

static casp_org_t *started(apr_pool_t *p, const char *path)
{
    casp_org_t *org;

    assert_null(casp_org_create(p, settings_for(path), NULL, &org));
    assert_int_equal(casp_org_start(org, p, NULL, NULL), APR_SUCCESS);
    return org;
}

/* A second later than the last time: sooner, a tick does nothing. */
static void tick(casp_org_t *org)
{
    static apr_time_t now;

    if (!now)
        now = apr_time_now();
    now += apr_time_from_sec(2);
    casp_org_tick(org, now);
}

static int servers(casp_org_t *org)
{
    casp_topology_t *t = casp_org_topology(org);
    int n;

    if (!t)
        return -1;
    n = t->servers->nelts;
    casp_topology_unref(t);
    return n;
}

static void an_export_is_read_at_start(void **state)
{
    casp_org_t *org = started(pool, sample());

    (void)state;
    assert_true(servers(org) > 3);
    assert_null(casp_org_trouble(org, pool));
    assert_null(casp_org_stats(org));
}

static void a_new_export_is_swapped_in(void **state)
{
    const char *path = apr_pstrcat(pool, dir, "/e.ldif", NULL);
    casp_org_t *org;
    casp_topology_t *held;
    int before;

    (void)state;
    put(path, slurp(sample()));
    org = started(pool, path);
    before = servers(org);
    held = casp_org_topology(org);

    /* one server less; whoever holds the old snapshot keeps it */
    char *text = slurp(sample());
    char *at = strstr(text, "dn: CN=BER-EX03,CN=Servers,");
    assert_non_null(at);
    at = strstr(at, "objectClass: msExchExchangeServer\n");
    assert_non_null(at);
    memcpy(at, "objectClass: xxExchExchangeServer\n", 34);
    put(path, text);
    tick(org);
    assert_int_equal(servers(org), before - 1);
    assert_int_equal(held->servers->nelts, before);
    casp_topology_unref(held);
    unlink(path);
}

static void a_broken_export_changes_nothing(void **state)
{
    static const char *const broken[] = {
        "", "dn: cut off in the mid", "\x01\x02\xff binary\n\n",
        "dn: CN=X\nobjectClass: user\n", NULL};
    const char *path = apr_pstrcat(pool, dir, "/b.ldif", NULL);
    casp_org_t *org;
    int before;

    (void)state;
    put(path, slurp(sample()));
    org = started(pool, path);
    before = servers(org);
    for (int i = 0; broken[i]; i++) {
        put(path, broken[i]);
        tick(org);
        assert_int_equal(servers(org), before);
    }
    unlink(path);
    tick(org);
    assert_int_equal(servers(org), before);
    assert_non_null(strstr(casp_org_trouble(org, pool), "b.ldif"));
}

static void a_missing_export_is_trouble(void **state)
{
    const char *path = apr_pstrcat(pool, dir, "/later.ldif", NULL);
    casp_org_t *org = started(pool, path);

    (void)state;
    assert_int_equal(servers(org), -1);
    assert_non_null(casp_org_trouble(org, pool));
    put(path, slurp(sample()));
    tick(org);
    assert_true(servers(org) > 0);
    assert_null(casp_org_trouble(org, pool));
    unlink(path);
}

static void users_come_from_the_export(void **state)
{
    casp_org_t *org = started(pool, sample());
    casp_topology_t *t = casp_org_topology(org);
    const casp_mailbox_t *m;
    casp_user_key_t key = {CASP_KEY_LOGON, "CONTOSO", "nobody-at-all", 13};
    casp_cache_e how;
    const char *why = NULL;

    (void)state;
    assert_int_equal(casp_org_find(org, pool, t, &key, 0, &m, &how, &why),
                     CASP_FIND_NONE);
    assert_int_equal(casp_org_find(org, pool, t, &key, 0, &m, &how, &why),
                     CASP_FIND_NONE);
    assert_int_equal(how, CASP_CACHE_NEGATIVE);
    casp_topology_unref(t);
}

static void an_export_judges_no_password(void **state)
{
    casp_org_t *org = started(pool, sample());
    casp_mailbox_t m;
    const char *why = NULL;

    (void)state;
    memset(&m, 0, sizeof m);
    assert_int_equal(casp_org_check_password(org, pool, &m, "secret", 6, &why),
                     CASP_PW_UNAVAILABLE);
    assert_non_null(strstr(why, "CasProxyAuth None"));
    assert_int_equal(casp_org_check_password(org, pool, &m, "", 0, &why),
                     CASP_PW_EMPTY);
}

static void keys_tell_directories_apart(void **state)
{
    casp_settings_t *a = settings_for("/a.ldif");
    casp_settings_t *b = settings_for("/b.ldif");
    casp_settings_t *c = settings_for("/a.ldif");

    (void)state;
    assert_string_equal(casp_org_key(pool, a), casp_org_key(pool, c));
    assert_string_not_equal(casp_org_key(pool, a), casp_org_key(pool, b));
    c->mailbox_ttl++;
    assert_string_not_equal(casp_org_key(pool, a), casp_org_key(pool, c));
}

/* The end of a process while nobody asks, and twice over. */
static void stopping_is_idempotent(void **state)
{
    apr_pool_t *p;
    casp_org_t *org;

    (void)state;
    apr_pool_create(&p, pool);
    org = started(p, sample());
    casp_org_stop(org);
    casp_org_stop(org);
    apr_pool_destroy(p);
}

/* ---------------------------------------------------- a live directory */

static casp_settings_t *live_settings(const dirfault_t *f)
{
    casp_settings_t *s = casp_settings_create(pool);

    s->directory = apr_array_make(pool, 1, sizeof(const char *));
    APR_ARRAY_PUSH(s->directory, const char *) =
        apr_psprintf(pool, "ldap://127.0.0.1:%d", f->port);
    s->directory_tls = CASP_TLS_OFF;
    s->directory_bind = CASP_BIND_SIMPLE;
    s->bind_name = DIRFAULT_SERVICE;
    s->state_dir = dir;
    return casp_settings_complete(pool, s, dir);
}

static casp_org_t *live(apr_pool_t *p, const dirfault_t *f,
                        casp_org_shared_t *shared)
{
    casp_org_t *org;

    assert_null(casp_org_create(p, live_settings(f), "secret", &org));
    assert_int_equal(casp_org_start(org, p, NULL, shared), APR_SUCCESS);
    return org;
}

/* A full disk, for this process: root's too. */
static void disk_full(bool full)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void no_state_left(void)
{
    assert_int_equal(system(apr_pstrcat(pool, "rm -f ", dir, "/*", NULL)), 0);
}

/* Two children of one server.  What one has read reaches the other by the
 * state file; where that cannot be written, the other asks for itself. */
static void each_asks_where_no_state_is_kept(void **state)
{
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    casp_org_shared_t shared;
    apr_time_t now = apr_time_now();
    apr_pool_t *p;
    int was, is[6];

    (void)state;
    apr_pool_create(&p, pool);
    memset(&shared, 0, sizeof shared);
    SET(f->entries, 1);
    casp_org_t *a = live(p, f, &shared), *b = live(p, f, &shared);
    casp_org_tick(a, now);
    casp_org_tick(b, now);
    assert_int_equal(servers(a), 1);
    assert_int_equal(servers(b), 1);
    was = (int)GET(f->searches);
    assert_int_equal(was, 1); /* the other has read the file */

    SET(f->entries, 2);
    disk_full(true);
    shared.next = 0;
    casp_org_tick(a, now + apr_time_from_sec(2));
    casp_org_tick(b, now + apr_time_from_sec(2));
    is[0] = servers(a);
    is[1] = servers(b);
    casp_org_tick(a, now + apr_time_from_sec(4));
    casp_org_tick(b, now + apr_time_from_sec(4));
    is[2] = servers(a); /* and it stays */
    is[3] = servers(b);
    is[4] = (int)GET(f->searches);
    /* a child that begins now finds the old file only */
    casp_org_t *c = live(p, f, &shared);
    casp_org_tick(c, now);
    is[5] = servers(c);
    disk_full(false);
    assert_int_equal(is[0], 2);
    assert_int_equal(is[1], 2);
    assert_int_equal(is[2], 2);
    assert_int_equal(is[3], 2);
    assert_int_equal(is[4], 3);
    assert_int_equal(is[5], 2);

    /* there is room again */
    SET(f->entries, 1);
    now += apr_time_from_sec(310);
    casp_org_tick(a, now);
    shared.next = (apr_uint32_t)apr_time_sec(now) + 300;
    was = (int)GET(f->searches);
    casp_org_tick(b, now + apr_time_from_sec(2));
    casp_org_tick(c, now + apr_time_from_sec(2));
    assert_int_equal(servers(a), 1);
    assert_int_equal(servers(b), 1);
    assert_int_equal(servers(c), 1);
    assert_int_equal(GET(f->searches), was);
    apr_pool_destroy(p);
    dirfault_end(f);
    no_state_left();
}

/* The first start on a full disk: nobody has a file to read. */
static void a_first_start_needs_no_state(void **state)
{
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    casp_org_shared_t shared;
    apr_time_t now = apr_time_now();
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, pool);
    memset(&shared, 0, sizeof shared);
    SET(f->entries, 1);
    casp_org_t *a = live(p, f, &shared), *b = live(p, f, &shared);
    disk_full(true);
    casp_org_tick(a, now);
    casp_org_tick(b, now);
    int of_a = servers(a), of_b = servers(b);
    disk_full(false);
    assert_int_equal(of_a, 1);
    assert_int_equal(of_b, 1);
    apr_pool_destroy(p);
    dirfault_end(f);
    no_state_left();
}

/* Ten hours back, and the next refresh is not ten hours away. */
static void a_clock_set_back_stops_no_refresh(void **state)
{
    dirfault_t *f = dirfault_start(FAULT_NONE, 0);
    casp_org_shared_t shared;
    apr_time_t now = apr_time_now();
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, pool);
    memset(&shared, 0, sizeof shared);
    SET(f->entries, 1);
    casp_org_t *a = live(p, f, &shared);
    casp_org_tick(a, now);
    assert_int_equal(servers(a), 1);
    SET(f->entries, 2);
    casp_org_tick(a, now + apr_time_from_sec(5)); /* not due yet */
    assert_int_equal(servers(a), 1);
    shared.next += 36000; /* as the clock before set it */
    casp_org_tick(a, now + apr_time_from_sec(10));
    assert_int_equal(servers(a), 2);
    /* and a lease of the future is nobody's */
    SET(f->entries, 3);
    shared.next = 0;
    shared.lease = (apr_uint32_t)apr_time_sec(now) + 36000;
    casp_org_tick(a, now + apr_time_from_sec(15));
    assert_int_equal(servers(a), 3);
    /* one of these seconds is somebody's */
    SET(f->entries, 1);
    shared.next = 0;
    shared.lease = (apr_uint32_t)apr_time_sec(now) + 50;
    casp_org_tick(a, now + apr_time_from_sec(20));
    assert_int_equal(servers(a), 3);
    apr_pool_destroy(p);
    dirfault_end(f);
    no_state_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_export_is_read_at_start),
        cmocka_unit_test(a_new_export_is_swapped_in),
        cmocka_unit_test(a_broken_export_changes_nothing),
        cmocka_unit_test(a_missing_export_is_trouble),
        cmocka_unit_test(users_come_from_the_export),
        cmocka_unit_test(an_export_judges_no_password),
        cmocka_unit_test(keys_tell_directories_apart),
        cmocka_unit_test(stopping_is_idempotent),
        cmocka_unit_test(each_asks_where_no_state_is_kept),
        cmocka_unit_test(a_first_start_needs_no_state),
        cmocka_unit_test(a_clock_set_back_stops_no_refresh),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
