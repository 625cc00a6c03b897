/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * gssntlm.c - NTLM towards a backend, with a user's password, by gss-ntlmssp.
 *
 * Tokens are NTLMSSP's own, without SPNEGO: what IIS calls "NTLM".  The
 * credential is made of the password that is given here; neither a user file
 * nor winbind is asked for one.  One thing the mechanism takes from the
 * environment, LM_COMPAT_LEVEL, could make it answer in NTLMv1; so its answer
 * is looked at before it is let out.
 *
 * The mechanism is given the password's NT hash (MD4 of UTF-16), not the
 * password: gss-ntlmssp 1.2 reads a password to the next NUL byte, sets up all
 * of OpenSSL for that one MD4, and loses six kilobytes of it each time.  It
 * wipes the hash when the credential is released: at the last message, or with
 * the dialog's pool.  OpenSSL keeps MD4 in its legacy provider; that is loaded
 * into a library context of our own, once, because loading it into httpd's
 * would change what everybody else in the process may use.
 *
 * Must not: keep a dialog for another connection, or make tokens by itself.
 */

#include "gssclient.h"

#include <pthread.h>
#include <string.h>

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "gsstickets.h"

#define TOKEN_MAX 65536 /* bytes of a challenge */
#define NAME_MAX_LEN 255
#define PASSWORD_MAX_LEN 1024
#define V1_RESPONSE 24 /* bytes; NTLMv2's is longer */
#define NT_RESPONSE 20 /* offset in the last message */
#define NT_HASH 16 /* bytes */

/* 1.3.6.1.4.1.311.2.2.10 */
static gss_OID_desc ntlmssp = {10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};

struct casp_gss_dialog_t {
    gss_cred_id_t cred;
    gss_ctx_id_t ctx;
    gss_name_t target;
    bool over;
};

static apr_status_t release(void *data)
{
    casp_gss_dialog_t *d = data;
    OM_uint32 minor;

    if (d->ctx != GSS_C_NO_CONTEXT) {
        gss_delete_sec_context(&minor, &d->ctx, GSS_C_NO_BUFFER);
    }
    if (d->cred != GSS_C_NO_CREDENTIAL) {
        gss_release_cred(&minor, &d->cred);
    }
    if (d->target != GSS_C_NO_NAME) {
        gss_release_name(&minor, &d->target);
    }
    d->over = true;
    return APR_SUCCESS;
}

bool casp_gss_has_ntlm(void)
{
    OM_uint32 minor;
    gss_OID_set attrs = GSS_C_NO_OID_SET;
    /* asks the mechanism itself, so that its library must be there too */
    OM_uint32 major =
        gss_inquire_attrs_for_mech(&minor, &ntlmssp, &attrs, NULL);

    gss_release_oid_set(&minor, &attrs);
    return !GSS_ERROR(major);
}

static casp_gss_e no(apr_pool_t *p, OM_uint32 major, OM_uint32 minor,
                     const char *what, casp_gss_token_t *out)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc words = GSS_C_EMPTY_BUFFER;

    if (GSS_ROUTINE_ERROR(major) == GSS_S_BAD_MECH || !casp_gss_has_ntlm()) {
        out->why = "NTLM needs the GSSAPI mechanism gss-ntlmssp; install "
                   "the package gss-ntlmssp";
        return CASP_GSS_MISSING;
    }
    gss_display_status(&ignored, minor ? minor : major,
                       minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, &ntlmssp,
                       &more, &words);
    out->why = apr_psprintf(p, "%s (%.*s)", what, (int)words.length,
                            words.value ? (char *)words.value : "");
    gss_release_buffer(&ignored, &words);
    return CASP_GSS_REFUSED;
}

static OM_uint32 import(const char *text, gss_OID type, gss_name_t *name,
                        OM_uint32 *minor)
{
    gss_buffer_desc buffer = {strlen(text), (void *)(uintptr_t)text};
    return gss_import_name(minor, &buffer, type, name);
}

