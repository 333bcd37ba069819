/* Shifts the wall clock of the processes that preload it by the nanoseconds in the file that EARMARK's drill names
 * in DRILL_CLOCK. The monotonic clock stays. Waits until a wall-clock time are given to the kernel in its own time.
 * A wait that has begun before a jump is not moved by it, as the kernel would do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
/* Deadlines beyond this are wall-clock times: no machine has been up for so long. */
#define LONGEST_UPTIME_SECONDS 1000000000

static const int64_t none = 0;
static const volatile int64_t *offset = &none;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);

static void find_real(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_syscall = dlsym(RTLD_NEXT, "syscall");
}

__attribute__((constructor)) static void open_offset(void) {
    find_real();
    const char *path = getenv("DRILL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset = page;
    close(file);
}

static void shift(struct timespec *time, int64_t by) {
    int64_t moved = time->tv_sec * SECOND + time->tv_nsec + by;
    time->tv_sec = moved / SECOND;
    time->tv_nsec = moved % SECOND;
}

static struct timespec in_kernel_time(const struct timespec *deadline) {
    struct timespec moved = *deadline;
    shift(&moved, -*offset);
    return moved;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime) find_real();
    int result = real_clock_gettime(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(now, *offset);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec time;
    if (clock_gettime(CLOCK_REALTIME, &time)) return -1;
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec time;
    if (clock_gettime(CLOCK_REALTIME, &time)) return -1;
    if (now) *now = time.tv_sec;
    return time.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    if (deadline->tv_sec < LONGEST_UPTIME_SECONDS)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, deadline);
    struct timespec moved = in_kernel_time(deadline);
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &moved);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    struct timespec moved = in_kernel_time(deadline);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &moved);
}

/* gRPC waits with futexes of its own. */
long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    struct timespec moved;
    if (number == SYS_futex && arguments[1] & FUTEX_CLOCK_REALTIME && arguments[3]) {
        moved = in_kernel_time((const struct timespec *)arguments[3]);
        arguments[3] = (long)&moved;
    }
    if (!real_syscall) find_real();
    return real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
