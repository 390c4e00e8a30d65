import { stringify } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { type Config, parseConfig } from '../../mechanisms/config/index.ts'
import { readSettings } from './settings.ts'
import { configOfSettings, type SrsProxyFlags } from './translate.ts'

/** What `sluice srs-proxy` runs by, read from the file that `--print-config` prints. */
function configOf(variables: Record<string, string>, flags: SrsProxyFlags = {}): Config {
  const tables = configOfSettings(readSettings(variables, new Map()), flags)
  const printed = parseConfig('sluice.toml', stringify(tables))
  expect(printed).toEqual(parseConfig('sluice.json', JSON.stringify(tables)))
  return printed
}

describe('the configuration that stands for the variables', () => {
  it('is that of the SRS proxy when none is set', () => {
    const { routing, registration, media, balancer, shutdown, origins, admin } = configOf({})
    expect(routing.keys).toBe('srs')
    expect(registration.listen).toBe('12025')
    expect(media.http.listen).toEqual(['18080', '11985'])
    expect(media.http.pages).toBe(`${process.cwd()}/trunk/research`)
    expect(media.rtmp.listen).toEqual(['11935'])
    expect(media.webrtc).toMatchObject({ listen: ['18000'], keepOriginAddresses: true })
    expect(media.srt.listen).toEqual(['20080'])
    expect(balancer.heartbeatTtlSeconds).toBe(300)
    expect(shutdown.graceSeconds).toBe(20)
    expect(origins).toEqual([])
    expect(admin).toMatchObject({ listen: '127.0.0.1:9190', profiler: false })
  })

  it('takes addresses of both families and ports alone', () => {
    const { media, registration } = configOf({
      PROXY_RTMP_SERVER: '[::1]:1935',
      PROXY_HTTP_SERVER: '127.0.0.1:8080',
      PROXY_HTTP_API: ':1985',
      PROXY_WEBRTC_SERVER: '192.0.2.1:8000',
      PROXY_SRT_SERVER: '[2001:db8::1]:10080',
      PROXY_SYSTEM_API: 'localhost:12025',
    })
    expect(media.rtmp.listen).toEqual(['[::1]:1935'])
    expect(media.http.listen).toEqual(['127.0.0.1:8080', ':1985'])
    expect(media.webrtc.listen).toEqual(['192.0.2.1:8000'])
    expect(media.srt.listen).toEqual(['[2001:db8::1]:10080'])
    expect(registration.listen).toBe('127.0.0.1:12025')
  })

  it.each(['127.0.0.1', 'origin.example', '2001:db8::1', '[2001:db8::1]'])(
    'the default backend %s is an origin, whatever the time to live',
    (host) => {
      for (const ttl of ['300s', '1s', '10ms']) {
        const { origins, balancer } = configOf({
          PROXY_DEFAULT_BACKEND_ENABLED: 'on',
          PROXY_DEFAULT_BACKEND_IP: host,
          PROXY_ORIGIN_SERVER_TTL: ttl,
        })
        expect(origins).toMatchObject([{ kind: 'srs', host: host.replace(/[[\]]/g, ''), check: false }])
        expect(origins[0]?.checkSeconds).toBeLessThan(balancer.heartbeatTtlSeconds)
      }
    },
  )

  it('times beyond what is configurable come to the most that is', () => {
    const { shutdown, balancer } = configOf({
      PROXY_GRACE_QUIT_TIMEOUT: '1000h',
      PROXY_FORCE_QUIT_TIMEOUT: '1000h',
      PROXY_ORIGIN_SERVER_TTL: '100000h',
    })
    expect(shutdown.graceSeconds).toBe(86_400)
    expect(balancer.heartbeatTtlSeconds).toBe(31_536_000)
    expect(balancer.forgetSeconds).toBe(31_536_000)
  })

  it('grants no more grace than there is until the end by force', () => {
    expect(
      configOf({ PROXY_GRACE_QUIT_TIMEOUT: '1m', PROXY_FORCE_QUIT_TIMEOUT: '30s' }).shutdown.graceSeconds,
    ).toBe(30)
  })

  it('tokens come from flags, else from variables', () => {
    const variables = { SLUICE_REGISTER_TOKEN: 'r', SLUICE_ADMIN_TOKEN: 'a' }
    const tokens = ({ registration, admin }: Config) => [registration.token, admin.token]
    expect(tokens(configOf(variables))).toEqual(['r', 'a'])
    expect(tokens(configOf(variables, { registerToken: 'R', adminToken: 'A' }))).toEqual(['R', 'A'])
  })

  it('is alone with memory, and shares what it knows with redis', () => {
    expect(configOf({}).redis).toBeUndefined()
    const { redis, fleet, routing } = configOf({
      PROXY_LOAD_BALANCER_TYPE: 'redis',
      PROXY_REDIS_HOST: '192.0.2.1',
      PROXY_REDIS_PASSWORD: 'pw',
      PROXY_REDIS_DB: '2',
      PROXY_REDIS_KEY_PREFIX: 'live',
      SLUICE_FLEET_SECRET: '0123456789abcdef',
    })
    expect(redis).toMatchObject({ url: 'redis://192.0.2.1:6379/2', password: 'pw', prefix: 'live' })
    expect(fleet.secret).toBe('0123456789abcdef')
    expect(routing.keys).toBe('srs')
  })

  it('streams are told apart by normalised names when that is asked for', () => {
    expect(configOf({}, { keys: 'normal', vhosts: ['cdn.example.com'] }).routing).toEqual({
      keys: 'normal',
      vhosts: ['cdn.example.com'],
    })
  })

  it('an admin address that means nothing is an error that names it', () => {
    expect(() => configOf({}, { admin: 'x' })).toThrow('admin.listen = "x"')
  })
})
