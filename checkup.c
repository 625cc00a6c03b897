/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * checkup.c - the judging half of casproxyctl check.
 *
 * Each line says how a thing is and, where it is not well, which attribute,
 * flag or command mends it, in the words that an administrator of Active
 * Directory finds on the screen.  Nothing is gathered here, so that every
 * verdict can be tested without a domain.
 *
 * Must not: ask a directory, a KDC or a file.
 */

#include "checkup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

/* userAccountControl */
#define UAC_DISABLED 0x2
#define UAC_NOT_DELEGATED 0x100000
#define UAC_TRUSTED_TO_AUTH 0x1000000

#define CLOCK_WARN 60 /* seconds */
#define CLOCK_FAIL 300 /* what Kerberos bears */

const char *const casp_check_account_attrs[] = {
    "sAMAccountName",
    "userAccountControl",
    "msDS-KeyVersionNumber",
    "msDS-SupportedEncryptionTypes",
    "servicePrincipalName",
    "msDS-AllowedToDelegateTo",
    "msDS-AllowedToActOnBehalfOfOtherIdentity",
    "memberOf",
    NULL};

void casp_checkup_init(casp_checkup_t *c, apr_pool_t *p)
{
    memset(c, 0, sizeof(*c));
    c->p = p;
    c->lines = apr_array_make(p, 32, sizeof(casp_check_line_t));
}

void casp_checkup_say(casp_checkup_t *c, casp_check_e result, const char *id,
                      const char *remedy, const char *fmt, ...)
{
    casp_check_line_t *line = apr_array_push(c->lines);
    va_list args;

    va_start(args, fmt);
    line->result = result;
    line->id = id;
    line->text = apr_pvsprintf(c->p, fmt, args);
    line->remedy = remedy;
    va_end(args);
    c->count[result]++;
}

const char *casp_check_name(casp_check_e result)
{
    static const char *const names[] = {"ok", "unused", "warn", "FAIL"};
    return names[result];
}

/* --------------------------------------------------------------- accounts */

static bool in_protected_users(const casp_attr_t *groups)
{
    static const char name[] = "CN=Protected Users,CN=Users,";

    for (int i = 0; groups && i < groups->nvalues; i++) {
        if (!strncasecmp(groups->values[i].data, name, sizeof(name) - 1)) {
            return true;
        }
    }
    return false;
}

void casp_check_account(const casp_entry_t *e, casp_check_account_t *a)
{
    memset(a, 0, sizeof(*a));
    a->dn = e->dn;
    a->sam = casp_entry_str(e, "sAMAccountName");
    a->sam = a->sam ? a->sam : "?";
    a->uac = casp_entry_int(e, "userAccountControl", 0);
    a->kvno = casp_entry_int(e, "msDS-KeyVersionNumber", -1);
    a->etypes = casp_entry_int(e, "msDS-SupportedEncryptionTypes", 0);
    a->spns = casp_entry_attr(e, "servicePrincipalName");
    a->allowed = casp_entry_attr(e, "msDS-AllowedToDelegateTo");
    a->by_resource =
        casp_entry_attr(e, "msDS-AllowedToActOnBehalfOfOtherIdentity") != NULL;
    a->is_protected = in_protected_users(casp_entry_attr(e, "memberOf"));
}

bool casp_check_holds(const casp_attr_t *spns, const char *spn)
{
    for (int i = 0; spns && i < spns->nvalues; i++) {
        if (!apr_cstr_casecmp(spns->values[i].data, spn)) {
            return true;
        }
    }
    return false;
}

const char *casp_check_realm(apr_pool_t *p, const char *dn)
{
    char *realm = apr_pstrdup(p, "");

    for (const char *at = dn; at && *at; at = casp_dn_parent(at)) {
        if (!strncasecmp(at, "DC=", 3)) {
            realm = apr_pstrcat(p, realm, *realm ? "." : "",
                                casp_dn_leaf(p, at), NULL);
        }
    }
    for (char *c = realm; *c; c++) {
        *c = apr_toupper(*c);
    }
    return realm;
}

/* ------------------------------------------------------------------- keys */

static bool of_account(const casp_check_key_t *k, const char *sam)
{
    return !k->spn && !apr_cstr_casecmp(k->name, sam);
}

