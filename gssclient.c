/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * gssclient.c - this front as a client of its backends.
 *
 * Kerberos: a user's seat in gsscache.c says whether tickets are kept, and
 * who asks the KDC where they are not; gsstickets.c asks it.  A seat belongs
 * to a user and one password, of which only a keyed hash is kept: another
 * password is another seat, so that nobody gets a token for tickets that
 * somebody else's password bought.
 *
 * NTLM is gssntlm.c's.
 *
 * Must not: log a password or a token, keep either, or wait without a bound
 * where the wait is its own.
 */

#include "gssclient.h"

#include <stdlib.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "gsscache.h"
#include "gsstickets.h"

#define USERS 10000
#define NAME_MAX_LEN 255 /* of a user, a realm */
#define PASSWORD_MAX_LEN 1024

/* A turn takes less than a client's patience; a KDC's no is believed long
 * enough to keep a broken set-up from asking for every request, and short
 * enough for the administrator who has just mended it. */
static const casp_gss_times_t times = {
    .turn = APR_USEC_PER_SEC * 6,
    .inside = APR_USEC_PER_SEC * 5,
    .slow = APR_USEC_PER_SEC * 4,
    .rest = APR_USEC_PER_SEC * 10,
    .refused = APR_USEC_PER_SEC * 10,
};

struct casp_gss_t {
    casp_gss_cache_t *cache;
    casp_gss_seat_t *front; /* this front's own tickets */
    char *keytab;
    unsigned char key[32];
    casp_gss_stats_t stats;
    volatile apr_uint32_t refs; /* the pool, and every call in progress */
};

/* ------------------------------------------------------------------- life */

static void let_go(casp_gss_t *g)
{
    if (!apr_atomic_dec32(&g->refs)) {
        casp_gss_seat_leave(g->front);
        OPENSSL_cleanse(g->key, sizeof(g->key));
        free(g->keytab);
        free(g);
    }
}

static apr_status_t end(void *data)
{
    casp_gss_t *g = data;

    casp_gss_cache_end(g->cache);
    let_go(g);
    return APR_SUCCESS;
}

casp_gss_t *casp_gss_create(apr_pool_t *p, const casp_gss_conf_t *conf)
{
    casp_gss_t *g = calloc(1, sizeof(*g));

    if (g && RAND_bytes(g->key, sizeof(g->key)) == 1
        && (!conf->keytab || (g->keytab = strdup(conf->keytab)))) {
        g->cache =
            casp_gss_cache_create(conf->size > 0 ? conf->size : USERS, &times);
        g->front = g->cache ? casp_gss_seat_alone(g->cache) : NULL;
    }
    if (!g || !g->front) {
        casp_log(
            CASP_LOG_ERROR, APR_SUCCESS,
            CASPLOGNO(0732) "no Kerberos and no delegation in this "
                      "process: no memory, or OpenSSL has no random numbers");
        if (g) {
            if (g->cache) {
                casp_gss_cache_end(g->cache);
            }
            free(g->keytab);
            free(g);
        }
        return NULL;
    }
    g->refs = 1;
    apr_pool_cleanup_register(p, g, end, apr_pool_cleanup_null);
    return g;
}

const casp_gss_stats_t *casp_gss_stats(const casp_gss_t *g)
{
    static const casp_gss_stats_t none;
    return g ? &g->stats : &none;
}

void casp_gss_forget(casp_gss_t *g, const casp_guid_t *user)
{
    if (g) {
        casp_gss_cache_forget(g->cache, user);
    }
}

/* ----------------------------------------------------------- one question */

/* One call: who wants a token for what. */
typedef struct {
    casp_gss_t *g;
    const casp_gss_user_t *user;
    bool delegate;
    casp_kdc_ask_t kdc;
    casp_gss_token_t *out;
    bool stale; /* what was kept is no good: a clock was set, say */
} ask_t;

/* SHA-256 keyed; every part with its length, so that none runs into the
 * next. */
