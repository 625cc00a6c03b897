/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * gsscache.c - the table behind gssclient.c: a seat for every user and
 * password, a counted login on it, one thread per seat at a KDC, and a bound
 * on how many threads are there at all.
 *
 * A user's tickets are got anew while the old ones are still good, by one
 * thread; the others go on with the old ones.  So nobody waits for a KDC but
 * who comes first, and a KDC that is away is noticed only when tickets end.
 * The library may take half a minute to find that out; so a realm for which
 * one thread has waited some seconds is left alone by all others.
 *
 * All of it is counted and from malloc(): a thread may be in a KDC call, for
 * as long as the Kerberos library likes, while the pool of this process goes.
 *
 * Must not: know what tickets are, call a library or free tickets with its
 * lock held, or wait without a bound.
 */

#include "gsscache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>
#include <openssl/crypto.h>

#define REALMS 16 /* whose KDCs did not answer */
#define REALM_LEN 256
#define BUCKETS_MAX 65536

typedef struct host_t {
    struct host_t *next;
    apr_time_t fresh; /* until then nobody asks anew */
    apr_time_t expires;
    char name[];
} host_t;

struct casp_gss_login_t {
    int refs;
    int nhosts;
    apr_time_t fresh, expires;
    host_t *hosts;
    void *tickets;
    void (*end)(void *tickets);
};

struct casp_gss_seat_t {
    casp_gss_cache_t *cache;
    casp_gss_seat_t *chain; /* of its bucket */
    casp_gss_seat_t *newer, *older;
    int refs; /* one of them is the table's */
    bool listed;
    bool busy; /* somebody asks a KDC */
    casp_guid_t user;
    unsigned char tag[CASP_GSS_TAG];
    casp_gss_login_t *login;
    apr_time_t refused; /* until then no is the answer */
    casp_gss_e verdict;
    char *why, *why_host; /* why_host NULL: whatever the host */
};

typedef struct {
    char name[REALM_LEN];
    apr_time_t until;
} realm_t;

/* Somebody's, who asks a KDC. */
typedef struct {
    char name[REALM_LEN]; /* of the realm */
    apr_time_t since; /* 0: it is free */
} place_t;

struct casp_gss_cache_t {
    pthread_mutex_t lock;
    pthread_cond_t turn, room;
    casp_gss_times_t times;
    bool ended;
    int refs; /* the owner and every seat */
    int size, count;
    unsigned mask;
    casp_gss_seat_t **buckets;
    casp_gss_seat_t *newest, *oldest;
    realm_t realms[REALMS];
    place_t places[CASP_GSS_INSIDE];
};

/* -------------------------------------------------------------- the table */

static bool make_locks(casp_gss_cache_t *c)
{
    pthread_condattr_t attr;

    /* the wall clock may be set while somebody waits */
    return !pthread_condattr_init(&attr)
           && !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC)
           && !pthread_mutex_init(&c->lock, NULL)
           && !pthread_cond_init(&c->turn, &attr)
           && !pthread_cond_init(&c->room, &attr)
           && !pthread_condattr_destroy(&attr);
}

casp_gss_cache_t *casp_gss_cache_create(int size,
                                        const casp_gss_times_t *times)
{
    casp_gss_cache_t *c = calloc(1, sizeof(*c));
    unsigned buckets = 16;

    while (buckets < BUCKETS_MAX && buckets < (unsigned)size) {
        buckets *= 2;
    }
    if (!c || size < 1 || !(c->buckets = calloc(buckets, sizeof(void *)))
        || !make_locks(c)) {
        if (c) {
            free(c->buckets);
        }
        free(c);
        return NULL;
    }
    c->mask = buckets - 1;
    c->size = size;
    c->refs = 1;
    c->times = *times;
    return c;
}

