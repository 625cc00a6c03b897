/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * decision.c: Exchange's rules of proxying and redirecting, as one table.
 *
 * Read it from top to bottom: the first rule whose front, mailbox version and
 * protocol fit, whose needed facts all hold and whose forbidden ones do not,
 * is the decision.  The sources are S000 (the Exchange 2007 CAS proxy page),
 * S001 (cross-site silent redirection in 2010 SP2), S003 (overview of 2007's
 * proxying and redirection), MS (Microsoft's other documentation), OBS
 * (behaviour of later builds seen from outside); "ours" marks a cell that
 * none of them states and that we had to choose.
 *
 * Must not: have a clock, do I/O, know the topology, settings or httpd.
 */

#include "decision.h"

#include <string.h>

/* Masks, so that a row fits a line.  F: fronts, M: mailboxes, P: paths. */
#define F(f) (1u << CASP_F##f)
#define F7 F(2007)
#define F10R F(2010)
#define F10S2 (F(2010SP2) | F(2010SP3))
#define F10T (F(2010SP1) | F10S2) /* knows the temporary page */
#define F10 (F10R | F10T)
#define F13 (F(2013) | F(2016) | F(2019))
#define F10UP (F10 | F13)
#define FALL (F7 | F10UP)

#define M(v) (1u << CASP_V##v)
#define M3 (M(2000) | M(2003))
#define M7 M(2007)
#define M10 M(2010)
#define M13 (M(2013) | M(2016) | M(2019))
#define M10UP (M10 | M13)
#define M7UP (M7 | M10UP)
#define MALL (M3 | M7UP | 1u << CASP_V_NONE)

#define PROTO(p) (1u << CASP_PROTO_##p)
#define LEGACY(l) (1u << (CASP_PROTO_COUNT + CASP_LEGACY_##l))
#define OWA PROTO(OWA)
#define ECP PROTO(ECP)
#define EAS PROTO(EAS)
#define MAPI PROTO(MAPI)
#define DISCO PROTO(AUTODISCOVER)
#define MACHINES                                             \
    (PROTO(EWS) | PROTO(OAB) | PROTO(RPC) | MAPI | PROTO(UM) \
     | PROTO(POWERSHELL))
#define OTHERS (ECP | EAS | DISCO | MACHINES)
#define EXCHANGE LEGACY(EXCHANGE)
#define EXCHWEB LEGACY(EXCHWEB)
#define PUBLIC LEGACY(PUBLIC)
#define EXADMIN LEGACY(EXADMIN)
#define OLDMAIL (EXCHANGE | EXCHWEB) /* old paths to one's own mailbox */
#define OLD (OLDMAIL | PUBLIC)
#define PALL (~0u)

#define K(name) CASP_F(name)
#define EARLY CASP_STAGE_EARLY
#define MAIN CASP_STAGE_MAIN
#define CHECK CASP_STAGE_CHECK
#define WIRE CASP_STAGE_WIRE
#define A(name) CASP_ACTION_##name
#define TO(name) CASP_TO_##name

/* One rule a paragraph: no formatter could read it aloud. */
/* clang-format off */
static const casp_rule_t rules[] = {
    /* ------------------------------------------- before anybody logs on */
    { "exadmin-never", "ours", EARLY, FALL, MALL, EXADMIN, 0, 0, A(DENY),
      "not-published", TO(NONE), false,
      "/exadmin is for administrators' tools inside, never for a front." },
    { "url-refused", "ours", EARLY, FALL, MALL, PALL, K(URL_REFUSED), 0,
      A(DENY), NULL, TO(NONE), false,
      "A URL with two readings, or a known attack, is refused." },
    { "not-published", "ours", EARLY, FALL, MALL, PALL, K(NOT_PUBLISHED), 0,
      A(DENY), "not-published", TO(NONE), false,
      "A protocol outside CasProxyPublish is not there." },
    { "tls-page", "ours", EARLY, FALL, MALL, PALL,
      K(PLAIN_HTTP) | K(PAGE_LOAD), 0, A(SILENT_REDIRECT), "tls-required",
      TO(HTTPS_HERE), false, "A page asked for by plain http moves to https."},
    { "tls-required", "ours", EARLY, FALL, MALL, PALL, K(PLAIN_HTTP), 0,
      A(DENY), "tls-required", TO(NONE), false,
      "Anything else by plain http is refused." },

    /* ------------------------------------------------ who, and whose box */
    { "logon-first", "S001", MAIN, FALL, MALL, PALL, K(NO_USER), 0, A(LOGON),
      "credentials-needed", TO(NONE), false,
      "Nothing is decided for somebody unknown." },
    { "directory-down", "ours", MAIN, FALL, MALL, PALL, K(DIRECTORY_DOWN), 0,
      A(ERROR), "directory-unavailable", TO(NONE), false,
      "Without the directory nobody's mailbox can be found." },
    { "ambiguous", "ours", MAIN, FALL, MALL, PALL, K(AMBIGUOUS), 0, A(ERROR),
      "mailbox-ambiguous", TO(NONE), false,
      "Two objects for one name: an error, never the first one." },
    { "user-unknown", "ours", MAIN, FALL, MALL, PALL, K(USER_UNKNOWN), 0,
      A(ERROR), "user-unknown", TO(NONE), false,
      "The directory does not know this user." },
    { "account-disabled", "ours", MAIN, FALL, MALL, PALL, K(DISABLED), 0,
      A(ERROR), "account-disabled", TO(NONE), false,
      "A disabled account is not served." },
    { "mailbox-unknown", "ours", MAIN, FALL, MALL, PALL & ~PUBLIC,
      K(MAILBOX_UNKNOWN), 0, A(ERROR), "mailbox-unknown", TO(NONE), false,
      "The mailbox named in the URL does not exist." },
    { "remote-mailbox", "OBS", MAIN, FALL, MALL, PALL & ~PUBLIC, K(REMOTE), 0,
      A(ERROR), "remote-mailbox", TO(NONE), false,
      "The mailbox is in another organisation." },
    { "no-mailbox", "OBS", MAIN, FALL, MALL, PALL & ~PUBLIC, K(NO_MAILBOX), 0,
      A(ERROR), "no-mailbox", TO(NONE), false, "A user without mailbox." },
    { "owa-disabled", "OBS", MAIN, FALL, MALL, OWA | OLDMAIL, K(OWA_OFF), 0,
      A(ERROR), "owa-disabled", TO(NONE), false,
      "OWA is switched off for this mailbox." },
    { "eas-disabled", "OBS", MAIN, FALL, MALL, EAS, K(EAS_OFF), 0, A(ERROR),
      "eas-disabled", TO(NONE), false,
      "ActiveSync is switched off for this mailbox." },
    { "database-unknown", "ours", MAIN, FALL, MALL, PALL & ~PUBLIC,
      K(DATABASE_UNKNOWN), 0, A(ERROR), "database-unknown", TO(NONE), false,
      "homeMDB names a database that the organisation does not have." },
    { "version-unknown", "ours", MAIN, FALL, MALL, PALL & ~PUBLIC,
      K(VERSION_UNKNOWN), 0, A(ERROR), "version-unknown", TO(NONE), false,
      "Nobody can say which Exchange version the mailbox is on." },

    /* --------------------------------------------- CasProxy Redirect mode */
    { "redirect-2003-path", "S000", MAIN, FALL, M3, OLDMAIL,
      K(REDIRECT_MODE) | K(URL_2003), K(URL_2003_HERE), A(SILENT_REDIRECT),
      "redirect-mode", TO(2003), true,
      "Redirect mode, 2003: the old path, on Exchange2003URL's host." },
    { "redirect-public", "ours", MAIN, FALL, MALL, PUBLIC,
      K(REDIRECT_MODE) | K(URL_2003), K(URL_2003_HERE), A(SILENT_REDIRECT),
      "redirect-mode", TO(2003), true,
      "Redirect mode: public folders, on Exchange2003URL's host." },
    { "redirect-2003", "S000", MAIN, FALL, M3, OWA,
      K(REDIRECT_MODE) | K(URL_2003), K(URL_2003_HERE), A(SILENT_REDIRECT),
      "redirect-mode", TO(2003), false, "Redirect mode, 2003 mailbox." },
    { "redirect-2003-here", "ours", MAIN, FALL, M3, OWA | OLDMAIL,
      K(REDIRECT_MODE) | K(URL_2003_HERE), 0, A(ERROR),
      "target-is-this-host", TO(NONE), false,
      "Redirect mode: Exchange2003URL is this very front." },
    { "redirect-failback", "S001", MAIN, F10T, M7UP, OWA | OLDMAIL,
      K(REDIRECT_MODE) | K(EXTERNAL_HERE) | K(FAILBACK), 0,
      A(TEMPORARY_REDIRECT), "target-is-this-host", TO(FAILBACK), false,
      "Redirect mode: the target is where we are; its FailbackURL helps." },
    { "redirect-here", "ours", MAIN, FALL, M7UP, PALL & ~PUBLIC & ~MACHINES,
      K(REDIRECT_MODE) | K(EXTERNAL_HERE), 0, A(ERROR), "target-is-this-host",
      TO(NONE), false, "Redirect mode: the target is where we are." },
    { "redirect-external", "S000", MAIN, FALL, M7UP, OWA | ECP | OLDMAIL,
      K(REDIRECT_MODE) | K(EXTERNAL), 0, A(SILENT_REDIRECT), "redirect-mode",
      TO(EXTERNAL), false,
      "Redirect mode: to the ExternalURL in the mailbox's site." },
    { "redirect-2007-internal", "S001", MAIN, F10UP, M7, OWA | OLDMAIL,
      K(REDIRECT_MODE) | K(SAME_SITE) | K(INTERNAL), K(INTERNAL_HERE),
      A(SILENT_REDIRECT), "redirect-mode", TO(INTERNAL), false,
      "Redirect mode, 2007 in our site without ExternalURL." },
    { "redirect-eas", "S003", MAIN, FALL, M7UP, EAS,
      K(REDIRECT_MODE) | K(EXTERNAL), 0, A(EAS_REDIRECT), "redirect-mode",
      TO(EXTERNAL), false, "Redirect mode: phones get 451." },
    { "redirect-autodiscover", "MS", MAIN, FALL, M7UP, DISCO,
      K(REDIRECT_MODE) | K(EXTERNAL), 0, A(AUTODISCOVER_REDIRECT),
      "redirect-mode", TO(EXTERNAL), true,
      "Redirect mode: Autodiscover clients follow a 302." },
    { "redirect-machines", "ours", MAIN, FALL, MALL, MACHINES,
      K(REDIRECT_MODE), 0, A(ERROR), "redirect-not-possible", TO(NONE), false,
      "Redirect mode: these clients follow no redirection." },
    { "redirect-nowhere", "ours", MAIN, FALL, MALL, PALL, K(REDIRECT_MODE), 0,
      A(ERROR), "no-external-url", TO(NONE), false,
      "Redirect mode: there is no URL to go to." },

    /* ---------------------------------------- mailbox newer than the front */
    { "f10-newer", "ours", MAIN, F10, M13, PALL & ~PUBLIC, 0, 0, A(ERROR),
      "mailbox-newer-than-front", TO(NONE), false,
      "A 2010 front cannot serve a newer mailbox." },
    { "f13-newer", "ours", MAIN, F(2013), M(2019), PALL & ~PUBLIC, 0, 0,
      A(ERROR), "mailbox-newer-than-front", TO(NONE), false,
      "2013 proxies one version up, to 2016, and no further." },
    { "f7-newer-other", "ours", MAIN, F7, M10UP, OTHERS, 0, 0, A(ERROR),
      "mailbox-newer-than-front", TO(NONE), false,
      "A 2007 front cannot serve a newer mailbox; only OWA redirects." },

    /* ---------------------------------------------- old paths, 2007 front */
    { "f7-exchange-integrated", "S000", MAIN, F7, MALL, EXCHANGE,
      K(INTEGRATED) | K(OWN_2007), 0, A(LOGON), "double-hop", TO(NONE), false,
      "A 2007 user on /exchange by integrated logon must log on again." },
    { "f7-2003-backend", "S000 S003", MAIN, F7, M3, OLDMAIL, 0, 0,
      A(PROXY_BACKEND), "mailbox-on-2003", TO(BACKEND), false,
      "Straight to the back-end by http, whichever site it is in." },
    { "f7-old-path-page", "S000", MAIN, F7, M7, OLDMAIL, K(PAGE_LOAD), 0,
      A(SILENT_REDIRECT), "legacy-path", TO(OWA_HERE), false,
      "A browser of a 2007 user lands in /owa." },

    /* ------------------------------------------- old paths, newer fronts */
    { "f10-2003-path", "S001, ours from 2013", MAIN, F10UP, M3, OLD,
      K(URL_2003), K(URL_2003_HERE), A(SILENT_REDIRECT), "mailbox-on-2003",
      TO(2003), true,
      "2003's old paths go to Exchange2003URL's host, unchanged." },
    { "f10-2003-path-here", "ours", MAIN, F10UP, M3, OLDMAIL,
      K(URL_2003_HERE), 0, A(ERROR), "target-is-this-host", TO(NONE), false,
      "Exchange2003URL is this very front." },
    { "f10-2003-path-no-url", "S001, ours from 2013", MAIN, F10UP, M3,
      OLDMAIL, 0, 0, A(ERROR), "no-exchange2003-url", TO(NONE), false,
      "Without Exchange2003URL a 2003 mailbox cannot be reached." },
    { "public-2003", "MS, ours from 2010", MAIN, FALL, MALL, PUBLIC,
      K(PUBLIC_2003), 0, A(PROXY_BACKEND), "public-folders-on-2003",
      TO(BACKEND), false,
      "Public folders come from a server with a 2003 public store." },
    { "public-none", "ours", MAIN, FALL, MALL, PUBLIC, 0, 0, A(ERROR),
      "no-public-store", TO(NONE), false,
      "No 2003 public store: newer ones have no web view." },
    { "old-path-webdav-2010", "ours", MAIN, FALL, M10UP, OLDMAIL, K(WEBDAV),
      0, A(ERROR), "no-webdav", TO(NONE), false,
      "2010 and later have no WebDAV." },
    { "old-path-2010", "ours", MAIN, FALL, M10UP, OLDMAIL, 0, 0,
      A(SILENT_REDIRECT), "legacy-path", TO(OWA_HERE), false,
      "Newer versions lead the old paths to /owa." },
    { "f10-old-path-2007", "ours", MAIN, F10UP, M7, OLDMAIL, 0, K(WEBDAV),
      A(SILENT_REDIRECT), "legacy-path", TO(OWA_HERE), false,
      "Newer fronts lead 2007's old paths to /owa." },

    /* ------------------------------------------------- places to be known */
    { "front-site-unknown", "ours", MAIN, FALL, M7UP, PALL,
      K(FRONT_SITE_UNKNOWN), 0, A(ERROR), "front-site-unknown", TO(NONE),
      false, "From 2007 on the site decides, so the front must know its own."},
    { "site-unknown", "ours", MAIN, FALL, M7UP, PALL, K(SITE_UNKNOWN), 0,
      A(ERROR), "site-unknown", TO(NONE), false,
      "The mailbox server has no site in AD." },
    { "old-webdav-here", "S000, ours from 2010", MAIN, FALL, M7, OLDMAIL,
      K(SAME_SITE), 0, A(DIRECT), "webdav-to-mailbox-server", TO(BACKEND),
      false, "WebDAV of 2007 is the mailbox server's own /exchange." },
    { "old-webdav-elsewhere", "ours", MAIN, FALL, M7, OLDMAIL, 0, 0, A(PROXY),
      "webdav-to-mailbox-server", TO(BACKEND), false,
      "The same in another site." },
    { "no-cas", "OBS", MAIN, FALL, M7UP, PALL, K(NO_CAS), 0, A(ERROR),
      "no-cas-in-site", TO(NONE), false,
      "No Client Access server of the mailbox's version in its site." },

    /* ------------------------------------------------------ /owa and 2003 */
    { "f7-2003-owa", "S000", MAIN, F7, M3, OWA, 0, 0, A(ERROR),
      "mailbox-not-on-2007", TO(NONE), false,
      "/owa of a 2007 front serves no 2003 mailbox." },
    { "f10-2003-here", "ours", MAIN, F10UP, M3, OWA, K(URL_2003_HERE), 0,
      A(ERROR), "target-is-this-host", TO(NONE), false,
      "Exchange2003URL is this very front." },
    { "f10-2003", "S001, ours from 2013", MAIN, F10UP, M3, OWA, K(URL_2003),
      0, A(SILENT_REDIRECT), "mailbox-on-2003", TO(2003), false,
      "2003 mailboxes go to Exchange2003URL, wherever they are." },
    { "f10-2003-no-url", "S001, ours from 2013", MAIN, F10UP, M3, OWA, 0, 0,
      A(ERROR), "no-exchange2003-url", TO(NONE), false,
      "Without Exchange2003URL a 2003 mailbox cannot be reached." },

    /* --------------------------------------------------- /owa, 2007 front */
    { "f7-here", "S000 S003", MAIN, F7, M7, OWA, K(SAME_SITE), 0, A(DIRECT),
      "mailbox-in-this-site", TO(BACKEND), false, "Own site." },
    { "f7-optimal-off", "MS", MAIN, F7, M7, OWA, K(EXTERNAL) | K(NO_OPTIMAL),
      0, A(PROXY), "mailbox-in-other-site", TO(BACKEND), false,
      "RedirectToOptimalServer off: proxied instead of redirected." },
    { "f7-external-here", "ours", MAIN, F7, M7, OWA, K(EXTERNAL_HERE), 0,
      A(PROXY), "target-is-this-host", TO(BACKEND), false,
      "The target's name is ours: proxied, never a circle." },
    { "f7-redirect", "S003", MAIN, F7, M7, OWA, K(EXTERNAL), 0,
      A(MANUAL_REDIRECT), "mailbox-in-other-site", TO(EXTERNAL), false,
      "An Internet-facing site: a page with a link." },
    { "f7-proxy", "S003", MAIN, F7, M7, OWA, 0, 0, A(PROXY),
      "mailbox-in-other-site", TO(BACKEND), false,
      "A site that is not Internet-facing: to the second CAS." },
    { "f7-newer-here", "ours", MAIN, F7, M10UP, OWA, K(EXTERNAL_HERE), 0,
      A(ERROR), "target-is-this-host", TO(NONE), false,
      "The newer CAS has our own name." },
    { "f7-newer", "S000", MAIN, F7, M10UP, OWA, K(EXTERNAL), 0,
      A(MANUAL_REDIRECT), "mailbox-newer-than-front", TO(EXTERNAL), false,
      "No access by this front: redirected to the newer CAS." },
    { "f7-newer-internal", "ours", MAIN, F7, M10UP, OWA,
      K(SAME_SITE) | K(INTERNAL), K(INTERNAL_HERE), A(MANUAL_REDIRECT),
      "mailbox-newer-than-front", TO(INTERNAL), false,
      "The same in our own site, where InternalURL serves." },
    { "f7-newer-nowhere", "ours", MAIN, F7, M10UP, OWA, 0, 0, A(ERROR),
      "mailbox-newer-than-front", TO(NONE), false,
      "The newer CAS has no URL to go to, and 2007 proxies to none." },

    /* --------------------------------------------------- /owa, 2010 fronts */
    { "f10-here", "S001", MAIN, F10, M10, OWA, K(SAME_SITE), 0, A(DIRECT),
      "mailbox-in-this-site", TO(BACKEND), false, "Own site." },
    { "f10-optimal-off", "MS", MAIN, F10, M7 | M10, OWA,
      K(EXTERNAL) | K(NO_OPTIMAL), K(SAME_SITE), A(PROXY),
      "mailbox-in-other-site", TO(BACKEND), false,
      "RedirectToOptimalServer off: proxied instead of redirected." },
    { "f10-rtm-here", "ours", MAIN, F10R, M7 | M10, OWA, K(EXTERNAL_HERE), 0,
      A(ERROR), "target-is-this-host", TO(NONE), false,
      "RTM knows no temporary page: an error rather than a circle." },
    { "f10-failback", "S001", MAIN, F10T, M7 | M10, OWA,
      K(EXTERNAL_HERE) | K(FAILBACK), 0, A(TEMPORARY_REDIRECT),
      "target-is-this-host", TO(FAILBACK), false,
      "The browser's DNS is stale: the target's FailbackURL for now." },
    { "f10-stale-dns", "S001", MAIN, F10T, M7 | M10, OWA, K(EXTERNAL_HERE), 0,
      A(ERROR), "target-is-this-host", TO(NONE), false,
      "Without FailbackURL: close all browser windows and try again." },
    { "f10-2007-here", "S001", MAIN, F10, M7, OWA, K(SAME_SITE) | K(EXTERNAL),
      0, A(SILENT_REDIRECT), "mailbox-on-2007", TO(EXTERNAL), false,
      "2007 in our own site: always silent, whatever the type." },
    { "f10-2007-internal-here", "ours", MAIN, F10, M7, OWA,
      K(SAME_SITE) | K(INTERNAL_HERE), 0, A(ERROR), "target-is-this-host",
      TO(NONE), false, "The InternalURL that would have to serve is ours." },
    { "f10-2007-internal", "S001", MAIN, F10, M7, OWA,
      K(SAME_SITE) | K(INTERNAL), 0, A(SILENT_REDIRECT), "mailbox-on-2007",
      TO(INTERNAL), false, "Without ExternalURL its InternalURL serves." },
    { "f10-2007-no-url", "ours", MAIN, F10, M7, OWA, K(SAME_SITE), 0,
      A(ERROR), "no-external-url", TO(NONE), false,
      "A 2007 CAS with neither URL." },
    { "f10-mounted-elsewhere", "S001", MAIN, F10T, M10, OWA,
      K(ARRAY_HERE) | K(EXTERNAL), 0, A(TEMPORARY_REDIRECT),
      "database-mounted-elsewhere", TO(EXTERNAL), false,
      "The database's array is here, but it is mounted elsewhere." },
    { "f10-silent", "S001", MAIN, F10S2, M7 | M10, OWA,
      K(EXTERNAL) | K(SILENT), 0, A(SILENT_REDIRECT),
      "mailbox-in-other-site", TO(EXTERNAL), false,
      "SP2's CrossSiteRedirectType Silent." },
    { "f10-manual", "S001", MAIN, F10, M7 | M10, OWA, K(EXTERNAL), 0,
      A(MANUAL_REDIRECT), "mailbox-in-other-site", TO(EXTERNAL), false,
      "An Internet-facing site: a page with a link." },
    { "f10-proxy", "S001", MAIN, F10, M7 | M10, OWA, 0, 0, A(PROXY),
      "mailbox-in-other-site", TO(BACKEND), false,
      "A site that is not Internet-facing: proxied." },

    /* ------------------------------------------ /owa, fronts from 2013 on */
    { "f13-here", "S004 OBS, ours: 2010 behind 2019", MAIN, F13, M10UP, OWA,
      K(SAME_SITE), 0, A(DIRECT), "mailbox-in-this-site", TO(BACKEND), false,
      "Own site." },
    { "f13-2007-name-here", "ours", MAIN, F13, M7, OWA,
      K(SAME_SITE) | K(EXTERNAL_HERE), 0, A(DIRECT), "target-is-this-host",
      TO(BACKEND), false, "The 2007 CAS has our own name: proxied." },
    { "f13-2007-here", "MS OBS, ours from 2016", MAIN, F13, M7, OWA,
      K(SAME_SITE) | K(EXTERNAL), 0, A(SILENT_REDIRECT), "mailbox-on-2007",
      TO(EXTERNAL), false, "2007 in our own site: its legacy namespace." },
    { "f13-2007-internal", "OBS, ours from 2016", MAIN, F13, M7, OWA,
      K(SAME_SITE) | K(INTERNAL), K(INTERNAL_HERE), A(SILENT_REDIRECT),
      "mailbox-on-2007", TO(INTERNAL), false,
      "Without ExternalURL its InternalURL serves." },
    { "f13-2007-no-url", "OBS, ours from 2016", MAIN, F13, M7, OWA,
      K(SAME_SITE), 0, A(ERROR), "no-external-url", TO(NONE), false,
      "No legacy CAS to go to." },
    { "f13-optimal-off", "MS", MAIN, F13, M7UP, OWA,
      K(EXTERNAL) | K(NO_OPTIMAL), 0, A(PROXY), "mailbox-in-other-site",
      TO(BACKEND), false,
      "RedirectToOptimalServer off: proxied instead of redirected." },
    { "f13-external-here", "OBS", MAIN, F13, M7UP, OWA, K(EXTERNAL_HERE), 0,
      A(PROXY), "target-is-this-host", TO(BACKEND), false,
      "One name for all sites: proxied." },
    { "f13-silent", "OBS, ours: 2007 behind 2016", MAIN, F13, M7UP, OWA,
      K(EXTERNAL), 0, A(SILENT_REDIRECT), "mailbox-in-other-site",
      TO(EXTERNAL), false, "From 2013 on always silent." },
    { "f13-2007-front-site", "MS, ours from 2016", MAIN, F13, M7, OWA,
      K(FRONT_LEGACY), 0, A(SILENT_REDIRECT), "mailbox-on-2007",
      TO(FRONT_LEGACY), false,
      "2007 elsewhere: our site's legacy namespace, whose CAS proxies on." },
    { "f13-proxy", "OBS, ours: 2007", MAIN, F13, M7UP, OWA, 0, 0, A(PROXY),
      "mailbox-in-other-site", TO(BACKEND), false,
      "A site that is not Internet-facing: proxied." },

    /* -------------- other protocols, until their own matrices take over */
    { "eas-2003", "S003, ours from 2013", MAIN, FALL, M3, EAS, 0, 0,
      A(PROXY_BACKEND), "mailbox-on-2003", TO(BACKEND), false,
      "ActiveSync of 2003: straight to the back-end." },
    { "other-2003", "ours", MAIN, FALL, M3, OTHERS, 0, 0, A(ERROR),
      "not-on-2003", TO(NONE), false, "2003 has no such service." },
    { "ecp-2007", "S002", MAIN, FALL, M7, ECP, 0, 0, A(ERROR), "no-ecp",
      TO(NONE), false, "2007 has no control panel." },
    { "mapi-2010", "ours", MAIN, FALL, M7 | M10, MAPI, 0, 0, A(ERROR),
      "no-mapi", TO(NONE), false, "MAPI over HTTP came with 2013 SP1." },
    { "other-here", "ours", MAIN, FALL, M7UP, OTHERS, K(SAME_SITE), 0,
      A(DIRECT), "mailbox-in-this-site", TO(BACKEND), false, "Own site." },
    { "other-elsewhere", "ours", MAIN, FALL, M7UP, OTHERS, 0, 0, A(PROXY),
      "mailbox-in-other-site", TO(BACKEND), false, "Another site: proxied." },
    { "no-rule", "ours", MAIN, FALL, MALL, PALL, 0, 0, A(ERROR), "no-rule",
      TO(NONE), false, "Nothing above: a defect of ours." },

    /* ------------------------------------------ can the outcome be done? */
    { "proxy-loop", "ours", CHECK, FALL, MALL, PALL,
      K(TO_PROXY) | K(BACKEND_HERE), K(BACKEND), A(ERROR), "proxy-loop",
      TO(NONE), false, "The only backend is this front itself." },
    { "no-backend-address", "ours", CHECK, FALL, MALL, PALL, K(TO_PROXY),
      K(BACKEND), A(ERROR), "no-backend-address", TO(NONE), false,
      "The backend has no name in AD to reach it by." },
    { "backend-plain-http", "ours", CHECK, FALL, MALL, PALL,
      K(TO_PROXY) | K(PLAIN_BACKEND), 0, A(ERROR), "backend-plain-http",
      TO(NONE), false, "The backend would take the password in clear only." },
    { "no-common-authentication", "ours", CHECK, FALL, MALL, PALL,
      K(TO_PROXY) | K(NO_COMMON_LOGIN), 0, A(ERROR),
      "no-common-authentication", TO(NONE), false,
      "The backend takes nothing that a password can do." },
    { "form-to-http", "OBS", CHECK, FALL, MALL, PALL, K(FORM_TO_HTTP), 0,
      A(ERROR), "no-fba-ssl", TO(NONE), false,
      "A logon form is never sent to a plain http target." },

    /* --------------------------- stands, but cannot be done on the wire */
    { "double-hop-wire", "S000", WIRE, FALL, MALL, PALL,
      K(TO_PROXY) | K(INTEGRATED), 0, A(LOGON), "double-hop", TO(NONE), false,
      "Proxied by the matrix, but nothing to log on there with: one 401." },
};

/* clang-format on */

#define NRULES ((int)(sizeof(rules) / sizeof(rules[0])))

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
      "raise it, or publish a newer CAS with an ExternalURL." },
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
    { "no-mapi", 403, "Exchange before 2013 has no MAPI over HTTP." },
    { "proxy-loop", 503,
      "The backend's name is this front's own: give the Client Access server "
      "an InternalURL or FQDN of its own." },
    { "no-backend-address", 503,
      "The backend has no usable networkAddress (ncacn_ip_tcp) in AD." },
    { "no-common-authentication", 503,
      "The backend's virtual directory takes nothing that we can do with a "
      "password: allow Basic or Windows integrated authentication there." },
    { "backend-plain-http", 503,
      "The backend is reached by plain http and takes Basic or a form only: "
      "no password is sent there. Give it an https InternalURL, or allow "
      "Windows integrated authentication there." },
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

