/** One TCP connection. */
export interface TcpConnection {
  run(): void
}
