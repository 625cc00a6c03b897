/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mailreach.c: where a mail server is, and whether it is there.
 *
 * A mail proxy wants an address, connects to it, and where nobody answers the
 * login has failed: it does not come back to ask for another one.  So a server
 * is tried here before it is named, once in a while, and one that does not
 * answer rests.  getaddrinfo() has no bound, so a thread of its own asks it;
 * whoever waits for that waits until a deadline.
 *
 * A thread may be caught in getaddrinfo() when the process ends, and is then
 * left behind.  So nothing here lies in a pool of APR, or logs; it goes with
 * whoever leaves last.
 *
 * It must not speak a mail protocol: it connects, and closes.
 */

#include "mailauth.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_strings.h>

#define PLACES 128 /* a server and a port each */
#define THREADS 16
#define HOST_MAX 256
#define ADDRESS_MAX 48
/* How often a connecting thread looks whether we stop. */
#define SLICE 200
#define STOP_WAIT apr_time_from_sec(1)
/* An address that was good is good for a while, while it is looked at anew. */
#define STALE apr_time_from_sec(600)

typedef struct {
    char host[HOST_MAX];
    int port;
    casp_reach_e state; /* of checked; LATE: never */
    apr_time_t checked, used;
    char address[ADDRESS_MAX];
    char why[160];
    bool busy; /* a thread is at it */
} place_t;

struct casp_mailreach_t {
    pthread_mutex_t lock;
    pthread_cond_t news;
    bool stopping;
    int refs; /* the process's, and a thread's each */
    int threads;
    place_t places[PLACES];
};

typedef struct {
    casp_mailreach_t *m;
    place_t *place;
    char host[HOST_MAX];
    int port;
    apr_interval_time_t most;
} errand_t;

/* -------------------------------------------------- life and end */

/* Locked; unlocks. */
static void leave(casp_mailreach_t *m)
{
    bool last = --m->refs == 0;
    (void)pthread_mutex_unlock(&m->lock);
    if (last) {
        (void)pthread_cond_destroy(&m->news);
        (void)pthread_mutex_destroy(&m->lock);
        free(m);
    }
}

/* Locked. */
static void wait_until(casp_mailreach_t *m, apr_time_t deadline)
{
    struct timespec at = {.tv_sec = (time_t)apr_time_sec(deadline),
                          .tv_nsec = (long)apr_time_usec(deadline) * 1000};
    (void)pthread_cond_timedwait(&m->news, &m->lock, &at);
}

static apr_status_t stop(void *data)
{
    casp_mailreach_t *m = data;
    apr_time_t deadline = apr_time_now() + STOP_WAIT;
    (void)pthread_mutex_lock(&m->lock);
    m->stopping = true;
    (void)pthread_cond_broadcast(&m->news);
    while (m->threads > 0 && apr_time_now() < deadline) {
        wait_until(m, deadline);
    }
    leave(m);
    return APR_SUCCESS;
}

casp_mailreach_t *casp_mailreach_create(apr_pool_t *p)
{
    casp_mailreach_t *m = calloc(1, sizeof(*m));
    if (!m || pthread_mutex_init(&m->lock, NULL)) {
        free(m);
        return NULL;
    }
    if (pthread_cond_init(&m->news, NULL)) {
        (void)pthread_mutex_destroy(&m->lock);
        free(m);
        return NULL;
    }
    m->refs = 1;
    apr_pool_cleanup_register(p, m, stop, apr_pool_cleanup_null);
    return m;
}

/* -------------------------------------------------- in a thread */

static bool is_stopping(casp_mailreach_t *m)
{
    (void)pthread_mutex_lock(&m->lock);
    bool stopping = m->stopping;
    (void)pthread_mutex_unlock(&m->lock);
    return stopping;
}

/* 0, or an errno. */
static int wait_connected(casp_mailreach_t *m, int fd, apr_time_t deadline)
{
    for (;;) {
        apr_interval_time_t left = deadline - apr_time_now();
        if (left <= 0 || is_stopping(m)) {
            return ETIMEDOUT;
        }
        int ms = (int)apr_time_as_msec(left) + 1;
        struct pollfd pfd = {fd, POLLOUT, 0};
        int n = poll(&pfd, 1, ms < SLICE ? ms : SLICE);
        if (n > 0) {
            int err = 0;
            socklen_t len = sizeof(err);
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? errno
                                                                    : err;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
    }
}

static int try_address(casp_mailreach_t *m, const struct addrinfo *a,
                       apr_time_t deadline)
{
    int fd = socket(a->ai_family, SOCK_STREAM, 0), err = 0;
    if (fd < 0) {
        return errno;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        err = errno == EINPROGRESS || errno == EINTR
                  ? wait_connected(m, fd, deadline)
                  : errno;
    }
    (void)close(fd);
    return err;
}

/* The first of a name's addresses that answers; an even share of the time
 * for each. */
static void try_all(const errand_t *e, const struct addrinfo *list,
                    place_t *out)
{
    apr_time_t now = apr_time_now(), end = now + e->most;
    int left = 0, err = ETIMEDOUT;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        left++;
    }
    out->state = CASP_REACH_DOWN;
    for (const struct addrinfo *a = list; a && now < end;
         a = a->ai_next, left--, now = apr_time_now()) {
        err = try_address(e->m, a, now + (end - now) / left);
        if (!err
            && !getnameinfo(a->ai_addr, a->ai_addrlen, out->address,
                            sizeof(out->address), NULL, 0, NI_NUMERICHOST)) {
            out->state = CASP_REACH_OK;
            return;
        }
    }
    char text[80];
    apr_snprintf(out->why, sizeof(out->why), "%s:%d does not answer (%s)",
                 e->host, e->port,
                 apr_strerror(APR_FROM_OS_ERROR(err), text, sizeof(text)));
}

