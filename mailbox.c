/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * From a user to a mailbox, remembered.
 *
 * Two tables: records, and names that nobody has.  They are apart, so that a
 * scanner who tries a million names pushes out other wrong names and no
 * mailbox.  Behind them lies a second level that other processes fill, and
 * behind that the source.  What is in neither table is asked for by one
 * caller; the others who want the same name wait for that one answer.
 *
 * A record past its time to live is never given out while the source
 * answers.  While it does not, a record younger than "stale" is, and the
 * source is left alone for that name for two seconds.
 *
 * One lock guards it all and is never held over anything that waits: not
 * over the second level, which may be a network away, nor over the source.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_allocator.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include <openssl/evp.h>

#include "cache.h"
#include "mailbox.h"

/* How long a failing source is not asked again for the same name. */
#define HOLD_OFF apr_time_from_sec(2)
/* A clock that was set back, or another machine's that is ahead. */
#define CLOCK_SKEW apr_time_from_sec(60)
/* A waiter whose caller names no deadline. */
#define WAIT_MAX apr_time_from_sec(30)
#define KEY_MAX 2560
#define SECOND_KEY 32

/* One question under way.  It lives in the list of its table, then with the
 * last of those who wait for it, then in the list of spares. */
typedef struct mailbox_flight_t {
    struct mailbox_flight_t *next;
    const char *key; /* in the leader's pool: read only while it is listed */
    apr_size_t key_len;
    apr_thread_cond_t *landed;
    int waiters;
    bool done;
    casp_find_e found;
    casp_cache_e how;
    casp_mailbox_t *record; /* malloc'd for the waiters, or NULL */
    char *why; /* likewise */
} mailbox_flight_t;

struct casp_mailboxes_t {
    apr_pool_t *pool; /* under the lock once threads run */
    apr_thread_mutex_t *lock;
    casp_mailbox_conf_t conf;
    const casp_cache2_t *second;
    const char *org_key;
    casp_cache_t *records;
    casp_cache_t *negatives;
    mailbox_flight_t *flights;
    mailbox_flight_t *spares;
    casp_mailbox_stats_t stats;
    bool down; /* the source failed last */
    bool second_told; /* that the second level gave rubbish */
};

/* What a name without a mailbox leaves behind: how, then the sentence. */
typedef struct {
    casp_find_e found;
    char why[];
} mailbox_negative_t;

/* One look-up on its way. */
typedef struct {
    apr_pool_t *p;
    const casp_user_key_t *key;
    const casp_user_source_t *source;
    const casp_topology_t *t;
    const char *name; /* canonical bytes of the key */
    apr_size_t name_len;
    apr_time_t now, deadline;
    apr_time_t started; /* by the real clock */
    casp_mailbox_t *old; /* past its time, good enough in need */
    bool second_has; /* the second level holds a record of this name */
    casp_find_e found;
    casp_cache_e how;
    casp_mailbox_t *record;
    const char *why;
} mailbox_ask_t;

/* --------------------------------------------------------------- names */

/*
 * The bytes that a key is remembered by: its kind, then what is compared,
 * in lower case.  NULL: nothing in a directory can have such a name.
 */
static char *mailbox_name(apr_pool_t *p, const casp_user_key_t *key,
                          apr_size_t *len)
{
    apr_size_t domain = key->kind == CASP_KEY_LOGON && key->domain
                            ? strlen(key->domain) + 1
                            : 0;
    casp_guid_t guid;
    apr_size_t i;

    bool binary = key->kind == CASP_KEY_SID || key->kind == CASP_KEY_ACCOUNT;

    if (!key->value || key->len == 0 || key->len + domain >= KEY_MAX
        || (!binary && memchr(key->value, '\0', key->len))) {
        return NULL;
    }
    char *name = apr_palloc(p, 1 + domain + key->len + sizeof(guid.b));
    name[0] = (char)key->kind;
    if (key->kind == CASP_KEY_GUID) {
        if (!casp_guid_parse(apr_pstrmemdup(p, key->value, key->len), &guid)) {
            return NULL;
        }
        memcpy(name + 1, guid.b, sizeof(guid.b));
        *len = 1 + sizeof(guid.b);
        return name;
    }
    if (domain) {
        memcpy(name + 1, key->domain, domain - 1);
        name[domain] = '\\';
    }
    memcpy(name + 1 + domain, key->value, key->len);
    *len = 1 + domain + key->len;
    for (i = 1; i < *len && !binary; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z') {
            name[i] = (char)(name[i] - 'A' + 'a');
        }
    }
    return name;
}

