/*
 * netkit-portd: binds ports for one user, and nothing else.
 *
 *   serve   --uid N (--socket PATH | systemd | launchd)    a unix socket; each peer's user is checked
 *   child   --uid N                                        started by sudo: requests on fd 0, answers on fd 1
 *   connect SOCKET                                         unprivileged: carries Node's requests to `serve`
 *   launch  --uid N --gid N --bind tcp|udp/IP/PORT… -- CMD…  binds, becomes the user, runs CMD with LISTEN_FDS
 *
 * A request and an answer have one fixed size; there is nothing to parse. The descriptor travels by SCM_RIGHTS and is forgotten
 * here. On Linux `serve` and `child` become the user they serve at once and keep CAP_NET_BIND_SERVICE alone; on macOS, which has
 * no capabilities, they stay root. The program refuses to run with privileges from a path on which any component belongs to
 * anybody but root or is writable by others.
 *
 *   request   "NKPB" | u8 version 1 | u8 verb 1 (bind) | u8 6 tcp, 17 udp | u8 4, 6 | u32 id | u16 port | u16 flags (1 relay)
 *             | 16 address | 112 path of the relay's unix socket, or zeros                                      (big-endian)
 *   answer    "NKPB" | u8 version 1 | u8 0 | u16 0 | u32 id | u32 errno, 0 with the descriptor
 *
 * Towards Node (fd 1 of `child` and `connect`) the answer is a line of Node's own channel between processes, so that no native
 * module is needed there: {"cmd":"NODE_HANDLE",…} with the descriptor, or {"id":…,"errno":"…"}.
 *
 * Relay: where a descriptor cannot be passed on, a process with no privileges at all accepts, connects to the user's unix socket
 * as the user, announces the client by PROXY protocol v2, and copies both ways until the requester is gone.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#ifdef __APPLE__
#include <launch.h>
#include <mach-o/dyld.h>
#endif

enum { REQUEST = 144, ANSWER = 16, PATH_AT = 32, BACKLOG = 16384, MAX_PEERS = 16, IDLE_MS = 300000, MAX_BINDS = 64 };

struct request {
  uint8_t protocol, family;
  uint32_t id;
  uint16_t port, flags;
  const uint8_t *address;
  const char *path;
};

static void die(const char *what) {
  fprintf(stderr, "netkit-portd: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(77);
}

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static void put32(uint8_t *p, uint32_t v) {
  p[0] = v >> 24, p[1] = v >> 16, p[2] = v >> 8, p[3] = v;
}

/* ---- what may run ---- */

/* Root's code on root's path: whoever can write a component can choose what runs. */
static void check_own_path(void) {
  char path[PATH_MAX];
#ifdef __APPLE__
  char raw[PATH_MAX];
  uint32_t size = sizeof raw;
  if (_NSGetExecutablePath(raw, &size) != 0 || realpath(raw, path) == NULL) die("own path");
#else
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n < 0) die("own path");
  path[n] = 0;
#endif
  for (char *end = path + strlen(path);;) {
    struct stat s;
    const char *shown = *path ? path : "/";
    if (lstat(shown, &s) != 0) die(shown);
    errno = 0;
    if (s.st_uid != 0 || (s.st_mode & (S_IWGRP | S_IWOTH))) {
      fprintf(stderr, "netkit-portd: %s can be changed by others than root; install it in a directory of root's\n", shown);
      exit(77);
    }
    if (end == path) return;
    while (end > path && *end != '/') end--;
    *end = 0;
  }
}

