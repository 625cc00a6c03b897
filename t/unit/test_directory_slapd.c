/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directory against a real server: OpenLDAP's slapd, started here on
 * ephemeral loopback ports, with its files in a folder that goes away again,
 * and ended by its process id.  Where it is not installed, each test is
 * skipped by name.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <ldap.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "directory.h"

#define SLAPD "/usr/sbin/slapd"
#define SLAPADD "/usr/sbin/slapadd"
#define SCHEMA "/etc/ldap/schema/core.schema"
#define ENTRIES 1234
#define MS(n) apr_time_from_msec(n)

static apr_pool_t *top;
static char dir[] = "/tmp/casp-slapd-XXXXXX";
static bool have;
static int port_plain, port_tls, port_dead;
static pid_t slapd = -1;

/* ----------------------------------------------------------- certificates */

static EVP_PKEY *make_key(void)
{
    return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    assert_non_null(x);
    X509_add_ext(cert, x, -1);
    X509_EXTENSION_free(x);
}

/* A certificate; without an issuer it is a CA of its own. */
static X509 *make_cert(const char *cn, EVP_PKEY *key, X509 *issuer,
                       EVP_PKEY *issuer_key)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    if (issuer) {
        add_extension(cert, issuer, NID_subject_alt_name, "IP:127.0.0.1");
    }
    else {
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    }
    X509_sign(cert, issuer ? issuer_key : key, EVP_sha256());
    return cert;
}

static const char *path(const char *name)
{
    return apr_pstrcat(top, dir, "/", name, NULL);
}

static void write_cert(const char *name, X509 *cert)
{
    FILE *f = fopen(path(name), "w");
    assert_non_null(f);
    PEM_write_X509(f, cert);
    fclose(f);
}

static void make_certs(void)
{
    EVP_PKEY *ca_key = make_key(), *key = make_key(), *other = make_key();
    X509 *ca = make_cert("Test CA", ca_key, NULL, NULL);
    X509 *server = make_cert("127.0.0.1", key, ca, ca_key);
    X509 *stranger = make_cert("Another CA", other, NULL, NULL);
    write_cert("ca.pem", ca);
    write_cert("server.pem", server);
    write_cert("stranger.pem", stranger);
    FILE *f = fopen(path("key.pem"), "w");
    assert_non_null(f);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(ca);
    X509_free(server);
    X509_free(stranger);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

/* ------------------------------------------------------------- the server */

static int free_port(void)
{
    struct sockaddr_in sin;
    socklen_t len = sizeof(sin);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0) {
        abort();
    }
    getsockname(fd, (struct sockaddr *)&sin, &len);
    close(fd);
    return ntohs(sin.sin_port);
}

static bool answers(int port)
{
    struct sockaddr_in sin;
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool yes = connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0;
    close(fd);
    return yes;
}

static pid_t spawn(char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen(path("log"), "a", stdout)
            || dup2(STDOUT_FILENO, STDERR_FILENO) < 0) {
            _exit(126);
        }
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static void slapd_start(void)
{
    char *urls = apr_psprintf(top,
                              "ldap://127.0.0.1:%d/ "
                              "ldaps://127.0.0.1:%d/ ldapi://%s%%2Fldapi",
                              port_plain, port_tls,
                              apr_psprintf(top, "%%2Ftmp%%2F%s",
                                           strrchr(dir, '/') + 1));
    char *argv[] = {(char *)(uintptr_t)SLAPD,
                    (char *)(uintptr_t) "-d",
                    (char *)(uintptr_t) "0",
                    (char *)(uintptr_t) "-h",
                    urls,
                    (char *)(uintptr_t) "-f",
                    (char *)(uintptr_t)path("slapd.conf"),
                    NULL};
    slapd = spawn(argv);
    for (int i = 0; i < 500 && !answers(port_plain); i++) {
        (void)poll(NULL, 0, 20);
    }
    assert_true(answers(port_plain));
}

static void slapd_stop(void)
{
    if (slapd > 0) {
        kill(slapd, SIGCONT); /* a test may have failed in between */
        kill(slapd, SIGTERM);
        waitpid(slapd, NULL, 0);
        slapd = -1;
    }
}

