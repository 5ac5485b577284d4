/* Typed option values and the plugin instances that get them.
 *
 * A value goes text -> yk_option_parse -> yk_option_print -> the same value, so that a dumped
 * config can be parsed again. Numbers are scanned by hand: strtoull takes signs, blanks and wraps,
 * and no float is exact. */
#include <config.h>

#include "core/base/options.h"

#include <stdio.h>

#include <glib.h>

#include <yakumo/request.h>

#include "core/base/world.h"

enum {
    SHOW_SIZE_MAX = 60,
    PART_SIZE_MIN = 3,
    UNKNOWN_SIZE_MAX = 300,
    RATIO_DIGITS = 6,
    RATIO_ONE = 1000000,
    NUMBER_SIZE = 32
};

enum scan { SCAN_OK, SCAN_BAD, SCAN_HUGE };

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: numbers are printed in the largest unit that divides them. */
static const struct unit size_units[] = {
    {"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}, {"", 1}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"d", 86400000000ull},
    {"h", 3600000000ull},
    {"m", 60000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
    {NULL, 0},
};

/* What to write instead, by enum yk_option_type. */
static const char *const type_hints[] = {
    [YK_OPTION_BOOL] = "is neither yes nor no: write yes, no, true, false, on, off, 1 or 0",
    [YK_OPTION_UINT] = "is not a number: write decimal digits only, such as 16",
    [YK_OPTION_SIZE] = "is not a size: write a number with an optional K, M, G or T, such as 64M",
    [YK_OPTION_DURATION] =
        "is not a duration: write a number and us, ms, s, m, h or d, such as 250ms",
    [YK_OPTION_RATIO] = "is not a ratio: write 0.25 or 25%, exact to a millionth",
};

/* The part of every kind's ops that makes and ends an instance. */
struct ops_head {
    uint32_t struct_size;
    struct yk_life life;
};

char *
yk_text_show(const char *text)
{
    size_t size = strlen(text);
    const char *ellipsis = "";
    if (size > SHOW_SIZE_MAX) {
        size = SHOW_SIZE_MAX;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) {
            size--;
        }
        ellipsis = "...";
    }
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)size);
    for (char *at = valid; *at != '\0'; at++) {
        if (g_ascii_iscntrl(*at)) {
            *at = '?';
        }
    }
    return g_strdup_printf("'%s%s'", valid, ellipsis);
}

/* The distance of two names by insertions, deletions, changes and swaps of neighbours (optimal
 * string alignment). Three rows of the usual table are enough. */
static uint32_t
name_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    uint32_t rows[3][YK_NAME_SIZE_MAX + 1];
    uint32_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_size; j++) {
        last[j] = (uint32_t)j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_size; j++) {
            bool is_same = g_ascii_tolower(a[i - 1]) == g_ascii_tolower(b[j - 1]);
            uint32_t change = last[j - 1] + !is_same;
            row[j] = MIN(MIN(row[j - 1], last[j]) + 1, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = MIN(row[j], before[j - 2] + 1);
            }
        }
        uint32_t *freed = before;
        before = last;
        last = row;
        row = freed;
    }
    return last[b_size];
}

const char *
yk_nearest_name(const char *name, const char *const *candidates)
{
    size_t name_size = strlen(name);
    const char *nearest = NULL;
    uint32_t nearest_distance = UINT32_MAX;
    for (; name_size <= YK_NAME_SIZE_MAX && *candidates != NULL; candidates++) {
        size_t size = strlen(*candidates);
        size_t longer = MAX(size, name_size);
        if (size > YK_NAME_SIZE_MAX || longer < 2) {
            continue;
        }
        uint32_t distance = name_distance(name, name_size, *candidates, size);
        bool is_part = MIN(size, name_size) >= PART_SIZE_MIN &&
                       (strstr(name, *candidates) != NULL || strstr(*candidates, name) != NULL);
        if ((is_part || distance <= MAX(longer / 3, 1)) && distance < nearest_distance) {
            nearest = *candidates;
            nearest_distance = distance;
        }
    }
    return nearest;
}

