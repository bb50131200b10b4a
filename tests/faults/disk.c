/* A disk of the tests' own, put between a daemon and its C library (LD_PRELOAD): it writes down what happens below one
 * directory, in order, and refuses or delays what it is told to. tests/faults/disk.rs compiles it, reads what it wrote,
 * and says what to refuse.
 *
 *   SECRETD_DISK_ROOT     the directory; everything else passes by
 *   SECRETD_DISK_CONTROL  a file that holds a struct control; it may be changed at any time
 *   SECRETD_DISK_TRACE    a file that records are appended to: a struct record, then its bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, RENAME = 4, CREATE = 8, UNLINK = 16, RESIZE = 32, MKDIR = 64, SYNCDIR = 128 };
/* What only the trace knows: an open of a file that is there, and how a sync ended. */
enum { OPEN = 256, SYNCED = 512, SYNCFAILED = 1024, DIRSYNCED = 2048 };

struct control {
  uint32_t operations; /* which are refused, by the names above */
  uint32_t pass;       /* so many of them pass before that */
  uint32_t error;      /* errno of what is refused */
  uint32_t forever;    /* not only once */
  uint32_t sleep_ms;   /* how long each sync takes */
  uint32_t refused;    /* how many were refused; the only word that is written here */
  char path[104];      /* paths that contain this; all if it is empty */
};

struct record {
  uint32_t operation;
  uint32_t length; /* of the bytes that follow */
  uint64_t handle; /* of an open file: process and number */
  uint64_t offset; /* of a write; the size of a resize */
};

static volatile struct control *control;
static const char *root;
static int trace = -1;
static uint64_t handles[4096];
static uint64_t opened;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, ...) ((__typeof__(&name))real(#name))(__VA_ARGS__)

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  root = getenv("SECRETD_DISK_ROOT");
  const char *control_file = getenv("SECRETD_DISK_CONTROL"), *trace_file = getenv("SECRETD_DISK_TRACE");
  if (!root || !control_file || !trace_file) {
    root = NULL;
    return;
  }
  int fd = REAL(open64, control_file, O_RDWR | O_CLOEXEC);
  control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  trace = REAL(open64, trace_file, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0 || control == MAP_FAILED || trace < 0) abort();
  REAL(close, fd);
}

/* The path as it lies below the root; NULL if it does not. */
static const char *below(int dir, const char *path, char *buffer) {
  if (!root) return NULL;
  if (path[0] != '/') {
    char link[64], at[PATH_MAX] = "";
    if (dir == AT_FDCWD) {
      if (!getcwd(at, sizeof at)) return NULL;
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
      ssize_t n = readlink(link, at, sizeof at - 1);
      if (n < 0) return NULL;
      at[n] = 0;
    }
    if (snprintf(buffer, PATH_MAX, "%s/%s", at, path) >= PATH_MAX) return NULL;
    path = buffer;
  }
  size_t n = strlen(root);
  if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != 0)) return NULL;
  path += n;
  while (*path == '/') path++;
  return path;
}

static const char *path_of(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, buffer, PATH_MAX - 1);
  if (n < 0) return NULL;
  buffer[n] = 0;
  return below(AT_FDCWD, buffer, buffer);
}

static uint64_t handle_of(int fd) { return root && fd >= 0 && fd < 4096 ? handles[fd] : 0; }

static void note(uint32_t operation, uint64_t handle, uint64_t offset, const void *bytes, size_t length) {
  struct record record = {operation, (uint32_t)length, handle, offset};
  struct iovec parts[2] = {{&record, sizeof record}, {(void *)bytes, length}};
  if (writev(trace, parts, 2) != (ssize_t)(sizeof record + length)) abort();
}

/* Whether this is to be refused; errno says why. */
static int refuses(uint32_t operation, const char *path) {
  char wanted[104];
  memcpy(wanted, (const void *)control->path, sizeof wanted);
  if (!(control->operations & operation) || !strstr(path ? path : "", wanted)) return 0;
  if (control->pass > 0) {
    control->pass--;
    return 0;
  }
  if (!control->forever) control->operations = 0;
  control->refused++;
  errno = (int)control->error;
  return 1;
}

static int opens(int dir, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = below(dir, path, buffer);
  if (!name) return REAL(openat64, dir, path, flags, mode);
  pthread_mutex_lock(&lock);
  int fd = -1, writing = (flags & O_ACCMODE) != O_RDONLY;
  struct stat64 found;
  int there = REAL(fstatat64, dir, path, &found, 0) == 0;
  if (!(!there && writing && refuses(CREATE, name)))
    fd = REAL(openat64, dir, path, flags, mode);
  if (fd >= 0 && fd < 4096) {
    struct stat64 now;
    REAL(fstat64, fd, &now);
    handles[fd] = 0;
    if (S_ISREG(now.st_mode)) {
      handles[fd] = (uint64_t)getpid() << 32 | ++opened;
      note(there ? OPEN : CREATE, handles[fd], 0, name, strlen(name));
      if (there && flags & O_TRUNC) note(RESIZE, handles[fd], 0, NULL, 0);
    }
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

static mode_t mode_in(int flags, va_list more) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; }

#define OPENS(name)                                                                                                      \
  int name(const char *path, int flags, ...) {                                                                           \
    va_list more;                                                                                                        \
    va_start(more, flags);                                                                                               \
    mode_t mode = mode_in(flags, more);                                                                                  \
    va_end(more);                                                                                                        \
    return opens(AT_FDCWD, path, flags, mode);                                                                           \
  }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                                                   \
  int name(int dir, const char *path, int flags, ...) {                                                                  \
    va_list more;                                                                                                        \
    va_start(more, flags);                                                                                               \
    mode_t mode = mode_in(flags, more);                                                                                  \
    va_end(more);                                                                                                        \
    return opens(dir, path, flags, mode);                                                                                \
  }
OPENS_AT(openat)

int close(int fd) {
  if (root && fd >= 0 && fd < 4096) handles[fd] = 0;
  return REAL(close, fd);
}

/* Descriptors that are copied stand for the same file. */
#define COPIES(name)                                                                                                     \
  int name(int fd, int command, ...) {                                                                                   \
    va_list more;                                                                                                        \
    va_start(more, command);                                                                                             \
    void *argument = va_arg(more, void *);                                                                               \
    va_end(more);                                                                                                        \
    int result = REAL(name, fd, command, argument);                                                                      \
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && result >= 0 && result < 4096)                              \
      handles[result] = handle_of(fd);                                                                                   \
    return result;                                                                                                       \
  }
