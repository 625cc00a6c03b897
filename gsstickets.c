/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * gsstickets.c - tickets from a KDC, and tokens from tickets.
 *
 * First tickets are got with libkrb5 itself, not with
 * gss_acquire_cred_with_password(): that keeps the password in clear for as
 * long as the credential lives, and this gives exact error codes and one
 * attempt only, so that a wrong password is counted once towards a lock-out.
 * Even so libkrb5 copies the password while it works; it wipes its copy with
 * the context that is freed here at once, but not every buffer on the way.
 *
 * Tickets lie in MEMORY caches of our own unique names: no environment
 * variable, no file and no default cache has a say.  Names of hosts are taken
 * as the directory spells them, as Windows does; DNS is not asked to make
 * them canonical.
 *
 * Must not: keep a password, or touch a store that it has not made.
 */

#include "gsstickets.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <openssl/crypto.h>

#define SPN_HOST_MAX 255
#define DER_HEAD 6 /* a tag and the longest length written here */

struct casp_tickets_t {
    char *cache; /* "MEMORY:..." */
    gss_cred_id_t cred; /* shared by threads; the library locks it */
    char *owner; /* of a keytab's: "svc-cas@CONTOSO.TEST" */
    char *account; /* who acts, where they are in another's name */
    bool may_forward;
};

/* ---------------------------------------------------------------- errors */

static casp_gss_e krb_no(casp_kdc_ask_t *ask, casp_step_e step,
                         krb5_context ctx, krb5_error_code code)
{
    const char *text = ctx ? krb5_get_error_message(ctx, code) : "";
    casp_gss_e rc = casp_kdc_explain(ask, step, code, text);
    if (ctx) {
        krb5_free_error_message(ctx, text);
    }
    return rc;
}

static casp_gss_e gss_no(casp_kdc_ask_t *ask, casp_step_e step,
                         OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc words = GSS_C_EMPTY_BUFFER;
    const char *text = "";
    bool of_mech = minor != 0;

    gss_display_status(&ignored, of_mech ? minor : major,
                       of_mech ? GSS_C_MECH_CODE : GSS_C_GSS_CODE,
                       (gss_OID)gss_mech_krb5, &more, &words);
    if (words.value) {
        text = apr_pstrmemdup(ask->p, words.value, words.length);
    }
    gss_release_buffer(&ignored, &words);
    /* codes of libkrb5 are negative and travel as unsigned */
    return casp_kdc_explain(ask, step, (int32_t)minor, text);
}

/* ----------------------------------------------------------------- stores */

static void destroy_cache(const char *name)
{
    krb5_context ctx;
    krb5_ccache cache;

    if (krb5_init_context(&ctx)) {
        return;
    }
    if (!krb5_cc_resolve(ctx, name, &cache)) {
        krb5_cc_destroy(ctx, cache);
    }
    krb5_free_context(ctx);
}

void casp_tickets_end(void *data)
{
    casp_tickets_t *t = data;
    OM_uint32 minor;

    if (t) {
        gss_release_cred(&minor, &t->cred);
        if (t->cache) {
            destroy_cache(t->cache);
        }
        free(t->cache);
        free(t->owner);
        free(t->account);
        free(t);
    }
}

/* A GSSAPI credential before a cache of ours, for Kerberos only. */
static OM_uint32 credential_of(const char *cache, gss_cred_id_t *cred,
                               OM_uint32 *minor)
{
    gss_key_value_element_desc where = {"ccache", cache};
    gss_key_value_set_desc store = {1, &where};
    gss_OID_set_desc mechs = {1, (gss_OID)gss_mech_krb5};

    *cred = GSS_C_NO_CREDENTIAL;
    return gss_acquire_cred_from(minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
                                 &mechs, GSS_C_INITIATE, &store, cred, NULL,
                                 NULL);
}

