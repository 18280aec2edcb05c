/* Shifts the wall clock of a process and of its children: see clock.py.
 *
 * Preloaded by the dynamic linker. The shift is read from a file at each call, so that it can change while servers run.
 * The monotonic clock, timers and sleeps stay as they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

static const volatile int64_t *shift_ns;

/* Takes the shift from this file from now on: eight bytes, nanoseconds. */
void follow_clock_file(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift_ns, PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) {
    perror(path);
    abort();
  }
  close(file);
  shift_ns = page;
}

__attribute__((constructor)) static void follow_clock_of_parent(void) {
  const char *path = getenv("TEST_CLOCK_FILE");
  if (path != NULL) follow_clock_file(path);
}

static void add(struct timespec *moment, int64_t ns) {
  int64_t sum = moment->tv_sec * NS_PER_S + moment->tv_nsec + ns;
  moment->tv_sec = sum / NS_PER_S;
  moment->tv_nsec = sum % NS_PER_S;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*original)(clockid_t, struct timespec *);
  if (original == NULL) original = dlsym(RTLD_NEXT, "clock_gettime");
  int result = original(clock, now);
  if (result == 0 && shift_ns != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) add(now, *shift_ns);
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  int result = clock_gettime(CLOCK_REALTIME, &exact);
  if (result == 0) *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
  return result;
}

time_t time(time_t *seconds) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (seconds != NULL) *seconds = exact.tv_sec;
  return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* Builds of Python for old systems wait for locks until a moment of the wall clock, which the kernel compares with its own. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  static int (*original)(sem_t *, const struct timespec *);
  if (original == NULL) original = dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec real = *until;
  if (shift_ns != NULL) add(&real, -*shift_ns);
  return original(semaphore, &real);
}
