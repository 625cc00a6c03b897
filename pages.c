/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * pages.c - the template engine of the pages that people see.
 *
 * It is small on purpose: values, texts and one kind of section.  What matters
 * is that nobody who writes a template can forget to escape, because there is
 * no way to ask for a raw value, and that a value cannot land where its
 * escaping would not help, because such a template is refused.  Templates are
 * read and checked in the parent at (re)start; a request only joins strings.
 */

#include <string.h>

#include <apr_escape.h>
#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "identity.h"
#include "pages.h"

#define TEXTS "messages."
#define DEFAULT_LANGUAGE "en"
#define TAG_MAX 128 /* bytes between "{{" and "}}" */
#define LANGUAGE_MAX 35 /* bytes of a language tag that is looked at */
#define LANGUAGE_RANGES 16 /* of an Accept-Language header */
#define NO_CHARACTER 0xfffd /* stands for bytes that are no UTF-8 */

typedef struct {
    const char *name; /* "de"; what casp_pages_language() hands out */
    apr_hash_t *texts; /* key -> text */
} language_t;

struct casp_pages_t {
    apr_hash_t *files; /* "page.html" -> its content */
    apr_hash_t *languages; /* "en" -> language_t */
};

static const char *const templates[] = {CASP_PAGE_PLAIN, CASP_PAGE_LOGON,
                                        CASP_PAGE_SSO, NULL};

static bool starts(const char *text, apr_size_t len, const char *prefix)
{
    apr_size_t n = strlen(prefix);

    return len > n && !strncmp(text, prefix, n);
}

/* -------------------------------------------------------------- the values */

