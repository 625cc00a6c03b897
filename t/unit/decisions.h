/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the decision's tests share, test_decision.c and test_vectors.c, which
 * are one program: no_rule_is_dead, its last test, counts what both reach.
 */

#ifndef CASP_DECISIONS_H
#define CASP_DECISIONS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <string.h>

#include <apr_general.h>

#include "decision.h"

#define K(name) CASP_F(name)

/* Where the mailbox is, as columns of the matrices. */
typedef enum {
    L0, /* own site, ExternalURL set */
    L0N, /* own site, only an InternalURL */
    LX, /* other site with ExternalURL */
    LE, /* its host is here, no FailbackURL */
    LEF, /* its host is here, FailbackURL set */
    LN, /* other site without ExternalURL */
    LR, /* array here, mounted in a site with ExternalURL */
    NPLACES
} place_e;

#define EXT "https://munich.contoso.test/owa/"
#define SAME "https://munich.contoso.test/owa/?x=1"
#define INT "https://muc-cas1.contoso.test/owa/"
#define OLD "https://legacy.contoso.test/exchange/"
#define OLDSAME "https://legacy.contoso.test/exchange/ada/?Cmd=x"
#define FAIL "https://failback.contoso.test/owa/"
#define FRONT7 "https://legacy7.contoso.test/owa/"
#define HERE "https://mail.contoso.test/owa/"
#define HTTPS "https://mail.contoso.test/owa/?x=1"
#define BACK "https://muc-cas1.contoso.test/owa"

#define FORMS CASP_BY_FORMS
#define BASIC CASP_BY_BASIC
#define NTLM CASP_BY_NTLM
#define FBA ((uint32_t)(CASP_AUTH_FBA | CASP_AUTH_BASIC))
#define ABASIC ((uint32_t)CASP_AUTH_BASIC)
#define IWA ((uint32_t)(CASP_AUTH_WINDOWS | CASP_AUTH_NTLM))
#define A(name) CASP_ACTION_##name

#define EXCHANGE CASP_LEGACY_EXCHANGE

/* A question as a browser's GET over https asks it. */
casp_question_t ask(casp_front_e front, casp_version_e version, place_e place,
                    casp_by_e by, uint32_t auth, uint64_t more);

/* The same of an old path. */
casp_question_t old_path(casp_question_t q, casp_legacy_e legacy);

/* What the rules say; which one it was is noted. */
casp_decision_t decide(const casp_question_t *q);

/* Fails, and names @a what, unless they say so. */
void expect(const casp_question_t *q, casp_action_e action, const char *reason,
            const char *url, const char *what);

/* test_vectors.c */
void vectors_of_the_sources(void **state);
void vectors_of_old_paths(void **state);
void the_named_mailbox_decides(void **state);

#endif /* CASP_DECISIONS_H */
