/*
 * load: the benchmark's small clients and their server, one binary. Every client prints one JSON line.
 *
 *   load serve PORT                          PORT: TCP and UDP echo; PORT+1: TCP, 64 B request, 1 KiB reply, close;
 *                                            PORT+2: UDP sink that answers "?" with its count; PORT+3: UDP source on request
 *   load rr tcp|udp HOST PORT SECONDS        ping-pong of 1 B (16 B over UDP): round-trip times
 *   load connect HOST PORT SECONDS PARALLEL  connect, request, reply, close, PARALLEL at a time
 *   load hold HOST PORT COUNT                opens COUNT connections, one echo on each, prints, holds them until stdin ends
 *   load udp up|down HOST PORT SECONDS BYTES RATE   datagrams per second, 0 = as many as go
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ECHO = 0, REPLY = 1, SINK = 2, SOURCE = 3, REQUEST_BYTES = 64, REPLY_BYTES = 1024, MAX_EVENTS = 256, MAX_FILES = 1 << 20 };

static uint8_t buffer[65536];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in address(const char *host, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
    fprintf(stderr, "load: %s is not an address\n", host);
    exit(2);
  }
  return a;
}

static int open_socket(int type) {
  int s = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  int one = 1, room = 4 << 20;
  if ((type & 0xf) == SOCK_STREAM) {
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  } else {
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  }
  return s;
}

static int connected(int type, const char *host, int port) {
  int s = open_socket(type);
  struct sockaddr_in to = address(host, port);
  if (connect(s, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
  struct timeval limit = {.tv_sec = 2};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return s;
}

static void allow_many_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) fail("RLIMIT_NOFILE");
}

/* Percentiles in microseconds of samples in seconds. */
static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
static double *samples;
static size_t sample_count, sample_room;
static void sample(double seconds) {
  if (sample_count == sample_room) samples = realloc(samples, (sample_room = sample_room * 2 + 4096) * sizeof *samples);
  samples[sample_count++] = seconds;
}
static double percentile(double share) {
  if (sample_count == 0) return 0;
  return samples[(size_t)(share * (double)(sample_count - 1))] * 1e6;
}
static void print_samples(double seconds, long failed) {
  qsort(samples, sample_count, sizeof *samples, by_value);
  printf("{\"count\":%zu,\"perSecond\":%.1f,\"p50\":%.1f,\"p99\":%.1f,\"failed\":%ld}\n", sample_count,
         (double)sample_count / seconds, percentile(0.5), percentile(0.99), failed);
}

/* ---- the server: one epoll loop; the kind of a connection lies in the upper half of the event's data */

static int listener(int type, int port) {
  int s = open_socket(type | SOCK_NONBLOCK);
  struct sockaddr_in at = address("0.0.0.0", port);
  if (bind(s, (struct sockaddr *)&at, sizeof at) < 0) fail("bind");
  if (type == SOCK_STREAM && listen(s, 4096) < 0) fail("listen");
  return s;
}

static void watch(int epoll, int s, int kind) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | (uint32_t)s};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event) < 0) fail("epoll_ctl");
}

/* Sends what the request asks for: "SECONDS BYTES RATE". */
static void send_datagrams(int s, const struct sockaddr_in *to, double seconds, int bytes, long rate) {
  double start = now();
  long sent = 0;
  memset(buffer, 'x', sizeof buffer);
  for (double t = start; t - start < seconds; t = now()) {
    long due = rate == 0 ? sent + 64 : (long)((t - start) * (double)rate);
    for (; sent < due; sent++)
      if (sendto(s, buffer, (size_t)bytes, 0, (const struct sockaddr *)to, to ? sizeof *to : 0) < 0 && rate == 0) break;
    if (rate != 0) usleep(200);
  }
  printf("{\"sent\":%ld}\n", sent);
}

static int serve(int port) {
  enum { LISTEN_ECHO = 10, LISTEN_REPLY, UDP_ECHO, UDP_SINK, UDP_SOURCE };
  allow_many_files();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener(SOCK_STREAM, port + ECHO), LISTEN_ECHO);
  watch(epoll, listener(SOCK_STREAM, port + REPLY), LISTEN_REPLY);
  watch(epoll, listener(SOCK_DGRAM, port + ECHO), UDP_ECHO);
  watch(epoll, listener(SOCK_DGRAM, port + SINK), UDP_SINK);
  watch(epoll, listener(SOCK_DGRAM, port + SOURCE), UDP_SOURCE);
  long count = 0;
  struct epoll_event events[MAX_EVENTS];
  for (;;) {
    int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      int s = (int)(events[i].data.u64 & 0xffffffff), kind = (int)(events[i].data.u64 >> 32);
      struct sockaddr_in from;
      socklen_t size = sizeof from;
      ssize_t n;
      switch (kind) {
        case LISTEN_ECHO:
        case LISTEN_REPLY:
          for (int c; (c = accept4(s, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
            int one = 1;
            setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(epoll, c, kind == LISTEN_ECHO ? ECHO : REPLY);
          }
          break;
        case ECHO:
          n = read(s, buffer, sizeof buffer);
          if (n <= 0) close(s);
          else if (write(s, buffer, (size_t)n) < 0) close(s);
          break;
        case REPLY:
          n = read(s, buffer, sizeof buffer);
          if (n > 0 && write(s, buffer, REPLY_BYTES) < 0) perror("reply");
          close(s);
          break;
        case UDP_ECHO:
          while ((n = recvfrom(s, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &size)) >= 0)
            sendto(s, buffer, (size_t)n, 0, (struct sockaddr *)&from, size);
          break;
        case UDP_SINK:
          while ((n = recvfrom(s, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &size)) >= 0) {
            if (n > 1) {
              count++;
              continue;
            }
            char text[32];
            int length = snprintf(text, sizeof text, "%ld", count);
            sendto(s, text, (size_t)length, 0, (struct sockaddr *)&from, size);
            count = 0;
          }
          break;
        default: {
          n = recvfrom(s, buffer, sizeof buffer - 1, 0, (struct sockaddr *)&from, &size);
          double seconds;
          int bytes;
          long rate;
          if (n <= 0) break;
          buffer[n] = 0;
          if (sscanf((char *)buffer, "%lf %d %ld", &seconds, &bytes, &rate) != 3) break;
          if (fork() == 0) {
            send_datagrams(s, &from, seconds, bytes, rate);
            _exit(0);
          }
        }
      }
    }
  }
}