/* The highest version of an account's own keys; -1: none. */
static int64_t highest(const apr_array_header_t *keys, const char *sam)
{
    int64_t kvno = -1;

    for (int i = 0; i < keys->nelts; i++) {
        const casp_check_key_t *k = &APR_ARRAY_IDX(keys, i, casp_check_key_t);
        if (of_account(k, sam) && (int64_t)k->kvno > kvno) {
            kvno = k->kvno;
        }
    }
    return kvno;
}

/* Has it a key of this type, of the latest version? */
static bool has_type(const apr_array_header_t *keys, const char *sam,
                     int etype)
{
    int64_t kvno = highest(keys, sam);

    for (int i = 0; i < keys->nelts; i++) {
        const casp_check_key_t *k = &APR_ARRAY_IDX(keys, i, casp_check_key_t);
        if (of_account(k, sam) && k->kvno == kvno && k->etype == etype) {
            return true;
        }
    }
    return false;
}

static void version(casp_checkup_t *c, const apr_array_header_t *keys,
                    const casp_check_account_t *a)
{
    int64_t mine = highest(keys, a->sam);

    if (mine < 0) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "keytab-account",
                         "export the account's own key into the keytab too: "
                         "an SPN is no client in Active Directory",
                         "the keytab has no key of %s itself, so that no "
                         "ticket can be got with it",
                         a->sam);
        return;
    }
    if (a->kvno < 0) {
        casp_checkup_say(c, CASP_CHECK_WARN, "keytab-kvno",
                         "let the service's bind account read "
                         "msDS-KeyVersionNumber",
                         "the directory does not tell the version of %s's key",
                         a->sam);
        return;
    }
    /* the number on the wire has eight bits at times, and 0 is "any" */
    bool same = !mine || mine == a->kvno || (mine & 0xff) == (a->kvno & 0xff);
    casp_checkup_say(
        c, same ? CASP_CHECK_OK : CASP_CHECK_FAIL, "keytab-kvno",
        same ? NULL
             : "the password was changed after the keytab was made: export "
               "the keytab again",
        "%s's key has version %" APR_INT64_T_FMT
        " in the keytab and %" APR_INT64_T_FMT " in the directory",
        a->sam, (apr_int64_t)mine, (apr_int64_t)a->kvno);
}

static void types(casp_checkup_t *c, const apr_array_header_t *keys,
                  const casp_check_account_t *a)
{
    bool aes256 = has_type(keys, a->sam, CASP_ETYPE_AES256);
    bool aes = aes256 || has_type(keys, a->sam, CASP_ETYPE_AES128);
    bool rc4 = has_type(keys, a->sam, CASP_ETYPE_RC4);
    bool fits = a->etypes & CASP_AD_AES256   ? aes256
                : a->etypes & CASP_AD_AES128 ? aes
                : a->etypes & CASP_AD_RC4    ? rc4
                                             : rc4 || aes;
    if (!fits) {
        casp_checkup_say(
            c, CASP_CHECK_FAIL, "keytab-types",
            "export the keytab again with all types (ktpass -crypto All)",
            "the directory makes tickets for %s of a type of which the "
            "keytab has no key (msDS-SupportedEncryptionTypes %d)",
            a->sam, (int)a->etypes);
    }
    else if (!aes || !(a->etypes & (CASP_AD_AES128 | CASP_AD_AES256))) {
        casp_checkup_say(
            c, CASP_CHECK_WARN, "keytab-types",
            "set msDS-SupportedEncryptionTypes to 24, then the password anew, "
            "then export the keytab again",
            !aes ? "%s has RC4 keys only, which new domain controllers refuse"
                 : "msDS-SupportedEncryptionTypes of %s names no AES, so that "
                   "tickets may come with RC4",
            a->sam);
    }
    else {
        casp_checkup_say(c, CASP_CHECK_OK, "keytab-types", NULL,
                         "%s has AES keys", a->sam);
    }
}

void casp_checkup_keys(casp_checkup_t *c, const apr_array_header_t *keys,
                       const casp_check_account_t *account)
{
    if (account->uac & UAC_DISABLED) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "account", "enable the account",
                         "the service account %s is disabled", account->sam);
    }
    version(c, keys, account);
    if (highest(keys, account->sam) >= 0) {
        types(c, keys, account);
    }
}

