/** Where in the program something was opened. The stack is kept as it is, and read only when somebody asks. */

/** Says the place: the first line of the program's own, else of a library it uses. */
export type CallSite = () => string

// Between a program and its socket there may be a driver, a pool and half of node:http.
const FRAMES = 24
const OURS = /@netkit|packages\/(?:testnet|core|tcpip|dns|frames)\/(?:src|dist)\/(?!.*[.]test[.])/
const PLATFORM = /node:|<anonymous>/
const LIBRARY = /node_modules/

/** The present call stack's. */
export function callSite(): CallSite {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = FRAMES
  const here = new Error('opened')
  Error.stackTraceLimit = limit
  return () => placeIn(here.stack ?? '')
}

/** Exported for tests. */
export function placeIn(stack: string): string {
  const lines = stack
    .split('\n')
    .slice(1)
    .map((line) => line.trim().replace(/^at /, ''))
    .filter((line) => !OURS.test(line) && !PLATFORM.test(line))
  return lines.find((line) => !LIBRARY.test(line)) ?? lines[0] ?? 'a place that is not known'
}
