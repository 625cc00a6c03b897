/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * dirrelay.c - somebody else's handshake, relayed in a SASL bind: a client's
 * tokens go to a domain controller, its challenges come back, and at the end
 * the connection is the client's.  All that is asked on it is who that is.
 *
 * The server judges, and the server says who it was: rootDSE's tokenGroups,
 * asked on that very connection, begins with the user's own SID.  What the
 * messages claim is never read.
 *
 * Such connections are a kind of their own.  One whose handshake has come to
 * an end may be kept: the next one's first message binds it anew.  One that is
 * given up half way is closed, because to the server a next bind might be the
 * next step.
 *
 * Must not: choose another server once a handshake has begun; search.
 */

#include <string.h>

#include <apr_strings.h>

#include "dirpool.h"

#define MECHANISM "GSS-SPNEGO" /* AD takes bare NTLM in it too */
/* SEC_E_BAD_BINDINGS, where AD says "data 52e" at other times. */
#define NO_CHANNEL_BINDING 0x80090346L
#define TOKEN_MAX (64 * 1024)

struct casp_relay_t {
    casp_dirpool_t *pool; /* lent: it may have stopped meanwhile */
    casp_slot_t *slot;
    bool over; /* the handshake, in a way that leaves no trace */
};

/* One token on its way. */
typedef struct {
    apr_pool_t *p;
    const void *token;
    apr_size_t len;
    casp_relay_e outcome;
    casp_relayed_t *told;
} relaying_t;

/* ------------------------------------------------------------- who was it? */

static const casp_entry_t *read_one(casp_link_t *link, apr_pool_t *p,
                                    const char *base, const char *attr,
                                    apr_time_t deadline, casp_dirwhy_t *why)
{
    const char *const attrs[] = {attr, NULL};
    const casp_search_t search = {base, LDAP_SCOPE_BASE, NULL, attrs, 1,
                                  false};
    apr_array_header_t *entries = NULL;
    casp_wire_e wire =
        casp_dirask_search(link, p, &search, base, deadline, &entries, why);
    return wire == CASP_WIRE_OK && entries->nelts == 1
               ? APR_ARRAY_IDX(entries, 0, const casp_entry_t *)
               : NULL;
}

/* A domain's account: S-1-5-21-a-b-c-rid.  "Anonymous" is S-1-5-7, and the
 * server lets it bind. */
static bool of_account(const unsigned char *sid, apr_size_t len)
{
    static const unsigned char head[] = {1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0};
    return len == 28 && memcmp(sid, head, sizeof(head)) == 0;
}

/* The account's own name: the mailbox may be another object's, which is
 * linked to this one, and that has another name.  Without it the SID does. */
static void read_name(casp_link_t *link, apr_pool_t *p, apr_time_t deadline,
                      casp_relayed_t *told)
{
    char *hex = apr_palloc(p, 2 * told->sid_len + 1);
    for (apr_size_t i = 0; i < told->sid_len; i++) {
        apr_snprintf(hex + 2 * i, 3, "%02x", told->sid[i]);
    }
    casp_dirwhy_t ignored;
    const casp_entry_t *e =
        read_one(link, p, apr_pstrcat(p, "<SID=", hex, ">", NULL),
                 "sAMAccountName", deadline, &ignored);
    const char *sam = e ? casp_entry_str(e, "sAMAccountName") : NULL;
    char *domain = NULL;
    if (sam && ldap_dn2domain(e->dn, &domain) == 0 && domain) {
        told->name = apr_pstrcat(p, sam, "@", domain, NULL);
    }
    ldap_memfree(domain);
}