static void write_conf(void)
{
    FILE *f = fopen(path("slapd.conf"), "w");
    assert_non_null(f);
    fprintf(f,
            "include " SCHEMA "\n"
            "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
            "TLSCACertificateFile %s/ca.pem\n"
            "TLSCertificateFile %s/server.pem\n"
            "TLSCertificateKeyFile %s/key.pem\n"
            "authz-regexp \"gidNumber=.*,cn=peercred,cn=external,cn=auth\""
            " cn=service,dc=test\n"
            "database mdb\nsuffix dc=test\nrootdn cn=service,dc=test\n"
            "rootpw secret\ndirectory %s/db\nmaxsize 67108864\n"
            "dbnosync\nsizelimit 50000\n",
            dir, dir, dir, dir);
    fclose(f);
    assert_int_equal(mkdir(path("db"), 0700), 0);
    f = fopen(path("data.ldif"), "w");
    assert_non_null(f);
    fprintf(f, "dn: dc=test\nobjectClass: organization\n"
               "objectClass: dcObject\ndc: test\no: test\n\n"
               "dn: cn=alice (FYDIBOHF23SPDLT),dc=test\n"
               "objectClass: person\ncn: alice (FYDIBOHF23SPDLT)\n"
               "sn: alice\nuserPassword: right\n\n");
    for (int i = 0; i < ENTRIES; i++) {
        fprintf(f,
                "dn: cn=u%d,dc=test\nobjectClass: person\ncn: u%d\n"
                "sn: many\n\n",
                i, i);
    }
    fclose(f);
}

