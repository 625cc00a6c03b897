/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the directory's tests stand on: a directory with its configuration
 * and its pools, one search with all that is to be said about it, a load of
 * threads, and a name whose look-up hangs.
 */

#ifndef CASP_DIRWORLD_H
#define CASP_DIRWORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <dlfcn.h>
#include <netdb.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "dirfault.h"
#include "dirwire.h"

/* Under valgrind and ThreadSanitizer every step takes many times longer, and
 * so does all that a test waits for; CASP_VALGRIND says that it is so. */
static int slowness(void)
{
    return getenv("CASP_VALGRIND") ? 4 : 1;
}

static void nap(int ms)
{
    (void)poll(NULL, 0, ms * slowness());
}

#define MS(n) (apr_time_from_msec(n) * slowness())
/* How much later than its deadline a busy machine may see a thread. */
#define GRACE MS(400)

static apr_pool_t *top;

/* Who was left behind at a stop: nobody, unless a test wants it so. */
static dirfault_num_t left_behind;

static void log_cb(void *baton, casp_log_e level, apr_status_t rv,
                   const char *message)
{
    (void)baton, (void)level, (void)rv;
    if (strstr(message, "CP0305") || strstr(message, "CP0306")) {
        apr_atomic_inc32(&left_behind);
    }
}

static int group_setup(void **state)
{
    (void)state;
    casp_log_set(log_cb, NULL, CASP_LOG_DEBUG);
    return apr_pool_create(&top, NULL) != APR_SUCCESS;
}

static int group_teardown(void **state)
{
    (void)state;
    apr_pool_destroy(top);
    return 0;
}

/* ------------------------------------------------------- names that hang */

/* In front of the C library's: one name whose look-up takes its time. */
static dirfault_num_t name_hangs, name_waiting;

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *,
                           struct addrinfo **);

int getaddrinfo(const char *host, const char *port,
                const struct addrinfo *hints, struct addrinfo **list)
{
    static getaddrinfo_fn *real;
    if (host && !strcmp(host, "slow.invalid")) {
        apr_atomic_inc32(&name_waiting);
        while (GET(name_hangs)) {
            (void)poll(NULL, 0, 5);
        }
        apr_atomic_dec32(&name_waiting);
        return EAI_AGAIN;
    }
    if (!real) {
        void *sym = dlsym(RTLD_NEXT, "getaddrinfo");
        memcpy(&real, &sym, sizeof(real));
    }
    return real(host, port, hints, list);
}

/* -------------------------------------------------------------- fixtures */

typedef struct {
    apr_pool_t *p;
    apr_pool_t *life; /* of its threads */
    casp_directory_conf_t conf;
    casp_directory_t *dir;
} world_t;

static void world_init(world_t *w)
{
    memset(w, 0, sizeof(*w));
    assert_int_equal(apr_pool_create(&w->p, top), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&w->life, w->p), APR_SUCCESS);
    w->conf.urls = apr_array_make(w->p, 2, sizeof(const char *));
    w->conf.tls = CASP_TLS_OFF;
    w->conf.bind = CASP_BIND_SIMPLE;
    w->conf.bind_name = DIRFAULT_SERVICE;
    w->conf.bind_secret = "secret";
    w->conf.connect_timeout = MS(500);
    w->conf.search_timeout = MS(1000);
    w->conf.rest = apr_time_from_sec(10);
}

static void world_url(world_t *w, const char *scheme, int port)
{
    APR_ARRAY_PUSH(w->conf.urls, const char *) =
        apr_psprintf(w->p, "%s://127.0.0.1:%d", scheme, port);
}

static void world_start(world_t *w)
{
    const char *wrong = casp_directory_create(w->p, &w->conf, &w->dir);
    if (wrong) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(casp_directory_start(w->dir, w->life), APR_SUCCESS);
}

/* Ends the threads, and says how long that took. */
static apr_interval_time_t world_stop(world_t *w)
{
    apr_time_t start = apr_time_now();
    apr_pool_clear(w->life);
    return apr_time_now() - start;
}

static apr_interval_time_t world_end(world_t *w)
{
    apr_time_t start = apr_time_now();
    apr_pool_destroy(w->p);
    apr_interval_time_t took = apr_time_now() - start;
    apr_uint32_t left = GET(left_behind);
    SET(left_behind, 0); /* not the next test's fault */
    assert_int_equal(left, 0);
    return took;
}

typedef struct {
    casp_dir_e rc;
    int n; /* -1: no array */
    const char *why;
    apr_interval_time_t took;
    apr_array_header_t *entries;
} found_t;

static found_t search_full(world_t *w, apr_interval_time_t patience,
                           int size_limit, bool paged)
{
    casp_search_t s = {"dc=test", LDAP_SCOPE_SUBTREE, "(cn=*)",
                       NULL,      size_limit,         paged};
    found_t f = {CASP_DIR_OK, 0, NULL, 0, NULL};
    apr_time_t start = apr_time_now();
    f.rc = casp_directory_search(w->dir, w->p, &s,
                                 patience ? start + patience : 0, &f.entries,
                                 &f.why);
    f.took = apr_time_now() - start;
    f.n = f.entries ? f.entries->nelts : -1;
    if (f.rc != CASP_DIR_OK) {
        assert_non_null(f.why);
        assert_true(*f.why);
    }
    return f;
}

static found_t search(world_t *w, apr_interval_time_t patience)
{
    return search_full(w, patience, 0, false);
}

static casp_pw_e check(world_t *w, const char *name, const char *password,
                       const char **why)
{
    return casp_directory_check(w->dir, w->p, name, password, 0, why);
}

typedef struct {
    world_t *w;
    int rounds, good, bad, slow;
    apr_interval_time_t patience;
    bool checks;
} load_t;

static void *load_run(void *data)
{
    load_t *l = data;
    apr_pool_t *p;
    apr_pool_create(&p, NULL);
    for (int i = 0; i < l->rounds; i++) {
        casp_search_t s = {"dc=test", LDAP_SCOPE_SUBTREE, NULL, NULL,
                           0,         i % 4 == 0};
        apr_array_header_t *entries;
        const char *why;
        apr_time_t start = apr_time_now();
        bool good;
        if (l->checks && i % 2) {
            good = casp_directory_check(l->w->dir, p, "n", "p",
                                        start + l->patience, &why)
                   == CASP_PW_OK;
        }
        else {
            good = casp_directory_search(l->w->dir, p, &s, start + l->patience,
                                         &entries, &why)
                   == CASP_DIR_OK;
        }
        l->good += good;
        l->bad += !good;
        l->slow += apr_time_now() - start > l->patience + GRACE;
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void load(world_t *w, load_t *all, int n)
{
    pthread_t threads[16];
    for (int i = 0; i < n; i++) {
        all[i].w = w;
        pthread_create(&threads[i], NULL, load_run, &all[i]);
    }
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

#endif /* CASP_DIRWORLD_H */
