import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { configSourceOf, idOf } from './config-origin.ts'
import type { Environment } from './config.ts'
import { readStunnerdConfig } from './read-config.ts'
import { selfSigned } from './self-signed.ts'
import { configTextOfTurnUri } from './turn-uri.ts'

function nameOf(origin: string | undefined, env: Environment = {}, id = 'ns/gw'): string {
  return configSourceOf({ ...(origin !== undefined && { origin }), id, env, logger: silentLogger() }).name
}

describe('the origin of a configuration', () => {
  it('is a config discovery server by URL or by address', () => {
    const path = '/api/v1/configs/ns/gw'
    expect(nameOf('http://cds:13478')).toBe(`http://cds:13478${path}`)
    expect(nameOf('ws://cds:13478/x?y=1')).toBe(`http://cds:13478${path}`)
    expect(nameOf('https://cds')).toBe(`https://cds${path}`)
    expect(nameOf('10.0.0.1:13478')).toBe(`http://10.0.0.1:13478${path}`)
    expect(nameOf('[fd00::1]:13478')).toBe(`http://[fd00::1]:13478${path}`)
    expect(nameOf(':13478')).toBe(`http://localhost:13478${path}`)
    expect(nameOf('http://cds', { STUNNER_NODENAME: 'node 1' })).toBe(`http://cds${path}?node=node+1`)
  })

  it('is a file by anything else', () => {
    expect(nameOf('/etc/stunnerd/stunnerd.conf')).toBe('/etc/stunnerd/stunnerd.conf')
    expect(nameOf('file:///etc/stunnerd.yaml')).toBe('/etc/stunnerd.yaml')
    expect(nameOf('file://stunnerd.yaml')).toBe('stunnerd.yaml')
    expect(nameOf('stunnerd.yaml')).toBe('stunnerd.yaml')
  })

  it('comes from the flag, the environment, or is the server on this machine', () => {
    const env = { STUNNER_CONFIG_ORIGIN: 'http://there:1' }
    expect(nameOf('a.yaml', env)).toBe('a.yaml')
    expect(nameOf(undefined, env)).toContain('http://there:1/')
    expect(nameOf(undefined)).toContain('http://localhost:13478/')
  })

  it('k8s says what to do instead, and an id that is none what it must be', () => {
    expect(() => nameOf('k8s')).toThrow(/--config or STUNNER_CONFIG_ORIGIN/)
    expect(() => nameOf('http://cds', {}, 'gw')).toThrow(/"gw".*<namespace>\/<name>/)
    expect(() => nameOf('http://')).toThrow(expect.objectContaining({ code: 'STUNNERD_BAD_ORIGIN' }))
  })

  it('is asked with an id of the flag, the environment or the machine', () => {
    const env = { STUNNER_NAMESPACE: 'ns', STUNNER_NAME: 'gw' }
    expect(idOf('a/b', env)).toBe('a/b')
    expect(idOf(undefined, env)).toBe('ns/gw')
    expect(idOf('', { STUNNER_NAME: 'gw' })).toMatch(/^default\/stunnerd-./)
  })
})

describe('a TURN URI', () => {
  const read = async (uri: string) =>
    readStunnerdConfig('test', await configTextOfTurnUri(uri, selfSigned), {}).config

  it('is a listener through which every IPv4 peer is reached', async () => {
    const config = await read('turn://user%31:pa%24s@127.0.0.1:5000?transport=tcp')
    expect(config.auth).toMatchObject({ type: 'static', username: 'user1', password: 'pa$s' })
    expect(config.listeners).toMatchObject([
      { protocol: 'TURN-TCP', address: '127.0.0.1', port: 5000, routes: ['allow-any'] },
    ])
    expect(config.clusters).toMatchObject([{ name: 'allow-any', endpoints: ['0.0.0.0/0'] }])
  })

  it('has the port of its transport, and a certificate where that needs one', async () => {
    const [udp] = (await read('turn://u:p@[::1]')).listeners
    expect(udp).toMatchObject({ protocol: 'TURN-UDP', address: '::1', port: 3478 })
    const [dtls] = (await read('turns://u:p@127.0.0.1')).listeners
    expect(dtls).toMatchObject({ protocol: 'TURN-DTLS', port: 443 })
    expect(dtls?.certificate?.cert).toContain('BEGIN CERTIFICATE')
    expect((await read('turn://u:p@127.0.0.1:1?transport=TLS')).listeners[0]?.protocol).toBe('TURN-TLS')
    expect((await read('turns://u:p@127.0.0.1:1?transport=tcp')).listeners[0]?.protocol).toBe('TURN-TLS')
  })

  it('that is none is refused without its password', async () => {
    for (const uri of ['http://u:secret@h', 'turn://u:secret@h?transport=sctp', 'turn://', 'nonsense']) {
      await expect(read(uri)).rejects.toThrow(/^the URI must be turn:\/\/user:password@address:port/)
    }
    for (const [uri, message] of [
      ['turn://user@127.0.0.1', 'must have a user and a password'],
      ['turn://user:50%@127.0.0.1', 'must be percent-encoded'],
    ] as const) {
      await expect(read(uri)).rejects.toMatchObject({
        code: 'STUNNERD_BAD_OPTION',
        message: expect.stringContaining(message),
      })
    }
  })
})