/* ---- the clients */

static int usage(void) {
  fprintf(stderr, "usage: see the head of load.c\n");
  return 2;
}

static int round_trips(bool tcp, const char *host, int port, double seconds) {
  int s = connected(tcp ? SOCK_STREAM : SOCK_DGRAM, host, port + ECHO);
  size_t bytes = tcp ? 1 : 16;
  long failed = 0;
  double start = now(), t = start;
  while (t - start < seconds) {
    if (send(s, buffer, bytes, 0) < 0 || recv(s, buffer, sizeof buffer, 0) <= 0) failed++;
    double end = now();
    sample(end - t);
    t = end;
  }
  print_samples(seconds, failed);
  return 0;
}

static int connections(const char *host, int port, double seconds, int parallel) {
  allow_many_files();
  struct sockaddr_in to = address(host, port + REPLY);
  if (parallel > 10000) return usage();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  double *started = calloc(MAX_FILES, sizeof *started);
  size_t *received = calloc(MAX_FILES, sizeof *received);
  int open = 0;
  long failed = 0;
  double start = now();
  struct epoll_event events[MAX_EVENTS];
  while (now() - start < seconds || open > 0) {
    for (; open < parallel && now() - start < seconds; open++) {
      int s = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
      started[s] = now();
      received[s] = 0;
      if (connect(s, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) fail("connect");
      struct epoll_event event = {.events = EPOLLOUT, .data.fd = s};
      epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event);
    }
    int ready = epoll_wait(epoll, events, MAX_EVENTS, 2000);
    if (ready == 0) break; /* What hangs for two seconds has failed. */
    for (int i = 0; i < ready; i++) {
      int s = events[i].data.fd;
      bool done = false, bad = false;
      if (events[i].events & EPOLLOUT) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = s};
        bad = send(s, buffer, REQUEST_BYTES, MSG_NOSIGNAL) < 0;
        epoll_ctl(epoll, EPOLL_CTL_MOD, s, &event);
      } else {
        ssize_t n = read(s, buffer, sizeof buffer);
        if (n > 0) received[s] += (size_t)n;
        done = n == 0 && received[s] == REPLY_BYTES;
        bad = n < 0 || (n == 0 && !done);
      }
      if (done) sample(now() - started[s]);
      if (bad) failed++;
      if (done || bad) {
        close(s);
        open--;
      }
    }
  }
  print_samples(seconds, failed + open);
  return 0;
}

static int hold(const char *host, int port, int count) {
  allow_many_files();
  struct sockaddr_in to = address(host, port + ECHO);
  int *held = calloc((size_t)count, sizeof *held), echoed = 0;
  double start = now();
  struct timeval limit = {.tv_sec = 2};
  for (int i = 0; i < count; i++) {
    held[i] = open_socket(SOCK_STREAM);
    setsockopt(held[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(held[i], (struct sockaddr *)&to, sizeof to) < 0) break;
    if (send(held[i], buffer, 1, MSG_NOSIGNAL) == 1 && recv(held[i], buffer, 1, 0) == 1) echoed++;
  }
  printf("{\"echoed\":%d,\"seconds\":%.3f}\n", echoed, now() - start);
  fflush(stdout);
  while (read(0, buffer, sizeof buffer) > 0) {}
  return 0;
}

static int datagrams(bool up, const char *host, int port, double seconds, int bytes, long rate) {
  if (up) {
    int s = connected(SOCK_DGRAM, host, port + SINK);
    send(s, "?", 1, 0); /* The count starts anew. */
    recv(s, buffer, sizeof buffer, 0);
    send_datagrams(s, NULL, seconds, bytes, rate);
    usleep(300000);
    send(s, "?", 1, 0);
    ssize_t n = recv(s, buffer, sizeof buffer - 1, 0);
    buffer[n > 0 ? n : 0] = 0;
    printf("{\"received\":%ld}\n", atol((char *)buffer));
    return 0;
  }
  int s = connected(SOCK_DGRAM, host, port + SOURCE);
  char request[64];
  int length = snprintf(request, sizeof request, "%f %d %ld", seconds, bytes, rate);
  send(s, request, (size_t)length, 0);
  struct timeval limit = {.tv_sec = 1};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  long received = 0;
  for (double end = now() + seconds + 1; now() < end && recv(s, buffer, sizeof buffer, 0) > 0;) received++;
  printf("{\"received\":%ld}\n", received);
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "serve") == 0 && argc == 3) return serve(atoi(argv[2]));
  if (strcmp(what, "rr") == 0 && argc == 6) return round_trips(strcmp(argv[2], "tcp") == 0, argv[3], atoi(argv[4]), atof(argv[5]));
  if (strcmp(what, "connect") == 0 && argc == 6) return connections(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]));
  if (strcmp(what, "hold") == 0 && argc == 5) return hold(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (strcmp(what, "udp") == 0 && argc == 8)
    return datagrams(strcmp(argv[2], "up") == 0, argv[3], atoi(argv[4]), atof(argv[5]), atoi(argv[6]), atol(argv[7]));
  return usage();
}
