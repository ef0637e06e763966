/*
 * Prints the addresses that getaddrinfo(3) finds for each name, one line each: "NAME ADDRESS ...", or "NAME failed: REASON".
 * Built once against glibc and once against musl: the two resolvers that Linux programs have.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

static void print_addresses(const char *name) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
  int error = getaddrinfo(name, NULL, &hints, &found);
  if (error != 0) {
    printf("%s failed: %s\n", name, gai_strerror(error));
    return;
  }
  printf("%s", name);
  for (struct addrinfo *at = found; at != NULL; at = at->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void *address = at->ai_family == AF_INET
                              ? (const void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
                              : (const void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
    printf(" %s", inet_ntop(at->ai_family, address, text, sizeof text));
  }
  printf("\n");
  freeaddrinfo(found);
}

int main(int count, char **names) {
  for (int i = 1; i < count; i++) print_addresses(names[i]);
  return 0;
}