/* The key for people. */
static const char *mailbox_key_text(apr_pool_t *p, const casp_user_key_t *key)
{
    const char *value = apr_pstrmemdup(p, key->value, key->len);

    switch (key->kind) {
    case CASP_KEY_LOGON:
        return apr_pstrcat(p, "user ", key->domain ? key->domain : "", "\\",
                           value, NULL);
    case CASP_KEY_UPN:
        return apr_pstrcat(p, "user ", value, NULL);
    case CASP_KEY_SMTP:
        return apr_pstrcat(p, "address ", value, NULL);
    case CASP_KEY_ALIAS:
        return apr_pstrcat(p, "alias ", value, NULL);
    case CASP_KEY_GUID:
        return apr_pstrcat(p, "GUID ", value, NULL);
    case CASP_KEY_LEGACY_DN:
        return apr_pstrcat(p, "legacyExchangeDN ", value, NULL);
    case CASP_KEY_SID:
    case CASP_KEY_ACCOUNT:
        break;
    }
    return "this SID";
}

/* The second level's key: of one length, and without a name in clear, for it
 * may lie on another machine.  The version of the record is part of it. */
static bool mailbox_second_key(const casp_mailboxes_t *m, apr_pool_t *p,
                               const char *name, apr_size_t len,
                               unsigned char out[SECOND_KEY])
{
    apr_size_t org = strlen(m->org_key) + 1;
    char *all = apr_palloc(p, 1 + org + len);

    all[0] = CASP_MAILBOX_VERSION;
    memcpy(all + 1, m->org_key, org);
    memcpy(all + 1 + org, name, len);
    return EVP_Digest(all, 1 + org + len, out, NULL, EVP_sha256(), NULL) == 1;
}

/* -------------------------------------------------------------- records */

static casp_mailbox_t *mailbox_copy(apr_pool_t *p, const casp_mailbox_t *r)
{
    return r ? apr_pmemdup(p, r, r->size) : NULL;
}

static apr_interval_time_t mailbox_age(const casp_mailbox_t *r, apr_time_t now)
{
    return r->read_at > now ? 0 : now - r->read_at;
}

static bool mailbox_fresh(const casp_mailboxes_t *m, const casp_mailbox_t *r,
                          apr_time_t now)
{
    return mailbox_age(r, now) < m->conf.ttl && r->read_at <= now + CLOCK_SKEW;
}

static bool mailbox_serves_stale(const casp_mailboxes_t *m,
                                 const casp_mailbox_t *r, apr_time_t now)
{
    return mailbox_age(r, now) < m->conf.stale
           && r->read_at <= now + CLOCK_SKEW;
}

/* Until when a record is of any use. */
static apr_time_t mailbox_expires(const casp_mailboxes_t *m,
                                  const casp_mailbox_t *r)
{
    return r->read_at
           + (m->conf.stale > m->conf.ttl ? m->conf.stale : m->conf.ttl);
}

/* -------------------------------------------------------- last resorts */

/* One answer more, by how it came about. */
static void ask_count(casp_mailboxes_t *m, casp_cache_e how)
{
    switch (how) {
    case CASP_CACHE_HIT:
        m->stats.hits++;
        break;
    case CASP_CACHE_STALE:
        m->stats.stale++;
        break;
    case CASP_CACHE_NEGATIVE:
        m->stats.negative++;
        break;
    case CASP_CACHE_MISS:
        m->stats.misses++;
        break;
    }
}

