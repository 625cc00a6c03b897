/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * login.c: how this front logs on to a backend in a user's name, as one table.
 *
 * Read it from top to bottom: the first row whose CasProxyBackendAuth fits,
 * whose needed facts all hold and whose forbidden ones do not, is the choice.
 * What the administrator has said aloud wins wherever it can work; what cannot
 * work is never tried, for a login that must fail locks accounts and makes
 * browsers ask again and again.  A password never travels in clear, unless
 * that was said aloud too.
 *
 * Must not: have a clock, do I/O, know the topology or httpd.
 */

#include "login.h"

#include <string.h>

#include <apr_strings.h>

/* What can be said of a user, a front and a target. */
enum {
    NOBODY = 1, /* nobody has logged on */
    PASSWORD = 2, /* at hand: Basic, or a form */
    OTHERS = 4, /* another module of httpd has named the user */
    KEYTAB = 8, /* of ours: tickets in the user's name by delegation */
    PEOPLE = 16, /* OWA, ECP, the legacy paths: what has a logon form */
    LEGACY = 32, /* an Exchange 2000 or 2003 back-end */
    TLS = 64,
    UNKNOWN = 128, /* the directory says nothing of the target */
    BASIC = 256,
    FORMS = 512,
    NTLM = 1024, /* NTLM, or Windows integrated */
    KERBEROS = 2048, /* Kerberos, or Negotiate */
    INTEGRATED = 4096 /* one of the last two */
};

#define W(name) (1u << CASP_BACKENDAUTH_##name)
#define AUTO W(AUTO)
#define BY_PASSWORD (W(BASIC) | W(NTLM) | W(KERBEROS) | W(FORMS))
#define ANY (AUTO | BY_PASSWORD | W(DELEGATE) | W(NONE))
#define L(name) CASP_LOGIN_##name

/* One row a paragraph: no formatter could read it aloud. */
/* clang-format off */
static const casp_login_rule_t rules[] = {
    { ANY, NOBODY, 0, L(NONE), "nobody-yet",
      "Nobody has logged on here, so that nobody is logged on there." },
    { W(NONE), 0, 0, L(NONE), "configured", "Nothing is sent." },

    /* --------------------------------------------------------- said aloud */
    { W(DELEGATE), KEYTAB, 0, L(DELEGATE), "configured",
      "A ticket in the user's name, by delegation." },
    { W(DELEGATE), 0, 0, L(IMPOSSIBLE), "double-hop",
      "Without CasProxyKeytab there is no delegation." },
    { W(BASIC), OTHERS, 0, L(PASS), "configured",
      "Another module's user: the header that it has judged." },
    { BY_PASSWORD, 0, PASSWORD, L(IMPOSSIBLE), "double-hop",
      "Who came without a password has none to log on with." },
    { W(BASIC), TLS, 0, L(BASIC), "configured",
      "By https: name and password in each request." },
    { W(BASIC), LEGACY, 0, L(BASIC), "configured",
      "To a 2000 or 2003 back-end in clear too, since it was said." },
    { W(BASIC), 0, 0, L(IMPOSSIBLE), "backend-plain-http",
      "To anything newer no password goes in clear." },
    { W(NTLM), 0, 0, L(NTLM), "configured",
      "An NTLM handshake with the password." },
    { W(KERBEROS), 0, 0, L(KERBEROS), "configured",
      "A ticket that the password gets." },
    { W(FORMS), PEOPLE | TLS, 0, L(FORMS), "configured",
      "OWA, ECP, legacy paths by https: the target's own form." },
    { W(FORMS), PEOPLE, 0, L(IMPOSSIBLE), "backend-plain-http",
      "A form is not sent in clear." },

    /* A form is for people: for all other clients Forms is as good as Auto. */

    /* -------------------------------------------------------- a password */
    { AUTO, PASSWORD | LEGACY, 0, L(NTLM), "exchange-2003",
      "A password, and a 2000 or 2003 back-end: NTLM, never Basic in clear."},
    { AUTO, PASSWORD | FORMS | PEOPLE | TLS, 0, L(FORMS), "target-has-forms",
      "A password, and OWA, ECP or a legacy path with forms on, by https." },
    { AUTO, PASSWORD | BASIC | TLS, 0, L(BASIC), "target-takes-basic",
      "A password, and Basic allowed, by https." },
    { AUTO, PASSWORD | NTLM, 0, L(NTLM), "integrated-target",
      "A password, and NTLM or Windows integrated allowed." },
    { AUTO, PASSWORD | KERBEROS, 0, L(KERBEROS), "kerberos-target",
      "A password, and Kerberos or Negotiate alone: a ticket that it gets." },
    { AUTO, PASSWORD | UNKNOWN | TLS, 0, L(BASIC), "target-unknown",
      "A password, and AD does not say what is allowed: Basic by https." },
    { AUTO, PASSWORD | UNKNOWN, 0, L(NTLM), "target-unknown",
      "The same by plain http: NTLM." },
    { AUTO, PASSWORD | BASIC, 0, L(IMPOSSIBLE), "backend-plain-http",
      "A password, and Basic alone, by plain http: it is not sent." },
    { AUTO, PASSWORD | FORMS | PEOPLE, 0, L(IMPOSSIBLE), "backend-plain-http",
      "The same with forms alone." },
    { AUTO, PASSWORD, 0, L(IMPOSSIBLE), "no-common-authentication",
      "A password, and nothing that it could do: certificates, Digest." },

    /* ------------------------------------------------------- no password */
    { AUTO, KEYTAB | LEGACY, 0, L(DELEGATE), "exchange-2003",
      "No password but a keytab, and a 2000 or 2003 back-end." },
    { AUTO, KEYTAB | INTEGRATED, 0, L(DELEGATE), "integrated-target",
      "No password but a keytab, and anything integrated allowed." },
    { AUTO, KEYTAB | UNKNOWN, 0, L(DELEGATE), "target-unknown",
      "No password but a keytab, and AD does not say what is allowed." },
    { AUTO, OTHERS | TLS, 0, L(PASS), "other-module",
      "Another module's user: the header that it has judged, if any." },
    { AUTO, OTHERS, 0, L(IMPOSSIBLE), "backend-plain-http",
      "The same by plain http: a password in it is not sent in clear." },
    { ANY, 0, 0, L(IMPOSSIBLE), "double-hop",
      "No password, and no delegation that the target would take." },
};
/* clang-format on */

