/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How this front logs on to a backend: the choices an administrator would
 * expect, then what must hold of every question that can be asked, and that no
 * row is dead.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "decision.h"
#include "login.h"

#define W(name) CASP_BACKENDAUTH_##name
#define BY(name) CASP_BY_##name
#define P(name) CASP_PROTO_##name
#define L(name) CASP_LOGIN_##name

/* Bits as Exchange leaves them: OWA; with Windows authentication; EWS; MAPI */
#define FBA ((uint32_t)(CASP_AUTH_FBA | CASP_AUTH_BASIC))
#define BASIC ((uint32_t)CASP_AUTH_BASIC)
#define IWA ((uint32_t)CASP_AUTH_WINDOWS)
#define EWS ((uint32_t)(CASP_AUTH_BASIC | CASP_AUTH_NTLM | CASP_AUTH_WINDOWS))
#define MAPI \
    ((uint32_t)(CASP_AUTH_NTLM | CASP_AUTH_WINDOWS | CASP_AUTH_NEGOTIATE))
#define KERB ((uint32_t)CASP_AUTH_KERBEROS)
#define NEGO ((uint32_t)CASP_AUTH_NEGOTIATE)
#define DIGEST ((uint32_t)(CASP_AUTH_DIGEST | CASP_AUTH_CERTIFICATE))

enum { TLS = 1, OLD = 2, KEYTAB = 4 };

