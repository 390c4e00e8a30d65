import { describe, expect, it } from 'vitest'
import { parseDotEnv } from './dot-env.ts'
import { parseGoDuration } from './go-duration.ts'
import { readSettings, SRS_PROXY_DEFAULTS } from './settings.ts'

const none = new Map<string, string>()

describe('the variables of the SRS proxy', () => {
  it('nothing set gives its ports and times', () => {
    expect(readSettings({}, none)).toEqual({
      rtmp: '11935',
      http: '18080',
      api: '11985',
      webrtc: '18000',
      srt: '20080',
      system: '12025',
      staticFiles: './trunk/research',
      originTtlMs: 300_000,
      defaultBackend: undefined,
      shared: undefined,
      graceMs: 20_000,
      forceMs: 30_000,
      profiler: undefined,
      registerToken: undefined,
      adminToken: undefined,
    })
  })

  it('the process wins over .env, and an empty value counts as none', () => {
    const file = new Map([
      ['PROXY_RTMP_SERVER', '1'],
      ['PROXY_HTTP_API', '2'],
      ['PROXY_SRT_SERVER', '3'],
    ])
    const { rtmp, api, srt } = readSettings({ PROXY_RTMP_SERVER: '4', PROXY_HTTP_API: '' }, file)
    expect({ rtmp, api, srt }).toEqual({ rtmp: '4', api: SRS_PROXY_DEFAULTS.PROXY_HTTP_API, srt: '3' })
  })

  it('exactly "on" makes the default backend', () => {
    const backend = (value: string) =>
      readSettings({ PROXY_DEFAULT_BACKEND_ENABLED: value }, none).defaultBackend
    expect(backend('ON')).toBeUndefined()
    expect(backend('on')).toEqual({
      host: '127.0.0.1',
      rtmp: 1935,
      http: 8080,
      api: 1985,
      rtc: 8000,
      srt: 10_080,
    })
  })

  it('a profiler on a port alone is for this machine only', () => {
    const profiler = (value: string) => readSettings({ GO_PPROF: value }, none).profiler
    expect(profiler('6060')).toBe('127.0.0.1:6060')
    expect(profiler(':6060')).toBe('127.0.0.1:6060')
    expect(profiler('localhost:6060')).toBe('127.0.0.1:6060')
    expect(profiler('0.0.0.0:6060')).toBe('0.0.0.0:6060')
  })

  it.each([
    ['PROXY_RTMP_SERVER', 'x', 'a port (1935)'],
    ['PROXY_RTMP_SERVER', 'edge.example:1935', 'a port (1935)'],
    ['PROXY_LOAD_BALANCER_TYPE', 'mysql', 'memory or redis'],
    ['PROXY_ORIGIN_SERVER_TTL', '0s', 'more than 0'],
    ['PROXY_ORIGIN_SERVER_TTL', '300', 'a duration such as'],
    ['PROXY_GRACE_QUIT_TIMEOUT', 'soon', 'a duration such as'],
    ['PROXY_FORCE_QUIT_TIMEOUT', '30', 'a duration such as'],
    ['PROXY_HTTP_SERVER', '70000', 'a port (1935)'],
    ['PROXY_SRT_SERVER', '::1:20080', 'a port (1935)'],
    ['GO_PPROF', 'x', 'a port (1935)'],
  ])('%s=%s is an error that says what is allowed', (name, value, allowed) => {
    expect(() => readSettings({ [name]: value }, none)).toThrow(`${name}=${value}: must be ${allowed}`)
  })
})

describe('the default backend', () => {
  it.each([
    ['PROXY_DEFAULT_BACKEND_IP', 'a b', 'an address or a host name'],
    ['PROXY_DEFAULT_BACKEND_IP', '[x]', 'an address or a host name'],
    ['PROXY_DEFAULT_BACKEND_RTMP', '0', 'a port, 1 to 65535'],
    ['PROXY_DEFAULT_BACKEND_RTC', 'udp://8000', 'a port, 1 to 65535'],
  ])('%s=%s is an error that names the variable, when it is on', (name, value, allowed) => {
    const on = { PROXY_DEFAULT_BACKEND_ENABLED: 'on', [name]: value }
    expect(() => readSettings(on, none)).toThrow(`${name}=${value}: must be ${allowed}`)
    expect(readSettings({ [name]: value }, none).defaultBackend).toBeUndefined()
  })
})

