import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { describeAs, fleetConformance } from './conformance.testkit.ts'
import { gatewayId } from './gateway-id.ts'
import { LoneFleet } from './lone-fleet.ts'

const lone = (id: string, say = describeAs({ isDraining: false, sessions: 0 })): LoneFleet =>
  new LoneFleet({ id: gatewayId(id), version: '1.2.3', describe: say, clock: new ManualClock() })

describe('the fleet of one gateway', () => {
  fleetConformance(lone)

  it('whoever else is named has gone', async () => {
    expect(await lone('a').gone([gatewayId('a'), gatewayId('b')])).toEqual(new Set(['b']))
  })
})
