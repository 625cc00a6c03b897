/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file login.h
 * How this front logs on to a backend: chosen by the target virtual
 * directory's authentication bits and by what the user brought.  Pure.
 */

#ifndef CASP_LOGIN_H
#define CASP_LOGIN_H

#include "settings.h"

/** What a choice is made from. */
typedef struct {
    casp_backend_auth_e wanted; /**< CasProxyBackendAuth */
    casp_by_e by; /**< what the user brought */
    casp_protocol_e protocol;
    uint32_t auth; /**< CASP_AUTH_* bits of the target; 0: not known */
    bool https; /**< the backend is reached by TLS */
    bool legacy; /**< an Exchange 2000 or 2003 back-end */
    bool keytab; /**< there is one: delegation is possible */
} casp_login_ask_t;

/** One row of the choice.  The first one that fits wins. */
typedef struct {
    unsigned wanted; /**< bits of casp_backend_auth_e */
    unsigned need, forbid; /**< facts; login.c's own */
    casp_login_e login;
    const char *why; /**< stable code */
    const char *says; /**< the row in words */
} casp_login_rule_t;

/**
 * @param why a stable kebab-case code: what decided
 * @return CASP_LOGIN_IMPOSSIBLE where nothing can work; @a why then is the
 *         reason code of the decision ("double-hop", ...)
 */
casp_login_e casp_login_choose(const casp_login_ask_t *ask, const char **why);

/** All rows in their order, for the reference and the tests. */
const casp_login_rule_t *casp_login_rules(int *count);
/** The words of CasProxyBackendAuth that a row is for: "Auto", "Basic NTLM".
 *  @a text is filled with at most @a size bytes. */
const char *casp_login_rule_wanted(const casp_login_rule_t *rule, char *text,
                                   apr_size_t size);

#endif /* CASP_LOGIN_H */
