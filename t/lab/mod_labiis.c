/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_labiis - what makes httpd with mod_auth_gssapi behave as IIS does, for
 * t/lab/iis.  It numbers connections and tells the simulated Exchange server
 * behind it who mod_auth_gssapi says is there; it judges no credential.
 *
 *   LabIisKind NAME   of the virtual host; sent on as X-Lab-Kind
 *   LabIisOnly NTLM   offer no other scheme in a 401
 *   LabIisVia  Drop   a login does not outlive its request where that had a
 *                     Via header: the next one without credentials gets 401,
 *                     and the connection is closed
 */

#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"
#include "ap_mpm.h"
#include "apr_atomic.h"
#include "apr_base64.h"
#include "apr_strings.h"

module AP_MODULE_DECLARE_DATA labiis_module;

typedef struct {
    const char *kind;
    const char *only;
    int via;
} vhost_t;

typedef struct {
    apr_uint32_t number;
    int proxied; /* a Via header was seen */
} client_t;

static volatile apr_uint32_t connections;

static void *make_vhost(apr_pool_t *p, server_rec *s)
{
    (void)s;
    return apr_pcalloc(p, sizeof(vhost_t));
}

static vhost_t *vhost_of(server_rec *s)
{
    return ap_get_module_config(s->module_config, &labiis_module);
}

static const char *set_kind(cmd_parms *cmd, void *dir, const char *word)
{
    (void)dir;
    vhost_of(cmd->server)->kind = word;
    return NULL;
}

static const char *set_only(cmd_parms *cmd, void *dir, const char *word)
{
    (void)dir;
    vhost_of(cmd->server)->only = word;
    return NULL;
}

static const char *set_via(cmd_parms *cmd, void *dir, const char *word)
{
    (void)dir;
    vhost_of(cmd->server)->via = !strcasecmp(word, "Drop");
    return NULL;
}

static int number_connection(conn_rec *c, void *socket)
{
    client_t *client = apr_pcalloc(c->pool, sizeof(*client));
    (void)socket;
    client->number = apr_atomic_inc32(&connections) + 1;
    ap_set_module_config(c->conn_config, &labiis_module, client);
    return OK;
}

static client_t *client_of(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &labiis_module);
}

/* gss-ntlmssp wants the version field in a NEGOTIATE message, and promises
 * one in its answer as soon as ALWAYS_SIGN is set; Windows reads the shorter
 * message of curl as well. */
static void lengthen_negotiate(request_rec *r)
{
    const char *value = apr_table_get(r->headers_in, "Authorization");
    unsigned char raw[64] = {0};
    char text[100];

    if (!value || strncasecmp(value, "NTLM ", 5) || strlen(value + 5) > 80
        || !ap_is_initial_req(r)) {
        return;
    }
    int len = apr_base64_decode_binary(raw, value + 5);
    if (len < 32 || len >= 40 || memcmp(raw, "NTLMSSP\0\1\0\0\0", 12)) {
        return;
    }
    raw[13] &= 0x7f;
    memset(raw + len, 0, sizeof(raw) - (size_t)len);
    apr_base64_encode_binary(text, raw, 40);
    apr_table_setn(r->headers_in, "Authorization",
                   apr_pstrcat(r->pool, "NTLM ", text, NULL));
}

static int read_request(request_rec *r)
{
    const apr_array_header_t *all =
        apr_table_elts(apr_table_copy(r->pool, r->headers_in));

    for (int i = 0; i < all->nelts; i++) {
        const char *name = APR_ARRAY_IDX(all, i, apr_table_entry_t).key;
        if (!strncasecmp(name, "X-Lab-", 6)) {
            apr_table_unset(r->headers_in, name);
        }
    }
    lengthen_negotiate(r);
    return DECLINED;
}

/* Before mod_auth_gssapi: it would take the connection's word. */
static int drop_proxied(request_rec *r)
{
    client_t *client = client_of(r->connection);

    if (!vhost_of(r->server)->via || !ap_is_initial_req(r)) {
        return DECLINED;
    }
    if (client->proxied && !apr_table_get(r->headers_in, "Authorization")) {
        apr_table_addn(r->err_headers_out, "WWW-Authenticate", "Negotiate");
        apr_table_addn(r->err_headers_out, "WWW-Authenticate", "NTLM");
        r->connection->keepalive = AP_CONN_CLOSE;
        return HTTP_UNAUTHORIZED;
    }
    client->proxied = apr_table_get(r->headers_in, "Via") != NULL;
    return DECLINED;
}

/* With the request to the server behind: who, how, and on which connection. */
static int tell(request_rec *r)
{
    apr_table_t *h = r->headers_in;
    const char *mech = apr_table_get(r->subprocess_env, "GSS_MECH");

    apr_table_setn(h, "X-Lab-Connection",
                   apr_psprintf(r->pool, "%u",
                                client_of(r->connection)->number));
    apr_table_setn(h, "X-Lab-Kind", vhost_of(r->server)->kind);
    if (r->user) { /* mech: what was offered, a slash, what was used */
        apr_table_setn(h, "X-Lab-Raw", r->user);
        apr_table_setn(h, "X-Lab-Auth",
                       mech && strstr(mech, "krb5") ? "Kerberos" : "NTLM");
    }
    return OK;
}

static void offer_only(request_rec *r)
{
    const char *only = vhost_of(r->server)->only;
    apr_table_t *kept = apr_table_make(r->pool, 8);
    const apr_array_header_t *all = apr_table_elts(r->err_headers_out);

    if (!only) {
        return;
    }
    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *e = &APR_ARRAY_IDX(all, i, apr_table_entry_t);
        if (strcasecmp(e->key, "WWW-Authenticate")
            || !strncasecmp(e->val, only, strlen(only))) {
            apr_table_addn(kept, e->key, e->val);
        }
    }
    r->err_headers_out = kept;
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("LabIisKind", set_kind, NULL, RSRC_CONF, "a name"),
    AP_INIT_TAKE1("LabIisOnly", set_only, NULL, RSRC_CONF, "a scheme"),
    AP_INIT_TAKE1("LabIisVia", set_via, NULL, RSRC_CONF, "Drop or Ignore"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};

static void hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_connection(number_connection, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_post_read_request(read_request, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_check_authn(drop_proxied, NULL, NULL, APR_HOOK_FIRST,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(tell, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_error_filter(offer_only, NULL, NULL, APR_HOOK_LAST);
}

AP_DECLARE_MODULE(labiis) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, make_vhost, NULL, commands, hooks, 0};
