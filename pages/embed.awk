# Make casp_builtin_pages[] from the files named; a file's folder is dropped.
function escape(s) {
    gsub(/\\/, "\\\\", s)
    gsub(/"/, "\\\"", s)
    gsub(/\?\?/, "?\\?", s)
    return s
}
BEGIN {
    print "/* Made from pages/ by pages/embed.awk; do not edit. */"
    print "#include \"pages.h\""
    print "const casp_builtin_page_t casp_builtin_pages[] = {"
}
FNR == 1 {
    if (NR > 1)
        print "    },"
    name = FILENAME
    sub(/.*\//, "", name)
    printf "    {\"%s\",\n", name
}
{ printf "     \"%s\\n\"\n", escape($0) }
END {
    print "    },\n    {NULL, NULL}\n};"
}
