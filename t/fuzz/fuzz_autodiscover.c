/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_autodiscover.c: a request as a stranger may post it; and, with the same
 * bytes as names and addresses out of a directory, an answer.
 *
 * Not only crashes count: what is accepted is one word of text, and an answer
 * is XML whatever was put into it.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_xml.h>

#include "autodiscover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void check_request(apr_pool_t *p, const char *body, size_t len)
{
    casp_disco_ask_t ask;
    casp_disco_error_e e = casp_disco_read(p, body, len, &ask);
    must(e == CASP_DISCO_OK || e == CASP_DISCO_BAD_REQUEST
         || e == CASP_DISCO_NO_PROVIDER);
    if (e != CASP_DISCO_OK) {
        return;
    }
    must(len <= CASP_DISCO_MAX && ask.schema < CASP_DISCO_SCHEMAS);
    must(ask.key.kind == CASP_KEY_SMTP || ask.key.kind == CASP_KEY_LEGACY_DN);
    must(ask.key.len > 0 && ask.key.len == strlen(ask.key.value)
         && ask.key.len <= 1024);
    for (size_t i = 0; i < ask.key.len; i++) {
        must((unsigned char)ask.key.value[i] >= ' ');
    }
}

/* Between two Exchange generations, one server each. */
static casp_topology_t *organisation(apr_pool_t *p, const char *url)
{
    apr_array_header_t *all = apr_array_make(p, 4, sizeof(casp_entry_t *));
    casp_entry_t *site = casp_entry_make(p, "CN=S,CN=Sites,DC=c");
    casp_entry_t *server = casp_entry_make(p, "CN=X,CN=Servers,DC=c");
    casp_entry_t *db = casp_entry_make(p, "CN=D,DC=c");
    casp_entry_t *ews = casp_entry_make(p, "CN=EWS,CN=X,CN=Servers,DC=c");
    const struct {
        casp_entry_t *e;
        const char *name, *value;
    } values[] = {{site, "objectClass", "site"},
                  {site, "cn", "S"},
                  {server, "objectClass", "msExchExchangeServer"},
                  {server, "cn", "X"},
                  {server, "serialNumber", "Version 15.1 (Build 32507.6)"},
                  {server, "msExchCurrentServerRoles", "16439"},
                  {server, "msExchServerSite", "CN=S,CN=Sites,DC=c"},
                  {server, "networkAddress", "ncacn_ip_tcp:x.c.test"},
                  {server, "legacyExchangeDN", url},
                  {db, "objectClass", "msExchPrivateMDB"},
                  {db, "msExchOwningServer", "CN=X,CN=Servers,DC=c"},
                  {ews, "objectClass", "msExchWebServicesVirtualDirectory"},
                  {ews, "msExchExternalHostName", url},
                  {ews, "msExchInternalHostName", url}};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        casp_entry_add(p, values[i].e, values[i].name, values[i].value,
                       strlen(values[i].value));
    }
    APR_ARRAY_PUSH(all, casp_entry_t *) = site;
    APR_ARRAY_PUSH(all, casp_entry_t *) = server;
    APR_ARRAY_PUSH(all, casp_entry_t *) = db;
    APR_ARRAY_PUSH(all, casp_entry_t *) = ews;
    return casp_topology_build(all, "fuzz", NULL, 0);
}

static void must_be_xml(apr_pool_t *p, const char *xml)
{
    apr_xml_parser *parser = apr_xml_parser_create(p);
    apr_xml_doc *doc;
    must(apr_xml_parser_feed(parser, xml, strlen(xml)) == APR_SUCCESS);
    must(apr_xml_parser_done(parser, &doc) == APR_SUCCESS);
    must(strcmp(doc->root->name, "Autodiscover") == 0);
}

static void check_answer(apr_pool_t *p, const char *text, size_t len,
                         bool remote)
{
    casp_entry_t *e = casp_entry_make(p, "CN=U,DC=c");
    casp_topology_t *t = organisation(p, text);
    casp_disco_view_t view;
    const char *xml, *why;

    casp_entry_add(p, e, "displayName", text, len);
    casp_entry_add(p, e, "legacyExchangeDN", text, len);
    casp_entry_add(p, e, "mail", text, len);
    casp_entry_add(p, e, "msExchMailboxGuid", "0123456789abcdef", 16);
    if (remote) {
        casp_entry_add(p, e, "targetAddress",
                       apr_pstrcat(p, "SMTP:", text, NULL), strlen(text) + 5);
    }
    else {
        casp_entry_add(p, e, "homeMDB", "CN=D,DC=c", 9);
    }
    memset(&view, 0, sizeof(view));
    view.s = casp_settings_complete(p, casp_settings_create(p), "/tmp");
    view.t = t;
    view.mailbox = casp_mailbox_of_entry(p, e, t, 0);
    view.host = casp_disco_host(p, view.s, text);
    view.auth = CASP_SCHEME_BASIC;
    view.mapi_http = true;
    if (view.host == NULL) {
        view.host = "mail.c.test";
    }
    for (int i = 0; view.mailbox != NULL && i < CASP_DISCO_SCHEMAS; i++) {
        if (casp_disco_answer(p, (casp_disco_schema_e)i, &view, &xml, &why)
            == CASP_DISCO_OK) {
            must_be_xml(p, xml);
        }
    }
    must_be_xml(p, casp_disco_error(p, CASP_DISCO_BAD_REQUEST, 0, text));
    casp_topology_unref(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *top;
    apr_pool_t *p;
    if (!top) {
        apr_initialize();
        apr_pool_create(&top, NULL);
    }
    apr_pool_create(&p, top);
    const char *text = apr_pstrmemdup(p, (const char *)data, size);
    check_request(p, text, size);
    if (size <= 2048) {
        check_answer(p, text, size, false);
        check_answer(p, text, size, true);
    }
    apr_pool_destroy(p);
    return 0;
}