#define NRULES ((int)(sizeof(rules) / sizeof(rules[0])))

static bool is_people(casp_protocol_e protocol)
{
    return protocol == CASP_PROTO_OWA || protocol == CASP_PROTO_ECP
           || protocol == CASP_PROTO_LEGACY;
}

static unsigned facts_of_target(const casp_login_ask_t *ask)
{
    const uint32_t ntlm = CASP_AUTH_NTLM | CASP_AUTH_WINDOWS;
    const uint32_t kerberos = CASP_AUTH_KERBEROS | CASP_AUTH_NEGOTIATE;
    return (ask->legacy ? LEGACY : 0u) | (ask->https ? TLS : 0u)
           | (ask->auth == 0 ? UNKNOWN : 0u)
           | (ask->auth & CASP_AUTH_BASIC ? BASIC : 0u)
           | (ask->auth & CASP_AUTH_FBA ? FORMS : 0u)
           | (ask->auth & ntlm ? NTLM : 0u)
           | (ask->auth & kerberos ? KERBEROS : 0u)
           | (ask->auth & (ntlm | kerberos) ? INTEGRATED : 0u);
}

static unsigned facts_of(const casp_login_ask_t *ask)
{
    unsigned facts = facts_of_target(ask);
    switch (ask->by) {
    case CASP_BY_NONE:
        facts |= NOBODY;
        break;
    case CASP_BY_BASIC:
    case CASP_BY_FORMS:
        facts |= PASSWORD;
        break;
    case CASP_BY_OTHER:
        facts |= OTHERS;
        break;
    case CASP_BY_NTLM:
    case CASP_BY_NEGOTIATE:
        break;
    }
    return facts | (ask->keytab ? KEYTAB : 0u)
           | (is_people(ask->protocol) ? PEOPLE : 0u);
}

casp_login_e casp_login_choose(const casp_login_ask_t *ask, const char **why)
{
    unsigned facts = facts_of(ask);
    casp_backend_auth_e wanted = ask->wanted;
    if (wanted == CASP_BACKENDAUTH_FORMS && !(facts & PEOPLE)) {
        wanted = CASP_BACKENDAUTH_AUTO;
    }
    const casp_login_rule_t *r = rules;
    while (!(r->wanted & 1u << (int)wanted) || (facts & r->need) != r->need
           || (facts & r->forbid)) {
        r++; /* the last one fits all */
    }
    *why = r->why;
    return r->login;
}

const casp_login_rule_t *casp_login_rules(int *count)
{
    *count = NRULES;
    return rules;
}

const char *casp_login_rule_wanted(const casp_login_rule_t *rule, char *text,
                                   apr_size_t size)
{
    static const char *const words[] = {
        "Auto", "Basic", "NTLM", "Kerberos", "Delegate", "Forms", "None"};
    apr_size_t len = 0;
    text[0] = '\0';
    if (rule->wanted == ANY) {
        apr_cpystrn(text, "any", size);
        return text;
    }
    for (int i = 0; i <= CASP_BACKENDAUTH_NONE && len + 12 < size; i++) {
        if (rule->wanted & 1u << i) {
            len += (apr_size_t)apr_snprintf(text + len, size - len, "%s%s",
                                            len ? " " : "", words[i]);
        }
    }
    return text;
}
