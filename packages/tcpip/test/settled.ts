/** Everything that was deferred, by microtask or `setImmediate`, has run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) {
    // oxlint-disable-next-line no-await-in-loop -- turns of the event loop come one after the other
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
