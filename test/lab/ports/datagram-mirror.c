/* Answers every datagram with its sender's address and port, as this kernel sees them, and the datagram: "198.18.0.7 4711 text". */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
  int fd = socket(AF_INET6, SOCK_DGRAM, 0), off = 0;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (argc != 2 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0) return perror("usage: datagram-mirror PORT"), 1;
  /* Whoever waits for the parent knows that the port is bound. */
  if (fork() != 0) return 0;
  for (int i = 0; i < 3; i++) close(i);
  for (;;) {
    struct sockaddr_in6 from;
    socklen_t size = sizeof from;
    char text[65536], answer[66000], ip[INET6_ADDRSTRLEN];
    ssize_t length = recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &size);
    if (length < 0) continue;
    if (IN6_IS_ADDR_V4MAPPED(&from.sin6_addr)) inet_ntop(AF_INET, from.sin6_addr.s6_addr + 12, ip, sizeof ip);
    else inet_ntop(AF_INET6, &from.sin6_addr, ip, sizeof ip);
    int head = snprintf(answer, sizeof answer, "%s %d ", ip, ntohs(from.sin6_port));
    memcpy(answer + head, text, length);
    sendto(fd, answer, head + length, 0, (struct sockaddr *)&from, size);
  }
}
