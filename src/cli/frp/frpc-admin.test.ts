import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type FrpcConfig, frpcConfigOf } from '../../mechanisms/frp-config/index.ts'
import { makeCertificate } from '../../mechanisms/net/certificate.testkit.ts'
import { orFail } from './fail.ts'
import { type AdminOptions, reloadFrpc, showStatus, stopFrpc } from './frpc-admin.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

const closers: (() => unknown)[] = []
const written: string[] = []

beforeEach(() => {
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0)
})
afterEach(async () => {
  vi.restoreAllMocks()
  written.length = 0
  process.exitCode = undefined
  for (const close of closers.splice(0)) await close()
})

/** The configuration of a client whose web server gives this answer, and what that was asked. */
async function serve(answer: Answer, tls?: { readonly cert: string; readonly key: string }) {
  const asked: string[] = []
  const note: Answer = (request, response) => {
    const { method, url, headers } = request
    asked.push([method, url, headers.authorization].filter((part) => part !== undefined).join(' '))
    answer(request, response)
  }
  const server = tls === undefined ? createServer(note) : createTlsServer(tls, note)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { config: configOf((server.address() as AddressInfo).port), asked }
}

function configOf(port: number, webServer: object = {}): FrpcConfig {
  return frpcConfigOf({ webServer: { port, ...webServer } }, { env: {} }).config
}

function say(text: string, status = 200): Answer {
  return (_, response) => void response.writeHead(status).end(text)
}

/** What a command prints, and its exit code. */
async function outputOf(
  command: (config: FrpcConfig, options: AdminOptions) => Promise<void>,
  config: FrpcConfig,
  options: Partial<AdminOptions> = {},
): Promise<readonly [string, typeof process.exitCode]> {
  written.length = 0
  await orFail(() => command(config, { apiTimeout: '30s', ...options }))
  return [written.join(''), process.exitCode]
}

describe('frpc reload', () => {
  test.each([
    [{}, '?strictConfig=true'],
    [{ strictConfig: 'true' }, '?strictConfig=true'],
    [{ strictConfig: 'false' }, ''],
    [{ strictConfig: 'F' }, ''],
  ])('with %o has the client read its configuration again', async (options, query) => {
    const { config, asked } = await serve(say(''))
    expect(await outputOf(reloadFrpc, config, options)).toEqual(['reload success\n', undefined])
    expect(asked).toEqual([`GET /api/reload${query}`])
  })
})

describe('frpc stop', () => {
  test('gives user and password where there are some', async () => {
    const { config, asked } = await serve(say(''))
    const { port } = config.webServer
    expect(await outputOf(stopFrpc, config)).toEqual(['stop success\n', undefined])
    expect(await outputOf(stopFrpc, configOf(port, { user: 'u', password: 'p:w' }))).toEqual([
      'stop success\n',
      undefined,
    ])
    expect(asked).toEqual([
      'POST /api/stop',
      `POST /api/stop Basic ${Buffer.from('u:p:w').toString('base64')}`,
    ])
  })

  test('speaks TLS to a web server that does, on this machine when that listens on all', async () => {
    const { cert, key } = await makeCertificate()
    const { config } = await serve(say(''), { cert, key })
    const webServer = { ...config.webServer, addr: '0.0.0.0', tls: { certFile: 'x', keyFile: 'x' } }
    const { config: secure } = frpcConfigOf({ webServer }, { env: {} })
    expect(await outputOf(stopFrpc, secure)).toEqual(['stop success\n', undefined])
  })
})