static const struct {
    casp_backend_auth_e wanted;
    casp_by_e by;
    casp_protocol_e protocol;
    uint32_t auth;
    int with; /* TLS, OLD, KEYTAB */
    casp_login_e login;
    const char *why;
} cases[] = {
    /* nobody, nothing */
    {W(AUTO), BY(NONE), P(OWA), FBA, TLS, L(NONE), "nobody-yet"},
    {W(BASIC), BY(NONE), P(OWA), FBA, TLS, L(NONE), "nobody-yet"},
    {W(NONE), BY(FORMS), P(OWA), FBA, TLS, L(NONE), "configured"},
    {W(NONE), BY(NTLM), P(OWA), FBA, TLS, L(NONE), "configured"},
    /* by password, as the target's bits say */
    {W(AUTO), BY(FORMS), P(OWA), FBA, TLS, L(FORMS), "target-has-forms"},
    {W(AUTO), BY(BASIC), P(OWA), FBA, TLS, L(FORMS), "target-has-forms"},
    {W(AUTO), BY(FORMS), P(ECP), FBA, TLS, L(FORMS), "target-has-forms"},
    {W(AUTO), BY(FORMS), P(LEGACY), FBA, TLS, L(FORMS), "target-has-forms"},
    {W(AUTO), BY(FORMS), P(EWS), FBA, TLS, L(BASIC), "target-takes-basic"},
    {W(AUTO), BY(FORMS), P(EAS), FBA, TLS, L(BASIC), "target-takes-basic"},
    {W(AUTO), BY(FORMS), P(OWA), BASIC | IWA, TLS, L(BASIC),
     "target-takes-basic"},
    {W(AUTO), BY(BASIC), P(EWS), EWS, TLS, L(BASIC), "target-takes-basic"},
    {W(AUTO), BY(BASIC), P(OWA), BASIC | IWA, TLS | KEYTAB, L(BASIC),
     "target-takes-basic"},
    {W(AUTO), BY(FORMS), P(OWA), IWA, TLS, L(NTLM), "integrated-target"},
    {W(AUTO), BY(BASIC), P(MAPI), MAPI, TLS, L(NTLM), "integrated-target"},
    {W(AUTO), BY(BASIC), P(OWA), CASP_AUTH_NTLM, TLS, L(NTLM),
     "integrated-target"},
    {W(AUTO), BY(BASIC), P(POWERSHELL), KERB, TLS, L(KERBEROS),
     "kerberos-target"},
    {W(AUTO), BY(BASIC), P(OWA), NEGO, TLS, L(KERBEROS), "kerberos-target"},
    {W(AUTO), BY(BASIC), P(OWA), DIGEST, TLS, L(IMPOSSIBLE),
     "no-common-authentication"},
    {W(AUTO), BY(BASIC), P(EAS), CASP_AUTH_FBA, TLS, L(IMPOSSIBLE),
     "no-common-authentication"},
    {W(AUTO), BY(BASIC), P(UM), 0, TLS, L(BASIC), "target-unknown"},
    /* never a password in clear */
    {W(AUTO), BY(BASIC), P(UM), 0, 0, L(NTLM), "target-unknown"},
    {W(AUTO), BY(BASIC), P(OWA), BASIC | IWA, 0, L(NTLM), "integrated-target"},
    {W(AUTO), BY(BASIC), P(OWA), BASIC | KERB, 0, L(KERBEROS),
     "kerberos-target"},
    {W(AUTO), BY(BASIC), P(OWA), BASIC, 0, L(IMPOSSIBLE),
     "backend-plain-http"},
    {W(AUTO), BY(FORMS), P(OWA), FBA, 0, L(IMPOSSIBLE), "backend-plain-http"},
    {W(AUTO), BY(FORMS), P(OWA), CASP_AUTH_FBA, 0, L(IMPOSSIBLE),
     "backend-plain-http"},
    {W(BASIC), BY(BASIC), P(OWA), BASIC, 0, L(IMPOSSIBLE),
     "backend-plain-http"},
    {W(FORMS), BY(BASIC), P(OWA), BASIC, 0, L(IMPOSSIBLE),
     "backend-plain-http"},
    /* 2003 */
    {W(AUTO), BY(FORMS), P(LEGACY), BASIC | IWA, OLD, L(NTLM),
     "exchange-2003"},
    {W(AUTO), BY(BASIC), P(EAS), BASIC, OLD, L(NTLM), "exchange-2003"},
    {W(AUTO), BY(FORMS), P(LEGACY), FBA, OLD | TLS, L(NTLM), "exchange-2003"},
    {W(BASIC), BY(FORMS), P(LEGACY), BASIC | IWA, OLD, L(BASIC), "configured"},
    {W(AUTO), BY(NTLM), P(LEGACY), 0, OLD | KEYTAB, L(DELEGATE),
     "exchange-2003"},
    {W(AUTO), BY(NTLM), P(LEGACY), BASIC, OLD | KEYTAB, L(DELEGATE),
     "exchange-2003"},
    {W(AUTO), BY(NTLM), P(LEGACY), BASIC | IWA, OLD, L(IMPOSSIBLE),
     "double-hop"},
    /* said aloud */
    {W(BASIC), BY(FORMS), P(OWA), FBA, TLS, L(BASIC), "configured"},
    {W(NTLM), BY(FORMS), P(OWA), FBA, TLS, L(NTLM), "configured"},
    {W(NTLM), BY(BASIC), P(EAS), BASIC, 0, L(NTLM), "configured"},
    {W(KERBEROS), BY(BASIC), P(OWA), 0, 0, L(KERBEROS), "configured"},
    {W(FORMS), BY(BASIC), P(OWA), 0, TLS, L(FORMS), "configured"},
    {W(DELEGATE), BY(BASIC), P(OWA), BASIC, TLS | KEYTAB, L(DELEGATE),
     "configured"},
    {W(DELEGATE), BY(NTLM), P(OWA), BASIC, TLS | KEYTAB, L(DELEGATE),
     "configured"},
    {W(DELEGATE), BY(OTHER), P(OWA), IWA, TLS | KEYTAB, L(DELEGATE),
     "configured"},
    {W(DELEGATE), BY(NTLM), P(OWA), IWA, TLS, L(IMPOSSIBLE), "double-hop"},
    {W(DELEGATE), BY(FORMS), P(OWA), IWA, TLS, L(IMPOSSIBLE), "double-hop"},
    {W(BASIC), BY(NTLM), P(OWA), BASIC, TLS, L(IMPOSSIBLE), "double-hop"},
    {W(NTLM), BY(NEGOTIATE), P(OWA), IWA, TLS | KEYTAB, L(IMPOSSIBLE),
     "double-hop"},
    {W(KERBEROS), BY(NTLM), P(OWA), KERB, TLS | KEYTAB, L(IMPOSSIBLE),
     "double-hop"},
    {W(NTLM), BY(OTHER), P(OWA), IWA, TLS, L(IMPOSSIBLE), "double-hop"},
    /* a form is for people: for the others as Auto */
    {W(FORMS), BY(BASIC), P(EAS), BASIC, TLS, L(BASIC), "target-takes-basic"},
    {W(FORMS), BY(BASIC), P(MAPI), MAPI, TLS, L(NTLM), "integrated-target"},
    {W(FORMS), BY(NTLM), P(OWA), IWA, TLS | KEYTAB, L(IMPOSSIBLE),
     "double-hop"},
    /* without a password */
    {W(AUTO), BY(NTLM), P(OWA), IWA, TLS | KEYTAB, L(DELEGATE),
     "integrated-target"},
    {W(AUTO), BY(NEGOTIATE), P(OWA), BASIC | IWA, TLS | KEYTAB, L(DELEGATE),
     "integrated-target"},
    {W(AUTO), BY(NEGOTIATE), P(POWERSHELL), KERB, TLS | KEYTAB, L(DELEGATE),
     "integrated-target"},
    {W(AUTO), BY(OTHER), P(OWA), NEGO, TLS | KEYTAB, L(DELEGATE),
     "integrated-target"},
    {W(AUTO), BY(NTLM), P(UM), 0, TLS | KEYTAB, L(DELEGATE), "target-unknown"},
    {W(AUTO), BY(NTLM), P(OWA), FBA, TLS | KEYTAB, L(IMPOSSIBLE),
     "double-hop"},
    {W(AUTO), BY(NTLM), P(RPC), BASIC, TLS | KEYTAB, L(IMPOSSIBLE),
     "double-hop"},
    {W(AUTO), BY(NTLM), P(OWA), IWA, TLS, L(IMPOSSIBLE), "double-hop"},
    {W(AUTO), BY(NEGOTIATE), P(OWA), BASIC | IWA, TLS, L(IMPOSSIBLE),
     "double-hop"},
    /* another module's user */
    {W(AUTO), BY(OTHER), P(OWA), BASIC, TLS, L(PASS), "other-module"},
    {W(AUTO), BY(OTHER), P(OWA), IWA, TLS, L(PASS), "other-module"},
    {W(AUTO), BY(OTHER), P(RPC), BASIC, TLS | KEYTAB, L(PASS), "other-module"},
    {W(BASIC), BY(OTHER), P(OWA), BASIC, TLS, L(PASS), "configured"},
    {W(BASIC), BY(OTHER), P(OWA), BASIC, 0, L(PASS), "configured"},
    {W(AUTO), BY(OTHER), P(OWA), BASIC, 0, L(IMPOSSIBLE),
     "backend-plain-http"},
    {W(AUTO), BY(OTHER), P(LEGACY), BASIC | IWA, OLD, L(IMPOSSIBLE),
     "backend-plain-http"},
};

