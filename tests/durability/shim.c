/* A disk that fails: put before the C library with LD_PRELOAD, it counts the calls that change files
 * below one folder, and lets the Nth of them fail.
 *
 *   OUTBOARD_SHIM_FOLDER  the folder
 *   OUTBOARD_SHIM_AT      which call fails, from 1 on; 0 for none
 *   OUTBOARD_SHIM_TIMES   how many fail from there on; 0 for all
 *   OUTBOARD_SHIM_ERROR   EIO, ENOSPC, SHORT (half of it is written, and so it says),
 *                         TORN (half of it is written, then EIO), KILL (the process dies instead of the
 *                         call), KILLED (it dies right after it), HANG (it returns only when calls do not
 *                         fail any more)
 *   OUTBOARD_SHIM_WHILE   a file: all calls fail as long as it is there, whatever AT says
 *   OUTBOARD_SHIM_READS   if set, reads count and fail as well
 *   OUTBOARD_SHIM_LOG     gets a line for each call that failed
 *   OUTBOARD_SHIM_NOSYNC  if set, syncs do nothing and say that they did
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

#define REAL(name, type, ...)                                   \
    static type (*real)(__VA_ARGS__);                           \
    if (!real)                                                  \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int is_below(const char *path)
{
    const char *folder = getenv("OUTBOARD_SHIM_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_ours(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

static long setting(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static void note(long number, const char *call)
{
    const char *path = getenv("OUTBOARD_SHIM_LOG");
    if (!path)
        return;
    char line[128];
    int length = snprintf(line, sizeof line, "%ld %s\n", number, call);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, line, length) < 0) { /* nobody to tell */ }
        close(fd);
    }
}

static int is_error(const char *name)
{
    const char *error = getenv("OUTBOARD_SHIM_ERROR");
    return error && strcmp(error, name) == 0;
}

/* Whether the thread's call is the last that the process makes. */
static __thread int is_last;

static long last(long result)
{
    if (is_last)
        raise(SIGKILL);
    return result;
}

static int is_turned_off(long number, long at, long times)
{
    const char *file = getenv("OUTBOARD_SHIM_WHILE");
    if (file)
        return access(file, F_OK) != 0;
    return at == 0 || number < at || (times != 0 && number >= at + times);
}

/* Whether this call is one that fails; errno is set then. */
static int fails(const char *call)
{
    int before = errno;
    long at = setting("OUTBOARD_SHIM_AT"), times = setting("OUTBOARD_SHIM_TIMES");
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (is_turned_off(number, at, times)) {
        errno = before;
        return 0;
    }
    note(number, call);
    if (is_error("KILL"))
        raise(SIGKILL);
    if (is_error("KILLED")) {
        is_last = 1;
        errno = before;
        return 0;
    }
    if (is_error("HANG")) {
        while (!is_turned_off(number, at, times))
            usleep(10000);
        errno = before;
        return 0;
    }
    const char *error = getenv("OUTBOARD_SHIM_ERROR");
    errno = error && strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
    return 1;
}

/* How much of a failing write happens all the same, and what it says. */
#define WRITE(call)                                             \
    if (!is_ours(fd) || !fails(name))                           \
        return last(call(count));                               \
    if (is_error("SHORT"))                                      \
        return call(count > 1 ? count / 2 : count);             \
    if (is_error("TORN") && call(count / 2) >= 0)               \
        errno = EIO;                                            \
    return -1

ssize_t write(int fd, const void *bytes, size_t count)
{
    REAL("write", ssize_t, int, const void *, size_t);
    const char *name = "write";
#define CALL(n) real(fd, bytes, n)
    WRITE(CALL);
#undef CALL
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    REAL("pwrite", ssize_t, int, const void *, size_t, off_t);
    const char *name = "pwrite";
#define CALL(n) real(fd, bytes, n, offset)
    WRITE(CALL);
#undef CALL
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
    const char *name = "pwrite64";
#define CALL(n) real(fd, bytes, n, offset)
    WRITE(CALL);
#undef CALL
}

static int read_fails(int fd, const char *name)
{
    return getenv("OUTBOARD_SHIM_READS") && is_ours(fd) && fails(name);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t offset)
{
    REAL("pread", ssize_t, int, void *, size_t, off_t);
    return read_fails(fd, "pread") ? -1 : last(real(fd, bytes, count, offset));
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset)
{
    REAL("pread64", ssize_t, int, void *, size_t, off64_t);
    return read_fails(fd, "pread64") ? -1 : last(real(fd, bytes, count, offset));
}

static int syncs(int fd, const char *name, int (*real)(int))
{
    if (is_ours(fd)) {
        if (getenv("OUTBOARD_SHIM_NOSYNC"))
            return 0;
        if (fails(name))
            return -1;
    }
    return last(real(fd));
}

int fsync(int fd)
{
    REAL("fsync", int, int);
    return syncs(fd, "fsync", real);
}

int fdatasync(int fd)
{
    REAL("fdatasync", int, int);
    return syncs(fd, "fdatasync", real);
}

int ftruncate(int fd, off_t length)
{
    REAL("ftruncate", int, int, off_t);
    return is_ours(fd) && fails("ftruncate") ? -1 : last(real(fd, length));
}

int ftruncate64(int fd, off64_t length)
{
    REAL("ftruncate64", int, int, off64_t);
    return is_ours(fd) && fails("ftruncate64") ? -1 : last(real(fd, length));
}

int rename(const char *from, const char *to)
{
    REAL("rename", int, const char *, const char *);
    return is_below(from) && fails("rename") ? -1 : last(real(from, to));
}

#define MODE(flags)                                             \
    mode_t mode = 0;                                            \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                      \
        va_list more;                                           \
        va_start(more, flags);                                  \
        mode = va_arg(more, mode_t);                            \
        va_end(more);                                           \
    }

int open(const char *path, int flags, ...)
{
    REAL("open", int, const char *, int, ...);
    MODE(flags);
    return is_below(path) && fails("open") ? -1 : last(real(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    REAL("open64", int, const char *, int, ...);
    MODE(flags);
    return is_below(path) && fails("open64") ? -1 : last(real(path, flags, mode));
}

int openat(int folder, const char *path, int flags, ...)
{
    REAL("openat", int, int, const char *, int, ...);
    MODE(flags);
    return is_below(path) && fails("openat") ? -1 : last(real(folder, path, flags, mode));
}

int openat64(int folder, const char *path, int flags, ...)
{
    REAL("openat64", int, int, const char *, int, ...);
    MODE(flags);
    return is_below(path) && fails("openat64") ? -1 : last(real(folder, path, flags, mode));
}