/* The source did not tell: the old record, or nothing. */
static void ask_settle_without(casp_mailboxes_t *m, mailbox_ask_t *ask,
                               const char *why)
{
    ask->why = why ? why : "the directory gave no reason";
    ask->record = ask->old;
    ask->found = ask->old ? CASP_FIND_OK : CASP_FIND_UNAVAILABLE;
    ask->how = ask->old ? CASP_CACHE_STALE : CASP_CACHE_MISS;
    ask_count(m, ask->how);
}

/* -------------------------------------------------------------- flights */

static mailbox_flight_t *flight_find(casp_mailboxes_t *m, const char *name,
                                     apr_size_t len)
{
    mailbox_flight_t *f;

    for (f = m->flights; f; f = f->next) {
        if (f->key_len == len && memcmp(f->key, name, len) == 0) {
            return f;
        }
    }
    return NULL;
}

static mailbox_flight_t *flight_start(casp_mailboxes_t *m, const char *name,
                                      apr_size_t len)
{
    mailbox_flight_t *f = m->spares;

    if (f) {
        m->spares = f->next;
    }
    else {
        /* As many as threads ever asked at once, and no more. */
        f = apr_pcalloc(m->pool, sizeof(*f));
        if (apr_thread_cond_create(&f->landed, m->pool) != APR_SUCCESS) {
            return NULL;
        }
    }
    f->key = name;
    f->key_len = len;
    f->waiters = 0;
    f->done = false;
    f->record = NULL;
    f->why = NULL;
    f->next = m->flights;
    m->flights = f;
    m->stats.flights++;
    return f;
}

static void flight_spare(casp_mailboxes_t *m, mailbox_flight_t *f)
{
    free(f->record);
    free(f->why);
    f->record = NULL;
    f->why = NULL;
    f->next = m->spares;
    m->spares = f;
}

static void flight_land(casp_mailboxes_t *m, mailbox_flight_t *f,
                        const mailbox_ask_t *ask)
{
    mailbox_flight_t **at = &m->flights;

    while (*at != f) {
        at = &(*at)->next;
    }
    *at = f->next;
    f->key = NULL;
    f->done = true;
    if (f->waiters == 0) {
        flight_spare(m, f);
        return;
    }
    f->found = ask->found;
    f->how = ask->how;
    if (ask->record && (f->record = malloc(ask->record->size)) != NULL) {
        memcpy(f->record, ask->record, ask->record->size);
    }
    if (ask->why && (f->why = malloc(strlen(ask->why) + 1)) != NULL) {
        strcpy(f->why, ask->why);
    }
    apr_thread_cond_broadcast(f->landed);
}

/* Wait for another caller's answer; the lock is held at both ends. */
static void flight_wait(casp_mailboxes_t *m, mailbox_flight_t *f,
                        mailbox_ask_t *ask)
{
    apr_interval_time_t bound =
        ask->deadline ? ask->deadline - ask->now : WAIT_MAX;
    apr_interval_time_t left = bound;

    f->waiters++;
    while (!f->done && left > 0) {
        apr_thread_cond_timedwait(f->landed, m->lock, left);
        /* By the clock's difference: "now" may be anybody's. */
        apr_interval_time_t spent = apr_time_now() - ask->started;
        left = spent < 0 ? 0 : bound - spent;
    }
    f->waiters--;
    if (!f->done) {
        ask_settle_without(m, ask,
                           "another request is asking the directory for "
                           "the same user and has no answer yet");
        return;
    }
    ask->found = f->found;
    ask->how = f->how;
    ask->record = mailbox_copy(ask->p, f->record);
    ask->why = f->why ? apr_pstrdup(ask->p, f->why) : NULL;
    if (ask->found == CASP_FIND_OK && !ask->record) {
        ask_settle_without(m, ask, "out of memory");
    }
    else {
        ask_count(m, ask->how);
    }
    if (f->waiters == 0) {
        flight_spare(m, f);
    }
}