const casp_rule_t *casp_decision_rules(int *count)
{
    *count = NRULES;
    return rules;
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

/* ---------------------------------------------------------------- asking */

static unsigned protocol_bit(const casp_question_t *q)
{
    return q->protocol == CASP_PROTO_LEGACY
               ? 1u << (CASP_PROTO_COUNT + (int)q->legacy)
               : 1u << (int)q->protocol;
}

static const casp_rule_t *ask(const casp_question_t *q, casp_stage_e stage,
                              uint64_t facts)
{
    for (int i = 0; i < NRULES; i++) {
        const casp_rule_t *r = &rules[i];
        if (r->stage == stage && (r->fronts & 1u << (int)q->front)
            && (r->versions & 1u << (int)q->version)
            && (r->protocols & protocol_bit(q)) && (facts & r->need) == r->need
            && !(facts & r->forbid)) {
            return r;
        }
    }
    return NULL;
}

static bool is_http(const char *url)
{
    return url != NULL && strncmp(url, "http://", 7) == 0;
}

/* Does the user's way in and the target's setting make one logon form? */
static bool forms_on_both(const casp_question_t *q, const casp_goal_t *goal)
{
    return q->by == CASP_BY_FORMS && (goal->auth & CASP_AUTH_FBA);
}

/* An administrator has said what no directory tells. */
static const char *sso_ruled_out(const casp_question_t *q)
{
    return q->facts & CASP_F(TWO_FACTOR) ? "two-factor"
           : q->facts & CASP_F(PRE_AUTH) ? "pre-authentication"
           : q->facts & CASP_F(SSO_OFF)  ? "switched-off"
                                         : NULL;
}

/* What both sides' schemes say; S001's list, and what a machine lacks. */
static const char *sso_by_schemes(const casp_question_t *q,
                                  const casp_goal_t *goal)
{
    const uint32_t windows = CASP_AUTH_NTLM | CASP_AUTH_WINDOWS
                             | CASP_AUTH_KERBEROS | CASP_AUTH_NEGOTIATE;
    bool fba = (goal->auth & CASP_AUTH_FBA) != 0;
    switch (q->by) {
    case CASP_BY_FORMS:
        return fba ? NULL : "different-authentication";
    case CASP_BY_BASIC:
        return !fba && (goal->auth & CASP_AUTH_BASIC)
                   ? "basic"
                   : "different-authentication";
    case CASP_BY_NTLM:
    case CASP_BY_NEGOTIATE:
        /* The browser signs on by itself where it trusts both names. */
        return !fba && (goal->auth & windows) ? "no-password"
                                              : "different-authentication";
    default:
        return "no-password";
    }
}

/* Why the form that signs a person on over there cannot be sent; NULL: it
 * can.  A link page hands nothing over: the click is no logon. */
static const char *sso_why(const casp_question_t *q, const casp_goal_t *goal,
                           casp_action_e action)
{
    if (action == CASP_ACTION_TEMPORARY_REDIRECT) {
        return "temporary";
    }
    const char *why = sso_ruled_out(q);
    if (why == NULL) {
        why = sso_by_schemes(q, goal);
    }
    if (why == NULL && (is_http(goal->url) || !(q->facts & CASP_F(TLS)))) {
        why = "no-tls";
    }
    if (why == NULL
        && (action == CASP_ACTION_MANUAL_REDIRECT
            || !(q->facts & CASP_F(AT_LOGON)))) {
        why = "not-at-logon";
    }
    return why;
}

static int status_of(const casp_question_t *q, casp_action_e action,
                     const char *reason)
{
    switch (action) {
    case CASP_ACTION_MANUAL_REDIRECT:
    case CASP_ACTION_TEMPORARY_REDIRECT:
        /* A script cannot read a page and click its link. */
        return q->facts & (CASP_F(PAGE_LOAD) | CASP_F(AT_LOGON)) ? 200 : 302;
    case CASP_ACTION_SSO_REDIRECT:
        return 200;
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_AUTODISCOVER_REDIRECT:
        return 302;
    case CASP_ACTION_EAS_REDIRECT:
        return 451;
    case CASP_ACTION_LOGON:
    case CASP_ACTION_DENY:
    case CASP_ACTION_ERROR: {
        const casp_reason_t *r = casp_decision_reason(reason);
        return r != NULL && r->status != 0 ? r->status : 403;
    }
    default:
        return 0;
    }
}

static bool is_person_redirect(casp_action_e action)
{
    return action == CASP_ACTION_MANUAL_REDIRECT
           || action == CASP_ACTION_TEMPORARY_REDIRECT
           || action == CASP_ACTION_SILENT_REDIRECT;
}

static bool stays_here(casp_to_e to)
{
    return to == CASP_TO_OWA_HERE || to == CASP_TO_HTTPS_HERE;
}

/*
 * The last step: a silent redirection becomes a logon form or a 302.  A form
 * (S001: the target path and the query string are in it), a plain 302 of a
 * front from 2013 on, or one of a rule that says so keeps the request's path
 * and query; all else arrives at the directory itself.
 */
static void set_redirect(const casp_question_t *q, const casp_rule_t *r,
                         casp_decision_t *d)
{
    const casp_goal_t *goal = &q->to[r->to];
    if (is_person_redirect(r->action) && !stays_here(r->to)) {
        d->sso_why = sso_why(q, goal, r->action);
        d->sso_possible = d->sso_why == NULL;
    }
    if (d->sso_possible) {
        d->action = CASP_ACTION_SSO_REDIRECT;
    }
    bool same = r->same || d->sso_possible
                || (d->action == CASP_ACTION_SILENT_REDIRECT
                    && q->front >= CASP_F2013);
    d->url = same && goal->same ? goal->same : goal->url;
}

static void apply(const casp_question_t *q, const casp_rule_t *r,
                  casp_decision_t *d)
{
    memset(d, 0, sizeof(*d));
    d->action = r->action;
    d->reason = r->reason ? r->reason : q->refused;
    d->rule = r->id;
    d->source = r->source;
    if (r->to == CASP_TO_BACKEND) {
        d->nbackends = q->nbackends;
        d->backends = q->backends;
        d->url = q->nbackends > 0 ? q->backends[0].url : NULL;
        if (q->facts & CASP_F(INTEGRATED)) {
            d->warning = "double-hop";
        }
    }
    else if (r->to != CASP_TO_NONE) {
        set_redirect(q, r, d);
    }
    d->status = status_of(q, d->action, d->reason);
}

bool casp_decide_early(const casp_question_t *q, casp_decision_t *d)
{
    const casp_rule_t *r = ask(q, CASP_STAGE_EARLY, q->facts);
    if (r == NULL) {
        return false;
    }
    apply(q, r, d);
    return true;
}

void casp_decide(const casp_question_t *q, casp_decision_t *d)
{
    if (casp_decide_early(q, d)) {
        return;
    }
    const casp_rule_t *r = ask(q, CASP_STAGE_MAIN, q->facts);
    uint64_t facts = q->facts;
    if (r->to == CASP_TO_BACKEND) {
        facts |= CASP_F(TO_PROXY);
    }
    const casp_goal_t *goal = &q->to[r->to];
    if (r->action == CASP_ACTION_SILENT_REDIRECT && !stays_here(r->to)
        && forms_on_both(q, goal) && is_http(goal->url)
        && sso_ruled_out(q) == NULL) {
        facts |= CASP_F(FORM_TO_HTTP);
    }
    const casp_rule_t *check = ask(q, CASP_STAGE_CHECK, facts);
    apply(q, check ? check : r, d);
    if (facts & CASP_F(FORM_TO_HTTP)) {
        d->sso_why = "no-tls";
    }
}

bool casp_decide_wire(casp_decision_t *d)
{
    if (!casp_action_is_proxy(d->action) || d->nbackends == 0
        || d->backends[0].login != CASP_LOGIN_IMPOSSIBLE) {
        return false;
    }
    const casp_rule_t *r = rules;
    while (r->stage != CASP_STAGE_WIRE) {
        r++; /* there is one */
    }
    casp_question_t q;
    memset(&q, 0, sizeof(q));
    apply(&q, r, d);
    return true;
}