/* Becomes the user. `keep` leaves CAP_NET_BIND_SERVICE (Linux); without it nothing is left. */
static void become(uid_t uid, gid_t gid, int keep) {
#ifdef __linux__
  if (keep && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) die("prctl");
#else
  if (keep) return;
#endif
  if (geteuid() == 0 && setgroups(0, NULL) != 0) die("setgroups");
  if (setgid(gid) != 0 || setuid(uid) != 0) die("cannot become the user");
#ifdef __linux__
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct caps[2] = {{0, 0, 0}, {0, 0, 0}};
  if (keep) caps[0].effective = caps[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  if (syscall(SYS_capset, &head, caps) != 0) die("capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("no_new_privs");
  /* The user's other processes must not reach into this one by ptrace. */
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
  if (uid != 0 && setuid(0) == 0) die("privileges came back");
  errno = 0;
}

static long group_of(uid_t uid) {
  struct passwd *user = getpwuid(uid);
  return user ? (long)user->pw_gid : (long)uid;
}

/* ---- requests ---- */

/* 0, or why the bytes are no request. */
static const char *read_request(const uint8_t *b, struct request *r) {
  if (memcmp(b, "NKPB", 4) != 0) return "no request of ours";
  if (b[4] != 1) return "another version";
  if (b[5] != 1) return "an unknown verb";
  r->protocol = b[6], r->family = b[7], r->id = get32(b + 8);
  r->port = b[12] << 8 | b[13], r->flags = b[14] << 8 | b[15];
  r->address = b + 16;
  r->path = (const char *)b + PATH_AT;
  if (r->protocol != IPPROTO_TCP && r->protocol != IPPROTO_UDP) return "an unknown protocol";
  if (r->family != 4 && r->family != 6) return "an unknown family";
  if (r->port == 0 || r->flags > 1) return "a field out of range";
  if (b[REQUEST - 1] != 0) return "a path without an end";
  if (strlen(r->path) >= sizeof((struct sockaddr_un *)0)->sun_path) return "a path that is too long";
  if ((r->flags & 1) && (r->path[0] != '/' || r->protocol != IPPROTO_TCP)) return "a relay without a place";
  return NULL;
}

/* A bound (for TCP: listening) descriptor, or -1 with errno. */
static int bind_port(const struct request *r) {
  struct sockaddr_storage a;
  socklen_t size;
  memset(&a, 0, sizeof a);
  if (r->family == 4) {
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    in->sin_family = AF_INET, in->sin_port = htons(r->port);
    memcpy(&in->sin_addr, r->address, 4);
    size = sizeof *in;
  } else {
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a;
    in->sin6_family = AF_INET6, in->sin6_port = htons(r->port);
    memcpy(&in->sin6_addr, r->address, 16);
    size = sizeof *in;
  }
  int fd = socket(a.ss_family, r->protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, r->protocol);
  if (fd < 0) return -1;
  int one = 1, saved;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (r->family == 6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  /* As libuv does for listeners: without it a port in TIME-WAIT could not be taken up again. */
  if (r->protocol == IPPROTO_TCP) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, size) == 0 && (r->protocol != IPPROTO_TCP || listen(fd, BACKLOG) == 0)) return fd;
  saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

static int send_with(int to, const void *bytes, size_t length, int fd) {
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec io = {(void *)bytes, length};
  struct msghdr m = {0};
  m.msg_iov = &io, m.msg_iovlen = 1;
  if (fd >= 0) {
    memset(control, 0, sizeof control);
    m.msg_control = control, m.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  ssize_t n;
  do n = sendmsg(to, &m, 0);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)length ? 0 : -1;
}

static const char *errno_name(uint32_t e) {
  switch (e) {
    case EACCES: return "EACCES";
    case EADDRINUSE: return "EADDRINUSE";
    case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case EPERM: return "EPERM";
    default: return "EINVAL";
  }
}

/* The answer in Node's own words. */
static int answer_node(int to, uint32_t id, uint32_t error, int udp, int family, int fd) {
  char line[160], unread[512];
  int n;
  if (fd < 0) n = snprintf(line, sizeof line, "{\"id\":%u,\"errno\":\"%s\"}\n", id, error ? errno_name(error) : "");
  else if (udp)
    n = snprintf(line, sizeof line, "{\"cmd\":\"NODE_HANDLE\",\"type\":\"dgram.Socket\",\"dgramType\":\"udp%d\",\"msg\":{\"id\":%u}}\n", family, id);
  else n = snprintf(line, sizeof line, "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"id\":%u}}\n", id);
  /* Node acknowledges every handle; nobody waits for that here. */
  while (recv(to, unread, sizeof unread, MSG_DONTWAIT) > 0) {
  }
  return send_with(to, line, n, fd);
}

static int answer_plain(int to, uint32_t id, uint32_t error, int fd) {
  uint8_t b[ANSWER] = {'N', 'K', 'P', 'B', 1};
  put32(b + 8, id), put32(b + 12, error);
  return send_with(to, b, sizeof b, fd);
}

/* 1 when `length` bytes are there, 0 at the end or after `timeout` ms of silence. */
static int read_all(int fd, uint8_t *into, size_t length, int timeout) {
  for (size_t got = 0; got < length;) {
    struct pollfd p = {fd, POLLIN, 0};
    int ready = poll(&p, 1, timeout);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return 0;
    ssize_t n = read(fd, into + got, length - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    got += n;
    /* What was begun is finished soon, or never. */
    timeout = 5000;
  }
  return 1;
}

/* ---- relay ---- */

static void copy_both(int a, int b) {
  static uint8_t room[2][65536];
  struct { int from, to; size_t start, end; int done; } way[2] = {{a, b, 0, 0, 0}, {b, a, 0, 0, 0}};
  while (!way[0].done || !way[1].done) {
    struct pollfd p[4];
    for (int i = 0; i < 2; i++) {
      int empty = way[i].start == way[i].end;
      p[2 * i] = (struct pollfd){way[i].done || !empty ? -1 : way[i].from, POLLIN, 0};
      p[2 * i + 1] = (struct pollfd){way[i].done || empty ? -1 : way[i].to, POLLOUT, 0};
    }
    if (poll(p, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    for (int i = 0; i < 2; i++) {
      if (p[2 * i].revents) {
        ssize_t n = read(way[i].from, room[i], sizeof room[i]);
        if (n < 0) return;
        if (n == 0) {
          way[i].done = 1;
          shutdown(way[i].to, SHUT_WR);
        }
        way[i].start = 0, way[i].end = n;
      }
      if (p[2 * i + 1].revents) {
        ssize_t n = write(way[i].to, room[i] + way[i].start, way[i].end - way[i].start);
        if (n < 0) return;
        way[i].start += n;
      }
    }
  }
}

static size_t proxy_header(int client, uint8_t *h) {
  static const uint8_t signature[12] = {13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10};
  struct sockaddr_storage from, to;
  socklen_t n = sizeof from, m = sizeof to;
  memcpy(h, signature, 12);
  h[12] = 0x21;
  if (getpeername(client, (struct sockaddr *)&from, &n) != 0 || getsockname(client, (struct sockaddr *)&to, &m) != 0) return 0;
  int v4 = from.ss_family == AF_INET;
  size_t size = v4 ? 4 : 16;
  struct sockaddr_in *f4 = (struct sockaddr_in *)&from, *t4 = (struct sockaddr_in *)&to;
  struct sockaddr_in6 *f6 = (struct sockaddr_in6 *)&from, *t6 = (struct sockaddr_in6 *)&to;
  h[13] = v4 ? 0x11 : 0x21, h[14] = 0, h[15] = 2 * size + 4;
  memcpy(h + 16, v4 ? (void *)&f4->sin_addr : (void *)&f6->sin6_addr, size);
  memcpy(h + 16 + size, v4 ? (void *)&t4->sin_addr : (void *)&t6->sin6_addr, size);
  memcpy(h + 16 + 2 * size, v4 ? &f4->sin_port : &f6->sin6_port, 2);
  memcpy(h + 18 + 2 * size, v4 ? &t4->sin_port : &t6->sin6_port, 2);
  return 20 + 2 * size;
}

static void die_with_parent(pid_t parent) {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  if (getppid() != parent) _exit(0);
}

/* A process that accepts on `listener` and carries every client to the unix socket at `path`. */
static void start_relay(int listener, const char *path, uid_t uid, gid_t gid) {
  pid_t parent = getpid(), pid = fork();
  if (pid != 0) return;
  become(uid, gid, 0);
  /* After the change of credentials, which would clear it. */
  die_with_parent(parent);
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      usleep(10000);
      continue;
    }
    pid_t self = getpid();
    if (fork() == 0) {
      die_with_parent(self);
      close(listener);
      struct sockaddr_un to = {.sun_family = AF_UNIX};
      memcpy(to.sun_path, path, strlen(path));
      int guest = socket(AF_UNIX, SOCK_STREAM, 0);
      uint8_t head[64];
      size_t n = proxy_header(client, head);
      struct linger hard = {1, 0};
      if (n == 0 || connect(guest, (struct sockaddr *)&to, sizeof to) != 0 || write(guest, head, n) != (ssize_t)n) {
        /* Refused shall look refused. */
        setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(client);
        _exit(0);
      }
      copy_both(client, guest);
      _exit(0);
    }
    close(client);
  }
}

/* ---- the ways to be started ---- */

/* Serves one requester until it goes. */
static void serve_requests(int in, int out, int node, uid_t uid, gid_t gid) {
  uint8_t b[REQUEST];
  struct request r;
  while (read_all(in, b, sizeof b, -1)) {
    const char *wrong = read_request(b, &r);
    errno = 0;
    if (wrong) {
      fprintf(stderr, "netkit-portd: %s; the requester is cut off\n", wrong);
      return;
    }
    int fd = bind_port(&r);
    uint32_t error = fd < 0 ? (uint32_t)errno : 0;
    if (fd >= 0 && (r.flags & 1)) {
      start_relay(fd, r.path, uid, gid);
      close(fd);
      fd = -1;
    }
    int failed = node ? answer_node(out, r.id, error, r.protocol == IPPROTO_UDP, r.family, fd) : answer_plain(out, r.id, error, fd);
    if (fd >= 0) close(fd);
    if (failed) return;
  }
}

static int peer_is(int fd, uid_t uid) {
#ifdef __linux__
  struct ucred c;
  socklen_t n = sizeof c;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) == 0 && c.uid == uid;
#else
  uid_t peer;
  gid_t group;
  return getpeereid(fd, &peer, &group) == 0 && peer == uid;
#endif
}

static int own_socket(const char *path, uid_t uid, gid_t gid) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof a.sun_path) die("the socket's path is too long");
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (slash == NULL) die("the socket's path is not absolute");
  *slash = 0;
  struct stat s;
  if (lstat(*dir ? dir : "/", &s) != 0) die(dir);
  errno = 0;
  if (s.st_uid != 0 || (s.st_mode & (S_IWGRP | S_IWOTH))) die("the socket's directory must be root's alone");
  strcpy(a.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(path);
  mode_t before = umask(0177);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) die(path);
  umask(before);
  if (chown(path, uid, gid) != 0 || listen(fd, MAX_PEERS) != 0) die(path);
  return fd;
}