/* -------------------------------------------------------- what comes back */

static const char *ask_ambiguous(const mailbox_ask_t *ask,
                                 const apr_array_header_t *entries)
{
    const char *why =
        apr_psprintf(ask->p,
                     "%d entries match %s, and only one may: ", entries->nelts,
                     mailbox_key_text(ask->p, ask->key));
    int i;

    for (i = 0; i < entries->nelts && i < 3; i++) {
        why = apr_pstrcat(ask->p, why, i ? "; " : "",
                          APR_ARRAY_IDX(entries, i, casp_entry_t *)->dn, NULL);
    }
    return entries->nelts > 3 ? apr_pstrcat(ask->p, why, "; ...", NULL) : why;
}

static bool has_sid(const casp_entry_t *e, const casp_user_key_t *key)
{
    const casp_attr_t *a = casp_entry_attr(e, "objectSid");
    return a && a->nvalues > 0 && a->values[0].len == key->len
           && memcmp(a->values[0].data, key->value, key->len) == 0;
}

/*
 * An account's entries: itself, and mailboxes whose master it is.  A mailbox
 * of its own is its mailbox; else its one linked mailbox is.  What only has
 * the SID left over from former days is neither.
 */
static apr_array_header_t *ask_account(const mailbox_ask_t *ask,
                                       apr_array_header_t *entries)
{
    apr_array_header_t *linked =
        apr_array_make(ask->p, 1, sizeof(casp_entry_t *));
    apr_array_header_t *self =
        apr_array_make(ask->p, 1, sizeof(casp_entry_t *));
    bool own = false;

    for (int i = 0; entries && i < entries->nelts; i++) {
        casp_entry_t *e = APR_ARRAY_IDX(entries, i, casp_entry_t *);
        const casp_mailbox_t *m =
            casp_mailbox_of_entry(ask->p, e, ask->t, ask->now);
        uint32_t flags = m ? m->flags : 0;

        if (has_sid(e, ask->key)) {
            APR_ARRAY_PUSH(self, casp_entry_t *) = e;
            own = own || (flags & CASP_MB_MAILBOX);
        }
        else if ((flags & CASP_MB_MAILBOX) && (flags & CASP_MB_LINKED)) {
            APR_ARRAY_PUSH(linked, casp_entry_t *) = e;
        }
    }
    return own || linked->nelts == 0 ? self : linked;
}

/* Make the source's answer ours.  @return did it answer at all? */
static bool ask_source(mailbox_ask_t *ask)
{
    apr_array_header_t *entries = NULL;
    casp_dir_e dir =
        ask->source->find(ask->source->baton, ask->p, ask->key, ask->t,
                          ask->deadline, &entries, &ask->why);

    ask->how = CASP_CACHE_MISS;
    if (dir != CASP_DIR_OK) {
        return false;
    }
    if (ask->key->kind == CASP_KEY_ACCOUNT) {
        entries = ask_account(ask, entries);
    }
    if (!entries || entries->nelts == 0) {
        ask->found = CASP_FIND_NONE;
        ask->why = NULL;
        return true;
    }
    if (entries->nelts > 1) {
        ask->found = CASP_FIND_AMBIGUOUS;
        ask->why = ask_ambiguous(ask, entries);
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0400) "%s", ask->why);
        return true;
    }
    const casp_entry_t *e = APR_ARRAY_IDX(entries, 0, casp_entry_t *);
    ask->record = casp_mailbox_of_entry(ask->p, e, ask->t, ask->now);
    if (!ask->record) {
        ask->why =
            apr_pstrcat(ask->p, "the entry is too big to be a user: ", e->dn,
                        NULL);
        casp_log(CASP_LOG_ERROR, APR_SUCCESS, CASPLOGNO(0401) "%s", ask->why);
        return false;
    }
    ask->found = CASP_FIND_OK;
    ask->why = NULL;
    return true;
}

