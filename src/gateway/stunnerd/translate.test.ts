import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { denyAll } from '../../services/turn/index.ts'
import { readStunnerdConfig } from './read-config.ts'
import { testCertificate } from './stunnerd.testkit.ts'
import { credentialsOf, turnListenerOf } from './translate.ts'

function listenerOf(listener: object, clusters: object[] = []) {
  const text = JSON.stringify({
    version: 'v1',
    auth: { type: 'none' },
    listeners: [{ name: 'l', ...listener }],
    clusters,
  })
  const { config } = readStunnerdConfig('test', text, {})
  return turnListenerOf(config.listeners[0]!, config, denyAll, () => new Set(['10.0.0.1', '::1']))
}

describe('a listener', () => {
  it('is bound on every address, and tells its own as relay address', () => {
    expect(listenerOf({ address: '10.0.0.1' })).toEqual({
      name: 'l',
      transport: 'udp',
      listen: { port: 3478 },
      relays: [{ address: '10.0.0.1', ports: { from: 32_768, to: 65_535 } }],
      peers: denyAll,
      relayTransports: ['udp'],
    })
  })

  it('may tell an address that is not of this machine', () => {
    expect(listenerOf({ address: '198.51.100.1' }).relays).toMatchObject([
      { address: '0.0.0.0', advertised: '198.51.100.1' },
    ])
    expect(listenerOf({ address: '2001:db8::1' }).relays).toMatchObject([
      { address: '::', advertised: '2001:db8::1' },
    ])
  })

  it('without address leaves the choice of one to the relay', () => {
    expect(listenerOf({}).relays).toEqual([{ address: '0.0.0.0', ports: { from: 32_768, to: 65_535 } }])
  })

  it('has its certificate, its transport and its relay ports', () => {
    const { cert, key } = testCertificate
    const base64 = { cert: Buffer.from(cert).toString('base64'), key: Buffer.from(key).toString('base64') }
    const options = listenerOf({ protocol: 'DTLS', ...base64, min_relay_port: 1, max_relay_port: 1999 })
    expect(options).toMatchObject({ transport: 'dtls', certificate: { cert, key } })
    expect(options.relays).toMatchObject([{ ports: { from: 1024, to: 1999 } }])
  })

  it('relays TCP where it leads to a cluster that is', () => {
    const clusters = [{ name: 'a', protocol: 'tcp' }]
    expect(listenerOf({ routes: ['a'] }, clusters).relayTransports).toEqual(['udp', 'tcp'])
    expect(listenerOf({ routes: [] }, clusters).relayTransports).toEqual(['udp'])
  })
})

describe('auth', () => {
  const claim = { realm: 'r', clientAddress: '192.0.2.1', listener: 'l' }

  it('static is one user', async () => {
    const source = credentialsOf(
      { type: 'static', realm: 'r', username: 'u', password: 'p' },
      new ManualClock(),
    )
    expect(await source.find({ ...claim, username: 'u' })).toHaveLength(1)
    expect(await source.find({ ...claim, username: 'v' })).toEqual([])
  })

  it('ephemeral counts the user and not the user name, until it ends', async () => {
    const clock = new ManualClock(1_000_000)
    const source = credentialsOf({ type: 'ephemeral', realm: 'r', secret: 's' }, clock)
    expect(await source.find({ ...claim, username: '1001:alice' })).toMatchObject([{ userId: 'alice' }])
    clock.advance(2000)
    expect(await source.find({ ...claim, username: '1001:alice' })).toEqual([])
  })

  it('none is none', () => {
    expect(credentialsOf({ type: 'none', realm: 'r' }, new ManualClock()).isNone).toBe(true)
  })
})
