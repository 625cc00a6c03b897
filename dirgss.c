/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * dirgss.c - the service's own bind by Kerberos (RFC 4752), with a keytab.
 *
 * libldap's own way, by Cyrus SASL, would take the ticket cache and the
 * keytab from the environment, which is the whole process's.  The exchange is
 * short enough: GSSAPI's tokens there and back, then a word on security
 * layers.  TLS is there already, so none is taken.
 *
 * Tickets are in memory, in a cache of this pool's own; the library renews
 * them by the keytab.  Its waits on a KDC are its own: this runs in connector
 * threads, which may be left behind.
 */

#include <string.h>

#include <arpa/inet.h>

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include "dirwire.h"

#define LEGS_MAX 6

/* One bind on its way. */
typedef struct {
    casp_link_t *link;
    apr_time_t deadline;
    gss_cred_id_t cred;
    gss_name_t name;
    gss_ctx_id_t ctx;
    int code; /* the server's last */
    struct berval *said; /* its last token */
    casp_dirwhy_t *why;
} exchange_t;

static casp_wire_e gss_trouble(exchange_t *x, OM_uint32 major, OM_uint32 minor)
{
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 ignored, more = 0;
    (void)gss_display_status(&ignored, minor ? minor : major,
                             minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE,
                             minor ? (gss_OID)gss_mech_krb5 : GSS_C_NO_OID,
                             &more, &text);
    casp_dirwire_say(x->why,
                     "%.*s; httpd's user must be able to read the keytab, "
                     "it must begin with the account's own name, and the "
                     "server have the SPN ldap/ and its name",
                     (int)text.length,
                     text.value ? (const char *)text.value : "");
    (void)gss_release_buffer(&ignored, &text);
    return (krb5_error_code)minor == KRB5_KDC_UNREACH ? CASP_WIRE_DOWN
                                                      : CASP_WIRE_DENIED;
}

static OM_uint32 prepare(exchange_t *x, const casp_dirwire_conf_t *conf,
                         const char *host, OM_uint32 *minor)
{
    char target[300], cache[64];
    apr_snprintf(target, sizeof(target), "ldap@%s", host);
    apr_snprintf(cache, sizeof(cache), "MEMORY:casproxy-directory-%pp",
                 (void *)x->link->pool);
    gss_buffer_desc text = {strlen(target), target};
    gss_OID_set_desc krb5 = {1, (gss_OID)gss_mech_krb5};
    gss_key_value_element_desc stores[2] = {{"client_keytab", conf->keytab},
                                            {"ccache", cache}};
    gss_key_value_set_desc store = {2, stores};
    OM_uint32 major =
        gss_import_name(minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &x->name);
    if (!GSS_ERROR(major)) {
        major = gss_acquire_cred_from(minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
                                      &krb5, GSS_C_INITIATE, &store, &x->cred,
                                      NULL, NULL);
    }
    return major;
}

/* Send a token, take the answer apart. */
static casp_wire_e send_token(exchange_t *x, const gss_buffer_desc *token)
{
    struct berval cred = {token->length, token->value};
    char *diag = NULL;
    ber_bvfree(x->said);
    x->said = NULL;
    casp_wire_e wire =
        casp_dirwire_sasl(x->link, "", "GSSAPI", &cred, x->deadline, &x->code,
                          &diag, &x->said, x->why);
    if (wire == CASP_WIRE_OK && x->code != LDAP_SUCCESS
        && x->code != LDAP_SASL_BIND_IN_PROGRESS) {
        wire = x->code == LDAP_BUSY || x->code == LDAP_UNAVAILABLE
                   ? CASP_WIRE_DOWN
                   : CASP_WIRE_DENIED;
        casp_dirwire_say(x->why, "%s%s%s", ldap_err2string(x->code),
                         diag && *diag ? ": " : "", diag ? diag : "");
    }
    ldap_memfree(diag);
    return wire;
}