/* ---------------------------------------------------------- second level */

/* @return a fresh record was there */
static bool ask_second(casp_mailboxes_t *m, mailbox_ask_t *ask,
                       const unsigned char key[SECOND_KEY])
{
    casp_mailbox_t *r = apr_palloc(ask->p, CASP_MAILBOX_MAX);
    apr_size_t len = m->second->get(m->second->baton, (const char *)key,
                                    SECOND_KEY, r, CASP_MAILBOX_MAX);

    if (len <= 1) { /* none, or forgotten */
        return false;
    }
    if (!casp_mailbox_valid(r, len)) {
        apr_thread_mutex_lock(m->lock);
        bool told = m->second_told;
        m->second_told = true;
        apr_thread_mutex_unlock(m->lock);
        casp_log(told ? CASP_LOG_DEBUG : CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0402) "the shared cache holds %" APR_SIZE_T_FMT
                                 " bytes that are no mailbox record; they "
                                 "are ignored",
                           len);
        return false;
    }
    ask->second_has = true;
    if (mailbox_fresh(m, r, ask->now)) {
        ask->record = r;
        ask->found = CASP_FIND_OK;
        ask->how = CASP_CACHE_HIT;
        return true;
    }
    if (mailbox_serves_stale(m, r, ask->now)
        && (!ask->old || ask->old->read_at < r->read_at)) {
        ask->old = r;
    }
    return false;
}

/* There is no removing from a second level: one byte is no record. */
static void second_forget(casp_mailboxes_t *m,
                          const unsigned char key[SECOND_KEY], apr_time_t now)
{
    m->second->put(m->second->baton, (const char *)key, SECOND_KEY, "-", 1,
                   now + m->conf.ttl + apr_time_from_sec(1));
}

/* -------------------------------------------------------------- tables */

/* Keep what was found; the lock is held. */
static void ask_keep(casp_mailboxes_t *m, const mailbox_ask_t *ask)
{
    /* Without a topology no domain and no home could be told: such an answer
     * serves once. */
    if (!ask->t) {
        return;
    }
    if (ask->found == CASP_FIND_OK) {
        casp_cache_remove(m->negatives, ask->name, ask->name_len);
        casp_cache_put(m->records, ask->name, ask->name_len, ask->record,
                       ask->record->size, ask->now,
                       mailbox_expires(m, ask->record));
        return;
    }
    casp_cache_remove(m->records, ask->name, ask->name_len);
    if (m->conf.negative <= 0 || !m->negatives) {
        return;
    }
    const char *why = ask->why ? ask->why : "";
    apr_size_t len = strlen(why);
    mailbox_negative_t *n = apr_palloc(ask->p, sizeof(*n) + len + 1);
    n->found = ask->found;
    memcpy(n->why, why, len + 1);
    casp_cache_put(m->negatives, ask->name, ask->name_len, n,
                   sizeof(*n) + len + 1, ask->now,
                   ask->now + m->conf.negative);
}

/* Keep an old record that was served in need, and leave the source alone for
 * a while; the lock is held. */
static void ask_hold(casp_mailboxes_t *m, const mailbox_ask_t *ask)
{
    casp_cached_t *e;
    apr_interval_time_t spent = apr_time_now() - ask->started;

    if (!ask->old) {
        return;
    }
    e = casp_cache_get(m->records, ask->name, ask->name_len, ask->now);
    if (!e) { /* it came from the second level, or was evicted meanwhile */
        casp_cache_put(m->records, ask->name, ask->name_len, ask->old,
                       ask->old->size, ask->now, mailbox_expires(m, ask->old));
        e = casp_cache_get(m->records, ask->name, ask->name_len, ask->now);
    }
    if (e) {
        e->hold = ask->now + (spent > 0 ? spent : 0) + HOLD_OFF;
    }
}

