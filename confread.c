/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Reads configuration text as httpd would, as far as CasProxy lines go: so
 * that one file can be Included by httpd and read by casproxyctl, and so that
 * what httpd -t -D DUMP_CASPROXY prints can be read back.
 *
 * What would need httpd to be understood (variables, Include, sections that
 * depend on modules or requests) is refused by name, never guessed at: a tool
 * that explains must not explain another configuration than the one in force.
 * Nothing here opens a file.
 */

#include "settings.h"

#include <regex.h>
#include <string.h>

#include <apr_cstr.h>
#include <apr_fnmatch.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "values.h"

/* A line of the text, continued lines joined, without outer blanks. */
typedef struct {
    int number;
    const char *text;
} line_t;

typedef struct {
    apr_pool_t *p;
    apr_array_header_t *lines; /* line_t */
    bool in_vhost; /* a virtual host was asked for */
    casp_config_t *config;
    casp_config_location_t *location; /* that is open, or NULL */
    const char *section; /* its name, for the closing line */
    int opened; /* its line */
    bool used; /* it holds a line of ours */
} reader_t;

static const line_t *line_at(const reader_t *r, int i)
{
    return &APR_ARRAY_IDX(r->lines, i, line_t);
}

static const char *fail(const reader_t *r, int number, const char *sentence)
{
    return apr_psprintf(r->p, "line %d: %s", number, sentence);
}

/* ------------------------------------------------------------------ lines */

static char *trim(char *text)
{
    while (apr_isspace(*text)) {
        text++;
    }
    apr_size_t len = strlen(text);
    while (len && apr_isspace(text[len - 1])) {
        text[--len] = '\0';
    }
    return text;
}

/* One line as httpd sees it: a backslash before the end joins the next one,
 * in a comment too.  @a buffer holds the whole text. */
static const char *next_line(apr_pool_t *p, const char **at, int *number,
                             char *buffer)
{
    apr_size_t used = 0;
    while (**at) {
        apr_size_t len = strcspn(*at, "\n");
        memcpy(buffer + used, *at, len);
        used += len;
        *at += len;
        if (**at != '\n') {
            break;
        }
        (*at)++;
        (*number)++;
        if (used && buffer[used - 1] == '\r') {
            used--;
        }
        if (!used || buffer[used - 1] != '\\') {
            break;
        }
        used--;
    }
    return trim(apr_pstrmemdup(p, buffer, used));
}

static void split_lines(reader_t *r, const char *text)
{
    char *buffer = apr_palloc(r->p, strlen(text) + 1);
    int number = 1;
    r->lines = apr_array_make(r->p, 64, sizeof(line_t));
    while (*text) {
        line_t line = {number, NULL};
        line.text = next_line(r->p, &text, &number, buffer);
        if (*line.text && *line.text != '#') {
            APR_ARRAY_PUSH(r->lines, line_t) = line;
        }
    }
}

/* ------------------------------------------------------------------ words */

/* The next word, by httpd's rules: quotes of either kind, within which a
 * backslash escapes that quote or itself; outside, only itself. */
static const char *next_word(apr_pool_t *p, const char **at)
{
    const char *c = *at;
    char quote = *c == '"' || *c == '\'' ? *c++ : '\0';
    const char *end = c;
    while (*end && (quote ? *end != quote : !apr_isspace(*end))) {
        bool escape =
            quote && *end == '\\' && (end[1] == quote || end[1] == '\\');
        end += escape ? 2 : 1;
    }
    char *word = apr_palloc(p, (apr_size_t)(end - c) + 1);
    char *to = word;
    while (c < end) {
        if (*c == '\\' && (c[1] == '\\' || (quote && c[1] == quote))) {
            c++;
        }
        *to++ = *c++;
    }
    *to = '\0';
    c = quote && *end ? end + 1 : end;
    while (apr_isspace(*c)) {
        c++;
    }
    *at = c;
    return word;
}

