/* The rules by name, and what the parts found, for people and as JSON. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "plugins/plugins.h"
#include "tools/json.h"
#include "tools/kit/kit.h"

static const struct kit_rule_text rules[] = {
#define KIT_RULE(name, word, source, text) {word, source, text},
#include "tools/kit/rules.def"
#undef KIT_RULE
};

const struct kit_rule_text *
kit_rule_text(enum kit_rule rule)
{
    return &rules[rule];
}

bool
kit_rule_find(const char *word, enum kit_rule *ret_rule)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (strcmp(rules[i].word, word) == 0) {
            *ret_rule = (enum kit_rule)i;
            return true;
        }
    }
    return false;
}

uint32_t
kit_n_failures(const struct kit_results *results)
{
    uint32_t n = 0;
    for (guint i = 0; i < results->findings->len; i++) {
        n += !g_array_index(results->findings, struct kit_finding, i).is_excepted;
    }
    return n;
}

static const char *
evidence_text(const struct kit_capability *one)
{
    bool is_declared = one->declared == NULL || strcmp(one->declared, "no") != 0;
    switch (one->evidence) {
    case KIT_SHOWN:
        return is_declared ? "shown" : "no";
    case KIT_HELD:
        return "held here";
    case KIT_LACKS:
        return is_declared ? "not shown" : "no";
    default:
        return is_declared ? "not shown" : "no";
    }
}

static void
print_capabilities(const struct kit_results *results)
{
    if (results->capabilities->len == 0) {
        return;
    }
    printf("\nwhat it may claim:\n  %-15s %-12s %-10s %s\n", "", "declared", "here", "why");
    for (guint i = 0; i < results->capabilities->len; i++) {
        const struct kit_capability *one =
            &g_array_index(results->capabilities, struct kit_capability, i);
        printf("  %-15s %-12s %-10s %s\n", one->name, one->declared != NULL ? one->declared : "",
               evidence_text(one), one->text != NULL ? one->text : "");
    }
    printf("\n");
}

void
kit_print(const struct kit *kit, const struct kit_results *results, const char *command)
{
    const struct yk_plugin *plugin = kit->plugin;
    printf("%s %s %s, seed %llu, %u rounds of %u calls\n", yk_plugins_kind_name(plugin->kind),
           plugin->name, plugin->version, (unsigned long long)kit->seed, kit->rounds, kit->ops);
    for (guint i = 0; i < results->remarks->len; i++) {
        printf("note: %s\n", (const char *)g_ptr_array_index(results->remarks, i));
    }
    print_capabilities(results);
    for (guint i = 0; i < results->findings->len; i++) {
        const struct kit_finding *finding =
            &g_array_index(results->findings, struct kit_finding, i);
        const struct kit_rule_text *rule = kit_rule_text(finding->rule);
        printf("%s: %s (%s: %s): %s; again: %s --part=%s\n",
               finding->is_excepted ? "excepted" : "broken", rule->word, rule->source, rule->text,
               finding->text, command, finding->part);
    }
    uint32_t n = kit_n_failures(results);
    printf("%s: %u parts, %u broken promises\n", n == 0 ? "passes" : "fails", results->n_parts, n);
}

void
kit_print_json(const struct kit *kit, const struct kit_results *results, const char *command)
{
    g_autoptr(GString) json = g_string_new(NULL);
    json_open(json, NULL, '{');
    json_text(json, "plugin", kit->plugin->name);
    json_text(json, "kind", yk_plugins_kind_name(kit->plugin->kind));
    json_text(json, "version", kit->plugin->version);
    json_number(json, "seed", kit->seed);
    json_number(json, "parts", results->n_parts);
    json_bool(json, "passes", kit_n_failures(results) == 0);
    json_open(json, "broken", '[');
    for (guint i = 0; i < results->findings->len; i++) {
        const struct kit_finding *finding =
            &g_array_index(results->findings, struct kit_finding, i);
        const struct kit_rule_text *rule = kit_rule_text(finding->rule);
        g_autofree char *again = g_strdup_printf("%s --part=%s", command, finding->part);
        json_open(json, NULL, '{');
        json_text(json, "rule", rule->word);
        json_text(json, "source", rule->source);
        json_text(json, "promise", rule->text);
        json_text(json, "part", finding->part);
        json_text(json, "what", finding->text);
        json_bool(json, "excepted", finding->is_excepted);
        json_text(json, "again", again);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_open(json, "capabilities", '[');
    for (guint i = 0; i < results->capabilities->len; i++) {
        const struct kit_capability *one =
            &g_array_index(results->capabilities, struct kit_capability, i);
        json_open(json, NULL, '{');
        json_text(json, "name", one->name);
        json_text(json, "declared", one->declared);
        json_text(json, "here", evidence_text(one));
        json_text(json, "why", one->text);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_open(json, "notes", '[');
    for (guint i = 0; i < results->remarks->len; i++) {
        json_text(json, NULL, g_ptr_array_index(results->remarks, i));
    }
    json_close(json, ']');
    json_close(json, '}');
    puts(json->str);
}
