import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { FrpcConfig, FrpsConfig } from './config.ts'
import { FrpConfigError } from './errors.ts'
import { tunnelClientSchema } from './frpc-schema.ts'
import { frpsSchema, tunnelServerSchema } from './frps-schema.ts'
import {
  type FrpConfigOptions,
  frpcConfigOf,
  frpsConfigOf,
  type LoadedConfig,
  loadFrpcConfig,
  loadFrpsConfig,
} from './load.ts'

type Options = Partial<FrpConfigOptions> & {
  readonly files?: Readonly<Record<string, string>>
  readonly file?: string
}

/** Loads a text as a file without an ending, which is what tools write. */
function frpc(text: string, options: Options = {}): Promise<LoadedConfig<FrpcConfig>> {
  return loadFrpcConfig(options.file ?? 'conf', inMemory(text, options))
}

function frps(text: string, options: Options = {}): Promise<LoadedConfig<FrpsConfig>> {
  return loadFrpsConfig(options.file ?? 'conf', inMemory(text, options))
}

function inMemory(
  text: string,
  { files = {}, file = 'conf', ...rest }: Options,
): Parameters<typeof loadFrpcConfig>[1] {
  const all = new Map(Object.entries({ ...files, [file]: text }))
  return {
    env: {},
    ...rest,
    readFile: async (path) => {
      const found = [...all].find(([name]) => path === name || path === join(process.cwd(), name))
      if (found === undefined) throw new Error('no such file')
      return Promise.resolve(found[1])
    },
    listFiles: async (folder) => {
      const names = [...all.keys()].filter((name) => join(process.cwd(), name, '..') === folder)
      if (names.length === 0) throw new Error('no such folder')
      return Promise.resolve(names.map((name) => name.slice(name.lastIndexOf('/') + 1)))
    },
  }
}

async function failure(loading: Promise<unknown>): Promise<FrpConfigError> {
  try {
    await loading
  } catch (error) {
    if (error instanceof FrpConfigError) return error
    throw error
  }
  throw new Error('the configuration was accepted')
}

const lines = (...parts: string[]): string => parts.join('\n')