/* Take over a cache that is filled; it is destroyed where that fails. */
static casp_gss_e adopt(casp_kdc_ask_t *ask, casp_step_e step,
                        krb5_context ctx, krb5_ccache cache,
                        casp_tickets_t **tickets)
{
    casp_tickets_t *t = calloc(1, sizeof(*t));
    OM_uint32 minor = 0, major = GSS_S_FAILURE;
    char *name = NULL;

    if (t && !krb5_cc_get_full_name(ctx, cache, &name)) {
        t->cache = strdup(name);
        krb5_free_string(ctx, name);
        major = t->cache ? credential_of(t->cache, &t->cred, &minor) : major;
    }
    if (GSS_ERROR(major)) {
        if (t) {
            free(t->cache);
        }
        free(t);
        krb5_cc_destroy(ctx, cache);
        return gss_no(ask, step, major, minor);
    }
    krb5_cc_close(ctx, cache);
    *tickets = t;
    return CASP_GSS_OK;
}

/* How long creds are good, by the KDC's clock as libkrb5 knows it. */
static apr_interval_time_t life_of(krb5_context ctx, const krb5_creds *creds)
{
    krb5_timestamp now = 0;

    krb5_timeofday(ctx, &now);
    /* timestamps are unsigned in truth, and signed in the header */
    int32_t left = (int32_t)((uint32_t)creds->times.endtime - (uint32_t)now);
    return apr_time_from_sec(left > 0 ? left : 0);
}

/* ---------------------------------------------------------- first tickets */

/* Ask for a first ticket, with what was set in @a init. */
static krb5_error_code first_ticket(casp_kdc_ask_t *ask, krb5_context ctx,
                                    krb5_init_creds_context init,
                                    krb5_ccache *cache)
{
    krb5_creds creds;
    krb5_error_code code = krb5_init_creds_get(ctx, init);

    if (code) {
        return code;
    }
    memset(&creds, 0, sizeof(creds));
    code = krb5_init_creds_get_creds(ctx, init, &creds);
    if (!code) {
        code = krb5_cc_new_unique(ctx, "MEMORY", NULL, cache);
    }
    if (!code) {
        code = krb5_cc_initialize(ctx, *cache, creds.client);
        code = code ? code : krb5_cc_store_cred(ctx, *cache, &creds);
        if (code) {
            krb5_cc_destroy(ctx, *cache);
        }
    }
    ask->life = life_of(ctx, &creds);
    krb5_free_cred_contents(ctx, &creds);
    return code;
}

/* @param password or @a keytab */
static krb5_error_code ask_first(casp_kdc_ask_t *ask, krb5_context ctx,
                                 krb5_principal who, const char *password,
                                 krb5_keytab keytab, krb5_ccache *cache)
{
    krb5_get_init_creds_opt *opt = NULL;
    krb5_init_creds_context init = NULL;
    krb5_error_code code = krb5_get_init_creds_opt_alloc(ctx, &opt);

    if (code) {
        return code;
    }
    /* a ticket in a user's name may be passed on only where the front's own
     * ticket may; a user's own goes nowhere */
    krb5_get_init_creds_opt_set_forwardable(opt, keytab != NULL);
    krb5_get_init_creds_opt_set_proxiable(opt, 0);
    code = krb5_init_creds_init(ctx, who, NULL, NULL, 0, opt, &init);
    if (!code) {
        code = keytab ? krb5_init_creds_set_keytab(ctx, init, keytab)
                      : krb5_init_creds_set_password(ctx, init, password);
        code = code ? code : first_ticket(ask, ctx, init, cache);
        krb5_init_creds_free(ctx, init);
    }
    krb5_get_init_creds_opt_free(ctx, opt);
    return code;
}

casp_gss_e casp_tickets_password(casp_kdc_ask_t *ask, const char *password,
                                 apr_size_t len, casp_tickets_t **tickets)
{
    krb5_context ctx = NULL;
    krb5_principal who = NULL;
    krb5_ccache cache = NULL;
    krb5_error_code code = krb5_init_context(&ctx);

    if (code) {
        return krb_no(ask, CASP_STEP_LIBRARY, NULL, code);
    }
    char *copy = malloc(len + 1);
    code = copy ? krb5_build_principal(ctx, &who, (unsigned)strlen(ask->realm),
                                       ask->realm, ask->user, NULL)
                : KRB5_CC_NOMEM;
    if (!code) {
        memcpy(copy, password, len);
        copy[len] = '\0';
        code = ask_first(ask, ctx, who, copy, NULL, &cache);
        OPENSSL_cleanse(copy, len);
    }
    free(copy);
    casp_gss_e rc = code ? krb_no(ask, CASP_STEP_PASSWORD, ctx, code)
                         : adopt(ask, CASP_STEP_PASSWORD, ctx, cache, tickets);
    krb5_free_principal(ctx, who);
    krb5_free_context(ctx);
    return rc;
}

