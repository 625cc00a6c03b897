/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Checked words: what stands behind a directive is input written by a person,
 * who learns most from a sentence that names the word and the cure.  Every
 * check of a single word is made here and once, so that httpd -t and
 * casproxyctl refuse the same things for the same reasons.
 *
 * Nothing here opens a file, asks a name server or knows a directive.
 */

#include "values.h"

#include "topology.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define SHOWN 80 /* bytes of a wrong word that a message repeats */
#define DIGITS_MAX 10 /* of a number: more cannot fit an int */
#define HOST_MAX 253 /* RFC 1035 */
#define NAME_BYTES 1024 /* of anything that a person types */

const char *casp_value_show(apr_pool_t *p, const char *arg)
{
    apr_size_t len = strlen(arg);
    const char *more = len > SHOWN ? "..." : "";
    if (len > SHOWN) {
        len = SHOWN;
    }
    char *text = apr_palloc(p, 4 * len + 1);
    char *to = text;
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)arg[i];
        if (c < 0x20 || c == 0x7f) {
            to += apr_snprintf(to, 5, "\\x%02x", c);
        }
        else {
            *to++ = (char)c;
        }
    }
    *to = '\0';
    return apr_psprintf(p, "\"%s%s\"", text, more);
}

/* httpd's reader knows two escapes inside quotes, \" and \\, and takes every
 * other backslash as it stands; outside of quotes it halves a double one. */
const char *casp_value_quote(apr_pool_t *p, const char *arg)
{
    bool quote = !*arg || *arg == '"' || *arg == '\'' || *arg == '#'
                 || *arg == '<' || strstr(arg, "\\\\")
                 || arg[strlen(arg) - 1] == '\\';
    for (const char *c = arg; *c && !quote; c++) {
        quote = apr_isspace(*c);
    }
    if (!quote) {
        return apr_pstrdup(p, arg);
    }
    char *text = apr_palloc(p, 2 * strlen(arg) + 3);
    char *to = text;
    *to++ = '"';
    for (const char *c = arg; *c; c++) {
        if (*c == '"' || *c == '\\') {
            *to++ = '\\';
        }
        *to++ = *c;
    }
    *to++ = '"';
    *to = '\0';
    return text;
}

/* ------------------------------------------------------------- choices */

static const casp_word_t *word_find(const casp_word_t *words, const char *arg)
{
    for (; words->word; words++) {
        if (!apr_cstr_casecmp(words->word, arg)) {
            return words;
        }
    }
    return NULL;
}

static const char *word_list(apr_pool_t *p, const casp_word_t *words)
{
    const char *text = words->word;
    for (words++; words->word; words++) {
        text = apr_pstrcat(p, text, words[1].word ? ", " : " or ", words->word,
                           NULL);
    }
    return text;
}

const char *casp_value_word(apr_pool_t *p, const char *arg,
                            const casp_word_t *words, int *value)
{
    const casp_word_t *word = word_find(words, arg);
    if (!word) {
        return apr_psprintf(p, "%s is not known here; write %s",
                            casp_value_show(p, arg), word_list(p, words));
    }
    *value = word->value;
    return NULL;
}

const char *casp_value_word_of(const casp_word_t *words, int value)
{
    for (; words->word; words++) {
        if (words->value == value) {
            return words->word;
        }
    }
    return NULL;
}

const char *casp_value_mask(apr_pool_t *p, int argc, const char *const *argv,
                            const casp_word_t *words, int *mask)
{
    int bits = 0;
    for (int i = 0; i < argc; i++) {
        int bit = 0;
        const char *wrong = casp_value_word(p, argv[i], words, &bit);
        if (wrong) {
            return wrong;
        }
        if (bits & bit) {
            return apr_psprintf(p, "%s stands there twice; once is enough",
                                casp_value_show(p, argv[i]));
        }
        bits |= bit;
    }
    *mask = bits;
    return NULL;
}

/* ------------------------------------------------------------- numbers */

/* Digits at the start, and few enough to count.  @return what stands behind
 * them, or NULL */
static const char *digits_of(const char *arg, int64_t *number)
{
    apr_size_t digits = strspn(arg, "0123456789");
    if (!digits || digits > DIGITS_MAX) {
        return NULL;
    }
    *number = 0;
    for (apr_size_t i = 0; i < digits; i++) {
        *number = *number * 10 + (arg[i] - '0');
    }
    return arg + digits;
}

