import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { parseStreamKey } from '../../../mechanisms/balancer/index.ts'
import { accessSchema } from '../../../mechanisms/config/access-schema.ts'
import { createLogger, Registry } from '../../../mechanisms/telemetry/index.ts'
import { AccessControl, type AccessControlOptions } from './access-control.ts'
import type { AccessRequest } from './contract.ts'
import type { AccessError } from './errors.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Runs when the test is over; the last first. */
export function onEnd(close: () => Promise<unknown>): void {
  closers.push(close)
}

export const rules = (...some: readonly object[]) => accessSchema.parse(some)

/** Access by these rules, under a clock that stands still. */
export function openControl(some: readonly object[], options: Partial<AccessControlOptions> = {}) {
  const clock = new ManualClock()
  const registry = new Registry()
  const lines: Readonly<Record<string, unknown>>[] = []
  const texts: string[] = []
  const logger = createLogger({
    stream: {
      write: (line) => {
        texts.push(line)
        lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    },
  })
  const control = new AccessControl({
    rules: rules(...some),
    logger,
    registry,
    clock,
    lastWordsMs: 0,
    serverId: 'vid-0000000',
    ...options,
  })
  onEnd(() => control.close())
  const metric = async (name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> => {
    const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {}
    const found = values.filter((value) =>
      Object.entries(labels).every(
        ([label, text]) => String((value.labels as Record<string, unknown>)[label]) === text,
      ),
    )
    return found.reduce((sum, { value }) => sum + value, 0)
  }
  return { control, clock, lines, texts, metric }
}

export function request(
  some: Partial<Omit<AccessRequest, 'key'>> & { readonly key?: string } = {},
): AccessRequest {
  const { key = '__defaultVhost__/live/s', ...rest } = some
  return {
    protocol: 'rtmp',
    role: 'publish',
    address: '192.0.2.1',
    query: '',
    tcUrl: 'rtmp://example.com/live',
    sessionId: 'session-1',
    ...rest,
    key: parseStreamKey(key),
  }
}

/** The code that a refusal has; `allowed` when there is none. */
export async function outcome(answer: Promise<unknown>): Promise<string> {
  try {
    await answer
    return 'allowed'
  } catch (error) {
    const { code, status } = error as AccessError
    return `${code} ${status}`
  }
}

/** Waits for what another turn of the event loop brings. */
export async function until(isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export interface Call {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly body: Readonly<Record<string, unknown>>
  readonly response: ServerResponse
}

/** An HTTP server on loopback that remembers what it was asked. */
export async function openServer(answer: (call: Call) => void) {
  const calls: Call[] = []
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
      const call = { path: incoming.url ?? '', headers: incoming.headers, text, body, response }
      calls.push(call)
      answer(call)
    })
  })
  // Clients keep connections for as long as they like.
  server.keepAliveTimeout = 600_000
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const close = (): Promise<void> => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(() => resolve()))
  }
  onEnd(close)
  const actions = (): readonly unknown[] => calls.map(({ body }) => body['action'])
  return { url: `http://127.0.0.1:${port}`, calls, actions, sockets, close }
}

/** The yes of SRS. */
export const agree = ({ response }: Call): void => {
  response.end('0')
}

export const keyPairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
}

export function pemOf({ publicKey }: { readonly publicKey: KeyObject }): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString()
}

/** A token, made by hand so that it does not depend on what checks it. */
export function makeToken(
  header: { readonly alg: string; readonly kid?: string },
  claims: object,
  key: string | KeyObject,
): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part(header)}.${part(claims)}`
  return `${signed}.${signatureOf(header.alg, signed, key)}`
}

function signatureOf(alg: string, signed: string, key: string | KeyObject): string {
  if (alg === 'none') return ''
  if (typeof key === 'string') {
    return createHmac(`sha${alg.slice(2)}`, key)
      .update(signed)
      .digest('base64url')
  }
  const data = Buffer.from(signed)
  if (alg === 'EdDSA') return sign(null, data, key).toString('base64url')
  return sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}