COPIES(fcntl)
COPIES(fcntl64)

static ssize_t writes(int fd, const void *bytes, size_t length, off64_t offset, int positioned) {
  char buffer[PATH_MAX];
  pthread_mutex_lock(&lock);
  ssize_t written = -1;
  if (!positioned)
    offset = fcntl(fd, F_GETFL) & O_APPEND ? lseek64(fd, 0, SEEK_END) : lseek64(fd, 0, SEEK_CUR);
  int refused = refuses(WRITE, path_of(fd, buffer)), error = errno;
  /* A disk that is full takes a part; one that fails takes nothing. */
  if (refused && error == ENOSPC && length > 1) length /= 2;
  if (!refused || error == ENOSPC)
    written = positioned ? REAL(pwrite64, fd, bytes, length, offset) : REAL(write, fd, bytes, length);
  if (written > 0) note(WRITE, handle_of(fd), (uint64_t)offset, bytes, (size_t)written);
  if (!refused) error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return refused ? -1 : written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  return handle_of(fd) ? writes(fd, bytes, length, 0, 0) : REAL(write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  return handle_of(fd) ? writes(fd, bytes, length, offset, 1) : REAL(pwrite64, fd, bytes, length, offset);
}

int ftruncate64(int fd, off64_t size) {
  if (!handle_of(fd)) return REAL(ftruncate64, fd, size);
  char buffer[PATH_MAX];
  pthread_mutex_lock(&lock);
  int result = refuses(RESIZE, path_of(fd, buffer)) ? -1 : REAL(ftruncate64, fd, size), error = errno;
  if (result == 0) note(RESIZE, handle_of(fd), (uint64_t)size, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

/* What was written before a sync began is safe when it ended. */
static int syncs(int fd, int (*sync)(int)) {
  char buffer[PATH_MAX];
  const char *path = root ? path_of(fd, buffer) : NULL;
  if (!path) return sync(fd);
  uint64_t handle = handle_of(fd);
  pthread_mutex_lock(&lock);
  int refused = refuses(handle ? SYNC : SYNCDIR, path), error = errno;
  uint32_t sleep_ms = control->sleep_ms;
  note(handle ? SYNC : SYNCDIR, handle, 0, path, strlen(path));
  pthread_mutex_unlock(&lock);
  struct timespec time = {sleep_ms / 1000, (long)(sleep_ms % 1000) * 1000000};
  if (sleep_ms) nanosleep(&time, NULL);
  int result = refused ? -1 : sync(fd);
  pthread_mutex_lock(&lock);
  note(result ? SYNCFAILED : handle ? SYNCED : DIRSYNCED, handle, 0, path, strlen(path));
  pthread_mutex_unlock(&lock);
  if (refused) errno = error;
  return result;
}

int fsync(int fd) { return syncs(fd, (int (*)(int))real("fsync")); }
int fdatasync(int fd) { return syncs(fd, (int (*)(int))real("fdatasync")); }

int rename(const char *from, const char *to) {
  char first[PATH_MAX], second[PATH_MAX], both[2 * PATH_MAX];
  const char *old = below(AT_FDCWD, from, first), *new = below(AT_FDCWD, to, second);
  if (!old || !new) return REAL(rename, from, to);
  pthread_mutex_lock(&lock);
  int result = refuses(RENAME, new) ? -1 : REAL(rename, from, to), error = errno;
  int length = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
  if (result == 0) note(RENAME, 0, 0, both, (size_t)length);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

/* Names that come and go. */
#define NAMES(operation, dir, path, call)                                                                                \
  char buffer[PATH_MAX];                                                                                                 \
  const char *name = below(dir, path, buffer);                                                                           \
  if (!name) return call;                                                                                                \
  pthread_mutex_lock(&lock);                                                                                             \
  int result = refuses(operation, name) ? -1 : call, error = errno;                                                      \
  if (result == 0) note(operation, 0, 0, name, strlen(name));                                                            \
  pthread_mutex_unlock(&lock);                                                                                           \
  errno = error;                                                                                                         \
  return result;

int unlink(const char *path) { NAMES(UNLINK, AT_FDCWD, path, REAL(unlink, path)) }
int unlinkat(int dir, const char *path, int flags) { NAMES(UNLINK, dir, path, REAL(unlinkat, dir, path, flags)) }
int rmdir(const char *path) { NAMES(UNLINK, AT_FDCWD, path, REAL(rmdir, path)) }
int mkdir(const char *path, mode_t mode) { NAMES(MKDIR, AT_FDCWD, path, REAL(mkdir, path, mode)) }