static bool tag_of(const ask_t *a, unsigned char tag[CASP_GSS_TAG])
{
    const struct {
        const void *data;
        apr_size_t len;
    } parts[] = {{a->delegate ? "D" : "P", 1},
                 {a->kdc.user, strlen(a->kdc.user)},
                 {a->kdc.realm, strlen(a->kdc.realm)},
                 {a->user->password, a->delegate ? 0 : a->user->password_len}};
    unsigned char text[3 * NAME_MAX_LEN + PASSWORD_MAX_LEN];
    unsigned char *at = text;
    unsigned len = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        *at++ = (unsigned char)(parts[i].len >> 8);
        *at++ = (unsigned char)(parts[i].len & 0xff);
        if (parts[i].len) {
            memcpy(at, parts[i].data, parts[i].len);
            at += parts[i].len;
        }
    }
    bool ok = HMAC(EVP_sha256(), a->g->key, sizeof(a->g->key), text,
                   (size_t)(at - text), tag, &len)
              && len == CASP_GSS_TAG;
    OPENSSL_cleanse(text, sizeof(text));
    return ok;
}

static casp_gss_e told(casp_gss_token_t *out, casp_gss_e rc, const char *why)
{
    out->why = why;
    return rc;
}

static bool too_long(const char *name)
{
    return strlen(name) > NAME_MAX_LEN;
}

/* @return NULL, or what no KDC need be asked about */
static const char *wanting(const ask_t *a, const char *host)
{
    const casp_gss_user_t *u = a->user;

    if (!u->sam || !*u->sam || too_long(u->sam)) {
        return "the user has no sAMAccountName that could log on";
    }
    if (!u->realm || !*u->realm || too_long(u->realm)) {
        return "the user's domain is not known; name it in "
               "CasProxyDefaultDomain";
    }
    if (!host || !casp_spn_host(host)) {
        return "the backend's host name cannot be part of an SPN; use its "
               "DNS name in the InternalURL";
    }
    if (!a->delegate && (!u->password || !u->password_len)) {
        return "no password is at hand; Kerberos without one needs "
               "CasProxyBackendAuth Delegate and a CasProxyKeytab";
    }
    if (!a->delegate
        && (u->password_len > PASSWORD_MAX_LEN
            || memchr(u->password, '\0', u->password_len))) {
        return "the password is no text that Kerberos takes";
    }
    if (a->delegate && !a->g->keytab) {
        return "delegation needs a keytab; name one in CasProxyKeytab";
    }
    return NULL;
}

static void capitals(char *text)
{
    for (; *text; text++) {
        *text = apr_toupper(*text);
    }
}

/* ----------------------------------------------------------- asking a KDC */

/* Somebody did not answer, or somebody did. */
static void note_realm(const ask_t *a, const char *realm, bool silent,
                       const char *why)
{
    if (silent && casp_gss_cache_rest(a->g->cache, realm)) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0730) "%s; it is asked again after %d seconds", why,
                           (int)apr_time_sec(times.rest));
    }
    if (!silent && casp_gss_cache_awake(a->g->cache, realm)) {
        casp_log(CASP_LOG_NOTICE, APR_SUCCESS,
                 CASPLOGNO(0731) "a KDC of %s answers again", realm);
    }
}

static casp_gss_e late(casp_kdc_ask_t *kdc)
{
    kdc->why = apr_psprintf(kdc->p,
                            "the KDC of %s is slow and too many wait for it; "
                            "look at the domain controllers",
                            kdc->realm);
    kdc->silent = false;
    return CASP_GSS_UNAVAILABLE;
}

static casp_gss_e resting(casp_kdc_ask_t *kdc)
{
    kdc->why = apr_psprintf(kdc->p,
                            "no KDC of %s answers at present; it is asked "
                            "again soon",
                            kdc->realm);
    kdc->silent = false;
    return CASP_GSS_UNAVAILABLE;
}

/* A KDC refused a moment ago. */
static casp_gss_e again(casp_kdc_ask_t *kdc, casp_gss_e verdict, char *why)
{
    kdc->why = apr_pstrdup(kdc->p, why ? why : "a KDC refused");
    free(why);
    return verdict;
}

/*
 * This front's own tickets: kept, or got by this thread, which then stands at
 * a KDC already and needs no further leave.
 */
