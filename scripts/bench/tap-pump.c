/*
 * tap-pump: joins a TAP device in a network namespace to a unix stream socket in QEMU's framing
 * (u32 big-endian length, then the frame). The kernel of that namespace is the benchmark's guest.
 *
 *   tap-pump NETNS TAP MTU connect|listen SOCKET
 *
 * Frames from the TAP are gathered and written in one call; frames from the socket are written to the TAP one by one,
 * as a TAP wants them. Ends when the socket does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LENGTH_PREFIX = 4, MAX_FRAME = 65600, GATHER = 256 * 1024 };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int open_tap(const char *netns, const char *name, int mtu) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", netns);
  int ns = open(path, O_RDONLY | O_CLOEXEC);
  if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail(path);
  close(ns);
  int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) fail("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(tap, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_mtu = mtu;
  if (ioctl(s, SIOCSIFMTU, &request) < 0) fail("SIOCSIFMTU");
  /* The queue drops when it is full, where a virtio queue would push back: make that rare. */
  request.ifr_qlen = 10000;
  if (ioctl(s, SIOCSIFTXQLEN, &request) < 0) fail("SIOCSIFTXQLEN");
  if (ioctl(s, SIOCGIFFLAGS, &request) < 0) fail("SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP;
  if (ioctl(s, SIOCSIFFLAGS, &request) < 0) fail("SIOCSIFFLAGS");
  close(s);
  return tap;
}

static int open_socket(const char *how, const char *path) {
  int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strncpy(at.sun_path, path, sizeof at.sun_path - 1);
  if (strcmp(how, "connect") == 0) {
    /* The file exists a moment before anybody listens there. */
    for (int tries = 0; connect(s, (struct sockaddr *)&at, sizeof at) < 0; tries++) {
      if (tries == 100) fail(path);
      usleep(20000);
    }
    return s;
  }
  unlink(path);
  if (bind(s, (struct sockaddr *)&at, sizeof at) < 0 || chmod(path, 0666) < 0 || listen(s, 1) < 0) fail(path);
  int peer = accept4(s, NULL, NULL, SOCK_CLOEXEC);
  if (peer < 0) fail("accept");
  close(s);
  return peer;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: tap-pump NETNS TAP MTU connect|listen SOCKET\n");
    return 2;
  }
  int link = open_socket(argv[4], argv[5]);
  int tap = open_tap(argv[1], argv[2], atoi(argv[3]));
  if (fcntl(link, F_SETFL, O_NONBLOCK) < 0) fail("O_NONBLOCK");

  static uint8_t out[GATHER + MAX_FRAME + LENGTH_PREFIX], in[GATHER + MAX_FRAME];
  size_t out_start = 0, out_end = 0, in_end = 0;
  for (;;) {
    struct pollfd wait[2] = {
        {.fd = tap, .events = out_end == 0 ? POLLIN : 0},
        {.fd = link, .events = POLLIN | (out_end > out_start ? POLLOUT : 0)},
    };
    if (poll(wait, 2, -1) < 0) fail("poll");

    if (out_end == 0 && (wait[0].revents & POLLIN)) {
      while (out_end < GATHER) {
        ssize_t n = read(tap, out + out_end + LENGTH_PREFIX, MAX_FRAME);
        if (n <= 0) break;
        uint32_t length = htonl((uint32_t)n);
        memcpy(out + out_end, &length, LENGTH_PREFIX);
        out_end += LENGTH_PREFIX + (size_t)n;
      }
    }
    if (out_end > out_start) {
      ssize_t n = write(link, out + out_start, out_end - out_start);
      if (n < 0 && errno != EAGAIN) fail("write to the socket");
      if (n > 0) out_start += (size_t)n;
      if (out_start == out_end) out_start = out_end = 0;
    }

    if (wait[1].revents & (POLLIN | POLLHUP)) {
      ssize_t n = read(link, in + in_end, sizeof in - in_end);
      if (n == 0) return 0;
      if (n < 0 && errno != EAGAIN) fail("read from the socket");
      if (n > 0) in_end += (size_t)n;
      size_t at = 0;
      while (in_end - at >= LENGTH_PREFIX) {
        uint32_t length;
        memcpy(&length, in + at, LENGTH_PREFIX);
        length = ntohl(length);
        if (length > MAX_FRAME) {
          fprintf(stderr, "tap-pump: a frame of %u bytes\n", length);
          return 1;
        }
        if (in_end - at - LENGTH_PREFIX < length) break;
        if (write(tap, in + at + LENGTH_PREFIX, length) < 0 && errno != EAGAIN && errno != EINVAL) fail("write to the TAP");
        at += LENGTH_PREFIX + length;
      }
      memmove(in, in + at, in_end - at);
      in_end -= at;
    }
  }
}