static apr_array_header_t *words_of(apr_pool_t *p, const char *text)
{
    apr_array_header_t *words = apr_array_make(p, 4, sizeof(char *));
    while (*text) {
        APR_ARRAY_PUSH(words, const char *) = next_word(p, &text);
    }
    return words;
}

static bool is_name(const char *word, const char *name)
{
    return !apr_cstr_casecmp(word, name);
}

/* The first "${NAME}" of a line, or NULL. */
static const char *variable_in(apr_pool_t *p, const char *text)
{
    const char *start = strstr(text, "${");
    const char *end = start ? strchr(start, '}') : NULL;
    return end ? apr_pstrmemdup(p, start, (apr_size_t)(end - start) + 1)
               : start;
}

/* ----------------------------------------------------------- virtual hosts */

typedef struct {
    const char *name; /* as a person may ask for it */
    int from, to; /* lines between <VirtualHost> and its end */
    bool wanted;
} vhost_t;

static const char *without_port(apr_pool_t *p, const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon && !strchr(colon, ']')
               ? apr_pstrmemdup(p, name, (apr_size_t)(colon - name))
               : name;
}

/* "name", "name:port", "https://name:port": the person may leave out what
 * comes behind or before the name. */
static bool names(apr_pool_t *p, const char *written, const char *asked)
{
    const char *scheme = strstr(written, "://");
    written = scheme ? scheme + 3 : written;
    return is_name(written, asked) || is_name(without_port(p, written), asked);
}

static void name_vhost(const reader_t *r, vhost_t *v, const char *name,
                       const char *asked)
{
    v->wanted = v->wanted || names(r->p, name, asked);
    v->name = v->name ? apr_pstrcat(r->p, v->name, " ", name, NULL) : name;
}

/* The argument of "<Name argument>". */
static const char *section_text(const reader_t *r, const char *text)
{
    apr_size_t len = strlen(text);
    len -= len && text[len - 1] == '>' ? 1 : 0;
    return trim(apr_pstrmemdup(r->p, text, len));
}

static bool begins(const char *text, const char *word)
{
    apr_size_t len = strlen(word);
    return !apr_cstr_casecmpn(text, word, len)
           && (!text[len] || text[len] == '>' || apr_isspace(text[len]));
}

/* Its addresses, ServerName and ServerAlias. */
static void read_vhost_names(const reader_t *r, vhost_t *v, int line,
                             const char *asked)
{
    const char *text = line_at(r, line)->text;
    apr_array_header_t *words =
        words_of(r->p, section_text(r, text + strlen("<VirtualHost")));
    const char *port = "";
    for (int i = 0; i < words->nelts; i++) {
        const char *word = APR_ARRAY_IDX(words, i, const char *);
        if (*word) {
            name_vhost(r, v, trim(apr_pstrdup(r->p, word)), asked);
            const char *colon = strrchr(word, ':');
            port = colon && !strchr(colon, ']') ? colon : port;
        }
    }
    for (int i = v->from; i < v->to; i++) {
        words = words_of(r->p, line_at(r, i)->text);
        const char *first = APR_ARRAY_IDX(words, 0, const char *);
        if (!is_name(first, "ServerName") && !is_name(first, "ServerAlias")) {
            continue;
        }
        for (int j = 1; j < words->nelts; j++) {
            const char *name = APR_ARRAY_IDX(words, j, const char *);
            name_vhost(r, v, name, asked);
            v->wanted = v->wanted
                        || is_name(apr_pstrcat(r->p, name, port, NULL), asked);
        }
    }
}

static const char *find_vhosts(const reader_t *r, const char *asked,
                               apr_array_header_t *vhosts)
{
    vhost_t *open = NULL;
    for (int i = 0; i < r->lines->nelts; i++) {
        const char *text = line_at(r, i)->text;
        if (begins(text, "<VirtualHost")) {
            if (open) {
                return fail(r, line_at(r, i)->number,
                            "a <VirtualHost> "
                            "inside another one; close the first");
            }
            open = apr_array_push(vhosts);
            memset(open, 0, sizeof(*open));
            open->from = i + 1;
        }
        else if (open && is_name(text, "</VirtualHost>")) {
            open->to = i;
            read_vhost_names(r, open, open->from - 1, asked);
            open = NULL;
        }
    }
    return open ? fail(r, line_at(r, open->from - 1)->number,
                       "this <VirtualHost> is never closed; write "
                       "</VirtualHost>")
                : NULL;
}