void
yk_unknown_name(const char *what, const char *name, const char *where,
                const char *const *candidates, char *error)
{
    char unknown[YK_ERROR_SIZE];
    g_autofree char *shown = yk_text_show(name);
    const char *nearest = yk_nearest_name(name, candidates);
    snprintf(unknown, sizeof(unknown), "unknown %s %s%s%s", what, shown, where != NULL ? " " : "",
             where != NULL ? where : "");
    if (nearest != NULL) {
        snprintf(error, YK_ERROR_SIZE, "%.*s; did you mean '%s'?", UNKNOWN_SIZE_MAX, unknown,
                 nearest);
    } else if (*candidates == NULL) {
        snprintf(error, YK_ERROR_SIZE, "%.*s; there is none to choose from", UNKNOWN_SIZE_MAX,
                 unknown);
    } else {
        g_autofree char *known = g_strjoinv(", ", (char **)(uintptr_t)candidates);
        snprintf(error, YK_ERROR_SIZE, "%.*s; known: %s", UNKNOWN_SIZE_MAX, unknown, known);
    }
}

/* Decimal digits at *at, at least one; SCAN_HUGE: more than 64 bits, all digits taken. */
static enum scan
digits_scan(const char **at, uint64_t *ret_number)
{
    if (!g_ascii_isdigit(**at)) {
        return SCAN_BAD;
    }
    uint64_t number = 0;
    bool is_huge = false;
    for (; g_ascii_isdigit(**at); (*at)++) {
        is_huge |= __builtin_mul_overflow(number, 10, &number);
        is_huge |= __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number);
    }
    *ret_number = number;
    return is_huge ? SCAN_HUGE : SCAN_OK;
}

static enum scan
unit_scan(const char *text, const struct unit *units, uint64_t *ret_number)
{
    uint64_t number = 0;
    enum scan scan = digits_scan(&text, &number);
    if (scan == SCAN_BAD) {
        return SCAN_BAD;
    }
    if (number == 0 && *text == '\0') {
        *ret_number = 0;
        return scan;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(text, units->name) == 0) {
            bool is_huge = __builtin_mul_overflow(number, units->factor, ret_number);
            return is_huge ? SCAN_HUGE : scan;
        }
    }
    return SCAN_BAD;
}

/* "0.25" or "25%" as parts of a million. */
static enum scan
ratio_scan(const char *text, uint64_t *ret_number)
{
    uint64_t whole = 0, part = 0;
    enum scan scan = digits_scan(&text, &whole);
    if (scan == SCAN_BAD) {
        return SCAN_BAD;
    }
    size_t n_digits = 0;
    if (*text == '.') {
        const char *start = ++text;
        if (digits_scan(&text, &part) != SCAN_OK) {
            return SCAN_BAD;
        }
        n_digits = (size_t)(text - start);
    }
    bool is_percent = *text == '%';
    size_t n_digits_max = is_percent ? RATIO_DIGITS - 2 : RATIO_DIGITS;
    if (n_digits > n_digits_max || text[is_percent ? 1 : 0] != '\0') {
        return SCAN_BAD;
    }
    for (; n_digits < n_digits_max; n_digits++) {
        part *= 10;
    }
    bool is_huge =
        __builtin_mul_overflow(whole, is_percent ? RATIO_ONE / 100 : RATIO_ONE, &whole) ||
        __builtin_add_overflow(whole, part, ret_number);
    return is_huge ? SCAN_HUGE : scan;
}

static enum scan
bool_scan(const char *text, uint64_t *ret_number)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return SCAN_OK;
        }
    }
    return SCAN_BAD;
}

static enum scan
number_scan(uint32_t type, const char *text, uint64_t *ret_number)
{
    switch (type) {
    case YK_OPTION_BOOL:
        return bool_scan(text, ret_number);
    case YK_OPTION_SIZE:
        return unit_scan(text, size_units, ret_number);
    case YK_OPTION_DURATION:
        return unit_scan(text, duration_units, ret_number);
    case YK_OPTION_RATIO:
        return ratio_scan(text, ret_number);
    default: {
        enum scan scan = digits_scan(&text, ret_number);
        return *text == '\0' ? scan : SCAN_BAD;
    }
    }
}

