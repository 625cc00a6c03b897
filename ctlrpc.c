/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * casproxyctl check, the part about Outlook Anywhere: what must be set on
 * older servers so that a newer front can serve their mailboxes (S004), and
 * what must not (S002).
 *
 * Must not: ask anybody; the topology says it all.
 */

#include "ctl.h"

#define OK CASP_CHECK_OK
#define UNUSED CASP_CHECK_UNUSED
#define WARN CASP_CHECK_WARN
#define FAIL CASP_CHECK_FAIL
#define ID "outlook-anywhere"

static const casp_vdir_t *rpc_of(const casp_topology_t *t,
                                 const casp_server_t *server)
{
    for (int i = 0; i < t->vdirs->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(t->vdirs, i, const casp_vdir_t *);
        if (v->server == server && v->protocol == CASP_PROTO_RPC) {
            return v;
        }
    }
    return NULL;
}

/* Exchange 2013 logs on by NTLM or Kerberos, which this front needs only for
 * those who bring no password; it asks in each site, Internet-facing or not,
 * and wants the service packs that know of it. */
static bool bears_newer_front(casp_checkup_t *c, const casp_server_t *s,
                              const casp_vdir_t *v)
{
    const uint32_t integrated = CASP_AUTH_NTLM | CASP_AUTH_WINDOWS
                                | CASP_AUTH_KERBEROS | CASP_AUTH_NEGOTIATE;
    bool good = true;

    if (v == NULL) {
        casp_checkup_say(c, FAIL, ID,
                         "enable Outlook Anywhere there, in every site",
                         "%s has no /rpc", s->name);
        return false;
    }
    if (!(v->internal_auth & integrated)) {
        casp_checkup_say(c, WARN, ID,
                         "Set-OutlookAnywhere -IISAuthenticationMethods "
                         "Basic,NTLM",
                         "/rpc of %s takes neither NTLM nor Kerberos",
                         s->name);
        good = false;
    }
    if (s->minor < 3) {
        casp_checkup_say(c, WARN, ID, "install Service Pack 3",
                         "%s is %d.%d; newer fronts want its SP3", s->name,
                         s->major, s->minor);
        good = false;
    }
    return good;
}

/* A 2010 front brings RPC to the 2007 mailbox role by itself. */
static bool keeps_out_of_the_way(casp_checkup_t *c, const casp_server_t *s,
                                 const casp_vdir_t *v)
{
    if (v == NULL) {
        return true;
    }
    casp_checkup_say(c, WARN, ID, "disable Outlook Anywhere there",
                     "%s has /rpc, which a 2010 front does not use", s->name);
    return false;
}

void casp_ctl_check_rpc(casp_checkup_t *c, const casp_settings_t *s,
                        const casp_topology_t *t)
{
    casp_version_e front = casp_front_version((casp_front_e)s->front);
    int asked = 0, good = 0;

    if (!(s->publish & (1 << CASP_PROTO_RPC)) || front < CASP_V2010) {
        casp_checkup_say(c, UNUSED, ID, NULL,
                         "no conditions: a 2007 front, or not published");
        return;
    }
    for (int i = 0; i < t->servers->nelts; i++) {
        const casp_server_t *server =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);
        bool older = server->version == CASP_V2007
                     || (server->version == CASP_V2010 && front >= CASP_V2013);
        if (!older || !(server->roles & CASP_ROLE_CAS)
            || server->site == NULL) {
            continue;
        }
        const casp_vdir_t *v = rpc_of(t, server);
        asked++;
        good += front >= CASP_V2013 ? bears_newer_front(c, server, v)
                                    : keeps_out_of_the_way(c, server, v);
    }
    if (good == asked) {
        casp_checkup_say(c, OK, ID, NULL,
                         "%d older Client Access servers are as a %s front "
                         "wants them",
                         asked, casp_front_name((casp_front_e)s->front));
    }
}
