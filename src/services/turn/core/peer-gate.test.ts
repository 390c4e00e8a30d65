import { describe, expect, it } from 'vitest'
import { PeerRules } from '../peers/peer-rules.ts'
import { serverAddress } from './test-client.testkit.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

describe('our own listeners', () => {
  it.each([
    ['by the address of the machine', serverAddress],
    ['by the relayed address', relay4.address],
    ['by loopback', '127.0.0.1'],
    ['by another loopback', '127.9.9.9'],
    ['by no address (CVE-2020-26262)', '0.0.0.0'],
  ])('are no peers %s, though rules admit everybody', async (_title, address) => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect(await client.bind(0x4000, { address, port: 3478 })).toBe(403)
    await client.permit(address)
    client.sendTo({ address, port: 3478 }, 'x')
    expect(kit.data.dropped['no-permission']).toBe(1)
    expect(await client.bind(0x4000, { address, port: 3479 })).toBeUndefined()
  })

  it.each(['::', '::1'])('are no peers by %s', async (address) => {
    const kit = await TurnKit.open({ interfaces: [serverAddress, '2001:db8:f::1', '::1'] })
    const client = kit.client()
    await client.allocate((writer) => {
      writer.attribute(0x19, Uint8Array.of(17, 0, 0, 0)).attribute(0x17, Uint8Array.of(2, 0, 0, 0))
    })
    expect(await client.bind(0x4000, { address, port: 3478 })).toBe(403)
  })

  it('may have the port of a live allocation', async () => {
    const kit = await TurnKit.open()
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    kit.state.gate.setOwnPorts([{ protocol: 'udp', port: two.relayed.port }])
    expect(await one.client.bind(0x4000, two.relayed)).toBeUndefined()
  })
})

describe('the rules that hold by default', () => {
  // Reference: anti-abuse rules; CVE-2020-26262, CVE-2026-27624 and the embeddings that came after them.
  it.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.1.1',
    '224.0.0.1',
    '255.255.255.255',
  ])('deny %s to permissions and channels', async (address) => {
    const kit = await TurnKit.open({ listener: { peers: new PeerRules({ byDefault: 'public' }) } })
    const { client } = await kit.allocated()
    expect(await client.permit(address)).toBe(403)
    expect(await client.bind(0x4000, { address, port: 80 })).toBe(403)
  })

  it.each([
    '::',
    '::1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'fe80::1',
    'fd00:ec2::254',
    'ff02::1',
  ])('deny %s', async (address) => {
    const kit = await TurnKit.open({
      relays: [relay6],
      listener: { peers: new PeerRules({ byDefault: 'public' }) },
    })
    const client = kit.client()
    await client.allocate((writer) => {
      writer.attribute(0x19, Uint8Array.of(17, 0, 0, 0)).attribute(0x17, Uint8Array.of(2, 0, 0, 0))
    })
    expect(await client.permit(address)).toBe(403)
    expect(await client.bind(0x4000, { address, port: 80 })).toBe(403)
  })

  it('admit the internet', async () => {
    const kit = await TurnKit.open({ listener: { peers: new PeerRules({ byDefault: 'public' }) } })
    const { client } = await kit.allocated()
    expect(await client.permit('8.8.8.8')).toBeUndefined()
  })
})