/* Is it in a table?  Fills ask->old; the lock is held. */
static bool ask_tables(casp_mailboxes_t *m, mailbox_ask_t *ask)
{
    casp_cached_t *e =
        casp_cache_get(m->records, ask->name, ask->name_len, ask->now);

    if (e) {
        const casp_mailbox_t *r = e->value;
        bool fresh = mailbox_fresh(m, r, ask->now);

        if (!fresh && !mailbox_serves_stale(m, r, ask->now)) {
            return false;
        }
        casp_mailbox_t *copy = mailbox_copy(ask->p, r);
        if (!fresh
            && (e->hold <= ask->now || e->hold > ask->now + CLOCK_SKEW)) {
            ask->old = copy;
            return false;
        }
        ask->record = copy;
        ask->found = CASP_FIND_OK;
        ask->how = fresh ? CASP_CACHE_HIT : CASP_CACHE_STALE;
        ask->why = fresh ? NULL : "the directory did not answer just now";
        ask_count(m, ask->how);
        return true;
    }
    e = casp_cache_get(m->negatives, ask->name, ask->name_len, ask->now);
    /* A clock set back must not make a name unknown for hours. */
    if (e && e->expires - ask->now <= m->conf.negative + CLOCK_SKEW) {
        const mailbox_negative_t *n = e->value;
        ask->found = n->found;
        ask->how = CASP_CACHE_NEGATIVE;
        ask->why = *n->why ? apr_pstrdup(ask->p, n->why) : NULL;
        ask_count(m, ask->how);
        return true;
    }
    return false;
}

/* ------------------------------------------------------------- look-ups */

/* Said once when the source goes away and once when it is back; the lock is
 * held for the first, and the second speaks without it. */
static int source_turned(casp_mailboxes_t *m, bool answered)
{
    if (answered == !m->down) {
        return 0;
    }
    m->down = !answered;
    return answered ? 1 : -1;
}

static void source_tell(int turned, const char *why)
{
    if (turned < 0) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0403) "a user could not be looked up (%s); known "
                                 "mailboxes are served from the cache",
                           why ? why : "no reason given");
    }
    else if (turned > 0) {
        casp_log(CASP_LOG_NOTICE, APR_SUCCESS,
                 CASPLOGNO(0404) "users can be looked up again");
    }
}

/* Ask the second level and the source for all who wait.  The lock is held
 * when this begins, and given back. */
static void ask_fly(casp_mailboxes_t *m, mailbox_ask_t *ask)
{
    unsigned char key[SECOND_KEY];
    bool second = m->second != NULL;

    /* NULL where there is no memory: then we ask for ourselves only. */
    mailbox_flight_t *f = flight_start(m, ask->name, ask->name_len);
    apr_thread_mutex_unlock(m->lock);

    second =
        second && mailbox_second_key(m, ask->p, ask->name, ask->name_len, key);
    bool from_second = second && ask_second(m, ask, key);
    bool answered = from_second || ask_source(ask);
    bool had = ask->old != NULL || ask->second_has;
    if (answered && !from_second && second && ask->t) {
        if (ask->found == CASP_FIND_OK) {
            m->second->put(m->second->baton, (const char *)key, SECOND_KEY,
                           ask->record, ask->record->size,
                           mailbox_expires(m, ask->record));
        }
        else if (had) {
            second_forget(m, key, ask->now);
        }
    }

    const char *trouble = ask->why;
    apr_thread_mutex_lock(m->lock);
    int turned = from_second ? 0 : source_turned(m, answered);
    if (answered) {
        m->stats.second += from_second;
        ask_count(m, ask->how);
        ask_keep(m, ask);
    }
    else {
        ask_settle_without(m, ask, trouble);
        ask_hold(m, ask);
    }
    if (f) {
        flight_land(m, f, ask);
    }
    apr_thread_mutex_unlock(m->lock);
    source_tell(turned, trouble);
}