static void
number_print(uint32_t type, uint64_t number, char text[NUMBER_SIZE])
{
    const struct unit *unit = type == YK_OPTION_SIZE       ? size_units
                              : type == YK_OPTION_DURATION ? duration_units
                                                           : NULL;
    if (type == YK_OPTION_RATIO) {
        int size = snprintf(text, NUMBER_SIZE, "%" G_GUINT64_FORMAT ".%06u", number / RATIO_ONE,
                            (unsigned)(number % RATIO_ONE));
        while (text[size - 1] == '0' && text[size - 2] != '.') {
            text[--size] = '\0';
        }
        return;
    }
    while (unit != NULL && number % unit->factor != 0) {
        unit++;
    }
    bool has_unit = unit != NULL && number != 0;
    snprintf(text, NUMBER_SIZE, "%" G_GUINT64_FORMAT "%s",
             has_unit ? number / unit->factor : number, has_unit ? unit->name : "");
}

/* The option's bounds in words: "1 to 64", "at least 1", "at most 64". */
static void
bounds_print(const struct yk_option *option, uint32_t type, char *text, size_t size)
{
    char min[NUMBER_SIZE], max[NUMBER_SIZE];
    number_print(type, option->min, min);
    number_print(type, option->max == 0 ? UINT64_MAX : option->max, max);
    if (option->max == 0 && option->min > 0) {
        snprintf(text, size, "at least %s", min);
    } else if (option->min == 0) {
        snprintf(text, size, "at most %s", max);
    } else {
        snprintf(text, size, "%s to %s", min, max);
    }
}

static bool
bounds_hold(const struct yk_option *option, uint64_t number)
{
    return number >= option->min && (option->max == 0 || number <= option->max);
}

static enum yk_err
number_parse(const struct yk_option *option, struct yk_option_parsed *parsed, char *error)
{
    const char *text = parsed->text;
    enum scan scan = number_scan(option->type, text, &parsed->value.number);
    if (scan == SCAN_OK &&
        (option->type == YK_OPTION_BOOL || bounds_hold(option, parsed->value.number))) {
        return YK_OK;
    }
    g_autofree char *shown = yk_text_show(text);
    if (scan == SCAN_BAD) {
        snprintf(error, YK_ERROR_SIZE, "%s %s", shown, type_hints[option->type]);
        return YK_EINVALID;
    }
    char bounds[NUMBER_SIZE * 3];
    bounds_print(option, option->type, bounds, sizeof(bounds));
    snprintf(error, YK_ERROR_SIZE, "%s is out of range: write %s", shown, bounds);
    return YK_EINVALID;
}

static enum yk_err
string_parse(const struct yk_option *option, struct yk_option_parsed *parsed, char *error)
{
    size_t size = strlen(parsed->text);
    if (bounds_hold(option, size)) {
        return YK_OK;
    }
    g_autofree char *shown = yk_text_show(parsed->text);
    char bounds[NUMBER_SIZE * 3];
    bounds_print(option, YK_OPTION_UINT, bounds, sizeof(bounds));
    snprintf(error, YK_ERROR_SIZE, "%s has %zu bytes: write %s bytes", shown, size, bounds);
    return YK_EINVALID;
}

static enum yk_err
enum_parse(const struct yk_option *option, struct yk_option_parsed *parsed, char *error)
{
    static const char *const none[] = {NULL};
    const char *const *choices = option->choices != NULL ? option->choices : none;
    for (uint32_t i = 0; choices[i] != NULL; i++) {
        if (strcmp(parsed->text, choices[i]) == 0) {
            parsed->value.number = i;
            return YK_OK;
        }
    }
    yk_unknown_name("value", parsed->text, NULL, choices, error);
    return YK_EINVALID;
}

static enum yk_err
list_parse(const struct yk_option *option, struct yk_option_parsed *parsed, char *error)
{
    parsed->list = g_strsplit(parsed->text, ",", -1);
    parsed->value.list = (const char *const *)parsed->list;
    for (char **part = parsed->list; *part != NULL; part++) {
        g_strstrip(*part);
        parsed->value.n_list++;
        if (**part == '\0') {
            g_autofree char *shown = yk_text_show(parsed->text);
            snprintf(error, YK_ERROR_SIZE, "%s has an empty entry: write a, b, c", shown);
            return YK_EINVALID;
        }
    }
    if (bounds_hold(option, parsed->value.n_list)) {
        return YK_OK;
    }
    char bounds[NUMBER_SIZE * 3];
    bounds_print(option, YK_OPTION_UINT, bounds, sizeof(bounds));
    snprintf(error, YK_ERROR_SIZE, "the list has %u entries: write %s", parsed->value.n_list,
             bounds);
    return YK_EINVALID;
}