static casp_relay_e identify(casp_link_t *link, apr_pool_t *p,
                             apr_time_t deadline, casp_relayed_t *told,
                             casp_dirwhy_t *why)
{
    casp_dirwhy_t inner;
    *inner.text = '\0';
    const casp_entry_t *e =
        read_one(link, p, "", "tokenGroups", deadline, &inner);
    const casp_attr_t *a = e ? casp_entry_attr(e, "tokenGroups") : NULL;
    if (!a || a->nvalues < 1) {
        link->broken = true;
        casp_dirwire_say(why,
                         "the directory accepts the logon, but does not say "
                         "whose it is (tokenGroups of its rootDSE)%s%s",
                         *inner.text ? ": " : "", inner.text);
        return CASP_RELAY_UNAVAILABLE;
    }
    const unsigned char *sid = (const unsigned char *)a->values[0].data;
    if (!of_account(sid, a->values[0].len)) {
        casp_dirwire_say(why, "an anonymous handshake, or one of no account "
                              "of a domain");
        told->pw = CASP_PW_WRONG;
        return CASP_RELAY_REFUSED;
    }
    told->sid_len = a->values[0].len;
    memcpy(told->sid, sid, told->sid_len);
    read_name(link, p, deadline, told);
    return CASP_RELAY_OK;
}

/* --------------------------------------------------------------- one token */

/* Codes by which a server forbids the way to ask, whatever the password. */
static const char *forbidden(int code, const char *diag)
{
    if (casp_dirask_data_code(diag) == NO_CHANNEL_BINDING) {
        return "it enforces LDAP channel binding "
               "(LdapEnforceChannelBinding)";
    }
    switch (code) {
    case LDAP_STRONG_AUTH_REQUIRED:
        return "it enforces LDAP signing (\"LDAP server signing "
               "requirements\", Samba's ldap server require strong auth)";
    case LDAP_UNWILLING_TO_PERFORM:
    case LDAP_CONFIDENTIALITY_REQUIRED:
        return "the client asks for signing, which a relay inside TLS cannot "
               "have, or its policy forbids this bind";
    case LDAP_INAPPROPRIATE_AUTH:
        return "it enforces LDAP channel binding or signing";
    case LDAP_AUTH_METHOD_NOT_SUPPORTED:
        return "it knows no bind by " MECHANISM;
    default:
        return NULL;
    }
}

static casp_wire_e judge(casp_link_t *link, const relaying_t *r, int code,
                         const char *diag, casp_relay_e *outcome,
                         casp_dirwhy_t *why)
{
    const char *policy = forbidden(code, diag);
    *outcome = CASP_RELAY_UNAVAILABLE;
    if (code == LDAP_BUSY || code == LDAP_UNAVAILABLE) {
        casp_dirwire_say(why, "%s", ldap_err2string(code));
        link->broken = true;
        return CASP_WIRE_DOWN;
    }
    if (policy) {
        *outcome = CASP_RELAY_POLICY;
        casp_dirwire_say(why,
                         "the directory refuses a relayed bind: %s; use "
                         "CasProxyNTLMVerify Winbind (%s%s%s)",
                         policy, ldap_err2string(code),
                         diag && *diag ? ": " : "", diag ? diag : "");
        link->broken = true;
        return CASP_WIRE_OK;
    }
    r->told->pw = casp_dirask_judge(code, diag, why);
    if (r->told->pw != CASP_PW_UNAVAILABLE) {
        *outcome = CASP_RELAY_REFUSED;
    }
    else {
        link->broken = true;
    }
    return CASP_WIRE_OK;
}

static casp_wire_e relay_token(casp_link_t *link, apr_time_t deadline,
                               relaying_t *r, casp_dirwhy_t *why)
{
    const struct berval cred = {r->len, (char *)(uintptr_t)r->token};
    struct berval *said = NULL;
    int code = LDAP_OTHER;
    char *diag = NULL;
    memset(r->told, 0, sizeof(*r->told));
    r->outcome = CASP_RELAY_UNAVAILABLE;
    casp_wire_e wire = casp_dirwire_sasl(link, "", MECHANISM, &cred, deadline,
                                         &code, &diag, &said, why);
    if (said && said->bv_len > 0 && said->bv_len <= TOKEN_MAX) {
        r->told->out = apr_pmemdup(r->p, said->bv_val, said->bv_len);
        r->told->out_len = said->bv_len;
    }
    if (wire != CASP_WIRE_OK) {
        /* nobody has judged */
    }
    else if (code == LDAP_SASL_BIND_IN_PROGRESS && !r->told->out) {
        casp_dirwire_say(why, "the answer to the bind is not as it should be");
        wire = casp_dirwire_broken(link, deadline);
    }
    else if (code == LDAP_SASL_BIND_IN_PROGRESS) {
        r->outcome = CASP_RELAY_MORE;
    }
    else if (code == LDAP_SUCCESS) {
        r->outcome = identify(link, r->p, deadline, r->told, why);
    }
    else {
        wire = judge(link, r, code, diag, &r->outcome, why);
    }
    ber_bvfree(said);
    ldap_memfree(diag);
    return wire;
}

