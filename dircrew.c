/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The crew of a directory: the guard, which ends waits, and the connectors,
 * which look up names, dial, shake hands and bind; and what they learn about
 * servers on the way.
 *
 * A connector may be caught in getaddrinfo() when the process stops, and is
 * then left behind.  So nothing here touches a pool of APR, or logs, once
 * the pool is stopping.
 *
 * A log may be a pipe that is full.  What is to be said while the lock is
 * held is noted, and told after it is released.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_strings.h>

#include "dirpool.h"

/* A refused service bind is not repeated often: it would lock the account. */
#define DENIAL_MAX apr_time_from_sec(300)

/* ----------------------------------------------------------------- notes */

/* Locked. */
static void note(casp_dirpool_t *pool, casp_log_e level, const char *fmt, ...)
    CASP_PRINTF(3, 4);

static void note(casp_dirpool_t *pool, casp_log_e level, const char *fmt, ...)
{
    if (pool->stopping) {
        return;
    }
    casp_dirnote_t *n = casp_dirpool_grab(sizeof(*n));
    n->level = level;
    va_list ap;
    va_start(ap, fmt);
    apr_vsnprintf(n->text, sizeof(n->text), fmt, ap);
    va_end(ap);
    casp_dirnote_t **at = &pool->notes;
    while (*at) {
        at = &(*at)->next;
    }
    *at = n;
}

void casp_dircrew_unlock(casp_dirpool_t *pool)
{
    casp_dirnote_t *n = pool->notes, *next;
    pool->notes = NULL;
    casp_dirpool_unlock(pool);
    for (; n; n = next) {
        next = n->next;
        casp_log(n->level, APR_SUCCESS, "%s", n->text);
        free(n);
    }
}

/* ------------------------------------------------------- links and guard */

static casp_link_t *link_make(casp_dirpool_t *pool)
{
    casp_link_t *link = casp_dirpool_grab(sizeof(*link));
    link->pool = pool;
    link->fd = -1;
    casp_dirpool_lock(pool);
    link->next = pool->links;
    if (link->next) {
        link->next->prev = link;
    }
    pool->links = link;
    casp_dirpool_unlock(pool);
    return link;
}

void casp_dircrew_free_link(casp_link_t *link)
{
    if (!link) {
        return;
    }
    casp_dirpool_t *pool = link->pool;
    casp_dirwire_close(link);
    casp_dirpool_lock(pool);
    if (link->prev) {
        link->prev->next = link->next;
    }
    else {
        pool->links = link->next;
    }
    if (link->next) {
        link->next->prev = link->prev;
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    casp_dirpool_unlock(pool);
    free(link);
}

void casp_dirpool_arm(casp_link_t *link, apr_time_t deadline)
{
    casp_dirpool_t *pool = link->pool;
    casp_dirpool_lock(pool);
    link->due = deadline;
    if (deadline < pool->guard_wakes) {
        (void)pthread_cond_signal(&pool->guard);
    }
    casp_dirpool_unlock(pool);
}

bool casp_dirpool_disarm(casp_link_t *link)
{
    casp_dirpool_lock(link->pool);
    link->due = 0;
    bool fine = !link->fired;
    casp_dirpool_unlock(link->pool);
    if (!fine) {
        link->broken = true;
    }
    return fine;
}

bool casp_dirpool_watch(casp_link_t *link, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    casp_dirpool_lock(link->pool);
    link->fd = copy;
    bool fine = copy >= 0 && !link->fired && !link->pool->stopping;
    casp_dirpool_unlock(link->pool);
    return fine;
}

bool casp_dirpool_stopping(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    bool stopping = pool->stopping;
    casp_dirpool_unlock(pool);
    return stopping;
}

/* Locked.  The duplicate is ours, so its number cannot have been reused. */
static void fire(casp_link_t *link)
{
    link->fired = true;
    if (link->fd >= 0) {
        (void)shutdown(link->fd, SHUT_RDWR);
    }
}

static void guard_run(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    while (!pool->stopping) {
        apr_time_t now = apr_time_now(), next = CASP_DIR_NEVER;
        for (casp_link_t *l = pool->links; l; l = l->next) {
            if (!l->due || l->fired) {
                continue;
            }
            if (l->due <= now) {
                fire(l);
            }
            else if (l->due < next) {
                next = l->due;
            }
        }
        pool->guard_wakes = next;
        casp_dirpool_wait(pool, &pool->guard, next);
    }
    casp_dirpool_unlock(pool);
}

/* --------------------------------------------------------------- servers */

/* Locked. */
static bool any_up(const casp_dirpool_t *pool)
{
    for (int i = 0; i < pool->nservers; i++) {
        if (!pool->servers[i].down) {
            return true;
        }
    }
    return false;
}

void casp_dircrew_failed(casp_dirpool_t *pool, casp_dirserver_t *s,
                         const casp_dirwhy_t *why)
{
    if (pool->stopping) {
        return;
    }
    bool news = !s->down;
    s->down = true;
    s->rests_until = apr_time_now() + pool->conf.rest;
    apr_atomic_inc32(&pool->conf.stats->failures);
    note(pool, news ? CASP_LOG_WARNING : CASP_LOG_DEBUG,
         CASPLOGNO(0300) "directory server %s failed and rests for %d s: %s",
                   s->target.url, (int)apr_time_sec(pool->conf.rest),
                   why->text);
    if (news && !any_up(pool)) {
        note(pool, CASP_LOG_ERROR,
             CASPLOGNO(0301) "no directory server answers; mailboxes that "
                             "are known already are still served");
    }
}

/* Locked. */
static void server_answered(casp_dirpool_t *pool, casp_dirserver_t *s)
{
    if (s->down) {
        note(pool, CASP_LOG_NOTICE,
             CASPLOGNO(0302) "directory server %s answers again",
                       s->target.url);
    }
    s->down = false;
}

/* Locked. */
static void server_denied(casp_dirpool_t *pool, casp_dirserver_t *s,
                          const casp_dirwhy_t *why)
{
    if (pool->stopping) {
        return;
    }
    apr_interval_time_t rest = pool->conf.rest;
    for (int i = 0; i < s->denials && rest < DENIAL_MAX; i++) {
        rest *= 2;
    }
    s->denials++;
    s->denied_until = apr_time_now() + rest;
    s->denied_why = *why;
    apr_atomic_inc32(&pool->conf.stats->failures);
    note(pool, CASP_LOG_ERROR,
         CASPLOGNO(0303) "%s; not tried again for %d s, so that the account "
                         "is not locked out",
                   why->text, (int)apr_time_sec(rest));
}

static bool differs(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) != 0;
}

