/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ntlmwinbind.c - what Samba says, in words of ours: what an NT_STATUS of
 * ntlm_auth's means, and which SID belongs to the name that it has verified.
 *
 * ntlm_auth tells a name only.  The SID is asked of winbindd by libwbclient,
 * which is loaded when it is needed first: it belongs to the package that the
 * helper comes with, and without it the name counts.  Each question has a
 * connection of its own, because the library's common one is not for threads.
 * libwbclient gives up after 30 s; winbindd has just answered the helper.
 */

#include "ntlmhelper.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

/* ------------------------------------------------------------- libwbclient */

struct wbcContext;
typedef struct {
    uint8_t revision, count, authority[6];
    uint32_t sub[15];
} wbc_sid_t;
typedef struct {
    uint32_t interface;
    const char *version;
    char separator;
    const char *netbios_name, *netbios_domain, *dns_domain;
} wbc_details_t;
enum { WBC_SUCCESS = 0, WBC_SID_USER = 1 };

static struct {
    struct wbcContext *(*create)(void);
    void (*free)(struct wbcContext *);
    int (*ping)(struct wbcContext *);
    int (*details)(struct wbcContext *, wbc_details_t **);
    int (*lookup)(struct wbcContext *, const char *domain, const char *name,
                  wbc_sid_t *sid, int *type);
    void (*free_memory)(void *);
    bool there;
} wbc;

static bool load_one(void *lib, const char *name, void *to)
{
    void *sym = dlsym(lib, name);
    memcpy(to, &sym, sizeof(sym));
    return sym != NULL;
}

static void load(void)
{
    /* For good: this process is to use it as long as it lives. */
    void *lib =
        dlopen("libwbclient.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    wbc.there = lib && load_one(lib, "wbcCtxCreate", &wbc.create)
                && load_one(lib, "wbcCtxFree", &wbc.free)
                && load_one(lib, "wbcCtxPing", &wbc.ping)
                && load_one(lib, "wbcCtxInterfaceDetails", &wbc.details)
                && load_one(lib, "wbcCtxLookupName", &wbc.lookup)
                && load_one(lib, "wbcFreeMemory", &wbc.free_memory);
    if (!wbc.there) {
        casp_log(CASP_LOG_NOTICE, 0,
                 CASPLOGNO(0702) "no libwbclient.so.0 of Samba 4.2 or newer; "
                                 "users who log on by NTLM are looked up by "
                                 "their names, not by SID");
    }
}

static struct wbcContext *context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return wbc.there ? wbc.create() : NULL;
}

static bool winbindd_runs(void)
{
    struct wbcContext *ctx = context();
    bool runs = ctx && wbc.ping(ctx) == WBC_SUCCESS;
    if (ctx) {
        wbc.free(ctx);
    }
    return runs;
}

/* A domain's own account: S-1-5-21-a-b-c-rid, and no group or "anonymous". */
static bool of_account(const wbc_sid_t *sid)
{
    static const uint8_t nt[6] = {0, 0, 0, 0, 0, 5};
    return sid->revision == 1 && sid->count == 5 && sid->sub[0] == 21
           && memcmp(sid->authority, nt, sizeof(nt)) == 0;
}

static apr_size_t write_sid(const wbc_sid_t *sid, unsigned char *to)
{
    unsigned char *at = to;
    *at++ = sid->revision;
    *at++ = sid->count;
    memcpy(at, sid->authority, 6);
    at += 6;
    for (int i = 0; i < sid->count; i++) {
        for (int shift = 0; shift < 32; shift += 8) {
            *at++ = (unsigned char)(sid->sub[i] >> shift);
        }
    }
    return (apr_size_t)(at - to);
}

/* The separator is smb.conf's to choose. */
static const char *canonical(apr_pool_t *p, struct wbcContext *ctx,
                             const char *name)
{
    wbc_details_t *d = NULL;
    if (strchr(name, '\\') || !ctx || wbc.details(ctx, &d) != WBC_SUCCESS) {
        return name;
    }
    const char *at = d->separator ? strchr(name, d->separator) : NULL;
    if (at) {
        name = apr_pstrcat(p, apr_pstrmemdup(p, name, (apr_size_t)(at - name)),
                           "\\", at + 1, NULL);
    }
    else if (d->netbios_domain) {
        name = apr_pstrcat(p, d->netbios_domain, "\\", name, NULL);
    }
    wbc.free_memory(d);
    return name;
}

const char *casp_winbind_identify(apr_pool_t *p, const char *name,
                                  casp_verified_t *who)
{
    struct wbcContext *ctx = context();
    const char *wrong = NULL;
    who->name = canonical(p, ctx, apr_pstrdup(p, name));
    who->sid_len = 0;
    const char *backslash = strchr(who->name, '\\');
    if (ctx && backslash) {
        const char *domain =
            apr_pstrmemdup(p, who->name, (apr_size_t)(backslash - who->name));
        wbc_sid_t sid;
        int type = 0;
        memset(&sid, 0, sizeof(sid));
        if (wbc.lookup(ctx, domain, backslash + 1, &sid, &type)
            != WBC_SUCCESS) {
            casp_log(CASP_LOG_DEBUG, 0,
                     CASPLOGNO(0703) "winbindd knows no SID of \"%s\"; the "
                                     "name counts",
                               who->name);
        }
        else if (type != WBC_SID_USER || !of_account(&sid)) {
            wrong =
                apr_psprintf(p, "\"%s\" is not a user of a domain", who->name);
        }
        else {
            who->sid_len = write_sid(&sid, who->sid);
        }
    }
    if (ctx) {
        wbc.free(ctx);
    }
    return wrong;
}

