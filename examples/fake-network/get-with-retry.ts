/** The program under test. It knows nothing of test networks. */

import { setTimeout as wait } from 'node:timers/promises'

/** The body behind a URL; tries again after a failure or five seconds of silence, a little later each time. */
export async function getWithRetry(url: string, attempts = 5): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5000) })
      return await response.text()
    } catch (error) {
      if (attempt === attempts) throw error
      await wait(1000 * 2 ** (attempt - 1))
    }
  }
}
