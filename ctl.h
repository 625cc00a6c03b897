/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file ctl.h
 * What the files of casproxyctl share: one explanation, and its printing.
 */

#ifndef CASP_CTL_H
#define CASP_CTL_H

#include "checkup.h"
#include "verdict.h"

struct passwd;
struct stat;

/** The words of the command line; NULL where not given. */
typedef struct {
    const char *config, *directory, *vhost, *user, *url, *method, *auth;
    const char *host;
    apr_table_t *headers;
    bool json;
} casp_ctl_options_t;

/* Everything that an explanation is made of. */
typedef struct {
    apr_pool_t *p;
    casp_ctl_options_t o;
    casp_config_t config;
    const casp_settings_t *s;
    const casp_dir_settings_t *d;
    casp_org_t *org;
    casp_ask_t ask;
    casp_verdict_t v;
    apr_array_header_t *problems; /* casp_problem_t, of the organisation */
    bool checking; /* the check command: go on where settings are wrong */
    apr_array_header_t *errors, *warnings; /* of the settings, then */
} casp_ctl_explain_t;

/** Without control bytes: what a directory or a person wrote must not steer
 *  a terminal.  NULL is "unknown". */
const char *casp_ctl_plain(apr_pool_t *p, const char *text);

/** One object on one line. */
void casp_ctl_print_json(const casp_ctl_explain_t *e);
/** A quoted string; null where @a text is NULL. */
void casp_ctl_json_string(const char *text);
/**
 * check: keytab, SPN, delegation, clock, winbind, as the settings need them.
 * @return nothing failed
 */
bool casp_ctl_check(casp_ctl_explain_t *e);
/** Its part about NTLM. @a in: users may come so; @a out: backends want it */
void casp_ctl_check_ntlm(casp_checkup_t *c, const casp_settings_t *s, bool in,
                         bool out);
/** Its part about Outlook Anywhere: what older servers need before a newer
 *  front (S004), and what they must not have (S002). */
void casp_ctl_check_rpc(casp_checkup_t *c, const casp_settings_t *s,
                        const casp_topology_t *t);
/** The user that httpd runs as, in all likelihood; NULL: none known. */
const struct passwd *casp_ctl_httpd_user(void);
bool casp_ctl_may_read(const struct passwd *pw, const struct stat *st);
/** For people. */
void casp_ctl_print_text(const casp_ctl_explain_t *e);

#endif /* CASP_CTL_H */
