/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ntlm.c - NTLM handshakes: each has a place here while it is under way, and
 * with the place a helper or a connection to a domain controller.
 *
 * Places are the bound.  A place is free, busy (a thread speaks with its
 * verifier) or waiting (for the client's next message).  Only a waiting one
 * can be taken from its handshake, because it was dropped, took too long or
 * somebody else needs the place; a busy one is the thread's until it comes
 * back.  The lock is held for a few instructions, never over I/O; what is to
 * be given up is taken out under the lock and ended without it.
 *
 * Must not: make, change or judge an NTLM message, or believe what one claims.
 * Who the user is comes from the verifier.
 */

#include "ntlm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <apr_base64.h>
#include <apr_strings.h>

#include "ntlmhelper.h"

#define PLACES 12
#define PATIENCE apr_time_from_sec(30)
#define TIMEOUT apr_time_from_sec(10)
/* A newcomer may take the place of one that has waited for this long. */
#define OUSTED_AFTER apr_time_from_sec(1)
#define IDLE_MAX apr_time_from_sec(60)
/* NTLM takes two messages, SPNEGO adds one or two. */
#define LEGS_MAX 6
#define LOG_EVERY apr_time_from_sec(60)
#define END_WAIT apr_time_from_sec(1)
/* How long a newcomer waits for a place.  Handshakes take milliseconds; those
 * that do not can be ousted before this is over. */
#define PLACE_WAIT apr_time_from_msec(1500)
#define WAITING_MAX 32 /* newcomers; more are sent away at once */
#define LOOK_EVERY apr_time_from_msec(200)

typedef enum { FREE = 0, BUSY, WAITING } state_e;

/* What verifies one handshake: the one or the other, or neither yet. */
typedef struct {
    casp_helper_t *helper;
    casp_relay_t *relay;
} means_t;

typedef struct {
    state_e state;
    uint64_t id;
    means_t means; /* while BUSY its thread uses it without the lock */
    apr_time_t since; /* WAITING since */
    int legs;
    bool dropped; /* while it was BUSY */
} place_t;

struct casp_ntlm_t {
    casp_ntlm_conf_t conf;
    place_t *places;
    pthread_mutex_t lock;
    int inside; /* threads that will still touch this */
    pthread_cond_t unused; /* none is */
    uint64_t last_id;
    bool ending;
    casp_helper_t *idle; /* last used first */
    casp_helper_t *leaving; /* to be reaped */
    pthread_cond_t freed; /* a place is */
    apr_time_t may_log;
    int newcomers; /* threads that wait for a place */
};

static void leave(casp_ntlm_t *n)
{
    (void)pthread_mutex_lock(&n->lock);
    if (--n->inside == 0) {
        (void)pthread_cond_broadcast(&n->unused);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

/* ------------------------------------------------------------------- means */

/* A helper that has been told to go stays on a list until it has gone. */
static void send_away(casp_ntlm_t *n, casp_helper_t *h, bool kill)
{
    casp_helper_end(h, kill);
    (void)pthread_mutex_lock(&n->lock);
    h->next = n->leaving;
    n->leaving = h;
    (void)pthread_mutex_unlock(&n->lock);
}

/* Locked. */
static void reap(casp_ntlm_t *n, apr_time_t now)
{
    casp_helper_t **at = &n->leaving;
    while (*at) {
        casp_helper_t *h = *at, *next = h->next;
        if (casp_helper_gone(h, now)) {
            *at = next;
        }
        else {
            at = &h->next;
        }
    }
}

/* Locked.  A helper that may be asked anew: whatever it was in the middle of
 * ends with the next first token. */
static void rest(casp_ntlm_t *n, casp_helper_t *h)
{
    h->used = true;
    h->since = apr_time_now();
    h->next = n->idle;
    n->idle = h;
}

/* Locked, together with the freeing of the place, so that there are never
 * more helpers than places.  @a bad: it did not do its work. */
static void keep_helper(casp_ntlm_t *n, means_t *m, bool bad)
{
    if (m->helper && !bad && !n->ending) {
        rest(n, m->helper);
        m->helper = NULL;
    }
}

/* End what an ended handshake had and is not kept. */
static void give_up(casp_ntlm_t *n, const means_t *m)
{
    if (m->helper) {
        send_away(n, m->helper, true);
    }
    casp_directory_relay_end(m->relay);
}

/* An idle helper, or a new one; @a fresh: a new one in any case. */
static casp_helper_t *take_helper(casp_ntlm_t *n, apr_pool_t *p, bool fresh,
                                  const char **why)
{
    while (!fresh) {
        (void)pthread_mutex_lock(&n->lock);
        casp_helper_t *h = n->idle;
        n->idle = h ? h->next : NULL;
        (void)pthread_mutex_unlock(&n->lock);
        if (!h) {
            break;
        }
        if (casp_helper_fit(h)) {
            return h;
        }
        send_away(n, h, true);
    }
    return casp_helper_start(p, n->conf.helper, why);
}

/* ------------------------------------------------------------------ places */

/* Locked.  The new state of a place whose thread has come back. */
static void settle(casp_ntlm_t *n, place_t *place, bool waits)
{
    place->state = waits ? WAITING : FREE;
    place->since = apr_time_now();
    if (!waits) {
        memset(place, 0, sizeof(*place));
        (void)pthread_cond_signal(&n->freed);
    }
}

/* Locked.  Take away what a waiting handshake has. */
static means_t oust(casp_ntlm_t *n, place_t *place)
{
    means_t m = place->means;
    memset(place, 0, sizeof(*place));
    (void)pthread_cond_signal(&n->freed);
    return m;
}

/* Locked.  A place for a newcomer, busy from now on; NULL: none. */
static place_t *find_place(casp_ntlm_t *n, apr_time_t now, means_t *ousted)
{
    place_t *best = NULL;
    memset(ousted, 0, sizeof(*ousted));
    for (int i = 0; i < n->conf.places; i++) {
        place_t *place = &n->places[i];
        if (place->state == FREE) {
            best = place;
            break;
        }
        if (place->state == WAITING && (!best || place->since < best->since)) {
            best = place;
        }
    }
    if (!best) {
        return NULL;
    }
    if (best->state == WAITING) {
        if (now - best->since <= OUSTED_AFTER) {
            return NULL;
        }
        *ousted = oust(n, best);
    }
    best->state = BUSY;
    return best;
}

/* Locked.  The same, with patience. */
static place_t *await_place(casp_ntlm_t *n, means_t *ousted)
{
    apr_time_t now = apr_time_now(), end = now + PLACE_WAIT;
    place_t *place = NULL;
    n->newcomers++;
    while (!n->ending && !(place = find_place(n, now, ousted)) && now < end
           && n->newcomers <= WAITING_MAX) {
        apr_time_t look = now + LOOK_EVERY;
        struct timespec ts = {(time_t)apr_time_sec(look),
                              (long)apr_time_usec(look) * 1000};
        (void)pthread_cond_timedwait(&n->freed, &n->lock, &ts);
        now = apr_time_now();
    }
    n->newcomers--;
    return place;
}

/* Locked. */
static place_t *place_of(casp_ntlm_t *n, uint64_t id)
{
    for (int i = 0; id && i < n->conf.places; i++) {
        if (n->places[i].id == id) {
            return &n->places[i];
        }
    }
    return NULL;
}

/* A thread has come back: does the handshake go on?  Sets the id where it
 * does.  @a bad: the means are not to be used again. */
static casp_ntlm_e come_back(casp_ntlm_t *n, place_t *place, casp_ntlm_e e,
                             bool bad, uint64_t *id)
{
    means_t over;
    memset(&over, 0, sizeof(over));
    (void)pthread_mutex_lock(&n->lock);
    bool on = e == CASP_NTLM_MORE && !place->dropped && !n->ending
              && ++place->legs < LEGS_MAX;
    if (on) {
        place->id = place->id ? place->id : ++n->last_id;
        if (id) {
            *id = place->id;
        }
    }
    else {
        over = place->means;
        keep_helper(n, &over, bad);
        e = e == CASP_NTLM_MORE ? CASP_NTLM_LOST : e;
    }
    settle(n, place, on);
    (void)pthread_mutex_unlock(&n->lock);
    give_up(n, &over);
    return e;
}

/* ----------------------------------------------------------- by the helper */

/* The second word of a line; moves @a line on to the rest. */
static char *word(char **line)
{
    char *at = *line;
    char *space = strchr(at, ' ');
    if (space) {
        *space = '\0';
        *line = space + 1;
    }
    else {
        *line = at + strlen(at);
    }
    return at;
}

/* The token in a line; "*" is none.  false: not base64. */
static bool token_in(apr_pool_t *p, const char *text, casp_ntlm_answer_t *a)
{
    apr_size_t len = strlen(text);
    a->out = NULL;
    a->out_len = 0;
    if (!strcmp(text, "*")) {
        return true;
    }
    if (len == 0 || len % 4 != 0 || len / 4 * 3 > CASP_TOKEN_MAX
        || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789+/=")
               != len) {
        return false;
    }
    unsigned char *out =
        apr_palloc(p, (apr_size_t)apr_base64_decode_len(text));
    a->out_len = (apr_size_t)apr_base64_decode_binary(out, text);
    a->out = a->out_len ? out : NULL;
    return a->out != NULL;
}

/* "NA * NT_STATUS_X" and "BH NT_STATUS_X * NT_STATUS_X". */
static casp_ntlm_e said_no(apr_pool_t *p, char *line, bool trouble,
                           casp_ntlm_answer_t *a)
{
    const char *status = word(&line);
    if (!strcmp(status, "*") || (!trouble && *line)) {
        status = line;
    }
    return casp_winbind_judge(p, status, trouble, &a->why);
}

/* What a line means; @a bad: this helper is not to be asked again. */
static casp_ntlm_e understand(apr_pool_t *p, char *line, bool first,
                              casp_ntlm_answer_t *a, bool *bad)
{
    const char *kind = word(&line);
    if (!strcmp(kind, "NA")) {
        return said_no(p, line, false, a);
    }
    if (!strcmp(kind, "BH")) {
        return said_no(p, line, true, a);
    }
    if (!strcmp(kind, "TT") && token_in(p, word(&line), a) && a->out) {
        return CASP_NTLM_MORE;
    }
    /* A first message proves nothing. */
    if (!first && !strcmp(kind, "AF") && token_in(p, word(&line), a)
        && *line) {
        a->why = casp_winbind_identify(p, line, &a->who);
        return a->why ? CASP_NTLM_REFUSED : CASP_NTLM_OK;
    }
    *bad = true;
    a->why = "the helper's answer is not ntlm_auth's; see "
             "CasProxyNTLMVerify Winbind";
    return CASP_NTLM_UNAVAILABLE;
}

static casp_ntlm_e ask_helper(casp_ntlm_t *n, apr_pool_t *p, place_t *place,
                              const void *token, apr_size_t len,
                              casp_ntlm_answer_t *a, bool *bad)
{
    apr_time_t deadline = apr_time_now() + n->conf.timeout;
    bool first = place->legs == 0;
    char *line = NULL;
    for (bool fresh = false; !line; fresh = true) {
        casp_helper_t *h = place->means.helper;
        bool tried = h != NULL;
        if (!h) {
            h = take_helper(n, p, fresh, &a->why);
            if (!h) {
                return CASP_NTLM_UNAVAILABLE;
            }
            (void)pthread_mutex_lock(&n->lock);
            place->means.helper = h;
            bool ending = n->ending;
            (void)pthread_mutex_unlock(&n->lock);
            if (ending) {
                a->why = "this process is about to end";
                return CASP_NTLM_UNAVAILABLE;
            }
        }
        line = casp_helper_ask(h, p, first ? "YR" : "KK", token, len, deadline,
                               &a->why);
        if (line || tried || fresh || !h->used || apr_time_now() >= deadline) {
            break;
        }
        /* It ended while it was idle: no fault of this handshake's. */
        (void)pthread_mutex_lock(&n->lock);
        place->means.helper = NULL;
        (void)pthread_mutex_unlock(&n->lock);
        send_away(n, h, true);
    }
    *bad = !line;
    if (!line) {
        return CASP_NTLM_UNAVAILABLE;
    }
    a->why = NULL;
    return understand(p, line, first, a, bad);
}

/* -------------------------------------------------------- by the directory */

static casp_ntlm_e relayed(casp_relay_e e, const casp_relayed_t *told,
                           casp_ntlm_answer_t *a)
{
    a->out = told->out;
    a->out_len = told->out_len;
    a->why = told->why;
    switch (e) {
    case CASP_RELAY_MORE:
        return CASP_NTLM_MORE;
    case CASP_RELAY_OK:
        if (told->sid_len == 0 || told->sid_len > sizeof(a->who.sid)) {
            a->why = "the directory accepts the logon, but does not tell "
                     "whose it is (tokenGroups of its rootDSE)";
            return CASP_NTLM_UNAVAILABLE;
        }
        a->who.name = told->name;
        memcpy(a->who.sid, told->sid, told->sid_len);
        a->who.sid_len = told->sid_len;
        return CASP_NTLM_OK;
    case CASP_RELAY_REFUSED:
        return CASP_NTLM_REFUSED;
    case CASP_RELAY_POLICY:
    case CASP_RELAY_UNAVAILABLE:
        break;
    }
    return CASP_NTLM_UNAVAILABLE;
}

static casp_ntlm_e ask_directory(casp_ntlm_t *n, apr_pool_t *p, place_t *place,
                                 const void *token, apr_size_t len,
                                 casp_ntlm_answer_t *a)
{
    apr_time_t deadline = apr_time_now() + n->conf.timeout;
    casp_relayed_t told;
    casp_relay_e e;
    memset(&told, 0, sizeof(told));
    if (place->means.relay) {
        e = casp_directory_relay_step(place->means.relay, p, token, len,
                                      deadline, &told);
    }
    else {
        casp_relay_t *relay = NULL;
        e = casp_directory_relay_begin(n->conf.directory, p, token, len,
                                       deadline, &relay, &told);
        (void)pthread_mutex_lock(&n->lock);
        place->means.relay = relay;
        (void)pthread_mutex_unlock(&n->lock);
    }
    return relayed(e, &told, a);
}

/* -------------------------------------------------------------- handshakes */

/* Each client gets its answer; the log gets one a minute. */
static void complain(casp_ntlm_t *n, const char *why)
{
    apr_time_t now = apr_time_now();
    (void)pthread_mutex_lock(&n->lock);
    bool say = now >= n->may_log && !n->ending;
    if (say) {
        n->may_log = now + LOG_EVERY;
    }
    (void)pthread_mutex_unlock(&n->lock);
    if (say) {
        casp_log(CASP_LOG_WARNING, 0,
                 CASPLOGNO(0700) "NTLM cannot be verified: %s",
                           why ? why : "no reason given");
    }
}

/* One message to the verifier; the place is this thread's. */
static casp_ntlm_e ask(casp_ntlm_t *n, apr_pool_t *p, place_t *place,
                       const void *token, apr_size_t len, uint64_t *id,
                       casp_ntlm_answer_t *a)
{
    bool bad = false;
    casp_ntlm_e e = n->conf.directory
                        ? ask_directory(n, p, place, token, len, a)
                        : ask_helper(n, p, place, token, len, a, &bad);
    e = come_back(n, place, e, bad, id);
    if (e == CASP_NTLM_UNAVAILABLE) {
        complain(n, a->why);
    }
    if (e != CASP_NTLM_OK) {
        memset(&a->who, 0, sizeof(a->who));
    }
    if (e != CASP_NTLM_OK && e != CASP_NTLM_MORE) {
        a->out = NULL;
        a->out_len = 0;
    }
    if (e == CASP_NTLM_LOST) {
        a->why = "the handshake was given up meanwhile, or has no end";
    }
    return e;
}

casp_ntlm_e casp_ntlm_begin(casp_ntlm_t *n, apr_pool_t *p, const void *token,
                            apr_size_t len, uint64_t *id,
                            casp_ntlm_answer_t *answer)
{
    means_t ousted;
    memset(&ousted, 0, sizeof(ousted));
    *id = 0;
    memset(answer, 0, sizeof(*answer));
    if (len == 0 || len > CASP_TOKEN_MAX) {
        answer->why = "the client's message has no size that NTLM has";
        return CASP_NTLM_REFUSED;
    }
    (void)pthread_mutex_lock(&n->lock);
    n->inside++;
    place_t *place = await_place(n, &ousted);
    bool ending = n->ending && !place;
    keep_helper(n, &ousted, false);
    reap(n, apr_time_now());
    (void)pthread_mutex_unlock(&n->lock);
    give_up(n, &ousted);
    casp_ntlm_e e = CASP_NTLM_BUSY;
    if (place) {
        e = ask(n, p, place, token, len, id, answer);
    }
    else if (ending) {
        e = CASP_NTLM_UNAVAILABLE;
        answer->why = "this process is about to end";
    }
    else {
        answer->why =
            apr_psprintf(p,
                         "all %d places for NTLM handshakes are taken, by "
                         "handshakes that go on",
                         n->conf.places);
    }
    leave(n);
    return e;
}

casp_ntlm_e casp_ntlm_step(casp_ntlm_t *n, apr_pool_t *p, uint64_t id,
                           const void *token, apr_size_t len,
                           casp_ntlm_answer_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    if (len == 0 || len > CASP_TOKEN_MAX) {
        casp_ntlm_drop(n, id);
        answer->why = "the client's message has no size that NTLM has";
        return CASP_NTLM_REFUSED;
    }
    (void)pthread_mutex_lock(&n->lock);
    place_t *place = place_of(n, id);
    if (place && place->state == WAITING) {
        place->state = BUSY;
        n->inside++;
    }
    else {
        place = NULL;
    }
    (void)pthread_mutex_unlock(&n->lock);
    if (!place) {
        answer->why = "the handshake was given up: it waited for too long, "
                      "or others needed its place";
        return CASP_NTLM_LOST;
    }
    casp_ntlm_e e = ask(n, p, place, token, len, NULL, answer);
    leave(n);
    return e;
}

void casp_ntlm_drop(casp_ntlm_t *n, uint64_t id)
{
    means_t over;
    memset(&over, 0, sizeof(over));
    (void)pthread_mutex_lock(&n->lock);
    n->inside++;
    place_t *place = place_of(n, id);
    if (place && place->state == WAITING) {
        over = oust(n, place);
        keep_helper(n, &over, false);
    }
    else if (place) {
        place->dropped = true;
    }
    (void)pthread_mutex_unlock(&n->lock);
    give_up(n, &over);
    leave(n);
}

/* ----------------------------------------------------------------- the end */

/* Locked.  The idle helpers whose time has come, as a list. */
static casp_helper_t *retire(casp_ntlm_t *n, apr_time_t now)
{
    casp_helper_t **at = &n->idle, *old = NULL;
    while (*at) {
        casp_helper_t *h = *at;
        if (now - h->since >= IDLE_MAX || n->ending) {
            *at = h->next;
            h->next = old;
            old = h;
        }
        else {
            at = &h->next;
        }
    }
    return old;
}

void casp_ntlm_tick(casp_ntlm_t *n, apr_time_t now)
{
    (void)pthread_mutex_lock(&n->lock);
    for (int i = 0; i < n->conf.places; i++) {
        place_t *place = &n->places[i];
        if (place->state == WAITING
            && (n->ending || now - place->since >= n->conf.patience)) {
            means_t over = oust(n, place);
            keep_helper(n, &over, false);
            (void)pthread_mutex_unlock(&n->lock);
            give_up(n, &over);
            (void)pthread_mutex_lock(&n->lock);
        }
    }
    casp_helper_t *old = retire(n, now);
    bool ending = n->ending;
    (void)pthread_mutex_unlock(&n->lock);
    while (old) {
        casp_helper_t *next = old->next;
        send_away(n, old, ending);
        old = next;
    }
    (void)pthread_mutex_lock(&n->lock);
    reap(n, now);
    (void)pthread_mutex_unlock(&n->lock);
}

/* Locked.  Wait for the threads that speak with a verifier. */
static bool all_back(casp_ntlm_t *n)
{
    apr_time_t until = apr_time_now() + END_WAIT;
    struct timespec ts;
    ts.tv_sec = (time_t)apr_time_sec(until);
    ts.tv_nsec = (long)apr_time_usec(until) * 1000;
    while (n->inside > 0 && apr_time_now() < until) {
        (void)pthread_cond_timedwait(&n->unused, &n->lock, &ts);
    }
    return n->inside == 0;
}

static apr_status_t end(void *data)
{
    casp_ntlm_t *n = data;
    (void)pthread_mutex_lock(&n->lock);
    n->ending = true;
    (void)pthread_cond_broadcast(&n->freed);
    for (int i = 0; i < n->conf.places; i++) {
        place_t *place = &n->places[i];
        if (place->state == BUSY && place->means.helper) {
            casp_helper_interrupt(place->means.helper);
        }
    }
    bool alone = all_back(n);
    (void)pthread_mutex_unlock(&n->lock);
    apr_time_t until = apr_time_now() + END_WAIT;
    for (bool more = true; more && apr_time_now() < until;) {
        casp_ntlm_tick(n, apr_time_now());
        (void)pthread_mutex_lock(&n->lock);
        more = n->leaving != NULL;
        (void)pthread_mutex_unlock(&n->lock);
        apr_sleep(more ? apr_time_from_msec(2) : 0);
    }
    if (!alone) {
        casp_log(CASP_LOG_WARNING, 0,
                 CASPLOGNO(0701) "a request is still at an NTLM handshake "
                                 "while its process ends; what it holds is "
                                 "left to the system");
        return APR_SUCCESS;
    }
    (void)pthread_cond_destroy(&n->unused);
    (void)pthread_cond_destroy(&n->freed);
    (void)pthread_mutex_destroy(&n->lock);
    free(n->places);
    free(n);
    return APR_SUCCESS;
}

static void *grab(apr_size_t size)
{
    void *mem = calloc(1, size);
    if (!mem) {
        abort();
    }
    return mem;
}

casp_ntlm_t *casp_ntlm_create(apr_pool_t *p, const casp_ntlm_conf_t *conf)
{
    casp_ntlm_t *n = grab(sizeof(*n));
    n->conf = *conf;
    n->conf.places = conf->places > 0 ? conf->places : PLACES;
    n->conf.patience = conf->patience > 0 ? conf->patience : PATIENCE;
    n->conf.timeout = conf->timeout > 0 ? conf->timeout : TIMEOUT;
    if (conf->directory) {
        int most = casp_directory_relay_places(conf->directory);
        n->conf.places = n->conf.places < most ? n->conf.places : most;
    }
    n->places = grab(sizeof(place_t) * (apr_size_t)n->conf.places);
    (void)pthread_mutex_init(&n->lock, NULL);
    (void)pthread_cond_init(&n->unused, NULL);
    (void)pthread_cond_init(&n->freed, NULL);
    /* before the pools below p go, whose threads may be inside */
    apr_pool_pre_cleanup_register(p, n, end);
    return n;
}