/* With the lock; it is given back. */
static void let_go(casp_gss_cache_t *c)
{
    bool last = --c->refs == 0;

    pthread_mutex_unlock(&c->lock);
    if (last) {
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->turn);
        pthread_cond_destroy(&c->room);
        free(c->buckets);
        free(c);
    }
}

static casp_gss_seat_t **bucket_of(casp_gss_cache_t *c,
                                   const casp_guid_t *user)
{
    unsigned hash = 2166136261u;

    /* by the user alone, so that all seats of one are found together */
    for (size_t i = 0; i < sizeof(user->b); i++) {
        hash = (hash ^ user->b[i]) * 16777619u;
    }
    return &c->buckets[(hash ^ hash >> 16) & c->mask];
}

/* ----------------------------------------------------------------- logins */

/* @return it, where that was the last hold: to be freed without the lock */
static casp_gss_login_t *unhold(casp_gss_login_t *login)
{
    return login && --login->refs == 0 ? login : NULL;
}

static void free_login(casp_gss_login_t *login)
{
    if (!login) {
        return;
    }
    while (login->hosts) {
        host_t *next = login->hosts->next;
        free(login->hosts);
        login->hosts = next;
    }
    login->end(login->tickets);
    free(login);
}

/* A fifth of the life before its end, or five minutes, whichever is more; of
 * a short life the half. */
static apr_time_t fresh_until(apr_time_t now, apr_interval_time_t life)
{
    apr_interval_time_t early = life - apr_time_from_sec(300);
    apr_interval_time_t most = life / 5 * 4;

    early = early < life / 2 ? life / 2 : early;
    return now + (early < most ? early : most);
}

casp_gss_login_t *casp_gss_login_make(void *tickets,
                                      void (*end)(void *tickets),
                                      apr_interval_time_t life)
{
    casp_gss_login_t *login = calloc(1, sizeof(*login));
    apr_time_t now = apr_time_now();

    if (!login) {
        end(tickets);
        return NULL;
    }
    login->refs = 1;
    login->tickets = tickets;
    login->end = end;
    login->fresh = fresh_until(now, life);
    login->expires = now + life;
    return login;
}

void *casp_gss_login_tickets(const casp_gss_login_t *login)
{
    return login->tickets;
}

void casp_gss_login_drop(casp_gss_cache_t *c, casp_gss_login_t *login)
{
    pthread_mutex_lock(&c->lock);
    casp_gss_login_t *dead = unhold(login);
    pthread_mutex_unlock(&c->lock);
    free_login(dead);
}

static host_t *host_of(const casp_gss_login_t *login, const char *host)
{
    host_t *h = login ? login->hosts : NULL;

    while (h && strcmp(h->name, host)) {
        h = h->next;
    }
    return h;
}

/* Is it good for this host until then?  0: it is not */
static bool good_for(const casp_gss_login_t *login, const char *host,
                     apr_time_t now, bool fresh)
{
    if (!login || (fresh ? login->fresh : login->expires) <= now) {
        return false;
    }
    const host_t *h = host ? host_of(login, host) : NULL;
    return !host || (h && (fresh ? h->fresh : h->expires) > now);
}

/* ------------------------------------------------------------------ seats */

/* Take it out of the table; the table's hold remains to be given back. */
static void unlist(casp_gss_seat_t *seat)
{
    casp_gss_cache_t *c = seat->cache;
    casp_gss_seat_t **at = bucket_of(c, &seat->user);

    while (*at != seat) {
        at = &(*at)->chain;
    }
    *at = seat->chain;
    *(seat->newer ? &seat->newer->older : &c->newest) = seat->older;
    *(seat->older ? &seat->older->newer : &c->oldest) = seat->newer;
    seat->newer = seat->older = seat->chain = NULL;
    seat->listed = false;
    c->count--;
}

static void list_newest(casp_gss_seat_t *seat)
{
    casp_gss_cache_t *c = seat->cache;

    seat->older = c->newest;
    seat->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = seat;
    c->newest = seat;
}