describe('the shared store', () => {
  const shared = (variables: Record<string, string>) =>
    readSettings({ PROXY_LOAD_BALANCER_TYPE: 'redis', ...variables }, none).shared

  it('is where the SRS proxy has it', () => {
    expect(shared({})).toEqual({ redis: { url: 'redis://127.0.0.1:6379/0' }, fleetSecret: undefined })
  })

  it('takes the variables of the SRS proxy', () => {
    expect(
      shared({
        PROXY_REDIS_HOST: '2001:db8::1',
        PROXY_REDIS_PORT: '6380',
        PROXY_REDIS_PASSWORD: 'p@ss/word',
        PROXY_REDIS_DB: '3',
        PROXY_REDIS_KEY_PREFIX: 'live',
      })?.redis,
    ).toEqual({ url: 'redis://[2001:db8::1]:6380/3', password: 'p@ss/word', prefix: 'live' })
  })

  it('takes a URL for the other forms, and a secret', () => {
    const url = 'rediss+cluster://user:pw@a:7000,b:7000'
    const variables = {
      SLUICE_REDIS_URL: url,
      SLUICE_FLEET_SECRET: 's'.repeat(16),
      PROXY_REDIS_KEY_PREFIX: 'x',
    }
    expect(shared(variables)).toEqual({ redis: { url, prefix: 'x' }, fleetSecret: 's'.repeat(16) })
  })

  it.each([
    ['PROXY_REDIS_HOST', 'a b', 'PROXY_REDIS_HOST=a b: must be an address or a host name'],
    ['PROXY_REDIS_HOST', 'a,b', 'PROXY_REDIS_HOST=a,b: must be an address or a host name'],
    ['PROXY_REDIS_PORT', '0', 'PROXY_REDIS_PORT=0: must be 1 to 65535'],
    ['PROXY_REDIS_DB', 'x', 'PROXY_REDIS_DB=x: must be 0 to 65535'],
    ['PROXY_REDIS_KEY_PREFIX', 'a b', 'PROXY_REDIS_KEY_PREFIX=a b: must be 1 to 64 of'],
    ['SLUICE_REDIS_URL', 'http://hidden', 'SLUICE_REDIS_URL: must be redis://'],
    ['SLUICE_FLEET_SECRET', 'hidden', 'SLUICE_FLEET_SECRET: must have at least 16 characters'],
  ])('%s=%s is an error that says what is allowed and shows no secret', (name, value, message) => {
    expect(() => shared({ [name]: value })).toThrow(message)
    expect(() => shared({ [name]: value })).not.toThrow('hidden')
  })

  it('is said in one place', () => {
    const variables = { SLUICE_REDIS_URL: 'redis://a', PROXY_REDIS_PASSWORD: 'hidden' }
    expect(() => shared(variables)).toThrow('PROXY_REDIS_PASSWORD: SLUICE_REDIS_URL says that already')
    expect(() => shared(variables)).not.toThrow('hidden')
  })

  it('is not there with memory: what the SRS proxy has then does nothing, what we have is an error', () => {
    expect(readSettings({ PROXY_REDIS_PASSWORD: 'x' }, none)).toEqual(readSettings({}, none))
    for (const name of ['SLUICE_REDIS_URL', 'SLUICE_FLEET_SECRET']) {
      expect(() => readSettings({ [name]: 'hidden' }, none)).toThrow(
        `${name}: goes with PROXY_LOAD_BALANCER_TYPE=redis`,
      )
    }
  })
})

describe('a .env file', () => {
  it('is read as the SRS proxy reads it', () => {
    const text = [
      '# comment',
      'A=1',
      '  export B = two words # said',
      "C='raw \\n # all'",
      String.raw`D="a\nb\"c\\ # all" # not`,
      'E=#none',
      'F=a#b',
      'no equals sign',
      'G=',
      'A=2',
    ].join('\r\n')
    expect(Object.fromEntries(parseDotEnv(text))).toEqual({
      A: '2',
      B: 'two words',
      C: 'raw \\n # all',
      D: 'a\nb"c\\ # all',
      E: '',
      F: 'a#b',
      G: '',
    })
  })
})

describe('a duration of Go', () => {
  it.each([
    ['300s', 300_000],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['.5s', 500],
    ['100ms', 100],
    ['1µs', 0.001],
    ['0', 0],
    ['-1s', -1000],
    ['', undefined],
    ['1', undefined],
    ['1 s', undefined],
    ['s', undefined],
  ])('%j is %j ms', (text, ms) => {
    expect(parseGoDuration(text)).toBe(ms)
  })
})