/* Locked.  Takes what @a root holds. */
static void server_root(casp_dirpool_t *pool, casp_dirserver_t *s,
                        casp_dirwire_root_t *root)
{
    s->root_known = true;
    if (!pool->have_root) {
        pool->root = *root;
        memset(root, 0, sizeof(*root));
        pool->shown.default_nc = pool->root.default_nc;
        pool->shown.config_nc = pool->root.config_nc;
        pool->shown.root_nc = pool->root.root_nc;
        pool->shown.is_ad = pool->root.is_ad;
        pool->have_root = true;
        return;
    }
    if (differs(root->config_nc, pool->root.config_nc)) {
        note(pool, CASP_LOG_WARNING,
             CASPLOGNO(0304) "directory server %s is of another forest: %s, "
                             "not %s; name servers of one forest only",
                       s->target.url, root->config_nc, pool->root.config_nc);
    }
}

/* ------------------------------------------------------------------ jobs */

static void job_free(casp_dirjob_t *job)
{
    (void)pthread_cond_destroy(&job->done);
    free(job);
}

casp_dirjob_t *casp_dircrew_queue(casp_dirpool_t *pool, int server,
                                  casp_linkkind_e kind, bool probe)
{
    casp_dirjob_t *job = casp_dirpool_grab(sizeof(*job));
    job->server = server;
    job->kind = kind;
    job->deadline = apr_time_now() + pool->wire.connect_timeout;
    job->probe = probe;
    job->waited = !probe;
    (void)pthread_cond_init(&job->done, NULL);
    casp_dirjob_t **at = &pool->jobs;
    while (*at) {
        at = &(*at)->next;
    }
    *at = job;
    (void)pthread_cond_signal(&pool->work);
    return job;
}

/* Locked. */
static void job_unqueue(casp_dirpool_t *pool, const casp_dirjob_t *job)
{
    casp_dirjob_t **at = &pool->jobs;
    while (*at && *at != job) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = job->next;
    }
}

/* Locked.  Tell the waiter; where there is none, the job is at its end. */
static void job_done(casp_dirpool_t *pool, casp_dirjob_t *job,
                     casp_wire_e wire)
{
    job->wire = wire;
    job->state = CASP_DIRJOB_DONE;
    if (job->probe) {
        pool->servers[job->server].probing = false;
    }
    if (job->waited) {
        (void)pthread_cond_signal(&job->done);
    }
    else {
        job_free(job);
    }
}

