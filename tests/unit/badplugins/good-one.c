/* A good module, with a '-' in its name and every type of option. */
#include "tests/unit/badplugins/base.h"

static const struct yk_backend_ops ops = {BASE_OPS};

static const char *const colours[] = {"red", "green", NULL};

static const struct yk_option options[] = {
    {YK_OPTION_HEAD, YK_OPTION_BOOL, 0, "flag", "yes", .help = "A switch."},
    {YK_OPTION_HEAD, YK_OPTION_UINT, YK_OPTION_RELOAD, "number", "7", 1, 99, .help = "A number."},
    {YK_OPTION_HEAD, YK_OPTION_SIZE, YK_OPTION_FIXED, "room", "64M", 1024, .help = "Bytes."},
    {YK_OPTION_HEAD, YK_OPTION_DURATION, 0, "pause", "250ms", .help = "A time."},
    {YK_OPTION_HEAD, YK_OPTION_STRING, 0, "text", NULL, .help = "A text: \\n \"quoted\"."},
    {YK_OPTION_HEAD, YK_OPTION_ENUM, 0, "colour", "red", .choices = colours, .help = ".Colour."},
    {YK_OPTION_HEAD, YK_OPTION_LIST, 0, "words", "a, b", 0, 8, .help = "Words."},
    {YK_OPTION_HEAD, YK_OPTION_RATIO, 0, "part", "25%", .help = "A part."},
};

YK_PLUGIN(good_one) = {
    YK_PLUGIN_HEAD(YK_KIND_BACKEND, YK_BACKEND_ABI),
    BASE_TEXTS("good-one"),
    .details = "One paragraph.\n\nAnother one.",
    .n_options = sizeof(options) / sizeof(options[0]),
    .options = options,
    .ops = &ops,
};