static const char *vhost_list(apr_pool_t *p, const apr_array_header_t *vhosts,
                              bool wanted)
{
    const char *text = "";
    for (int i = 0; i < vhosts->nelts; i++) {
        const vhost_t *v = &APR_ARRAY_IDX(vhosts, i, vhost_t);
        if (!wanted || v->wanted) {
            text = apr_pstrcat(p, text, *text ? ", " : "", "\"", v->name, "\"",
                               NULL);
        }
    }
    return text;
}

/* The one that was asked for; two are as bad as none. */
static const char *choose_vhost(const reader_t *r, const char *asked,
                                const apr_array_header_t *vhosts,
                                const vhost_t **chosen)
{
    int found = 0;
    for (int i = 0; i < vhosts->nelts; i++) {
        const vhost_t *v = &APR_ARRAY_IDX(vhosts, i, vhost_t);
        if (v->wanted) {
            *chosen = v;
            found++;
        }
    }
    if (found == 1) {
        return NULL;
    }
    const char *list = vhost_list(r->p, vhosts, found > 0);
    return apr_psprintf(r->p, "%s virtual host is called %s; there %s %s",
                        found ? "more than one" : "no",
                        casp_value_show(r->p, asked),
                        found || vhosts->nelts != 1 ? "are" : "is",
                        *list ? list : "none");
}

/* --------------------------------------------------------------- locations */

/* POSIX has no word for most of what Perl's expressions add: reading one the
 * wrong way would be worse than refusing it. */
static const char *check_regex(const char *regex)
{
    regex_t compiled;
    if (!strncmp(regex, "(?i)", 4)) {
        regex += 4;
    }
    for (const char *c = regex; *c; c++) {
        if (*c == '\\' && c[1] && apr_isalnum(*++c)) {
            return "this expression needs Perl's classes (\\d, \\w, ...), "
                   "which are not read here; write [0-9], [a-z] and so on";
        }
        if (c > regex && *c == '?' && strchr("(*+?}", c[-1])) {
            return "this expression needs Perl's (?...) or lazy repetition, "
                   "which are not read here; write it without";
        }
    }
    if (regcomp(&compiled, regex, REG_EXTENDED | REG_NOSUB)) {
        return "this regular expression cannot be read; correct it";
    }
    regfree(&compiled);
    return NULL;
}

static bool regex_matches(const char *regex, const char *path)
{
    regex_t compiled;
    int flags = REG_EXTENDED | REG_NOSUB;
    if (!strncmp(regex, "(?i)", 4)) {
        flags |= REG_ICASE;
        regex += 4;
    }
    if (regcomp(&compiled, regex, flags)) {
        return false;
    }
    bool hit = !regexec(&compiled, path, 0, NULL, 0);
    regfree(&compiled);
    return hit;
}

/* "/owa" holds /owa and /owa/x, but not /owa2; case counts, as in httpd. */
static bool location_matches(const casp_config_location_t *l, const char *path)
{
    if (l->regex) {
        return regex_matches(l->path, path);
    }
    if (apr_fnmatch_test(l->path)) {
        return apr_fnmatch(l->path, path, APR_FNM_PATHNAME) == APR_SUCCESS;
    }
    apr_size_t len = strlen(l->path);
    return !strncmp(l->path, path, len)
           && (!len || l->path[len - 1] == '/' || path[len] == '/'
               || !path[len]);
}