/* Locked.  Those who queue for a server that has just failed need not wait
 * for the same experience. */
static void jobs_fail(casp_dirpool_t *pool, int server, casp_linkkind_e kind,
                      casp_wire_e wire, const casp_dirwhy_t *why)
{
    casp_dirjob_t *next;
    for (casp_dirjob_t *job = pool->jobs; job; job = next) {
        next = job->next;
        if (job->server != server
            || (wire == CASP_WIRE_DENIED && job->kind != kind)) {
            continue;
        }
        job_unqueue(pool, job);
        job->why = *why;
        job_done(pool, job, wire);
    }
}

/*
 * Locked.  The next job for a connector: the oldest that is still wanted.
 * Where there are several servers, one of them alone never gets all
 * connectors, for it may be the one that hangs.  Probes come last.
 */
static casp_dirjob_t *job_next(casp_dirpool_t *pool)
{
    apr_time_t now = apr_time_now();
    casp_dirjob_t *best = NULL, *next;
    for (casp_dirjob_t *job = pool->jobs; job; job = next) {
        next = job->next;
        if (job->deadline <= now) {
            job_unqueue(pool, job);
            casp_dirwire_say(&job->why, "no connector was free in time");
            job_done(pool, job, CASP_WIRE_FULL);
            continue;
        }
        if (pool->nservers > 1
            && pool->servers[job->server].busy >= CASP_DIR_CONNECTORS - 1) {
            continue;
        }
        if (!best || (best->probe && !job->probe)) {
            best = job;
        }
    }
    if (best) {
        job_unqueue(pool, best);
        best->state = CASP_DIRJOB_RUNNING;
    }
    return best;
}

/* Locked.  What a connector's work means for its server and its waiter.
 * Returns a link that nobody wants, to be freed without the lock. */
static casp_link_t *job_finish(casp_dirpool_t *pool, casp_dirjob_t *job,
                               casp_wire_e wire, casp_link_t *link)
{
    casp_dirserver_t *s = &pool->servers[job->server];
    casp_link_t *unwanted = NULL;
    if (wire == CASP_WIRE_OK) {
        server_answered(pool, s);
        if (job->kind == CASP_LINK_SERVICE) {
            s->denials = 0;
            s->denied_until = 0;
        }
        casp_dirlist_t *list = &s->lists[job->kind];
        if (job->waited) {
            job->link = link;
        }
        else if (!list->spare && !pool->stopping) {
            link->idle_since = apr_time_now();
            list->spare = link;
        }
        else {
            unwanted = link;
        }
    }
    else {
        unwanted = link;
        if (wire == CASP_WIRE_DENIED) {
            server_answered(pool, s); /* if unkindly */
            server_denied(pool, s, &job->why);
        }
        else {
            casp_dircrew_failed(pool, s, &job->why);
        }
        jobs_fail(pool, job->server, job->kind, wire, &job->why);
    }
    job_done(pool, job, wire);
    return unwanted;
}

/* Locked at entry and exit. */
static void job_run(casp_dirpool_t *pool, casp_dirworker_t *w)
{
    casp_dirjob_t *job = w->job;
    casp_dirserver_t *s = &pool->servers[job->server];
    bool want_root = !s->root_known || job->probe;
    s->busy++;
    apr_atomic_inc32(&pool->conf.stats->connects);
    casp_dirpool_unlock(pool);

    casp_dirwire_root_t root;
    memset(&root, 0, sizeof(root));
    casp_link_t *link = link_make(pool);
    casp_dirpool_arm(link, job->deadline);
    casp_wire_e wire =
        casp_dirwire_open(link, &pool->wire, &s->target, job->kind,
                          job->deadline, want_root ? &root : NULL, &job->why);
    if (!casp_dirpool_disarm(link) && wire == CASP_WIRE_OK) {
        casp_dirwire_say(&job->why, "%s: the connection was ready too late",
                         s->target.url);
        wire = CASP_WIRE_LATE;
    }

    casp_dirpool_lock(pool);
    w->job = NULL;
    s->busy--;
    (void)pthread_cond_signal(&pool->work); /* one may have been held back */
    if (wire == CASP_WIRE_OK && job->kind == CASP_LINK_SERVICE && want_root) {
        server_root(pool, s, &root);
    }
    link = job_finish(pool, job, wire, link);
    casp_dircrew_unlock(pool);
    casp_dircrew_free_link(link);
    casp_dirwire_root_clear(&root);
    casp_dirpool_lock(pool);
}