static void find_out(const errand_t *e, place_t *out)
{
    struct addrinfo hints, *list = NULL;
    char port[12];
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    apr_snprintf(port, sizeof(port), "%d", e->port);
    int rc = getaddrinfo(e->host, port, &hints, &list);
    if (rc) {
        out->state = CASP_REACH_NO_NAME;
        apr_snprintf(out->why, sizeof(out->why), "%s has no address (%s)",
                     e->host, gai_strerror(rc));
        return;
    }
    if (!is_stopping(e->m)) {
        try_all(e, list, out);
    }
    freeaddrinfo(list);
}

static void *run(void *data)
{
    errand_t *e = data;
    casp_mailreach_t *m = e->m;
    place_t found;
    memset(&found, 0, sizeof(found));
    found.state = CASP_REACH_DOWN;
    find_out(e, &found);
    (void)pthread_mutex_lock(&m->lock);
    place_t *place = e->place; /* busy: nobody else has taken its room */
    place->state = found.state;
    memcpy(place->address, found.address, sizeof(place->address));
    memcpy(place->why, found.why, sizeof(place->why));
    place->checked = apr_time_now();
    place->busy = false;
    m->threads--;
    (void)pthread_cond_broadcast(&m->news);
    leave(m);
    free(e);
    return NULL;
}

/* -------------------------------------------------- for requests */

/* Locked.  A detached thread; httpd's signals are for httpd's threads. */
static bool begin(casp_mailreach_t *m, place_t *place,
                  apr_interval_time_t most)
{
    errand_t *e =
        m->threads < THREADS && !m->stopping ? malloc(sizeof(*e)) : NULL;
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (!e || pthread_attr_init(&attr)) {
        free(e);
        return false;
    }
    e->m = m;
    e->place = place;
    memcpy(e->host, place->host, sizeof(e->host));
    e->port = place->port;
    e->most = most;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, &attr, run, e);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (err) {
        free(e);
        return false;
    }
    m->refs++;
    m->threads++;
    place->busy = true;
    return true;
}

/* Locked.  Its place, or that of the one that was wanted longest ago. */
static place_t *place_of(casp_mailreach_t *m, const char *host, int port)
{
    place_t *oldest = NULL;
    for (int i = 0; i < PLACES; i++) {
        place_t *s = &m->places[i];
        if (s->port == port && !strcmp(s->host, host)) {
            return s;
        }
        if (!s->busy && (!oldest || s->used < oldest->used)) {
            oldest = s;
        }
    }
    if (oldest) {
        memset(oldest, 0, sizeof(*oldest));
        apr_cpystrn(oldest->host, host, sizeof(oldest->host));
        oldest->port = port;
        oldest->state = CASP_REACH_LATE;
    }
    return oldest;
}

/* Locked.  Ask for it where what is known is old, and wait for that only where
 * nothing good is known. */
static casp_reach_e look(casp_mailreach_t *m, place_t *s,
                         apr_interval_time_t fresh, apr_interval_time_t most,
                         apr_time_t deadline)
{
    apr_time_t now = apr_time_now();
    bool known = s->state != CASP_REACH_LATE;
    s->used = now;
    if (known && now - s->checked < fresh) {
        return s->state;
    }
    if (!s->busy && !begin(m, s, most)) {
        return s->state == CASP_REACH_OK ? CASP_REACH_OK : CASP_REACH_LATE;
    }
    if (s->state == CASP_REACH_OK && now - s->checked < STALE) {
        return CASP_REACH_OK;
    }
    while (s->busy && !m->stopping && apr_time_now() < deadline) {
        s->used = apr_time_now();
        wait_until(m, deadline);
    }
    return s->busy ? CASP_REACH_LATE : s->state;
}

casp_reach_e casp_mailreach_find(casp_mailreach_t *m, apr_pool_t *p,
                                 const char *host, int port,
                                 apr_interval_time_t fresh,
                                 apr_interval_time_t most, apr_time_t deadline,
                                 const char **address, const char **why)
{
    casp_reach_e how = CASP_REACH_LATE;
    *address = NULL;
    *why = apr_psprintf(p, "whether %s:%d answers was not found out in time",
                        host, port);
    if (strlen(host) >= HOST_MAX) {
        return how;
    }
    (void)pthread_mutex_lock(&m->lock);
    place_t *s = place_of(m, host, port);
    if (s) {
        how = look(m, s, fresh, most, deadline);
    }
    /* the room may be another's by now, where it was waited for in vain */
    if (s && s->port == port && !strcmp(s->host, host)) {
        if (how == CASP_REACH_OK) {
            *address = apr_pstrdup(p, s->address);
        }
        else if (how != CASP_REACH_LATE) {
            *why = apr_pstrdup(p, s->why);
        }
    }
    else {
        how = CASP_REACH_LATE;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return how;
}