/* Give a hold back, without the lock; frees it where that was the last. */
void casp_gss_seat_leave(casp_gss_seat_t *seat)
{
    casp_gss_cache_t *c = seat->cache;

    pthread_mutex_lock(&c->lock);
    if (--seat->refs) {
        pthread_mutex_unlock(&c->lock);
        return;
    }
    casp_gss_login_t *dead = unhold(seat->login);
    pthread_mutex_unlock(&c->lock);

    free_login(dead);
    free(seat->why);
    free(seat->why_host);
    free(seat);
    pthread_mutex_lock(&c->lock);
    let_go(c);
}

static casp_gss_seat_t *new_seat(casp_gss_cache_t *c)
{
    casp_gss_seat_t *seat = calloc(1, sizeof(*seat));

    if (seat) {
        seat->cache = c;
        seat->refs = 1;
        c->refs++;
    }
    return seat;
}

casp_gss_seat_t *casp_gss_seat_alone(casp_gss_cache_t *c)
{
    pthread_mutex_lock(&c->lock);
    casp_gss_seat_t *seat = c->ended ? NULL : new_seat(c);
    pthread_mutex_unlock(&c->lock);
    return seat;
}

static casp_gss_seat_t *find_seat(casp_gss_cache_t *c, const casp_guid_t *user,
                                  const unsigned char *tag)
{
    casp_gss_seat_t *seat = *bucket_of(c, user);

    while (seat
           && (memcmp(seat->user.b, user->b, sizeof(user->b))
               || CRYPTO_memcmp(seat->tag, tag, CASP_GSS_TAG))) {
        seat = seat->chain;
    }
    return seat;
}

casp_gss_seat_t *casp_gss_seat_enter(casp_gss_cache_t *c,
                                     const casp_guid_t *user,
                                     const unsigned char *tag)
{
    casp_gss_seat_t *gone = NULL;

    pthread_mutex_lock(&c->lock);
    casp_gss_seat_t *seat = c->ended ? NULL : find_seat(c, user, tag);
    if (seat) {
        *(seat->newer ? &seat->newer->older : &c->newest) = seat->older;
        *(seat->older ? &seat->older->newer : &c->oldest) = seat->newer;
        list_newest(seat);
        seat->refs++;
    }
    else if (!c->ended && (seat = new_seat(c))) {
        if (c->count >= c->size) {
            gone = c->oldest;
            unlist(gone);
        }
        seat->user = *user;
        memcpy(seat->tag, tag, CASP_GSS_TAG);
        casp_gss_seat_t **bucket = bucket_of(c, user);
        seat->chain = *bucket;
        *bucket = seat;
        seat->listed = true;
        seat->refs++;
        c->count++;
        list_newest(seat);
    }
    pthread_mutex_unlock(&c->lock);
    if (gone) {
        casp_gss_seat_leave(gone);
    }
    return seat;
}

/* One seat of a user out of the table, or any; NULL: no more. */
static casp_gss_seat_t *take_one(casp_gss_cache_t *c, const casp_guid_t *user)
{
    pthread_mutex_lock(&c->lock);
    casp_gss_seat_t *seat = user ? *bucket_of(c, user) : c->newest;
    while (user && seat
           && memcmp(seat->user.b, user->b, sizeof(user->b)) != 0) {
        seat = seat->chain;
    }
    if (seat) {
        unlist(seat);
    }
    pthread_mutex_unlock(&c->lock);
    return seat;
}

void casp_gss_cache_forget(casp_gss_cache_t *c, const casp_guid_t *user)
{
    casp_gss_seat_t *seat;

    while ((seat = take_one(c, user))) {
        casp_gss_seat_leave(seat);
    }
}

void casp_gss_cache_end(casp_gss_cache_t *c)
{
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_cond_broadcast(&c->turn);
    pthread_cond_broadcast(&c->room);
    pthread_mutex_unlock(&c->lock);

    casp_gss_cache_forget(c, NULL);
    pthread_mutex_lock(&c->lock);
    let_go(c);
}