static const char *wanting(const casp_gss_user_t *u, const char *host)
{
    if (!u->sam || !*u->sam || strlen(u->sam) > NAME_MAX_LEN
        || strpbrk(u->sam, "\\/@")) {
        return "the user has no sAMAccountName that NTLM could send";
    }
    if (!u->password || !u->password_len) {
        return "NTLM towards a backend needs the user's password, and none "
               "is at hand; let users log on by form or Basic, or use "
               "delegation";
    }
    if (u->password_len > PASSWORD_MAX_LEN
        || memchr(u->password, '\0', u->password_len)) {
        return "the password is no text that NTLM takes";
    }
    if (!host || !casp_spn_host(host)) {
        return "the backend's host name cannot be part of an SPN; use its "
               "DNS name in the InternalURL";
    }
    return NULL;
}

/* -------------------------------------------------------------- the hash */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *md4; /* for as long as the process lives */

static void load_md4(void)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();

    if (ctx && OSSL_PROVIDER_load(ctx, "legacy")) {
        md4 = EVP_MD_fetch(ctx, "MD4", NULL);
    }
}

/* UTF-8 to UTF-16, least byte first.  @return bytes; 0: no UTF-8 */
static apr_size_t utf16(const unsigned char *in, apr_size_t len,
                        unsigned char *out)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    apr_size_t n = 0;

    for (apr_size_t i = 0; i < len;) {
        uint32_t c = in[i++];
        int more = c < 0x80             ? 0
                   : (c & 0xe0) == 0xc0 ? 1
                   : (c & 0xf0) == 0xe0 ? 2
                   : (c & 0xf8) == 0xf0 ? 3
                                        : -1;
        if (more < 0 || i + (apr_size_t)more > len) {
            return 0;
        }
        c &= more ? 0x3fu >> more : 0x7fu;
        for (int k = 0; k < more; k++, i++) {
            if ((in[i] & 0xc0) != 0x80) {
                return 0;
            }
            c = c << 6 | (in[i] & 0x3fu);
        }
        if (c < least[more] || c > 0x10ffff || (c & 0x1ff800) == 0xd800) {
            return 0;
        }
        uint32_t high = c > 0xffff ? 0xd800 + ((c - 0x10000) >> 10) : 0;
        uint32_t low = high ? 0xdc00 + ((c - 0x10000) & 0x3ff) : c;
        if (high) {
            out[n++] = (unsigned char)(high & 0xff);
            out[n++] = (unsigned char)(high >> 8);
        }
        out[n++] = (unsigned char)(low & 0xff);
        out[n++] = (unsigned char)(low >> 8);
    }
    return n;
}