static void connector_run(casp_dirpool_t *pool, casp_dirworker_t *w)
{
    casp_dirpool_lock(pool);
    while (!pool->stopping) {
        w->job = job_next(pool);
        if (w->job) {
            job_run(pool, w);
        }
        else {
            casp_dirpool_wait(pool, &pool->work, CASP_DIR_NEVER);
        }
    }
    casp_dirpool_unlock(pool);
}

casp_wire_e casp_dircrew_await(casp_dirpool_t *pool, casp_dirjob_t *job,
                               apr_time_t deadline, casp_link_t **link,
                               casp_dirwhy_t *why)
{
    while (job->state != CASP_DIRJOB_DONE && !pool->stopping
           && apr_time_now() < deadline) {
        casp_dirpool_wait(pool, &job->done, deadline);
    }
    if (job->state == CASP_DIRJOB_DONE) {
        casp_wire_e wire = job->wire;
        *link = job->link;
        *why = job->why;
        job_free(job);
        return wire;
    }
    casp_dirserver_t *s = &pool->servers[job->server];
    bool unstarted = job->state == CASP_DIRJOB_QUEUED;
    casp_dirwire_say(why, "%s: no connection in time%s", s->target.url,
                     unstarted ? "; the connectors are busy" : "");
    if (unstarted) {
        job_unqueue(pool, job);
        job_free(job);
        return CASP_WIRE_FULL;
    }
    /* The connector goes on; what it gets will be a spare. */
    job->waited = false;
    if (apr_time_now() >= job->deadline) {
        /* A name that is looked up for ever. */
        casp_dircrew_failed(pool, s, why);
    }
    return CASP_WIRE_LATE;
}

/* --------------------------------------------------------------- threads */

static void *worker_main(void *data)
{
    casp_dirworker_t *w = data;
    casp_dirpool_t *pool = w->pool;
    if (w == &pool->workers[0]) {
        guard_run(pool);
    }
    else {
        connector_run(pool, w);
    }
    casp_dirpool_lock(pool);
    w->exited = true;
    (void)pthread_cond_broadcast(&pool->gone);
    casp_dirpool_unlock(pool);
    casp_dirpool_unref(pool);
    return NULL;
}

/* httpd's signals are for httpd's threads. */
apr_status_t casp_dircrew_start(casp_dirpool_t *pool)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = 0;
    for (int i = 0; i < CASP_DIR_THREADS && !err; i++) {
        casp_dirworker_t *w = &pool->workers[i];
        w->pool = pool;
        casp_dirpool_ref(pool);
        err = pthread_create(&w->thread, NULL, worker_main, w);
        if (err) {
            casp_dirpool_unref(pool);
        }
        else {
            pool->nworkers++;
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err ? APR_FROM_OS_ERROR(err) : APR_SUCCESS;
}

void casp_dircrew_halt(casp_dirpool_t *pool)
{
    pool->stopping = true;
    for (casp_link_t *l = pool->links; l; l = l->next) {
        fire(l);
    }
    casp_dirjob_t *next;
    for (casp_dirjob_t *job = pool->jobs; job; job = next) {
        next = job->next;
        casp_dirwire_say(&job->why, "stopping");
        job_done(pool, job, CASP_WIRE_FULL);
    }
    pool->jobs = NULL;
    for (int i = 0; i < pool->nservers; i++) {
        for (int k = 0; k < CASP_LINK_KINDS; k++) {
            (void)pthread_cond_broadcast(&pool->servers[i].lists[k].room);
        }
    }
    for (int i = 0; i < pool->nworkers; i++) {
        casp_dirjob_t *job = pool->workers[i].job;
        if (job && job->waited) {
            (void)pthread_cond_signal(&job->done);
        }
    }
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_cond_broadcast(&pool->guard);
}

bool casp_dircrew_gone(const casp_dirpool_t *pool)
{
    for (int i = 0; i < pool->nworkers; i++) {
        if (!pool->workers[i].exited) {
            return false;
        }
    }
    return true;
}

bool casp_dircrew_join(casp_dirpool_t *pool)
{
    bool all = true;
    for (int i = 0; i < pool->nworkers; i++) {
        casp_dirpool_lock(pool);
        bool exited = pool->workers[i].exited;
        casp_dirpool_unlock(pool);
        if (exited) {
            (void)pthread_join(pool->workers[i].thread, NULL);
        }
        else {
            (void)pthread_detach(pool->workers[i].thread);
            all = false;
        }
    }
    return all;
}