static casp_login_ask_t make(casp_backend_auth_e wanted, casp_by_e by,
                             casp_protocol_e protocol, uint32_t auth, int with)
{
    casp_login_ask_t ask = {wanted,
                            by,
                            protocol,
                            auth,
                            (with & TLS) != 0,
                            (with & OLD) != 0,
                            (with & KEYTAB) != 0};
    return ask;
}

static void as_an_administrator_expects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_login_ask_t ask =
            make(cases[i].wanted, cases[i].by, cases[i].protocol,
                 cases[i].auth, cases[i].with);
        const char *why = NULL;
        casp_login_e login = casp_login_choose(&ask, &why);
        if (login != cases[i].login || strcmp(why, cases[i].why) != 0) {
            fail_msg("case %d: %s (%s), wanted %s (%s)", (int)i,
                     casp_login_name(login), why,
                     casp_login_name(cases[i].login), cases[i].why);
        }
    }
}

/* Every bit that Exchange knows in every combination that matters. */
static const uint32_t bits[] = {CASP_AUTH_BASIC,    CASP_AUTH_NTLM,
                                CASP_AUTH_FBA,      CASP_AUTH_DIGEST,
                                CASP_AUTH_WINDOWS,  CASP_AUTH_KERBEROS,
                                CASP_AUTH_NEGOTIATE};
#define NBITS ((int)(sizeof(bits) / sizeof(bits[0])))

static bool has_password(casp_by_e by)
{
    return by == CASP_BY_BASIC || by == CASP_BY_FORMS;
}