/* One character of UTF-8, or NO_CHARACTER for one byte that begins none. */
static apr_uint32_t next_character(const char **at)
{
    const unsigned char *b = (const unsigned char *)*at;
    static const apr_uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    apr_uint32_t c = *b++;
    int more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;

    *at += 1;
    if (!more)
        return c;
    if (c < 0xc2 || c > 0xf4)
        return NO_CHARACTER;
    c &= 0x3fu >> more;
    for (int i = 0; i < more; i++, b++) {
        if ((*b & 0xc0) != 0x80) /* the NUL at the end, too */
            return NO_CHARACTER;
        c = c << 6 | (*b & 0x3f);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return NO_CHARACTER;
    *at += more;
    return c;
}

/* The replacement character itself is three good bytes. */
static bool is_utf8(const char *text)
{
    while (*text) {
        const char *before = text;
        if (next_character(&text) == NO_CHARACTER && text - before == 1)
            return false;
    }
    return true;
}

/* Other programs' readers take what stands between the quotes as it is, so a
 * password must look there as it was typed, wherever HTML can bear that. */
static char *make_attribute(apr_pool_t *p, const char *value)
{
    bool both = strchr(value, '"') && strchr(value, '\'');
    char quote = strchr(value, '"') && !both ? '\'' : '"';
    char *made = apr_palloc(p, strlen(value) * 6 + sizeof "value=''");
    char *to = made;

    to += strlen(strcpy(to, "value="));
    *to++ = quote;
    for (; *value; value++) {
        const char *entity = NULL;
        if (*value == '&' && (apr_isalnum(value[1]) || value[1] == '#'))
            entity = "&amp;";
        else if (*value == quote)
            entity = "&quot;";
        if (entity)
            to += strlen(strcpy(to, entity));
        else
            *to++ = *value;
    }
    *to++ = quote;
    *to = '\0';
    return made;
}

static char *make_js_string(apr_pool_t *p, const char *value)
{
    /* a byte becomes six, four bytes of UTF-8 twelve */
    char *made = apr_palloc(p, strlen(value) * 6 + 3);
    char *to = made;

    *to++ = '"';
    while (*value) {
        apr_uint32_t c = next_character(&value);
        if (c < 0x80 && (apr_isalnum(c) || strchr(" _.,:/?=-", (int)c))) {
            *to++ = (char)c;
            continue;
        }
        if (c >= 0x10000) {
            to += apr_snprintf(to, 7, "\\u%04x",
                               0xd800 + (unsigned)((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        to += apr_snprintf(to, 7, "\\u%04x", (unsigned)c);
    }
    *to++ = '"';
    *to = '\0';
    return made;
}

/* -------------------------------------------------------------- the engine */

typedef struct {
    apr_pool_t *p;
    const casp_pages_t *pages;
    const char *language;
    const casp_page_var_t *vars;
    apr_array_header_t *out; /* of struct iovec */
    apr_array_header_t *secret; /* of char *: may hold a password */
} render_t;

static const char *value_of(const casp_page_var_t *vars, const char *name,
                            apr_size_t len)
{
    for (; vars && vars->name; vars++) {
        if (!strncmp(vars->name, name, len) && !vars->name[len])
            return vars->value ? vars->value : "";
    }
    return "";
}

static void put(render_t *r, const char *text, apr_size_t len)
{
    struct iovec *piece;

    if (!len)
        return;
    piece = apr_array_push(r->out);
    piece->iov_base = (void *)(uintptr_t)text;
    piece->iov_len = len;
}

static void put_value(render_t *r, const char *name, apr_size_t len)
{
    char *made;

    if (starts(name, len, "value:")) {
        made = make_attribute(r->p, value_of(r->vars, name + 6, len - 6));
        APR_ARRAY_PUSH(r->secret, char *) = made;
    }
    else if (starts(name, len, "js:")) {
        made = make_js_string(r->p, value_of(r->vars, name + 3, len - 3));
    }
    else {
        const char *text = value_of(r->vars, name, len);
        if (starts(name, len, "t:"))
            text = casp_pages_text(r->pages, r->language,
                                   apr_pstrmemdup(r->p, name + 2, len - 2));
        /* An apostrophe may come through as it is: casp_pages_check() refuses
         * templates that put a value into single quotes. */
        made =
            (char *)(uintptr_t)apr_pescape_entity(r->p, text ? text : "", 0);
    }
    put(r, made, strlen(made));
}

/* The tag at "{{": its kind, name and what follows it; false: no tag. */
static bool tag_at(const char *at, char *kind, const char **name,
                   apr_size_t *len, const char **next)
{
    const char *end;

    *kind = at[2] == '#' || at[2] == '/' ? at[2] : '=';
    *name = end = at + (*kind == '=' ? 2 : 3);
    while (apr_isalnum(*end) || (*end && strchr("_-.:", *end))) {
        if (end - *name >= TAG_MAX)
            return false;
        end++;
    }
    *len = (apr_size_t)(end - *name);
    *next = end + 2;
    return *len && end[0] == '}' && end[1] == '}';
}

/* Behind the end tag of the section that was just opened. */
static const char *skip_section(const char *at, const char *name,
                                apr_size_t len)
{
    int depth = 1;
    char kind;
    const char *n, *next;
    apr_size_t l;

    while ((at = strstr(at, "{{")) != NULL) {
        if (!tag_at(at, &kind, &n, &l, &next)) {
            at += 2;
            continue;
        }
        if (l == len && !strncmp(n, name, len)) {
            if (kind == '#')
                depth++;
            else if (kind == '/' && --depth == 0)
                return next;
        }
        at = next;
    }
    return NULL;
}

static void render(render_t *r, const char *at)
{
    while (at && *at) {
        const char *open = strstr(at, "{{");
        char kind;
        const char *name, *next;
        apr_size_t len;

        if (!open) {
            put(r, at, strlen(at));
            return;
        }
        put(r, at, (apr_size_t)(open - at));
        if (!tag_at(open, &kind, &name, &len, &next)) {
            put(r, open, 2);
            at = open + 2;
            continue;
        }
        at = next;
        if (kind == '=')
            put_value(r, name, len);
        else if (kind == '#' && !*value_of(r->vars, name, len))
            at = skip_section(next, name, len);
        /* '/': the end of a section that was kept */
    }
}

const char *casp_pages_render(apr_pool_t *p, const casp_pages_t *pages,
                              const char *name, const char *language,
                              const casp_page_var_t *vars)
{
    render_t r = {p, pages, language, vars, NULL, NULL};
    const char *page;

    r.out = apr_array_make(p, 64, sizeof(struct iovec));
    r.secret = apr_array_make(p, 8, sizeof(char *));
    render(&r, casp_pages_file(pages, name));
    page = apr_pstrcatv(p, (struct iovec *)r.out->elts,
                        (apr_size_t)r.out->nelts, NULL);
    for (int i = 0; i < r.secret->nelts; i++) {
        char *made = APR_ARRAY_IDX(r.secret, i, char *);
        casp_wipe(made, strlen(made));
    }
    return page;
}

const char *casp_pages_file(const casp_pages_t *pages, const char *name)
{
    return apr_hash_get(pages->files, name, APR_HASH_KEY_STRING);
}

/* ----------------------------------------------------------- the languages */

const char *casp_pages_text(const casp_pages_t *pages, const char *language,
                            const char *key)
{
    const language_t *l =
        apr_hash_get(pages->languages, language, APR_HASH_KEY_STRING);
    const char *text =
        l ? apr_hash_get(l->texts, key, APR_HASH_KEY_STRING) : NULL;

    if (!text && strcmp(language, DEFAULT_LANGUAGE))
        return casp_pages_text(pages, DEFAULT_LANGUAGE, key);
    return text;
}

/* A language tag in lower case; false: no such tag.  @a to: LANGUAGE_MAX+1 */
static bool read_tag(const char *at, apr_size_t len, char *to)
{
    if (!len || len > LANGUAGE_MAX || !apr_isalpha(*at))
        return false;
    for (apr_size_t i = 0; i < len; i++) {
        if (!apr_isalnum(at[i]) && at[i] != '-')
            return false;
        to[i] = (char)apr_tolower(at[i]);
    }
    to[len] = '\0';
    return true;
}

/* "0", "0.5", "1.000" in thousandths; 0 also for what is none of these. */
static int read_quality(const char *at, apr_size_t len)
{
    int quality = 0, weight = 1000;

    if (!len || len > 5 || (*at != '0' && *at != '1')
        || (len > 1 && at[1] != '.'))
        return 0;
    for (apr_size_t i = 0; i < len; i++) {
        if (i == 1)
            continue;
        if (!apr_isdigit(at[i]))
            return 0;
        quality += (at[i] - '0') * weight;
        weight /= 10;
    }
    return quality <= 1000 ? quality : 0;
}

static const char *trim(const char *at, apr_size_t *len)
{
    while (*len && (*at == ' ' || *at == '\t')) {
        at++;
        *len -= 1;
    }
    while (*len && (at[*len - 1] == ' ' || at[*len - 1] == '\t'))
        *len -= 1;
    return at;
}

/* One range of the header, "de-AT;q=0.8": its quality, and our language. */
static int read_range(const casp_pages_t *pages, const char *at,
                      apr_size_t len, const char **found)
{
    const char *semicolon = memchr(at, ';', len);
    apr_size_t n = semicolon ? (apr_size_t)(semicolon - at) : len;
    const char *name = trim(at, &n);
    int quality = 1000;
    char tag[LANGUAGE_MAX + 1];

    if (semicolon) {
        apr_size_t left = len - (apr_size_t)(semicolon + 1 - at);
        const char *weight = trim(semicolon + 1, &left);
        quality =
            left > 2 && (*weight == 'q' || *weight == 'Q') && weight[1] == '='
                ? read_quality(weight + 2, left - 2)
                : 0;
    }
    if (n == 1 && *name == '*') {
        *found = DEFAULT_LANGUAGE;
        return quality;
    }
    if (!read_tag(name, n, tag))
        return 0;
    for (char *dash = tag; dash; dash = strrchr(tag, '-')) {
        if (dash > tag)
            *dash = '\0';
        const language_t *l =
            apr_hash_get(pages->languages, tag, APR_HASH_KEY_STRING);
        if (l) {
            *found = l->name;
            return quality;
        }
    }
    return 0;
}

const char *casp_pages_language(const casp_pages_t *pages, const char *header)
{
    const char *best = DEFAULT_LANGUAGE;
    int best_quality = 0;

    for (int i = 0; header && *header && i < LANGUAGE_RANGES; i++) {
        apr_size_t len = strcspn(header, ",");
        const char *found = NULL;
        int quality = read_range(pages, header, len, &found);
        if (quality > best_quality) {
            best = found;
            best_quality = quality;
        }
        header += len;
        if (*header)
            header++;
    }
    return best;
}

/* ---------------------------------------------------- checks of a template */

typedef enum { AT_TEXT, AT_TAG, AT_COMMENT, AT_SCRIPT, AT_STYLE } place_e;

/* As much of HTML as must be understood to know what a value's escaping is
 * worth at a place. */
typedef struct {
    apr_pool_t *p;
    const char *at;
    place_e place;
    char quote; /* the open one, in a tag or in a script's string; or 0 */
    bool naming; /* in a tag: its name is being read */
    bool equals; /* in a tag: "=" was read, its value has not ended */
    char element[16], attribute[16]; /* lower case, cut */
    const char *value; /* where the attribute's value begins */
    apr_array_header_t *open; /* of section_t */
    apr_hash_t *seen; /* "{{x}}" as "x", the input fields as " name" */
} scan_t;

typedef struct {
    const char *name;
    place_e place;
    char quote;
    char attribute[16];
} section_t;

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

static void append(char *to, apr_size_t room, char c)
{
    apr_size_t len = strlen(to);

    if (len + 1 < room) {
        to[len] = (char)apr_tolower(c);
        to[len + 1] = '\0';
    }
}

static void attribute_ends(scan_t *s)
{
    if (s->value && !strcmp(s->element, "input")
        && !strcmp(s->attribute, "name")) {
        int len = (int)(s->at - s->value);
        apr_hash_set(s->seen, apr_psprintf(s->p, " %.*s", len, s->value),
                     APR_HASH_KEY_STRING, s);
    }
    s->quote = '\0';
    s->equals = false;
    s->value = NULL;
    s->attribute[0] = '\0';
}

static void tag_ends(scan_t *s)
{
    attribute_ends(s);
    s->naming = false;
    s->place = !strcmp(s->element, "script")  ? AT_SCRIPT
               : !strcmp(s->element, "style") ? AT_STYLE
                                              : AT_TEXT;
}

/* One character between "<" and ">". */
static void step_tag(scan_t *s, char c)
{
    if (s->quote) {
        if (c == s->quote)
            attribute_ends(s);
    }
    else if (c == '>') {
        tag_ends(s);
    }
    else if (apr_isspace(c)) {
        s->naming = false;
        if (s->value)
            attribute_ends(s);
        else if (!s->equals && !apr_isspace(s->at[1]) && s->at[1] != '=')
            s->attribute[0] = '\0';
    }
    else if (s->naming && (c != '/' || !s->element[0])) {
        append(s->element, sizeof s->element, c);
    }
    else if (!s->equals && c == '/') {
        s->naming = false;
        s->attribute[0] = '\0';
    }
    else if (!s->equals && c == '=') {
        s->equals = true;
    }
    else if (!s->equals) {
        append(s->attribute, sizeof s->attribute, c);
    }
    else if (!s->value) {
        s->value = s->at;
        if (c == '"' || c == '\'') {
            s->quote = c;
            s->value++;
        }
    }
}

static void tag_begins(scan_t *s)
{
    s->place = AT_TAG;
    s->naming = true;
    s->quote = '\0';
    s->equals = false;
    s->value = NULL;
    s->element[0] = s->attribute[0] = '\0';
}

/* One character of a script or of a style sheet. */
static void step_raw(scan_t *s, char c)
{
    const char *end = s->place == AT_SCRIPT ? "</script" : "</style";

    if (c == '<' && !strncasecmp(s->at, end, strlen(end))) {
        tag_begins(s);
    }
    else if (s->quote) {
        if (c == '\\' && s->at[1] && s->at[1] != '{')
            s->at++;
        else if (c == s->quote || (c == '\n' && s->quote != '`'))
            s->quote = '\0';
    }
    else if (c == '"' || c == '\'' || c == '`') {
        s->quote = c;
    }
}

/* On from a character that begins no tag of ours. */
static void step(scan_t *s)
{
    char c = *s->at;

    switch (s->place) {
    case AT_TEXT:
        if (!strncmp(s->at, "<!--", 4))
            s->place = AT_COMMENT;
        else if (c == '<'
                 && (apr_isalpha(s->at[1])
                     || (s->at[1] && strchr("/!?{", s->at[1]))))
            tag_begins(s);
        break;
    case AT_COMMENT:
        if (!strncmp(s->at, "-->", 3) || !strncmp(s->at, "--!>", 4))
            s->place = AT_TEXT;
        break;
    case AT_TAG:
        step_tag(s, c);
        break;
    default:
        step_raw(s, c);
    }
    s->at++;
}

/* May a value stand here, escaped for HTML? */
static const char *html_here(const scan_t *s)
{
    if (s->place == AT_SCRIPT)
        return "in a script, write {{js:name}}";
    if (s->place == AT_STYLE)
        return "no value may stand in <style>";
    if (s->place != AT_TAG)
        return NULL;
    if (s->naming)
        return "a value cannot be the name of an element";
    if (s->quote != '"')
        return "put the value into double quotes, not single ones or none";
    if (!strncmp(s->attribute, "on", 2) || !strcmp(s->attribute, "style")
        || !strcmp(s->attribute, "srcdoc"))
        return "no value may stand in an attribute that holds a program";
    return NULL;
}

static const char *value_here(scan_t *s, const char *name, apr_size_t len)
{
    if (starts(name, len, "js:"))
        return s->place == AT_SCRIPT && !s->quote
                   ? NULL
                   : "{{js:name}} belongs into <script>, outside of quotes";
    if (starts(name, len, "value:"))
        return s->place == AT_TAG && !s->quote && !s->naming && !s->equals
                       && !s->attribute[0]
                   ? NULL
                   : "{{value:name}} is an attribute: <input {{value:name}}>";
    apr_size_t t = starts(name, len, "t:") ? 2 : 0;
    if (memchr(name + t, ':', len - t))
        return "there is {{name}}, {{t:key}}, {{value:name}} and {{js:name}}, "
               "nothing else with a colon";
    return html_here(s);
}

/* Whether a section is kept must not change what its surroundings are. */
static const char *section_here(scan_t *s, char kind, const char *name,
                                apr_size_t len)
{
    section_t *section;

    if (memchr(name, ':', len))
        return "a section goes by a plain {{#name}}";
    if (s->naming)
        return "a section cannot be part of an element's name";
    if (kind == '#') {
        section = apr_array_push(s->open);
        section->name = apr_pstrmemdup(s->p, name, len);
        section->place = s->place;
        section->quote = s->quote;
        strcpy(section->attribute, s->attribute);
        return NULL;
    }
    section = apr_array_pop(s->open);
    if (!section || strlen(section->name) != len
        || strncmp(section->name, name, len))
        return apr_psprintf(s->p, "{{/%.*s}} closes no section", (int)len,
                            name);
    if (section->place != s->place || section->quote != s->quote
        || (s->quote && strcmp(section->attribute, s->attribute)))
        return apr_psprintf(s->p,
                            "{{#%s}} and {{/%s}} must stand both in the text, "
                            "or both in the same tag or quotes",
                            section->name, section->name);
    return NULL;
}

static const char *scan(scan_t *s, apr_pool_t *p, const char *text)
{
    memset(s, 0, sizeof *s);
    s->p = p;
    s->at = text;
    s->open = apr_array_make(p, 4, sizeof(section_t));
    s->seen = apr_hash_make(p);
    while (*s->at) {
        char kind;
        const char *name, *next, *wrong;
        apr_size_t len;

        if (strncmp(s->at, "{{", 2)) {
            step(s);
            continue;
        }
        if (!tag_at(s->at, &kind, &name, &len, &next))
            wrong = "\"{{\" begins no tag: write {{name}}, {{t:key}} or "
                    "{{#name}}..{{/name}}";
        else
            wrong = kind == '=' ? value_here(s, name, len)
                                : section_here(s, kind, name, len);
        if (wrong)
            return apr_psprintf(p, "line %d: %s", line_of(text, s->at), wrong);
        if (kind == '=')
            apr_hash_set(s->seen, apr_pstrmemdup(p, name, len),
                         APR_HASH_KEY_STRING, s);
        s->at = next;
    }
    if (s->open->nelts)
        return apr_psprintf(
            p, "the section {{#%s}} is never closed",
            APR_ARRAY_IDX(s->open, s->open->nelts - 1, section_t).name);
    return NULL;
}

const char *casp_pages_check(apr_pool_t *p, const char *text)
{
    scan_t s;

    return scan(&s, p, text);
}

/* What a form needs, so that somebody can log on with it: values by their
 * tags, fields by " name". */
static const struct {
    const char *page;
    const char *needs[10];
} forms[] = {{CASP_PAGE_LOGON,
              {"action", "value:destination", " destination", " flags",
               " username", " password", NULL}},
             {CASP_PAGE_SSO,
              {"action", "value:destination", "value:flags", "value:username",
               "value:password", " destination", " flags", " username",
               " password", NULL}}};

static const char *check_template(apr_pool_t *p, const char *page,
                                  const char *text)
{
    scan_t s;
    const char *error = scan(&s, p, text);

    for (apr_size_t i = 0; !error && i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(page, forms[i].page))
            continue;
        for (const char *const *n = forms[i].needs; *n && !error; n++) {
            if (apr_hash_get(s.seen, *n, APR_HASH_KEY_STRING))
                continue;
            error = **n == ' ' ? apr_psprintf(p,
                                              "the form needs a field <input "
                                              "name=\"%s\">",
                                              *n + 1)
                               : apr_psprintf(p, "the form needs {{%s}}", *n);
        }
    }
    return error;
}

/* ------------------------------------------------------------- the loading */

/* "key = text" lines; '#' begins a comment line. */
static const char *texts_add(apr_pool_t *p, apr_hash_t *texts,
                             const char *content)
{
    char *copy = apr_pstrdup(p, content);

    for (int number = 1; copy && *copy; number++) {
        char *line = copy;
        char *equals;

        copy = strchr(copy, '\n');
        if (copy)
            *copy++ = '\0';
        line = line + strspn(line, " \t\r");
        if (!*line || *line == '#')
            continue;
        equals = strchr(line, '=');
        if (!equals || equals == line)
            return apr_psprintf(p, "line %d: expected \"key = text\"", number);
        char *key_end = equals;
        while (key_end > line && apr_isspace(key_end[-1]))
            key_end--;
        *key_end = '\0';
        char *value = equals + 1 + strspn(equals + 1, " \t");
        char *end = value + strlen(value);
        while (end > value && apr_isspace(end[-1]))
            *--end = '\0';
        apr_hash_set(texts, line, APR_HASH_KEY_STRING, value);
    }
    return NULL;
}

static apr_hash_t *texts_of(apr_pool_t *p, casp_pages_t *pages,
                            const char *name)
{
    language_t *l = apr_hash_get(pages->languages, name, APR_HASH_KEY_STRING);

    if (!l) {
        l = apr_palloc(p, sizeof *l);
        l->name = apr_pstrdup(p, name);
        l->texts = apr_hash_make(p);
        apr_hash_set(pages->languages, l->name, APR_HASH_KEY_STRING, l);
    }
    return l->texts;
}

/* The language of "messages.de"; false: an editor's backup, or no texts. */
static bool texts_language(const char *name, char *tag)
{
    apr_size_t len = strlen(name);

    return starts(name, len, TEXTS)
           && read_tag(name + strlen(TEXTS), len - strlen(TEXTS), tag);
}

static bool is_template(const char *name)
{
    const char *const *t = templates;

    while (*t && strcmp(name, *t))
        t++;
    return *t != NULL;
}

/* Is this a file of ours, or an image or a note of the administrator's? */
static bool is_ours(const char *name)
{
    char tag[LANGUAGE_MAX + 1];

    return is_template(name) || !strcmp(name, CASP_PAGE_SCRIPT)
           || texts_language(name, tag);
}

static const char *add_file(apr_pool_t *p, casp_pages_t *pages,
                            const char *name, const char *content)
{
    char tag[LANGUAGE_MAX + 1];
    const char *error;

    if (texts_language(name, tag))
        return texts_add(p, texts_of(p, pages, tag), content);
    error = is_template(name) ? check_template(p, name, content) : NULL;
    if (!error)
        apr_hash_set(pages->files, apr_pstrdup(p, name), APR_HASH_KEY_STRING,
                     content);
    return error;
}

static const char *read_file(apr_pool_t *p, const char *path, char **content)
{
    apr_file_t *f;
    apr_size_t len = CASP_PAGE_MAX;
    apr_status_t rv = apr_file_open(&f, path, APR_FOPEN_READ, 0, p);
    char text[160];

    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "cannot be opened: %s",
                            apr_strerror(rv, text, sizeof text));
    *content = apr_palloc(p, CASP_PAGE_MAX + 1);
    rv = apr_file_read_full(f, *content, CASP_PAGE_MAX, &len);
    apr_file_close(f);
    if (rv != APR_SUCCESS && rv != APR_EOF)
        return apr_psprintf(p, "cannot be read: %s",
                            apr_strerror(rv, text, sizeof text));
    if (len == CASP_PAGE_MAX)
        return "is larger than 256 KiB";
    (*content)[len] = '\0';
    if (strlen(*content) != len)
        return "holds a NUL byte";
    if (!is_utf8(*content))
        return "is not UTF-8: save it anew in that encoding";
    if (!strncmp(*content, "\xef\xbb\xbf", 3)) /* what Notepad puts first */
        *content += 3;
    return NULL;
}

static const char *load_folder(apr_pool_t *p, const char *folder,
                               casp_pages_t *pages)
{
    apr_dir_t *dir;
    apr_finfo_t info;
    char text[160];
    apr_status_t rv = apr_dir_open(&dir, folder, p);

    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "the folder %s cannot be opened: %s", folder,
                            apr_strerror(rv, text, sizeof text));
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        char *content = NULL;
        const char *error;
        if (!is_ours(info.name))
            continue;
        error = read_file(p, apr_pstrcat(p, folder, "/", info.name, NULL),
                          &content);
        if (!error)
            error = add_file(p, pages, info.name, content);
        if (error) {
            error = apr_psprintf(p, "%s/%s: %s", folder, info.name, error);
            apr_dir_close(dir);
            return error;
        }
    }
    apr_dir_close(dir);
    return NULL;
}

/* A text that no file has would be a gap in a page, seen by people only. */
static const char *missing_text(apr_pool_t *p, const casp_pages_t *pages)
{
    for (const char *const *page = templates; *page; page++) {
        const char *text = casp_pages_file(pages, *page);
        for (const char *at = text; at && (at = strstr(at, "{{t:")); at++) {
            const char *key = apr_pstrndup(p, at + 4, strcspn(at + 4, "}"));
            if (!casp_pages_text(pages, DEFAULT_LANGUAGE, key))
                return apr_psprintf(p,
                                    "%s, line %d: messages.en has no text "
                                    "\"%s\": add it there",
                                    *page, line_of(text, at), key);
        }
    }
    return NULL;
}

const char *casp_pages_load(apr_pool_t *p, const char *folder,
                            casp_pages_t **result)
{
    casp_pages_t *pages = apr_pcalloc(p, sizeof *pages);
    const char *error = NULL;

    pages->files = apr_hash_make(p);
    pages->languages = apr_hash_make(p);
    for (const casp_builtin_page_t *b = casp_builtin_pages; b->name; b++) {
        error = add_file(p, pages, b->name, b->text);
        if (error)
            return apr_psprintf(p, "built-in %s: %s", b->name, error);
    }
    *result = pages;
    if (folder)
        error = load_folder(p, folder, pages);
    return error ? error : missing_text(p, pages);
}