describe('formats', () => {
  const toml = lines(
    'serverAddr = "192.0.2.7"',
    'serverPort = 7001',
    'metadatas.a = "1"',
    '[transport]',
    'tcpMux = false',
    '[[proxies]]',
    'name = "ssh"',
    'type = "tcp"',
    'localPort = 22',
    'remotePort = 6000',
    '[proxies.transport]',
    'useEncryption = true',
  )
  const yaml = lines(
    'serverAddr: 192.0.2.7',
    'serverPort: 7001',
    'metadatas: {a: "1"}',
    '.base: &base',
    '  type: tcp',
    'transport:',
    '  tcpMux: no',
    'proxies:',
    '- <<: *base',
    '  name: ssh',
    '  localPort: 22',
    '  remotePort: 6000',
    '  transport: {useEncryption: true}',
  )
  const json =
    '{"serverAddr":"192.0.2.7","serverPort":7001,"metadatas":{"a":"1"},"transport":{"tcpMux":false},"proxies":[{"name":"ssh","type":"tcp","localPort":22,"remotePort":6000,"transport":{"useEncryption":true}}]}'
  const ini = lines(
    '[common]',
    'server_addr = 192.0.2.7',
    'server_port = 7001',
    'meta_a = 1',
    'tcp_mux = false',
    '[ssh]',
    'local_port = 22',
    'remote_port = 6000',
    'use_encryption',
  )

  it('are told apart without an ending and mean the same', async () => {
    const [first, ...others] = await Promise.all([toml, yaml, json, ini].map((text) => frpc(text)))
    expect(first?.config).toMatchObject({
      serverAddr: '192.0.2.7',
      serverPort: 7001,
      metadatas: { a: '1' },
      transport: { tcpMux: false, heartbeatInterval: 30, heartbeatTimeout: 90 },
      proxies: [{ name: 'ssh', type: 'tcp', localIP: '127.0.0.1', localPort: 22, remotePort: 6000 }],
    })
    for (const { config } of others) expect(config).toEqual(first?.config)
  })

  it('have the right line in their errors', async () => {
    const bad = (text: string): Promise<FrpConfigError> =>
      failure(frpc(text.replace('6000', '"x"').replace('= x', '= "x"')))
    expect(await bad(toml)).toMatchObject({ problems: [{ line: 10, key: 'proxies[0].remotePort' }] })
    expect(await bad(yaml)).toMatchObject({ problems: [{ line: 12, key: 'proxies[0].remotePort' }] })
    expect(await bad(ini)).toMatchObject({ problems: [{ line: 8, key: '[ssh] remote_port' }] })
    expect((await failure(frpc('{\n "a": 1\n}'))).problems).toMatchObject([{ line: 2, key: 'a' }])
  })

  it('have the right line also in tables of a list', async () => {
    const text = lines(
      '[[proxies]]\nname = "a"\ntype = "tcp"\n[proxies.transport]\nuseEncryption = true',
      '[[proxies]]\nname = "b"\ntype = "tcp"\n[proxies.transport]\nuseEncryption = 1',
      '[[proxies.healthCheck.httpHeaders]]\nname = 5',
    )
    expect((await failure(frpc(text))).problems).toMatchObject([
      { line: 10, key: 'proxies[1].transport.useEncryption' },
      { line: 11, key: 'proxies[1].healthCheck.httpHeaders[0].value' },
      { line: 12, key: 'proxies[1].healthCheck.httpHeaders[0].name' },
    ])
  })

  it('ignore the ending', async () => {
    expect((await frpc(json, { file: 'x.yaml' })).config.serverPort).toBe(7001)
    expect((await frpc(yaml, { file: 'x.json' })).config.serverPort).toBe(7001)
    expect((await frps('[common]\nbind_port = 7100', { file: 'x.toml' })).config.bindPort).toBe(7100)
  })

  it('find keys whatever their case, and take null and empty words for absent', async () => {
    const { config } = await frpc('{"SERVERPORT":7001,"user":null,"transport":{"protocol":"","TCPMux":null}}')
    expect(config).toMatchObject({ serverPort: 7001, user: '', transport: { protocol: 'tcp', tcpMux: true } })
  })

  it('say what is wrong with a text that is none of them', async () => {
    expect(await failure(frpc('serverPort = \n'))).toMatchObject({
      code: 'FRP_CONFIG_SYNTAX',
      problems: [{ line: 1 }],
    })
    expect(await failure(frpc('a: [1\n'))).toMatchObject({ code: 'FRP_CONFIG_SYNTAX' })
    expect(await failure(frpc('{"a": '))).toMatchObject({ code: 'FRP_CONFIG_SYNTAX' })
    expect(await failure(frpc('hello'))).toMatchObject({ code: 'FRP_CONFIG_SYNTAX' })
    expect(await failure(frpc('[common]\n[x'))).toMatchObject({
      code: 'FRP_CONFIG_SYNTAX',
      problems: [{ line: 2 }],
    })
    expect(await failure(loadFrpcConfig('/nowhere/x', { env: {} }))).toMatchObject({
      code: 'FRP_CONFIG_UNREADABLE',
    })
  })

  it('never lead to anything but a configuration error', async () => {
    const words = fc.constantFrom(
      ...['[', ']', '[[proxies]]', '=', ':', '"', '\n', '{', '}', '- ', 'name', 'type', '"tcp"', '[common]'],
      ...[
        'transport',
        '.',
        'a',
        '1',
        'true',
        '&x ',
        '*x',
        '<<',
        ',',
        '#',
        '  ',
        'proxies',
        'null',
        '{{',
        '}}',
      ],
    )
    await fc.assert(
      fc.asyncProperty(fc.array(words, { maxLength: 25 }), async (parts) => {
        for (const load of [frpc, frps]) {
          await load(parts.join('')).catch((error: unknown) => {
            expect(error).toBeInstanceOf(FrpConfigError)
          })
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('defaults', () => {
  it('of frps are those of frp', async () => {
    const { config, notes } = await frps('')
    expect(notes).toEqual([])
    expect(config).toMatchObject({
      bindAddr: '0.0.0.0',
      bindPort: 7000,
      proxyBindAddr: '0.0.0.0',
      vhostHTTPTimeout: 60,
      webServer: { addr: '127.0.0.1', port: 0, user: '', password: '', tls: undefined },
      log: { to: 'console', level: 'info', maxDays: 3, disablePrintColor: false },
      detailedErrorsToClient: true,
      transport: {
        tcpMux: true,
        tcpMuxKeepaliveInterval: 30,
        tcpKeepalive: 7200,
        maxPoolCount: 5,
        heartbeatTimeout: -1,
        tls: { force: false },
      },
      auth: { method: 'token', token: '', tokenSource: undefined, tokens: [], timestampWindow: 0 },
      maxPortsPerClient: 0,
      userConnTimeout: 10,
      allowPorts: [],
      limits: { maxUnauthenticated: 2000, maxClients: 10_000, maxConnectionsPerProxy: 0 },
    })
  })

  it('of frpc are those of frp', async () => {
    const { config } = await frpc('')
    expect(config).toMatchObject({
      serverAddr: '0.0.0.0',
      serverPort: 7000,
      loginFailExit: true,
      store: { path: '' },
      transport: {
        protocol: 'tcp',
        wireProtocol: 'v1',
        dialServerTimeout: 10,
        dialServerKeepalive: 7200,
        proxyURL: '',
        poolCount: 1,
        tcpMux: true,
        heartbeatInterval: -1,
        heartbeatTimeout: -1,
        tls: { enable: true, disableCustomTLSFirstByte: true },
      },
      auth: { method: 'token', oidc: { tokenSource: undefined } },
      proxies: [],
      visitors: [],
    })
  })

  it('hold for zeros too, and depend on one another as in frp', async () => {
    const { config } = await frps(
      'bindPort = 0\nuserConnTimeout = 0\nbindAddr = "127.0.0.1"\ntransport.tcpMux = false',
    )
    expect(config).toMatchObject({ bindPort: 7000, userConnTimeout: 10, proxyBindAddr: '127.0.0.1' })
    expect(config.transport.heartbeatTimeout).toBe(90)
    const tls = await frps('transport.tls.trustedCaFile = "ca.pem"')
    expect(tls.config.transport.tls.force).toBe(true)
  })

  it('take the proxy of the environment where the file names none', async () => {
    const env = { http_proxy: 'http://10.0.0.1:3128' }
    expect((await frpc('', { env })).config.transport.proxyURL).toBe('http://10.0.0.1:3128')
    expect((await frpc('transport.proxyURL = "socks5://a:1"', { env })).config.transport.proxyURL).toBe(
      'socks5://a:1',
    )
    expect((await failure(frpc('', { env: { http_proxy: 'x' } }))).message).toContain(
      'environment variable http_proxy',
    )
  })
})

describe('keys of our own', () => {
  it('give tokens their rights', async () => {
    const { config } = await frps(
      lines(
        'statisticsFile = "days.json"',
        'limits.maxClients = 5',
        'transport.proxyProtocolFrom = ["10.0.0.0/8"]',
        'auth.timestampWindow = 900',
        '[[auth.tokens]]',
        'name = "team"',
        'token = "t1"',
        'users = ["a"]',
        'allowPorts = [{ start = 1000, end = 2000 }, { single = 80 }]',
        'allowProxyTypes = ["tcp", "http"]',
        'allowDomains = ["*.example.com"]',
        'maxPorts = 3',
        'bandwidthLimit = "1MB"',
        '[[auth.tokens]]',
        'name = "other"',
        'token = "t2"',
      ),
    )
    expect(config.auth.tokens).toEqual([
      {
        name: 'team',
        token: 't1',
        users: ['a'],
        allowPorts: [
          { from: 1000, to: 2000 },
          { from: 80, to: 80 },
        ],
        allowProxyTypes: ['tcp', 'http'],
        allowDomains: ['*.example.com'],
        maxPorts: 3,
        maxProxies: 0,
        maxClients: 0,
        maxConnections: 0,
        bandwidthLimit: 1_048_576,
      },
      expect.objectContaining({ name: 'other', users: undefined, bandwidthLimit: 0 }),
    ])
    expect(config).toMatchObject({
      limits: { maxClients: 5 },
      auth: { timestampWindow: 900 },
      statisticsFile: 'days.json',
    })
  })

  it('are checked', async () => {
    const text = '[[auth.tokens]]\nname = "a"\ntoken = "x1"\n[[auth.tokens]]\nname = "b"\ntoken = "x1"'
    const error = await failure(frps(text))
    expect(error.message).toBe('conf:6: auth.tokens[1].token: is there already; must be unique')
    expect((await failure(frps('transport.proxyProtocolFrom = ["x"]'))).message).toContain('10.0.0.0/8')
    expect((await failure(frps('limits.maxClients = 0'))).message).toContain('limits.maxClients = 0')
    expect((await failure(frps('allowPorts = [{ start = 5, end = 3 }]'))).message).toContain('allowPorts[0]')
  })
})

describe('errors', () => {
  it('name file, line, key, value and what is allowed', async () => {
    const error = await failure(frpc('serverPort = 7000\nlog.level = "loud"\nbogus = 1\n'))
    expect(error.message.split('\n')).toEqual([
      'conf:2: log.level = "loud": is not allowed; allowed: trace, debug, info, warn, error',
      expect.stringMatching(
        /^conf:3: bogus: unknown key; allowed here: serverAddr, .*, proxies, visitors, includes$/,
      ),
    ])
  })

  it('leave unknown keys alone when not strict', async () => {
    const text =
      'bogus = 1\ntransport.bogus = 1\n[[proxies]]\nname = "a"\ntype = "tcp"\nlocations = ["/"]\nlocalPort = 5'
    const keys = (await failure(frpc(text))).problems.map(({ key }) => key)
    expect(keys).toEqual(['bogus', 'transport.bogus', 'proxies[0].locations'])
    expect((await frpc(text, { strict: false })).config.proxies).toMatchObject([{ name: 'a', localPort: 5 }])
  })

  it('never show a secret', async () => {
    const text = 'auth.token = 31337\n[[proxies]]\nname = "a"\ntype = "stcp"\nsecretKey = 4242'
    const error = await failure(frpc(text))
    expect(error.message).toContain('auth.token')
    expect(error.message).toContain('proxies[0].secretKey')
    expect(error.message).not.toMatch(/31337|4242/)
    expect((await failure(frpc('transport.proxyURL = "u:secret@x"'))).message).not.toContain('secret')
  })

  it('are bounded in number', async () => {
    const text = Array.from({ length: 500 }, (_, index) => `x${index} = 1`).join('\n')
    const error = await failure(frpc(text))
    expect(error.problems).toHaveLength(21)
    expect(error.message).toContain('and 480 more problems')
  })

  it.each([
    [
      '[[proxies]]\nname = "a"\ntype = "tcp"\n[[proxies]]\nname = "a"\ntype = "udp"',
      'proxy name [a] is duplicated',
    ],
    ['[[proxies]]\ntype = "tcp"', 'name should not be empty'],
    ['[[proxies]]\nname = "a"\ntype = "foo"', 'unknown proxy type: foo'],
    ['[[proxies]]\nname = "a"\ntype = "http"', 'subdomain and custom domains should not be both empty'],
    ['[[proxies]]\nname = "a"\ntype = "tcpmux"\nsubdomain = "x"', 'not support multiplexer: '],
    [
      '[[proxies]]\nname = "a"\ntype = "tcp"\nlocalPort = 65536',
      'must be a port number in the range 0..65535',
    ],
    ['[[proxies]]\nname = "a"\ntype = "tcp"\nremotePort = -1', 'must be a port number in the range 0..65535'],
    [
      '[[proxies]]\nname = "a"\ntype = "tcp"\nhealthCheck.type = "http"',
      'health check path should not be empty',
    ],
    ['[[proxies]]\nname = "a"\ntype = "tcp"\ntransport.bandwidthLimit = "1GB"', 'unit not support'],
    ['[[proxies]]\nname = "a"\ntype = "tcp"\nannotations = { "a b" = "c" }', 'annotation key a b is invalid'],
    [
      `[[proxies]]\nname = "a"\ntype = "tcp"\nannotations = { a = "${'x'.repeat(262_144)}" }`,
      'is larger than limit 262144',
    ],
    ['[[visitors]]\nname = "v"\ntype = "stcp"\nserverName = "s"', 'bind port is required'],
    ['[[visitors]]\nname = "v"\ntype = "stcp"\nbindPort = 1', 'server name is required'],
    [
      'transport = { tcpMux = false, heartbeatTimeout = 20 }',
      'heartbeat timeout should not less than heartbeat interval',
    ],
    [
      'auth = { token = "a", tokenSource = { type = "file", file = { path = "b" } } }',
      'cannot specify both auth.token',
    ],
    ['auth.tokenSource.type = "file"', "file configuration is required when type is 'file'"],
    ['auth.method = "oidc"', 'auth.oidc.clientID: is required'],
    ['webServer.tls.certFile = "a"', 'tls.keyFile must be specified when tls is enabled'],
    ['transport.connectServerLocalIP = "localhost"', 'must be a literal IPv4 or IPv6 address'],
  ])('%j is refused as by frp', async (text, message) => {
    expect((await failure(frpc(text))).message).toContain(message)
  })

  it('ask before programs are run', async () => {
    const text = 'auth.tokenSource = { type = "exec", exec = { command = "pass" } }'
    for (const load of [frpc, frps]) {
      expect(await failure(load(text))).toMatchObject({
        code: 'FRP_CONFIG_UNSAFE',
        message: expect.stringContaining('unsafe feature "TokenSourceExec" is not enabled') as string,
      })
      const { config } = await load(text, { allowUnsafe: ['TokenSourceExec'] })
      expect(config.auth.tokenSource).toEqual({ type: 'exec', exec: { command: 'pass', args: [], env: [] } })
    }
  })
})

describe('what frp has and this program does not', () => {
  it.each([
    'kcpBindPort = 7000',
    'quicBindPort = 7000',
    'sshTunnelGateway.bindPort = 2200',
    '[[httpPlugins]]\nname = "x"',
  ])('%j is refused in frps', async (text) => {
    const error = await failure(frps(text))
    expect(error.code).toBe('FRP_CONFIG_UNSUPPORTED')
    expect(error.message).toMatch(/^conf:1: .* (?:is|are) not supported: /)
  })

  it.each([
    'transport.protocol = "quic"',
    'transport.proxyURL = "ntlm://u:p@x:1"',
    'featureGates = { VirtualNet = true }',
    'virtualNet.address = "10.0.0.1/24"',
    '[[proxies]]\nname = "x"\ntype = "xtcp"',
    '[[proxies]]\nname = "x"\ntype = "tcp"\nplugin.type = "socks5"',
    '[[visitors]]\nname = "x"\ntype = "xtcp"\nserverName = "a"\nbindPort = 1',
  ])('%j is refused in frpc', async (text) => {
    const error = await failure(frpc(text))
    expect(error.code).toBe('FRP_CONFIG_UNSUPPORTED')
    expect(error.message).toContain('not supported')
  })

  it('is no matter where it is off', async () => {
    const server = await frps(
      lines(
        'version = "v1"',
        'kcpBindPort = 0',
        'httpPlugins = []',
        'webServer.pprofEnable = false',
        '[sshTunnelGateway]',
        'privateKeyFile = "x"',
      ),
    )
    expect(server.notes).toEqual([])
    const client = await frpc(
      lines(
        'start = ["a"]',
        'featureGates = { VirtualNet = false }',
        '[[proxies]]\nname = "a"\ntype = "tcp"',
        '[[proxies]]\nname = "b"\ntype = "xtcp"\nsecretKey = "x"',
        '[[proxies]]\nname = "c"\ntype = "tcp"\nenabled = false\nplugin.type = "socks5"',
      ),
    )
    expect(client.config.proxies.map(({ name }) => name)).toEqual(['a'])
  })

  it('is told where it has no effect', async () => {
    const { notes } = await frpc(
      'natHoleStunServer = "x:1"\nwebServer.assetsDir = "d"\ntransport.tls = { enable = false, certFile = "c" }',
    )
    expect(notes).toEqual([
      'conf:1: natHoleStunServer: has no effect: xtcp is not supported',
      'conf:2: webServer.assetsDir: has no effect: the pages of the web server are built in',
      'conf:3: transport.tls.certFile: has no effect when transport.tls.enable is false',
    ])
  })
})

describe('start, enabled and includes', () => {
  it('choose what runs; of the rest only the form counts', async () => {
    const text = lines(
      'start = ["a", "b", "v"]',
      '[[proxies]]\nname = "a"\ntype = "tcp"',
      '[[proxies]]\nname = "b"\ntype = "tcp"\nenabled = false',
      '[[proxies]]\nname = "c"\ntype = "http"',
      '[[visitors]]\nname = "v"\ntype = "stcp"\nserverName = "s"\nbindPort = 1',
      '[[visitors]]\nname = "w"\ntype = "stcp"',
    )
    const { config } = await frpc(text)
    expect(config.proxies.map(({ name }) => name)).toEqual(['a'])
    expect(config.visitors.map(({ name }) => name)).toEqual(['v'])
    expect(config.start).toEqual(['a', 'b', 'v'])
    expect((await failure(frpc(`${text}\nfoo = 1`))).message).toContain('visitors[1].foo: unknown key')
  })

  it('render and read each included file by itself, in any format', async () => {
    const files = {
      'inc/a.toml': 'serverPort = 1\n[[proxies]]\nname = "{{ .Envs.NAME }}"\ntype = "tcp"',
      'inc/b.yaml': 'visitors:\n- {name: v, type: stcp, serverName: s, bindPort: 1}',
      'inc/c.conf': '[common]\n[old]\nlocal_port = 5',
      'inc/d.txt': 'no configuration',
    }
    const { config } = await frpc('includes = ["./inc/[ab].*", "inc/?.conf"]', {
      files,
      env: { NAME: 'first' },
    })
    expect(config.serverPort).toBe(7000)
    expect(config.proxies.map(({ name }) => name)).toEqual(['first', 'old'])
    expect(config.visitors.map(({ name }) => name)).toEqual(['v'])
  })

  it('name the included file that is wrong', async () => {
    const files = { 'inc/a.toml': '[[proxies]]\nname = "x"\ntype = "tcp"' }
    const text = 'includes = ["inc/*"]\n[[proxies]]\nname = "x"\ntype = "tcp"'
    const file = join(process.cwd(), 'inc/a.toml')
    expect((await failure(frpc(text, { files }))).message).toBe(
      `${file}:2: proxies[0].name: proxy name [x] is duplicated`,
    )
    expect(await failure(frpc('includes = ["nope/*"]', { files }))).toMatchObject({
      code: 'FRP_CONFIG_UNREADABLE',
    })
    expect((await failure(frpc('includes = ["inc/[a"]', { files }))).message).toContain('is no pattern')
    for (const [pattern, count] of [
      ['z*', 0],
      ['*.toml', 1],
      ['a**l', 1],
      ['?.[s-u]oml', 1],
      ['[^a].toml', 0],
      ['\\\\a.toml', 1],
      ['a.tom', 0],
    ]) {
      const { config } = await frpc(`includes = ["inc/${pattern}"]`, { files })
      expect(config.proxies, String(pattern)).toHaveLength(Number(count))
    }
  })

  it('read from disk, with the store beside the file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-frp-config-'))
    try {
      await mkdir(join(folder, 'parts'))
      await writeFile(join(folder, 'parts', 'a'), '{"proxies":[{"name":"a","type":"udp"}]}')
      await writeFile(
        join(folder, 'conf'),
        `includes = ["${join(folder, 'parts')}/*"]\nstore.path = "store.json"`,
      )
      const { config } = await loadFrpcConfig(join(folder, 'conf'), { env: {} })
      expect(config.proxies).toMatchObject([{ name: 'a', type: 'udp' }])
      expect(config.store.path).toBe(join(folder, 'store.json'))
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('templates in files', () => {
  it('make proxies of ranges', async () => {
    const text = lines(
      'serverPort = {{ .Envs.PORT }}',
      '{{- range $i, $v := parseNumberRangePair "6000-6002" "7000-7002" }}',
      '[[proxies]]',
      'name = "p{{ $i }}"',
      'type = "tcp"',
      'localPort = {{ $v.First }}',
      'remotePort = {{ $v.Second }}',
      '{{- end }}',
    )
    const { config } = await frpc(text, { env: { PORT: '7001' } })
    expect(config.serverPort).toBe(7001)
    expect(config.proxies).toMatchObject(
      [0, 1, 2].map((i) => ({ name: `p${i}`, localPort: 6000 + i, remotePort: 7000 + i })),
    )
  })
})

describe('INI', () => {
  it('of frpc has every kind of section', async () => {
    const { config, notes } = await frpc(
      lines(
        '[common]',
        'token = "a#b"',
        'authenticate_heartbeats = true',
        'oidc_additional_x = y',
        'start = web, ssh_0, ssh_1, v',
        'log_way = file',
        'unknown_key = 1',
        '# comment',
        '[range:ssh]',
        'type = tcp',
        'local_port = 22,23',
        'remote_port = 6000-6001',
        'meta_k = m',
        '[web]',
        'type = http',
        'custom_domains = a.example, b.example',
        'locations = /,/x',
        'header_X-From = frp',
        'http_pwd = p',
        'remote_port = 5',
        'bandwidth_limit = 1MB',
        'health_check_type = http',
        'health_check_url = /h',
        'health_check_interval_s = 0x14',
        '[v]',
        'role = visitor',
        'type = stcp',
        'server_name = s',
        'sk = k',
        'bind_port = 9000',
        '[off]',
        'type = xtcp',
      ),
    )
    expect(config.auth).toMatchObject({
      token: 'a#b',
      additionalScopes: ['HeartBeats'],
      oidc: { additionalEndpointParams: { x: 'y' } },
    })
    expect(config.proxies).toMatchObject([
      { name: 'ssh_0', type: 'tcp', localPort: 22, remotePort: 6000, metadatas: { k: 'm' } },
      { name: 'ssh_1', type: 'tcp', localPort: 23, remotePort: 6001 },
      {
        name: 'web',
        customDomains: ['a.example', 'b.example'],
        locations: ['/', '/x'],
        requestHeaders: { set: { 'X-From': 'frp' } },
        httpPassword: 'p',
        transport: { bandwidthLimit: '1MB' },
        healthCheck: { type: 'http', path: '/h', intervalSeconds: 20 },
      },
    ])
    expect(config.visitors).toMatchObject([{ name: 'v', serverName: 's', secretKey: 'k', bindPort: 9000 }])
    expect(notes).toEqual([
      'conf: INI is an old format of frp; TOML, YAML and JSON have every setting',
      'conf:7: [common] unknown_key is unknown and has no effect',
    ])
  })

  it('of frps has ports, dashboard and plugins', async () => {
    const { config } = await frps(
      lines(
        '[common]',
        'allow_ports = 1-3,5',
        'dashboard_port = 7500',
        'dashboard_tls_mode = false',
        'dashboard_tls_cert_file = a',
        'tls_only = true',
        'custom_404_page = p.html',
        'tcp_mux = no',
      ),
    )
    expect(config).toMatchObject({
      allowPorts: [
        { from: 1, to: 3 },
        { from: 5, to: 5 },
      ],
      webServer: { addr: '0.0.0.0', port: 7500, tls: undefined },
      custom404Page: 'p.html',
      transport: { tcpMux: false, heartbeatTimeout: 90, tls: { force: true } },
    })
    expect((await failure(frps('[common]\ndashboard_tls_mode = true'))).message).toContain(
      'tls.certFile must be',
    )
    expect((await failure(frps('[common]\n[plugin.x]\naddr = y'))).message).toBe(
      'conf:2: httpPlugins: server plugins are not supported: auth.tokens can limit what clients may do',
    )
  })

  it.each([
    ['[common]\ntcp_mux = maybe', 'conf:2: [common] tcp_mux = "maybe": must be true or false'],
    ['[common]\n[x]\nlocal_port = 3 # c', 'conf:3: [x] local_port = "3 # c": must be a whole number'],
    [
      '[common]\n[range:x]\nlocal_port = 1-2\nremote_port = 3',
      'local ports number should be same with remote ports number',
    ],
    ['[common]\n[x]\nrole = foo', "proxy x role should be 'server' or 'visitor'"],
    [
      '[common]\n[x]\ntype = http',
      'conf:2: proxies[0]: subdomain and custom domains should not be both empty',
    ],
  ])('%j is refused', async (text, message) => {
    expect((await failure(frpc(text))).message).toContain(message)
  })
})

describe('schemas', () => {
  it('read sections of another file with the same defaults', async () => {
    expect(frpsSchema.parse({})).toEqual((await frps('')).config)
    expect(tunnelServerSchema.parse({}).auth.timestampWindow).toBe(900)
    const { log: _log, ...config } = (await frpc('')).config
    expect(tunnelClientSchema.parse({})).toEqual({ ...config, loginFailExit: false })
    const proxies = [
      { name: 'a', type: 'tcp' },
      { name: 'b', type: 'tcp', enabled: false },
    ]
    expect(tunnelClientSchema.parse({ proxies }).proxies).toMatchObject([{ name: 'a' }])
    expect(
      tunnelClientSchema.safeParse({ proxies: [proxies[0], proxies[0]] }).error?.issues[0],
    ).toMatchObject({
      path: ['proxies', 1, 'name'],
      message: 'proxy name [a] is duplicated',
    })
  })

  it('describe every key for editors and the reference page', () => {
    for (const schema of [frpsSchema, tunnelClientSchema]) {
      const undescribed: string[] = []
      const walk = (node: JsonSchema, path: string): void => {
        const inner = Object.entries(node.properties ?? {})
        for (const [key, child] of inner) {
          walk(child, `${path}.${key}`)
          const isTable = child.properties !== undefined || child.items?.properties !== undefined
          if (!isTable && child.description === undefined) undescribed.push(`${path}.${key}`)
        }
        if (node.items !== undefined) walk(node.items, `${path}[]`)
      }
      walk(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema, '')
      expect(undescribed.filter((path) => !/\.(?:env|httpHeaders)\[\]/.test(path))).toEqual([])
    }
  })

  it('refuse what is only for files where there is none', () => {
    expect(() => frpcConfigOf({ includes: ['x'] }, { env: {} })).toThrow('includes: is only for files')
    expect(() => frpsConfigOf([], { env: {} })).toThrow('must be a table of keys')
  })
})

interface JsonSchema {
  readonly description?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly items?: JsonSchema
}
