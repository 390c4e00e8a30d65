import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { readStunnerdConfig } from './read-config.ts'
import { Routing } from './routing.ts'

const names = new Map<string, readonly string[]>()
let routing: Routing
afterEach(async () => await routing.close())

function config(listeners: object[], clusters: object[]) {
  const text = JSON.stringify({ version: 'v1', auth: { type: 'none' }, listeners, clusters })
  return readStunnerdConfig('test', text, {}).config
}

async function open() {
  const clock = new ManualClock()
  routing = new Routing({ clock, resolve: async (name) => names.get(name) ?? [], random: () => 0.5 })
  await routing.start()
  return { routing, clock }
}

const A = { name: 'a', endpoints: ['10.1.0.0/16:<1000-2000>'] }
const B = { name: 'b', protocol: 'tcp', endpoints: ['10.2.0.1'] }

describe('routing', () => {
  it('leads a listener to the clusters of its routes, and nowhere without any', async () => {
    const { routing } = await open()
    const wanted = config([{ name: 'l', routes: ['a', 'b', 'none'] }, { name: 'm' }], [A, B])
    const plan = routing.plan(wanted)
    const [l, m] = wanted.listeners.map((it) => plan.peersOf(it))
    plan.commit()
    expect(l?.admits('10.1.2.3', 1000, 'udp')).toBe(true)
    expect(l?.admits('10.1.2.3', 999, 'udp')).toBe(false)
    expect(l?.admits('10.1.2.3', 1000, 'tcp')).toBe(false)
    expect(l?.admits('10.2.0.1', 80, 'tcp')).toBe(true)
    expect(l?.admitsAddress('10.2.0.1', 'udp')).toBe(false)
    expect(l?.admitsAddress('127.0.0.1', 'udp')).toBe(false)
    expect(m?.admitsAddress('10.1.2.3', 'udp')).toBe(false)
  })

  it('changes in the policy that a listener has, and says so', async () => {
    const { routing } = await open()
    const first = config([{ name: 'l', routes: ['a'] }], [A])
    const plan = routing.plan(first)
    const peers = plan.peersOf(first.listeners[0]!)
    plan.commit()
    let changes = 0
    peers.onChange(() => changes++)

    const same = routing.plan(first)
    expect(same.peersOf(first.listeners[0]!)).toBe(peers)
    same.commit()
    expect(changes).toBe(0)

    const narrower = config([{ name: 'l', routes: ['a'] }], [{ ...A, endpoints: ['10.1.0.1'] }])
    const next = routing.plan(narrower)
    expect(next.peersOf(narrower.listeners[0]!)).toBe(peers)
    expect(peers.admitsAddress('10.1.0.2', 'udp')).toBe(true)
    next.commit()
    expect(peers.admitsAddress('10.1.0.2', 'udp')).toBe(false)
    expect(changes).toBe(1)

    routing.plan(config([{ name: 'l', routes: [] }], [])).commit()
    expect(peers.admitsAddress('10.1.0.1', 'udp')).toBe(false)
    expect(changes).toBe(2)
  })

  it('changes nothing when a plan is discarded', async () => {
    const { routing } = await open()
    const first = config([{ name: 'l', routes: ['a'] }], [A])
    const plan = routing.plan(first)
    const peers = plan.peersOf(first.listeners[0]!)
    plan.commit()
    routing.plan(config([{ name: 'l', routes: [] }], [{ ...A, endpoints: [] }])).discard()
    expect(peers.admits('10.1.2.3', 1000, 'udp')).toBe(true)
    expect(routing.clusterOf('l', '10.1.2.3', 0, 'udp')).toBe('a')
  })

  it('follows the names of STRICT_DNS clusters', async () => {
    const { routing, clock } = await open()
    names.set('media.test', ['10.5.0.1'])
    const wanted = config(
      [{ name: 'l', routes: ['dns'] }],
      [{ name: 'dns', type: 'STRICT_DNS', endpoints: ['media.test'] }],
    )
    const plan = routing.plan(wanted)
    const peers = plan.peersOf(wanted.listeners[0]!)
    const changed = () => new Promise<void>((resolve) => peers.onChange(resolve))
    let next = changed()
    plan.commit()
    await next
    expect(peers.admits('10.5.0.1', 5004, 'udp')).toBe(true)
    names.set('media.test', ['10.5.0.2'])
    next = changed()
    clock.advance(6000)
    await next
    expect(peers.admits('10.5.0.1', 5004, 'udp')).toBe(false)
    expect(peers.admits('10.5.0.2', 5004, 'udp')).toBe(true)
  })

  it('tells the cluster of a peer, the first of the routes by name', async () => {
    const { routing } = await open()
    routing
      .plan(
        config([{ name: 'l', routes: ['b', 'a', 'all'] }], [A, B, { name: 'all', endpoints: ['0.0.0.0/0'] }]),
      )
      .commit()
    expect(routing.clusterOf('l', '10.1.2.3', 1000, 'udp')).toBe('a')
    expect(routing.clusterOf('l', '10.1.2.3', 1, 'udp')).toBe('all')
    expect(routing.clusterOf('l', '10.2.0.1', 1, 'tcp')).toBe('b')
    expect(routing.clusterOf('l', '::1', 1, 'udp')).toBe(undefined)
    expect(routing.soleClusterOf('l', 'tcp')).toBe('b')
    expect(routing.soleClusterOf('l', 'udp')).toBe(undefined)
    expect(routing.clusterOf('other', '10.1.2.3', 1000, 'udp')).toBe(undefined)
  })
})