/* Who we are and who they are, until both sides know. */
static casp_wire_e establish(exchange_t *x)
{
    casp_wire_e wire = CASP_WIRE_OK;
    OM_uint32 minor = 0, ignored, major = GSS_S_CONTINUE_NEEDED;
    for (int leg = 0; wire == CASP_WIRE_OK && leg < LEGS_MAX
                      && (major & GSS_S_CONTINUE_NEEDED);
         leg++) {
        gss_buffer_desc in = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
        if (x->said) {
            in.length = x->said->bv_len;
            in.value = x->said->bv_val;
        }
        major = gss_init_sec_context(&minor, x->cred, &x->ctx, x->name,
                                     (gss_OID)gss_mech_krb5,
                                     GSS_C_MUTUAL_FLAG | GSS_C_INTEG_FLAG
                                         | GSS_C_SEQUENCE_FLAG,
                                     0, GSS_C_NO_CHANNEL_BINDINGS, &in, NULL,
                                     &out, NULL, NULL);
        /* Also with nothing to say: then it is the server's turn. */
        wire = GSS_ERROR(major) ? gss_trouble(x, major, minor)
                                : send_token(x, &out);
        (void)gss_release_buffer(&ignored, &out);
        if (wire == CASP_WIRE_OK && x->code == LDAP_SUCCESS) {
            break;
        }
    }
    return wire;
}

/* The server offers layers; we take none, and act as nobody but ourselves. */
static casp_wire_e agree(exchange_t *x)
{
    unsigned char none[4] = {1, 0, 0, 0};
    gss_buffer_desc in = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
    gss_buffer_desc offer = GSS_C_EMPTY_BUFFER, choice = {4, none};
    OM_uint32 minor = 0, ignored;
    if (x->said) {
        in.length = x->said->bv_len;
        in.value = x->said->bv_val;
    }
    OM_uint32 major = gss_unwrap(&minor, x->ctx, &in, &offer, NULL, NULL);
    bool fits = !GSS_ERROR(major) && offer.length == 4
                && (*(unsigned char *)offer.value & 1);
    (void)gss_release_buffer(&ignored, &offer);
    if (!fits) {
        casp_dirwire_say(x->why, "the server insists on a security layer of "
                                 "its own, although there is TLS; it must "
                                 "allow SASL over TLS");
        return CASP_WIRE_DENIED;
    }
    major =
        gss_wrap(&minor, x->ctx, 0, GSS_C_QOP_DEFAULT, &choice, NULL, &out);
    casp_wire_e wire =
        GSS_ERROR(major) ? gss_trouble(x, major, minor) : send_token(x, &out);
    (void)gss_release_buffer(&ignored, &out);
    if (wire == CASP_WIRE_OK && x->code != LDAP_SUCCESS) {
        casp_dirwire_say(x->why, "the server does not come to an end");
        wire = CASP_WIRE_DENIED;
    }
    return wire;
}

casp_wire_e casp_dirgss_bind(casp_link_t *link,
                             const casp_dirwire_conf_t *conf, const char *host,
                             apr_time_t deadline, casp_dirwhy_t *why)
{
    exchange_t x;
    OM_uint32 minor = 0;
    memset(&x, 0, sizeof(x));
    x.link = link;
    x.deadline = deadline;
    x.why = why;
    x.cred = GSS_C_NO_CREDENTIAL;
    x.name = GSS_C_NO_NAME;
    x.ctx = GSS_C_NO_CONTEXT;
    OM_uint32 major = prepare(&x, conf, host, &minor);
    casp_wire_e wire =
        GSS_ERROR(major) ? gss_trouble(&x, major, minor) : establish(&x);
    if (wire == CASP_WIRE_OK && x.code != LDAP_SUCCESS) {
        wire = agree(&x);
    }
    ber_bvfree(x.said);
    (void)gss_delete_sec_context(&minor, &x.ctx, GSS_C_NO_BUFFER);
    (void)gss_release_name(&minor, &x.name);
    (void)gss_release_cred(&minor, &x.cred);
    return wire;
}
