/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * topokind.c: which objects of the Configuration naming context we read, how
 * they are asked for, and how they are told apart.
 *
 * Why: the filter, the attributes and the classes must say the same; a class
 * that is asked for and not understood, or understood and not asked for, is a
 * hole.  This room must not look at what the objects say.
 */

#include <apr_cstr.h>
#include <apr_strings.h>

#include "topokind.h"
#include "topology.h"

/* -------------------------------------------------------- what is asked */

const char *const casp_topology_attrs[] = {
    "objectClass",
    "objectGUID",
    "cn",
    "legacyExchangeDN",
    "networkAddress",
    "serialNumber",
    "versionNumber",
    "serverRole",
    "msExchCurrentServerRoles",
    "msExchServerSite",
    "siteObject",
    "msExchOwningServer",
    "msExchUseOAB",
    "msExchOABDefault",
    "msExchHostServerLink",
    "msExchActivationPreference",
    "msExchInternalHostName",
    "msExchExternalHostName",
    "msExchInternalNLBBypassHostName",
    "msExchInternalAuthenticationMethods",
    "msExchExternalAuthenticationMethods",
    "msExch2003Url",
    "msExchOWAFailbackURL",
    "msExchOWARedirectToOptimalOWAServer",
    "nETBIOSName",
    "dnsRoot",
    "nCName",
    "systemFlags",
    NULL};

/* By objectClass, not objectCategory: OpenLDAP has none.  What inherits from
 * a server (policies, transport settings) comes along and is sorted out. */
const char casp_topology_filter[] =
    "(|(objectClass=site)"
    "(objectClass=subnet)"
    "(objectClass=crossRef)"
    "(objectClass=msExchOrganizationContainer)"
    "(objectClass=msExchExchangeServer)"
    "(objectClass=msExchClientAccessArray)"
    "(objectClass=msExchClientAccessArrayLegacy)"
    "(objectClass=msExchPrivateMDB)"
    "(objectClass=msExchPublicMDB)"
    "(objectClass=msExchMDBCopy)"
    "(objectClass=msExchOAB)"
    "(objectClass=msExchOWAVirtualDirectory)"
    "(objectClass=msExchECPVirtualDirectory)"
    "(objectClass=msExchMobileVirtualDirectory)"
    "(objectClass=msExchActiveSyncVirtualDirectory)"
    "(objectClass=msExchWebServicesVirtualDirectory)"
    "(objectClass=msExchAutoDiscoverVirtualDirectory)"
    "(objectClass=msExchOABVirtualDirectory)"
    "(objectClass=msExchRpcHttpVirtualDirectory)"
    "(objectClass=msExchMapiVirtualDirectory)"
    "(objectClass=msExchPowerShellVirtualDirectory)"
    "(objectClass=msExchUMVirtualDirectory))";

typedef struct {
    const char *name;
    apr_size_t len;
    casp_topokind_e kind;
    casp_protocol_e protocol;
} class_t;

#define CLASS(name, kind)                             \
    {                                                 \
        name, sizeof(name) - 1, kind, CASP_PROTO_NONE \
    }
#define VDIR(name, protocol)                                              \
    {                                                                     \
        "msExch" name "VirtualDirectory",                                 \
            sizeof("msExch" name "VirtualDirectory") - 1, CASP_KIND_VDIR, \
            protocol                                                      \
    }

static const class_t classes[] = {
    CLASS("msExchExchangeServerPolicy", CASP_KIND_NONE),
    CLASS("msExchExchangeTransportServer", CASP_KIND_NONE),
    CLASS("msExchMDBAvailabilityGroup", CASP_KIND_NONE),
    CLASS("msExchClientAccessArray", CASP_KIND_ARRAY),
    CLASS("msExchClientAccessArrayLegacy", CASP_KIND_ARRAY),
    CLASS("site", CASP_KIND_SITE),
    CLASS("subnet", CASP_KIND_SUBNET),
    CLASS("crossRef", CASP_KIND_CROSSREF),
    CLASS("msExchOrganizationContainer", CASP_KIND_ORG),
    CLASS("msExchExchangeServer", CASP_KIND_SERVER),
    CLASS("msExchPrivateMDB", CASP_KIND_PRIVATE),
    CLASS("msExchPublicMDB", CASP_KIND_PUBLIC),
    CLASS("msExchMDBCopy", CASP_KIND_COPY),
    CLASS("msExchOAB", CASP_KIND_OAB),
    VDIR("OWA", CASP_PROTO_OWA),
    VDIR("ECP", CASP_PROTO_ECP),
    VDIR("Mobile", CASP_PROTO_EAS),
    VDIR("ActiveSync", CASP_PROTO_EAS),
    VDIR("WebServices", CASP_PROTO_EWS),
    VDIR("AutoDiscover", CASP_PROTO_AUTODISCOVER),
    VDIR("OAB", CASP_PROTO_OAB),
    VDIR("RpcHttp", CASP_PROTO_RPC),
    VDIR("Mapi", CASP_PROTO_MAPI),
    VDIR("PowerShell", CASP_PROTO_POWERSHELL),
    VDIR("UM", CASP_PROTO_UM),
};

#define CLASSES ((int)(sizeof(classes) / sizeof(classes[0])))

static const class_t *class_named(const casp_value_t *v)
{
    for (int i = 0; i < CLASSES; i++) {
        if (classes[i].len == v->len
            && !apr_cstr_casecmpn(classes[i].name, v->data, v->len)) {
            return &classes[i];
        }
    }
    return NULL;
}

casp_topokind_e casp_topokind_of(const casp_entry_t *e,
                                 casp_protocol_e *protocol)
{
    const casp_attr_t *oc = casp_entry_attr(e, "objectClass");
    const class_t *best = NULL;

    for (int i = 0; oc && i < oc->nvalues; i++) {
        const class_t *c = class_named(&oc->values[i]);

        if (c && (!best || c->kind < best->kind)) {
            best = c;
        }
    }
    *protocol = best ? best->protocol : CASP_PROTO_NONE;
    return best ? best->kind : CASP_KIND_NONE;
}
