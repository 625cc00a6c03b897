/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Directives of logging on, at both doors: how people show this front who they
 * are, and how this front shows it to the servers behind.
 *
 * A setter checks words and nothing else: a keytab that cannot be read, or a
 * way that needs one where there is none, is casp_settings_check()'s.
 */

#include "directives.h"

/* ------------------------------------------------------------ the front door*/

static const casp_word_t words_auth[] = {
    {"Forms", CASP_SCHEME_FORMS}, {"Negotiate", CASP_SCHEME_NEGOTIATE},
    {"NTLM", CASP_SCHEME_NTLM},   {"Basic", CASP_SCHEME_BASIC},
    {"None", CASP_SCHEME_NONE},   {NULL, 0}};

SETTER(auth)
{
    int mask = 0;
    const char *wrong = casp_value_mask(p, argc, argv, words_auth, &mask);
    if (wrong) {
        return wrong;
    }
    if ((mask & CASP_SCHEME_NONE) && mask != CASP_SCHEME_NONE) {
        return "None trusts another module and stands alone; leave it or "
               "the others out";
    }
    d->auth = mask;
    return NULL;
}
DUMPER(auth)
{
    casp_put_mask(p, lines, "CasProxyAuth", words_auth, d->auth);
}

SETTER(keytab)
{
    return casp_value_path(p, argv[0], &s->keytab);
}
DUMP_STRING(keytab, "CasProxyKeytab", s->keytab)

static const casp_word_t words_verify[] = {{"Winbind", CASP_NTLM_WINBIND},
                                           {"Directory", CASP_NTLM_DIRECTORY},
                                           {NULL, 0}};

/* The helper's command line is split here and never seen by a shell. */
static const char *set_helper(apr_pool_t *p, casp_settings_t *s, int argc,
                              const char *const *argv)
{
    const char *path = NULL;
    const char *wrong = casp_value_path(p, argv[0], &path);
    if (wrong) {
        return wrong;
    }
    apr_array_header_t *words = apr_array_make(p, argc, sizeof(char *));
    APR_ARRAY_PUSH(words, const char *) = path;
    for (int i = 1; i < argc; i++) {
        const char *word = NULL;
        wrong =
            casp_value_name(p, argv[i], "word of a command", "", 1024, &word);
        if (wrong) {
            return wrong;
        }
        if (!strncmp(word, "--helper-protocol", 17)) {
            return "--helper-protocol is added by this module; leave it out";
        }
        APR_ARRAY_PUSH(words, const char *) = word;
    }
    s->ntlm_helper = words;
    return NULL;
}

SETTER(ntlm_verify)
{
    int verify = 0;
    const char *wrong = casp_value_word(p, argv[0], words_verify, &verify);
    if (wrong) {
        return wrong;
    }
    s->ntlm_helper = NULL;
    if (argc > 1 && verify == CASP_NTLM_DIRECTORY) {
        return "Directory takes no command: the servers are those of "
               "CasProxyDirectory";
    }
    wrong = argc > 1 ? set_helper(p, s, argc - 1, argv + 1) : NULL;
    if (!wrong) {
        s->ntlm_verify = verify;
    }
    return wrong;
}
DUMPER(ntlm_verify)
{
    const char *word = casp_value_word_of(words_verify, s->ntlm_verify);
    const char *helper = casp_put_join(p, s->ntlm_helper);
    casp_put(p, lines, "CasProxyNTLMVerify",
             word && helper ? apr_pstrcat(p, word, " ", helper, NULL) : word);
}

static const casp_word_t words_sso[] = {{"On", CASP_SSO_ON},
                                        {"Off", CASP_SSO_OFF},
                                        {"TwoFactor", CASP_SSO_TWOFACTOR},
                                        {"PreAuth", CASP_SSO_PREAUTH},
                                        {NULL, 0}};
static const casp_word_t words_logon[] = {
    {"FullDomain", CASP_LOGON_FULLDOMAIN},
    {"PrincipalName", CASP_LOGON_PRINCIPALNAME},
    {"UserName", CASP_LOGON_USERNAME},
    {NULL, 0}};

SETTER(sso)
{
    return casp_value_word(p, argv[0], words_sso, &s->sso);
}
DUMP_CHOICE(sso, "CasProxySSO", words_sso, s->sso)

SETTER(logon_format)
{
    return casp_value_word(p, argv[0], words_logon, &s->logon_format);
}
DUMP_CHOICE(logon_format, "CasProxyLogonFormat", words_logon, s->logon_format)

SETTER(default_domain)
{
    return casp_value_name(p, argv[0], "NetBIOS or DNS name of a domain",
                           " \\/:*?\"<>|@", 255, &s->default_domain);
}
DUMP_STRING(default_domain, "CasProxyDefaultDomain", s->default_domain)

/* ----------------------------------------------------------------- forms */

SETTER(forms_key)
{
    if (strncmp(argv[0], "file:", 5)) {
        return "a key ring comes from a file that only root can read, and "
               "its secrets do not belong into the configuration; write "
               "file:/PATH";
    }
    /* no message repeats the word: somebody may have put a secret there */
    return casp_value_path(p, argv[0] + 5, &s->forms_key)
               ? "behind file: stands an absolute path, as in "
                 "file:/etc/casproxy/forms-key"
               : NULL;
}
DUMPER(forms_key)
{
    if (s->forms_key) {
        casp_put_word(p, lines, "CasProxyFormsKey",
                      apr_pstrcat(p, "file:", s->forms_key, NULL));
    }
}

/* Exchange counts in minutes, httpd in seconds: so the unit is to be said. */
static const casp_key_range_t keys_forms[] = {
    TIME("public", forms_public, 2, 30 * DAY),
    TIME("private", forms_private, 2, 30 * DAY), LAST_KEY};
KEYS_SETTER(forms_timeout, keys_forms)
KEYS_DUMPER(forms_timeout, "CasProxyFormsTimeout", keys_forms)

/* ------------------------------------------------------- the doors behind */

static const casp_word_t words_backendauth[] = {
    {"Auto", CASP_BACKENDAUTH_AUTO},
    {"Basic", CASP_BACKENDAUTH_BASIC},
    {"NTLM", CASP_BACKENDAUTH_NTLM},
    {"Kerberos", CASP_BACKENDAUTH_KERBEROS},
    {"Delegate", CASP_BACKENDAUTH_DELEGATE},
    {"Forms", CASP_BACKENDAUTH_FORMS},
    {"None", CASP_BACKENDAUTH_NONE},
    {NULL, 0}};

SETTER(backend_auth)
{
    return casp_value_word(p, argv[0], words_backendauth, &d->backend_auth);
}
DUMP_CHOICE(backend_auth, "CasProxyBackendAuth", words_backendauth,
            d->backend_auth)