describe('frpc status', () => {
  const row = { name: 'ssh', type: 'tcp', status: 'running', err: '', local_addr: '127.0.0.1:22', plugin: '' }

  test('shows a table for each type that has proxies', async () => {
    const answer = {
      tcp: [
        { ...row, remote_addr: '192.0.2.1:6000' },
        { ...row, name: 'a longer one', status: 'start error', remote_addr: '', err: 'port not allowed' },
      ],
      http: [{ ...row, name: 'web', local_addr: '', plugin: 'static_file', remote_addr: 'a.example:80' }],
      udp: [],
    }
    const { config, asked } = await serve(say(JSON.stringify(answer)))
    const [text] = await outputOf(showStatus, config)
    expect(text.split('\n')).toEqual([
      'Proxy Status...',
      'TCP',
      'Name          Status       LocalAddr     Plugin  RemoteAddr      Error',
      'ssh           running      127.0.0.1:22          192.0.2.1:6000',
      'a longer one  start error  127.0.0.1:22                          port not allowed',
      '',
      'HTTP',
      'Name  Status   LocalAddr  Plugin       RemoteAddr    Error',
      'web   running             static_file  a.example:80',
      '',
      '',
    ])
    expect(asked).toEqual(['GET /api/status'])
  })

  test('of a client without proxies', async () => {
    const { config } = await serve(say('{}'))
    expect(await outputOf(showStatus, config)).toEqual(['Proxy Status...\n', undefined])
  })
})

describe('an error is one line, and the exit code 1', () => {
  test('without a web server', async () => {
    expect(await outputOf(stopFrpc, configOf(0))).toEqual([
      'web server port should be set if you want to use this feature\n',
      1,
    ])
  })

  test('where nothing listens', async () => {
    const { config } = await serve(say(''))
    for (const close of closers.splice(0)) await close()
    const [text, code] = await outputOf(showStatus, config)
    expect([text, code]).toEqual([
      expect.stringMatching(/^the API of frpc at 127\.0\.0\.1:\d+: connect ECONNREFUSED [^\n]*\n$/),
      1,
    ])
  })

  test('with what the API says', async () => {
    const { config } = await serve(say('invalid argument: line 3\n', 400))
    expect(await outputOf(reloadFrpc, config)).toEqual([
      'api status code [400]: invalid argument: line 3\n',
      1,
    ])
  })

  const bad: readonly (readonly [string, Answer, RegExp])[] = [
    ['it does not answer', () => undefined, /50ms/],
    ['it does not answer in full', (_, response) => void response.writeHead(200).write('{'), /50ms/],
    ['it cuts the connection', (request) => void request.socket.destroy(), /socket hang up/],
    [
      'it cuts the connection within its answer',
      (request, response) => void response.writeHead(200).write('{', () => request.socket.destroy()),
      /aborted/,
    ],
    ['it is no API of frpc', say('<html>'), /no status of frpc/],
    ['it is another API', say('null'), /no status of frpc/],
    ['it is one of other rows', say('{"tcp":[{"name":1}]}'), /no status of frpc/],
  ]
  test.each(bad)('when %s', async (_, answer, reason) => {
    const { config } = await serve(answer)
    const [text, code] = await outputOf(showStatus, config, { apiTimeout: '50ms' })
    expect(text).toMatch(/^[^\n]*\n$/)
    expect([text, code]).toEqual([expect.stringMatching(reason), 1])
  })
})

describe('--api-timeout', () => {
  test.each([
    ['1m30s', 90_000],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['23h59m', 86_340_000],
  ])('%s is how long the API may take', async (apiTimeout, ms) => {
    const timeout = vi.spyOn(AbortSignal, 'timeout')
    const { config } = await serve(say(''))
    await outputOf(stopFrpc, config, { apiTimeout })
    expect(timeout.mock.calls).toEqual([[ms]])
  })

  test.each(['', '30', 'abc', '-1s', '0s', '0.1ms', '24h', '1s 2s', '1m30', '9999999s', '1d'])(
    '"%s" is refused, and nothing asked',
    async (apiTimeout) => {
      const { config, asked } = await serve(say(''))
      expect(await outputOf(stopFrpc, config, { apiTimeout })).toEqual([
        `--api-timeout ${apiTimeout}: must be such as 30s or 1m30s, and less than a day\n`,
        1,
      ])
      expect(asked).toEqual([])
    },
  )
})