int casp_gss_cache_count(casp_gss_cache_t *c)
{
    pthread_mutex_lock(&c->lock);
    int count = c->count;
    pthread_mutex_unlock(&c->lock);
    return count;
}

/* ------------------------------------------------------------------ turns */

static struct timespec deadline_of(apr_interval_time_t patience)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(patience / APR_USEC_PER_SEC);
    at.tv_nsec += (long)(patience % APR_USEC_PER_SEC) * 1000;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* @return CASP_TURN_LATE: wait */
static casp_turn_e look(casp_gss_seat_t *seat, const char *host,
                        casp_gss_login_t **login)
{
    apr_time_t now = apr_time_now();
    bool no = seat->refused > now
              && (!seat->why_host || (host && !strcmp(seat->why_host, host)));

    if (good_for(seat->login, host, now, true)
        || (seat->busy && good_for(seat->login, host, now, false))) {
        *login = seat->login;
        seat->login->refs++;
        return CASP_TURN_KEPT;
    }
    if (no || seat->busy) {
        return no ? CASP_TURN_REFUSED : CASP_TURN_LATE;
    }
    /* the user's ticket is young and this host new: that one is enough */
    if (host && good_for(seat->login, NULL, now, true)
        && !host_of(seat->login, host)
        && seat->login->nhosts < CASP_GSS_HOSTS) {
        *login = seat->login;
        seat->login->refs++;
    }
    seat->busy = true;
    return CASP_TURN_ASK;
}

casp_turn_e casp_gss_seat_turn(casp_gss_seat_t *seat, const char *host,
                               casp_gss_login_t **login, casp_gss_e *verdict,
                               char **why)
{
    casp_gss_cache_t *c = seat->cache;
    struct timespec at = deadline_of(c->times.turn);
    casp_turn_e turn;
    bool late = false;

    *login = NULL;
    *why = NULL;
    pthread_mutex_lock(&c->lock);
    while ((turn = look(seat, host, login)) == CASP_TURN_LATE && !late
           && !c->ended) {
        late = pthread_cond_timedwait(&c->turn, &c->lock, &at) != 0;
    }
    if (turn == CASP_TURN_REFUSED) {
        *verdict = seat->verdict;
        *why = strdup(seat->why ? seat->why : "");
    }
    pthread_mutex_unlock(&c->lock);
    return turn;
}

/* With the lock. */
static void turn_over(casp_gss_seat_t *seat)
{
    seat->busy = false;
    pthread_cond_broadcast(&seat->cache->turn);
}

static void add_host(casp_gss_login_t *login, const char *host,
                     apr_interval_time_t life)
{
    apr_size_t len = strlen(host) + 1;
    host_t *h = host_of(login, host);
    apr_time_t now = apr_time_now();

    if (!h) {
        h = calloc(1, sizeof(*h) + len);
        if (!h) {
            return; /* the next request asks again */
        }
        memcpy(h->name, host, len);
        h->next = login->hosts;
        login->hosts = h;
        login->nhosts++;
    }
    h->fresh = fresh_until(now, life);
    h->expires = now + life;
}

void casp_gss_seat_landed(casp_gss_seat_t *seat, casp_gss_login_t *login,
                          const char *host, apr_interval_time_t life)
{
    casp_gss_login_t *dead = NULL;
    casp_gss_cache_t *c = seat->cache;

    pthread_mutex_lock(&c->lock);
    if (host) {
        add_host(login, host, life);
    }
    if (seat->login != login) {
        dead = unhold(seat->login);
        seat->login = login;
        login->refs++;
    }
    seat->refused = 0;
    turn_over(seat);
    pthread_mutex_unlock(&c->lock);
    free_login(dead);
}