static const char *open_location(reader_t *r, const line_t *line, bool regex)
{
    apr_size_t len = strlen(line->text);
    if (line->text[len - 1] != '>') {
        return fail(r, line->number, "the section lacks its closing >");
    }
    apr_array_header_t *words =
        words_of(r->p, section_text(r, line->text
                                           + (regex ? strlen("<LocationMatch")
                                                    : strlen("<Location"))));
    int skip = 0;
    while (skip < words->nelts && !*APR_ARRAY_IDX(words, skip, char *)) {
        skip++;
    }
    if (skip < words->nelts
        && is_name(APR_ARRAY_IDX(words, skip, const char *), "~")) {
        regex = true;
        skip++;
    }
    if (words->nelts != skip + 1) {
        return fail(r, line->number,
                    "a location takes one path, as in "
                    "<Location /owa>");
    }
    r->location = apr_pcalloc(r->p, sizeof(*r->location));
    r->location->path = APR_ARRAY_IDX(words, skip, const char *);
    r->location->regex = regex;
    r->location->dir = casp_dir_settings_create(r->p);
    r->opened = line->number;
    r->used = false;
    return NULL;
}

/* Only locations with lines of ours are kept, and only their expressions
 * need to be readable. */
static const char *close_location(reader_t *r)
{
    casp_config_location_t *location = r->location;
    r->location = NULL;
    if (!r->used) {
        return NULL;
    }
    const char *wrong = location->regex ? check_regex(location->path) : NULL;
    if (wrong) {
        return fail(r, r->opened, wrong);
    }
    APR_ARRAY_PUSH(r->config->locations, casp_config_location_t) = *location;
    return NULL;
}

/* ------------------------------------------------------------------- lines */

static const char *read_section(reader_t *r, const line_t *line)
{
    const char *text = line->text;
    const char *name = apr_pstrmemdup(r->p, text, strcspn(text, " \t>"));
    const char *variable = variable_in(r->p, text);
    bool match = begins(text, "<LocationMatch");
    if (variable) {
        return fail(
            r, line->number,
            apr_psprintf(r->p,
                         "%s is a variable of httpd, which is not known here; "
                         "write its value",
                         variable));
    }
    if (r->location && is_name(text, r->section)) {
        return close_location(r);
    }
    if (match || begins(text, "<Location")) {
        if (r->location) {
            return fail(r, line->number,
                        "a location inside another one; "
                        "close the first");
        }
        r->section = match ? "</LocationMatch>" : "</Location>";
        return open_location(r, line, match);
    }
    if (is_name(name, "<VirtualHost")) {
        return fail(r, line->number,
                    "<VirtualHost> stands here; say which "
                    "one is meant, with casproxyctl's --vhost NAME");
    }
    if (name[1] == '/') {
        return fail(r, line->number,
                    apr_psprintf(r->p, "%s> closes nothing that is open here",
                                 name));
    }
    return fail(
        r, line->number,
        apr_psprintf(r->p,
                     "%s> cannot be judged without httpd; only <Location> and "
                     "<LocationMatch> are read, so move the CasProxy lines "
                     "into a file of "
                     "their own",
                     name));
}

static const char *apply_line(reader_t *r, const line_t *line,
                              const char *name,
                              const apr_array_header_t *words)
{
    const casp_directive_t *d = casp_directive_find(name);
    const char *variable = variable_in(r->p, line->text);
    if (variable) {
        return fail(
            r, line->number,
            apr_psprintf(r->p,
                         "%s is a variable of httpd, which is not known here; "
                         "write its value",
                         variable));
    }
    if (!d) {
        return fail(
            r, line->number,
            apr_psprintf(r->p,
                         "%s is no directive of this version; casproxyctl "
                         "directives lists them",
                         casp_value_show(r->p, name)));
    }
    const char *wrong =
        casp_settings_apply(r->p, d, r->location != NULL, r->config->settings,
                            r->location ? r->location->dir : r->config->dir,
                            words->nelts - 1,
                            (const char *const *)words->elts + 1);
    r->used = true;
    return wrong ? fail(r, line->number,
                        apr_pstrcat(r->p, d->name, " ", wrong, NULL))
                 : NULL;
}