/* What must hold whatever is asked. */
static void check(const casp_login_ask_t *ask, casp_login_e login,
                  const char *why)
{
    bool by_password = login == CASP_LOGIN_BASIC || login == CASP_LOGIN_NTLM
                       || login == CASP_LOGIN_KERBEROS
                       || login == CASP_LOGIN_FORMS;
    assert_non_null(why);
    assert_true(!by_password || has_password(ask->by));
    assert_true(login != CASP_LOGIN_DELEGATE || ask->keytab);
    assert_true(login != CASP_LOGIN_PASS || ask->by == CASP_BY_OTHER);
    assert_true(login != CASP_LOGIN_PASS || ask->https
                || ask->wanted == CASP_BACKENDAUTH_BASIC);
    /* in clear only to 2003, and only where that is said aloud */
    if (login == CASP_LOGIN_BASIC && !ask->https) {
        assert_true(ask->legacy && ask->wanted == CASP_BACKENDAUTH_BASIC);
    }
    assert_true(login != CASP_LOGIN_FORMS || ask->https);
    assert_true(login != CASP_LOGIN_FORMS || ask->protocol != CASP_PROTO_EAS);
    if (ask->wanted == CASP_BACKENDAUTH_NONE || ask->by == CASP_BY_NONE) {
        assert_int_equal(login, CASP_LOGIN_NONE);
    }
    else {
        assert_int_not_equal(login, CASP_LOGIN_NONE);
    }
    if (login == CASP_LOGIN_IMPOSSIBLE) {
        const casp_reason_t *r = casp_decision_reason(why);
        assert_non_null(r);
        assert_true(r->status >= 400);
    }
}

static void every_question_has_a_sound_answer(void **state)
{
    (void)state;
    static const casp_protocol_e protocols[] = {CASP_PROTO_OWA,
                                                CASP_PROTO_EAS};
    for (int wanted = 0; wanted <= CASP_BACKENDAUTH_NONE; wanted++) {
        for (int by = CASP_BY_NONE; by <= CASP_BY_OTHER; by++) {
            for (int mask = 0; mask < 1 << NBITS; mask++) {
                uint32_t auth = 0;
                for (int i = 0; i < NBITS; i++) {
                    auth |= mask & 1 << i ? bits[i] : 0;
                }
                for (int with = 0; with < 16; with++) {
                    casp_login_ask_t ask =
                        make((casp_backend_auth_e)wanted, (casp_by_e)by,
                             protocols[with >> 3], auth, with & 7);
                    const char *why = NULL;
                    casp_login_e login = casp_login_choose(&ask, &why);
                    check(&ask, login, why);
                }
            }
        }
    }
}

static bool is_code(const char *text)
{
    return *text != '\0'
           && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")
                  == strlen(text);
}

/* The cases above name every row of the table, by what it gives. */
static void rows_are_well_formed_and_alive(void **state)
{
    (void)state;
    int count = 0;
    char text[64];
    const casp_login_rule_t *r = casp_login_rules(&count);
    assert_true(count > 20);
    for (int i = 0; i < count; i++) {
        bool alive = false;
        assert_true(r[i].wanted != 0 && is_code(r[i].why));
        assert_true(r[i].says[0] != '\0' && strchr(r[i].says, '\t') == NULL);
        assert_true((r[i].need & r[i].forbid) == 0);
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
            alive = alive
                    || (cases[c].login == r[i].login
                        && strcmp(cases[c].why, r[i].why) == 0);
        }
        if (!alive) {
            fail_msg("no case gives %s (%s)", casp_login_name(r[i].login),
                     r[i].why);
        }
        casp_login_rule_wanted(&r[i], text, sizeof(text));
        assert_true(text[0] != '\0');
    }
    assert_string_equal(casp_login_rule_wanted(&r[0], text, sizeof(text)),
                        "any");
    casp_login_rule_t two = {1u << CASP_BACKENDAUTH_BASIC
                                 | 1u << CASP_BACKENDAUTH_NONE,
                             0,
                             0,
                             CASP_LOGIN_NONE,
                             "x",
                             "x"};
    assert_string_equal(casp_login_rule_wanted(&two, text, sizeof(text)),
                        "Basic None");
    /* the last row fits whatever is left */
    assert_int_equal(r[count - 1].login, CASP_LOGIN_IMPOSSIBLE);
    assert_true(r[count - 1].need == 0 && r[count - 1].forbid == 0);
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < CASP_LOGIN_COUNT; i++) {
        assert_true(is_code(casp_login_name((casp_login_e)i)));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(casp_login_name((casp_login_e)i),
                                    casp_login_name((casp_login_e)j));
        }
    }
    assert_string_equal(casp_login_name(CASP_LOGIN_KERBEROS), "kerberos");
    assert_string_equal(casp_login_name(CASP_LOGIN_IMPOSSIBLE), "impossible");
    assert_string_equal(casp_login_name(CASP_LOGIN_COUNT), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_an_administrator_expects),
        cmocka_unit_test(every_question_has_a_sound_answer),
        cmocka_unit_test(rows_are_well_formed_and_alive),
        cmocka_unit_test(names),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