/* -------------------------------------------------------------------- SPN */

static const char *all_names(apr_pool_t *p, const apr_array_header_t *holders)
{
    const char *names = "";

    for (int i = 0; i < holders->nelts; i++) {
        names = apr_pstrcat(
            p, names, i ? ", " : "",
            APR_ARRAY_IDX(holders, i, const casp_check_account_t *)->dn, NULL);
    }
    return names;
}

static bool has_key_of(const apr_array_header_t *keys, const char *spn)
{
    for (int i = 0; i < keys->nelts; i++) {
        const casp_check_key_t *k = &APR_ARRAY_IDX(keys, i, casp_check_key_t);
        if (k->spn && !apr_cstr_casecmp(k->name, spn)) {
            return true;
        }
    }
    return false;
}

void casp_checkup_spn(casp_checkup_t *c, const char *spn,
                      const apr_array_header_t *holders,
                      const apr_array_header_t *keys,
                      const casp_check_account_t *own)
{
    const casp_check_account_t *holder =
        holders->nelts == 1
            ? APR_ARRAY_IDX(holders, 0, const casp_check_account_t *)
            : NULL;
    bool same = holder && own && !apr_cstr_casecmp(holder->dn, own->dn);

    if (!holders->nelts) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "spn",
                         apr_psprintf(c->p, "setspn -S %s %s", spn,
                                      own ? own->sam : "<service account>"),
                         "no account has the SPN %s, so that browsers get no "
                         "ticket for this front",
                         spn);
    }
    else if (!holder) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "spn",
                         "take it from all but one with setspn -D",
                         "the SPN %s is on several accounts, which makes the "
                         "KDC refuse it: %s",
                         spn, all_names(c->p, holders));
    }
    else if (!same && !has_key_of(keys, spn)
             && highest(keys, holder->sam) < 0) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "spn",
                         "export the keys of that account into the keytab, "
                         "or move the SPN to the account that it has",
                         "the SPN %s is on %s, of which the keytab has no key",
                         spn, holder->sam);
    }
    else if (own && !same) {
        casp_checkup_say(c, CASP_CHECK_WARN, "spn", "use one account for both",
                         "the SPN %s is on %s, but delegation is done by %s",
                         spn, holder->sam, own->sam);
    }
    else {
        casp_checkup_say(c, CASP_CHECK_OK, "spn", NULL,
                         "%s is on %s alone, and the keytab has its key", spn,
                         holder->sam);
    }
}

/* ------------------------------------------------------------- delegation */

void casp_checkup_trusted(casp_checkup_t *c,
                          const casp_check_account_t *account)
{
    bool trusted = account->uac & UAC_TRUSTED_TO_AUTH;

    casp_checkup_say(
        c, trusted ? CASP_CHECK_OK : CASP_CHECK_FAIL, "trusted",
        trusted ? NULL
                : "delegation tab of the account: \"Trust this user for "
                  "delegation to specified services only\" with \"Use any "
                  "authentication protocol\" (TRUSTED_TO_AUTH_FOR_DELEGATION)",
        trusted ? "%s is trusted to authenticate for delegation"
                : "%s is not trusted to authenticate for delegation, so that "
                  "it cannot act for users who came by NTLM",
        account->sam);
    if (!account->spns) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "trusted",
                         apr_psprintf(c->p, "setspn -S HTTP/<this front> %s",
                                      account->sam),
                         "%s has no SPN, without which the KDC gives it no "
                         "ticket in a user's name",
                         account->sam);
    }
}