const char *casp_value_number(apr_pool_t *p, const char *arg, const char *what,
                              int min, int max, int *value)
{
    int64_t number = 0;
    const char *rest = digits_of(arg, &number);
    if (!rest || *rest || number < min || number > max) {
        return apr_psprintf(p,
                            "%s %s will not do; write a whole number from "
                            "%d to %d",
                            what, casp_value_show(p, arg), min, max);
    }
    *value = (int)number;
    return NULL;
}

static int *key_slot(casp_settings_t *s, const casp_key_range_t *key)
{
    return (int *)(void *)((char *)s + key->offset);
}

static const char *key_list(apr_pool_t *p, const casp_key_range_t *keys)
{
    const char *text = "";
    for (; keys->key; keys++) {
        text = apr_pstrcat(p, text, *text ? " " : "", keys->key, "=", NULL);
    }
    return text;
}

/* The largest first. */
static const struct {
    char letter;
    int seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
#define NUNITS (sizeof(units) / sizeof(units[0]))

const char *casp_value_duration_of(apr_pool_t *p, int seconds)
{
    size_t u = 0;
    while (u < NUNITS - 1 && (!seconds || seconds % units[u].seconds)) {
        u++;
    }
    return apr_psprintf(p, "%d%c", seconds / units[u].seconds,
                        units[u].letter);
}

const char *casp_value_duration(apr_pool_t *p, const char *arg,
                                const char *what, int min, int max,
                                int *seconds)
{
    int64_t number = 0, unit = 0;
    const char *rest = digits_of(arg, &number);
    if (rest && !*rest) {
        return apr_psprintf(p,
                            "%s %s has no unit; write a number and its unit "
                            "(s, m, h or d), as in %sm for minutes",
                            what, casp_value_show(p, arg), arg);
    }
    for (size_t u = 0; rest && u < NUNITS; u++) {
        if (apr_tolower(*rest) == units[u].letter && !rest[1]) {
            unit = units[u].seconds;
        }
    }
    if (!unit || number * unit < min || number * unit > max) {
        return apr_psprintf(p,
                            "%s %s will not do; write a number and its unit "
                            "(s, m, h or d), from %s to %s",
                            what, casp_value_show(p, arg),
                            casp_value_duration_of(p, min),
                            casp_value_duration_of(p, max));
    }
    *seconds = (int)(number * unit);
    return NULL;
}

static const char *key_read(apr_pool_t *p, const casp_key_range_t *key,
                            const char *arg, int *slot)
{
    return key->time
               ? casp_value_duration(p, arg, key->key, key->min, key->max,
                                     slot)
               : casp_value_number(p, arg, key->key, key->min, key->max, slot);
}

const char *casp_value_keys(apr_pool_t *p, casp_settings_t *s,
                            const casp_key_range_t *keys, int argc,
                            const char *const *argv)
{
    unsigned seen = 0;
    for (int i = 0; i < argc; i++) {
        const char *equal = strchr(argv[i], '=');
        apr_size_t len = equal ? (apr_size_t)(equal - argv[i]) : 0;
        int k = 0;
        while (keys[k].key
               && (strlen(keys[k].key) != len
                   || apr_cstr_casecmpn(keys[k].key, argv[i], len))) {
            k++;
        }
        if (!equal || !keys[k].key) {
            return apr_psprintf(p,
                                "%s is not known here; write KEY=%s "
                                "with any of %s",
                                casp_value_show(p, argv[i]),
                                keys->time ? "TIME" : "NUMBER",
                                key_list(p, keys));
        }
        if (seen & (1u << k)) {
            return apr_psprintf(p,
                                "%s= stands there twice; leave one of "
                                "them out",
                                keys[k].key);
        }
        seen |= 1u << k;
        const char *wrong =
            key_read(p, &keys[k], equal + 1, key_slot(s, &keys[k]));
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

const char *casp_value_keys_of(apr_pool_t *p, const casp_settings_t *s,
                               const casp_key_range_t *keys)
{
    const char *text = NULL;
    for (; keys->key; keys++) {
        int value =
            *(const int *)(const void *)((const char *)s + keys->offset);
        if (value != CASP_UNSET) {
            text = apr_psprintf(p, "%s%s%s=%s", text ? text : "",
                                text ? " " : "", keys->key,
                                keys->time ? casp_value_duration_of(p, value)
                                           : apr_itoa(p, value));
        }
    }
    return text;
}

/* --------------------------------------------------------------- names */

static bool has_control(const char *arg)
{
    for (; *arg; arg++) {
        if ((unsigned char)*arg < 0x20 || *arg == 0x7f) {
            return true;
        }
    }
    return false;
}

const char *casp_value_name(apr_pool_t *p, const char *arg, const char *what,
                            const char * not, apr_size_t max,
                            const char **name)
{
    if (!*arg || strlen(arg) > max || has_control(arg)
        || arg[strcspn(arg, not )]) {
        return apr_psprintf(p,
                            "%s is no %s; write 1 to %" APR_SIZE_T_FMT
                            " bytes%s%s",
                            casp_value_show(p, arg), what, max,
                            *not ? " without any of " : "", not );
    }
    *name = apr_pstrdup(p, arg);
    return NULL;
}

const char *casp_value_path(apr_pool_t *p, const char *arg, const char **path)
{
    if (*arg != '/' || strlen(arg) >= 4096 || has_control(arg)) {
        return apr_psprintf(p,
                            "%s is no absolute path; write it from the "
                            "root on, as in /etc/apache2/...",
                            casp_value_show(p, arg));
    }
    *path = apr_pstrdup(p, arg);
    return NULL;
}

static bool host_chars(const char *host, const char *also)
{
    apr_size_t len = strlen(host);
    if (!len || len > HOST_MAX || *host == '.' || *host == '-'
        || strstr(host, "..")) {
        return false;
    }
    for (; *host; host++) {
        if (!apr_isalnum(*host) && !strchr("-._", *host)
            && !strchr(also, *host)) {
            return false;
        }
    }
    return true;
}

/* "[2001:db8::1]": the brackets, and within them what an address may hold. */
static bool host_v6(const char *host)
{
    apr_size_t len = strlen(host);
    return len > 3 && len < 48 && *host == '[' && host[len - 1] == ']'
           && strspn(host + 1, "0123456789abcdefABCDEF:.") == len - 2
           && strchr(host, ':');
}

static char *lower(apr_pool_t *p, const char *arg)
{
    char *text = apr_pstrdup(p, arg);
    for (char *c = text; *c; c++) {
        *c = (char)apr_tolower(*c);
    }
    return text;
}

const char *casp_value_host(apr_pool_t *p, const char *arg, const char **host)
{
    if (!host_chars(arg, "") && !host_v6(arg)) {
        return apr_psprintf(p,
                            "%s is no host; write a name or an address, "
                            "without scheme and port, as in "
                            "mbx1.example.com or [2001:db8::1]",
                            casp_value_show(p, arg));
    }
    *host = lower(p, arg);
    return NULL;
}

const char *casp_value_host_pattern(apr_pool_t *p, const char *arg,
                                    const char **pattern)
{
    if (!host_chars(arg, "*?") && !host_v6(arg)) {
        return apr_psprintf(p,
                            "%s is no pattern of hosts; write a name "
                            "without scheme and port, with * and ? where "
                            "anything may stand, as in *.example.com",
                            casp_value_show(p, arg));
    }
    *pattern = lower(p, arg);
    return NULL;
}

/* A URL with a user in it may hold a password, and is not repeated. */
static const char *show_url(apr_pool_t *p, const char *arg)
{
    return strchr(arg, '@') ? "a URL with a user name in it"
                            : casp_value_show(p, arg);
}

const char *casp_value_url(apr_pool_t *p, const char *arg, const char **url)
{
    *url = casp_url_check(p, arg);
    if (!*url) {
        return apr_psprintf(p,
                            "%s is no URL for this; write scheme, host "
                            "and path only, as in "
                            "https://mail.example.com/owa",
                            show_url(p, arg));
    }
    return NULL;
}

/* Each RDN is TYPE=VALUE, separated by commas that no backslash escapes.  The
 * directory has the last word; this finds the name typed instead of a DN. */
const char *casp_value_dn(apr_pool_t *p, const char *arg, const char **dn)
{
    bool good = strlen(arg) <= NAME_BYTES && !has_control(arg);
    const char *at = arg;
    while (good) {
        while (*at == ' ') {
            at++;
        }
        apr_size_t type = 0;
        while (apr_isalnum(at[type]) || at[type] == '-' || at[type] == '.') {
            type++;
        }
        good =
            type > 0 && at[type] == '=' && at[type + 1] && at[type + 1] != ',';
        if (!good) {
            break;
        }
        at += type;
        while (*at && *at != ',') {
            at += *at == '\\' && at[1] ? 2 : 1;
        }
        if (!*at) {
            break;
        }
        at++;
    }
    if (!good) {
        return apr_psprintf(p,
                            "%s is no distinguished name; write it as in "
                            "DC=example,DC=com",
                            casp_value_show(p, arg));
    }
    *dn = apr_pstrdup(p, arg);
    return NULL;
}

/* ----------------------------------------------------------- directory */

/* "host", "host:636", "[v6]:636", each with a single slash behind it or not.*/
static const char *ldap_host(apr_pool_t *p, const char *scheme,
                             const char *rest, const char **url)
{
    char *host = lower(p, rest);
    apr_size_t len = strlen(host);
    if (len && host[len - 1] == '/') {
        host[--len] = '\0';
    }
    int port = 0;
    char *colon = strrchr(host, ':');
    if (colon && strchr(colon, ']')) {
        colon = NULL;
    }
    if (colon) {
        *colon = '\0';
        if (casp_value_number(p, colon + 1, "port", 1, 65535, &port)) {
            return "the port must be a number from 1 to 65535";
        }
    }
    if (!host_chars(host, "") && !host_v6(host)) {
        return "behind the scheme stand a host and perhaps a port, and "
               "nothing else";
    }
    *url = port ? apr_psprintf(p, "%s%s:%d", scheme, host, port)
                : apr_pstrcat(p, scheme, host, NULL);
    return NULL;
}

/* "ldapi://%2frun%2fsamba%2fldapi": a socket's path in URL escapes. */
static const char *ldapi_path(apr_pool_t *p, const char *rest,
                              const char **url)
{
    for (const char *c = rest; *c; c++) {
        bool escape = *c == '%' && apr_isxdigit(c[1]) && apr_isxdigit(c[2]);
        if (!escape && !apr_isalnum(*c) && !strchr("-._~", *c)
            && strcmp(c, "/")) {
            return "write the socket's path with each slash as %2F, as in "
                   "ldapi://%2Frun%2Fslapd%2Fldapi";
        }
    }
    *url = apr_pstrcat(p, "ldapi://", rest, NULL);
    return NULL;
}

const char *casp_value_directory(apr_pool_t *p, const char *arg,
                                 const char **url)
{
    static const char *const schemes[] = {"ldaps://", "ldap://"};
    const char *wrong = "write ldaps://HOST[:PORT], ldap://HOST[:PORT], "
                        "ldapi://SOCKET or ldif:/PATH";
    for (int i = 0; i < 2; i++) {
        apr_size_t len = strlen(schemes[i]);
        if (!apr_cstr_casecmpn(arg, schemes[i], len)) {
            wrong = ldap_host(p, schemes[i], arg + len, url);
        }
    }
    if (!apr_cstr_casecmpn(arg, "ldapi://", 8)) {
        wrong = ldapi_path(p, arg + 8, url);
    }
    else if (!apr_cstr_casecmpn(arg, "ldif:", 5)) {
        const char *path = NULL;
        wrong = casp_value_path(p, arg + 5, &path);
        if (!wrong) {
            *url = apr_pstrcat(p, "ldif:", path, NULL);
        }
    }
    if (wrong) {
        return apr_psprintf(p, "%s is no directory: %s", show_url(p, arg),
                            wrong);
    }
    return NULL;
}

/* ------------------------------------------------------------- secrets */

static bool env_name(const char *name)
{
    if (!apr_isalpha(*name) && *name != '_') {
        return false;
    }
    while (apr_isalnum(*name) || *name == '_') {
        name++;
    }
    return !*name;
}

const char *casp_value_secret(apr_pool_t *p, const char *arg,
                              const char **reference)
{
    if (!strncmp(arg, "file:", 5) || !strncmp(arg, "exec:", 5)) {
        if (arg[5] != '/' || strlen(arg) >= 4096 || has_control(arg)) {
            return apr_psprintf(p,
                                "behind %.5s stands an absolute path, as "
                                "in %.5s/etc/apache2/casproxy-bind",
                                arg, arg);
        }
    }
    else if (!strncmp(arg, "env:", 4)) {
        if (!env_name(arg + 4)) {
            return "behind env: stands the name of a variable: letters, "
                   "digits and underscores";
        }
    }
    else {
        return "a secret does not belong into the configuration; put it "
               "into a file that only root can read (chmod 600) and write "
               "file:/PATH, or exec:/PATH of a command that prints it, or "
               "env:NAME of a variable";
    }
    *reference = apr_pstrdup(p, arg);
    return NULL;
}