static int serve(uid_t uid, gid_t gid, const char *path) {
  int listener = -1, activated = 0;
  if (path) listener = own_socket(path, uid, gid);
#ifdef __APPLE__
  else {
    int *fds;
    size_t count;
    if (launch_activate_socket("Listener", &fds, &count) == 0 && count > 0) listener = fds[0], activated = 1;
  }
#else
  else {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    if (pid && fds && atoi(pid) == getpid() && atoi(fds) >= 1) listener = 3, activated = 1;
  }
#endif
  errno = 0;
  if (listener < 0) die("serve needs --socket PATH, or to be started by systemd or launchd");
  fcntl(listener, F_SETFD, FD_CLOEXEC);
  become(uid, gid, 1);
  int peers = 0;
  for (;;) {
    while (peers > 0 && waitpid(-1, NULL, WNOHANG) > 0) peers--;
    struct pollfd p = {listener, POLLIN, 0};
    int ready = poll(&p, 1, peers > 0 ? 1000 : activated ? IDLE_MS : -1);
    /* Started by a connection, started again by the next one. */
    if (ready == 0 && peers == 0 && activated) return 0;
    if (ready <= 0) continue;
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) continue;
    if (peers >= MAX_PEERS || !peer_is(peer, uid)) {
      close(peer);
      continue;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
      die_with_parent(parent);
      close(listener);
      serve_requests(peer, peer, 0, uid, gid);
      _exit(0);
    }
    if (pid > 0) peers++;
    close(peer);
  }
}