static casp_gss_e front_tickets(const ask_t *a, casp_kdc_ask_t *own,
                                casp_gss_login_t **login)
{
    casp_gss_seat_t *seat = a->g->front;
    casp_tickets_t *tickets = NULL;
    casp_gss_e verdict;
    char *why;

    switch (casp_gss_seat_turn(seat, NULL, login, &verdict, &why)) {
    case CASP_TURN_KEPT:
        return CASP_GSS_OK;
    case CASP_TURN_REFUSED:
        return again(own, verdict, why);
    case CASP_TURN_LATE:
        return late(own);
    case CASP_TURN_ASK:
        break;
    }
    casp_gss_e rc = casp_tickets_keytab(own, &tickets);
    if (rc == CASP_GSS_OK
        && !(*login =
                 casp_gss_login_make(tickets, casp_tickets_end, own->life))) {
        own->why = "there is no memory";
        rc = CASP_GSS_MISSING;
    }
    if (rc == CASP_GSS_OK) {
        casp_gss_seat_landed(seat, *login, NULL, 0);
    }
    else if (rc != CASP_GSS_UNAVAILABLE
             || !(*login = casp_gss_seat_failed(seat, NULL))) {
        casp_gss_seat_refused(seat, NULL, rc, own->why);
    }
    note_realm(a, own->realm, own->silent, own->why);
    return *login ? CASP_GSS_OK : rc;
}

/* First tickets in the user's name. */
static casp_gss_e user_tickets(ask_t *a, casp_tickets_t **tickets)
{
    if (!a->delegate) {
        return casp_tickets_password(&a->kdc, a->user->password,
                                     a->user->password_len, tickets);
    }
    /* what goes wrong here is the front's affair: another account, another
     * realm, other sentences */
    casp_kdc_ask_t own = {
        .p = a->kdc.p, .keytab = a->kdc.keytab, .realm = a->kdc.realm};
    casp_gss_login_t *login = NULL;
    casp_gss_e rc = front_tickets(a, &own, &login);
    if (rc != CASP_GSS_OK) {
        a->kdc.why = own.why;
        a->kdc.silent = false;
        return rc;
    }
    rc = casp_tickets_impersonate(&a->kdc, casp_gss_login_tickets(login),
                                  tickets);
    casp_gss_login_drop(a->g->cache, login);
    return rc;
}

/* All that a token needs, from the KDC.  @a login: what is there already. */
static casp_gss_e fetch(ask_t *a, casp_gss_login_t **login)
{
    bool shared = *login != NULL;

    if (!*login) {
        casp_tickets_t *tickets = NULL;
        casp_gss_e rc = user_tickets(a, &tickets);
        if (rc != CASP_GSS_OK) {
            return rc;
        }
        *login = casp_gss_login_make(tickets, casp_tickets_end, a->kdc.life);
        if (!*login) {
            a->kdc.why = "there is no memory";
            return CASP_GSS_MISSING;
        }
    }
    return casp_tickets_token(&a->kdc, casp_gss_login_tickets(*login), shared,
                              a->out);
}

/* It is this thread's turn: ask, and tell those who wait. */
static casp_gss_e ask(ask_t *a, casp_gss_seat_t *seat, casp_gss_login_t *login)
{
    casp_gss_cache_t *cache = a->g->cache;
    casp_kdc_ask_t *kdc = &a->kdc;
    const char *host = kdc->host;
    casp_gss_e rc;
    int place = -1;

    apr_atomic_inc32(&a->g->stats.misses);
    if (casp_gss_cache_resting(cache, kdc->realm)) {
        rc = resting(kdc);
    }
    else if ((place = casp_gss_cache_inside(cache, kdc->realm)) < 0) {
        rc = late(kdc);
    }
    else {
        rc = fetch(a, &login);
        casp_gss_cache_outside(cache, place);
        if (rc != CASP_GSS_UNAVAILABLE || kdc->silent) {
            note_realm(a, kdc->realm, kdc->silent, kdc->why);
        }
    }
    if (rc == CASP_GSS_OK) {
        casp_gss_seat_landed(seat, login, host, kdc->life);
    }
    else if (rc != CASP_GSS_UNAVAILABLE) {
        casp_gss_seat_refused(seat, kdc->of_host ? host : NULL, rc, kdc->why);
    }
    else {
        /* old tickets that are still good are better than none */
        casp_gss_login_t *old = casp_gss_seat_failed(seat, host);
        if (old) {
            rc = casp_tickets_token(kdc, casp_gss_login_tickets(old), true,
                                    a->out);
            casp_gss_login_drop(cache, old);
        }
    }
    if (login) {
        casp_gss_login_drop(cache, login);
    }
    return rc;
}