static bool load_data(void)
{
    char *argv[] = {(char *)(uintptr_t)SLAPADD,
                    (char *)(uintptr_t) "-q",
                    (char *)(uintptr_t) "-f",
                    (char *)(uintptr_t)path("slapd.conf"),
                    (char *)(uintptr_t) "-l",
                    (char *)(uintptr_t)path("data.ldif"),
                    NULL};
    int status = -1;
    pid_t pid = spawn(argv);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int group_setup(void **state)
{
    (void)state;
    if (apr_pool_create(&top, NULL) != APR_SUCCESS) {
        return 1;
    }
    have = access(SLAPD, X_OK) == 0 && access(SLAPADD, X_OK) == 0
           && access(SCHEMA, R_OK) == 0;
    if (!have) {
        return 0;
    }
    if (!mkdtemp(dir)) {
        return 1;
    }
    port_plain = free_port();
    port_tls = free_port();
    port_dead = free_port();
    make_certs();
    write_conf();
    if (!load_data()) {
        return 1;
    }
    slapd_start();
    return 0;
}

static int remove_one(const char *name, const struct stat *st, int flag,
                      struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(name);
}

static int group_teardown(void **state)
{
    (void)state;
    slapd_stop();
    if (have) {
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    apr_pool_destroy(top);
    return 0;
}

/* --------------------------------------------------------------- fixtures */

typedef struct {
    apr_pool_t *p;
    casp_directory_conf_t conf;
    casp_directory_t *dir;
} world_t;

static void world_init(world_t *w)
{
    if (!have) {
        skip();
    }
    memset(w, 0, sizeof(*w));
    assert_int_equal(apr_pool_create(&w->p, top), APR_SUCCESS);
    w->conf.urls = apr_array_make(w->p, 2, sizeof(const char *));
    w->conf.tls = CASP_TLS_OFF;
    w->conf.bind = CASP_BIND_SIMPLE;
    w->conf.bind_name = "cn=service,dc=test";
    w->conf.bind_secret = "secret";
    w->conf.ca_file = path("ca.pem");
    w->conf.connect_timeout = apr_time_from_sec(2);
    w->conf.search_timeout = apr_time_from_sec(4);
    w->conf.rest = MS(200);
}

static void world_url(world_t *w, const char *url)
{
    APR_ARRAY_PUSH(w->conf.urls, const char *) = url;
}

static const char *url(const char *scheme, const char *host, int port)
{
    return apr_psprintf(top, "%s://%s:%d", scheme, host, port);
}

static void world_start(world_t *w)
{
    const char *wrong = casp_directory_create(w->p, &w->conf, &w->dir);
    if (wrong) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(casp_directory_start(w->dir, w->p), APR_SUCCESS);
}

static void world_end(world_t *w)
{
    apr_time_t start = apr_time_now();
    apr_pool_destroy(w->p);
    assert_true(apr_time_now() - start < apr_time_from_sec(1));
}

/* How many were found, or minus the outcome. */
static int find(world_t *w, const char *base, const char *filter, int limit,
                bool paged, const char **why)
{
    static const char *const attrs[] = {"cn", NULL};
    casp_search_t s = {base, LDAP_SCOPE_SUBTREE, filter, attrs, limit, paged};
    apr_array_header_t *entries = NULL;
    casp_dir_e rc = casp_directory_search(w->dir, w->p, &s, 0, &entries, why);
    assert_int_equal(rc == CASP_DIR_OK, *why == NULL);
    return rc == CASP_DIR_OK ? entries->nelts : -(int)rc;
}

static int find_many(world_t *w, const char **why)
{
    return find(w, "dc=test", "(sn=many)", 0, true, why);
}

/* ------------------------------------------------------------------ tests */

static void test_search(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    world_url(&w, url("ldap", "127.0.0.1", port_plain));
    world_start(&w);
    const char *why;
    assert_int_equal(find_many(&w, &why), ENTRIES);
    assert_int_equal(find(&w, NULL, "(sn=many)", 0, false, &why), ENTRIES);
    assert_int_equal(find(&w, NULL, "(cn=u1)", 0, true, &why), 1);
    assert_int_equal(find(&w, NULL, "(cn=nobody)", 0, false, &why), 0);
    assert_int_equal(find(&w, NULL, "(sn=many)", 2, false, &why),
                     -CASP_DIR_INCOMPLETE);
    assert_int_equal(find(&w, "dc=elsewhere", "(cn=*)", 0, false, &why),
                     -CASP_DIR_REFUSED);
    assert_non_null(strstr(why, "CasProxyDirectoryBase"));
    assert_int_equal(find(&w, "no dn", "(cn=*)", 0, false, &why),
                     -CASP_DIR_REFUSED);
    /* What a filter is escaped for. */
    static const char name[] = "alice (FYDIBOHF23SPDLT)";
    assert_int_equal(find(&w, NULL,
                          apr_pstrcat(w.p, "(cn=",
                                      casp_filter_escape(w.p, name,
                                                         sizeof(name) - 1),
                                      ")", NULL),
                          0, false, &why),
                     1);
    assert_int_equal(find(&w, NULL, "(cn=alice \\2a)", 0, false, &why), 0);
    const casp_directory_root_t *root;
    assert_int_equal(casp_directory_root(w.dir, w.p, 0, &root, &why),
                     CASP_DIR_OK);
    assert_string_equal(root->default_nc, "dc=test");
    assert_false(root->is_ad);
    assert_int_equal(casp_directory_stats(w.dir)->connects, 1);
    world_end(&w);
}

static void test_passwords(void **state)
{
    (void)state;
    static const struct {
        const char *name, *password;
        casp_pw_e pw;
    } rows[] = {
        {"cn=alice (FYDIBOHF23SPDLT),dc=test", "right", CASP_PW_OK},
        {"cn=alice (FYDIBOHF23SPDLT),dc=test", "wrong", CASP_PW_WRONG},
        {"cn=alice (FYDIBOHF23SPDLT),dc=test", "right", CASP_PW_OK},
        {"cn=alice (FYDIBOHF23SPDLT),dc=test", "", CASP_PW_EMPTY},
        {"cn=nobody,dc=test", "right", CASP_PW_WRONG},
        {"cn=u1,dc=test", "right", CASP_PW_WRONG},
        {"CORP\\alice", "right", CASP_PW_WRONG},
        {"alice@corp.test", "right", CASP_PW_WRONG},
        {"\xff\xfe,=", "right", CASP_PW_WRONG},
    };
    world_t w;
    world_init(&w);
    world_url(&w, url("ldap", "127.0.0.1", port_plain));
    world_start(&w);
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *why;
        casp_pw_e pw = casp_directory_check(w.dir, w.p, rows[i].name,
                                            rows[i].password, 0, &why);
        assert_string_equal(casp_pw_name(pw), casp_pw_name(rows[i].pw));
        assert_int_equal(why == NULL, pw == CASP_PW_OK);
    }
    assert_int_equal(casp_directory_stats(w.dir)->connects, 1);
    world_end(&w);
}

static void test_tls(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *host, *ca;
        casp_tls_e tls;
        bool good;
    } rows[] = {
        {"ldaps", "127.0.0.1", "ca.pem", CASP_TLS_UNSET, true},
        {"ldap", "127.0.0.1", "ca.pem", CASP_TLS_STARTTLS, true},
        {"ldaps", "127.0.0.1", "stranger.pem", CASP_TLS_UNSET, false},
        {"ldap", "127.0.0.1", "stranger.pem", CASP_TLS_STARTTLS, false},
        /* The right CA, but not the certificate's name. */
        {"ldaps", "localhost", "ca.pem", CASP_TLS_UNSET, false},
        {"ldap", "localhost", "ca.pem", CASP_TLS_STARTTLS, false},
    };
    for (apr_size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_t w;
        world_init(&w);
        w.conf.tls = rows[i].tls;
        w.conf.ca_file = path(rows[i].ca);
        world_url(&w, url(rows[i].scheme, rows[i].host,
                          strcmp(rows[i].scheme, "ldaps") ? port_plain
                                                          : port_tls));
        world_start(&w);
        const char *why, *why2;
        int n = find_many(&w, &why);
        casp_pw_e pw =
            casp_directory_check(w.dir, w.p,
                                 "cn=alice (FYDIBOHF23SPDLT),dc=test", "right",
                                 0, &why2);
        if (rows[i].good) {
            assert_int_equal(n, ENTRIES);
            assert_int_equal(pw, CASP_PW_OK);
        }
        else {
            assert_int_equal(n, -CASP_DIR_UNAVAILABLE);
            assert_non_null(strstr(why, "TLS failed"));
            assert_non_null(strstr(why, rows[i].ca));
            assert_int_equal(pw, CASP_PW_UNAVAILABLE);
        }
        world_end(&w);
    }
}