void casp_gss_seat_refused(casp_gss_seat_t *seat, const char *host,
                           casp_gss_e verdict, const char *why)
{
    casp_gss_cache_t *c = seat->cache;
    char *copy = strdup(why);
    char *copy_host = host ? strdup(host) : NULL;

    pthread_mutex_lock(&c->lock);
    char *old = seat->why, *old_host = seat->why_host;
    seat->why = copy;
    seat->why_host = copy_host;
    seat->verdict = verdict;
    seat->refused = apr_time_now() + c->times.refused;
    turn_over(seat);
    pthread_mutex_unlock(&c->lock);
    free(old);
    free(old_host);
}

casp_gss_login_t *casp_gss_seat_failed(casp_gss_seat_t *seat, const char *host)
{
    casp_gss_cache_t *c = seat->cache;
    casp_gss_login_t *login = NULL;

    pthread_mutex_lock(&c->lock);
    if (good_for(seat->login, host, apr_time_now(), false)) {
        login = seat->login;
        login->refs++;
    }
    turn_over(seat);
    pthread_mutex_unlock(&c->lock);
    return login;
}

/* ------------------------------------------------------ how many are there */

/* A place that is free, or -1. */
static int free_place(const casp_gss_cache_t *c)
{
    int i = 0;

    while (i < CASP_GSS_INSIDE && c->places[i].since) {
        i++;
    }
    return i < CASP_GSS_INSIDE ? i : -1;
}

int casp_gss_cache_inside(casp_gss_cache_t *c, const char *realm)
{
    struct timespec at = deadline_of(c->times.inside);
    bool late = false;
    int i;

    pthread_mutex_lock(&c->lock);
    while ((i = free_place(c)) < 0 && !late && !c->ended) {
        late = pthread_cond_timedwait(&c->room, &c->lock, &at) != 0;
    }
    if (i >= 0) {
        c->places[i].since = apr_time_now();
        apr_cpystrn(c->places[i].name, realm, REALM_LEN);
    }
    pthread_mutex_unlock(&c->lock);
    return i;
}

void casp_gss_cache_outside(casp_gss_cache_t *c, int place)
{
    pthread_mutex_lock(&c->lock);
    c->places[place].since = 0;
    pthread_cond_signal(&c->room);
    pthread_mutex_unlock(&c->lock);
}

/* ----------------------------------------------------------------- realms */

static realm_t *realm_of(casp_gss_cache_t *c, const char *name)
{
    for (int i = 0; i < REALMS; i++) {
        if (!strcmp(c->realms[i].name, name)) {
            return &c->realms[i];
        }
    }
    return NULL;
}

bool casp_gss_cache_rest(casp_gss_cache_t *c, const char *name)
{
    if (strlen(name) >= REALM_LEN) {
        return false;
    }
    pthread_mutex_lock(&c->lock);
    realm_t *realm = realm_of(c, name);
    bool news = !realm;
    if (!realm) {
        realm = c->realms;
        for (int i = 1; i < REALMS; i++) {
            realm = c->realms[i].until < realm->until ? &c->realms[i] : realm;
        }
        strcpy(realm->name, name);
    }
    realm->until = apr_time_now() + c->times.rest;
    pthread_mutex_unlock(&c->lock);
    return news;
}

bool casp_gss_cache_awake(casp_gss_cache_t *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    realm_t *realm = realm_of(c, name);
    if (realm) {
        memset(realm, 0, sizeof(*realm));
    }
    pthread_mutex_unlock(&c->lock);
    return realm != NULL;
}

bool casp_gss_cache_resting(casp_gss_cache_t *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    const realm_t *realm = realm_of(c, name);
    apr_time_t now = apr_time_now();
    bool resting = realm && realm->until > now;
    for (int i = 0; i < CASP_GSS_INSIDE; i++) {
        resting =
            resting
            || (c->places[i].since && c->places[i].since + c->times.slow < now
                && !strcmp(c->places[i].name, name));
    }
    pthread_mutex_unlock(&c->lock);
    return resting;
}
