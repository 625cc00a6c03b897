/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * gsswhy.c - what a KDC's no means here, and what the operator does next.
 *
 * Kerberos has one error code for several mistakes of an administrator, and
 * several codes for one; which it is follows from what was asked.  This is
 * one table, read from the top; the library's own words end each sentence,
 * so that nothing is lost by it.
 *
 * Must not: ask anybody anything.
 */

#include "gsstickets.h"

#include <errno.h>
#include <string.h>

#include <apr_strings.h>
#include <krb5.h>

#define ANY 0xff
#define OWN CASP_STEP_KEYTAB
#define PW CASP_STEP_PASSWORD
#define SELF CASP_STEP_SELF
#define TARGET CASP_STEP_TARGET
#define PROXY CASP_STEP_PROXY
#define LIBRARY CASP_STEP_LIBRARY

enum { PLAIN = 0, SILENT = 1, OF_HOST = 2, SEALED = 4 };

typedef struct {
    int steps;
    long code;
    casp_gss_e verdict;
    int flags; /* SEALED: only where the evidence may not be forwarded */
    const char *text; /* $u user, $r realm, $h host, $k keytab, $a account */
} why_t;

static const why_t whys[] = {
    /* nobody there */
    {ANY, KRB5_KDC_UNREACH, CASP_GSS_UNAVAILABLE, SILENT,
     "no KDC of $r answers; see whether a domain controller is reached at "
     "port 88, and the realm's kdc lines in krb5.conf or its DNS records"},
    {ANY, ETIMEDOUT, CASP_GSS_UNAVAILABLE, SILENT,
     "the KDC of $r does not answer; see whether a domain controller is "
     "reached at port 88"},
    {ANY, KRB5KDC_ERR_SVC_UNAVAILABLE, CASP_GSS_UNAVAILABLE, SILENT,
     "the KDC of $r says that it is not available; look at the domain "
     "controllers"},
    {ANY, KRB5_REALM_UNKNOWN, CASP_GSS_UNAVAILABLE, SILENT,
     "no KDC is known for $r; name one in [realms] of krb5.conf, or let "
     "this machine ask the domain's DNS"},
    {ANY, KRB5_REALM_CANT_RESOLVE, CASP_GSS_UNAVAILABLE, SILENT,
     "the name of the KDC of $r cannot be resolved; see krb5.conf and DNS"},
    /* clocks, wherever they are noticed */
    {ANY, KRB5KRB_AP_ERR_SKEW, CASP_GSS_REFUSED, PLAIN,
     "this machine's clock and that of the KDC of $r differ by more than "
     "five minutes; let both follow the same time source"},
    {ANY, KRB5_KDCREP_SKEW, CASP_GSS_REFUSED, PLAIN,
     "this machine's clock and that of the KDC of $r differ by more than "
     "five minutes; let both follow the same time source"},
    {ANY, KRB5KRB_AP_ERR_TKT_NYV, CASP_GSS_REFUSED, PLAIN,
     "this machine's clock and that of the KDC of $r differ; let both "
     "follow the same time source"},
    /* the front's own ticket */
    {OWN, ENOENT, CASP_GSS_MISSING, PLAIN,
     "there is no keytab $k; make one with ktpass or net ads keytab and "
     "name it in CasProxyKeytab"},
    {OWN, EACCES, CASP_GSS_MISSING, PLAIN,
     "the keytab $k may not be read; give it to httpd's user, mode 0600"},
    {OWN, KRB5_KT_NOTFOUND, CASP_GSS_MISSING, PLAIN,
     "the keytab $k has no key that the KDC takes for $a; export the "
     "account's own key into it, AES types included"},
    {OWN, KRB5_KT_END, CASP_GSS_MISSING, PLAIN,
     "the keytab $k is empty; export the service account's keys into it"},
    {OWN, KRB5_KEYTAB_BADVNO, CASP_GSS_MISSING, PLAIN,
     "$k is no keytab; export the service account's keys into a new file"},
    {OWN, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, CASP_GSS_MISSING, PLAIN,
     "Active Directory knows no account $a; the keytab $k needs the key of "
     "the service account itself (name@REALM), not only that of its SPN"},
    {OWN, KRB5KDC_ERR_PREAUTH_FAILED, CASP_GSS_REFUSED, PLAIN,
     "the key of $a in $k is not the account's present one; export the "
     "keytab again after each change of its password"},
    {OWN, KRB5KRB_AP_ERR_BAD_INTEGRITY, CASP_GSS_REFUSED, PLAIN,
     "the key of $a in $k is not the account's present one; export the "
     "keytab again after each change of its password"},
    {OWN, KRB5KDC_ERR_CLIENT_REVOKED, CASP_GSS_REFUSED, PLAIN,
     "the service account $a is disabled, locked or expired; enable it"},
    {OWN, KRB5KDC_ERR_KEY_EXP, CASP_GSS_REFUSED, PLAIN,
     "the password of the service account $a has expired; set it anew to "
     "never expire and export the keytab again"},
    {OWN | PW, KRB5KDC_ERR_ETYPE_NOSUPP, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r and this machine share no encryption type; set "
     "msDS-SupportedEncryptionTypes of the account to 24 (AES), its "
     "password anew, and export a keytab again"},
    /* by password */
    {PW, KRB5KDC_ERR_PREAUTH_FAILED, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r refuses the password of $u"},
    {PW, KRB5KRB_AP_ERR_BAD_INTEGRITY, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r refuses the password of $u"},
    {PW | SELF, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r knows no user $u"},
    {PW, KRB5KDC_ERR_CLIENT_REVOKED, CASP_GSS_REFUSED, PLAIN,
     "the account $u is disabled, locked, expired or outside its logon "
     "hours"},
    {PW | SELF | TARGET | PROXY, KRB5KDC_ERR_NAME_EXP, CASP_GSS_REFUSED, PLAIN,
     "the account $u has expired"},
    {PW | SELF | TARGET | PROXY, KRB5KDC_ERR_KEY_EXP, CASP_GSS_REFUSED, PLAIN,
     "the password of $u has expired or must be changed"},
    {PW, KRB5KDC_ERR_POLICY, CASP_GSS_REFUSED, PLAIN,
     "a policy keeps $u from logging on: hours, workstations or an "
     "authentication policy"},
    /* by S4U2Self */
    {SELF, KRB5KDC_ERR_CLIENT_REVOKED, CASP_GSS_REFUSED, PLAIN,
     "the account $u is disabled, locked or expired"},
    {SELF, KRB5KDC_ERR_POLICY, CASP_GSS_REFUSED, PLAIN,
     "the KDC gives no ticket in the name of $u: the account is disabled, "
     "expired, or a policy forbids it"},
    {SELF, KRB5KDC_ERR_PADATA_TYPE_NOSUPP, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r does not know S4U2Self; a domain controller of Windows "
     "2003 or newer does"},
    {SELF, KRB5KDC_ERR_BADOPTION, CASP_GSS_REFUSED, PLAIN,
     "the KDC gives $a no ticket in the name of $u; see that $a has an SPN "
     "and is trusted for delegation with any protocol"},
    {SELF, KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, CASP_GSS_REFUSED, PLAIN,
     "the KDC gives $a no ticket to itself, which it does only for an "
     "account with an SPN; set one with: setspn -S HTTP/<this front's "
     "name> $a"},
    /* for a backend */
    {TARGET | PROXY, KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN, CASP_GSS_REFUSED,
     OF_HOST,
     "no account in Active Directory has the SPN HTTP/$h, or two have it; "
     "set it with: setspn -S HTTP/$h <account of that server>"},
    {TARGET | PROXY, KRB5KDC_ERR_MUST_USE_USER2USER, CASP_GSS_REFUSED, OF_HOST,
     "the SPN HTTP/$h is registered on an account that is no service's; "
     "look for it with: setspn -Q HTTP/$h"},
    {PROXY, KRB5KDC_ERR_BADOPTION, CASP_GSS_REFUSED, SEALED,
     "the ticket in the name of $u may not be passed on: either $a is not "
     "trusted to authenticate for delegation (userAccountControl "
     "TRUSTED_TO_AUTH_FOR_DELEGATION, \"use any authentication protocol\"), "
     "or $u is sensitive and cannot be delegated, or is in Protected Users"},
    {PROXY, KRB5_TKT_NOT_FORWARDABLE, CASP_GSS_REFUSED, PLAIN,
     "the ticket in the name of $u may not be passed on: either $a is not "
     "trusted to authenticate for delegation (userAccountControl "
     "TRUSTED_TO_AUTH_FOR_DELEGATION, \"use any authentication protocol\"), "
     "or $u is sensitive and cannot be delegated, or is in Protected Users"},
    {PROXY, KRB5KDC_ERR_BADOPTION, CASP_GSS_REFUSED, OF_HOST,
     "$a may not act for users towards HTTP/$h; add that SPN to its "
     "msDS-AllowedToDelegateTo (delegation tab of the account)"},
    {PROXY, KRB5KDC_ERR_POLICY, CASP_GSS_REFUSED, OF_HOST,
     "$a may not act for $u towards HTTP/$h; see its "
     "msDS-AllowedToDelegateTo and the user's account"},
    {PROXY, KRB5_KDCREP_MODIFIED, CASP_GSS_REFUSED, OF_HOST,
     "the KDC did not answer the request to act for $u; see that $a is "
     "trusted for delegation to HTTP/$h"},
    {TARGET | PROXY, KRB5KDC_ERR_ETYPE_NOSUPP, CASP_GSS_REFUSED, OF_HOST,
     "the account that has the SPN HTTP/$h takes no encryption type of "
     "this machine; set its msDS-SupportedEncryptionTypes to 24 (AES) and "
     "its password anew"},
    {TARGET | PROXY, KRB5KDC_ERR_CLIENT_REVOKED, CASP_GSS_REFUSED, PLAIN,
     "the account $u is disabled, locked or expired"},
    {TARGET | PROXY, KRB5KDC_ERR_POLICY, CASP_GSS_REFUSED, OF_HOST,
     "a policy keeps $u from HTTP/$h"},
    /* this machine */
    {ANY, KRB5_CONFIG_BADFORMAT, CASP_GSS_MISSING, PLAIN,
     "krb5.conf has a line that cannot be read"},
    {ANY, KRB5_CONFIG_CANTOPEN, CASP_GSS_MISSING, PLAIN,
     "krb5.conf cannot be opened"},
    {ANY, KRB5_CONFIG_NODEFREALM, CASP_GSS_MISSING, PLAIN,
     "krb5.conf names no default_realm; name one in [libdefaults]"},
    {ANY, ENOMEM, CASP_GSS_MISSING, PLAIN, "there is no memory"},
};

/* What no row knows, by what was asked. */
static const why_t others[] = {
    {PW, 0, CASP_GSS_REFUSED, PLAIN,
     "the KDC of $r gives no ticket for the password of $u"},
    {OWN, 0, CASP_GSS_REFUSED, PLAIN,
     "no ticket for $a can be got with the keytab $k"},
    {SELF, 0, CASP_GSS_REFUSED, PLAIN,
     "the KDC gives $a no ticket in the name of $u"},
    {TARGET, 0, CASP_GSS_REFUSED, OF_HOST,
     "the KDC gives $u no ticket for HTTP/$h"},
    {PROXY, 0, CASP_GSS_REFUSED, OF_HOST,
     "the KDC does not let $a act for $u towards HTTP/$h"},
    {ANY, 0, CASP_GSS_MISSING, PLAIN, "the Kerberos library fails"},
};

static const char *word(const casp_kdc_ask_t *ask, char letter)
{
    const char *text = letter == 'u'   ? ask->user
                       : letter == 'r' ? ask->realm
                       : letter == 'h' ? ask->host
                       : letter == 'k' ? ask->keytab
                                       : ask->account;
    return text ? text : letter == 'a' ? "this front's account" : "?";
}

static const char *fill(const casp_kdc_ask_t *ask, const char *text)
{
    const char *said = "";
    const char *mark;

    while ((mark = strchr(text, '$'))) {
        said =
            apr_pstrcat(ask->p, said, apr_pstrndup(ask->p, text, mark - text),
                        word(ask, mark[1]), NULL);
        text = mark + 2;
    }
    return apr_pstrcat(ask->p, said, text, NULL);
}

casp_gss_e casp_kdc_explain(casp_kdc_ask_t *ask, casp_step_e step, long code,
                            const char *text)
{
    const why_t *row = NULL;

    for (size_t i = 0; !row && i < sizeof(whys) / sizeof(*whys); i++) {
        if ((whys[i].steps & step) && whys[i].code == code
            && !((whys[i].flags & SEALED) && ask->may_forward)) {
            row = &whys[i];
        }
    }
    for (size_t i = 0; !row; i++) {
        row = others[i].steps & step ? &others[i] : NULL;
    }
    ask->silent = (row->flags & SILENT) != 0;
    ask->of_host = (row->flags & OF_HOST) != 0;
    ask->why = apr_psprintf(ask->p, "%s (%s)", fill(ask, row->text),
                            text && *text ? text : "no more is known");
    return row->verdict;
}