/* The hash in hexadecimal.  @return NULL or what is wrong */
static const char *nt_hash(const char *password, apr_size_t len,
                           char hex[2 * NT_HASH + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char wide[2 * PASSWORD_MAX_LEN], hash[NT_HASH];

    pthread_once(&once, load_md4);
    if (!md4) {
        return "OpenSSL's legacy provider is missing, and with it MD4, which "
               "NTLM cannot do without; install it, or use Kerberos";
    }
    apr_size_t n = utf16((const unsigned char *)password, len, wide);
    bool ok = n && EVP_Digest(wide, n, hash, NULL, md4, NULL) == 1;
    for (int i = 0; ok && i < NT_HASH; i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    hex[2 * NT_HASH] = '\0';
    OPENSSL_cleanse(wide, sizeof(wide));
    OPENSSL_cleanse(hash, sizeof(hash));
    return ok ? NULL : "the password is no text in UTF-8, as NTLM needs it";
}

/* ------------------------------------------------------------ the dialog */

static OM_uint32 acquire(casp_gss_dialog_t *d, const char *user,
                         const char *hash, OM_uint32 *minor)
{
    gss_name_t name = GSS_C_NO_NAME;
    gss_OID_set_desc mechs = {1, &ntlmssp};
    gss_key_value_element_desc secret = {"ntlmssp_nthash", hash};
    gss_key_value_set_desc store = {1, &secret};
    OM_uint32 ignored;
    OM_uint32 major = import(user, GSS_C_NT_USER_NAME, &name, minor);

    if (!GSS_ERROR(major)) {
        major = gss_acquire_cred_from(minor, name, GSS_C_INDEFINITE, &mechs,
                                      GSS_C_INITIATE, &store, &d->cred, NULL,
                                      NULL);
    }
    gss_release_name(&ignored, &name);
    return major;
}

/* One leg.  @return as the library says; @a out has a copy in @a p */
static OM_uint32 leg(casp_gss_dialog_t *d, apr_pool_t *p, gss_buffer_t in,
                     OM_uint32 *minor, casp_gss_token_t *out)
{
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    OM_uint32 ignored;
    OM_uint32 major =
        gss_init_sec_context(minor, d->cred, &d->ctx, d->target, &ntlmssp, 0,
                             0, GSS_C_NO_CHANNEL_BINDINGS, in, NULL, &token,
                             NULL, NULL);

    if (!GSS_ERROR(major) && token.length) {
        out->token = apr_pmemdup(p, token.value, token.length);
        out->len = token.length;
    }
    gss_release_buffer(&ignored, &token);
    return major;
}

casp_gss_e casp_gss_ntlm_begin(casp_gss_t *g, apr_pool_t *p,
                               const casp_gss_user_t *user, const char *host,
                               casp_gss_dialog_t **dialog,
                               casp_gss_token_t *out)
{
    OM_uint32 minor = 0;
    char hash[2 * NT_HASH + 1];

    (void)g;
    memset(out, 0, sizeof(*out));
    *dialog = NULL;
    out->why = wanting(user, host);
    if (!out->why) {
        out->why = nt_hash(user->password, user->password_len, hash);
    }
    if (out->why) {
        return CASP_GSS_MISSING;
    }
    casp_gss_dialog_t *d = apr_pcalloc(p, sizeof(*d));
    apr_pool_cleanup_register(p, d, release, apr_pool_cleanup_null);

    /* a domain that has no NetBIOS name here goes by its DNS name */
    const char *domain = user->netbios && *user->netbios ? user->netbios
                         : user->realm                   ? user->realm
                                                         : "";
    const char *name = apr_pstrcat(p, domain, "\\", user->sam, NULL);
    OM_uint32 major = acquire(d, name, hash, &minor);
    OPENSSL_cleanse(hash, sizeof(hash));
    if (!GSS_ERROR(major)) {
        major = import(apr_pstrcat(p, "HTTP@", host, NULL),
                       GSS_C_NT_HOSTBASED_SERVICE, &d->target, &minor);
    }
    if (!GSS_ERROR(major)) {
        major = leg(d, p, GSS_C_NO_BUFFER, &minor, out);
    }
    if (GSS_ERROR(major) || !out->len) {
        apr_pool_cleanup_run(p, d, release);
        return no(p, major, minor, "no NTLM handshake can be begun", out);
    }
    *dialog = d;
    return CASP_GSS_MORE;
}

static bool is_v2(const casp_gss_token_t *t)
{
    const unsigned char *b = t->token;
    return t->len >= NT_RESPONSE + 2
           && (b[NT_RESPONSE] | b[NT_RESPONSE + 1] << 8) > V1_RESPONSE;
}

casp_gss_e casp_gss_ntlm_step(casp_gss_dialog_t *dialog, apr_pool_t *p,
                              const void *token, apr_size_t len,
                              casp_gss_token_t *out)
{
    OM_uint32 minor = 0;
    gss_buffer_desc in = {len, (void *)(uintptr_t)token};

    memset(out, 0, sizeof(*out));
    if (dialog->over || len > TOKEN_MAX || !len) {
        release(dialog);
        out->why = "the backend's NTLM challenge is empty, too long, or comes "
                   "after the handshake has ended";
        return CASP_GSS_REFUSED;
    }
    OM_uint32 major = leg(dialog, p, &in, &minor, out);
    release(dialog);
    if (GSS_ERROR(major) || !out->len) {
        return no(p, major, minor,
                  "the backend's NTLM challenge cannot be answered", out);
    }
    if (!is_v2(out)) {
        out->token = NULL;
        out->len = 0;
        out->why = "gss-ntlmssp would answer in NTLMv1, which is not sent; "
                   "take LM_COMPAT_LEVEL out of httpd's environment";
        return CASP_GSS_MISSING;
    }
    return CASP_GSS_OK;
}
