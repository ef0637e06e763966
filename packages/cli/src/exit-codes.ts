/** What `netkit` exits with; part of the command's interface. */
export const exitCodes = {
  /** All went well; a gateway was ended by SIGINT or SIGTERM. */
  ok: 0,
  /** Something failed while running: a step of the tour, the guest, the network. */
  failed: 1,
  /** The command line or the configuration is wrong: nothing was started. */
  usage: 2,
} as const

/** One of `exitCodes`. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]