static enum yk_err
text_parse(const struct yk_option *option, struct yk_option_parsed *parsed, char *error)
{
    switch (option->type) {
    case YK_OPTION_BOOL:
    case YK_OPTION_UINT:
    case YK_OPTION_SIZE:
    case YK_OPTION_DURATION:
    case YK_OPTION_RATIO:
        return number_parse(option, parsed, error);
    case YK_OPTION_STRING:
        return string_parse(option, parsed, error);
    case YK_OPTION_ENUM:
        return enum_parse(option, parsed, error);
    case YK_OPTION_LIST:
        return list_parse(option, parsed, error);
    default:
        snprintf(error, YK_ERROR_SIZE, "the option's type %u is not known here", option->type);
        return YK_EUNSUPPORTED;
    }
}

enum yk_err
yk_option_parse(const struct yk_option *option, const char *text,
                struct yk_option_parsed *ret_parsed, char *error)
{
    static const char *const empty_list[] = {NULL};
    const char *given = text != NULL ? text : option->fallback != NULL ? option->fallback : "";
    struct yk_option_parsed parsed = {
        .value = {.struct_size = sizeof(struct yk_option_value),
                  .type = option->type,
                  .list = option->type == YK_OPTION_LIST ? empty_list : NULL},
        .text = g_strstrip(g_strdup(given)),
    };
    parsed.value.text = parsed.text;
    bool is_none = *parsed.text == '\0' && option->fallback == NULL;
    enum yk_err err = is_none ? YK_OK : text_parse(option, &parsed, error);
    if (err != YK_OK) {
        yk_option_parsed_done(&parsed);
        return err;
    }
    *ret_parsed = parsed;
    return YK_OK;
}

void
yk_option_parsed_done(struct yk_option_parsed *parsed)
{
    if (parsed != NULL) {
        g_free(parsed->text);
        g_strfreev(parsed->list);
        *parsed = (struct yk_option_parsed){0};
    }
}

char *
yk_option_print(const struct yk_option_value *value)
{
    char number[NUMBER_SIZE];
    if (*value->text == '\0') {
        return g_strdup("");
    }
    switch (value->type) {
    case YK_OPTION_BOOL:
        return g_strdup(value->number != 0 ? "yes" : "no");
    case YK_OPTION_UINT:
    case YK_OPTION_SIZE:
    case YK_OPTION_DURATION:
    case YK_OPTION_RATIO:
        number_print(value->type, value->number, number);
        return g_strdup(number);
    case YK_OPTION_LIST:
        return g_strjoinv(", ", (char **)(uintptr_t)value->list);
    default:
        return g_strdup(value->text);
    }
}

const struct yk_option *
yk_option_at(const struct yk_option *options, uint32_t index)
{
    return (const void *)((const char *)options + (size_t)index * options->struct_size);
}

const struct yk_option *
yk_option_find(const struct yk_option *options, uint32_t n_options, const char *name)
{
    for (uint32_t i = 0; i < n_options; i++) {
        const struct yk_option *option = yk_option_at(options, i);
        if (strcmp(option->name, name) == 0) {
            return option;
        }
    }
    return NULL;
}

struct yk_settings *
yk_settings_new(const struct yk_plugin *plugin, const char *name)
{
    char error[YK_ERROR_SIZE];
    struct yk_settings *settings = g_new0(struct yk_settings, 1);
    settings->plugin = plugin;
    settings->name = g_strdup(name);
    settings->values = g_new0(struct yk_option_parsed, plugin->n_options);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = yk_option_at(plugin->options, i);
        if (yk_option_parse(option, NULL, &settings->values[i], error) != YK_OK) {
            yk_settings_free(settings);
            return NULL;
        }
    }
    return settings;
}

void
yk_settings_free(struct yk_settings *settings)
{
    if (settings == NULL) {
        return;
    }
    for (uint32_t i = 0; i < settings->plugin->n_options; i++) {
        yk_option_parsed_done(&settings->values[i]);
    }
    g_free(settings->values);
    g_free(settings->name);
    g_free(settings);
}

static void
option_unknown(const struct yk_plugin *plugin, const char *name, char *error)
{
    g_autofree const char **known = g_new0(const char *, plugin->n_options + 1);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        known[i] = yk_option_at(plugin->options, i)->name;
    }
    g_autofree char *where = g_strdup_printf("of %s", plugin->name);
    yk_unknown_name("option", name, where, known, error);
}