/* ----------------------------------------------------------------- keytab */

/* Whose keys: the first principal that is no SPN, which is the account's own
 * name; an SPN is no client in Active Directory, unless it is the account's
 * userPrincipalName too, as ktpass makes it. */
static krb5_error_code keytab_account(krb5_context ctx, krb5_keytab keytab,
                                      krb5_principal *who)
{
    krb5_kt_cursor cursor;
    krb5_keytab_entry entry;
    krb5_error_code code = krb5_kt_start_seq_get(ctx, keytab, &cursor);

    if (code) {
        return code;
    }
    bool found = false;
    while (!found && !krb5_kt_next_entry(ctx, keytab, &entry, &cursor)) {
        found = entry.principal->length == 1;
        if (found || !*who) {
            krb5_free_principal(ctx, *who);
            *who = NULL;
            code = krb5_copy_principal(ctx, entry.principal, who);
        }
        krb5_free_keytab_entry_contents(ctx, &entry);
    }
    krb5_kt_end_seq_get(ctx, keytab, &cursor);
    return *who || code ? code : KRB5_KT_END;
}

static krb5_error_code from_keytab(casp_kdc_ask_t *ask, krb5_context ctx,
                                   krb5_ccache *cache)
{
    krb5_keytab keytab = NULL;
    krb5_principal who = NULL;
    char *name = NULL;
    const char *path = apr_pstrcat(ask->p, "FILE:", ask->keytab, NULL);
    krb5_error_code code = krb5_kt_resolve(ctx, path, &keytab);

    if (!code) {
        code = keytab_account(ctx, keytab, &who);
    }
    if (!code && !(code = krb5_unparse_name(ctx, who, &name))) {
        ask->account = apr_pstrdup(ask->p, name);
        krb5_free_unparsed_name(ctx, name);
        ask->realm =
            apr_pstrmemdup(ask->p, who->realm.data, who->realm.length);
        code = ask_first(ask, ctx, who, NULL, keytab, cache);
    }
    krb5_free_principal(ctx, who);
    if (keytab) {
        krb5_kt_close(ctx, keytab);
    }
    return code;
}

casp_gss_e casp_tickets_keytab(casp_kdc_ask_t *ask, casp_tickets_t **tickets)
{
    krb5_context ctx = NULL;
    krb5_ccache cache = NULL;
    krb5_error_code code = krb5_init_context(&ctx);

    if (code) {
        return krb_no(ask, CASP_STEP_LIBRARY, NULL, code);
    }
    code = from_keytab(ask, ctx, &cache);
    casp_gss_e rc = code ? krb_no(ask, CASP_STEP_KEYTAB, ctx, code)
                         : adopt(ask, CASP_STEP_KEYTAB, ctx, cache, tickets);
    if (rc == CASP_GSS_OK) {
        (*tickets)->owner = strdup(ask->account);
    }
    krb5_free_context(ctx);
    return rc;
}

/* --------------------------------------------------------------- S4U2Self */

static OM_uint32 import(const char *name, gss_OID type, gss_name_t *out,
                        OM_uint32 *minor)
{
    gss_buffer_desc text = {strlen(name), (void *)(uintptr_t)name};
    return gss_import_name(minor, &text, type, out);
}

/* "sam@REALM", with what is special in it escaped. */
static krb5_error_code user_name(casp_kdc_ask_t *ask, krb5_context ctx,
                                 const char **text)
{
    krb5_principal who = NULL;
    char *name = NULL;
    krb5_error_code code =
        krb5_build_principal(ctx, &who, (unsigned)strlen(ask->realm),
                             ask->realm, ask->user, NULL);

    if (!code && !(code = krb5_unparse_name(ctx, who, &name))) {
        *text = apr_pstrdup(ask->p, name);
        krb5_free_unparsed_name(ctx, name);
    }
    krb5_free_principal(ctx, who);
    return code;
}

