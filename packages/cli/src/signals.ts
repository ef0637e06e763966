/** SIGINT and SIGTERM as an AbortSignal. */

const signals = ['SIGINT', 'SIGTERM'] as const

/** Aborts on the first SIGINT or SIGTERM; a second one ends the process at once, as people expect. */
export function untilSignal(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController()
  const abort = (name: NodeJS.Signals): void => {
    // The default action is back in force for the next one.
    for (const signal of signals) process.off(signal, abort)
    controller.abort(new Error(`ended by ${name}`))
  }
  for (const signal of signals) process.on(signal, abort)
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, abort)
    },
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