/* Between Node and `serve`; without any privilege. */
static int bridge(const char *path) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof a.sun_path) die("the socket's path is too long");
  strcpy(a.sun_path, path);
  int helper = socket(AF_UNIX, SOCK_STREAM, 0);
  if (helper < 0 || connect(helper, (struct sockaddr *)&a, sizeof a) != 0) die(path);
  for (;;) {
    uint8_t b[REQUEST], answer[ANSWER];
    char control[CMSG_SPACE(sizeof(int))];
    /* The helper's end is watched too: its death must be known at once, not at the next request. */
    struct pollfd p[2] = {{0, POLLIN, 0}, {helper, POLLIN, 0}};
    if (poll(p, 2, -1) < 0) continue;
    if (p[1].revents) die("the helper hung up");
    if (!read_all(0, b, sizeof b, -1)) return 0;
    if (write(helper, b, sizeof b) != sizeof b) die("the helper hung up");
    struct iovec io = {answer, sizeof answer};
    struct msghdr m = {0};
    m.msg_iov = &io, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
    ssize_t n;
    do n = recvmsg(helper, &m, 0);
    while (n < 0 && errno == EINTR);
    errno = 0;
    if (n != ANSWER || memcmp(answer, "NKPB\1", 5) != 0) die("the helper hung up");
    int fd = -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (answer_node(1, get32(answer + 8), get32(answer + 12), b[6] == IPPROTO_UDP, b[7], fd)) return 0;
    if (fd >= 0) close(fd);
  }
}

