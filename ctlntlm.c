/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * casproxyctl check, the part about NTLM: winbind at the door, gss-ntlmssp
 * towards the backends, and what httpd's user may read.
 *
 * Winbind is asked as the module asks it: through the helper that the settings
 * name, with the first message of a handshake that goes no further.
 *
 * Must not: wait for a helper that says nothing, or leave one behind.
 */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_signal.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "ctl.h"
#include "gssclient.h"

#define HELPER_PATIENCE apr_time_from_sec(5)

#define OK CASP_CHECK_OK
#define UNUSED CASP_CHECK_UNUSED
#define WARN CASP_CHECK_WARN
#define FAIL CASP_CHECK_FAIL

const struct passwd *casp_ctl_httpd_user(void)
{
    static const char *const names[] = {"www-data", "apache", "httpd", "http"};
    const struct passwd *pw = NULL;

    for (size_t i = 0; !pw && i < sizeof(names) / sizeof(*names); i++) {
        pw = getpwnam(names[i]);
    }
    return pw;
}

bool casp_ctl_may_read(const struct passwd *pw, const struct stat *st)
{
    const struct group *group = getgrgid(st->st_gid);
    bool member = pw->pw_gid == st->st_gid;

    for (char **m = group ? group->gr_mem : NULL; m && *m; m++) {
        member = member || !strcmp(*m, pw->pw_name);
    }
    return st->st_mode
           & (pw->pw_uid == st->st_uid ? S_IRUSR
              : member                 ? S_IRGRP
                                       : S_IROTH);
}

/* What the helper says to the first message of a handshake; "": nothing. */
static const char *ask_helper(apr_pool_t *p, const char *const *argv)
{
    /* NEGOTIATE with Unicode, OEM, target, NTLM, 128 bits and a version */
    static const char first[] = "YR TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAA"
                                "AAAKAGFKAAAADw==\n";
    apr_procattr_t *attr;
    apr_proc_t proc;
    char line[1024] = "";
    apr_size_t len = sizeof(first) - 1;
    int status;
    apr_exit_why_e why;

    if (apr_procattr_create(&attr, p) != APR_SUCCESS
        || apr_procattr_io_set(attr, APR_FULL_BLOCK, APR_FULL_BLOCK,
                               APR_NO_PIPE)
               != APR_SUCCESS
        || apr_procattr_cmdtype_set(attr, APR_PROGRAM_ENV) != APR_SUCCESS
        || apr_procattr_error_check_set(attr, 1) != APR_SUCCESS
        || apr_proc_create(&proc, argv[0], argv, NULL, attr, p)
               != APR_SUCCESS) {
        return "";
    }
    apr_signal(SIGPIPE, SIG_IGN); /* it may have ended already */
    apr_file_pipe_timeout_set(proc.out, HELPER_PATIENCE);
    if (apr_file_write_full(proc.in, first, len, NULL) == APR_SUCCESS) {
        apr_file_gets(line, sizeof(line), proc.out);
    }
    apr_file_close(proc.in);
    apr_proc_kill(&proc, SIGKILL);
    apr_proc_wait(&proc, &status, &why, APR_WAIT);
    apr_file_close(proc.out);
    line[strcspn(line, "\r\n")] = '\0';
    return apr_pstrdup(p, line);
}

/* Who may hand responses on to winbind: the group of this folder. */
static void check_pipe(casp_checkup_t *c)
{
    static const char *const paths[] = {"/var/lib/samba/winbindd_privileged",
                                        "/run/samba/winbindd_privileged"};
    const struct passwd *pw = casp_ctl_httpd_user();
    struct stat st;

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        if (stat(paths[i], &st) || !pw) {
            continue;
        }
        bool may = casp_ctl_may_read(pw, &st);
        casp_checkup_say(
            c, may ? OK : WARN, "winbind-pipe",
            may ? NULL
                : apr_psprintf(c->p,
                               "usermod -a -G winbindd_priv %s, then restart "
                               "httpd",
                               pw->pw_name),
            may ? "%s may use %s"
                : "%s may not use %s, so that NTLM logons are refused where "
                  "httpd runs as that user",
            pw->pw_name, paths[i]);
        return;
    }
}

static void check_winbind(casp_checkup_t *c, const casp_settings_t *s, bool in)
{
    const apr_array_header_t *words = s->ntlm_helper;
    apr_array_header_t *argv = apr_array_make(c->p, 4, sizeof(char *));

    if (!in || s->ntlm_verify != CASP_NTLM_WINBIND) {
        casp_checkup_say(c, UNUSED, "winbind", NULL, "not used: %s",
                         in ? "NTLM is verified by the directory"
                            : "nobody may log on by NTLM");
        return;
    }
    for (int i = 0; words && i < words->nelts; i++) {
        APR_ARRAY_PUSH(argv, const char *) =
            APR_ARRAY_IDX(words, i, const char *);
    }
    if (!argv->nelts) {
        APR_ARRAY_PUSH(argv, const char *) = CASP_NTLM_HELPER;
    }
    APR_ARRAY_PUSH(argv, const char *) = "--helper-protocol=squid-2.5-ntlmssp";
    APR_ARRAY_PUSH(argv, const char *) = NULL;
    const char *path = APR_ARRAY_IDX(argv, 0, const char *);
    if (access(path, X_OK)) {
        casp_checkup_say(c, FAIL, "winbind",
                         "install the package winbind and join the domain, "
                         "or write CasProxyNTLMVerify Directory",
                         "the helper %s cannot be run: %s", path,
                         strerror(errno));
        return;
    }
    const char *said = ask_helper(c->p, (const char *const *)argv->elts);
    bool well = !strncmp(said, "TT ", 3);
    casp_checkup_say(c, well ? OK : FAIL, "winbind",
                     well ? NULL
                          : "see that winbindd runs and that this machine is "
                            "joined: wbinfo -p, wbinfo -t",
                     well ? "%s reaches winbind"
                          : "%s cannot begin a handshake%s%s",
                     path, *said ? ": " : "", said);
    /* with words of its own, the helper may have another Samba in mind */
    if (!words || words->nelts == 1) {
        check_pipe(c);
    }
}

static void check_mechanism(casp_checkup_t *c, bool out)
{
    bool there = casp_gss_has_ntlm();

    if (!out) {
        casp_checkup_say(c, UNUSED, "gss-ntlmssp", NULL,
                         "not used: no backend is logged on at by NTLM");
        return;
    }
    casp_checkup_say(
        c, there ? OK : FAIL, "gss-ntlmssp",
        there ? NULL : "install the package gss-ntlmssp",
        there ? "the GSSAPI mechanism for NTLM is there"
              : "NTLM towards backends needs a GSSAPI mechanism that "
                "is missing");
}

void casp_ctl_check_ntlm(casp_checkup_t *c, const casp_settings_t *s, bool in,
                         bool out)
{
    check_winbind(c, s, in);
    check_mechanism(c, out);
}
