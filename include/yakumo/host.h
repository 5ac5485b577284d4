/* What the host lends to a plugin. A plugin asks the system for nothing that stands here, so that
 * the daemon, the simulator, a fuzzer and the conformance kit can all be its host.
 *
 * Threads: log, alloc, resize, release, now_ms, now_us and random may be called from any thread,
 * also one that the plugin made; error only within a call of the host; sleep_us only from calls
 * that the plugin declared to block. Ownership: the host outlives the instance it was given to. */
#ifndef YAKUMO_HOST_H
#define YAKUMO_HOST_H

#include <yakumo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum yk_log_level {
    YK_LOG_ERROR = 3,
    YK_LOG_WARNING = 4,
    YK_LOG_NOTICE = 5,
    YK_LOG_INFO = 6,
    YK_LOG_DEBUG = 7,
};

struct yk_call; /* see backend.h */

struct yk_host {
    uint32_t struct_size;
    uint32_t abi; /* YK_ABI of the host */

    /* One line to the log, at most 1 KiB; the host adds time, plugin and instance. */
    void (*log)(const struct yk_host *host, enum yk_log_level level, const char *format, ...)
        YK_PRINTF(3, 4);

    /* Says why the call that is now returning an error failed; the last text wins, at most 511
     * bytes. */
    void (*error)(const struct yk_host *host, const char *format, ...) YK_PRINTF(2, 3);

    /* Memory, aligned to 16 bytes and not zeroed; NULL when there is none. resize(NULL) allocates.
     */
    void *(*alloc)(const struct yk_host *host, size_t size);
    void *(*resize)(const struct yk_host *host, void *memory, size_t size);
    void (*release)(const struct yk_host *host, void *memory); /* takes NULL */

    uint64_t (*now_ms)(const struct yk_host *host); /* wall clock, milliseconds since 1970 */
    uint64_t (*now_us)(const struct yk_host *host); /* never goes back, microseconds, any origin */
    uint64_t (*random)(const struct yk_host *host); /* 64 random bits, not for secrets */
    void (*sleep_us)(const struct yk_host *host, uint64_t us);

    /* Asynchronous engines only, from any thread: ends a call that returned YK_EPENDING, once. */
    void (*complete)(const struct yk_host *host, struct yk_call *call, enum yk_err result);
};

#ifdef __cplusplus
}
#endif

#endif
