/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * words.c: the words of mod_casproxy.h in both directions, and the core's
 * way to a log.
 *
 * Why: configuration, logs, JSON and the tests must spell one thing one way,
 * and the core must be able to speak without knowing httpd.  This room must
 * not decide anything: it only names.
 */

#include <stdarg.h>
#include <stdio.h>

#include <apr_cstr.h>

#include "mod_casproxy.h"

/* A message longer than this is cut: most of it is input. */
#define LOG_LINE_MAX 2048

/* ------------------------------------------------------------------ log */

static struct {
    casp_log_cb *cb;
    void *baton;
    casp_log_e level;
} log_to = {NULL, NULL, CASP_LOG_NOTICE};

void casp_log_set(casp_log_cb *cb, void *baton, casp_log_e level)
{
    log_to.cb = cb;
    log_to.baton = baton;
    log_to.level = level;
}

void casp_log_level(casp_log_e level)
{
    log_to.level = level;
}

/* One message is one line, whatever a user or a directory put into it:
 * a line feed in a name must not forge a second line. */
static void make_one_line(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        unsigned char u = (unsigned char)*c;

        if (u < 0x20 || u == 0x7f) {
            *c = '?';
        }
    }
}

void casp_log(casp_log_e level, apr_status_t rv, const char *fmt, ...)
{
    if (!log_to.cb || level > log_to.level) {
        return;
    }
    char line[LOG_LINE_MAX];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    make_one_line(line);
    log_to.cb(log_to.baton, level, rv, line);
}

/* ---------------------------------------------------------------- words */

static const char *const protocol_names[CASP_PROTO_COUNT] = {
    "none",         "owa",        "ecp",  "eas",   "ews",
    "autodiscover", "oab",        "rpc",  "mapi",  "um",
    "legacy",       "powershell", "pop3", "imap4", "smtp"};

static const char *const version_names[CASP_V_COUNT] = {
    "none", "2000", "2003", "2007", "2010", "2013", "2016", "2019"};

static const char *const front_names[CASP_F_COUNT] = {
    "2007", "2010", "2010SP1", "2010SP2", "2010SP3", "2013", "2016", "2019"};

static const char *const action_names[CASP_ACTION_COUNT] = {
    "none",
    "direct",
    "proxy",
    "proxy-backend",
    "manual-redirect",
    "temporary-redirect",
    "silent-redirect",
    "sso-redirect",
    "eas-redirect",
    "autodiscover-redirect",
    "autodiscover-answer",
    "logon",
    "deny",
    "error"};

static const char *const by_names[] = {"none", "basic",     "forms",
                                       "ntlm", "negotiate", "other"};

static const char *const login_names[CASP_LOGIN_COUNT] = {
    "none",     "pass",     "basic", "ntlm",
    "kerberos", "delegate", "forms", "impossible"};

static const char *const cache_names[] = {"miss", "hit", "stale", "negative"};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* A number outside its enum is a bug elsewhere; a log line must still be
 * written, so it gets a word and not a crash. */
static const char *name_of(const char *const *names, int n, int which)
{
    return which >= 0 && which < n ? names[which] : "none";
}

/* From 'first' on: the place holders in front are no words of a user. */
static int number_of(const char *const *names, int first, int n,
                     const char *name)
{
    for (int i = first; name && i < n; i++) {
        if (!apr_cstr_casecmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

const char *casp_protocol_name(casp_protocol_e protocol)
{
    return name_of(protocol_names, COUNT(protocol_names), (int)protocol);
}

bool casp_protocol_parse_name(const char *name, casp_protocol_e *protocol)
{
    int i = number_of(protocol_names, 1, COUNT(protocol_names), name);

    if (i >= 0) {
        *protocol = (casp_protocol_e)i;
    }
    return i >= 0;
}

const char *casp_version_name(casp_version_e version)
{
    return name_of(version_names, COUNT(version_names), (int)version);
}

bool casp_version_parse_name(const char *name, casp_version_e *version)
{
    int i = number_of(version_names, 1, COUNT(version_names), name);

    if (i >= 0) {
        *version = (casp_version_e)i;
    }
    return i >= 0;
}

const char *casp_front_name(casp_front_e front)
{
    return name_of(front_names, COUNT(front_names), (int)front);
}

bool casp_front_parse_name(const char *name, casp_front_e *front)
{
    int i = number_of(front_names, 0, COUNT(front_names), name);

    if (i >= 0) {
        *front = (casp_front_e)i;
    }
    return i >= 0;
}

casp_version_e casp_front_version(casp_front_e front)
{
    switch (front) {
    case CASP_F2007:
        return CASP_V2007;
    case CASP_F2010:
    case CASP_F2010SP1:
    case CASP_F2010SP2:
    case CASP_F2010SP3:
        return CASP_V2010;
    case CASP_F2013:
        return CASP_V2013;
    case CASP_F2016:
        return CASP_V2016;
    case CASP_F2019:
        return CASP_V2019;
    case CASP_F_COUNT:
        break;
    }
    return CASP_V_NONE;
}

const char *casp_action_name(casp_action_e action)
{
    return name_of(action_names, COUNT(action_names), (int)action);
}

bool casp_action_parse_name(const char *name, casp_action_e *action)
{
    int i = number_of(action_names, 1, COUNT(action_names), name);

    if (i >= 0) {
        *action = (casp_action_e)i;
    }
    return i >= 0;
}

const char *casp_by_name(casp_by_e by)
{
    return name_of(by_names, COUNT(by_names), (int)by);
}

const char *casp_login_name(casp_login_e login)
{
    return name_of(login_names, COUNT(login_names), (int)login);
}

const char *casp_cache_name(casp_cache_e cache)
{
    return name_of(cache_names, COUNT(cache_names), (int)cache);
}

bool casp_action_is_proxy(casp_action_e action)
{
    return action == CASP_ACTION_DIRECT || action == CASP_ACTION_PROXY
           || action == CASP_ACTION_PROXY_BACKEND;
}

bool casp_action_serves(casp_action_e action)
{
    return action > CASP_ACTION_NONE && action < CASP_ACTION_COUNT
           && action != CASP_ACTION_DENY && action != CASP_ACTION_ERROR;
}
