import { expect, it } from 'vitest'
import type { CloseOptions, Lifecycle } from '../../foundation/lifecycle.ts'
import type { Fleet, FleetMember } from './contract.ts'
import { gatewayId } from './gateway-id.ts'
import type { Describe } from './lone-fleet.ts'

export type TestedFleet = Fleet & Lifecycle & { announce(): Promise<void> }

/** What a test says of its gateway, and may change. */
export interface Said {
  isDraining: boolean
  sessions: number
}

export const describeAs =
  (said: Said): Describe =>
  () => ({
    addresses: { http: ['127.0.0.1:8080'] },
    isDraining: said.isDraining,
    load: { sessions: said.sessions, allocations: 2, tunnelClients: 3, cpu: 0.25, memoryBytes: 1e8 },
  })

/** What every fleet does, seen from a gateway that is alone in it. `make` gives one that has not started. */
export function fleetConformance(make: (id: string, describe: Describe) => TestedFleet): void {
  const open = async (): Promise<{ readonly fleet: TestedFleet; readonly said: Said }> => {
    const said = { isDraining: false, sessions: 1 }
    const fleet = make('gw-1', describeAs(said))
    await fleet.start()
    await fleet.start()
    return { fleet, said }
  }
  const close = (fleet: Lifecycle, options?: CloseOptions): Promise<void> => fleet.close(options)

  it('knows itself, with what it says of itself', async () => {
    const { fleet } = await open()
    expect(fleet.members()).toMatchObject([
      {
        id: 'gw-1',
        version: '1.2.3',
        startedMs: Date.UTC(2026, 0, 1),
        addresses: { http: ['127.0.0.1:8080'] },
        isDraining: false,
        load: { sessions: 1, allocations: 2, tunnelClients: 3, cpu: 0.25, memoryBytes: 1e8 },
      } satisfies Omit<FleetMember, 'id'> & { id: string },
    ])
    await close(fleet)
  })

  it('knows itself before it has started', () => {
    expect(make('gw-1', describeAs({ isDraining: false, sessions: 1 })).members()).toMatchObject([
      { id: 'gw-1' },
    ])
  })

  it('shows that it drains as soon as that is announced', async () => {
    const { fleet, said } = await open()
    said.isDraining = true
    await fleet.announce()
    expect(fleet.members()).toMatchObject([{ isDraining: true }])
    await close(fleet)
  })

  it('is never gone itself', async () => {
    const { fleet } = await open()
    expect(await fleet.gone([gatewayId('gw-1')])).toEqual(new Set())
    expect(await fleet.gone([])).toEqual(new Set())
    await close(fleet)
  })

  it('does not hear itself', async () => {
    const { fleet } = await open()
    const heard: unknown[] = []
    const end = fleet.on('topic', (data) => heard.push(data))
    fleet.send('all', 'topic', 1)
    fleet.send(fleet.id, 'topic', 2)
    await fleet.announce()
    expect(heard).toEqual([])
    end()
    await close(fleet)
  })

  it('calls nobody for its own start and end', async () => {
    const calls: string[] = []
    const fleet = make('gw-1', describeAs({ isDraining: false, sessions: 1 }))
    fleet.onGone((id) => calls.push(id))
    fleet.onReturn(() => calls.push('return'))
    await fleet.start()
    await close(fleet)
    await close(fleet, { graceMs: 1000 })
    expect(calls).toEqual([])
  })
}
