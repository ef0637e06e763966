import { describe, test } from 'vitest'
import { systemClock } from './clock.ts'
import { clockCompliance, randomCompliance } from './compliance/index.ts'
import { ManualClock } from './manual-clock.ts'
import { seededRandom, systemRandom } from './random.ts'

clockCompliance(
  { describe, test },
  {
    name: 'system clock',
    setup: () => ({
      clock: systemClock,
      pass: (ms) =>
        new Promise((resolve) => {
          setTimeout(resolve, ms)
        }),
    }),
  },
)

clockCompliance(
  { describe, test },
  {
    name: 'manual clock',
    setup() {
      const clock = new ManualClock()
      return { clock, pass: (ms) => clock.advance(ms) }
    },
  },
)

randomCompliance({ describe, test }, { name: 'system', setup: () => ({ random: systemRandom }) })

randomCompliance(
  { describe, test },
  { name: 'seeded', setup: () => ({ random: seededRandom(7), twin: seededRandom(7) }) },
)