/* What brings in lines that are not in this text. */
static bool brings_in(const char *name)
{
    static const char *const these[] = {
        "Include", "IncludeOptional", "Define", "UnDefine", "Use", NULL};
    for (const char *const *n = these; *n; n++) {
        if (is_name(*n, name)) {
            return true;
        }
    }
    return false;
}

static const char *read_line(reader_t *r, const line_t *line)
{
    if (*line->text == '<') {
        return read_section(r, line);
    }
    apr_array_header_t *words = words_of(r->p, line->text);
    const char *name = APR_ARRAY_IDX(words, 0, const char *);
    if (!apr_cstr_casecmpn(name, "CasProxy", 8)) {
        return apply_line(r, line, name, words);
    }
    if (brings_in(name) || strstr(name, "${")) {
        return fail(
            r, line->number,
            apr_psprintf(
                r->p,
                "%s needs httpd to be followed; write out here what it "
                "stands for, or read httpd -t -D DUMP_CASPROXY instead",
                name));
    }
    return NULL;
}

static const char *read_lines(reader_t *r, int from, int to)
{
    for (int i = from; i < to; i++) {
        const line_t *line = line_at(r, i);
        if (r->in_vhost && begins(line->text, "<VirtualHost")) {
            while (i < to && !is_name(line_at(r, i)->text, "</VirtualHost>")) {
                i++;
            }
            continue;
        }
        const char *wrong = read_line(r, line);
        if (wrong) {
            return wrong;
        }
    }
    return r->location ? fail(r, r->opened,
                              apr_psprintf(r->p,
                                           "this section is never closed; "
                                           "write %s",
                                           r->section))
                       : NULL;
}

/* The virtual host over the server, as httpd merges them. */
static const char *read_vhost(reader_t *r, const vhost_t *v)
{
    casp_settings_t *server = r->config->settings;
    casp_dir_settings_t *dir = r->config->dir;
    r->config->vhost = v->name;
    r->config->settings = casp_settings_create(r->p);
    r->config->dir = casp_dir_settings_create(r->p);
    const char *wrong = read_lines(r, v->from, v->to);
    r->config->settings =
        casp_settings_merge(r->p, server, r->config->settings);
    r->config->dir = casp_dir_settings_merge(r->p, dir, r->config->dir);
    return wrong;
}

const char *casp_config_read(apr_pool_t *p, const char *text,
                             const char *vhost, casp_config_t *config)
{
    reader_t r = {p, NULL, vhost != NULL, config, NULL, NULL, 0, false};
    const vhost_t *chosen = NULL;
    config->vhost = NULL;
    config->settings = casp_settings_create(p);
    config->dir = casp_dir_settings_create(p);
    config->locations = apr_array_make(p, 4, sizeof(casp_config_location_t));
    if (!strncmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
    }
    split_lines(&r, text);
    const char *wrong = NULL;
    if (vhost) {
        apr_array_header_t *vhosts = apr_array_make(p, 4, sizeof(vhost_t));
        wrong = find_vhosts(&r, vhost, vhosts);
        if (!wrong) {
            wrong = choose_vhost(&r, vhost, vhosts, &chosen);
        }
    }
    if (!wrong) {
        wrong = read_lines(&r, 0, r.lines->nelts);
    }
    return !wrong && chosen ? read_vhost(&r, chosen) : wrong;
}

casp_dir_settings_t *casp_config_dir_for(apr_pool_t *p,
                                         const casp_config_t *config,
                                         const char *path)
{
    casp_dir_settings_t *d = config->dir;
    for (int i = 0; i < config->locations->nelts; i++) {
        const casp_config_location_t *l =
            &APR_ARRAY_IDX(config->locations, i, casp_config_location_t);
        if (location_matches(l, path)) {
            d = casp_dir_settings_merge(p, d, l->dir);
        }
    }
    return casp_dir_settings_complete(p, d);
}
