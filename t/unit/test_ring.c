/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The key ring: its texts, files that must not be believed, a new one made,
 * and two processes that make one at once.
 */

#include <apr_thread_proc.h>

#include "sessionworld.h"

/* -------------------------------------------------------------- the ring */

static void test_ring_texts(void **state)
{
    static const struct {
        const char *text;
        const char *wrong; /* NULL: none */
    } cases[] = {
        {SECRET_A, NULL},
        {SECRET_A "\n", NULL},
        {"\n\n# c\n \t \r\n" SECRET_A " # c\r\n#" SECRET_B "\n", NULL},
        {SECRET_A "\n" SECRET_B "\n" SECRET_D "\n", NULL},
        {"", "holds no secret"},
        {"# nothing\n\n", "holds no secret"},
        {"YWJj\n", "line 1 "},
        {"# c\n\n0011223344\n", "line 3 "},
        {SECRET_A "\nAAAA\n", "line 2 "},
        {SECRET_A "\n" SECRET_A "\n", "line 2 "},
        {SECRET_A "\n" SECRET_B "\n# c\n " SECRET_A "\n", "line 4 "},
        {SECRET_D "\n000102030405060708090A0B0C0D0E0F1011121314151617"
                  "18191a1b1c1d1e1f\n",
         "repeats"},
        {SECRET_A "A\n", "neither"},
        {SECRET_D "0\n", "neither"},
        {"c2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEgIS-_\n",
         "neither"},
        {"c2VjcmV0IEEgc2VjcmV0IEEgc2VjcmV0IEEg c2VjcmV0IEEgc2VjcmV0IEEgIS\n",
         "neither"},
        {"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC=kI=\n", "neither"},
        {"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=\n", "fewer than 32"},
        {"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk====\n", "neither"},
        {"my dog's name and a little more than that, really\n", "neither"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *path = write_ring(cases[i].text);
        casp_ring_t *ring = (casp_ring_t *)(uintptr_t)1;
        const char *wrong = casp_ring_load(pool, path, true, &ring);
        if (!cases[i].wrong) {
            assert_null(wrong);
            assert_non_null(ring);
            continue;
        }
        assert_null(ring);
        if (!wrong || !strstr(wrong, cases[i].wrong) || !strstr(wrong, path)
            || !(strstr(wrong, "openssl rand") || strstr(wrong, "take"))) {
            fail_msg("case %d: %s", (int)i, wrong ? wrong : "NULL");
        }
        for (const char *s = cases[i].text; strlen(s) > 5; s++) {
            assert_null(strstr(wrong, apr_pstrndup(pool, s, 6)));
        }
    }
}

static void test_ring_size(void **state)
{
    const char *text = "";
    casp_ring_t *ring;

    (void)state;
    for (int i = 1; i <= 9; i++) {
        text = apr_psprintf(pool, "%s%064d\n", text, i);
        const char *wrong =
            casp_ring_load(pool, write_ring(text), false, &ring);
        assert_true(!wrong == (i <= 8));
        assert_true(!wrong || strstr(wrong, "8 at most"));
    }
    char *big = apr_pcalloc(pool, 20001);
    memset(big, '#', 20000);
    memcpy(big, SECRET_A "\n", 65);
    const char *wrong = casp_ring_load(pool, write_ring(big), false, &ring);
    assert_non_null(strstr(wrong, "16 KiB"));
    big[16384] = '\0';
    assert_null(casp_ring_load(pool, write_ring(big), false, &ring));
    wrong = casp_ring_load(pool, write_bytes("nul", SECRET_A "\0", 65), false,
                           &ring);
    assert_non_null(strstr(wrong, "neither"));
    /* a device has no size, and is no file */
    wrong = casp_ring_load(pool, "/dev/zero", false, &ring);
    assert_non_null(strstr(wrong, "no regular file"));
}

static void refuse(const char *path, const char *what)
{
    casp_ring_t *ring;
    const char *wrong = casp_ring_load(pool, path, false, &ring);
    if (!wrong || !strstr(wrong, what) || !strstr(wrong, path) || ring) {
        fail_msg("%s, not %s", wrong ? wrong : "NULL", what);
    }
}

static void test_ring_files(void **state)
{
    const char *path = write_ring(SECRET_A "\n");
    casp_ring_t *ring;

    (void)state;
    for (int mode = 0; mode < 0100; mode++) {
        assert_int_equal(chmod(path, (mode_t)(0600 | mode)), 0);
        if (mode) {
            refuse(path, "chmod 600");
        }
        else {
            assert_null(casp_ring_load(pool, path, false, &ring));
        }
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_null(casp_ring_load(pool, path, false, &ring));
    const char *other = in_dir("link");
    assert_int_equal(symlink(path, other), 0);
    refuse(other, "symbolic link");
    const char *lost = in_dir("lost");
    assert_int_equal(symlink(in_dir("nowhere"), lost), 0);
    refuse(lost, "symbolic link");
    refuse(dir, "no regular file");
    const char *fifo = in_dir("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuse(fifo, "no regular file");
    refuse(in_dir("gone"), "openssl rand -base64 48");
    refuse(in_dir("ring/below"), "cannot be opened");
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        refuse(path, "belongs to another user");
    }
    /* what is there is never replaced, nor followed out of the folder */
    assert_non_null(casp_ring_load(pool, lost, true, &ring));
    assert_int_not_equal(access(in_dir("nowhere"), F_OK), 0);
    assert_non_null(casp_ring_load(pool, in_dir("no folder/ring"), true,
                                   &ring));
}

/* How many names are in the folder? */
static int names(void)
{
    apr_dir_t *d;
    apr_finfo_t entry;
    int n = 0;

    assert_int_equal(apr_dir_open(&d, dir, pool), APR_SUCCESS);
    while (apr_dir_read(&entry, APR_FINFO_NAME, d) == APR_SUCCESS) {
        n += entry.name[0] != '.';
    }
    apr_dir_close(d);
    return n;
}

static void test_ring_create(void **state)
{
    const char *path = in_dir("made");
    mode_t mask = umask(0);
    casp_ring_t *a, *b;
    struct stat st, again;

    (void)state;
    assert_null(casp_ring_load(pool, path, true, &a));
    umask(0777);
    assert_null(casp_ring_load(pool, in_dir("second"), true, &b));
    umask(mask);
    assert_int_equal(stat(in_dir("second"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(names(), 2);
    casp_sealer_t *x = casp_sealer_create(pool, a, VHOST, SEC(9), SEC(9));
    casp_sealer_t *y = casp_sealer_create(pool, b, VHOST, SEC(9), SEC(9));
    casp_session_t s = session_of(0, "ada", "p");
    const char *value = seal(x, &s, noon);
    assert_int_equal(open_at(y, value, noon), CASP_SESSION_BAD);
    assert_null(casp_ring_load(pool, path, true, &b));
    assert_int_equal(stat(path, &again), 0);
    assert_true(again.st_ino == st.st_ino && again.st_size == st.st_size);
    y = casp_sealer_create(pool, b, VHOST, SEC(9), SEC(9));
    assert_int_equal(open_at(y, value, noon), CASP_SESSION_OK);
}

#define RACERS 6

/* Each process seals with the ring that it ended up with. */
static void race(const char *path, int start, int out)
{
    casp_session_t s;
    casp_ring_t *ring;
    char go, password[] = "p";

    if (read(start, &go, 1) != 0 /* until the other end is closed */
        || casp_ring_load(pool, path, true, &ring)) {
        _exit(1);
    }
    casp_sealer_t *sealer =
        casp_sealer_create(pool, ring, VHOST, SEC(900), SEC(900));
    casp_session_begin(&s, 0, "ada", password, 1, noon);
    const char *value = casp_session_seal(pool, sealer, &s, noon);
    _exit(value && write(out, value, 136) == 136 ? 0 : 1);
}

static void test_ring_race(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        const char *path = in_dir(apr_psprintf(pool, "race%d", round));
        int start[2], out[2];
        pid_t pids[RACERS];
        assert_int_equal(pipe(start) | pipe(out), 0);
        for (int i = 0; i < RACERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                close(start[1]);
                race(path, start[0], out[1]);
            }
        }
        close(start[0]);
        close(start[1]);
        for (int i = 0; i < RACERS; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        casp_ring_t *ring;
        assert_null(casp_ring_load(pool, path, false, &ring));
        casp_sealer_t *sealer =
            casp_sealer_create(pool, ring, VHOST, SEC(900), SEC(900));
        for (int i = 0; i < RACERS; i++) {
            char value[137] = "";
            assert_int_equal(read(out[0], value, 136), 136);
            assert_int_equal(open_at(sealer, value, noon), CASP_SESSION_OK);
        }
        close(out[0]);
        close(out[1]);
        assert_int_equal(names(), round + 1);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_ring_texts),  TEST(test_ring_size), TEST(test_ring_files),
        TEST(test_ring_create), TEST(test_ring_race),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