/* May what the KDC gave in the user's name be passed on?  Only this flag
 * tells two mistakes of an administrator apart. */
static bool forwardable(krb5_context ctx, krb5_ccache cache)
{
    krb5_cc_cursor cursor;
    krb5_creds creds;
    krb5_principal who = NULL;
    bool is = false;

    if (krb5_cc_get_principal(ctx, cache, &who)) {
        return false;
    }
    if (!krb5_cc_start_seq_get(ctx, cache, &cursor)) {
        while (!krb5_cc_next_cred(ctx, cache, &cursor, &creds)) {
            is = is
                 || (krb5_principal_compare(ctx, creds.client, who)
                     && (creds.ticket_flags & TKT_FLG_FORWARDABLE));
            krb5_free_cred_contents(ctx, &creds);
        }
        krb5_cc_end_seq_get(ctx, cache, &cursor);
    }
    krb5_free_principal(ctx, who);
    return is;
}

/* A copy in a cache that has a name, so that every thread can have a
 * credential of its own before it. */
static casp_gss_e keep_copy(casp_kdc_ask_t *ask, krb5_context ctx,
                            const char *name, gss_cred_id_t from,
                            casp_tickets_t **tickets)
{
    krb5_principal who = NULL;
    krb5_ccache cache = NULL;
    OM_uint32 minor = 0;
    krb5_error_code code = krb5_parse_name(ctx, name, &who);

    code = code ? code : krb5_cc_new_unique(ctx, "MEMORY", NULL, &cache);
    if (!code && !(code = krb5_cc_initialize(ctx, cache, who))
        && GSS_ERROR(gss_krb5_copy_ccache(&minor, from, cache))) {
        code = (int32_t)minor ? (int32_t)minor : KRB5_CC_NOMEM;
    }
    krb5_free_principal(ctx, who);
    if (code) {
        if (cache) {
            krb5_cc_destroy(ctx, cache);
        }
        return krb_no(ask, CASP_STEP_SELF, ctx, code);
    }
    bool may = forwardable(ctx, cache);
    casp_gss_e rc = adopt(ask, CASP_STEP_SELF, ctx, cache, tickets);
    if (rc == CASP_GSS_OK) {
        (*tickets)->may_forward = may;
        (*tickets)->account = strdup(ask->account ? ask->account : "");
    }
    return rc;
}

casp_gss_e casp_tickets_impersonate(casp_kdc_ask_t *ask,
                                    const casp_tickets_t *own,
                                    casp_tickets_t **tickets)
{
    krb5_context ctx = NULL;
    const char *text = NULL;
    gss_name_t name = GSS_C_NO_NAME;
    gss_cred_id_t mine = GSS_C_NO_CREDENTIAL, theirs = GSS_C_NO_CREDENTIAL;
    gss_OID_set_desc mechs = {1, (gss_OID)gss_mech_krb5};
    OM_uint32 minor = 0, left = 0, ignored;
    krb5_error_code code = krb5_init_context(&ctx);

    ask->account = own->owner;
    code = code ? code : user_name(ask, ctx, &text);
    if (code) {
        casp_gss_e no = krb_no(ask, CASP_STEP_LIBRARY, ctx, code);
        krb5_free_context(ctx);
        return no;
    }
    /* a credential of this thread's own: the library holds a lock on it while
     * it asks, and other users must not wait for that */
    OM_uint32 major =
        import(text, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME, &name, &minor);
    if (!GSS_ERROR(major)) {
        major = credential_of(own->cache, &mine, &minor);
    }
    if (!GSS_ERROR(major)) {
        major = gss_acquire_cred_impersonate_name(&minor, mine, name,
                                                  GSS_C_INDEFINITE, &mechs,
                                                  GSS_C_INITIATE, &theirs,
                                                  NULL, &left);
    }
    ask->life = apr_time_from_sec(left);
    casp_gss_e rc = GSS_ERROR(major)
                        ? gss_no(ask, CASP_STEP_SELF, major, minor)
                        : keep_copy(ask, ctx, text, theirs, tickets);
    gss_release_cred(&ignored, &theirs);
    gss_release_cred(&ignored, &mine);
    gss_release_name(&ignored, &name);
    krb5_free_context(ctx);
    return rc;
}

