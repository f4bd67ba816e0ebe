/* The bare loop that dagrun is measured against: T threads start a program N times in all with
 * posix_spawn, read what it writes until end of file and drop it, and wait for it.
 *
 *   spawn_loop [-n] N T PROGRAM [ARGUMENT...]
 *
 * -n sends the output to /dev/null instead of a pipe. PROGRAM is a path. Prints the seconds taken. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static atomic_long left;
static char **program;
static int to_null;

static void fail(const char *what, int error) {
    fprintf(stderr, "spawn_loop: %s: %s\n", what, strerror(error));
    exit(1);
}

static void read_all(int fd) {
    static _Thread_local char buffer[65536];
    while (read(fd, buffer, sizeof buffer) > 0) {
    }
}

static void run_one(void) {
    int fds[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (to_null) {
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    } else {
        if (pipe2(fds, O_CLOEXEC) != 0) fail("pipe2", 0);
        posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    }
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid;
    int error = posix_spawn(&pid, program[0], &actions, NULL, program, environ);
    if (error != 0) fail(program[0], error);
    posix_spawn_file_actions_destroy(&actions);
    if (!to_null) {
        close(fds[1]);
        read_all(fds[0]);
        close(fds[0]);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid) fail("waitpid", 0);
}

static void *work(void *unused) {
    while (atomic_fetch_sub(&left, 1) > 0) run_one();
    return unused;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "-n") == 0) {
        to_null = 1;
        argc--;
        argv++;
    }
    if (argc < 4) {
        fprintf(stderr, "usage: spawn_loop [-n] N T PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    atomic_store(&left, atol(argv[1]));
    int threads = atoi(argv[2]);
    program = argv + 3;
    if (threads < 1 || threads > 1024) {
        fprintf(stderr, "spawn_loop: from 1 to 1024 threads\n");
        return 2;
    }
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_t ids[1024];
    for (int i = 0; i < threads; i++) {
        int error = pthread_create(&ids[i], NULL, work, NULL);
        if (error != 0) fail("pthread_create", error);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.4f\n", (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
