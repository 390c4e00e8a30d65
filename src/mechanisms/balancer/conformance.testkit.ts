import { afterEach, describe } from 'vitest'
import { describeFollowing, describeMoves } from './conformance-following.testkit.ts'
import {
  announcement,
  type ConformanceSettings,
  SETTINGS,
  type StoreUnderTest,
} from './conformance-kit.testkit.ts'
import { describeFailures, describeOrigins } from './conformance-origins.testkit.ts'
import { describePicks } from './conformance-picks.testkit.ts'
import { describePins, describePlacement } from './conformance-placement.testkit.ts'
import { describeHlsSessions, describeSessions } from './conformance-sessions.testkit.ts'

export { announcement, type ConformanceSettings, type StoreUnderTest }

/** Runs the suite that every balancer store meets. */
export function describeBalancerStore(
  name: string,
  create: (settings: ConformanceSettings) => Promise<StoreUnderTest>,
): void {
  describe(`${name} meets the balancer contract`, () => {
    const opened: StoreUnderTest[] = []
    const open = async (settings: Partial<ConformanceSettings> = {}): Promise<StoreUnderTest> => {
      const made = await create({ ...SETTINGS, ...settings })
      opened.push(made)
      return made
    }
    afterEach(async () => {
      for (const made of opened.splice(0)) await made.close()
    })

    describeOrigins(open)
    describePicks(open)
    describePlacement(open)
    describePins(open)
    describeFollowing(open)
    describeMoves(open)
    describeFailures(open)
    describeSessions(open)
    describeHlsSessions(open)
  })
}
