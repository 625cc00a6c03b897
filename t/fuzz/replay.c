/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ordinary compiler's main for a fuzz target: every file of its corpus
 * once, then each file cut short at a few places, so that "make check" replays
 * what the fuzzer found without needing clang.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    static uint8_t buf[1 << 20];
    size_t n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    for (size_t cut = 0; cut < 8 && n >> cut; cut++) {
        /* an exact allocation lets the sanitizer see one byte too many */
        size_t len = n - (cut ? n >> cut : 0);
        uint8_t *copy = malloc(len ? len : 1);
        if (!copy)
            return 0;
        memcpy(copy, buf, len);
        LLVMFuzzerTestOneInput(copy, len);
        free(copy);
    }
    return 1;
}

int main(int argc, char **argv)
{
    const char *corpus = getenv("CASP_FUZZ_CORPUS");
    const char *name = strstr(argv[0], "replay_");
    char dir[4096];
    int n = 0;

    if (argc > 1)
        snprintf(dir, sizeof dir, "%s", argv[1]);
    else if (corpus && name)
        snprintf(dir, sizeof dir, "%s/%s", corpus, name + strlen("replay_"));
    else
        return 2;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[8192];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        n += replay(path);
    }
    if (d)
        closedir(d);
    printf("%d files of %s replayed\n", n, dir);
    return n > 0 ? 0 : 1;
}