enum yk_err
yk_settings_set(struct yk_settings *settings, const char *name, const char *text, char *error)
{
    const struct yk_plugin *plugin = settings->plugin;
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct yk_option *option = yk_option_at(plugin->options, i);
        if (strcmp(option->name, name) != 0) {
            continue;
        }
        struct yk_option_parsed parsed;
        char reason[YK_ERROR_SIZE];
        enum yk_err err = yk_option_parse(option, text, &parsed, reason);
        if (err != YK_OK) {
            snprintf(error, YK_ERROR_SIZE, "%s: %.*s", name, YK_ERROR_SIZE - 100, reason);
            return err;
        }
        yk_option_parsed_done(&settings->values[i]);
        settings->values[i] = parsed;
        return YK_OK;
    }
    option_unknown(plugin, name, error);
    return YK_EINVALID;
}

/* Where the host keeps the plugin's own words about its last failure. */
static char *
host_words(const struct yk_host *host)
{
    return ((struct yk_plugin_host *)(uintptr_t)host)->error;
}

static enum yk_err
instance_fail(const struct yk_settings *settings, const struct yk_host *host, const char *step,
              enum yk_err err, char *error)
{
    const char *words = host_words(host);
    snprintf(error, YK_ERROR_SIZE, "%s: %s: %.*s", settings->name, step, YK_ERROR_SIZE - 200,
             *words != '\0' ? words : yk_err_text(err));
    return err;
}

/* The life of the plugin's kind, members that its ops do not reach NULL. */
static struct yk_life
plugin_life(const struct yk_plugin *plugin)
{
    struct ops_head head = {0};
    if (plugin->ops != NULL) {
        uint32_t size = *(const uint32_t *)plugin->ops;
        memcpy(&head, plugin->ops, MIN(size, sizeof(head)));
    }
    return head.life;
}

static enum yk_err
instance_config(const struct yk_settings *settings, const struct yk_host *host, void *self,
                uint32_t index, char *error)
{
    const char *name = yk_option_at(settings->plugin->options, index)->name;
    struct yk_life life = plugin_life(settings->plugin);
    *host_words(host) = '\0';
    enum yk_err err = YK_EUNSUPPORTED;
    if (life.config != NULL) {
        err = life.config(self, name, &settings->values[index].value);
    }
    return err == YK_OK ? YK_OK : instance_fail(settings, host, name, err, error);
}

enum yk_err
yk_instance_new(const struct yk_settings *settings, const struct yk_host *host, void **ret_self,
                char *error)
{
    struct yk_life life = plugin_life(settings->plugin);
    void *self = NULL;
    *host_words(host) = '\0';
    if (life.create != NULL) {
        enum yk_err err = life.create(host, &self);
        if (err != YK_OK) {
            return instance_fail(settings, host, "create", err, error);
        }
    }
    enum yk_err err = YK_OK;
    for (uint32_t i = 0; i < settings->plugin->n_options && err == YK_OK; i++) {
        err = instance_config(settings, host, self, i, error);
    }
    if (err == YK_OK && life.config_done != NULL) {
        *host_words(host) = '\0';
        err = life.config_done(self);
        if (err != YK_OK) {
            instance_fail(settings, host, "options", err, error);
        }
    }
    if (err != YK_OK) {
        yk_instance_free(settings, self);
        return err;
    }
    *ret_self = self;
    return YK_OK;
}

enum yk_err
yk_instance_reload(const struct yk_settings *now, const struct yk_settings *next,
                   const struct yk_host *host, void *self, char *error)
{
    for (uint32_t i = 0; i < now->plugin->n_options; i++) {
        const struct yk_option *option = yk_option_at(now->plugin->options, i);
        g_autofree char *now_text = yk_option_print(&now->values[i].value);
        g_autofree char *next_text = yk_option_print(&next->values[i].value);
        if ((option->flags & YK_OPTION_RELOAD) == 0 || strcmp(now_text, next_text) == 0) {
            continue;
        }
        enum yk_err err = instance_config(next, host, self, i, error);
        if (err != YK_OK) {
            return err;
        }
    }
    return YK_OK;
}

void
yk_instance_free(const struct yk_settings *settings, void *self)
{
    struct yk_life life = plugin_life(settings->plugin);
    if (life.destroy != NULL && self != NULL) {
        life.destroy(self);
    }
}