/* ----------------------------------------------------------------- tokens */

bool casp_spn_host(const char *host)
{
    apr_size_t len = strlen(host);

    for (apr_size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)host[i]) && !strchr(".-_", host[i])) {
            return false;
        }
    }
    return len > 0 && len <= SPN_HOST_MAX;
}

/* Writes backwards, before @a at. */
static unsigned char *der_head(unsigned char *at, unsigned char tag,
                               apr_size_t len)
{
    if (len < 128) {
        *--at = (unsigned char)len;
    }
    else {
        unsigned char bytes = 0;
        for (; len; len >>= 8, bytes++) {
            *--at = (unsigned char)(len & 0xff);
        }
        *--at = (unsigned char)(0x80 | bytes);
    }
    *--at = tag;
    return at;
}

const void *casp_spnego_wrap(apr_pool_t *p, const void *token, apr_size_t len,
                             apr_size_t *wrapped)
{
    /* SPNEGO's OID; a list of one mechanism, 1.2.840.113554.1.2.2 */
    static const unsigned char oid[] = {6, 6, 0x2b, 6, 1, 5, 5, 2};
    static const unsigned char list[] = {
        0xa0, 13, 0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2};
    apr_size_t room = 5 * DER_HEAD + sizeof(oid) + sizeof(list) + len;
    unsigned char *end = (unsigned char *)apr_palloc(p, room) + room;
    unsigned char *at = end - len;

    memcpy(at, token, len);
    at = der_head(at, 0x04, (apr_size_t)(end - at)); /* OCTET STRING */
    at = der_head(at, 0xa2, (apr_size_t)(end - at)); /* [2] mechToken */
    at -= sizeof(list); /* [0] mechTypes */
    memcpy(at, list, sizeof(list));
    at = der_head(at, 0x30, (apr_size_t)(end - at)); /* SEQUENCE */
    at = der_head(at, 0xa0, (apr_size_t)(end - at)); /* [0] negTokenInit */
    at -= sizeof(oid);
    memcpy(at, oid, sizeof(oid));
    at = der_head(at, 0x60, (apr_size_t)(end - at)); /* [APPLICATION 0] */
    *wrapped = (apr_size_t)(end - at);
    return at;
}

casp_gss_e casp_tickets_token(casp_kdc_ask_t *ask,
                              const casp_tickets_t *tickets, bool alone,
                              casp_gss_token_t *out)
{
    /* no realm: the KDC of the user's knows, or refers to another's */
    const char *spn = apr_pstrcat(ask->p, "HTTP/", ask->host, "@", NULL);
    gss_cred_id_t own = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
    gss_name_t name = GSS_C_NO_NAME;
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor = 0, left = 0, ignored;
    casp_step_e step = tickets->account ? CASP_STEP_PROXY : CASP_STEP_TARGET;

    if (tickets->account) {
        ask->account = apr_pstrdup(ask->p, tickets->account);
        ask->may_forward = tickets->may_forward;
    }
    OM_uint32 major =
        import(spn, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME, &name, &minor);
    if (!GSS_ERROR(major) && alone) {
        major = credential_of(tickets->cache, &own, &minor);
    }
    if (!GSS_ERROR(major)) {
        /* no flag: one leg, no delegation; TLS says who the server is */
        major =
            gss_init_sec_context(&minor, alone ? own : tickets->cred, &ctx,
                                 name, (gss_OID)gss_mech_krb5, 0, 0,
                                 GSS_C_NO_CHANNEL_BINDINGS, GSS_C_NO_BUFFER,
                                 NULL, &token, NULL, &left);
    }
    casp_gss_e rc = CASP_GSS_OK;
    if (GSS_ERROR(major)) {
        rc = gss_no(ask, step, major, minor);
    }
    else {
        ask->life = apr_time_from_sec(left);
        out->token =
            casp_spnego_wrap(ask->p, token.value, token.length, &out->len);
    }
    gss_release_buffer(&ignored, &token);
    gss_delete_sec_context(&ignored, &ctx, GSS_C_NO_BUFFER);
    gss_release_cred(&ignored, &own);
    gss_release_name(&ignored, &name);
    return rc;
}