static void test_ldapi(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        world_t w;
        world_init(&w);
        w.conf.tls = CASP_TLS_UNSET;
        w.conf.bind = CASP_BIND_NONE;
        world_url(&w, i ? apr_pstrcat(w.p, "ldapi://", path("ldapi"), NULL)
                        : apr_psprintf(w.p, "ldapi://%%2Ftmp%%2F%s%%2Fldapi",
                                       strrchr(dir, '/') + 1));
        world_start(&w);
        const char *why;
        assert_int_equal(find_many(&w, &why), ENTRIES);
        assert_int_equal(casp_directory_check(
                             w.dir, w.p, "cn=alice (FYDIBOHF23SPDLT),dc=test",
                             "right", 0, &why),
                         CASP_PW_OK);
        world_end(&w);
    }
}

static void test_wrong_secret(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    w.conf.bind_secret = "not it";
    world_url(&w, url("ldap", "127.0.0.1", port_plain));
    world_start(&w);
    const char *why;
    assert_int_equal(find_many(&w, &why), -CASP_DIR_UNAVAILABLE);
    assert_non_null(strstr(why, "CasProxyDirectoryBind"));
    assert_null(strstr(why, "not it"));
    world_end(&w);
}

static void test_dead_first(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    world_url(&w, url("ldap", "127.0.0.1", port_dead));
    world_url(&w, url("ldap", "127.0.0.1", port_plain));
    /* Rested for longer than this test may take, on any machine: a server
       whose rest is over is looked at again, and that would be counted too. */
    w.conf.rest = apr_time_from_sec(3600);
    world_start(&w);
    const char *why;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(find_many(&w, &why), ENTRIES);
    }
    assert_int_equal(casp_directory_stats(w.dir)->failures, 1);
    world_end(&w);
}

static void test_gone_and_back(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    world_url(&w, url("ldaps", "127.0.0.1", port_tls));
    world_start(&w);
    const char *why;
    assert_int_equal(find_many(&w, &why), ENTRIES);
    slapd_stop();
    apr_time_t start = apr_time_now();
    assert_int_equal(find_many(&w, &why), -CASP_DIR_UNAVAILABLE);
    assert_true(apr_time_now() - start < apr_time_from_sec(2));
    slapd_start();
    assert_int_equal(find_many(&w, &why), ENTRIES);
    /* Restarted between two searches: nobody notices. */
    slapd_stop();
    slapd_start();
    assert_int_equal(find_many(&w, &why), ENTRIES);
    world_end(&w);
}

/* Stopped, not ended: connections stay, answers do not come. */
static void test_frozen(void **state)
{
    (void)state;
    world_t w;
    world_init(&w);
    world_url(&w, url("ldaps", "127.0.0.1", port_tls));
    w.conf.search_timeout = MS(500);
    w.conf.connect_timeout = MS(300);
    world_start(&w);
    const char *why;
    assert_int_equal(find(&w, NULL, "(cn=u1)", 0, false, &why), 1);
    kill(slapd, SIGSTOP);
    /* The signal is under way: until all threads stand, one may answer. */
    int status;
    assert_int_equal(waitpid(slapd, &status, WUNTRACED), slapd);
    assert_true(WIFSTOPPED(status));
    for (int i = 0; i < 2; i++) {
        /* The first on an old connection, the second on a new one. */
        apr_time_t start = apr_time_now();
        assert_int_equal(find(&w, NULL, "(cn=u1)", 0, false, &why),
                         -CASP_DIR_UNAVAILABLE);
        assert_true(apr_time_now() - start < MS(500) + MS(400));
    }
    kill(slapd, SIGCONT);
    int n = -1;
    for (int i = 0; i < 20 && n < 0; i++) {
        n = find(&w, NULL, "(cn=u1)", 0, false, &why);
    }
    assert_int_equal(n, 1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_ldapi),
        cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_dead_first),
        cmocka_unit_test(test_gone_and_back),
        cmocka_unit_test(test_frozen),
    };
    /* What an environment must not be able to change. */
    setenv("LDAPTLS_REQCERT", "never", 1);
    setenv("LDAPSIZELIMIT", "1", 1);
    setenv("LDAPTLS_CERT", "/nowhere/cert.pem", 1);
    setenv("LDAPREFERRALS", "on", 1);
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, group_setup, group_teardown);
    apr_terminate();
    return failed;
}