/* ------------------------------------------------------------ the promises */

static casp_wire_e ask_begin(casp_link_t *link, apr_time_t deadline,
                             void *baton, casp_dirwhy_t *why)
{
    relaying_t *r = baton;
    casp_wire_e wire = relay_token(link, deadline, r, why);
    link->held = wire == CASP_WIRE_OK && r->outcome == CASP_RELAY_MORE;
    return wire;
}

casp_relay_e casp_dirrelay_begin(casp_directory_t *dir, apr_pool_t *p,
                                 const void *token, apr_size_t len,
                                 apr_time_t deadline, casp_relay_t **relay,
                                 casp_relayed_t *told)
{
    relaying_t r = {p, token, len, CASP_RELAY_UNAVAILABLE, told};
    casp_slot_t *slot = NULL;
    const char *why = NULL;
    *relay = NULL;
    memset(told, 0, sizeof(*told));
    casp_wire_e wire = casp_directory_run(dir, p, CASP_LINK_RELAY, deadline,
                                          ask_begin, &r, &slot, &why);
    told->why = why;
    if (slot) {
        *relay = casp_dirpool_grab(sizeof(**relay));
        (*relay)->pool = casp_dirpool_link(slot)->pool;
        (*relay)->slot = slot;
    }
    return wire == CASP_WIRE_OK ? r.outcome : CASP_RELAY_UNAVAILABLE;
}

casp_relay_e casp_directory_relay_begin(casp_directory_t *dir, apr_pool_t *p,
                                        const void *token, apr_size_t len,
                                        apr_time_t deadline,
                                        casp_relay_t **relay,
                                        casp_relayed_t *told)
{
    if (!casp_directory_all_tls(dir)) {
        *relay = NULL;
        memset(told, 0, sizeof(*told));
        told->why = "a handshake is relayed over TLS only: name ldaps:// in "
                    "CasProxyDirectory, or set CasProxyDirectoryTLS StartTLS; "
                    "or use CasProxyNTLMVerify Winbind";
        return CASP_RELAY_UNAVAILABLE;
    }
    return casp_dirrelay_begin(dir, p, token, len, deadline, relay, told);
}

casp_relay_e casp_directory_relay_step(casp_relay_t *relay, apr_pool_t *p,
                                       const void *token, apr_size_t len,
                                       apr_time_t deadline,
                                       casp_relayed_t *told)
{
    relaying_t r = {p, token, len, CASP_RELAY_UNAVAILABLE, told};
    casp_link_t *link = casp_dirpool_link(relay->slot);
    casp_dirwhy_t why;
    *why.text = '\0';
    memset(told, 0, sizeof(*told));
    if (link->broken || relay->over || !casp_dirpool_enter(relay->pool)) {
        told->why = "the directory is stopping, or this handshake has ended";
        return CASP_RELAY_UNAVAILABLE;
    }
    casp_dirpool_arm(link, deadline);
    casp_wire_e wire = relay_token(link, deadline, &r, &why);
    bool fine = casp_dirpool_disarm(link);
    casp_dirpool_leave(relay->pool);
    if (!fine || wire != CASP_WIRE_OK) {
        /* Never another server: half of the handshake is known here only. */
        link->broken = true;
        r.outcome = CASP_RELAY_UNAVAILABLE;
    }
    relay->over =
        r.outcome == CASP_RELAY_OK || r.outcome == CASP_RELAY_REFUSED;
    told->why = *why.text ? apr_pstrdup(p, why.text) : NULL;
    return r.outcome;
}

void casp_directory_relay_end(casp_relay_t *relay)
{
    if (!relay) {
        return;
    }
    casp_link_t *link = casp_dirpool_link(relay->slot);
    link->held = false;
    link->broken |= !relay->over;
    casp_dirpool_return(relay->pool, relay->slot);
    free(relay);
}
