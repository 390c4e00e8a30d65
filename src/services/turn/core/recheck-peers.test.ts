import { describe, expect, it } from 'vitest'
import type { PeerPolicy } from '../peers/contract.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }
const other = { address: '192.0.2.201', port: 9000 }

class Rules implements PeerPolicy {
  readonly denied = new Set<string>()

  admitsAddress(address: string): boolean {
    return !this.denied.has(address)
  }

  admits(address: string, port: number): boolean {
    return !this.denied.has(address) && !this.denied.has(`${address} ${port}`)
  }

  onChange(): () => void {
    return () => undefined
  }
}

describe('rules that change', () => {
  it('stop at once what they no longer admit, channels among it, and nothing else', async () => {
    const rules = new Rules()
    const kit = await TurnKit.open({ listener: { peers: rules } })
    const { client, relayed } = await kit.allocated()
    const [far, near] = [kit.peer(peer.address, peer.port), kit.peer(other.address, other.port)]
    await client.bind(0x4000, peer)
    await client.bind(0x4001, other)
    rules.denied.add(peer.address)
    kit.core.recheckPeers()
    client.sendChannel(0x4000, 'x')
    client.sendChannel(0x4001, 'y')
    far.send(relayed, 'x')
    near.send(relayed, 'y')
    expect([far.heard, near.heard, client.heard]).toEqual([[], ['y'], ['0x4001 y']])
    expect(await client.permit(peer)).toBe(403)
  })

  it('about ports stop these ports', async () => {
    const rules = new Rules()
    const kit = await TurnKit.open({ listener: { peers: rules } })
    const { client, relayed } = await kit.allocated()
    const sibling = kit.peer(peer.address, 9001)
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4000, peer)
    rules.denied.add(`${peer.address} ${peer.port}`)
    kit.core.recheckPeers()
    client.sendChannel(0x4000, 'x')
    client.sendTo(peer, 'x')
    far.send(relayed, 'x')
    sibling.send(relayed, 'y')
    expect([far.heard, client.heard]).toEqual([[], [`${peer.address} 9001 y`]])
  })

  it('are asked for every new port, and not only when the permission is given', async () => {
    const rules = new Rules()
    const kit = await TurnKit.open({ listener: { peers: rules } })
    const { client, relayed } = await kit.allocated()
    await client.permit(peer.address)
    rules.denied.add(`${peer.address} 9001`)
    const denied = kit.peer(peer.address, 9001)
    client.sendTo(denied, 'x')
    denied.send(relayed, 'x')
    expect([denied.heard, client.heard]).toEqual([[], []])
  })
})