static casp_gss_e at_seat(ask_t *a, casp_gss_seat_t *seat)
{
    casp_gss_login_t *login = NULL;
    casp_gss_e rc = CASP_GSS_REFUSED;
    char *why = NULL;

    switch (casp_gss_seat_turn(seat, a->kdc.host, &login, &rc, &why)) {
    case CASP_TURN_KEPT:
        apr_atomic_inc32(&a->g->stats.hits);
        rc = casp_tickets_token(&a->kdc, casp_gss_login_tickets(login), false,
                                a->out);
        casp_gss_login_drop(a->g->cache, login);
        a->stale = rc != CASP_GSS_OK;
        return rc;
    case CASP_TURN_REFUSED:
        return again(&a->kdc, rc, why);
    case CASP_TURN_LATE:
        return late(&a->kdc);
    case CASP_TURN_ASK:
        break;
    }
    return ask(a, seat, login);
}

static casp_gss_e token_for(ask_t *a)
{
    unsigned char tag[CASP_GSS_TAG];

    if (!tag_of(a, tag)) {
        return told(a->out, CASP_GSS_MISSING, "OpenSSL has no SHA-256");
    }
    casp_gss_seat_t *seat =
        casp_gss_seat_enter(a->g->cache, &a->user->user, tag);
    OPENSSL_cleanse(tag, sizeof(tag));
    if (!seat) {
        return told(a->out, CASP_GSS_UNAVAILABLE, "this process is going");
    }
    casp_gss_e rc = at_seat(a, seat);
    casp_gss_seat_leave(seat);
    if (a->stale) {
        casp_gss_cache_forget(a->g->cache, &a->user->user);
    }
    return rc;
}

static casp_gss_e kerberos(casp_gss_t *g, apr_pool_t *p,
                           const casp_gss_user_t *user, const char *host,
                           bool delegate, casp_gss_token_t *out)
{
    memset(out, 0, sizeof(*out));
    if (!g) {
        return told(out, CASP_GSS_MISSING, "Kerberos could not be prepared");
    }
    ask_t a = {.g = g, .user = user, .delegate = delegate, .out = out};
    const char *lack = wanting(&a, host);
    if (lack) {
        return told(out, CASP_GSS_MISSING, lack);
    }
    char *realm = apr_pstrdup(p, user->realm);
    char *lower = apr_pstrdup(p, host);
    capitals(realm);
    for (char *c = lower; *c; c++) {
        *c = apr_tolower(*c);
    }
    a.kdc.p = p;
    a.kdc.user = user->sam;
    a.kdc.realm = realm;
    a.kdc.host = lower;
    a.kdc.keytab = g->keytab;

    apr_atomic_inc32(&g->refs);
    casp_gss_e rc = token_for(&a);
    if (a.stale) {
        a.stale = false;
        rc = token_for(&a);
    }
    if (rc != CASP_GSS_OK) {
        out->token = NULL;
        out->len = 0;
        out->why = a.kdc.why ? a.kdc.why : out->why;
        apr_atomic_inc32(rc == CASP_GSS_UNAVAILABLE ? &g->stats.unavailable
                                                    : &g->stats.refused);
    }
    let_go(g);
    return rc;
}

casp_gss_e casp_gss_kerberos(casp_gss_t *g, apr_pool_t *p,
                             const casp_gss_user_t *user, const char *host,
                             casp_gss_token_t *out)
{
    return kerberos(g, p, user, host, false, out);
}

casp_gss_e casp_gss_delegate(casp_gss_t *g, apr_pool_t *p,
                             const casp_gss_user_t *user, const char *host,
                             casp_gss_token_t *out)
{
    return kerberos(g, p, user, host, true, out);
}
