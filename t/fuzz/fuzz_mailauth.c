/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_mailauth.c: what stands in the headers of a mail proxy's request, and
 * what is written back.  The first byte chooses method and protocol; the rest
 * is the name and, behind a line's end, the password.
 *
 * Not only crashes count: what is read has no control byte and a size, the
 * password is gone from the headers, and nothing that is written could split
 * a header, or would be too long for nginx.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "mailauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void no_controls(const char *text)
{
    for (; *text; text++) {
        must((unsigned char)*text >= 0x20 && *text != 0x7f);
    }
}

static int written(void *size, const char *key, const char *value)
{
    no_controls(key);
    no_controls(value);
    *(size_t *)size += strlen(key) + strlen(value) + 4;
    return 1;
}

static void write_back(apr_pool_t *p, const casp_mail_ask_t *ask, int what)
{
    size_t size = 0;
    apr_table_t *out = apr_table_make(p, 8);
    casp_mail_reply_t reply = {.what = (casp_mail_answer_e)what,
                               .server = "192.0.2.1",
                               .port = 143,
                               .user = ask->claim.name,
                               .wait = 3};
    casp_mailauth_write(p, ask->protocol, &reply, out);
    must(apr_table_get(out, "Auth-Status") != NULL);
    must(apr_table_get(out, "Auth-Pass") == NULL);
    (void)apr_table_do(written, &size, out, NULL);
    must(size < 600);
    /* the name may be an address of nobody */
    reply.server = ask->claim.name;
    apr_table_clear(out);
    casp_mailauth_write(p, ask->protocol, &reply, out);
    (void)apr_table_do(written, &size, out, NULL);
}

static void read_one(apr_pool_t *p, uint8_t how, char *name, char *password)
{
    static const char *const methods[] = {
        "plain", "Plain", "none", "apop", "external", "cram-md5", "x", ""};
    static const char *const protocols[] = {"imap", "pop3", "smtp", "http"};
    casp_mail_ask_t ask;
    apr_table_t *in = apr_table_make(p, 8);
    char *pass = apr_pstrdup(p, password);
    apr_table_setn(in, "Auth-Method", methods[how & 7]);
    apr_table_setn(in, "Auth-Protocol", protocols[how >> 3 & 3]);
    apr_table_setn(in, "Auth-User", name);
    apr_table_setn(in, "Auth-Pass", pass);
    apr_table_setn(in, "Client-IP", name);
    apr_table_setn(in, "Auth-Login-Attempt", name);
    const char *wrong = casp_mailauth_read(p, in, &ask);
    must(apr_table_get(in, "Auth-Pass") == NULL);
    for (size_t i = 0; i < strlen(password); i++) {
        must(pass[i] == '\0');
    }
    no_controls(ask.client);
    if (wrong == NULL) {
        must((how & 7) < 2 && ask.protocol != CASP_PROTO_NONE);
        must(*ask.claim.name && strlen(ask.claim.name) <= CASP_NAME_MAX);
        must(ask.claim.password_len > 0
             && ask.claim.password_len <= CASP_PASSWORD_MAX);
        no_controls(ask.claim.name);
        no_controls(ask.claim.password);
        must(ask.mailbox == NULL || *ask.mailbox);
    }
    for (int what = CASP_MAIL_GO; what <= CASP_MAIL_LATER; what++) {
        write_back(p, &ask, what);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    if (root == NULL) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    if (size < 1) {
        return 0;
    }
    apr_pool_t *p;
    apr_pool_create(&p, root);
    char *text = apr_pstrmemdup(p, (const char *)data + 1, size - 1);
    char *end = strchr(text, '\n');
    char *password = end ? end + 1 : apr_pstrdup(p, "");
    if (end) {
        *end = '\0';
    }
    read_one(p, data[0], text, password);
    apr_pool_destroy(p);
    return 0;
}
