/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * reasons.c: the words of a decision: reason codes with their statuses and
 * what an operator does about them, why no single sign-on was possible, the
 * names of the facts.
 *
 * The codes are promises to other people's scripts: none changes its meaning.
 *
 * Must not: know a rule.
 */

#include "decision.h"

#include <string.h>

/* Statuses: 503 where the organisation or the directory is at fault, or where
 * it may pass by itself; 403 where it is about this user's mailbox, so that a
 * retry would not help. */
/* clang-format off */
static const casp_reason_t reasons[] = {
    { "mailbox-in-this-site", 0,
      "The mailbox is in this front's own site." },
    { "mailbox-in-other-site", 0, "The mailbox is in another site." },
    { "mailbox-on-2003", 0, "The mailbox is on Exchange 2000 or 2003." },
    { "mailbox-on-2007", 0, "The mailbox is on Exchange 2007." },
    { "database-mounted-elsewhere", 0,
      "The database is mounted away from its client access array. Until it "
      "moves back, or RpcClientAccessServer is set anew, a temporary page is "
      "shown." },
    { "legacy-path", 0, "The old path leads to /owa." },
    { "redirect-mode", 0, "CasProxy Redirect: always redirected." },
    { "public-folders-on-2003", 0, "Public folders come from Exchange 2003."},
    { "webdav-to-mailbox-server", 0,
      "WebDAV goes to the 2007 mailbox server's own directory." },
    { "older-mailbox-answered-here", 0,
      "Servers of the front's own version answer for older mailboxes, and for "
      "services that the mailbox's version lacks." },
    { "autodiscover-answered-here", 0,
      "CasProxyAutodiscover Answer: this front answers from what the "
      "directory says." },
    { "rpc-not-enabled", 0,
      "A Client Access server of the mailbox's site has no /rpc in AD: enable "
      "Outlook Anywhere on every one (Enable-OutlookAnywhere)." },
    { "rpc-needs-integrated", 0,
      "The server's /rpc takes Basic alone: allow NTLM beside it "
      "(Set-OutlookAnywhere -IISAuthenticationMethods Basic,NTLM)." },
    { "url-traversal", 403,
      "The URL holds \"..\", a backslash or a doubled slash." },
    { "url-encoding", 403, "The URL can be read in more than one way." },
    { "url-characters", 403,
      "The URL holds characters that no mailbox or item has." },
    { "url-forbidden", 403,
      "The URL names something that only Exchange servers ask of each other, "
      "or has the shape of a known attack." },
    { "url-rewritten", 403,
      "Another module changed the URL (RewriteRule with PT), and so what "
      "httpd authorized is not what would be sent: use a redirection (R)." },
    { "method-refused", 403,
      "TRACE, TRACK and CONNECT are nothing that a client of Exchange uses."},
    { "eas-method", 405,
      "ActiveSync devices use POST and OPTIONS and nothing else; this was a "
      "browser, or a monitor (which should send OPTIONS)." },
    { "not-published", 404,
      "CasProxyPublish does not name this protocol (and /exadmin never is)."},
    { "tls-required", 403,
      "CasProxyRequireTLS: the client must use https." },
    { "credentials-needed", 401, "Nobody has logged on yet." },
    { "double-hop", 401,
      "An integrated logon leaves no password for the next server. Let people "
      "log on by Basic or a form, or set CasProxyKeytab and allow its account "
      "constrained delegation, with any protocol, to HTTP/ of the backend." },
    { "directory-unavailable", 503,
      "The directory does not answer. Look for its own messages in the log."},
    { "mailbox-ambiguous", 503,
      "More than one object has this name or address. Make it unique in AD."},
    { "user-unknown", 403,
      "The directory does not know this user. Check CasProxyDefaultDomain, "
      "CasProxyLogonFormat and the search base." },
    { "account-disabled", 403, "The account is disabled in AD." },
    { "mailbox-unknown", 403,
      "The mailbox that the URL names does not exist." },
    { "remote-mailbox", 403, "The mailbox is in another organisation." },
    { "no-mailbox", 403, "The user has no mailbox." },
    { "owa-disabled", 403,
      "Outlook Web App is switched off for this mailbox (Set-CASMailbox "
      "-OWAEnabled)." },
    { "eas-disabled", 403,
      "ActiveSync is switched off for this mailbox (Set-CASMailbox "
      "-ActiveSyncEnabled)." },
    { "mail-protocol-disabled", 403,
      "POP3 or IMAP4 is switched off for this mailbox (Set-CASMailbox "
      "-PopEnabled, -ImapEnabled)." },
    { "mail-not-proxied", 403,
      "Exchange 2007 proxies POP3 and IMAP4 to no other site: the mail client "
      "must use a server of the mailbox's own site, or CasProxyFrontEnd be "
      "raised." },
    { "database-unknown", 503,
      "homeMDB names no database of the topology. Check replication, and the "
      "service account's right to read the configuration." },
    { "version-unknown", 503,
      "The mailbox server's version cannot be read from AD." },
    { "front-site-unknown", 503,
      "This front's AD site is not known: set CasProxySite." },
    { "site-unknown", 503,
      "The mailbox server has no AD site: check msExchServerSite, or set "
      "CasProxyMountedSite." },
    { "no-cas-in-site", 503,
      "No Client Access server of the mailbox's version is in its site." },
    { "mailbox-newer-than-front", 503,
      "The mailbox is on a newer Exchange than CasProxyFrontEnd can serve: "
      "raise it, or publish a newer CAS with an ExternalURL. ActiveSync "
      "devices get a 403." },
    { "mailbox-not-on-2007", 403,
      "The mailbox is not on Exchange 2007; /exchange serves it." },
    { "target-is-this-host", 503,
      "The target's URL is this very host: stale DNS at the client, or a "
      "wrong ExternalURL. Set a FailbackURL there; the person closes all "
      "browser windows and tries again." },
    { "no-exchange2003-url", 503,
      "Set CasProxyExchange2003URL (or Exchange2003URL in AD): 2003 mailboxes "
      "are redirected there." },
    { "no-external-url", 503,
      "There is no URL to redirect to: set ExternalURL on a Client Access "
      "server of the mailbox's version in its site (for 2003 mailboxes "
      "CasProxyExchange2003URL)." },
    { "redirect-not-possible", 403,
      "CasProxy Redirect: clients of this protocol cannot be redirected." },
    { "no-public-store", 503,
      "No Exchange 2003 server with a public folder store is known." },
    { "no-webdav", 403, "The mailbox's Exchange version has no WebDAV." },
    { "not-on-2003", 403, "Exchange 2003 has no such service." },
    { "no-ecp", 403, "Exchange 2007 has no Control Panel." },
    { "no-powershell", 403,
      "Exchange before 2010 has no remote PowerShell, and no newer server is "
      "in the front's site." },
    { "autodiscover-too-old", 404,
      "SOAP Autodiscover came with Exchange 2010, JSON with 2016, and no such "
      "server serves this mailbox. Clients go on with autodiscover.xml." },
    { "no-rpc-server", 503,
      "A 2010 front sends Outlook Anywhere of older mailboxes to a 2010 "
      "Client Access server's /rpc alone: none is in the front's site or in the "
      "mailbox's." },
    { "no-mapi", 403, "Exchange before 2013 has no MAPI over HTTP." },
    { "proxy-loop", 503,
      "The backend's name is this front's own: give the Client Access server "
      "an InternalURL or FQDN of its own." },
    { "no-backend-address", 503,
      "The backend has no usable networkAddress (ncacn_ip_tcp) in AD." },
    { "no-common-authentication", 503,
      "The backend's virtual directory takes nothing that we can do with a "
      "password: allow Basic or Windows integrated authentication there." },
    { "backend-unavailable", 503,
      "No backend could be reached: look at the servers of the mailbox's "
      "site, at DNS and at what stands between." },
    { "backend-timeout", 503,
      "The backend took the request and did not answer within "
      "CasProxyTimeout. Look at its load; where the answer may take longer, "
      "raise CasProxyTimeout for this protocol." },
    { "backend-certificate", 503,
      "The backend's certificate is not trusted: look at the vhost's "
      "SSLProxy settings." },
    { "backend-error", 503,
      "The backend answered with a 500, which this client could not bear: "
      "look at the backend's own log." },
    { "backend-plain-http", 503,
      "The backend is reached by plain http and takes Basic or a form only: "
      "no password is sent there. Give it an https InternalURL, or allow "
      "Windows integrated authentication there; with CasProxyAuth None that "
      "takes a CasProxyKeytab, too." },
    { "backend-uses-forms", 503,
      "The backend answers with a logon page of its own where its directory "
      "in AD says no forms: switch forms authentication off there, or write "
      "CasProxyBackendAuth Forms (2003: off at the back-end in any case)." },
    { "ntlm-not-on-destination", 503,
      "The backend offers neither NTLM nor Negotiate nor an allowed Basic: "
      "allow Windows integrated authentication on that virtual directory. "
      "ActiveSync devices get a 401." },
    { "extended-protection", 503,
      "The backend refuses a good logon, as IIS does with Extended "
      "Protection: set it to Off or Allow on that virtual directory." },
    { "backend-logon-refused", 503,
      "The backend refuses the user whom the directory takes: look at its "
      "own log, at the account's right to log on there and, for Kerberos, at "
      "HTTP/ SPNs and delegation." },
    { "backend-kdc-unavailable", 503,
      "No domain controller gives a Kerberos ticket for the backend: look at "
      "DNS, port 88, the clock and krb5.conf." },
    { "backend-auth-missing", 503,
      "This machine lacks what a logon at the backend needs: the message in "
      "the log names the library, the keytab or the mechanism." },
    { "no-fba-ssl", 503,
      "The redirection's target is plain http, and both sides use forms: no "
      "password is sent there. Correct the target's URL." },
    { "no-rule", 503, "No rule matched. Please report this." },
};
/* clang-format on */

const char *const casp_decision_sso_whys[] = {
    "temporary",    "two-factor",  "pre-authentication",       "switched-off",
    "basic",        "no-password", "different-authentication", "no-tls",
    "not-at-logon", NULL};

static const char *const fact_names[] = {
#define NAME(name, bit, text) text,
    CASP_FACTS(NAME)
#undef NAME
};

const char *casp_fact_name(int bit)
{
    return bit >= 0 && bit < CASP_FACT_COUNT ? fact_names[bit] : "";
}

const casp_reason_t *casp_decision_reasons(int *count)
{
    *count = (int)(sizeof(reasons) / sizeof(reasons[0]));
    return reasons;
}

const casp_reason_t *casp_decision_reason(const char *code)
{
    for (size_t i = 0; code && i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strcmp(reasons[i].code, code) == 0) {
            return &reasons[i];
        }
    }
    return NULL;
}