/* --------------------------------------------------------------- NT_STATUS */

#define REFUSED CASP_NTLM_REFUSED
#define UNAVAILABLE CASP_NTLM_UNAVAILABLE

static const struct {
    const char *status; /* without NT_STATUS_ */
    casp_ntlm_e verdict;
    const char *words;
} statuses[] = {
    {"LOGON_FAILURE", REFUSED, "wrong name or password"},
    {"WRONG_PASSWORD", REFUSED, "wrong password"},
    {"NO_SUCH_USER", REFUSED, "no such user"},
    {"NOT_FOUND", REFUSED, "no such user"},
    {"ACCOUNT_DISABLED", REFUSED, "the account is disabled"},
    {"ACCOUNT_LOCKED_OUT", REFUSED, "the account is locked"},
    {"ACCOUNT_EXPIRED", REFUSED, "the account is expired"},
    {"PASSWORD_EXPIRED", REFUSED, "the password is expired"},
    {"PASSWORD_MUST_CHANGE", REFUSED, "the password must be changed"},
    {"INVALID_LOGON_HOURS", REFUSED, "not at these hours"},
    {"INVALID_WORKSTATION", REFUSED, "not from that workstation"},
    {"ACCOUNT_RESTRICTION", REFUSED,
     "the account is restricted: Protected "
     "Users may not use NTLM"},
    {"LOGON_TYPE_NOT_GRANTED", REFUSED, "the account may not log on here"},
    {"AUTHENTICATION_FIREWALL_FAILED", REFUSED,
     "a selective trust does not let the account log on here"},
    {"SMARTCARD_LOGON_REQUIRED", REFUSED, "the account needs a smart card"},
    {"NTLM_BLOCKED", REFUSED, "the domain's policy forbids NTLM"},
    {"INVALID_PARAMETER", REFUSED,
     "the client's message is not NTLM as it "
     "should be"},
    {"NO_LOGON_SERVERS", UNAVAILABLE,
     "winbindd reaches no domain controller; see wbinfo -P"},
    {"DOMAIN_CONTROLLER_NOT_FOUND", UNAVAILABLE,
     "winbindd finds no domain controller; see wbinfo -P, and DNS"},
    {"IO_TIMEOUT", UNAVAILABLE,
     "the domain controller did not answer winbindd in time"},
    {"ACCESS_DENIED", UNAVAILABLE,
     "the domain controller denies winbindd's question; see wbinfo -t, and "
     "join again"},
    {"CANT_ACCESS_DOMAIN_INFO", UNAVAILABLE,
     "this machine is not joined: net ads join"},
    {"NO_TRUST_LSA_SECRET", UNAVAILABLE,
     "this machine is not joined: net ads join"},
    {"NO_TRUST_SAM_ACCOUNT", UNAVAILABLE,
     "the domain has no account of this machine any more: net ads join"},
    {"TRUSTED_RELATIONSHIP_FAILURE", UNAVAILABLE,
     "the domain does not trust this machine any more: net ads join"},
    {"TRUSTED_DOMAIN_FAILURE", UNAVAILABLE,
     "the trust with the user's domain is broken"},
};

/* One word for several things that are missing. */
static const char *unsuccessful(void)
{
    if (winbindd_runs()) {
        return "winbindd runs, but ntlm_auth got nothing from it: httpd's "
               "user must be in the group that may open winbindd's "
               "privileged pipe (usermod -a -G winbindd_priv www-data), and "
               "httpd restarted; then see wbinfo -t";
    }
    return "winbindd does not answer: start it (systemctl start winbind), "
           "and see wbinfo -p; httpd's user must be in the group "
           "winbindd_priv";
}

casp_ntlm_e casp_winbind_judge(apr_pool_t *p, const char *status, bool trouble,
                               const char **why)
{
    static const char prefix[] = "NT_STATUS_";
    const char *bare = status;
    if (strncasecmp(bare, prefix, sizeof(prefix) - 1) == 0) {
        bare += sizeof(prefix) - 1;
    }
    for (apr_size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (strcasecmp(bare, statuses[i].status) == 0) {
            *why = apr_psprintf(p, "%s (%s)", statuses[i].words, status);
            return statuses[i].verdict;
        }
    }
    if (trouble) {
        *why = apr_psprintf(p, "%s (%s)", unsuccessful(), status);
        return UNAVAILABLE;
    }
    *why = apr_psprintf(p, "winbindd says no (%s)", status);
    return REFUSED;
}