static int launch(uid_t uid, gid_t gid, char **binds, int count, char **command) {
  char names[4096] = "", text[32];
  for (int i = 0; i < count; i++) {
    char protocol[4] = "", ip[64] = "";
    unsigned port = 0;
    uint8_t address[16] = {0};
    if (sscanf(binds[i], "%3[a-z]/%63[0-9a-fA-F:.]/%u", protocol, ip, &port) != 3 || port == 0 || port > 65535) die("--bind wants tcp|udp/IP/PORT");
    int v6 = strchr(ip, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, ip, address) != 1) die("--bind wants an IP address");
    struct request r = {strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP, v6 ? 6 : 4, 0, port, 0, address, ""};
    int fd = bind_port(&r);
    if (fd < 0) die(binds[i]);
    /* systemd's convention: the descriptors follow each other from 3 on (sd_listen_fds(3)). */
    if (fd != 3 + i) {
      if (dup2(fd, 3 + i) < 0) die("dup2");
      close(fd);
    }
    fcntl(3 + i, F_SETFD, 0);
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? "," : "", binds[i]);
  }
  snprintf(text, sizeof text, "%d", count);
  setenv("LISTEN_FDS", text, 1);
  snprintf(text, sizeof text, "%d", (int)getpid());
  setenv("LISTEN_PID", text, 1);
  setenv("NETKIT_LISTEN_FDS", names, 1);
  become(uid, gid, 0);
  execvp(command[0], command);
  die(command[0]);
  return 77;
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "", *path = NULL;
  long uid = -1, gid = -1;
  char *binds[MAX_BINDS], **command = NULL;
  int count = 0;
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  if (strcmp(verb, "connect") == 0 && argc == 3) return bridge(argv[2]);
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--") == 0 && i + 1 < argc) {
      command = argv + i + 1;
      break;
    }
    if (i + 1 >= argc) die("an option without its value");
    if (strcmp(argv[i], "--uid") == 0) uid = strtol(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--gid") == 0) gid = strtol(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--socket") == 0) path = argv[++i];
    else if (strcmp(argv[i], "--bind") == 0 && count < MAX_BINDS) binds[count++] = argv[++i];
    else die("usage: netkit-portd serve|child|connect|launch; see the head of netkit-portd.c");
  }
  if (uid < 0) die("--uid is missing: the helper serves one user");
  if (gid < 0) gid = group_of(uid);
  errno = 0;
  check_own_path();
  if (strcmp(verb, "serve") == 0) return serve(uid, gid, path);
  if (strcmp(verb, "child") == 0) {
    const char *sudo = getenv("SUDO_UID");
    /* sudo says who asked; somebody else's ports are none of his business. */
    if (sudo && strtol(sudo, NULL, 10) != uid) die("--uid is not the user who called sudo");
    become(uid, gid, 1);
    serve_requests(0, 1, 1, uid, gid);
    return 0;
  }
  if (strcmp(verb, "launch") == 0 && command) return launch(uid, gid, binds, count, command);
  die("usage: netkit-portd serve|child|connect|launch; see the head of netkit-portd.c");
}