casp_find_e casp_mailboxes_find(casp_mailboxes_t *m, apr_pool_t *p,
                                const casp_user_source_t *source,
                                const casp_topology_t *t,
                                const casp_user_key_t *key, apr_time_t now,
                                apr_time_t deadline,
                                const casp_mailbox_t **mailbox,
                                casp_cache_e *how, const char **why)
{
    mailbox_ask_t ask = {.p = p,
                         .key = key,
                         .source = source,
                         .t = t,
                         .now = now,
                         .deadline = deadline,
                         .started = apr_time_now(),
                         .found = CASP_FIND_NONE,
                         .how = CASP_CACHE_MISS};

    ask.name = mailbox_name(p, key, &ask.name_len);
    if (ask.name) {
        apr_thread_mutex_lock(m->lock);
        mailbox_flight_t *f = NULL;
        bool known = ask_tables(m, &ask);
        if (!known) {
            f = flight_find(m, ask.name, ask.name_len);
        }
        if (f) {
            flight_wait(m, f, &ask);
        }
        if (known || f) {
            apr_thread_mutex_unlock(m->lock);
        }
        else {
            ask_fly(m, &ask);
        }
    }
    *mailbox = ask.record;
    *how = ask.how;
    *why = ask.why;
    return ask.found;
}

void casp_mailboxes_forget(casp_mailboxes_t *m, const casp_user_key_t *key)
{
    unsigned char second[SECOND_KEY];
    apr_size_t len;
    apr_pool_t *p;

    /* Without a parent, so that no lock of another pool's is needed. */
    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    const char *name = mailbox_name(p, key, &len);
    if (name) {
        apr_thread_mutex_lock(m->lock);
        casp_cache_remove(m->records, name, len);
        casp_cache_remove(m->negatives, name, len);
        apr_thread_mutex_unlock(m->lock);
        if (m->second && mailbox_second_key(m, p, name, len, second)) {
            second_forget(m, second, apr_time_now());
        }
    }
    apr_pool_destroy(p);
}

/* ----------------------------------------------------------- life, counts */

static apr_status_t mailboxes_cleanup(void *data)
{
    casp_mailboxes_t *m = data;

    casp_cache_destroy(m->records);
    casp_cache_destroy(m->negatives);
    m->records = NULL;
    m->negatives = NULL;
    return APR_SUCCESS;
}

casp_mailboxes_t *casp_mailboxes_create(apr_pool_t *p,
                                        const casp_mailbox_conf_t *conf,
                                        const casp_cache2_t *second,
                                        const char *org_key)
{
    casp_mailboxes_t *m = apr_pcalloc(p, sizeof(*m));
    apr_allocator_t *allocator;

    /* Flights are made of this pool while requests run, so that it shares no
     * allocator with a pool that other threads use. */
    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create_ex(&m->pool, p, NULL, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, m->pool);
    if (apr_thread_mutex_create(&m->lock, APR_THREAD_MUTEX_DEFAULT, m->pool)
        != APR_SUCCESS) {
        return NULL;
    }
    m->conf = *conf;
    m->second = second;
    m->org_key = apr_pstrdup(m->pool, org_key ? org_key : "");
    m->records = casp_cache_create(conf->size);
    m->negatives = casp_cache_create(conf->size > 0 ? conf->size / 4 + 1 : 0);
    apr_pool_cleanup_register(m->pool, m, mailboxes_cleanup,
                              apr_pool_cleanup_null);
    if (conf->size > 0 && (!m->records || !m->negatives)) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0405) "no memory for a table of %d mailboxes: "
                                 "every request will ask the directory; "
                                 "choose a smaller CasProxyMailboxCache size",
                           conf->size);
    }
    return m;
}

void casp_mailboxes_stats(casp_mailboxes_t *m, casp_mailbox_stats_t *stats)
{
    apr_thread_mutex_lock(m->lock);
    *stats = m->stats;
    stats->records = casp_cache_count(m->records);
    stats->negatives = casp_cache_count(m->negatives);
    stats->evictions =
        casp_cache_evictions(m->records) + casp_cache_evictions(m->negatives);
    apr_thread_mutex_unlock(m->lock);
}