void casp_checkup_backend(casp_checkup_t *c, const char *host,
                          const apr_array_header_t *holders, bool forest,
                          const casp_check_account_t *account)
{
    const char *spn = apr_pstrcat(c->p, "HTTP/", host, NULL);
    const casp_check_account_t *holder =
        holders->nelts == 1
            ? APR_ARRAY_IDX(holders, 0, const casp_check_account_t *)
            : NULL;

    if (!holder) {
        bool none = !holders->nelts;
        casp_checkup_say(
            c, none && forest ? CASP_CHECK_WARN : CASP_CHECK_FAIL,
            "backend-spn",
            none ? apr_psprintf(c->p, "setspn -S %s <account of that server>",
                                spn)
                 : "take it from all but one with setspn -D",
            none ? "no account%s has the SPN %s, so that there is no ticket "
                   "for that backend%s"
                 : "several accounts%s have the SPN %s, which makes the KDC "
                   "refuse it: %s",
            none && forest ? " of this domain" : "", spn,
            none ? "" : all_names(c->p, holders));
        return;
    }
    if (account && casp_check_holds(account->allowed, spn)) {
        casp_checkup_say(c, CASP_CHECK_OK, "delegation", NULL,
                         "%s may act for users towards %s (on %s)",
                         account->sam, spn, holder->sam);
    }
    else if (holder->by_resource) {
        casp_checkup_say(c, CASP_CHECK_WARN, "delegation",
                         "try it: casproxyctl check --user NAME",
                         "%s says itself who may act for users towards %s "
                         "(resource-based); whether that holds for this front "
                         "was not looked at",
                         holder->sam, spn);
    }
    else {
        casp_checkup_say(
            c, CASP_CHECK_FAIL, "delegation",
            apr_psprintf(c->p,
                         "delegation tab of the account, \"Add\": or add %s "
                         "to msDS-AllowedToDelegateTo",
                         spn),
            "%s may not act for users towards %s",
            account ? account->sam : "the keytab's account", spn);
    }
}

bool casp_checkup_user(casp_checkup_t *c, const casp_check_account_t *user)
{
    const char *why =
        user->uac & UAC_DISABLED ? "is disabled"
        : user->uac & UAC_NOT_DELEGATED
            ? "is sensitive and cannot be delegated (account tab)"
        : user->is_protected ? "is in Protected Users, for whom nobody may act"
                             : NULL;
    if (why) {
        casp_checkup_say(c, CASP_CHECK_FAIL, "user",
                         "choose another user, or mend the account", "%s %s",
                         user->sam, why);
    }
    return why != NULL;
}

/* ------------------------------------------------------------------ clock */

bool casp_check_stamp(const char *stamp, apr_time_t *when)
{
    apr_time_exp_t t;

    memset(&t, 0, sizeof(t));
    for (int i = 0; i < 14; i++) {
        if (!apr_isdigit(stamp[i])) {
            return false;
        }
    }
    if (sscanf(stamp, "%4d%2d%2d%2d%2d%2d", &t.tm_year, &t.tm_mon, &t.tm_mday,
               &t.tm_hour, &t.tm_min, &t.tm_sec)
            != 6
        || stamp[strcspn(stamp, "Z")] != 'Z') {
        return false;
    }
    t.tm_year -= 1900;
    t.tm_mon--;
    return apr_time_exp_gmt_get(when, &t) == APR_SUCCESS;
}

void casp_checkup_clock(casp_checkup_t *c, const char *stamp, apr_time_t now)
{
    apr_time_t theirs;

    if (!stamp || !casp_check_stamp(stamp, &theirs)) {
        casp_checkup_say(c, CASP_CHECK_WARN, "clock",
                         "compare it with a domain controller's by hand",
                         "the directory does not tell its time");
        return;
    }
    int64_t off = apr_time_sec(now) - apr_time_sec(theirs);
    int64_t much = off < 0 ? -off : off;
    casp_check_e result = much > CLOCK_FAIL   ? CASP_CHECK_FAIL
                          : much > CLOCK_WARN ? CASP_CHECK_WARN
                                              : CASP_CHECK_OK;
    if (result == CASP_CHECK_OK) {
        casp_checkup_say(c, result, "clock", NULL,
                         "this machine and the domain controller differ by "
                         "%" APR_INT64_T_FMT " s",
                         (apr_int64_t)much);
        return;
    }
    casp_checkup_say(c, result, "clock",
                     "let this machine take its time from the domain (NTP)",
                     "this machine's clock is %" APR_INT64_T_FMT
                     " s %s the domain controller's; Kerberos bears 300 s",
                     (apr_int64_t)much, off < 0 ? "behind" : "ahead of");
}
